"""Signals before a command has begun: importing the command line alone takes some tenths of a second."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType

NUMBERS = (signal.SIGINT, signal.SIGTERM)
WRITE_LIMIT = 1000  # milliseconds; limit of the wait for a reader of stderr


def begin() -> None:
    """From now on a signal ends the process at once, without a traceback.

    Python itself drops a SIGINT, or ends with 1, at some moments of its own start. A launcher that blocks the signals
    keeps such a signal until this call (docs/engine.md).
    """
    for number in NUMBERS:
        signal.signal(number, end_at_once)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, NUMBERS)


def end_at_once(number: int, frame: FrameType | None) -> None:
    """The handler outside of any command: there is nothing to roll back. A pipe without a reader does not block it."""
    try:
        poll = select.poll()
        poll.register(2, select.POLLOUT)
        if poll.poll(WRITE_LIMIT):
            os.write(2, f"bgci: aborted: Aborted by {signal.Signals(number).name}.\n".encode())
    finally:  # also if the reader of stderr is gone
        os._exit(128 + number)
