"""Selects the draining tasks of a blue/green pair by marathon-lb's rules, quirks included (``get_apps``).

An error raised here (KeyError, TypeError, ValueError, IndexError) stops the real marathon-lb from updating *any* app;
the caller keeps its configuration unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

Json = dict[str, Any]

GROUP = "HAPROXY_DEPLOYMENT_GROUP"
STARTED_AT = "HAPROXY_DEPLOYMENT_STARTED_AT"
NEW_INSTANCES = "HAPROXY_DEPLOYMENT_NEW_INSTANCES"
TARGET_INSTANCES = "HAPROXY_DEPLOYMENT_TARGET_INSTANCES"

_ISO = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"(?:[T ](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?"
    r"\s?(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.IGNORECASE,
)


def parse_time(text: str) -> datetime:
    """An ISO 8601 date and time, zoned only if the text is (Python 3.10's ``fromisoformat`` rejects ``Z``).

    :raises ValueError: the text is not such a date
    """
    found = _ISO.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"not an ISO 8601 date: {text!r}")
    part = found.groupdict(default="0")
    moment = datetime.strptime(part["date"], "%Y-%m-%d").replace(
        hour=int(part["hour"]),
        minute=int(part["minute"]),
        second=int(part["second"]),
        microsecond=int(part["fraction"][:6].ljust(6, "0")),
    )
    return moment.replace(tzinfo=_zone(found["zone"])) if found["zone"] else moment


def _zone(text: str) -> timezone:
    if text in "Zz":
        return timezone.utc
    digits = text[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == "-" else offset)


def merge_groups(apps: Iterable[Json]) -> list[Json]:
    """Marathon's apps with those of one deployment group merged into one, its draining tasks marked ``draining: True``.

    Each app needs ``id``, ``labels``, ``tasks`` and, in a group, ``instances`` and ``versionInfo``. A merged app is the
    *old* one with the tasks of both, as ``/<group>``; a third is merged into it.

    It changes the given apps in place, as marathon-lb does. A second call with the same apps adds the new app's tasks
    once more and counts them twice: a backend lists servers twice, or all its servers are in maintenance.
    """
    alone: list[Json] = []
    groups: dict[str, Json] = {}
    for app in apps:
        if GROUP not in app["labels"]:
            alone.append(app)
            continue
        group = app["labels"][GROUP]
        name = app["id"] = group if group[0] == "/" else f"/{group}"
        groups[name] = merge_pair(groups[name], app) if name in groups else app
    return alone + list(groups.values())


def merge_pair(first: Json, last: Json) -> Json:
    """Adds the new app's tasks to the old app of the pair. ``first`` is listed before ``last``."""
    # The app listed last decides whether health counts, be it the old or the new one.
    healthy_matters = bool(last.get("healthChecks"))
    old, new = (first, last) if _started_at(first) < _started_at(last) else (last, first)
    target = 1
    if NEW_INSTANCES in new["labels"]:
        # marathon_lb.py:1674 compares the label's text with the number 0, so "0" counts as well.
        if _scaled_at(old) > _scaled_at(new):
            old, new = new, old
        target = int(new["labels"][TARGET_INSTANCES])
    healthy = healthy_tasks(new) if healthy_matters else new["instances"]
    count = drain_count(tasks=len(old["tasks"]), instances=old["instances"], healthy_new=healthy, target=target)
    by_id = sorted(old["tasks"], key=lambda task: str(task["id"]))
    for task in by_id[:count]:
        task["draining"] = True
    old["tasks"] = by_id + new["tasks"]
    return old


def drain_count(*, tasks: int, instances: int, healthy_new: int, target: int) -> int:
    """The number of the old app's tasks to take out of rotation."""
    return min(tasks, healthy_new, max(0, healthy_new + instances - target))


def healthy_tasks(app: Json) -> int:
    """Tasks with at least one live result, whatever their state: a dying task counts."""
    return sum(any(result["alive"] for result in task.get("healthCheckResults", ())) for task in app["tasks"])


def _started_at(app: Json) -> datetime:
    # Without the label: the earliest date, without a zone. Comparing it with a zoned date raises TypeError.
    text = app["labels"].get(STARTED_AT)
    return datetime.min if text is None else parse_time(text)


def _scaled_at(app: Json) -> datetime:
    return parse_time(app["versionInfo"]["lastScalingAt"])
