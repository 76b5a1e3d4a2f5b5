"""SIGINT and SIGTERM: the handler records them, and the command raises AbortedError where it waits.

An exception of a signal handler can occur at any instruction. Python drops it inside of a destructor or of a weak
reference's callback, and inside of a library it can leave a lock locked. So the handler only records the signal, and a
wake-up descriptor ends the current wait. Every wait of a command uses this module: ``pause``, or ``call`` for work that
cannot be interrupted, such as a request.
"""

from __future__ import annotations

import _thread
import atexit
import math
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn, TypeVar

from bgci.early_signals import NUMBERS, end_at_once
from bgci.errors import AbortedError, DeadlineError

T = TypeVar("T")

REPEATED = 2.0  # seconds in which further signals count as the same one
SETTLE = 1.0  # seconds; a pending change can still be answered before AbortedError is raised
SLACK = 3.5  # seconds after the deadline of a goal in which a request can still be answered
# Seconds to restore or remove what a command has created; the second after a signal, because a CI system sends SIGKILL
# soon; the third at the deadline, which a command exceeds by less than 5 s even if the cluster does not answer.
CLEANUP, CLEANUP_ABORTED, CLEANUP_LATE = 30.0, 2.0, 3.0
END_SECONDS = 2.0  # seconds; limit of the work at the end of the process
STUCK = 2.0  # seconds after a signal in which a pipe without a reader can delay the command


class _Deadline(threading.local):
    """The deadline of the current work, for each thread."""

    at = math.inf


class Signals:
    """The signals of this process. ``over``: the result is being written; signals do not interrupt this.

    A cancelled run gets more than one signal: at the same moment from several senders (a process group's and
    `timeout`'s), and some seconds later from a CI system. A later one is raised too.
    """

    def __init__(self) -> None:
        self._wakeup: socket.socket | None = None  # readable once a signal has come
        self._freeing = False
        self.begin()

    def begin(self, wakeup: socket.socket | None = None) -> None:
        """Reset for a new command."""
        self._wakeup = wakeup
        self.over = False
        self._noted: list[tuple[int, float]] = []
        self._taken = 0
        self._aborted_at = -math.inf
        self._deadline = _Deadline()

    def note(self, number: int, frame: FrameType | None) -> None:
        """The handler. It takes no lock: the interrupted thread can hold it."""
        self._noted.append((number, time.monotonic()))
        if not self._freeing:
            self._freeing = True
            _thread.start_new_thread(_free_writers, ())  # a thread of ``threading`` takes a lock

    def check(self) -> None:
        """Raise AbortedError for a recorded signal; only in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return
        fresh = self._noted[self._taken :]
        self._taken += len(fresh)
        for number, at in fresh:
            if not self.over and at - self._aborted_at >= REPEATED:
                self._aborted_at = time.monotonic()
                raise AbortedError(
                    f"Aborted by {signal.Signals(number).name}.",
                    signal_number=number,
                    remedy="Run the same command again to go on, or the rollback to go back.",
                )

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Limit all calls of the block together to so many seconds. An outer limit stands still meanwhile."""
        began = time.monotonic()
        before, self._deadline.at = self._deadline.at, began + seconds
        try:
            yield
        finally:
            self._deadline.at = before + time.monotonic() - began

    @contextmanager
    def at_most(self, seconds: float) -> Iterator[None]:
        """The same within an outer limit, which goes on."""
        before = self._deadline.at
        self._deadline.at = min(before, time.monotonic() + seconds)
        try:
            yield
        finally:
            self._deadline.at = before

    @contextmanager
    def before_cleanup(self) -> Iterator[None]:
        """The limit of a block that a ``cleanup`` can follow: leaves the seconds of the latter before the deadline."""
        with self.at_most(self.left() - CLEANUP_LATE):
            yield

    @contextmanager
    def cleanup(self) -> Iterator[None]:
        """The limit of a block that restores or removes something while an exception is handled, or in a ``finally``.

        The deadline of the work itself may have passed.
        """
        error, seconds = sys.exc_info()[1], min(CLEANUP, max(CLEANUP_LATE, self.left()))
        if isinstance(error, AbortedError | DeadlineError):
            seconds = CLEANUP_ABORTED if isinstance(error, AbortedError) else CLEANUP_LATE
        with self.within(seconds):
            yield

    def left(self) -> float:
        """Seconds until the deadline of ``within`` or ``at_most``; infinite outside of both."""
        return self._deadline.at - time.monotonic()

    def pause(self, seconds: float) -> None:
        """Wait. Raises AbortedError as soon as a signal comes."""
        until = time.monotonic() + seconds
        while True:
            self.check()
            left = until - time.monotonic()
            if left <= 0:
                return
            self._wait(left)

    def call(self, work: Callable[[], T], limit: float, *, settle: float = 0.0) -> T:
        """The result of ``work``, which runs in a separate thread.

        Raises AbortedError as soon as a signal comes, and TimeoutError after ``limit`` seconds or at the deadline: the
        thread then continues on its own, with all objects that ``work`` uses. ``settle``: seconds after a signal in
        which the end of ``work`` can still arrive.
        """
        self.check()
        limit = min(limit, self.left())
        if limit <= 0:
            raise TimeoutError  # do not start work after the deadline
        outcome: list[tuple[T | None, BaseException | None]] = []
        reader, writer = os.pipe()

        def run() -> None:
            try:
                outcome.append((work(), None))
            except BaseException as error:
                outcome.append((None, error))
            finally:
                os.close(writer)

        threading.Thread(target=run, daemon=True).start()
        until, aborted = time.monotonic() + limit, None
        try:
            while not outcome and (left := until - time.monotonic()) > 0:
                try:
                    self._wait(left, reader)
                    self.check()
                except AbortedError as error:
                    aborted, until = error, min(until, time.monotonic() + settle)
        finally:
            os.close(reader)
        if aborted:
            raise aborted
        if not outcome:
            raise TimeoutError
        result, problem = outcome[0]
        if problem is not None:
            raise problem
        return result  # type: ignore[return-value]

    def _wait(self, seconds: float, reader: int | None = None) -> None:
        """Until a signal comes, ``reader`` has ended, or the time is over."""
        poll = select.poll()
        wakeup = self._wakeup if threading.current_thread() is threading.main_thread() else None
        if wakeup:
            poll.register(wakeup, select.POLLIN)
        if reader is not None:
            poll.register(reader, select.POLLIN)
        poll.poll(math.ceil(1000 * min(seconds, 3600)))
        if wakeup:
            with suppress(BlockingIOError):
                while wakeup.recv(4096):
                    pass


