"""Mesos' data about tasks: their sandbox directories, for logs, and their states (bounded, as in the real master)."""

from __future__ import annotations

import shutil
import signal
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_COMPLETED = 1000
FRAMEWORKS = {
    "marathon": "5ab8fc1e-0000-4000-8000-000000000000-0000",
    "metronome": "5ab8fc1e-0000-4000-8000-000000000000-0001",
}


@dataclass
class MesosTask:
    """One task, running or completed. ``directory`` is its sandbox on this machine."""

    id: str
    name: str
    framework: str
    agent_id: str
    directory: Path
    app_id: str
    state: str = "TASK_STAGING"
    message: str = ""
    container_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def virtual_directory(self) -> str:
        """The path of its sandbox in the agent's answers."""
        return (
            f"/var/lib/mesos/slave/slaves/{self.agent_id}/frameworks/{FRAMEWORKS[self.framework]}"
            f"/executors/{self.id}/runs/{self.container_id}"
        )

    def as_json(self) -> dict[str, Any]:
        container = {"container_status": {"container_id": {"value": self.container_id}}}
        return {
            "id": self.id,
            "name": self.name,
            "framework_id": FRAMEWORKS[self.framework],
            "executor_id": "",
            "slave_id": self.agent_id,
            "state": self.state,
            "statuses": [{"state": self.state, **container}],
        }

    def as_operator_json(self) -> dict[str, Any]:
        """The task in the answers of the operator API: unlike the master's state it has the messages of Mesos."""
        names = {"task_id": self.id, "framework_id": FRAMEWORKS[self.framework], "agent_id": self.agent_id}
        ids = {name: {"value": value} for name, value in names.items()}
        status = {"task_id": ids["task_id"], "state": self.state, "message": self.message}
        return {"name": self.name, **ids, "state": self.state, "statuses": [status]}


class Mesos:
    """All tasks of the cluster by id, oldest first; the sandboxes of the oldest completed ones are collected.
    ``attributes``: of each agent, in the order of ``hosts``."""

    def __init__(self, directory: Path, hosts: tuple[str, ...], attributes: tuple[Mapping[str, str], ...] = ()) -> None:
        shutil.rmtree(directory, ignore_errors=True)
        self._directory = directory
        self.hosts = hosts
        self.attributes = dict(zip(hosts, attributes, strict=False))
        self.running: dict[str, MesosTask] = {}
        self.completed: dict[str, MesosTask] = {}

    def launched(self, framework: str, task_id: str, name: str, agent_id: str, app_id: str) -> Path:
        """A new task of that app, or of a job's run; returns its sandbox directory, which exists."""
        directory = self._directory / framework / task_id
        directory.mkdir(parents=True, exist_ok=True)
        self.running[task_id] = MesosTask(task_id, name.strip("/"), framework, agent_id, directory, app_id)
        return directory

    def changed(self, task_id: str, state: str, message: str = "") -> None:
        """A status update; a terminal one moves the task to the completed ones."""
        task = self.running.get(task_id)
        if task is None:
            return
        task.state, task.message = state, message
        if state in ("TASK_FINISHED", "TASK_FAILED", "TASK_KILLED"):
            self.completed[task_id] = self.running.pop(task_id)
            while len(self.completed) > MAX_COMPLETED:
                oldest = self.completed.pop(next(iter(self.completed)))
                shutil.rmtree(oldest.directory, ignore_errors=True)

    def find(self, task_id: str) -> MesosTask | None:
        """Running first, then completed."""
        return self.running.get(task_id) or self.completed.get(task_id)


def end_message(code: int) -> str:
    """The message of Mesos' command executor about the end of a process (stout: WSTRINGIFY); a negative code is a
    signal."""
    return (
        f"Command exited with status {code}"
        if code >= 0
        else f"Command terminated with signal {signal.strsignal(-code)}"
    )
