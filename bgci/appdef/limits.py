"""Limits of time and memory for rendering a template, which can have endless loops and references."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from bgci.errors import InvalidError

SECONDS = 1.0  # seconds of processor time, which a busy machine does not shorten
MEBIBYTES = 100  # beyond the memory of the process before: 150 together
# The largest document, in characters and in values: Metronome accepts 100 KiB, Marathon 1 MiB.
CHARACTERS = 1_200_000
VALUES = 200_000


class _Expired(BaseException):
    """Not an Exception, so that no handler between here and the loop catches it."""


@contextmanager
def bounded(name: str, what: str = "template", seconds: float = SECONDS) -> Iterator[None]:
    """End the block with InvalidError when it takes more than ``seconds`` of processor time or `MEBIBYTES`.

    name: of the file. what: it is. The clock runs in the main thread only, because only it receives signals.
    """
    remedy = "Make its loops, repetitions and YAML references smaller."
    with _memory():
        try:
            with _clock(seconds):
                yield
        except _Expired:
            raise InvalidError(
                f"The {what} {name} needs more than {seconds:g} s of processor time.", remedy=remedy
            ) from None
        except MemoryError:
            raise InvalidError(f"The {what} {name} needs more than {MEBIBYTES} MiB.", remedy=remedy) from None


@contextmanager
def _clock(seconds: float) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def expire(number: int, frame: FrameType | None) -> None:
        raise _Expired

    before = signal.signal(signal.SIGPROF, expire)
    left, interval = signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, left, interval)
        signal.signal(signal.SIGPROF, before)


@contextmanager
def _memory() -> Iterator[None]:
    """A limit on the address space, if the system supports one and reports the used memory."""
    try:
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = used + MEBIBYTES * 2**20
    limited = [wanted, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_AS, (min(limited), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
