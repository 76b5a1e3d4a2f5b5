"""A HAProxy in master-worker mode: started, reloaded without losing a connection, and ended with all its workers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from bgci.errors import UnavailableError
from bgci.sandbox.loadbalancer import tether
from bgci.sandbox.loadbalancer.haproxy_config import STATE_FILE, STATS_SOCKET

CONFIG = "haproxy.cfg"
CANDIDATE = "haproxy.cfg.candidate"
LOG = "haproxy.log"
POLL = 0.02
"""Seconds between two polls of a starting worker."""


class NoWorkerError(UnavailableError):
    """No worker answered in time."""


class HAProxy:
    """One master in the working directory, where its files and sockets are (a socket's path holds 107 bytes only)."""

    def __init__(self, *, timeout: float = 10.0) -> None:
        """``timeout``: seconds after which an unresponsive worker counts as failed."""
        found = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
        if found is None:
            raise UnavailableError(
                "HAProxy is not installed", remedy="Install the package haproxy, version 2.2 or later."
            )
        self._executable = found
        self._timeout = timeout
        self._master: asyncio.subprocess.Process | None = None
        self._reloading = asyncio.Lock()
        self.running = ""
        """The configuration of the current worker, as it was when that started."""

    @property
    def master(self) -> int:
        """The master's pid; it stays the same over reloads."""
        if self._master is None:
            raise UnavailableError("HAProxy was not started")
        return self._master.pid

    def pids(self) -> list[int]:
        """The master and all its workers, newest first, as ``pidof`` has it."""
        return sorted([*self.workers(), self.master], reverse=True)

    def workers(self) -> list[int]:
        """The master's living children: the current worker, and older ones that still have a connection."""
        return children(self.master)

    async def check(self, text: str) -> str:
        """HAProxy's errors about a configuration; "" if it is valid."""
        Path(CANDIDATE).write_text(text)
        process = await asyncio.create_subprocess_exec(
            self._executable, "-c", "-f", CANDIDATE,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        return output.decode(errors="replace") or "invalid" if process.returncode else ""

    async def start(self, text: str) -> None:
        """Starts the master and waits for its worker.

        :raises UnavailableError: it ended at once (a port is taken), or did not answer in time
        """
        Path(CONFIG).write_text(text)
        Path(STATE_FILE).unlink(missing_ok=True)
        log_start = log_size()
        with open(LOG, "ab") as log:
            self._master = await asyncio.create_subprocess_exec(
                sys.executable, "-IS", tether.__file__, str(os.getpid()), self._executable, "-W", "-f", CONFIG,
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        await self._answer(beside=set(), log_start=log_start, seconds=self._timeout)
        self.running = text

    async def reload(self, text: str) -> None:
        """Replaces the worker. The new one has this configuration, the same listeners and the servers' states.

        The old worker runs until its last connection ends. Returns when the new worker answers.

        :raises UnavailableError: HAProxy could not load it, or no new worker answered in time; the old one serves on
        """
        async with self._reloading:
            before, log_start = set(self.workers()), log_size()
            Path(STATE_FILE).write_text(await self.query("show servers state"))
            Path(CONFIG).write_text(text)
            os.kill(self.master, signal.SIGUSR2)
            try:
                await self._answer(beside=before, log_start=log_start, seconds=self._timeout / 3)
            except NoWorkerError:
                # A master loses the signal while it aborts a failed load. A second signal does no harm.
                os.kill(self.master, signal.SIGUSR2)
                await self._answer(beside=before, log_start=log_start, seconds=self._timeout)
            self.running = text

    async def settled(self) -> str:
        """``running``, once no reload is in progress: no client sees a new worker with an old configuration."""
        async with self._reloading:
            return self.running

    async def query(self, command: str) -> str:
        """The current worker's answer on its runtime socket.

        :raises OSError: no process listens there
        """
        reader, writer = await asyncio.open_unix_connection(STATS_SOCKET)
        try:
            writer.write(f"{command}\n".encode())
            await writer.drain()
            return (await reader.read()).decode()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def wait(self) -> int:
        """The master's exit code, once it has ended."""
        return await self._master.wait() if self._master else 0

    async def stop(self) -> None:
        """Ends the master and all workers at once, connections or not."""
        if self._master is None or self._master.returncode is not None:
            return
        workers = self.workers()
        self._master.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._master.wait(), 3)
        except asyncio.TimeoutError:
            # Workers end when their master has ended. The code below ends the remaining workers.
            self._master.kill()
            await self._master.wait()
        deadline = time.monotonic() + 1
        while (left := [pid for pid in workers if is_haproxy(pid)]) and time.monotonic() < deadline:
            await asyncio.sleep(POLL)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def _answer(self, beside: set[int], log_start: int, seconds: float) -> None:
        """Waits until a worker not in ``beside`` answers; ``log_start`` is the size of the log before."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._master is not None and self._master.returncode is not None:
                raise UnavailableError(f"HAProxy ended with {self._master.returncode}: {alerts(log_start)}")
            if "Loading failure!" in log_since(log_start):
                raise UnavailableError(f"HAProxy could not load its configuration: {alerts(log_start)}")
            with contextlib.suppress(OSError, ValueError):
                if await self._worker() in set(self.workers()) - beside:
                    return
            await asyncio.sleep(POLL)
        raise NoWorkerError(f"no new HAProxy worker within {seconds:g} s: {alerts(log_start)}")

    async def _worker(self) -> int:
        """The pid of the worker that answers now."""
        info = await asyncio.wait_for(self.query("show info"), 2)
        return int(next(line for line in info.splitlines() if line.startswith("Pid:")).split(":")[1])


def children(parent: int) -> list[int]:
    """The living child processes of a process (the kernel's list can miss some while others end)."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = Path(entry.path, "stat").read_text(errors="replace")
                state, ppid = stat.rpartition(")")[2].split()[:2]
                if int(ppid) == parent and state not in "ZX":
                    found.append(int(entry.name))
    return found


def is_haproxy(pid: int) -> bool:
    """Whether a HAProxy runs under this pid."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip() == "haproxy"
    return False


def log_size() -> int:
    """Bytes in HAProxy's log."""
    return os.path.getsize(LOG) if os.path.exists(LOG) else 0


def log_since(offset: int) -> str:
    """The text of HAProxy's log after this size."""
    with open(LOG, "rb") as log:
        log.seek(offset)
        return log.read().decode(errors="replace")


def alerts(since: int) -> str:
    """HAProxy's alerts in its log after this size; the whole text if there are no alerts."""
    lines = log_since(since).splitlines()
    return "\n".join([line for line in lines if line.startswith("[ALERT]")] or lines)
