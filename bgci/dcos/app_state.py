"""From Marathon's JSON and the load balancers' statistics to the values that ``decide`` thinks in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from bgci.appdef.app_definition import labels, service_ports
from bgci.dcos.marathon_lb import Endpoint, backend_name
from bgci.engine.model import App, Task
from bgci.redaction import redacted

# Tasks that Marathon lists and that still serve, or will. marathon: Condition.scala, marathon_lb: EXCLUDED_TASK_STATES
_ALIVE = {"TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_UNREACHABLE", "TASK_LOST"}
# Killed, and listed until Marathon has let go of the instance: marathon-lb still counts its health.
_DYING = {"TASK_KILLING", "TASK_KILLED"}


def app_from(raw: Mapping[str, Any], queue: Iterable[Mapping[str, Any]] = ()) -> App:
    """An app as GET /v2/apps with embedded tasks shows it. ``queue``: /v2/queue, to say why tasks are missing."""
    marks = labels(raw)
    started_at, zoned = started(marks.get("HAPROXY_DEPLOYMENT_STARTED_AT", ""))
    checked = bool(raw.get("healthChecks"))
    return App(
        id=str(raw["id"]),
        instances=int(raw.get("instances", 1)),
        tasks=tuple(_task(raw, task, checked) for task in raw.get("tasks", ()) if _listed(task)),
        revision=marks.get("BGCI_REVISION"),
        colour=marks.get("HAPROXY_DEPLOYMENT_COLOUR"),
        target=_number(marks.get("HAPROXY_DEPLOYMENT_TARGET_INSTANCES")),
        swappable="HAPROXY_DEPLOYMENT_NEW_INSTANCES" in marks,
        baseline_instances=_number(marks.get("BGCI_BASELINE_INSTANCES")) or None,
        started_at=started_at,
        started_at_zoned=zoned,
        last_scaling_at=timestamp(str(raw.get("versionInfo", {}).get("lastScalingAt", ""))),
        deployments=tuple(deployment["id"] for deployment in raw.get("deployments", ())),
        has_health_checks=checked,
        trouble=trouble(raw, queue),
    )


def _listed(task: Mapping[str, Any]) -> bool:
    return task.get("state", "TASK_RUNNING") in _ALIVE | _DYING


def _task(app: Mapping[str, Any], raw: Mapping[str, Any], checked: bool) -> Task:
    results = raw.get("healthCheckResults") or []
    state = raw.get("state", "TASK_RUNNING")
    alive: bool | None = any(result.get("alive") for result in results) if results else None
    return Task(
        id=str(raw["id"]),
        healthy=alive if checked else state == "TASK_RUNNING",
        dying=state in _DYING,
        url=_url(app, raw),
        ever_healthy=not checked or any(result.get("firstSuccess") or result.get("alive") for result in results),
    )


def endpoints(raw_apps: Sequence[Mapping[str, Any]], group: str) -> dict[str, list[Endpoint]]:
    """Where each task stands in the load balancers, by task id.

    marathon-lb puts the tasks of both colours into the backends of the one that it takes for old, port by port.
    """
    backends: dict[int, dict[str, None]] = {}
    for app in raw_apps:
        for index, port in enumerate(public_ports(app)):
            backends.setdefault(index, {})[backend_name(group, port)] = None
    return {
        str(task["id"]): [
            Endpoint(backend, host, ips, port)
            for index, (host, ips, port) in enumerate(addresses(app, task))
            for backend in backends.get(index, ())
        ]
        for app in raw_apps
        for task in app.get("tasks", ())
    }


def public_ports(raw: Mapping[str, Any]) -> list[int]:
    """The service ports as the load balancer binds them: label HAPROXY_{n}_PORT, else the app's own."""
    marks = labels(raw)
    return [_number(marks.get(f"HAPROXY_{n}_PORT")) or port for n, port in enumerate(service_ports(raw))]


