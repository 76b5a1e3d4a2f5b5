"""The faults of one request, and of the world at that moment."""

from __future__ import annotations

import asyncio
import http.client
import math
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
JSON = "application/json"
STALE, LAG = 10.0, 5.0  # seconds


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


def leader_changes(commands: Commands, program: Program) -> None:
    commands.world.change_leader(10.0)


def metronome_restarts(commands: Commands, program: Program) -> None:
    commands.world.metronome.go_down(10.0)


async def hangs(commands: Commands, program: Program, send: Send, timeout: float, url: str) -> Answer:
    """No server answers from here on, until the command has ended."""
    commands.hanging = True
    await asyncio.sleep(timeout)
    raise requests.ReadTimeout("Read timed out.")


def happens(event: Callable[[Commands, Program], None]) -> Fault:
    """Something in the world, just before the request."""

    async def fault(commands: Commands, program: Program, send: Send, timeout: float, url: str) -> Answer:
        event(commands, program)
        return await send()

    return fault


def replica_is_down(seconds: float) -> Fault:
    """The last load balancer cannot be reached from here on, and serves."""

    def event(commands: Commands, program: Program) -> None:
        commands.world.last_replica.down_until = commands.world.clock.now + seconds

    return happens(event)


def replica_restarts(commands: Commands, program: Program) -> None:
    commands.world.last_replica.restart(10.0)


def statistics_are_stale(commands: Commands, program: Program) -> None:
    commands.world.last_replica.stale = STALE


def load_balancer_lags(commands: Commands, program: Program) -> None:
    commands.world.last_replica.lag = LAG


def clock_jumps(seconds: float) -> Fault:
    """The runner's clock is set to another time; the agents' clocks are not."""

    def event(commands: Commands, program: Program) -> None:
        commands.skew += seconds
        for one in commands.world.programs:
            one.skew += 0.0 if "BGCI_JOB" in one.environment else seconds

    return happens(event)


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
    "leader changes": happens(leader_changes),
    "Metronome restarts": happens(metronome_restarts),
    "clock jumps 6 h": clock_jumps(6 * 3600.0),
    "statistics stale by 10 s": happens(statistics_are_stale),
    "load balancer lags 5 s": happens(load_balancer_lags),
}
REPLICAS: dict[str, Fault] = {
    "replica lost for 10 s": replica_is_down(10.0),
    "replica lost until the command ends": replica_is_down(math.inf),
    "replica restarts": happens(replica_restarts),
}
FAULTS = {**KILLS, **ANSWERS, **EVENTS, **REPLICAS}
# A read has no effect: one of these at it is another fault's story, or what no server answers to a read.
ONLY_AT_CHANGES = {
    "SIGKILL after",
    "409 lock",
    "409 without lock",
    "reset after",
    "empty without effect",
    "invalid JSON without effect",
}

__all__ = ["ANSWERS", "EVENTS", "FAULTS", "KILLS", "ONLY_AT_CHANGES", "REPLICAS", "Any", "Exchange", "Fault"]
