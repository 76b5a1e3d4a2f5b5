"""Marathon's apps, tasks and launch queue as typed values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

from bgci.appdef.app_definition import GROUP_LABEL, service_ports
from bgci.appdef.colour import (
    APP_ID_LABEL,
    COLOUR_LABEL,
    STAND_IN_LABEL,
    STARTED_AT_LABEL,
    SWAPPABLE_LABEL,
    TARGET_LABEL,
)
from bgci.appdef.previous import Previous, previous
from bgci.dcos.json_answer import JsonAnswer
from bgci.dcos.marathon_lb import Endpoint, backend_name
from bgci.engine.observation import App, Task
from bgci.engine.ownership import Member, base_id
from bgci.errors import ConflictError
from bgci.redaction import redacted

# States of tasks that serve, or will serve. marathon: Condition.scala, marathon_lb: EXCLUDED_TASK_STATES
_ALIVE = {"TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_UNREACHABLE", "TASK_LOST"}
# Marathon lists a killed task until it has removed the instance, and marathon-lb still counts its health.
_DYING = {"TASK_KILLING", "TASK_KILLED"}
# Fields that GET /v2/apps adds to a definition (docs/platform.md, Apps).
_STATE = {
    *("tasks", "deployments", "lastTaskFailure", "version", "versionInfo", "readinessCheckResults", "tasksStats"),
    *(f"tasks{state}" for state in ("Staged", "Running", "Healthy", "Unhealthy")),
}


MOST_PORTS = 1000  # of a task that are read


@dataclass(frozen=True, slots=True)
class Address:
    """The address of one port of a task. ``host``: the agent, by name or address; ``ips``: the task's own, if any."""

    host: str
    ips: tuple[str, ...]
    port: int

    @property
    def netloc(self) -> str:
        """``host:port`` for a URL."""
        place = self.ips[0] if self.ips else self.host
        return f"[{place}]:{self.port}" if ":" in place else f"{place}:{self.port}"


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """The instances of one app that Marathon has not launched yet: how many, and why."""

    app_id: str
    count: int
    why: str


@dataclass(frozen=True)
class RunningApp:
    """An app as Marathon runs it. ``app``: the same for the engine.

    ``definition``: with Marathon's defaults, without tasks and state. ``addresses``: of each port, by task id.
    ``ready``: healthy tasks; without a health check running ones.
    ``since``: when each task became healthy, or started if it has no health result; by task id.
    """

    app: App
    definition: Mapping[str, Any]
    labels: Mapping[str, str] = field(default_factory=dict)
    addresses: Mapping[str, tuple[Address, ...]] = field(default_factory=dict)
    version: str = ""
    ready: int = 0
    since: Mapping[str, float] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.app.id

    @property
    def group(self) -> str:
        """The deployment group, empty without the label."""
        return self.labels.get(GROUP_LABEL, "")

    @property
    def revision(self) -> str:
        """The label BGCI_REVISION, empty for an app that bgci did not deploy."""
        return self.labels.get("BGCI_REVISION", "")

    @property
    def previous(self) -> Previous | None:
        """The revision that served before this app, None without one or without a record."""
        return previous(self.labels)

    @property
    def base_id(self) -> str:
        """The id of the app that this one is a colour of: ``/web`` for ``/web-blue`` (engine.ownership)."""
        return base_id(self.id, self.labels.get(APP_ID_LABEL))

    @property
    def member(self) -> Member:
        """This app in the form of ``engine.ownership``."""
        return Member(self.id, self.base_id, self.group)

    @cached_property
    def service_ports(self) -> list[int]:
        return service_ports(self.definition)

    @cached_property
    def public_ports(self) -> list[int]:
        """The service ports of the load balancer: label HAPROXY_{n}_PORT, else the app's own."""
        return [number(self.labels.get(f"HAPROXY_{n}_PORT")) or port for n, port in enumerate(self.service_ports)]

    @cached_property
    def balancer_groups(self) -> frozenset[str]:
        """The load balancers that serve the app: the parts of HAPROXY_GROUP and of each HAPROXY_{n}_GROUP."""
        names = ("HAPROXY_GROUP", *(f"HAPROXY_{index}_GROUP" for index in range(len(self.service_ports))))
        return frozenset(part for name in names for part in self.labels.get(name, "").split(",") if part)

    @property
    def drain_path(self) -> str:
        """The path of the app's idle probe, empty without one."""
        return self.labels.get("BGCI_DRAIN_PATH", "")

    @property
    def wrong_date(self) -> str:
        """The label HAPROXY_DEPLOYMENT_STARTED_AT if it is not a date; marathon-lb fails on it."""
        text = self.labels.get(STARTED_AT_LABEL, "")
        return text if moment(text) is None else ""

    def queued(self, queue: Iterable[QueueEntry]) -> RunningApp:
        """This app with its entries of the launch queue: ``app.queued``, and the reasons in ``app.trouble``."""
        mine = [entry for entry in queue if entry.app_id == self.id]
        reasons = [f"{entry.count} tasks in launch queue, {entry.why}" for entry in mine] + [self.app.trouble]
        app = replace(self.app, queued=sum(entry.count for entry in mine), trouble="; ".join(filter(None, reasons)))
        return replace(self, app=app)


