"""The labels that an app of another tool needs as a baseline, and the cost of setting them. Pure.

Marathon treats a change of labels as a change of configuration and replaces every task of the app (marathon:
AppDefinition.isUpgrade compares labels), so adoption is free only for an app without tasks.

The same update sets an upgradeStrategy that ends no task before a new one is healthy, and allows one more task. Without
that capacity the update never ends for an app that Marathon itself checks (hazard 57). bgci does not restore the
strategy: that would be another change of configuration, which replaces every task again and can hang. The next release
has the template's own strategy.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bgci.appdef.app_definition import GROUP_LABEL, alt_ports, as_list, as_mapping, group, service_ports
from bgci.appdef.colour import APP_ID_LABEL, COLOUR_LABEL, STARTED_AT_LABEL, TARGET_LABEL
from bgci.appdef.names import COLOURS
from bgci.dcos.running_app import RunningApp
from bgci.doctor.finding import CheckResult, counted, failure, warning
from bgci.engine.ownership import folder
from bgci.errors import ConflictError

# A partial update without these fields clears them (docs/platform.md, Apps), which would be another change.
CLEARED_WHEN_OMITTED = ("executorResources", "resourceLimits")
SINGLE_INSTANCE_LABEL = "MARATHON_SINGLE_INSTANCE_APP"
COUNTS_MESOS_HEALTH = (1, 10, 5)  # from this version of Marathon on, hazard 57


@dataclass(frozen=True)
class Adoption:
    """``changes``: labels to set. ``vital``: the ones without which a release ignores the app, or stops.

    ``strategy``: the upgradeStrategy while Marathon replaces the tasks, None if the app's own stays. ``hangs``: the
    update would never end, and Marathon accepts no other strategy for this app.
    """

    app: RunningApp
    changes: Mapping[str, str]
    vital: tuple[str, ...]
    strategy: Mapping[str, float] | None = None
    hangs: bool = False

    @property
    def app_id(self) -> str:
        return self.app.id

    @property
    def free(self) -> bool:
        """Whether Marathon replaces no task for the update."""
        return not self.app.app.tasks and self.app.app.instances == 0

    @property
    def bounds(self) -> tuple[int, int]:
        """(least healthy, most at once) while Marathon replaces the tasks."""
        return _bounds(self.strategy or upgrade_strategy(self.app.definition), self.app.app.instances)

    @property
    def cost(self) -> str:
        """The cost as text."""
        if self.free:
            return "nothing: the app has no tasks"
        instances = self.app.app.instances
        tasks = counted(max(len(self.app.app.tasks), instances), "task")
        least, most = self.bounds
        source = "the upgradeStrategy set with the labels" if self.strategy else "its upgradeStrategy"
        return (
            f"Marathon replaces {tasks} of {self.app_id}, because a change of labels is a new configuration: at least "
            f"{least} of {instances} stay healthy, at most {most} run at once ({source}), and no task is drained: "
            "sessions of a replaced task are cut, unless the app ends them itself after SIGTERM"
        )


def adoption(
    app: RunningApp, *, app_id: str, definition: Mapping[str, Any] | None, now: str, marathon_version: str = ""
) -> Adoption:
    """The labels that ``app`` needs as a baseline of ``app_id``.

    definition: of the template, None if unknown. now: the STARTED_AT for an app without one.
    """
    own, instances = app.labels, app.app.instances
    wanted_group = group(definition or {}) or app.group or app_id.lstrip("/")
    if wanted_group.strip("/") == app.group.strip("/"):  # equal to marathon-lb
        wanted_group = app.group
    renamed = app.base_id != app_id
    wanted = {
        GROUP_LABEL: wanted_group,
        COLOUR_LABEL: own.get(COLOUR_LABEL) if own.get(COLOUR_LABEL) in COLOURS else _colour(app.id),
        STARTED_AT_LABEL: own[STARTED_AT_LABEL] if app.app.started_at > 0 else now,
        TARGET_LABEL: str(instances),
        APP_ID_LABEL: app_id if renamed else own.get(APP_ID_LABEL) or app_id,
        **_public_ports(app, definition or {}),
    }
    changes = {name: str(value) for name, value in wanted.items() if own.get(name) != value}
    vital = [name for name in changes if name == GROUP_LABEL or name.endswith("_PORT")]
    if own.get(STARTED_AT_LABEL) and STARTED_AT_LABEL in changes:
        vital.append(STARTED_AT_LABEL)
    if renamed:
        vital.append(APP_ID_LABEL)
    present, strategy = upgrade_strategy(app.definition), rolling_strategy(app)
    return Adoption(
        app,
        changes,
        tuple(vital),
        strategy if strategy != present else None,
        counts_mesos_health(marathon_version) and never_ends(app, strategy),
    )


def _public_ports(app: RunningApp, definition: Mapping[str, Any]) -> dict[str, str]:
    """The label for an app on the second colour's port: with it the app serves on the first colour's."""
    others = alt_ports(definition)
    pairs = enumerate(zip(service_ports(definition), app.service_ports, strict=False))
    return {f"HAPROXY_{n}_PORT": str(port) for n, (port, here) in pairs if port and here != port and here in others}


def update(app: RunningApp, plan: Adoption) -> dict[str, Any]:
    """The body of the partial update that adopts the app and changes nothing else."""
    kept = {name: value for name in CLEARED_WHEN_OMITTED if (value := app.definition.get(name)) is not None}
    strategy = {"upgradeStrategy": dict(plan.strategy)} if plan.strategy and not plan.free else {}
    return {"labels": {**app.labels, **plan.changes}, **strategy, **kept}


def _colour(app_id: str) -> str:
    return next((colour for colour in COLOURS if app_id.endswith(f"-{colour}")), "blue")


# -- how Marathon replaces tasks --------------------------------------------------------------------------------------


def upgrade_strategy(definition: Mapping[str, Any]) -> dict[str, float]:
    """The app's own strategy, with Marathon's defaults."""
    own = as_mapping(definition.get("upgradeStrategy"))
    return {name: own.get(name, 1) for name in ("minimumHealthCapacity", "maximumOverCapacity")}


def rolling_strategy(app: RunningApp) -> dict[str, float]:
    """The strategy that replaces the tasks without a dip: all stay until new ones are healthy, at least one at a time.

    The app's own strategy if Marathon refuses over-capacity: for persistent volumes, and for the label of a single
    instance.
    """
    own, instances = upgrade_strategy(app.definition), app.app.instances
    if _without_over_capacity(app):
        return own
    over = own["maximumOverCapacity"]
    if _most(over, instances) <= instances:
        parts = math.ceil(10_000 / max(1, instances))
        # Marathon rounds the floating-point product down: 200 * 1.005 is less than 201.
        over = next((n / 10_000 for n in (parts, parts + 1) if _most(n / 10_000, instances) > instances), 1)
    return {"minimumHealthCapacity": 1, "maximumOverCapacity": over}


def never_ends(app: RunningApp, strategy: Mapping[str, float]) -> bool:
    """Whether a new configuration is never deployed on Marathon 1.10.5 and later (hazard 57; docs/platform.md).

    Marathon counts the tasks that are healthy to Mesos there, and Mesos does not have the results of Marathon's checks.
    """
    protocols = [
        str(as_mapping(check).get("protocol", "HTTP")) for check in as_list(app.definition.get("healthChecks"))
    ]
    by_mesos = any(protocol.startswith(("MESOS_", "COMMAND")) for protocol in protocols)
    no_room = _most(strategy["maximumOverCapacity"], app.app.instances) <= app.app.instances
    return bool(protocols) and not by_mesos and no_room and app.app.instances > 0


def counts_mesos_health(version: str) -> bool:
    """Whether this Marathon has hazard 57. An unknown version counts as affected."""
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    return not found or tuple(int(part or 0) for part in found.groups(default="99")) >= COUNTS_MESOS_HEALTH


def _without_over_capacity(app: RunningApp) -> bool:
    volumes = as_list(as_mapping(app.definition.get("container")).get("volumes"))
    resident = any("persistent" in as_mapping(volume) for volume in volumes)
    return resident or app.labels.get(SINGLE_INSTANCE_LABEL, "").lower() == "true"


def _most(over: float, instances: int) -> int:
    return int(instances * (1 + over))


def _bounds(strategy: Mapping[str, float], instances: int) -> tuple[int, int]:
    """(least healthy, most at once) while Marathon replaces tasks (marathon: TaskReplaceActor)."""
    least = math.ceil(instances * strategy["minimumHealthCapacity"])
    most = _most(strategy["maximumOverCapacity"], instances)
    return least, most + 1 if least == most else most


# -- the offer --------------------------------------------------------------------------------------------------


def offer(plan: Adoption, app_id: str, release: str) -> CheckResult:
    """Effect and cost of the adoption, after the alternative without a restart; a conflict if a release needs it.

    release: the command of a release, without options of adoption.
    """
    listed = ", ".join(f"{name}={value}" for name, value in plan.changes.items())
    found = f"not adopted: it would set {listed}. {plan.cost}"
    instead, restart = _in_place(plan, app_id)
    if APP_ID_LABEL in plan.vital:
        remedy = (
            f"If {plan.app_id} is the same app under another name, release it once with --replaces: a blue/green move "
            f"that restarts nothing and drains every session. If not, give the template a different group.{instead}"
        )
        return failure("adopt", ConflictError, found, remedy, f"{release} --replaces {plan.app.base_id}")
    if not plan.vital:
        remedy = (
            "Not needed: the next release with --strategy bluegreen uses the app as its baseline, restarts nothing and "
            "drains every session. Only a rollback of a canary beside it would cut sessions."
        )
        return warning("adopt", found, f"{remedy}{instead}", release)
    needed = ", ".join(plan.vital)
    if GROUP_LABEL in plan.vital and plan.app.group:
        remedy = (
            f"Write HAPROXY_DEPLOYMENT_GROUP={plan.app.group} in the template: the next release then uses the app as "
            f"its baseline, restarts nothing and drains every session.{instead}"
        )
        return failure("adopt", ConflictError, found, remedy)
    if plan.hangs:
        return failure("adopt", ConflictError, found, f"A release needs {needed} there.{instead}")
    remedy = (
        f"A release needs {needed} there: marathon-lb pairs two apps only by their labels, and a changed label "
        "needs this restart. Choose a time with little traffic."
    )
    return failure("adopt", ConflictError, found, remedy, restart)


def _in_place(plan: Adoption, app_id: str) -> tuple[str, str]:
    """The adoption that restarts the app's tasks: as a further sentence of a remedy, and as a command."""
    renamed = APP_ID_LABEL in plan.vital
    replaces = f" --replaces {plan.app.base_id}" if renamed else ""
    restart = f"bgci doctor --app {app_id} --adopt --adopt-restart{replaces}"
    if renamed and folder(plan.app.base_id) != folder(app_id):
        return " The label HAPROXY_APP_ID does not count across folders, so it cannot be adopted in place.", restart
    if plan.hangs:
        return f" It cannot be adopted in place: {never_ending(plan.app_id)}.", restart
    return f" To adopt it in place instead, with a restart of its tasks: `{restart}`.", restart


def never_ending(app_id: str) -> str:
    """Why the update of this app would hang."""
    return (
        f"from 1.10.5 on Marathon never ends the update of an app that it checks itself (HTTP, TCP) without "
        f"over-capacity, and {app_id} cannot have any (persistent volume, or {SINGLE_INSTANCE_LABEL})"
    )