signals = Signals()
pause = signals.pause
call = signals.call
within = signals.within
at_most = signals.at_most
before_cleanup = signals.before_cleanup
cleanup = signals.cleanup
left = signals.left


@contextmanager
def noted_signals() -> Iterator[Signals]:
    """Record signals in this context. If ``end_at_once`` was the handler before, they stay recorded afterwards: the
    command has ended, and its exit code is final."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    signals.begin(reader)
    fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    before = {number: signal.signal(number, signals.note) for number in NUMBERS}
    signal.signal(signal.SIGURG, _interrupted)
    try:
        yield signals
    finally:
        signal.set_wakeup_fd(fd)
        signals.begin()
        signals.over = True
        reader.close()
        writer.close()
        for number, earlier in before.items():
            if earlier is not end_at_once:
                signal.signal(number, earlier)


def _interrupted(number: int, frame: FrameType | None) -> None:
    """A handler without an effect: the interrupted system call restarts."""


def _free_writers() -> None:
    """After a signal: abandon an output whose reader does not read, so that a blocked write cannot delay the end.

    A write that is blocked in the kernel checks its descriptor again only when a signal interrupts it.
    """
    stuck: set[int] = set()
    while True:
        time.sleep(STUCK / 2)
        unread = {fd for fd in (1, 2) if not _writable(fd)}
        for fd in unread & stuck:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, fd)
            os.close(nowhere)
        if unread & stuck:
            # Each thread, because a blocked one holds the stream's lock.
            for thread in sys._current_frames().keys() - {threading.get_ident()}:
                with suppress(ProcessLookupError):  # it has just ended
                    signal.pthread_kill(thread, signal.SIGURG)
        stuck = unread


def _writable(fd: int) -> bool:
    poll = select.poll()
    try:
        poll.register(fd, select.POLLOUT)
        return bool(poll.poll(0))
    except OSError:
        return True


# -- the end of the process -------------------------------------------------------------------------------------------

_at_end: list[Callable[[], None]] = []


def at_end(work: Callable[[], None]) -> None:
    """Register work for any end of the process."""
    _at_end.append(work)
    atexit.register(work)


def end(code: int) -> NoReturn:
    """End the process with this exit code, even if threads still run.

    The interpreter's own end would wait for each of them without a limit, and ignore signals meanwhile.
    """
    try:
        last = threading.Thread(target=_finish, daemon=True)
        last.start()
        last.join(END_SECONDS)
    finally:
        os._exit(code)


def _finish() -> None:
    for work in (*_at_end, sys.stdout.flush, sys.stderr.flush):
        with suppress(Exception):
            work()
