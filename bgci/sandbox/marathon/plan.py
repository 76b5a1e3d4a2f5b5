"""The decisions of a deployment, without any I/O (marathon: S/core/deployment, S/upgrade/GroupVersioningUtil.scala)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from bgci.sandbox.marathon.model import Action, App, Condition, Instance, Spec, new_app
from bgci.sandbox.marathon.placement import Attributes, crowded

PORT_RANGE = range(10000, 20001)
"""``--local_port_min`` to ``--local_port_max``, inclusive."""


class PortsExhaustedError(Exception):
    """No service port is left in the range."""


def service_ports(spec: Spec) -> list[int]:
    """The service ports of an app, 0 where one is still to be assigned."""
    if "portDefinitions" in spec:
        return [int(definition["port"]) for definition in spec["portDefinitions"]]
    mappings = spec.get("container", {}).get("portMappings", [])
    return [int(mapping["servicePort"]) for mapping in mappings]


def host_ports(app: App) -> list[int]:
    """On the host's network: the service port itself where the app insists on it, else 0 for any port."""
    ports = service_ports(app.spec)
    return ports if app.spec["requirePorts"] else [0] * len(ports)


def fixed_ports(app: App) -> list[int]:
    """The host ports that only one instance can have on an agent."""
    if app.spec["networks"][0]["mode"] == "host":
        return [port for port in host_ports(app) if port]
    mappings = app.spec.get("container", {}).get("portMappings", [])
    return [int(mapping["hostPort"]) for mapping in mappings if mapping.get("hostPort")]


def assign_service_ports(spec: Spec, old: Spec | None, used: Iterable[int]) -> Spec:
    """The definition with every 0 replaced: the app's own earlier ports first, then the lowest free ones."""
    ports = service_ports(spec)
    if 0 not in ports:
        return spec
    before = service_ports(old) if old else []
    own = [port for port in before if port in PORT_RANGE and port not in ports]
    taken = set(used) | set(ports)
    free = chain(own, (port for port in PORT_RANGE if port not in taken))
    try:
        assigned = [port or next(free) for port in ports]
    except StopIteration:
        raise PortsExhaustedError from None
    return _with_service_ports(spec, assigned)


def _with_service_ports(spec: Spec, ports: Sequence[int]) -> Spec:
    if "portDefinitions" in spec:
        pairs = zip(spec["portDefinitions"], ports, strict=True)
        return {**spec, "portDefinitions": [{**definition, "port": port} for definition, port in pairs]}
    container = spec["container"]
    mappings = [{**m, "servicePort": port} for m, port in zip(container["portMappings"], ports, strict=True)]
    return {**spec, "container": {**container, "portMappings": mappings}}


def is_scaling(old: Spec, new: Spec) -> bool:
    """True if only the number of instances differs."""
    return old["instances"] != new["instances"] and not is_upgrade(old, new)


def is_upgrade(old: Spec, new: Spec) -> bool:
    """True if the configuration differs: all tasks restart (marathon: S/state/AppDefinition.scala isUpgrade)."""
    return {**old, "instances": 0} != {**new, "instances": 0}


def next_app(old: App | None, spec: Spec, version: str, *, restart: bool = False, modern: bool = True) -> App:
    """The app after an update: the changed fields decide which of its times move; for a restart, Marathon's version
    decides (marathon: GroupVersioningUtil.scala; MARATHON-8771)."""
    if old is None or is_upgrade(old.spec, spec):
        return new_app(spec, version)
    if old.instances != spec["instances"]:
        return App(spec, version, last_scaling=version, last_config=old.last_config)
    if restart and modern:
        return replace(old, version=version, last_config=version)
    if restart:
        return replace(old, version=version, last_scaling=version)
    return old


def steps(
    original: Mapping[str, App], target: Mapping[str, App], to_kill: Mapping[str, Sequence[str]]
) -> list[list[Action]]:
    """Stop removed apps, start new apps with no instance, then scale or restart in the order of dependencies."""
    stop = [Action("Stop", app) for app_id, app in original.items() if app_id not in target]
    start = [Action("Start", app) for app_id, app in target.items() if app_id not in original]
    changed = {app_id: app for app_id, app in target.items() if original.get(app_id) != app}
    ranks = {app_id: dependency_rank(app_id, target) for app_id in changed}
    waves = [[a for i, a in changed.items() if ranks[i] == rank] for rank in sorted(set(ranks.values()))]
    ordered = [[_action(original.get(app.id), app, to_kill.get(app.id, ())) for app in wave] for wave in waves]
    return [step for step in (stop, start, *ordered) if step]


