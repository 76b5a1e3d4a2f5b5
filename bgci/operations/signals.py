"""SIGINT and SIGTERM as AbortedError, from wherever a command waits."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from bgci.errors import AbortedError

REPEATED = 2.0  # seconds in which further signals are the same one


class Signals:
    """The handler. ``over``: the result is being written, and no signal may interrupt that.

    A cancelled run gets more than one signal: at the same moment from several senders (a process group's and
    `timeout`'s), and some seconds later from a CI system that loses patience.
    """

    def __init__(self) -> None:
        self.over = False
        self._last: float | None = None

    @property
    def aborted(self) -> bool:
        return self._last is not None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.over or (self._last is not None and now - self._last < REPEATED):
            return
        self._last = now
        raise AbortedError(
            f"Aborted by {signal.Signals(number).name}.",
            signal_number=number,
            remedy="Run the same command again to go on, or the rollback to go back.",
        )


@contextmanager
def abort_on_signals() -> Iterator[Signals]:
    """Install the handler for a command."""
    handler = Signals()
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield handler
    finally:
        if not handler.aborted:  # else the process ends now, with its own exit code
            for number, earlier in before.items():
                signal.signal(number, earlier)
