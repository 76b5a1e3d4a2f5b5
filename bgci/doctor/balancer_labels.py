"""Judgements about the labels of marathon-lb, and about whether marathon-lb follows Marathon. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bgci.appdef.haproxy_labels import check_labels
from bgci.appdef.haproxy_values import Effect
from bgci.dcos.balancer_state import Condition, balancer_state, freezing_labels
from bgci.dcos.marathon_lb import Census
from bgci.dcos.running_app import RunningApp
from bgci.doctor.finding import CheckResult, counted, failure, ok, warning
from bgci.errors import ConflictError, UnavailableError

# Another team's label counts if it affects other teams.
_HARMS_OTHERS = (Effect.LEFT_OUT, Effect.UNDRAINED)
LOG = "Check the log of marathon-lb: it names the app and the error."


def labels_of(apps: Sequence[RunningApp], own_id: str) -> list[CheckResult]:
    """The labels of every app that the account can read. ``own_id``: the app with every finding, or empty."""
    checks: list[CheckResult] = []
    for label in freezing_labels(apps):
        if label.certain:
            found = f"{label}: marathon-lb updates no app of the cluster any more"
            checks.append(failure("labels", ConflictError, found, label.remedy))
        else:
            found = f"{label}: marathon-lb updates no app of the cluster any more as soon as it uses this template"
            checks.append(warning("labels", found, label.remedy))
    for app in apps:
        for finding in check_labels(app.definition):
            own = bool(own_id) and app.base_id == own_id
            if finding.effect is not Effect.FROZEN and (own or finding.effect in _HARMS_OTHERS):
                checks.append(warning("labels", f"{app.id}: {finding.path} {finding.message}", finding.remedy))
    return checks or [ok("labels", f"marathon-lb can read the labels of {counted(len(apps), 'app')}")]


def follows(apps: Sequence[RunningApp], censuses: Sequence[Census], own_id: str, now: float) -> Iterator[CheckResult]:
    """Whether each load balancer has Marathon's healthy tasks: of the app ``own_id``, or of all apps if it is empty."""
    bases = [own_id] if own_id else sorted({app.base_id for app in apps})
    for census in censuses:
        states = [balancer_state(apps, census, base, now) for base in bases]
        reported = {state.text: state.condition for state in states if state.text}
        if not reported:
            yield ok("marathon-lb", f"{census.url} has every healthy task of {own_id or 'each app that it serves'}")
        for text, condition in reported.items():
            if condition is Condition.FROZEN:
                yield failure("marathon-lb", UnavailableError, text.strip(), f"Correct the cause. {LOG}")
            elif condition is Condition.LEFT_OUT:
                yield failure("marathon-lb", ConflictError, text.strip(), f"Correct the labels. {LOG}")
            else:
                yield warning("marathon-lb", text.strip(), LOG)
