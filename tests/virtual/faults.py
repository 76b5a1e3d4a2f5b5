"""What can go wrong with one request, and with the world at that moment."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
import urllib3

from virtual.clock import Program

if TYPE_CHECKING:
    from virtual.commands import Commands

Answer = tuple[int, str, bytes]
Send = Callable[[], Awaitable[Answer]]
Fault = Callable[["Commands", Program, Send, float, str], Awaitable[Answer]]

LOCKED = (
    b'{"message": "App is locked by one or more deployments. Override with the option \'?force=true\'.", '
    b'"deployments": [{"id": "97c136bf-5a28-4821-9d94-480d9fbb01c8"}]}'
)
JSON, HTML = "application/json", "text/html"


@dataclass(frozen=True)
class Exchange:
    """One request. ``by_job``: of the program inside the cluster."""

    method: str
    url: str
    by_job: bool

    @property
    def changes(self) -> bool:
        """Whether it changes something in the cluster."""
        return self.method != "GET"

    def __str__(self) -> str:
        return f"{'job' if self.by_job else 'cli'} {self.method} {self.url.split('/', 3)[-1][:60]}"


def _reset() -> requests.ConnectionError:
    cause = http.client.RemoteDisconnected("Remote end closed connection without response")
    return requests.ConnectionError(urllib3.exceptions.ProtocolError("Connection aborted.", cause))


def killed_before(commands: Commands, program: Program, send: Send, timeout: float, url: str) -> Awaitable[Answer]:
    async def fault() -> Answer:
        commands.kill(program)
        raise AssertionError

    return fault()


def killed_after(commands: Commands, program: Program, send: Send, timeout: float, url: str) -> Awaitable[Answer]:
    async def fault() -> Answer:
        await send()
        commands.kill(program)
        raise AssertionError

    return fault()


def answered(status: int, kind: str, body: bytes, *, effect: bool = False, times: int = 1) -> Fault:
    """This answer in place of the real one."""

    async def fault(commands: Commands, program: Program, send: Send, timeout: float, url: str) -> Answer:
        if effect:
            await send()
        return status, kind, body

    return fault


async def timed_out(commands: Commands, program: Program, send: Send, timeout: float, url: str) -> Answer:
    await send()
    await asyncio.sleep(timeout)
    raise requests.ReadTimeout("Read timed out.")


async def reset_before(commands: Commands, program: Program, send: Send, timeout: float, url: str) -> Answer:
    raise _reset()


async def reset_after(commands: Commands, program: Program, send: Send, timeout: float, url: str) -> Answer:
    await send()
    raise _reset()


async def leader_changes(commands: Commands, program: Program, send: Send, timeout: float, url: str) -> Answer:
    commands.world.change_leader(10.0)
    return await send()


async def metronome_restarts(commands: Commands, program: Program, send: Send, timeout: float, url: str) -> Answer:
    commands.world.metronome.go_down(10.0)
    return await send()


async def hangs(commands: Commands, program: Program, send: Send, timeout: float, url: str) -> Answer:
    """Nobody answers from here on, until the command has ended."""
    commands.hanging = True
    await asyncio.sleep(timeout)
    raise requests.ReadTimeout("Read timed out.")


def replica_is_down(seconds: float) -> Fault:
    """The last load balancer cannot be reached from here on."""

    async def fault(commands: Commands, program: Program, send: Send, timeout: float, url: str) -> Answer:
        *_, replica = commands.world.replicas.values()
        replica.down_until = commands.world.clock.now + seconds
        return await send()

    return fault


KILLS: dict[str, Fault] = {"SIGKILL before": killed_before, "SIGKILL after": killed_after}
ANSWERS: dict[str, Fault] = {
    "503": answered(503, JSON, b'{"message": "Failed to acquire the lock in ZooKeeper"}'),
    "409 lock": answered(409, JSON, LOCKED),
    "409 without lock": answered(409, JSON, b'{"message": "App is locked"}'),
    "time-out": timed_out,
    "reset before": reset_before,
    "reset after": reset_after,
    "empty": answered(200, JSON, b"", effect=True),
    "empty without effect": answered(200, JSON, b""),
    "invalid JSON": answered(200, JSON, b'{"apps": [', effect=True),
    "invalid JSON without effect": answered(200, JSON, b'{"apps": ['),
}
EVENTS: dict[str, Fault] = {
    "leader changes": leader_changes,
    "Metronome restarts": metronome_restarts,
}
REPLICAS: dict[str, Fault] = {"replica lost for 10 s": replica_is_down(10.0)}

__all__ = ["ANSWERS", "EVENTS", "KILLS", "REPLICAS", "Any", "Exchange", "Fault"]
