"""Hides credentials in this process's memory and environment from the programs that it starts."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

PR_SET_DUMPABLE = 4
ENVIRONMENT = slice(47, 49)  # of /proc/self/stat after the name: env_start, env_end (proc(5), fields 50 and 51)


def conceal(names: Iterable[str]) -> None:
    """Remove the values of these variables from this process's environment in /proc, and forbid other processes of this
    user to read its memory. Does nothing on systems without /proc and prctl.

    ``os.environ`` keeps the values. The parent processes still show their environment.
    """
    with suppress(OSError, ValueError, AttributeError, IndexError):
        _overwrite(names)
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def _overwrite(names: Iterable[str]) -> None:
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = map(int, fields[ENVIRONMENT])
    if not 0 < start < end:  # not available on this system
        return
    wanted, at = {name.encode() for name in names}, start
    for entry in ctypes.string_at(start, end - start).split(b"\0"):
        name, separator, value = entry.partition(b"=")
        if separator and name in wanted:
            ctypes.memset(at + len(name) + 1, 0, len(value))
        at += len(entry) + 1
