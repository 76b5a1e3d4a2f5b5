"""The log of a task, while it runs and after it has ended (docs/platform.md, Logs of a task)."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from bgci.bounded import json_value
from bgci.dcos.http import Http
from bgci.dcos.http_failure import HttpFailure
from bgci.dcos.json_answer import JsonAnswer
from bgci.errors import BgciError, DeniedError

Way = Callable[[str, int], tuple[str, int] | None]  # task id, offset -> text, next offset
CHUNK = 1 << 16  # bytes that the files API is asked for
MOST = 1 << 20  # bytes of one read; the next one continues there
ANSWERED_WITHIN = 5.0  # seconds for one read of a log
ENDED = {"TASK_FINISHED", "TASK_FAILED", "TASK_KILLED"}  # its executor has seen the process's end
SANDBOX = "/var/lib/mesos/slave/slaves/{slave_id}/frameworks/{framework_id}/executors/{executor}/runs/{container}"


@dataclass(frozen=True)
class LogPart:
    """Result of one read.

    text, offset: the new text, and where the next read begins. problem: why the log was not read, in a sentence;
    empty if it was read. denied: the account lacks a permission, so another attempt is useless. rotated: the file is
    shorter than ``offset``, because the agent has begun a new one: the next read begins there.
    """

    text: str
    offset: int
    problem: str = ""
    denied: bool = False
    rotated: bool = False


@dataclass(frozen=True)
class TaskEnd:
    """What Mesos reports about a task: its last state, empty if unknown, and the message about its end."""

    state: str = ""
    message: str = ""

    def __str__(self) -> str:
        if not self.state:
            return ""
        still = "" if self.state in ENDED else " Its process can still run."
        return f"Mesos reports {': '.join(filter(None, (self.state, self.message)))}.{still}"

    @property
    def exit_code(self) -> int | None:
        """The exit code of the process ("Command exited with status 8"); None if unknown."""
        found = re.search("status ([0-9]{1,3})$", self.message)
        return int(found[1]) if found else None


class TaskLog:
    """Reads below the cluster's address: dcos-log first (one permission), else the Mesos files API.

    Keeps the source that worked for a task, because offsets differ between the sources.
    """

    def __init__(self, http: Http) -> None:
        self._http = http.below("", name="The cluster's log service")
        self._logs = self._http.with_limit(ANSWERED_WITHIN)  # the next read is another attempt
        self._ways: dict[str, Way] = {}
        self._sandboxes: dict[str, tuple[str, str]] = {}  # task id -> agent id, path of its stdout

    def read(self, task_id: str, offset: int) -> LogPart:
        """The text since ``offset``: 0 at first, then the last returned one. Never raises, because a log is
        optional."""
        known = self._ways.get(task_id)
        problems: list[Exception] = []
        for way in [known] if known else [self._dcos_log, self._files]:
            try:
                found = way(task_id, offset)
            except (BgciError, HttpFailure, ValueError) as problem:
                problems.append(problem)
                continue
            if found is None:
                problems.append(ValueError(f"Mesos lists no log of {task_id}"))
                continue
            self._ways[task_id] = way
            return LogPart(*found) if found[1] >= offset else LogPart("", 0, rotated=True)
        denied = [problem for problem in problems if isinstance(problem, DeniedError)]
        why = _reason(denied[0] if denied else problems[-1])
        return LogPart("", offset, why, denied=len(denied) == len(problems))

    def end(self, task_id: str) -> TaskEnd:
        """What Mesos reports about the end of the task."""
        # The state of Mesos leaves messages out in most versions (mesos: common/http.cpp); the operator API has them.
        found = TaskEnd()
        for source in (self._state_statuses, self._operator_statuses):
            try:
                statuses = [TaskEnd(one["state"].text(), one["message"].text()) for one in source(task_id)]
            except (BgciError, HttpFailure):
                continue
            found = statuses[-1] if statuses else found
            if found.message:
                break
        return found

    def has_ended(self, task_id: str) -> bool:
        """Whether the task's process has certainly ended; False where Mesos does not say so.

        TASK_LOST, TASK_UNREACHABLE and similar states prove nothing: such a task can still run.
        """
        try:
            return self._task(task_id)["state"].text() in ENDED
        except (BgciError, HttpFailure):
            return False

    def _dcos_log(self, task_id: str, offset: int) -> tuple[str, int] | None:
        """dcos-log v2; ``offset`` counts the bytes of its text, which each call reads from the beginning.

        It drops empty lines, so a cursor cannot be computed from the text (dcos-log: mesos/files/reader). None while it
        does not list the task.
        """
        path = f"/system/v1/logs/v2/task/{quote(task_id, safe='')}/file/stdout"
        try:
            reply = self._logs.request("GET", path, params=[("cursor", "BEG")], headers={"Accept": "text/plain"})
        except HttpFailure as failure:
            if failure.status == 500 and "task ID" in failure.message:
                return None
            raise
        if "html" in reply.headers.get("Content-Type", ""):
            raise ValueError("a user interface that answers every path")
        if 0 < len(reply.content) < offset:
            return "", 0
        return _decoded(reply.content[offset : offset + MOST], offset)

    def _files(self, task_id: str, offset: int) -> tuple[str, int] | None:
        """The Mesos files API on the task's agent; ``offset`` is one in the file. None while Mesos has no container."""
        if task_id not in self._sandboxes:
            sandbox = _sandbox(self._task(task_id))
            if sandbox is None:
                return None
            self._sandboxes[task_id] = sandbox
        agent, path = self._sandboxes[task_id]
        where = [("path", path), ("offset", str(offset)), ("length", str(CHUNK))]
        reply = self._logs.request("GET", f"/agent/{quote(agent, safe='')}/files/read", params=where)
        if len(reply.content) > MOST:
            raise ValueError("it is longer than requested")
        # Mesos puts the file's bytes into JSON unchanged: invalid or incomplete UTF-8 must not break the parser.
        found = self._answer(json_value(reply.content.decode("utf-8", "surrogateescape")))
        if found["offset"].whole(offset) < offset:  # Mesos answers the size of a shorter file
            return "", 0
        written = found["data"].text().encode("utf-8", "surrogateescape")
        whole = written.rfind(b"\n") + 1  # the next call reads a line that is not complete yet
        return _decoded(written[: whole or None], offset)

    def _task(self, task_id: str) -> JsonAnswer:
        """The task's entry in the state of Mesos, running or completed; a missing value without one."""
        state = self._answer(self._http.get("/mesos/master/state"))
        for framework in [*state["frameworks"].items(), *state["completed_frameworks"].items()]:
            for task in [*framework["tasks"].items(), *framework["completed_tasks"].items()]:
                if task["id"].value == task_id:
                    return task
        return self._answer(None)

    def _state_statuses(self, task_id: str) -> list[JsonAnswer]:
        return self._task(task_id)["statuses"].items()

    def _operator_statuses(self, task_id: str) -> list[JsonAnswer]:
        """The task's status updates from the operator API, which has their messages."""
        reply = self._http.request("POST", "/mesos/api/v1", json={"type": "GET_TASKS"}, harmless=True)
        found = self._answer(self._http.value(reply))["get_tasks"]
        for task in [*found["tasks"].items(), *found["completed_tasks"].items()]:
            if task["task_id"]["value"].value == task_id:
                return task["statuses"].items()
        return []

    def _answer(self, reply: Any) -> JsonAnswer:
        return JsonAnswer(reply, "Mesos", self._http.base_url)


def _reason(problem: Exception) -> str:
    """A sentence about a failed read."""
    if isinstance(problem, BgciError):
        return problem.message
    if isinstance(problem, HttpFailure):
        return f"{problem.url} answers {problem.status} {problem.message}".rstrip(" .") + "."
    return f"{problem}."


def _sandbox(task: JsonAnswer) -> tuple[str, str] | None:
    """Agent id and path of the task's stdout; None while its container is unknown."""
    for status in task["statuses"].items():
        container = status["container_status"]["container_id"]["value"].text()
        if container:
            agent = task["slave_id"].text()
            # A command task has no executor id: Mesos uses its task id.
            executor = task["executor_id"].text() or task["id"].text()
            framework = task["framework_id"].text()
            folder = SANDBOX.format(slave_id=agent, framework_id=framework, executor=executor, container=container)
            return agent, f"{folder}/stdout"
    return None


def _decoded(content: bytes, offset: int) -> tuple[str, int]:
    """The text of complete characters, and the offset after them: the next call reads an incomplete one."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(content)
    return text, offset + len(content) - len(decoder.getstate()[0])
