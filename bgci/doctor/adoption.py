"""What an app that was deployed by other means lacks to be a baseline, and what giving it that costs. Pure.

Marathon takes a change of labels for a change of configuration and replaces every task of the app (marathon:
AppDefinition.isUpgrade compares labels), so adoption is free for an app without tasks only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bgci.appdef.app_definition import GROUP_LABEL, alt_ports, group, labels, service_ports
from bgci.appdef.colour import APP_ID_LABEL, COLOUR_LABEL, STARTED_AT_LABEL, TARGET_LABEL
from bgci.appdef.names import COLOURS
from bgci.dcos.app_state import started
from bgci.doctor.finding import counted

# A partial update that leaves these out clears them (docs/platform.md, Apps), which would be a change of its own.
CLEARED_WHEN_OMITTED = ("executorResources", "resourceLimits")


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

    @property
    def free(self) -> bool:
        """Whether no task is replaced for it."""
        return self.tasks == 0 and self.instances == 0

    @property
    def cost(self) -> str:
        """What it costs, for people."""
        if self.free:
            return "nothing: the app has no tasks"
        tasks = counted(max(self.tasks, self.instances), "task")
        return (
            f"Marathon replaces {tasks} of {self.app_id}, for it takes a change of "
            f"labels for a new configuration: at least {self.least} of {self.instances} stay healthy, at most "
            f"{self.most} run at once (its upgradeStrategy), and nothing is drained: sessions of a task that is "
            "replaced are cut"
        )


def adoption(app: Mapping[str, Any], *, app_id: str, definition: Mapping[str, Any] | None, now: str) -> Adoption:
    """What ``app`` (Marathon's JSON) lacks to be a baseline of ``app_id``.

    definition: of the template, None where none is known. now: the STARTED_AT to write where it has none.
    """
    own, instances = labels(app), int(app.get("instances", 1))
    wanted_group = group(definition or {}) or group(app) or app_id.lstrip("/")
    if wanted_group.strip("/") == group(app).strip("/"):  # the same for marathon-lb
        wanted_group = group(app)
    wanted = {
        GROUP_LABEL: wanted_group,
        COLOUR_LABEL: own.get(COLOUR_LABEL) if own.get(COLOUR_LABEL) in COLOURS else _colour(str(app["id"])),
        STARTED_AT_LABEL: own[STARTED_AT_LABEL] if _is_date(own.get(STARTED_AT_LABEL)) else now,
        TARGET_LABEL: str(instances),
        APP_ID_LABEL: own.get(APP_ID_LABEL) or app_id,
        **_public_ports(app, definition or {}),
    }
    changes = {name: str(value) for name, value in wanted.items() if own.get(name) != value}
    vital = [name for name in changes if name == GROUP_LABEL or name.endswith("_PORT")]
    if own.get(STARTED_AT_LABEL) and STARTED_AT_LABEL in changes:
        vital.append(STARTED_AT_LABEL)
    tasks = len(app.get("tasks") or ())
    return Adoption(str(app["id"]), changes, tuple(vital), instances, tasks, *_bounds(app, instances))


def _public_ports(app: Mapping[str, Any], definition: Mapping[str, Any]) -> dict[str, str]:
    """Where the app stands on the second colour's port, the label that makes it answer on the first's."""
    others, mine = alt_ports(definition), service_ports(app)
    pairs = enumerate(zip(service_ports(definition), mine, strict=False))
    return {f"HAPROXY_{n}_PORT": str(port) for n, (port, here) in pairs if port and here != port and here in others}


def update(app: Mapping[str, Any], changes: Mapping[str, str]) -> dict[str, Any]:
    """The body of the partial update that sets these labels and changes nothing else."""
    kept = {name: app[name] for name in CLEARED_WHEN_OMITTED if app.get(name) is not None}
    return {"labels": {**labels(app), **changes}, **kept}


def _bounds(app: Mapping[str, Any], instances: int) -> tuple[int, int]:
    """(least healthy, most at once) while Marathon replaces tasks (marathon: TaskReplaceActor)."""
    strategy = app.get("upgradeStrategy") or {}
    least = math.ceil(instances * strategy.get("minimumHealthCapacity", 1))
    most = math.floor(instances * (1 + strategy.get("maximumOverCapacity", 1)))
    return least, most + 1 if least == most else most


def _colour(app_id: str) -> str:
    return next((colour for colour in COLOURS if app_id.endswith(f"-{colour}")), "blue")


def _is_date(text: object) -> bool:
    try:
        return bool(text) and started(str(text))[0] > 0
    except ValueError:
        return False
