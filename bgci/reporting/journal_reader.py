"""Reads a journal: its events, and the whole observation and decision of each."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from bgci.bounded import json_value, own_file
from bgci.engine.observation import Observation, Task
from bgci.reporting.rollout_record import decode_observation, decoded, merged

MOST_OF_A_JOURNAL = 8_000_000  # bytes: a rollout of half an hour writes some millions


@dataclass(frozen=True)
class Entry:
    """One event. ``at``: its time, in seconds since the epoch. ``step``: the current decision after it, as JSON;
    ``decided``: whether that is an action, or a wait with a new cause."""

    kind: str
    at: float
    event: Mapping[str, Any]
    observation: Observation | None = None
    step: Mapping[str, Any] = field(default_factory=dict)
    decided: bool = False


def entries(lines: Iterable[str]) -> Iterator[Entry]:
    """The events of a journal, without unreadable lines, such as an incomplete one."""
    value: dict[str, Any] = {}
    step: Mapping[str, Any] = {}
    for line in filter(None, lines):
        try:
            event = json_value(line)
            kind, observation, decided = str(event["event"]), None, False
            at = datetime.fromisoformat(event["time"].replace("Z", "+00:00")).timestamp()
            if kind == "goal":
                value, step = {}, {}
            now = decoded(float, event["now"]) if kind in ("observed", "unobserved", "refused") else 0.0
            if kind == "refused":
                decoded(str, event["reason"])
            if kind == "observed":
                value = dict(event["full"]) if "full" in event else merged(value, event.get("changed", {}))
                observation = decode_observation(now, value)
            if kind in ("observed", "unobserved"):
                before, step = step, event.get("step", step)
                decided = "do" in step or ("wait" in step and step["wait"] != before.get("wait"))
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError, RecursionError):
            continue
        yield Entry(kind, at, event, observation, step, decided)


def lines_of(content: bytes) -> Iterator[str]:
    """The lines of a journal, one at a time: all of them together take many times its size."""
    return (line.decode("utf-8", "replace").strip() for line in io.BytesIO(content))


def served_on(journal: Path, revision: str, since_verdict: float) -> float | None:
    """How long the canary got requests after it was rejected: seconds from the verdict until no load balancer had the
    revision in rotation. None where the journal does not show it.

    since_verdict: seconds until now, when the rollback has just ended. The rollback's observations are on the clock of
    its job, so only the time between two of them counts.
    """
    try:
        lines = lines_of(own_file(journal, MOST_OF_A_JOURNAL))
    except OSError:
        return None
    found: list[Observation] = []  # of the last goal, which is the rollback
    for entry in entries(lines):
        if entry.kind == "goal":
            found = []
        if entry.observation:
            found.append(entry.observation)
    serves = [any(one.is_up(task) for task in _tasks_of(revision, one)) for one in found]
    if not any(serves) or all(serves):
        return None
    left = found[len(serves) - serves[::-1].index(True)]  # the first observation after the last in which it serves
    return since_verdict - (found[-1].now - left.now)


def _tasks_of(revision: str, observation: Observation) -> Iterator[Task]:
    return (task for app in observation.apps if app.revision == revision for task in app.tasks)