def require_dates(apps: Iterable[RunningApp]) -> None:
    """Raises ConflictError for an app whose STARTED_AT is not a date: the older app is then unknown."""
    for app in apps:
        if app.wrong_date:
            raise ConflictError(
                f"{app.id} of group {app.group} has a {STARTED_AT_LABEL} that is not a date: {app.wrong_date!r}.",
                remedy="Correct the label: marathon-lb fails on it.",
            )


def running_app(answer: JsonAnswer) -> RunningApp:
    """An app in an answer of GET /v2/apps with embedded tasks. Raises UnavailableError for a value of a wrong type."""
    labels = answer["labels"].texts()
    definition = {key: value for key, value in answer.object().items() if key not in _STATE}
    checked = bool(answer["healthChecks"].items())
    listed = [task for task in answer["tasks"].items() if task["state"].text("TASK_RUNNING") in _ALIVE | _DYING]
    addresses = {task["id"].required().text(): _addresses(answer, task) for task in listed}
    complaints = _complaints(listed)
    started_at, zoned = moment(labels.get(STARTED_AT_LABEL, "")) or (0.0, False)
    app = App(
        id=answer["id"].required().text(),
        instances=answer["instances"].whole(1),
        tasks=tuple(_task(task, addresses, checked) for task in listed),
        revision=labels.get("BGCI_REVISION"),
        colour=labels.get(COLOUR_LABEL),
        target=number(labels.get(TARGET_LABEL)),
        swappable=SWAPPABLE_LABEL in labels,
        stand_in=STAND_IN_LABEL in labels,
        baseline_instances=number(labels.get("BGCI_BASELINE_INSTANCES")) or None,
        started_at=started_at,
        started_at_zoned=zoned,
        last_scaling_at=seconds_of(answer["versionInfo"]["lastScalingAt"].text()),
        configured_at=seconds_of(answer["versionInfo"]["lastConfigChangeAt"].text()),
        deployments=tuple(one["id"].required().text() for one in answer["deployments"].items()),
        has_health_checks=checked,
        trouble="; ".join([*complaints, *_last_failure(answer)]),
        complaint="; ".join(complaints),
        failure="".join(_last_failure(answer)),
        health_time=max((_health_time(check) for check in answer["healthChecks"].items()), default=0.0),
        check_window=check_window(answer["healthChecks"]),
    )
    ready = answer["tasksHealthy" if checked else "tasksRunning"].whole()
    since = {task["id"].text(): _healthy_since(task) for task in listed}
    return RunningApp(app, definition, labels, addresses, answer["version"].text(), ready, since)


def check_window(checks: JsonAnswer) -> float:
    """Seconds until a server that fails all of the app's health checks is DOWN to HAProxy. marathon-lb writes a check
    with these numbers for every protocol except COMMAND (docs/platform.md)."""
    written = (check for check in checks.items() if check["protocol"].text("HTTP") != "COMMAND")
    return max(map(_failing_time, written), default=0.0)


def _health_time(check: JsonAnswer) -> float:
    """Seconds in which a task must have passed this check: its grace period, then its maximum of failures."""
    return check["gracePeriodSeconds"].whole(300) + _failing_time(check)


def _failing_time(check: JsonAnswer) -> float:
    tries = check["maxConsecutiveFailures"].whole(3) + 1
    return float(tries * (check["intervalSeconds"].whole(60) + check["timeoutSeconds"].whole(20)))


def queue_entry(answer: JsonAnswer) -> QueueEntry:
    """An entry of GET /v2/queue. Raises UnavailableError for a value of a wrong type."""
    delay, offers = answer["delay"], answer["processedOffersSummary"]["rejectSummaryLastOffers"].items()
    declined = [(part["reason"].text("unknown reason"), part["declined"].whole()) for part in offers]
    left = 0.0 if delay["overdue"].flag(True) else delay["timeLeftSeconds"].number()
    why = f"crash back-off for {left:g}s" if left > 0 else "waiting for offers"
    if left <= 0 and any(count for _, count in declined):
        why += f": {', '.join(f'{reason} {count}x' for reason, count in declined if count)}"
    app_id = answer["app"]["id"].text() or answer["id"].text()
    return QueueEntry(app_id, answer["count"].whole(), why)


