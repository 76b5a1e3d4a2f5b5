"""Whether marathon-lb follows Marathon: frozen for every app, leaving out one app, or current. Pure.

A frozen marathon-lb still answers, and its statistics, configuration and pids look normal. So these functions compare
the healthy tasks of all apps with the load balancer's servers, and read the labels of all apps by marathon-lb's rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import combinations

from bgci.appdef.app_definition import GROUP_LABEL
from bgci.appdef.balancer_changes import freezing_change
from bgci.appdef.colour import STARTED_AT_LABEL, SWAPPABLE_LABEL, TARGET_LABEL
from bgci.appdef.haproxy_label_table import TEXTS_WITH_LINES
from bgci.appdef.haproxy_labels import check_labels, is_enabled, known_label
from bgci.appdef.haproxy_values import Effect, as_number
from bgci.dcos.marathon_lb import Census, Endpoint
from bgci.dcos.running_app import RunningApp, endpoints

# The templates of every app that is served; the others depend on other labels.
_ALWAYS_USED = ("FRONTEND_HEAD", "FRONTEND_BACKEND_GLUE", "BACKEND_HEAD", "BACKEND_SERVER_OPTIONS")
SETTLING = 5.0  # seconds for marathon-lb to add a task that has become healthy


class Condition(Enum):
    """The state of a load balancer."""

    CURRENT = "current"
    FROZEN = "frozen"
    LEFT_OUT = "left out"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class FreezingLabel:
    """A label on which marathon-lb fails for every app. ``certain``: also while it does not use the app's template."""

    app_id: str
    label: str
    message: str
    remedy: str
    certain: bool = True

    def __str__(self) -> str:
        return f"{self.app_id}: the label {self.label} {self.message}"


@dataclass(frozen=True)
class BalancerState:
    """One load balancer from the view of one app. ``text``: complete sentences, empty without a problem."""

    condition: Condition
    text: str = ""


def freezing_labels(apps: Sequence[RunningApp]) -> list[FreezingLabel]:
    """Every label of these apps on which marathon-lb fails."""
    found = [one for app in apps for one in _of_app(app)]
    for members in _by_group(apps).values():
        for one, other in combinations(members, 2):
            label = freezing_change(one.definition, other.definition)
            if label:
                names = f"{one.id} and {other.id}"
                message = "is fatal while both run, because they have different numbers of ports"
                found.append(FreezingLabel(names, label, message, "delete one of the two"))
    return found


def _of_app(app: RunningApp) -> Iterator[FreezingLabel]:
    for finding in check_labels(app.definition):
        if finding.effect is Effect.FROZEN:
            label = finding.path.removeprefix("$.labels.")
            row, _ = known_label(label)
            always = (
                row is None or row.kind not in TEXTS_WITH_LINES or (row.name in _ALWAYS_USED and bool(app.app.healthy))
            )
            yield FreezingLabel(app.id, label, finding.message, f"{finding.remedy}, or delete the app", always)
    labels = app.labels
    if labels.get(GROUP_LABEL) == "":
        yield FreezingLabel(app.id, GROUP_LABEL, "is empty", "remove the label, or delete the app")
    if app.wrong_date:
        yield FreezingLabel(app.id, STARTED_AT_LABEL, "is not a date", "correct it, or delete the app")
    if SWAPPABLE_LABEL in labels and as_number(labels.get(TARGET_LABEL, "")) is None:
        message = f"is not a whole number beside {SWAPPABLE_LABEL}"
        yield FreezingLabel(app.id, TARGET_LABEL, message, "correct it, or delete the app")


def every_endpoint(apps: Sequence[RunningApp]) -> dict[str, list[Endpoint]]:
    """Where each task of each app is in the load balancers, by task id."""
    return {
        task: places for key, members in _by_group(apps).items() for task, places in endpoints(members, key).items()
    }


def balancer_state(apps: Sequence[RunningApp], census: Census, base_id: str, now: float) -> BalancerState:
    """The state of the load balancer for the app with this base id. ``apps``: all apps that the account can read."""
    pairs = [_Pair(members, census) for members in _by_group(apps).values()]
    served = frozenset().union(*(pair.balancers for pair in pairs if pair.present))
    pairs = [pair for pair in pairs if pair.balancers & served or pair.holds(base_id)]
    missing = [since for pair in pairs if pair.holds(base_id) for since in pair.missing if now - since >= SETTLING]
    elsewhere = [
        since for pair in pairs if not pair.holds(base_id) for since in pair.missing if now - since >= SETTLING
    ]
    causes = freezing_labels(apps)
    if not missing and not (causes and elsewhere):
        return BalancerState(Condition.CURRENT, _confused(census))
    newest = max((since for pair in pairs for since in pair.present), default=0.0)
    followed = newest > min([*missing, *elsewhere])  # a later change has arrived, so it is not frozen
    known = any(pair.present for pair in pairs if pair.holds(base_id))
    if followed:
        condition = Condition.UNCLEAR if known else Condition.LEFT_OUT
    else:
        condition = Condition.FROZEN if causes or elsewhere or known else Condition.UNCLEAR
    text = _TEXTS[condition].format(url=census.url, app=base_id)
    because = (
        f" The cause: {causes[0]}. Remedy: {causes[0].remedy}." if condition is Condition.FROZEN and causes else ""
    )
    return BalancerState(condition, f"{text}{because}{_confused(census)}")


_TEXTS = {
    Condition.FROZEN: "marathon-lb at {url} is frozen for every app: no task that has become healthy appears there.",
    Condition.LEFT_OUT: "marathon-lb at {url} leaves out only {app}, and serves apps that have become healthy later: "
    "HAProxy refuses the configuration with its labels. The log of marathon-lb has the reason.",
    Condition.UNCLEAR: "marathon-lb at {url} does not add the tasks of {app}, and no other app shows the cause: it is "
    "frozen, does not reach Marathon, or leaves this app out. The log of marathon-lb has the reason.",
}


def _confused(census: Census) -> str:
    if not census.duplicates:
        return ""
    return (
        f" {census.url} lists servers more than once, such as {census.duplicates[0]}: marathon-lb has left out an app "
        "with a bad label, and has confused other blue/green pairs."
    )


class _Pair:
    """The apps of one group at one load balancer. ``present``, ``missing``: since when their tasks are healthy."""

    def __init__(self, members: Sequence[RunningApp], census: Census) -> None:
        self._bases = {app.base_id for app in members}
        since: Mapping[str, float] = {
            task.id: app.since.get(task.id, 0.0) for app in members for task in app.app.healthy
        }
        # No load balancer serves a task without ports.
        since = {task: at for task, at in since.items() if any(app.addresses.get(task) for app in members)}
        enabled = any(is_enabled(app.labels, index) for app in members for index in range(len(app.service_ports)))
        self.present = [at for task, at in since.items() if task in census.tasks]
        self.missing = [at for task, at in since.items() if enabled and task not in census.tasks]
        self.balancers = frozenset(group for app in members for group in app.balancer_groups)

    def holds(self, base_id: str) -> bool:
        return base_id in self._bases


def _by_group(apps: Sequence[RunningApp]) -> dict[str, list[RunningApp]]:
    """The apps that share a backend: of one group, or one app alone."""
    found: dict[str, list[RunningApp]] = {}
    for app in apps:
        found.setdefault((app.group or app.id).lstrip("/"), []).append(app)
    return found
