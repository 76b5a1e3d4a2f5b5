"""Reads a journal: its events, and the whole observation and decision of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from bgci.bounded import json_value, own_file
from bgci.engine.observation import Observation
from bgci.reporting.rollout_record import decode_observation, merged

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
            if kind == "observed":
                value = dict(event["full"]) if "full" in event else merged(value, event.get("changed", {}))
                observation = decode_observation(float(event["now"]), value)
            if kind in ("observed", "unobserved"):
                before, step = step, event.get("step", step)
                decided = "do" in step or ("wait" in step and step["wait"] != before.get("wait"))
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError, RecursionError):
            continue
        yield Entry(kind, at, event, observation, step, decided)


def served_on(journal: Path, revision: str, rejected_at: float) -> float | None:
    """How long the canary got requests after it was rejected: seconds from the verdict (seconds since the epoch)
    until no load balancer had the revision in rotation. None if the journal does not show it.
    """
    try:
        lines = own_file(journal, MOST_OF_A_JOURNAL).decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    for observation in (entry.observation for entry in entries(lines)):
        if observation and observation.now >= rejected_at:
            tasks = (task for app in observation.apps if app.revision == revision for task in app.tasks)
            if not any(map(observation.is_up, tasks)):
                return observation.now - rejected_at
    return None
