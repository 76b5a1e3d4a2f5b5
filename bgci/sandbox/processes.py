"""Children of the sandbox, each in a separate session; none outlives the sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

LIGHT_PYTHON = (sys.executable, "-S", "-E", "-s")
"""An interpreter that starts in about 20 ms: no site-packages, no environment."""

FIRST_PORT, LAST_PORT = 31000, 32000


class NoPortError(Exception):
    """No free port for a task."""


class Child:
    """One running process group."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid
        self._stopping: asyncio.Task[None] | None = None

    async def wait(self) -> int:
        """The exit code once it has ended; negative: the signal it died of."""
        return await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def stop(self, grace_seconds: float) -> None:
        """SIGTERM now, SIGKILL after the grace period; returns at once."""
        self.signal(signal.SIGTERM)
        if self._stopping is None:
            self._stopping = asyncio.ensure_future(self._kill_after(grace_seconds))

    async def _kill_after(self, seconds: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._process.wait()), seconds)
        self.signal(signal.SIGKILL)


class Processes:
    """Starts children and keeps the guardian informed of them."""

    def __init__(self) -> None:
        self._guardian = subprocess.Popen(
            [*LIGHT_PYTHON, str(Path(__file__).with_name("guardian.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._children: set[Child] = set()
        self._watchers: set[asyncio.Task[None]] = set()

    async def start(self, argv: Sequence[str], *, env: Mapping[str, str], directory: Path) -> Child:
        """Starts a process with its output in ``directory/stdout`` and ``directory/stderr`` (appended)."""
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / "stdout").open("ab") as out, (directory / "stderr").open("ab") as err:
            process = await asyncio.create_subprocess_exec(
                *argv, env=dict(env), cwd=directory, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                start_new_session=True,
            )  # fmt: skip
        child = Child(process)
        self._children.add(child)
        self._inform_guardian(f"+{child.pid}")
        watcher = asyncio.ensure_future(self._forget(child))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        return child

    async def _forget(self, child: Child) -> None:
        await child.wait()
        child.signal(signal.SIGKILL)
        self._children.discard(child)
        self._inform_guardian(f"-{child.pid}")

    def _inform_guardian(self, line: str) -> None:
        if self._guardian.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                self._guardian.stdin.write(f"{line}\n".encode())
                self._guardian.stdin.flush()

    async def close(self) -> None:
        """Kills every child and waits until they have ended."""
        children = list(self._children)
        for child in children:
            child.signal(signal.SIGKILL)
        await asyncio.gather(*(child.wait() for child in children))
        if self._guardian.stdin is not None:
            self._guardian.stdin.close()
        self._guardian.wait()


class Ports:
    """Free host ports. A UDP socket claims each, so that two sandboxes on one machine never choose the same one."""

    def __init__(self) -> None:
        self._claims: dict[tuple[str, int], socket.socket] = {}
        self._next = FIRST_PORT

    def claim(self, host: str, port: int) -> bool:
        """Reserves that port of that address if it is free."""
        claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            claim.bind((host, port))
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        except OSError:
            claim.close()
            return False
        self._claims[host, port] = claim
        return True

    def take(self, host: str) -> int:
        """The next free port from 31000 up; a port that was just given back comes last."""
        for _ in range(FIRST_PORT, LAST_PORT + 1):
            port = self._next
            self._next = FIRST_PORT if port == LAST_PORT else port + 1
            if self.claim(host, port):
                return port
        raise NoPortError(f"no free port in {FIRST_PORT}..{LAST_PORT} on {host}")

    def release(self, addresses: Iterable[tuple[str, int]]) -> None:
        for address in addresses:
            claim = self._claims.pop(address, None)
            if claim is not None:
                claim.close()
