"""Virtual time: an event loop whose clock jumps to the next timer, and programs that are threads which take turns."""

from __future__ import annotations

import asyncio
import math
import os
import selectors
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

EPOCH = 1_790_000_000.0  # of the virtual clock's 0
Request = Callable[[], Awaitable[Any]]


class Killed(BaseException):
    """SIGKILL: raised in a program that is dead. Nothing of it has an effect any more."""


class Deadlock(AssertionError):
    """A program waits, and no event is left that could wake it."""


class Clock:
    """``now``: seconds. ``skew``: of the wall clock of the program that has its turn."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.skew = 0.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return EPOCH + self.now + self.skew

    def wait(self, seconds: float | None) -> None:
        """Lets time pass; None: until an event, which never comes."""
        if seconds is None:
            raise Deadlock("no timer is left, and somebody waits")
        if seconds > 0:
            self.now += seconds


class _Selector(selectors.DefaultSelector):
    """It does not wait: the clock advances instead."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[Any]:
        self._clock.wait(timeout)
        return []


class Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: Clock) -> None:
        super().__init__(_Selector(clock))
        self._virtual = clock

    def time(self) -> float:
        return self._virtual.now


class Program:
    """One process of bgci, as a thread that runs only while the loop stands still.

    ``environment`` and ``out`` are its own. ``code``: its exit code once it has ended; -9 after a SIGKILL. ``files``:
    what it has opened; the kernel closes them when it is killed.
    """

    def __init__(self, work: Callable[[], int], environment: dict[str, str], out: TextIO, clock: Clock) -> None:
        self.environment = environment
        self.out = out
        self.files: list[TextIO] = []
        self.skew = 0.0
        self.code: int | None = None
        self.terminated = False  # by SIGTERM, which it has not noticed yet
        self.dead = False
        self.limit = math.inf  # of the request that it makes now
        self._work = work
        self._clock = clock
        self._turn, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._request: Request | None = None
        self._result: tuple[Any, BaseException | None] = (None, None)
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.program = self  # type: ignore[attr-defined]

    async def run(self) -> int:
        """To its end; the exit code."""
        self._thread.start()
        while (request := self._step()) is not None:
            try:
                self._result = await request(), None
            except (Exception, Killed) as error:
                self._result = None, error
        self._thread.join()
        assert self.code is not None
        return self.code

    def terminate(self) -> None:
        """SIGTERM."""
        self.terminated = True

    def die(self) -> None:
        """SIGKILL, now."""
        self.dead = True

    def abandon(self) -> None:
        """Ends a program that is no longer run."""
        self.dead = True
        while self._thread.is_alive() and self.code is None:
            self._step()

    def ask(self, request: Request) -> Any:
        """In the program's thread: let the loop go on until this is done; its result."""
        if self.dead:
            raise Killed
        self._request = request
        self._back.release()
        self._turn.acquire()
        if self.dead:
            raise Killed
        value, error = self._result
        if error is not None:
            raise error
        return value

    def _main(self) -> None:
        self._turn.acquire()
        try:
            self.code = self._work()
        except Killed:
            self.code = -9
            for file in self.files:
                file.close()
        finally:
            self._request = None
            self._back.release()

    def _step(self) -> Request | None:
        """Its turn, until it asks for something; None when it has ended."""
        with _identity(self, self._clock):
            self._request = None
            self._turn.release()
            self._back.acquire()
        return self._request


@contextmanager
def _identity(program: Program, clock: Clock) -> Iterator[None]:
    """Environment, output and clock of one program."""
    before = os.environ, sys.stdout, sys.stderr, clock.skew
    os.environ = program.environment  # type: ignore[assignment]  # noqa: B003
    sys.stdout = sys.stderr = program.out
    clock.skew = program.skew
    try:
        yield
    finally:
        os.environ, sys.stdout, sys.stderr, clock.skew = before


def current() -> Program:
    """The program in whose thread this is called."""
    found: Program = threading.current_thread().program  # type: ignore[attr-defined]
    return found


@contextmanager
def virtual_time(clock: Clock) -> Iterator[Loop]:
    """Inside, ``time`` is virtual; the loop that is yielded is the only thing that advances it."""
    before = time.monotonic, time.time
    loop = Loop(clock)
    time.monotonic, time.time = clock.monotonic, clock.time
    try:
        yield loop
    finally:
        time.monotonic, time.time = before
        loop.close()
