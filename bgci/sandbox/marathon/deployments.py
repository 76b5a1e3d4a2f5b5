"""Deployments: locks, and the condition that ends each action (marathon: S/core/deployment/impl)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bgci.sandbox import clock
from bgci.sandbox.marathon import plan
from bgci.sandbox.marathon.model import Action, App, Condition, Deployment, Instance, Spec
from bgci.sandbox.marathon.readiness import ReadinessChecker
from bgci.sandbox.marathon.store import Store
from bgci.sandbox.marathon.tasks import Launcher
from bgci.sandbox.web import ApiError

MAX_DEPLOYMENTS = 100
Specs = dict[str, Spec]
LOCKED = (
    "App is locked by one or more deployments. Override with the option '?force=true'. "
    "View details at '/v2/deployments/<DEPLOYMENT_ID>'."
)
TOO_MANY = (
    f"Max number ({MAX_DEPLOYMENTS}) of running deployments is achieved. "
    "Wait for existing deployments to complete or cancel one using force=true parameter."
)


class Deployments:
    """Turns changed definitions into running deployments, one per set of apps at a time."""

    def __init__(self, store: Store, launcher: Launcher, readiness: ReadinessChecker) -> None:
        self._store = store
        self._launcher = launcher
        self._readiness = readiness
        self._modern = store.options.dialect.modern
        self._running: set[asyncio.Task[None]] = set()
        launcher.ended = self.scale_check

    def change(
        self,
        mutate: Callable[[Specs], None],
        *,
        force: bool = False,
        restart: Sequence[str] = (),
        to_kill: Mapping[str, Sequence[str]] | None = None,
        restored: Mapping[str, App] | None = None,
    ) -> Deployment:
        """Applies ``mutate`` to the definitions by app id and starts the resulting deployment. Raises ApiError, and
        then changes nothing: 422 for dependencies in a circle, 409 if a touched app is locked, 403 with too many
        deployments, 500 without a free service port."""
        store = self._store
        version = clock.next_version()
        specs: Specs = {app_id: app.spec for app_id, app in store.apps.items()}
        mutate(specs)
        if plan.has_cycle(specs):
            details = [{"path": "/", "errors": ["Dependency graph has cyclic dependencies."]}]
            raise ApiError(422, {"message": "Object is not valid", "details": details})
        target = {i: self._next(i, spec, specs, version, restart=i in restart) for i, spec in specs.items()}
        target |= restored or {}
        steps = plan.steps(store.apps, target, to_kill or {})
        deployment = Deployment(str(uuid.uuid4()), version, dict(store.apps), target, steps)
        self._make_way(deployment, force=force)
        for app_id, app in target.items():
            if store.apps.get(app_id) != app:
                store.save_version(app)
        store.apps = target
        for app_id in deployment.original.keys() - target.keys():
            store.versions.pop(app_id, None)
            store.failures.pop(app_id, None)
        store.events.publish("group_change_success", groupId="/", version=version)
        self._start(deployment)
        return deployment

    def _next(self, app_id: str, spec: Spec, specs: Specs, version: str, *, restart: bool) -> App:
        old = self._store.apps.get(app_id)
        used = [port for app in self._store.apps.values() for port in plan.service_ports(app.spec)]
        used += [port for other in specs.values() for port in plan.service_ports(other)]
        try:
            spec = specs[app_id] = plan.assign_service_ports(spec, old.spec if old else None, used)
        except plan.PortsExhaustedError:
            limits = f"{plan.PORT_RANGE.start} and {plan.PORT_RANGE.stop - 1}"
            raise ApiError(500, {"message": f"All ports between {limits} are already in use"}) from None
        return plan.next_app(old, spec, version, restart=restart, modern=self._modern)

    def _make_way(self, deployment: Deployment, *, force: bool) -> None:
        conflicts = [d for d in self._store.deployments.values() if d.app_ids & deployment.app_ids]
        if conflicts and not force:
            raise ApiError(409, {"message": LOCKED, "deployments": [{"id": conflict.id} for conflict in conflicts]})
        if deployment.steps and not force and len(self._store.deployments) >= MAX_DEPLOYMENTS:
            raise ApiError(403, {"message": TOO_MANY})
        for conflict in conflicts:
            self.cancel(conflict)

    def cancel(self, deployment: Deployment) -> None:
        """Stops the deployment at its current step; the apps keep their partly changed state."""
        if self._store.deployments.pop(deployment.id, None) is None:
            return
        if deployment.runner is not None:
            deployment.runner.cancel()
        reason = "The upgrade has been cancelled"
        self._store.events.publish("deployment_failed", id=deployment.id, plan=light_plan(deployment), reason=reason)
        self._store.notify()

    def revert(self, deployment: Deployment) -> Deployment:
        """Starts a deployment that restores the earlier definitions of the affected apps; it deletes a created app.

        An app whose tasks were not replaced yet gets its earlier version again, so Marathon restarts nothing.
        Measured: cancelling ends an upgrade that cannot begin (docs/platform.md)."""
        before = {i: deployment.original[i] for i in deployment.app_ids & deployment.original.keys()}
        restored = {i: app for i, app in before.items() if self._modern and self._is_untouched(app)}

        def back(specs: Specs) -> None:
            for app_id in deployment.original.keys() | deployment.target.keys():
                before, after = deployment.original.get(app_id), deployment.target.get(app_id)
                if before is None:
                    specs.pop(app_id, None)
                elif before != after:
                    specs[app_id] = before.spec

        return self.change(back, force=True, restored=restored)

    def _is_untouched(self, app: App) -> bool:
        """Whether exactly the wanted instances of that version run."""
        instances = self._store.of_app(app.id)
        same = all(instance.wanted and instance.app.version == app.version for instance in instances)
        return same and len(instances) == app.instances

    def _start(self, deployment: Deployment) -> None:
        if not deployment.steps:
            self._store.events.publish("deployment_success", id=deployment.id, plan=light_plan(deployment))
            return
        self._store.deployments[deployment.id] = deployment
        runner = deployment.runner = asyncio.ensure_future(self._run(deployment))
        self._running.add(runner)
        runner.add_done_callback(self._running.discard)

    async def close(self) -> None:
        running = list(self._running)
        for runner in running:
            runner.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _run(self, deployment: Deployment) -> None:
        events = self._store.events
        for number, step in enumerate(deployment.steps, 1):
            deployment.current_step = number
            current = {"actions": [action.as_json() for action in step]}
            events.publish("deployment_info", plan=light_plan(deployment), currentStep=current)
            await asyncio.gather(*(self._perform(action, deployment) for action in step))
            events.publish("deployment_step_success", plan=light_plan(deployment), currentStep=current)
        self._store.deployments.pop(deployment.id, None)
        events.publish("deployment_success", id=deployment.id, plan=light_plan(deployment))
        self._store.notify()

    async def _perform(self, action: Action, deployment: Deployment) -> None:
        if action.kind == "Stop":
            await self._stop(action.app)
        elif action.kind == "Scale":
            await self._scale(action, deployment)
        elif action.kind == "Restart":
            await self._restart(action.app, deployment)

    async def _stop(self, app: App) -> None:
        await self._decommission(self._store.of_app(app.id))
        self._store.events.publish("app_terminated_event", appId=app.id)

    async def _decommission(self, instances: Sequence[Instance]) -> None:
        for instance in instances:
            self._store.decommission(instance)
        await self._store.until(lambda: all(self._is_gone(instance) for instance in instances))

    def _is_gone(self, instance: Instance) -> bool:
        return instance.condition.is_terminal or instance.id not in self._store.instances

    async def _scale(self, action: Action, deployment: Deployment) -> None:
        """Kills surplus instances and waits for their end, then starts missing ones and waits until they are ready."""
        app = action.app
        instances = self._store.of_app(app.id)
        agents = self._store.options.agents
        surplus = plan.scaling_proposition(instances, action.to_kill, app, action.scale_to, agents)
        await self._decommission(surplus)
        # As in Marathon, an instance that is being killed still counts. Once it has ended, the scale check replaces it.
        there = [i for i in self._store.of_app(app.id) if i.condition.is_active or i.is_scheduled]
        missing = max(0, action.scale_to - len(there))
        self._launcher.add(app, missing)
        if missing:
            await self._until_ready(app, deployment, lambda ready: len(ready) >= missing)

    def scale_check(self, app_id: str) -> None:
        """Scales an app that no deployment locks to its number of instances, after one of its instances has ended
        (marathon: ScaleAppUpdateStepImpl, SchedulerActions.scale)."""
        app = self._store.apps.get(app_id)
        if app is None or any(app_id in deployment.app_ids for deployment in self._store.deployments.values()):
            return
        instances = self._store.of_app(app_id)
        for instance in plan.scaling_proposition(instances, (), app, app.instances, self._store.options.agents):
            self._store.decommission(instance)
        self._launcher.add(app, max(0, app.instances - sum(instance.wanted for instance in instances)))

    async def _restart(self, app: App, deployment: Deployment) -> None:
        """Replaces every instance of an older version, within the bounds of the upgrade strategy."""
        if app.instances == 0:
            return
        current = self._store.of_app(app.id)
        kill_now, most = plan.restart_bounds(app, current, modern=self._modern)
        outdated = (i for i in current if i.app.version != app.version and i.wanted)
        old = sorted(outdated, key=lambda i: i.considered_healthy)
        to_kill = list(old)
        replaced: set[str] = set()

        def kill_next() -> None:
            if to_kill:
                self._store.decommission(to_kill.pop(0))

        def advance(ready: set[str]) -> bool:
            for instance_id in ready - replaced:
                replaced.add(instance_id)
                kill_next()
            left = [i for i in old if not self._is_gone(i)]
            for instance in old:
                if instance.condition.is_terminal and instance.wanted:
                    self._store.decommission(instance)
            started = sum(1 for i in self._store.of_app(app.id) if i.app.version == app.version and i.wanted)
            capacity = max(0, most - len(left) - started)
            self._launcher.add(app, min(max(0, app.instances - started), capacity))
            return not left and len(ready) >= app.instances

        for _ in range(kill_now):
            kill_next()
        await self._until_ready(app, deployment, advance)

    async def _until_ready(self, app: App, deployment: Deployment, enough: Callable[[set[str]], bool]) -> None:
        """Waits until ``enough`` accepts the ids of the instances of this version that are healthy and ready."""
        checks = app.spec.get("readinessChecks", [])

        def ready() -> set[str]:
            return {i.id for i in self._store.of_app(app.id) if self._is_ready(i, app, deployment)}

        if not checks:
            await self._store.until(lambda: enough(ready()))
            return
        async with self._readiness.watching(app, deployment):
            await self._store.until(lambda: enough(ready()))

    def _is_ready(self, instance: Instance, app: App, deployment: Deployment) -> bool:
        runs = instance.app.version == app.version and instance.wanted and instance.condition is Condition.RUNNING
        if not (runs and instance.considered_healthy):
            return False
        task = instance.task
        checked = task is not None and bool(deployment.readiness.get(task.id, {}).get("ready"))
        return checked or not app.spec.get("readinessChecks")


def light_plan(deployment: Deployment) -> dict[str, Any]:
    """The plan in the form used in events."""
    steps = [{"actions": [action.as_json() for action in step]} for step in deployment.steps]
    return {"id": deployment.id, "steps": steps, "version": deployment.version}