def addresses(app: Mapping[str, Any], task: Mapping[str, Any]) -> list[tuple[str, tuple[str, ...], int]]:
    """(agent's host, the task's own ip if it has one, port) of each port of a task, as marathon-lb finds them
    (docs/platform.md, Names)."""
    host = str(task.get("host", ""))
    ips = tuple(str(ip["ipAddress"]) for ip in task.get("ipAddresses") or ())
    networks = app.get("networks") or [{}]
    if networks[0].get("mode") == "container" and ips:
        mappings = (app.get("container") or {}).get("portMappings") or []
        return [(host, ips[:1], int(mapping["containerPort"])) for mapping in mappings]
    return [(host, (), int(port)) for port in task.get("ports") or ()]


def _url(app: Mapping[str, Any], task: Mapping[str, Any]) -> str:
    for host, ips, port in addresses(app, task):
        place = ips[0] if ips else host
        return f"http://[{place}]:{port}" if ":" in place else f"http://{place}:{port}"
    return ""


def trouble(raw: Mapping[str, Any], queue: Iterable[Mapping[str, Any]]) -> str:
    """Why tasks of the app are not there or not healthy, as far as Marathon knows; empty when it does not."""
    reasons = []
    for entry in queue:
        if str(entry.get("app", {}).get("id", entry.get("id"))) == raw["id"]:
            reasons.append(_queued(entry))
    reasons += failing_checks(raw)
    failure = raw.get("lastTaskFailure")
    if failure and failure.get("version", raw.get("version")) == raw.get("version"):
        message = re.sub(r"\s+", " ", redacted(str(failure.get("message", ""))))[:300]
        reasons.append(f"last task failure: {failure.get('state')} {message} at {failure.get('timestamp')}")
    return "; ".join(reason for reason in reasons if reason)


def failing_checks(raw: Mapping[str, Any]) -> list[str]:
    """What the app's health checks complain about now. A task that is restarted for it takes its results with it."""
    failing = {
        str(result["lastFailureCause"])
        for task in raw.get("tasks", ())
        for result in task.get("healthCheckResults") or ()
        if not result.get("alive") and result.get("lastFailureCause")
    }
    return [f"health check failing ({cause})" for cause in sorted(failing)]


def _queued(entry: Mapping[str, Any]) -> str:
    delay = entry.get("delay", {})
    left = delay.get("timeLeftSeconds", 0)
    if not delay.get("overdue", True) and left > 0:
        return f"{entry.get('count')} tasks in launch queue, crash back-off for {left}s"
    summary = entry.get("processedOffersSummary", {})
    declined = [
        f"{part['reason']} {part['declined']}x"
        for part in summary.get("rejectSummaryLastOffers", ())
        if part.get("declined")
    ]
    why = f": {', '.join(declined)}" if declined else ""
    return f"{entry.get('count')} tasks in launch queue, waiting for offers{why}"


def started(text: str) -> tuple[float, bool]:
    """(seconds since the epoch, whether it names a time zone) of a STARTED_AT label; (0, False) when it is missing.

    Raises ValueError for a text that is no date: marathon-lb would stop on it as soon as there are two apps.
    """
    if not text:
        return 0.0, False
    moment = datetime.fromisoformat(
        re.sub(r"(\.\d{3,6})\d*", lambda m: m[1].ljust(7, "0"), text.replace("Z", "+00:00"))
    )
    zoned = moment.tzinfo is not None
    return (moment if zoned else moment.replace(tzinfo=timezone.utc)).timestamp(), zoned


def timestamp(text: str) -> float:
    """Seconds since the epoch of a Marathon time stamp (``2024-05-01T10:00:00.000Z``), 0 when it is missing."""
    return started(text)[0]


def started_at(now: float, baseline: App | None) -> str:
    """The STARTED_AT of a new app: UTC, later than the baseline's, with a zone only if the baseline's has one.

    marathon-lb compares the two; a naive one beside a zoned one stops it for the whole cluster (hazard 33), an
    earlier one (another clock, zdd's local time) makes the new app the old one (hazard 13).
    """
    moment = max(now, baseline.started_at + 1 if baseline else 0.0)
    zoned = baseline.started_at_zoned if baseline else False
    text = datetime.fromtimestamp(moment, timezone.utc).replace(tzinfo=None).isoformat(timespec="milliseconds")
    return f"{text}+00:00" if zoned else text


def _number(text: str | None) -> int | None:
    return int(text) if text and text.strip().isdecimal() else None
