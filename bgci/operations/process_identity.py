"""The identity of this process, by which another command on the same machine can check whether it still runs."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Protocol

from bgci.engine.lock import Owner

PROC = Path("/proc")
ASK_AGAIN = 2.0  # seconds until Mesos is asked again whether a task has ended


class Tasks(Protocol):
    """Mesos' data about tasks (dcos.task_log)."""

    def has_ended(self, task_id: str) -> bool: ...


class HasEnded:
    """Whether the owner of a lock certainly runs no more: its process on this machine has ended, or its Mesos task."""

    def __init__(self, tasks: Tasks | None) -> None:
        self._tasks = tasks
        self._ended: dict[str, bool] = {}  # by task id
        self._asked: dict[str, float] = {}

    def __call__(self, owner: Owner) -> bool:
        if has_ended(owner.machine, owner.process):
            return True
        if not owner.task or not self._tasks:
            return False
        now, task = time.monotonic(), owner.task
        if not self._ended.get(task) and now - self._asked.get(task, -ASK_AGAIN) >= ASK_AGAIN:
            self._asked[task], self._ended[task] = now, self._tasks.has_ended(task)
        return self._ended[task]


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