def _action(old: App | None, new: App, to_kill: Sequence[str]) -> Action:
    if old is None:
        return Action("Scale", new, new.instances)
    if is_scaling(old.spec, new.spec) or new.instances == 0:
        return Action("Scale", new, new.instances, tuple(to_kill))
    return Action("Restart", new)


def dependency_rank(app_id: str, apps: Mapping[str, App], seen: frozenset[str] = frozenset()) -> int:
    """The length of the longest chain of dependencies below an app; a dependency may name a group."""
    if app_id in seen or app_id not in apps:
        return 0
    wanted = apps[app_id].spec.get("dependencies", [])
    below = [other for other in apps for name in wanted if is_below(other, name)]
    return 1 + max((dependency_rank(other, apps, seen | {app_id}) for other in below), default=0)


def has_cycle(specs: Mapping[str, Spec]) -> bool:
    """Whether an app depends on itself, by way of others or of a group (marathon: RootGroup.scala)."""
    below = {
        i: {o for o in specs for name in spec.get("dependencies", []) if is_below(o, name)} for i, spec in specs.items()
    }
    left = {app_id for app_id, others in below.items() if others}
    while left:
        free = {app_id for app_id in left if not below[app_id] & left}
        if not free:
            return True
        left -= free
    return False


def is_below(app_id: str, name: str) -> bool:
    """Whether the id is the app of that name, or an app in the group of that name."""
    return app_id == name or app_id.startswith(f"{name}/")


_WEIGHTS = {Condition.UNREACHABLE: 1, Condition.STAGING: 2, Condition.STARTING: 3, Condition.RUNNING: 4}


def kill_order(instances: Iterable[Instance], selection: str) -> list[Instance]:
    """The order in which scaling down kills instances (marathon: ScalingProposition.scala): by condition,
    where every condition but unreachable, staging, starting and running comes last, then by start time."""
    sign = -1 if selection == "YOUNGEST_FIRST" else 1

    def rank(instance: Instance) -> tuple[int, int, float]:
        weight = _WEIGHTS.get(instance.condition, 5)
        if instance.condition in (Condition.STAGING, Condition.STARTING):
            return weight, 0, sign * instance.since
        if instance.active_since is None:
            return weight, 0, 0.0
        return weight, 1, sign * instance.active_since

    return sorted(instances, key=rank)


def scaling_proposition(
    instances: Iterable[Instance],
    to_decommission: Iterable[str],
    app: App,
    scale_to: int,
    agents: Mapping[str, Attributes],
) -> list[Instance]:
    """The instances to decommission: those in ``to_decommission``, then further surplus instances: first those whose
    end keeps a GROUP_BY even. ``agents``: their attributes by address."""
    wanted = [instance for instance in instances if instance.wanted]
    chosen = set(to_decommission)
    named = [instance for instance in wanted if instance.id in chosen]
    rest = kill_order((i for i in wanted if i.id not in chosen), str(app.spec["killSelection"]))
    count = max(len(wanted) - scale_to, len(named))
    running = {i.id: agents[i.task.host] for i in rest if i.task is not None and i.task.host in agents}
    first = crowded(app.spec.get("constraints", []), running, count - len(named))
    rest.sort(key=lambda instance: first.index(instance.id) if instance.id in first else len(first))
    return [*named, *rest][:count]


def restart_bounds(app: App, current: Sequence[Instance], *, modern: bool = True) -> tuple[int, int]:
    """How many old instances a restart kills at once, and how many instances may run at a time
    (marathon: TaskReplaceActor.computeRestartStrategy).

    Since 1.10.5 Marathon counts the instances that Mesos reports as healthy. An app with checks by Marathon alone
    has no such instance, so Marathon kills none. If the strategy has no over-capacity either, Marathon starts none:
    the deployment never ends (docs/platform.md). Before 1.10.5, Marathon counted the running instances."""
    strategy: Mapping[str, Any] = app.spec["upgradeStrategy"]
    if modern:
        counted = sum(1 for instance in current if instance.wanted and instance.healthy_for_mesos)
    else:
        counted = sum(1 for instance in current if instance.condition.is_active)
    least = math.ceil(app.instances * strategy["minimumHealthCapacity"])
    most = int(app.instances * (1 + strategy["maximumOverCapacity"]))
    kill_now = max(0, counted - least)
    if least == most and most <= counted:
        most += 1
    if modern and app.instances < len(current):
        kill_now = max(len(current) - app.instances, kill_now)
    return kill_now, most
