"""Why a request failed: HAProxy's log line, the task's life, the task's log and bgci's steps at that moment."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import requests

Json = dict[str, Any]
AROUND = 1.0  # seconds before and after a failure in which something counts as near
LOG_LINE = re.compile(
    r"^(?P<time>[\d.]+) .*?: (?P<client>\S+) \S+/(?P<server>\S+) (?P<own>\S+) (?P<task>\S+) \S+ \S+ \S+ (?P<state>\S+) "
)
ENDS = ("TASK_KILLING", "TASK_KILLED", "TASK_FAILED", "TASK_FINISHED", "TASK_LOST")


@dataclass
class Evidence:
    """The evidence about one failure. ``log``: HAProxy's line; ``state``: its termination state, such as SH--."""

    failure: Json
    log: str = ""
    state: str = ""
    server: str = ""
    task_ended: float | None = None  # seconds after the request began; negative: before
    task_end: str = ""  # TASK_KILLING: the kill was requested
    reload: float | None = None  # seconds from the nearest reload to the failure
    task_said: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)


def classify(found: Evidence) -> str:
    """The cause of a failure, in a few words. "engine" in it: bgci's fault."""
    failure = found.failure
    near = ", near a reload" if found.reload is not None and abs(found.reload) <= AROUND else ""
    if found.state.startswith("C"):
        return "the client ended it"
    if found.server == "<NOSRV>":
        return "engine: no server in rotation"
    if found.task_ended is not None and found.task_ended <= AROUND + failure["ended"] - failure["began"]:
        return "engine: its task was killed" if found.task_end.startswith("TASK_KILL") else "its task ended by itself"
    if found.state.startswith("SC"):
        return f"its task did not accept the connection{near}"
    if found.state.startswith("SH"):
        return f"its task closed without an answer{near}"
    if found.state.startswith("s") or failure["error"] == "no answer in time":
        return "its task was too slow"
    if failure["requests"] > 1 and not failure["task"]:
        return f"a kept connection was closed as its next request left{near}"
    return f"the connection was cut{near}"


class TaskLives:
    """Follows Marathon's events: when each task ended."""

    def __init__(self, marathon_url: str) -> None:
        self._url = f"{marathon_url}/v2/events"
        self.ends: list[tuple[float, int, str, str]] = []  # time, port, task, status
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        with requests.get(self._url, stream=True, headers={"Accept": "text/event-stream"}, timeout=None) as stream:
            for line in stream.iter_lines():
                if line.startswith(b"data:") and b"status_update_event" in line:
                    self._note(json.loads(line[5:]))

    def _note(self, event: Json) -> None:
        if event["taskStatus"] in ENDS:
            at = datetime.fromisoformat(event["timestamp"].replace("Z", "+00:00")).timestamp()
            self.ends += [(at, int(port), event["taskId"], event["taskStatus"]) for port in event["ports"]]

    def end_of(self, port: int, task: str, began: float) -> tuple[float, str] | None:
        """When and how that task, or one at that port, ended, from a moment before that time on."""
        ends = [end for end in self.ends if (end[2] == task or end[1] == port) and end[0] > began - AROUND]
        return (min(ends)[0], min(ends)[3]) if ends else None


def evidence(failure: Json, log: Path, lives: TaskLives, tasks: Path, journal: Path) -> Evidence:
    """``log``: of the replica that got the request; ``tasks``: the directories of all tasks; ``journal``: bgci's."""
    found = Evidence(failure)
    lines = log.read_text(errors="replace").splitlines()
    began, ended = failure["began"], failure["ended"]
    found.reload = nearest((float(line.split()[0]) for line in lines if " stopped (cumulated" in line), ended)
    port = 0
    for match in filter(None, map(LOG_LINE.match, lines)):
        if match["client"] == f"127.0.0.1:{failure['port']}" and began - 1 < float(match["time"]) < ended + 5:
            found.log, found.server, found.state = match.string, match["server"], match["state"]
            port = int(match["task"].rpartition(":")[2])
            said = (text for path in tasks.glob("**/stderr") for text in path.read_text(errors="replace").splitlines())
            found.task_said = [text for text in said if match["own"] in text]
    end = lives.end_of(port, failure["task"], began)
    if end:
        found.task_ended, found.task_end = end[0] - began, end[1]
    found.steps = steps_near(journal, began, ended)
    return found


def nearest(times: Iterable[float], moment: float) -> float | None:
    """Seconds from the nearest of the times to that moment."""
    return min((moment - at for at in times), key=abs, default=None)


def steps_near(journal: Path, began: float, ended: float) -> list[str]:
    """bgci's steps at about that time."""
    found = []
    for line in journal.read_text().splitlines() if journal.exists() else []:
        entry = json.loads(line)
        step, now = entry.get("step"), entry.get("now", 0.0)
        if step and "do" in step and began - 5 * AROUND < now < ended + AROUND:
            found.append(json.dumps({"after": round(now - began, 3), **step})[:300])
    return found
