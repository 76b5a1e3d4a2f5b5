"""Commands of bgci as real processes on virtual time: their own signals, threads, descriptors and end.

A command is forked from the process of the world and runs ``bgci.cli.main``. What is replaced in it: the sockets of
its requests, which ask the world; and the one poll of ``bgci.interruption`` in its main thread, which lasts so many
virtual seconds. It polls its real descriptors all the same. So a signal ends a wait exactly as it does on a machine.

The clock advances only while each process waits.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import pickle
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from e2e.lab import until

from bgci import early_signals
from virtual.clock import Clock
from virtual.forked import become, die_with
from virtual.world import LATENCY, World

HANGS = 120.0  # real seconds in which a process says nothing: other work runs beside


class SharedClock(Clock):
    """A clock that forked processes read too, and that stands still while one of them computes."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)
        super().__init__()
        self.host: Host | None = None

    @property
    def now(self) -> float:
        return float(struct.unpack_from("d", self._page)[0])

    @now.setter
    def now(self, value: float) -> None:
        struct.pack_into("d", self._page, 0, value)

    def part(self) -> None:
        """In a fork of the world: a clock of its own."""
        now = self.now
        self._page = mmap.mmap(-1, mmap.PAGESIZE)
        self.now = now

    def wait(self, seconds: float | None) -> None:
        if not (self.host and self.host.attend(seconds)):
            super().wait(seconds)


class Process:
    """A command. ``code``: its exit code; ``noted``: each signal that its handler noted, and whether it was over then.

    ``said``: how many messages it has sent; ``said_after``: those after a signal was noted.
    """

    def __init__(self, host: Host, words: Sequence[str], environment: Mapping[str, str], out: Path) -> None:
        self.environment, self.out = dict(environment), out
        self.code: int | None = None
        self.pid = 0
        self.said = self.said_after = 0
        self.sent: list[tuple[int, float, float]] = []  # number, real and virtual time
        self.ended: tuple[float, float] = (0.0, 0.0)
        self._host, self._words = host, words
        self._page = mmap.mmap(-1, mmap.PAGESIZE)
        self._idle: tuple[int, float, int, int] | None = None  # sequence, deadline, noted, answers taken
        self._answered, self._woken = 0, 0
        self._timer: asyncio.TimerHandle | None = None
        self._end: asyncio.Future[int] | None = None
        self.control: socket.socket | None = None

    @property
    def noted(self) -> list[tuple[int, bool]]:
        return [(self._page[2 * n + 1], bool(self._page[2 * n + 2])) for n in range(self._page[0])]

    @property
    def busy(self) -> bool:
        if self.control is None or self._idle is None:
            return self.control is not None
        sequence, _, noted, taken = self._idle
        return noted < len(self.sent) or taken < self._answered or sequence <= self._woken

    async def run(self) -> int:
        """To its end; the exit code."""
        self._end = asyncio.get_running_loop().create_future()
        self.control, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        world = os.getpid()
        held = signal.pthread_sigmask(signal.SIG_BLOCK, early_signals.NUMBERS)  # hooks of fork drop exceptions
        self.pid = os.fork()
        if not self.pid:
            die_with(world)
            become(other, self._host.address, self._page, self._words, self.environment, self.out)
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        other.close()
        self._host.processes.append(self)
        return await self._end

    def send(self, number: int) -> None:
        if self.control is not None:
            self.sent.append((number, time.perf_counter(), self._host.world.clock.now))
            os.kill(self.pid, number)

    def __str__(self) -> str:
        """Where it stands, for one that hangs."""
        if self.control is not None:
            os.kill(self.pid, signal.SIGUSR1)
            until(lambda: "most recent call first" in self.out.read_text())
        return (
            f"{' '.join(self._words)}, sent {self.sent}, noted {self.noted}, idle {self._idle}, answered "
            f"{self._answered}, woken {self._woken}: {self.out.read_text()[-3000:]}"
        )

    def terminate(self) -> None:
        self.send(signal.SIGTERM)

    def abandon(self) -> None:
        if self.control is not None:
            os.kill(self.pid, signal.SIGKILL)
            self.reap()

    def hear(self) -> None:
        """One message of its control socket."""
        assert self.control is not None
        message = self.control.recv(64)
        if not message:
            self.reap()
            return
        sequence, deadline, noted, taken = struct.unpack("ddqq", message)
        self._idle = int(sequence), deadline, noted, taken
        self.hear_of(noted)
        if self._timer:
            self._timer.cancel()
        self._timer = self._host.world.loop.call_at(deadline, self._wake, int(sequence))

    def hear_of(self, noted: int) -> None:
        self.said += 1
        self.said_after += noted > 0

    def reap(self) -> None:
        _, status = os.waitpid(self.pid, 0)
        self.code = os.waitstatus_to_exitcode(status)
        self.ended = time.perf_counter(), self._host.world.clock.now
        assert self.control is not None
        self.control.close()
        self.control = None
        self._host.processes.remove(self)
        if self._timer:
            self._timer.cancel()
        if self._end and not self._end.done():
            self._end.set_result(self.code)

    def answer(self, connection: socket.socket, answer: Any) -> None:
        self._answered += 1
        with connection, suppress(OSError):  # the process can have ended
            connection.sendall(pickle.dumps(answer))

    def _wake(self, sequence: int) -> None:
        if self.control is not None and self._idle and self._idle[0] == sequence:
            self._woken = sequence
            with suppress(OSError):
                self.control.send(struct.pack("d", sequence))


