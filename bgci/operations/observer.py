"""Reads Marathon and every load balancer replica, and gives what the engine thinks in: an Observation.

Raw JSON of a rollout ends here: the driver and the engine only see typed values.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bgci.appdef.colour import coloured
from bgci.dcos.app_state import addresses, app_from, endpoints, failing_checks, started_at
from bgci.dcos.marathon import Marathon
from bgci.dcos.marathon_lb import LoadBalancer
from bgci.engine.model import App, Create, Observation, Release, Serving
from bgci.errors import ConflictError

# Fields that GET /v2/apps adds to a definition (docs/platform.md, Apps).
_STATE = {
    "tasks",
    "deployments",
    "lastTaskFailure",
    "version",
    "versionInfo",
    "readinessCheckResults",
    "tasksStats",
} | {f"tasks{state}" for state in ("Staged", "Running", "Healthy", "Unhealthy")}


class Observer:
    """Observes one deployment group. ``idle`` asks the idle probe of one task by its URL."""

    def __init__(
        self,
        marathon: Marathon,
        balancers: Sequence[LoadBalancer],
        *,
        idle: Callable[[str], bool] = lambda url: False,
    ) -> None:
        self._marathon = marathon
        self._balancers = balancers
        self._idle = idle
        self._raw: list[dict[str, Any]] = []
        self._complaints: dict[str, str] = {}  # by app id: the last failure that its health checks reported

    def observe(self, group: str) -> Observation:
        """The group as it is now. Raises UnavailableError or DeniedError when Marathon cannot be read, ConflictError
        for a label that marathon-lb cannot read either."""
        self._raw = self._marathon.group_apps(group)
        missing = any(len(app.get("tasks", ())) < app.get("instances", 0) for app in self._raw)
        queue = self._marathon.queue() if missing else []
        try:
            apps = tuple(app_from(app, queue) for app in self._raw)
        except ValueError as error:
            raise ConflictError(
                f"an app of group {group} has a HAPROXY_DEPLOYMENT_STARTED_AT that is no date: {error}",
                remedy="marathon-lb would stop on it; correct the label first",
            ) from None
        self._complaints |= {str(app["id"]): "; ".join(said) for app in self._raw if (said := failing_checks(app))}
        wanted = endpoints(self._raw, group)
        seen = Observation(time.time(), apps, tuple(balancer.read(wanted) for balancer in self._balancers))
        return replace(seen, apps=tuple(self._probed(app, raw, seen) for app, raw in zip(apps, self._raw, strict=True)))

    def apps(self, app_ids: Collection[str]) -> tuple[App, ...]:
        """Those of these apps that exist, read again now: what a kill or a delete is checked against."""
        return tuple(app_from(raw) for app_id in app_ids if (raw := self._marathon.app(app_id)))

    def complaint(self, app_id: str) -> str:
        """The last failure that the health checks of the app reported; empty when none did.

        A task that Marathon restarts for a failing check takes its results with it, so the observation of that moment
        cannot say why.
        """
        return self._complaints.get(app_id, "")

    def serving_definition(self) -> dict[str, Any]:
        """The definition of the app that serves, as observed last, without tasks and state; empty without an app."""
        raw = self._raw[0] if self._raw else {}
        return {key: value for key, value in raw.items() if key not in _STATE}

    def new_app(self, step: Create, seen: Observation, release: Release) -> dict[str, Any]:
        """The app definition that this step posts. Raises ConflictError when the release has no definition."""
        if release.definition is None:
            raise ConflictError("there is no app definition to deploy", remedy="run `bgci render` first")
        baseline = seen.apps[0] if seen.apps else None
        return coloured(
            release.definition,
            revision=release.revision,
            image=release.image,
            baseline=self._raw[0] if self._raw else None,
            instances=step.instances,
            started_at=started_at(seen.now, baseline),
            swappable=step.swappable,
        )

    def request_reload(self) -> None:
        """Ask every load balancer to read Marathon again (hazard 38)."""
        for balancer in self._balancers:
            balancer.nudge()

    def _probed(self, app: App, raw: Mapping[str, Any], seen: Observation) -> App:
        """Ask the drained tasks of the app whether they are idle, where the app has an idle probe."""
        path = raw.get("labels", {}).get("BGCI_DRAIN_PATH")
        if not path:
            return app
        places = {str(task["id"]): addresses(raw, task) for task in raw.get("tasks", ())}

        def idle(task_id: str) -> bool:
            out = all(replica.server(task_id).serving is Serving.MAINT for replica in seen.replicas)
            host, ips, port = (places.get(task_id) or [("", (), 0)])[0]
            place = ips[0] if ips else host
            return out and bool(place) and self._idle(f"http://{place}:{port}{path}")

        return replace(app, tasks=tuple(replace(task, idle=idle(task.id)) for task in app.tasks))
