"""What an app that was deployed by other means lacks to be a baseline, and what giving it that costs. Pure.

Marathon takes a change of labels for a change of configuration and replaces every task of the app (marathon:
AppDefinition.isUpgrade compares labels), so adoption is free for an app without tasks only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bgci.appdef.app_definition import GROUP_LABEL, alt_ports, as_list, as_mapping, group, service_ports
from bgci.appdef.colour import APP_ID_LABEL, COLOUR_LABEL, STARTED_AT_LABEL, TARGET_LABEL
from bgci.appdef.names import COLOURS
from bgci.dcos.running_app import RunningApp
from bgci.doctor.finding import counted

# A partial update that leaves these out clears them (docs/platform.md, Apps), which would be a change of its own.
CLEARED_WHEN_OMITTED = ("executorResources", "resourceLimits")
MESOS_CHECKS = ("MESOS_", "COMMAND")  # how the protocols begin whose results Mesos knows
ROOM_NOTE = "with maximumOverCapacity 1, because Marathon would never end the change otherwise"


@dataclass(frozen=True)
class Adoption:
    """``changes``: labels to set. ``vital``: those without which releases do not see the app, or stop."""

    app_id: str
    changes: Mapping[str, str]
    vital: tuple[str, ...]
    instances: int
    tasks: int
    least: int  # tasks that Marathon keeps healthy while it replaces them
    most: int  # tasks that run at once meanwhile
    needs_room: bool = False  # whether Marathon would never end the change with the app's own upgradeStrategy

    @property
    def free(self) -> bool:
        """Whether no task is replaced for it."""
        return self.tasks == 0 and self.instances == 0

    @property
    def cost(self) -> str:
        """What it costs, for people."""
        if self.free:
            return "nothing: the app has no tasks"
        tasks, room = counted(max(self.tasks, self.instances), "task"), f", {ROOM_NOTE}" if self.needs_room else ""
        return (
            f"Marathon replaces {tasks} of {self.app_id}, for it takes a change of "
            f"labels for a new configuration: at least {self.least} of {self.instances} stay healthy, at most "
            f"{self.most} run at once (its upgradeStrategy{room}), and nothing is drained: sessions of a task that "
            "is replaced are cut"
        )


def adoption(app: RunningApp, *, app_id: str, definition: Mapping[str, Any] | None, now: str) -> Adoption:
    """What ``app`` lacks to be a baseline of ``app_id``.

    definition: of the template, None where none is known. now: the STARTED_AT to write where it has none.
    """
    own, instances = app.labels, app.app.instances
    wanted_group = group(definition or {}) or app.group or app_id.lstrip("/")
    if wanted_group.strip("/") == app.group.strip("/"):  # the same for marathon-lb
        wanted_group = app.group
    wanted = {
        GROUP_LABEL: wanted_group,
        COLOUR_LABEL: own.get(COLOUR_LABEL) if own.get(COLOUR_LABEL) in COLOURS else _colour(app.id),
        STARTED_AT_LABEL: own[STARTED_AT_LABEL] if app.app.started_at > 0 else now,
        TARGET_LABEL: str(instances),
        APP_ID_LABEL: own.get(APP_ID_LABEL) or app_id,
        **_public_ports(app, definition or {}),
    }
    changes = {name: str(value) for name, value in wanted.items() if own.get(name) != value}
    vital = [name for name in changes if name == GROUP_LABEL or name.endswith("_PORT")]
    if own.get(STARTED_AT_LABEL) and STARTED_AT_LABEL in changes:
        vital.append(STARTED_AT_LABEL)
    needs_room = _never_ends(app.definition, instances)
    strategy = _with_room(app.definition) if needs_room else as_mapping(app.definition.get("upgradeStrategy"))
    tasks = len(app.app.tasks)
    return Adoption(app.id, changes, tuple(vital), instances, tasks, *_bounds(strategy, instances), needs_room)


def _public_ports(app: RunningApp, definition: Mapping[str, Any]) -> dict[str, str]:
    """Where the app stands on the second colour's port, the label that makes it answer on the first's."""
    others = alt_ports(definition)
    pairs = enumerate(zip(service_ports(definition), app.service_ports, strict=False))
    return {f"HAPROXY_{n}_PORT": str(port) for n, (port, here) in pairs if port and here != port and here in others}


def update(app: RunningApp, plan: Adoption) -> dict[str, Any]:
    """The body of the partial update that sets the labels, and changes nothing else but what lets the change end."""
    kept = {name: value for name in CLEARED_WHEN_OMITTED if (value := app.definition.get(name)) is not None}
    room = {"upgradeStrategy": _with_room(app.definition)} if plan.needs_room else {}
    return {"labels": {**app.labels, **plan.changes}, **kept, **room}


def _never_ends(definition: Mapping[str, Any], instances: int) -> bool:
    """Whether Marathon (1.10.5 and later) would never end a change of labels (docs/platform.md).

    It counts the instances that Mesos says are healthy. With checks by Marathon alone there are none, so it kills none;
    without over-capacity it starts none either.
    """
    checks = [as_mapping(check) for check in as_list(definition.get("healthChecks"))]
    by_marathon = bool(checks) and not any(str(check.get("protocol")).startswith(MESOS_CHECKS) for check in checks)
    over = as_mapping(definition.get("upgradeStrategy")).get("maximumOverCapacity", 1)
    return by_marathon and math.floor(instances * (1 + over)) <= instances


def _with_room(definition: Mapping[str, Any]) -> dict[str, Any]:
    return {**as_mapping(definition.get("upgradeStrategy")), "maximumOverCapacity": 1}


def _bounds(strategy: Mapping[str, Any], instances: int) -> tuple[int, int]:
    """(least healthy, most at once) while Marathon replaces tasks (marathon: TaskReplaceActor)."""
    least = math.ceil(instances * strategy.get("minimumHealthCapacity", 1))
    most = math.floor(instances * (1 + strategy.get("maximumOverCapacity", 1)))
    return least, most + 1 if least == most else most


def _colour(app_id: str) -> str:
    return next((colour for colour in COLOURS if app_id.endswith(f"-{colour}")), "blue")