class Host:
    """Runs the processes of one world. ``moment``: when the next signal is due, by the real clock; then ``strike``."""

    def __init__(self, world: World, **environment: str) -> None:
        self.world = world
        self.artifacts = world.directory / "artifacts"
        self.environment = environment
        self.processes: list[Process] = []
        self.jobs: list[Process] = []
        self.moment = float("inf")
        self.strike: Callable[[], None] = lambda: None
        self.heard: Callable[[Process], None] = lambda process: None
        assert isinstance(world.clock, SharedClock)
        world.clock.host = self
        world.job = self._job
        self._listener: socket.socket | None = None
        self.listen()

    def listen(self) -> None:
        """A socket of its own, also after a fork."""
        self.close()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind("")  # an abstract address that is free
        self._listener.listen(64)
        self.address: Any = self._listener.getsockname()

    def close(self) -> None:
        if self._listener:
            self._listener.close()

    def start(self, *words: str, **environment: str) -> Process:
        given = {**self.environment, "BGCI_ARTIFACTS": str(self.artifacts), **environment}
        return Process(self, words, given, self.world.directory / "out")

    def run(self, *words: str, **environment: str) -> Process:
        """A command, to its end."""
        process = self.start(*words, **environment)
        self.world.loop.run_until_complete(process.run())
        return process

    def _job(self, words: Sequence[str], env: Mapping[str, str], directory: Path) -> Any:
        given = {**env, "BGCI_ARTIFACTS": str(directory / "bgci-artifacts"), "PATH": "/nonexistent"}
        self.jobs.append(Process(self, words, given, directory / "stdout"))
        return self.jobs[-1]

    def attend(self, seconds: float | None) -> bool:
        """While a process computes, hear it; whether one was heard."""
        if time.perf_counter() >= self.moment:
            self._strike()
        if seconds is not None and seconds <= 0:
            return False
        if not any(process.busy for process in self.processes):
            return False
        patience = min(HANGS, max(0.0, self.moment - time.perf_counter()))
        poll = select.poll()
        known = {process.control.fileno(): process for process in self.processes if process.control}
        assert self._listener
        for descriptor in (self._listener.fileno(), *known):
            poll.register(descriptor, select.POLLIN)
        ready = poll.poll(1000 * patience)
        if not ready and patience == HANGS:
            raise AssertionError(f"nothing heard for {HANGS:g} s: {'; '.join(map(str, self.processes))}")
        for descriptor, _ in ready:
            if descriptor in known:
                known[descriptor].hear()
                self.heard(known[descriptor])
            else:
                self._accept()
        return True

    def _strike(self) -> None:
        self.moment = float("inf")
        self.strike()

    def _accept(self) -> None:
        assert self._listener
        connection, _ = self._listener.accept()
        stream = connection.makefile("rb")
        try:
            pid, noted, method, url, body = pickle.load(stream)
        except (EOFError, pickle.UnpicklingError):  # the process ended before it had written all of its request
            connection.close()
            return
        process = next((one for one in self.processes if one.pid == pid), None)
        if process is None:  # it has ended
            connection.close()
            return
        process.hear_of(noted)
        self.heard(process)
        self.world.loop.create_task(self._serve(process, connection, method, url, body))

    async def _serve(self, process: Process, connection: socket.socket, method: str, url: str, body: bytes) -> None:
        await asyncio.sleep(LATENCY)
        try:
            answer = await self.world.dispatch(method, url, body)
        except ConnectionRefusedError:
            answer = (0, "", b"")
        await asyncio.sleep(LATENCY)
        process.answer(connection, answer)


@contextmanager
def hosted(world: World, **environment: str) -> Iterator[Host]:
    host = Host(world, **environment)
    try:
        yield host
    finally:
        for process in list(host.processes):
            process.abandon()
        host.close()
