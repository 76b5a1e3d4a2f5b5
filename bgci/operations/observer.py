"""Reads Marathon and every load balancer replica into an Observation for the engine."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bgci.appdef.balancer_changes import balancer_changes, has_own_settings
from bgci.appdef.colour import coloured, stand_in
from bgci.dcos.balancer_state import balancer_state, every_endpoint
from bgci.dcos.haproxy_workers import LONGEST
from bgci.dcos.idle_probe import answers_ok
from bgci.dcos.marathon import Marathon
from bgci.dcos.marathon_lb import LoadBalancer
from bgci.dcos.running_app import RunningApp, endpoints, require_dates, started_at
from bgci.engine.decisions import Create, Release, Restore
from bgci.engine.observation import App, Observation, Replica, Serving
from bgci.engine.ownership import Claim
from bgci.errors import BgciError, ConflictError
from bgci.operations.owned_apps import require_ours

FRESH = 2.0  # seconds; limit of one observation, because its first part is outdated after more
READINGS = 3  # attempts with a slow cluster before a slow observation is used anyway
QUICK_LOOKS = 1.0  # seconds for which the load balancers need not be read again while a placeholder is launched


class Observer:
    """Observes one deployment group: the apps of the claim in it.

    ``refuse``: raise for another app in the group, instead of ignoring it.
    """

    def __init__(
        self, marathon: Marathon, balancers: Sequence[LoadBalancer], *, claim: Claim, refuse: bool = True
    ) -> None:
        self._marathon = marathon
        self._claim = claim
        self._refuse = refuse
        self._balancers = balancers
        self._running: list[RunningApp] = []
        self._kept: dict[str, dict[str, Any]] = {}  # by app id: its definition in the first observation
        self._replicas: tuple[Replica, ...] = ()  # read at ``_balanced_at``
        self._balanced_at = 0.0
        self.drain_known_within = LONGEST  # seconds; 0 without a wait for a drain (`LoadBalancer.read`)
        self._differ: dict[tuple[str, ...], bool] = {}
        self._epoch = time.time() - time.monotonic()

    def observe(self, group: str, *, quickly: bool = False) -> Observation:
        """The current state of the group. Raises UnavailableError or DeniedError when Marathon cannot be read,
        ConflictError for another app in the group, and for a label that marathon-lb cannot read either.

        quickly: reuse the load balancers' last state if it is less than a second old. A placeholder must be killed
        before its first health check, and a task can be healthy a tenth of a second after its launch.
        """
        for _ in range(READINGS):
            began = self.now()
            seen = self._observed(group, quickly=quickly and began - self._balanced_at < QUICK_LOOKS)
            if seen.now - began <= FRESH or any(replica.problem for replica in seen.replicas):
                break
        return seen

    def _observed(self, group: str, *, quickly: bool) -> Observation:
        members = self._marathon.group_apps(group)
        claim = replace(self._claim, group=group)
        running = require_ours(members, claim) if self._refuse else [one for one in members if claim.owns(one.member)]
        require_dates(running)
        if any(one.app.alive < one.app.instances for one in running) and not quickly:
            queue = self._marathon.queue()
            running = [one.queued(queue) for one in running]
        self._running = list(running)
        wanted = endpoints(self._running, group)
        for one in self._running:
            known = self._kept.get(one.id)
            if one.app.stand_in:
                continue
            if known is None or known.get("labels", {}).get("BGCI_REVISION") != one.app.revision:
                self._kept[one.id] = dict(one.definition)
        if not quickly:
            self._replicas = tuple(
                balancer.read(wanted, within=self.drain_known_within) for balancer in self._balancers
            )
            self._balanced_at = self.now()
        seen = Observation(self.now(), tuple(one.app for one in self._running), self._replicas, self._settings_differ())
        return replace(seen, apps=tuple(self._probed(one, seen) for one in self._running))

    def apps(self, app_ids: Collection[str]) -> tuple[App, ...]:
        """These apps, read again to confirm a kill or a delete; without those that no longer exist."""
        return tuple(found.app for app_id in app_ids if (found := self._marathon.app(app_id)))

    def now(self) -> float:
        """Seconds since the epoch, on a clock that never jumps: timers of the engine rely on it."""
        return self._epoch + time.monotonic()

    def serving_definition(self) -> dict[str, Any]:
        """The definition of the app that serves, as observed last, without tasks and state; empty without an app."""
        return dict(self._running[0].definition) if self._running else {}

    def new_app(self, step: Create, seen: Observation, release: Release) -> dict[str, Any]:
        """The app definition for this step. Raises ConflictError when the release has no definition."""
        if step.stand_in:
            running = self._running[0]
            return stand_in(running.definition, instances=step.instances, started_at=started_at(seen.now, running.app))
        if release.definition is None:
            raise ConflictError("The app definition to deploy is missing.", remedy="Run `bgci render` first.")
        baseline = seen.apps[0] if seen.apps else None
        return coloured(
            release.definition,
            revision=release.revision,
            image=release.image,
            baseline=self._running[0].definition if self._running else None,
            instances=step.instances,
            started_at=started_at(seen.now, baseline),
            swappable=step.swappable,
        )

    def diagnosis(self) -> str:
        """Why a load balancer lags behind Marathon; empty if none lags, or if none can be read."""
        try:
            apps = self._marathon.apps()
            wanted = every_endpoint(apps)
            base = next((one.base_id for one in self._running), "")
            censuses = [balancer.census(wanted) for balancer in self._balancers]
        except BgciError:  # the next observation has the error
            return ""
        states = (balancer_state(apps, census, base, time.time()) for census in censuses)
        return " ".join(state.text.strip() for state in states if state.text)

    def keep(self, definition: Mapping[str, Any]) -> None:
        """Keep a definition of an earlier run, for ``as_it_ran``."""
        self._kept.setdefault(str(definition["id"]), dict(definition))

    def kept(self, app_id: str) -> dict[str, Any] | None:
        """The definition of an app in its first observation; None for an unknown app."""
        return self._kept.get(app_id)

    def as_it_ran(self, step: Restore) -> dict[str, Any]:
        """The definition of a deleted app."""
        return {**self._kept[step.app_id], "instances": step.instances}

    def _settings_differ(self) -> bool:
        """Whether the load-balancer settings of the two running apps differ; for an app that runs alone, whether they
        differ from the defaults."""
        if len(self._running) == 1:
            return has_own_settings(self._running[0].definition)
        if len(self._running) != 2:
            return False
        key = tuple(text for one in self._running for text in (one.id, one.version))
        if key not in self._differ:
            one, other = self._running
            self._differ[key] = bool(balancer_changes(one.definition, other.definition))
        return self._differ[key]

    def request_reload(self) -> None:
        """Ask every load balancer to read Marathon again (hazard 38)."""
        for balancer in self._balancers:
            balancer.request_reload()

    def _probed(self, running: RunningApp, seen: Observation) -> App:
        """Add the results of the drained tasks' idle probes, if the app has one."""
        if not running.drain_path:
            return running.app

        def idle(task_id: str) -> bool:
            out = all(replica.server(task_id).serving is Serving.MAINT for replica in seen.replicas)
            places = running.addresses[task_id]
            return out and bool(places) and answers_ok(f"http://{places[0].netloc}{running.drain_path}")

        return replace(running.app, tasks=tuple(replace(task, idle=idle(task.id)) for task in running.app.tasks))
