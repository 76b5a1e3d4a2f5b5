"""Where the canary, the baseline and the load balancers of a group are reached while both revisions run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bgci.appdef.app_definition import as_mapping, labels, port_table
from bgci.checks.model import BASELINE, CANARY, LOAD_BALANCER
from bgci.checks.runner import Place
from bgci.dcos.app_state import addresses, app_from, public_ports
from bgci.engine.model import App
from bgci.errors import ConflictError, UnhealthyError
from bgci.operations.context import Context

PAUSE = 0.5  # seconds between two looks


@dataclass(frozen=True)
class Side:
    """One revision of the group: the app, and Marathon's own JSON of it."""

    app: App
    raw: Mapping[str, Any]

    def places(self) -> dict[str, Place]:
        """Its healthy instances by task id."""
        healthy = {task.id for task in self.app.healthy}
        return {str(task["id"]): _place(self.raw, task) for task in self.raw.get("tasks", ()) if task["id"] in healthy}


@dataclass(frozen=True)
class Hybrid:
    """The canary beside its baseline; without one at a first deployment."""

    canary: Side
    baseline: Side | None

    def places(self, balancers: Sequence[Place]) -> dict[str, list[Place]]:
        """By target."""
        return {
            CANARY: list(self.canary.places().values()),
            BASELINE: list(self.baseline.places().values()) if self.baseline else [],
            LOAD_BALANCER: list(balancers),
        }


def _place(raw: Mapping[str, Any], task: Mapping[str, Any]) -> Place:
    found = [_netloc(host, port) for host, _, port in addresses(raw, task)]
    secure = _secure_ports(raw)
    urls = tuple(f"{'https' if index in secure else 'http'}://{netloc}" for index, netloc in enumerate(found))
    return Place(found[0] if found else str(task["id"]), urls)


def _secure_ports(raw: Mapping[str, Any]) -> set[int]:
    """The ports, counted from 0, that speak TLS: by their health checks, or by their names."""
    checks = [check for check in raw.get("healthChecks") or () if str(check.get("protocol")).endswith("HTTPS")]
    named = [index for index, port in enumerate(port_table(raw)[2]) if as_mapping(port).get("name") == "https"]
    return {int(check.get("portIndex") or 0) for check in checks if "port" not in check} | set(named)


def _netloc(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def group_of(context: Context) -> str:
    """The deployment group of the app as it runs, empty when it does not run."""
    apps = context.cluster.marathon.colours(context.app_id)
    groups = {labels(app).get("HAPROXY_DEPLOYMENT_GROUP", "") for app in apps} - {""}
    return min(groups, default="")


def look(context: Context, *, alone: bool = False) -> Hybrid:
    """What stands now. Raises ConflictError unless the revision is a canary beside a baseline (``alone``: or is the
    only one)."""
    group = group_of(context)
    raws = context.cluster.marathon.group_apps(group) if group else []
    try:
        sides = sorted((Side(app_from(raw), raw) for raw in raws), key=lambda side: side.app.started_at)
    except ValueError as error:
        raise ConflictError(f"a label of group {group} is no date: {error}", remedy="correct it first") from None
    match sides:
        case [one] if alone and one.app.revision == context.revision:
            return Hybrid(one, None)
        case [old, new] if new.app.revision == context.revision:
            return Hybrid(new, old)
    runs = ", ".join(f"{side.app.id} (revision {side.app.revision or 'unknown'})" for side in sides) or "nothing"
    raise ConflictError(
        f"{context.revision} is not a canary beside a baseline, so there is nothing to test: {runs} runs of "
        f"{context.app_id}",
        remedy="put it there with `bgci canary` first; `bgci status` shows what runs",
    )


def settled(context: Context, *, alone: bool = False) -> Hybrid:
    """What stands once every instance of the canary is healthy. Raises UnhealthyError after --timeout."""
    until = time.monotonic() + context.settings.timeout
    while True:
        hybrid = look(context, alone=alone)
        app = hybrid.canary.app
        if len(app.healthy) >= max(1, app.instances):
            return hybrid
        why = f"{len(app.healthy)} of {app.instances} instances of {app.id} are healthy"
        why += f": {app.trouble}" if app.trouble else ""
        if time.monotonic() > until:
            raise UnhealthyError(
                f"the time-out of {context.settings.timeout:.0f}s has passed, and {why}",
                remedy="`bgci rollback` brings the baseline back",
            )
        context.console.wait(why)
        time.sleep(PAUSE)


def balancer_places(context: Context, hybrid: Hybrid) -> list[Place]:
    """The app behind each load balancer; empty where none is named."""
    if context.settings.service_url:
        return [Place(urlsplit(url).netloc or url, (url.rstrip("/"),)) for url in context.settings.service_url]
    if not context.settings.marathon_lb_url:
        return []
    ports = public_ports((hybrid.baseline or hybrid.canary).raw)
    hosts = [urlsplit(balancer.url).hostname or "" for balancer in context.balancers]
    netlocs = [[_netloc(host, port) for port in ports] for host in hosts]
    return [Place(found[0], tuple(f"http://{netloc}" for netloc in found)) for found in netlocs if found]


def described(hybrid: Hybrid, context: Context) -> dict[str, str]:
    """What a report says about it: the properties of a JUnit suite."""
    marks = labels(hybrid.canary.raw)
    return {
        "app": context.app_id,
        "revision": context.revision,
        "image": str(marks.get("BGCI_IMAGE") or context.settings.image),
        "colour": hybrid.canary.app.colour or "",
        "baseline": (hybrid.baseline.app.revision or "unknown") if hybrid.baseline else "none",
        "cluster": context.settings.cluster_url or context.settings.marathon_url,
    }
