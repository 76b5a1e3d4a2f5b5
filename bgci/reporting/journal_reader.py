"""The journal's rollout events in the plain form that the report page reads: whole observations, steps and waits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bgci.reporting.rollout_log import summary
from bgci.reporting.rollout_record import decode_observation, merged

Event = Mapping[str, Any]


def expanded(events: Iterable[Event]) -> Iterator[Event]:
    """The events with each ``observed`` as its summary, and a ``step`` for each action and each new kind of wait.

    A journal of an earlier version has both already, and is left as it is.
    """
    value: dict[str, Any] = {}
    step: Mapping[str, Any] = {}
    for event in events:
        if event.get("event") == "goal":
            value, step = {}, {}
        if event.get("event") != "observed" or "now" not in event:
            yield event
            continue
        try:
            value = dict(event["full"]) if "full" in event else merged(value, event.get("changed", {}))
            yield {**event, **summary(decode_observation(float(event["now"]), value))}
            decision = event.get("step", step)
            if "do" in decision or ("wait" in decision and decision["wait"] != step.get("wait")):
                yield {**{name: event.get(name) for name in ("time", "offset", "at")}, "event": "step", **decision}
            step = decision
        except (AttributeError, KeyError, TypeError, ValueError):
            continue
