"""The identity of this process, by which another command on the same machine can check whether it still runs."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")


def machine() -> str:
    """The running kernel and its process namespace; empty if unknown.

    A host name does not suffice: two containers can have the same one, with other processes under the same ids.
    """
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{os.readlink(PROC / 'self/ns/pid')}"
    except OSError:
        return ""


def process(pid: int) -> str:
    """A process by its id and start time, because ids are reused. Empty if unknown."""
    start = _start_time(pid)
    return f"{pid}@{start}" if start else ""


def has_ended(machine_id: str, process_id: str) -> bool:
    """Whether the process has certainly ended; False for a process of another machine."""
    pid = process_id.partition("@")[0]
    if not machine_id or machine_id != machine() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)  # /proc can hide the processes of other users
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    now = process(int(pid))
    return bool(now) and (now != process_id or _is_zombie(int(pid)))


def _stat(pid: int) -> list[str]:
    """The fields after the program's name, which can have any character (proc_pid_stat(5))."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _start_time(pid: int) -> str:
    fields = _stat(pid)
    return fields[19] if len(fields) > 19 else ""


def _is_zombie(pid: int) -> bool:
    return _stat(pid)[:1] in (["Z"], ["X"])
