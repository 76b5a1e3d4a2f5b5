"""The log of a task, while it runs and after it has ended (docs/platform.md, Logs of a task)."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from bgci.bounded import json_value
from bgci.dcos.http import Http
from bgci.dcos.http_failure import HttpFailure
from bgci.dcos.json_answer import JsonAnswer
from bgci.errors import BgciError

Way = Callable[[str, int], tuple[str, int] | None]  # task id, offset -> text, next offset
CHUNK = 1 << 16  # bytes that the files API is asked for
MOST = 1 << 20  # bytes of one read; the next one continues there
ENDED = {"TASK_FINISHED", "TASK_FAILED", "TASK_KILLED"}  # its executor has seen the process's end
SANDBOX = "/var/lib/mesos/slave/slaves/{slave_id}/frameworks/{framework_id}/executors/{executor}/runs/{container}"


class TaskLog:
    """Reads below the cluster's address: dcos-log first (one permission), else the Mesos files API.

    Keeps the source that worked for a task, because offsets differ between the sources.
    """

    def __init__(self, http: Http) -> None:
        self._http = http.below("", name="The cluster's log service")
        self._ways: dict[str, Way] = {}
        self._sandboxes: dict[str, tuple[str, str]] = {}  # task id -> agent id, path of its stdout

    def read(self, task_id: str, offset: int) -> tuple[str, int] | None:
        """The text since ``offset`` (0 at first, then the last returned one), and the next offset.

        An empty text without news, or without such a task yet; None if the log is not available. Never raises, because
        a log is optional.
        """
        known = self._ways.get(task_id)
        expected = known is not None
        for way in [known] if known else [self._dcos_log, self._files]:
            try:
                found = way(task_id, offset)
            except (BgciError, HttpFailure, ValueError):
                continue
            if found:
                self._ways[task_id] = way
                return found
            expected = True
        return ("", offset) if expected else None

    def exit_message(self, task_id: str) -> str | None:
        """Mesos' message about the end of the task ("Command exited with status 8"); None if unknown."""
        # The state of Mesos leaves messages out in most versions (mesos: common/http.cpp); the operator API has them.
        for source in (self._state_statuses, self._operator_statuses):
            try:
                messages = [text for status in source(task_id) if (text := status["message"].text())]
            except (BgciError, HttpFailure):
                continue
            if messages:
                return messages[-1]
        return None

    def was_stopped(self, task_id: str) -> bool:
        """Whether Mesos was asked to end the task: an operator stopped its run, or replaced its job. False when it is
        not known."""
        for source in (self._state_statuses, self._operator_statuses):
            try:
                states = [status["state"].text() for status in source(task_id)]
            except (BgciError, HttpFailure):
                continue
            if states:
                return "TASK_KILLED" in states
        return False

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
            reply = self._http.request("GET", path, params=[("cursor", "BEG")], headers={"Accept": "text/plain"})
        except HttpFailure as failure:
            if failure.status == 500 and "task ID" in failure.message:
                return None
            raise
        if "html" in reply.headers.get("Content-Type", ""):
            raise ValueError("a user interface that answers every path")
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
        reply = self._http.request("GET", f"/agent/{quote(agent, safe='')}/files/read", params=where)
        if len(reply.content) > MOST:
            raise ValueError("it is longer than requested")
        # Mesos puts the file's bytes into JSON unchanged: invalid or incomplete UTF-8 must not break the parser.
        data = self._answer(json_value(reply.content.decode("utf-8", "surrogateescape")))["data"]
        written = data.text().encode("utf-8", "surrogateescape")
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
