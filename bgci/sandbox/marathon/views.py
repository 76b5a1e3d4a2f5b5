"""JSON responses from Marathon's state (marathon: S/core/appinfo, S/raml)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

from bgci.sandbox.marathon.model import App, Condition, Deployment, Health, Instance, Task
from bgci.sandbox.marathon.plan import service_ports
from bgci.sandbox.marathon.store import Store

Json = dict[str, Any]


def embeds(values: Iterable[str]) -> set[str]:
    """The requested embeds; unknown values are ignored (marathon: InfoEmbedResolver.scala)."""
    found: set[str] = set()
    for value in values:
        name = value
        for prefix in ("group.apps.", "apps.", "app."):
            name = name.removeprefix(prefix)
        found.add({"failures": "lastTaskFailure"}.get(name, name))
    return found | {"deployments"} if "tasks" in found else found


def app_definition(app: App, *, version_info: bool = True) -> Json:
    """The definition with its versions."""
    shown = {**app.spec, "version": app.version}
    if version_info:
        shown["versionInfo"] = {"lastScalingAt": app.last_scaling, "lastConfigChangeAt": app.last_config}
    return shown


def app_info(store: Store, app: App, embed: Collection[str]) -> Json:
    """An app with counts and deployments, and the requested embeds."""
    instances = store.of_app(app.id)
    mine = [deployment for deployment in store.deployments.values() if app.id in deployment.app_ids]
    shown = app_definition(app) | counts(instances)
    shown["deployments"] = [{"id": deployment.id} for deployment in mine]
    if "readiness" in embed:
        results = [result for d in mine for result in readiness_results(d, app.id)]
        shown["readinessCheckResults"] = results
    if "tasks" in embed:
        shown["tasks"] = tasks(instances)
    if "lastTaskFailure" in embed and app.id in store.failures:
        shown["lastTaskFailure"] = store.failures[app.id]
    if "taskStats" in embed:
        shown["tasksStats" if store.options.dialect.modern else "taskStats"] = task_stats(app, instances)
    return shown


def counts(instances: Iterable[Instance]) -> dict[str, int]:
    """The four counts. Health counts as long as a task is listed; a task that is being killed does not run."""
    listed = [instance for instance in instances if instance.task and not instance.is_scheduled]
    staging = (Condition.PROVISIONED, Condition.STAGING)
    results = [instance.health.values() for instance in listed]
    return {
        "tasksStaged": sum(instance.condition in staging for instance in listed),
        "tasksRunning": sum(instance.condition is Condition.RUNNING for instance in listed),
        "tasksHealthy": sum(bool(health) and all(h.alive for h in health) for health in results),
        "tasksUnhealthy": sum(any(not h.alive for h in health) for health in results),
    }


def tasks(instances: Iterable[Instance], *, ports: list[int] | None = None) -> list[Json]:
    """The tasks of these instances; one that never had a task is not shown."""
    return [task_json(instance, instance.task, ports or []) for instance in instances if instance.task]


def task_json(instance: Instance, task: Task, ports: list[int]) -> Json:
    active = instance.condition.is_active
    shown: Json = {
        "id": task.id,
        "appId": instance.app_id,
        "host": task.host,
        "slaveId": task.agent_id,
        "state": instance.condition.task_state,
        "ports": task.ports if active else [],
        "servicePorts": ports,
        "ipAddresses": [{"ipAddress": task.ip, "protocol": "IPv4"}],
        "healthCheckResults": [health_json(health, instance.id) for _, health in sorted(instance.health.items())],
        "localVolumes": [],
    }
    if "role" in instance.app.spec:
        shown["role"] = instance.app.spec["role"]
    if active:
        shown |= {"stagedAt": task.staged_at, "version": task.app_version}
        if task.started_at:
            shown["startedAt"] = task.started_at
    return shown


def health_json(health: Health, instance_id: str) -> Json:
    optional = {
        "firstSuccess": health.first_success,
        "lastSuccess": health.last_success,
        "lastFailure": health.last_failure,
        "lastFailureCause": health.last_failure_cause,
    }
    return {
        "alive": health.alive,
        "consecutiveFailures": health.consecutive_failures,
        **{name: value for name, value in optional.items() if value is not None},
        "instanceId": f"instance [{instance_id}]",
    }


def all_tasks(store: Store, states: Collection[str]) -> list[Json]:
    """Over all apps that still exist, with their service ports."""
    wanted = {"running": Condition.RUNNING, "staging": Condition.STAGING}
    conditions = {wanted[state.lower()] for state in states if state.lower() in wanted}
    listed: list[Json] = []
    for app in store.apps.values():
        instances = [i for i in store.of_app(app.id) if not conditions or i.condition in conditions]
        listed += tasks(instances, ports=service_ports(app.spec))
    return listed


def task_stats(app: App, instances: Iterable[Instance]) -> Json:
    """``tasksStats`` (marathon: TaskStatsByVersion.scala): by how a task's version compares with the app's."""
    listed = [instance for instance in instances if instance.task and not instance.is_scheduled]
    groups: dict[str, Callable[[str], bool]] = {
        "startedAfterLastScaling": lambda version: version >= app.last_scaling,
        "withLatestConfig": lambda version: version >= app.last_config,
        "withOutdatedConfig": lambda version: version < app.last_config,
        "totalSummary": lambda version: True,
    }
    members = {name: [i for i in listed if i.task and test(i.task.app_version)] for name, test in groups.items()}
    return {name: {"stats": _stats(of_group)} for name, of_group in members.items() if of_group}


def _stats(instances: list[Instance]) -> Json:
    numbers = {name.removeprefix("tasks").lower(): value for name, value in counts(instances).items()}
    ages = [time.monotonic() - i.active_since for i in instances if i.active_since is not None]
    life = {"averageSeconds": statistics.fmean(ages), "medianSeconds": statistics.median(ages)} if ages else None
    return {"counts": numbers, **({"lifeTime": life} if life else {})}


def deployment_json(deployment: Deployment) -> Json:
    steps = deployment.steps
    current = steps[deployment.current_step - 1] if deployment.current_step else []
    apps = sorted(deployment.app_ids)
    return {
        "id": deployment.id,
        "version": deployment.version,
        "affectedApps": apps,
        "affectedPods": [],
        "steps": [{"actions": [action.as_json() for action in step]} for step in steps],
        "currentActions": [
            {**action.as_json(), "readinessCheckResults": readiness_results(deployment, action.app.id)}
            for action in current
        ],
        "currentStep": deployment.current_step,
        "totalSteps": len(steps),
    }


def readiness_results(deployment: Deployment, app_id: str) -> list[Json]:
    prefix = app_id.strip("/").replace("/", "_") + "."
    return [result for task_id, result in deployment.readiness.items() if task_id.startswith(prefix)]


def queue(store: Store) -> list[Json]:
    """``/v2/queue``: the apps with instances that wait, for their launch delay or for an offer."""
    entries = []
    for app in store.apps.values():
        waiting = [instance for instance in store.of_app(app.id) if instance.is_scheduled]
        if waiting:
            entries.append(_queue_entry(store, app, waiting))
    return entries


def _queue_entry(store: Store, app: App, waiting: list[Instance]) -> Json:
    backoff = store.backoffs.get((app.id, app.last_config))
    left = max(0.0, backoff.deadline - time.monotonic()) if backoff else 0.0
    agents = len(store.options.hosts)
    rejects = [{"reason": reason, "declined": agents, "processed": agents} for reason in _lacking(store, app)]
    return {
        "count": len(waiting),
        "delay": {"timeLeftSeconds": int(left), "overdue": left <= 0},
        "since": app.version,
        **({"role": app.spec["role"]} if "role" in app.spec else {}),
        "processedOffersSummary": {
            "processedOffersCount": agents,
            "unusedOffersCount": agents if rejects else 0,
            "rejectSummaryLastOffers": rejects,
            "rejectSummaryLaunchAttempt": rejects,
        },
        "app": app_definition(app),
    }


def _lacking(store: Store, app: App) -> list[str]:
    """The reasons why no agent's offer fits (marathon: NoOfferMatchReason.scala)."""
    free = store.free_resources()
    wanted = {"InsufficientCpus": ("cpus", 0), "InsufficientMemory": ("mem", 1)}
    lacking = [
        reason
        for reason, (name, index) in wanted.items()
        if all(float(app.spec[name]) > resources[index] for resources in free.values())
    ]
    unmet = ["UnfulfilledConstraint"] if not any(store.meets_constraints(app, host) for host in free) else []
    ports = ["InsufficientPorts"] if not any(store.has_ports(app, host) for host in free) else []
    return [*unmet, *lacking, *ports]