def endpoints(apps: Sequence[RunningApp], group: str) -> dict[str, list[Endpoint]]:
    """The servers of each task in the load balancers, by task id.

    marathon-lb puts the tasks of both colours into the backends of the old app, port by port.
    """
    backends: dict[int, dict[str, None]] = {}
    for app in apps:
        for index, port in enumerate(app.public_ports):
            backends.setdefault(index, {})[backend_name(group, port)] = None
    return {
        task_id: [
            Endpoint(backend, at.host, at.ips, at.port)
            for index, at in enumerate(found)
            for backend in backends.get(index, ())
        ]
        for app in apps
        for task_id, found in app.addresses.items()
    }


def _task(task: JsonAnswer, addresses: Mapping[str, tuple[Address, ...]], checked: bool) -> Task:
    results = [result for result in task["healthCheckResults"].items() if not result.missing]
    state, task_id = task["state"].text("TASK_RUNNING"), task["id"].text()
    alive = any(result["alive"].flag() for result in results) if results else None
    return Task(
        id=task_id,
        healthy=alive if checked else state == "TASK_RUNNING",
        dying=state in _DYING,
        url="".join(f"http://{at.netloc}" for at in addresses[task_id][:1]),
        ever_healthy=not checked or any(result["firstSuccess"].text() or result["alive"].flag() for result in results),
    )


def _healthy_since(task: JsonAnswer) -> float:
    """The time of the first success of a health check; without one the start."""
    first = [result["firstSuccess"].text() for result in task["healthCheckResults"].items() if not result.missing]
    return seconds_of(min(filter(None, first), default=task["startedAt"].text()))


def _addresses(app: JsonAnswer, task: JsonAnswer) -> tuple[Address, ...]:
    """The address of each port of a task, by marathon-lb's rules (docs/platform.md)."""
    host = task["host"].text()
    ips = tuple(ip["ipAddress"].text() for ip in task["ipAddresses"].items())
    networks = app["networks"].items()
    if networks and networks[0]["mode"].text() == "container" and ips:
        mappings = app["container"]["portMappings"].items()
        return tuple(Address(host, ips[:1], mapping["containerPort"].whole()) for mapping in mappings[:MOST_PORTS])
    return tuple(Address(host, (), port.whole()) for port in task["ports"].items()[:MOST_PORTS])


def _complaints(tasks: Iterable[JsonAnswer]) -> tuple[str, ...]:
    failing = {
        result["lastFailureCause"].text()
        for task in tasks
        for result in task["healthCheckResults"].items()
        if not result["alive"].flag()
    }
    return tuple(f"health check failing ({cause})" for cause in sorted(failing - {""}))


def _last_failure(app: JsonAnswer) -> list[str]:
    """The last task failure of the running version."""
    failure, version = app["lastTaskFailure"], app["version"].text()
    if failure.missing or failure["version"].text(version) != version:
        return []
    message = re.sub(r"\s+", " ", redacted(failure["message"].text()))[:300]
    return [f"last task failure: {failure['state'].text()} {message} at {failure['timestamp'].text()}"]


def moment(text: str) -> tuple[float, bool] | None:
    """(seconds since the epoch, whether it names a time zone) of a STARTED_AT label; (0, False) when it is missing.

    None for a text that is not a date.
    """
    if not text:
        return 0.0, False
    plain = re.sub(r"(\.\d{3,6})\d*", lambda found: found[1].ljust(7, "0"), text.replace("Z", "+00:00"))
    try:
        time = datetime.fromisoformat(plain)
        zoned = time.tzinfo is not None
        return (time if zoned else time.replace(tzinfo=timezone.utc)).timestamp(), zoned
    except (ValueError, OverflowError):
        return None


def seconds_of(text: str) -> float:
    """Seconds since the epoch of a time in Marathon's form; 0 for any other text."""
    return (moment(text) or (0.0, False))[0]


def started_at(now: float, baseline: App | None) -> str:
    """The STARTED_AT of a new app: UTC, later than the baseline's, with a zone only if the baseline's has one.

    marathon-lb compares the two. A label without a zone beside one with a zone stops it for the whole cluster (hazard
    33); an earlier one (another clock, zdd's local time) makes the new app the old one (hazard 13).
    """
    moment = max(now, baseline.started_at + 1 if baseline else 0.0)
    zoned = baseline.started_at_zoned if baseline else False
    text = datetime.fromtimestamp(moment, timezone.utc).replace(tzinfo=None).isoformat(timespec="milliseconds")
    return f"{text}+00:00" if zoned else text


def number(text: str | None) -> int | None:
    """The number in a label; None for a missing one and for any other text."""
    return int(text) if text and len(text) < 20 and text.strip().isdecimal() else None
