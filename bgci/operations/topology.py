"""Addresses of the canary, the baseline and the load balancers of a group while both revisions run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from bgci.appdef.app_definition import as_int, as_list, as_mapping, port_table
from bgci.checks.model import BASELINE, CANARY, LOAD_BALANCER
from bgci.checks.runner import Place
from bgci.dcos.running_app import Address, RunningApp, require_dates
from bgci.durations import duration_text
from bgci.errors import ConflictError, UnhealthyError
from bgci.interruption import pause
from bgci.operations.context import Context
from bgci.operations.owned_apps import require_owned

PAUSE = 0.5  # seconds between two polls


@dataclass(frozen=True)
class RunningPair:
    """The canary and its baseline; a first deployment has no baseline."""

    canary: RunningApp
    baseline: RunningApp | None

    def places(self, balancers: Sequence[Place]) -> dict[str, list[Place]]:
        """The places of the tests, by target."""
        return {
            CANARY: list(places_of(self.canary).values()),
            BASELINE: list(places_of(self.baseline).values()) if self.baseline else [],
            LOAD_BALANCER: list(balancers),
        }


def places_of(running: RunningApp) -> dict[str, Place]:
    """The healthy instances by task id."""
    secure = _secure_ports(running)
    healthy = enumerate(running.app.healthy, start=1)
    return {task.id: _place(f"instance {number}", running.addresses[task.id], secure) for number, task in healthy}


def _place(name: str, addresses: Sequence[Address], secure: set[int]) -> Place:
    urls = [f"{'https' if index in secure else 'http'}://{at.netloc}" for index, at in enumerate(addresses)]
    return Place(name, tuple(urls), addresses[0].netloc if addresses else "")


def _secure_ports(running: RunningApp) -> set[int]:
    """The ports, counted from 0, that speak TLS: by their health checks, or by their names."""
    checks = [as_mapping(check) for check in as_list(running.definition.get("healthChecks"))]
    secure = [check for check in checks if str(check.get("protocol")).endswith("HTTPS") and "port" not in check]
    names = [as_mapping(port).get("name") for port in port_table(running.definition)[2]]
    named = {index for index, name in enumerate(names) if name == "https"}
    return {as_int(check.get("portIndex")) for check in secure} | named


def group_of(context: Context) -> str:
    """The deployment group of the running app, empty if it does not run. Raises ConflictError for another app in it."""
    return require_owned(context).claim.group


def current_hybrid(context: Context, *, alone: bool = False) -> RunningPair:
    """The running canary and its baseline.

    Raises ConflictError unless the revision is a canary beside a baseline (``alone``: or the only one).
    """
    running = require_owned(context).apps
    require_dates(running)
    sides = sorted(running, key=lambda side: side.app.started_at)
    match sides:
        case [one] if alone and one.app.revision == context.revision:
            return RunningPair(one, None)
        case [old, new] if new.app.revision == context.revision:
            return RunningPair(new, old)
    runs = ", ".join(f"{side.app.id} (revision {side.app.revision or 'unknown'})" for side in sides) or "nothing"
    raise ConflictError(
        f"{context.revision} is not a canary beside a baseline. Running apps of {context.app_id}: {runs}.",
        remedy="Run `bgci canary` first; `bgci status` shows the running apps.",
    )


def healthy_hybrid(context: Context) -> RunningPair:
    """The same once every instance of the canary is healthy. Raises UnhealthyError after --timeout."""
    until = time.monotonic() + context.settings.timeout
    while True:
        hybrid = current_hybrid(context, alone=True)
        app = hybrid.canary.app
        if not app.instances:
            raise ConflictError(
                f"{app.id} is suspended (0 instances), so there is nothing to test.",
                remedy=f"Run `bgci canary` of {context.revision} to scale it up, or `bgci rollback` to remove it.",
            )
        if len(app.healthy) >= max(1, app.instances):
            return hybrid
        why = f"{len(app.healthy)} of {app.instances} instances of {app.id} are healthy"
        why += f": {app.trouble}" if app.trouble else ""
        if time.monotonic() > until:
            raise UnhealthyError(
                f"Timed out after {duration_text(context.settings.timeout)}: {why}.",
                remedy="Restore the baseline with `bgci rollback`.",
            )
        context.console.wait(why)
        pause(PAUSE)


def balancer_places(context: Context, hybrid: RunningPair) -> list[Place]:
    """The app behind each load balancer; empty without a load balancer."""
    if context.settings.service_url:
        services = enumerate(context.settings.service_url, start=1)
        return [Place(f"service {n}", (url.rstrip("/"),), urlsplit(url).netloc or url) for n, url in services]
    if not context.settings.marathon_lb_url:
        return []
    ports = (hybrid.baseline or hybrid.canary).public_ports
    hosts = [urlsplit(balancer.url).hostname or "" for balancer in context.balancers]
    return [
        _place(f"load balancer {number}", [Address(host, (), port) for port in ports], set())
        for number, host in enumerate(hosts, start=1)
        if ports
    ]


def described(hybrid: RunningPair, context: Context) -> dict[str, str]:
    """The properties of a JUnit suite: app, revision, image and the like."""
    return {
        "app": context.app_id,
        "revision": context.revision,
        "image": hybrid.canary.labels.get("BGCI_IMAGE") or context.settings.image,
        "colour": hybrid.canary.app.colour or "",
        "baseline": (hybrid.baseline.app.revision or "unknown") if hybrid.baseline else "none",
        "cluster": context.settings.cluster_url or context.settings.marathon_url,
    }
