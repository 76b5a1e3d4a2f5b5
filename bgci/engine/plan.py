"""What to do next: ``decide`` is a pure function of what is seen and what is wanted.

marathon-lb decides who drains (``get_apps``): of the app it takes for old, as many tasks as the other one has healthy
beyond the target; and it takes the last scaled app for the old one once both carry HAPROXY_DEPLOYMENT_NEW_INSTANCES.
So the engine never tells a load balancer anything. It chooses the next change in Marathon after which the load
balancer, by its own rules, does the right thing, and waits until every replica has done it.
"""

from __future__ import annotations

from collections.abc import Iterable

from bgci.engine.model import (
    App,
    Cause,
    Create,
    Delete,
    Done,
    Fail,
    Goal,
    Kill,
    Kind,
    Observation,
    Policy,
    Scale,
    Step,
    Strategy,
    Task,
    Wait,
)
from bgci.engine.preconditions import (
    because,
    no_room,
    unless_starting,
    until_drained,
    until_ended,
    until_healthy,
    until_serving,
)
from bgci.engine.rotation import (
    held_in_maint,
    instances_before,
    is_configured,
    is_up,
    servers,
    superfluous,
    swap_is_possible,
    swapped,
    unused,
)


def decide(seen: Observation, goal: Goal, policy: Policy) -> Step:
    """The one next step towards the goal; Wait, Done or Fail when there is nothing to do but that."""
    step = _decide(seen, goal, policy)
    unread = [f"{replica.url}: {replica.problem}" for replica in seen.replicas if replica.problem]
    if unread and not isinstance(step, Done | Fail):
        return Wait(Cause.UNREACHABLE, f"a load balancer cannot be read ({'; '.join(unread)})")
    if isinstance(step, Kill | Delete) and any(_forgotten(task) for app in seen.apps for task in app.tasks):
        return Wait(Cause.HEALTH, "Marathon to check the health of tasks again that were healthy before")
    return step


def _forgotten(task: Task) -> bool:
    """A new leader of Marathon knows no health, and load balancers drop what has none (hazard 39)."""
    return task.healthy is None and task.ever_healthy and not task.dying


def _decide(seen: Observation, goal: Goal, policy: Policy) -> Step:
    match seen.apps:
        case ():
            return _from_nothing(goal)
        case (app,) if app.revision == goal.revision:
            return _alone(app, seen, goal)
        case (app,):
            return _from_other(app, seen, goal, policy)
        case (one, two) if one.started_at != two.started_at:
            baseline, canary = sorted(seen.apps, key=lambda app: app.started_at)
            return _hybrid(baseline, canary, seen, goal, policy)
        case (one, two):
            return Fail(
                f"{one.id} and {two.id} cannot be told apart: their HAPROXY_DEPLOYMENT_STARTED_AT labels are "
                "equal or missing",
                "delete the one that should not be there, then run this again",
            )
        case _:
            names = ", ".join(app.id for app in seen.apps)
            return Fail(
                f"the group holds {len(seen.apps)} apps ({names}); a release can tell two apart, not more",
                "remove the apps that do not belong to it, or correct their HAPROXY_DEPLOYMENT_GROUP",
            )


# -- fewer than two apps ------------------------------------------------------------------------------------------


def _from_nothing(goal: Goal) -> Step:
    if goal.kind is Kind.ROLLBACK:
        return Done(f"{goal.revision} is not running, and neither is anything else of its group")
    return Create(goal.target, swappable=True)


def _alone(app: App, seen: Observation, goal: Goal) -> Step:
    if goal.kind is Kind.ROLLBACK:
        return Fail(
            f"nothing to go back to: {goal.revision} is the only revision running",
            "run `promote` of the revision that you want",
        )
    surplus = app.instances - goal.target if goal.kind is Kind.PROMOTE else 0
    if app.instances < goal.target or surplus > 0:
        return _shed(app, surplus, seen) or unless_starting(app, Scale(app.id, goal.target))
    return until_serving(app, app.instances, seen) or Done(
        f"{goal.revision} serves alone with {app.instances} instances"
    )


def _from_other(baseline: App, seen: Observation, goal: Goal, policy: Policy) -> Step:
    if goal.kind is Kind.ROLLBACK:
        waiting = until_serving(baseline, len(baseline.healthy), seen)
        return waiting or Done(f"{goal.revision} is not running, {_name(baseline)} serves alone{_surplus(baseline)}")
    if not baseline.has_health_checks and not policy.allow_no_health_check:
        return Fail(
            f"{baseline.id} has no health check: marathon-lb would take new tasks for healthy before they have started",
            "give it one, or accept failed requests with --allow-no-health-check",
        )
    if policy.strategy is Strategy.ROLLING:
        unsound = _rolling_is_unsound(baseline, baseline.instances)
        return unsound or Create(_wave(baseline, baseline.instances, goal, policy), swappable=True)
    size = goal.instances if goal.kind is Kind.CANARY else goal.target
    # Without TARGET on the baseline a swap of roles would stop marathon-lb for the whole cluster: no label, no swap.
    return Create(size, swappable=baseline.target is not None)


# -- hybrid: a baseline and a canary ------------------------------------------------------------------------------


def _hybrid(baseline: App, canary: App, seen: Observation, goal: Goal, policy: Policy) -> Step:
    if canary.revision != goal.revision:
        return Fail(
            f"a canary of {_name(canary)} stands beside {_name(baseline)}: {goal.kind.value} of {goal.revision} "
            "cannot begin",
            f"promote or roll back {_name(canary)} first",
        )
    if goal.kind is Kind.ROLLBACK:
        return _go_back(baseline, canary, seen, policy)
    ballast = policy.strategy is Strategy.ROLLING and _with_ballast(baseline, canary, goal)
    if goal.kind is Kind.CANARY and canary.instances > goal.instances and not ballast:
        return Fail(
            f"{goal.revision} has {canary.instances} canary instances already, more than {goal.instances}",
            "roll it back first: a canary only grows",
        )
    if swapped(baseline, canary) and baseline.instances:
        return _lead_again(baseline, canary, seen, policy)
    if policy.strategy is Strategy.ROLLING:
        return _roll(baseline, canary, seen, goal, policy)
    if goal.kind is Kind.CANARY:
        return _stand(baseline, canary, seen, goal)
    return _swap(baseline, canary, seen, goal, policy)


def _stand(baseline: App, canary: App, seen: Observation, goal: Goal) -> Step:
    """bluegreen, goal canary: grown to the wanted size; the baseline keeps its tasks, some out of rotation."""
    if canary.instances < goal.instances:
        return unless_starting(canary, Scale(canary.id, goal.instances))
    waiting = _shed(canary, canary.instances - goal.instances, seen) or until_serving(canary, goal.instances, seen)
    return waiting or Done(f"{goal.revision} has {goal.instances} instances in rotation beside {_name(baseline)}")


def _swap(baseline: App, canary: App, seen: Observation, goal: Goal, policy: Policy) -> Step:
    """bluegreen, goal promote: grow to all, wait until all of the baseline is drained, delete it. No kill, no dip.

    A baseline that is larger than the target has more than the canary can make superfluous at once: what is drained
    of it is removed, until the rest is no more than that.
    """
    if canary.instances < goal.target:
        return unless_starting(canary, Scale(canary.id, goal.target))
    if baseline.instances > goal.target:
        waiting = until_healthy(canary, goal.target) or until_ended(baseline)
        return waiting or _remove(baseline, canary, superfluous(baseline, canary), seen, policy)
    shed = _shed(canary, canary.instances - goal.target, seen)
    return shed or until_ended(baseline) or until_serving(canary, goal.target, seen) or _commit(baseline, seen, policy)


def _roll(baseline: App, canary: App, seen: Observation, goal: Goal, policy: Policy) -> Step:
    """rolling: one wave up, as many of the baseline drained and removed, the next wave."""
    upto = goal.instances if goal.kind is Kind.CANARY else goal.target
    healthy = len(canary.healthy)
    spare = superfluous(baseline, canary)
    if goal.kind is Kind.PROMOTE and healthy >= goal.target and spare >= baseline.instances:
        shed = _shed(canary, canary.instances - goal.target, seen)
        return shed or until_serving(canary, goal.target, seen) or _commit(baseline, seen, policy)
    ran = instances_before(baseline, canary)
    retired = ran - baseline.instances
    count = spare if goal.kind is Kind.PROMOTE else min(spare, upto - retired)  # a canary: one for one
    wave = _wave(baseline, ran, goal, policy)
    # What is beyond the wave is ballast.
    waiting = until_healthy(canary, min(canary.instances, wave)) or until_ended(baseline)
    if waiting:
        return waiting
    if count > 0:
        unsound = _rolling_is_unsound(baseline, canary.baseline_instances)
        return unsound or _remove(baseline, canary, count, seen, policy)
    if canary.instances < upto:
        return unless_starting(canary, Scale(canary.id, max(wave, canary.instances + 1)))
    settling = _shed(canary, canary.instances - wave, seen) or until_serving(canary, canary.instances, seen)
    return settling or Done(
        f"{goal.revision} has {canary.instances} instances in rotation, {_name(baseline)} {baseline.instances}"
    )


def _with_ballast(baseline: App, canary: App, goal: Goal) -> bool:
    """rolling: whether what is more than asked for was to be ballast (see `_remove`), by this run or one that was
    killed. A canary that was asked for has taken the place of as many of the baseline."""
    return baseline.instances + canary.instances > max(instances_before(baseline, canary), goal.target)


def _wave(baseline: App, ran: int, goal: Goal, policy: Policy) -> int:
    """rolling: how many of the new revision may run beside what is left of the baseline, which had ``ran``."""
    upto = goal.instances if goal.kind is Kind.CANARY else goal.target
    return max(1, min(upto, max(ran, goal.target) - baseline.instances + policy.wave))


def _lead_again(baseline: App, canary: App, seen: Observation, policy: Policy) -> Step:
    """The baseline was scaled last, so it is the canary that drains: no way forward from there.

    If that was a rollback, or a hand, what is in MAINT would come back DOWN for two checks, all at once: the canary
    goes, and the release begins again. If it was a plain kill, scaling the canary once more undoes it. Only up: a
    Marathon that scales down takes a running task before one that it has not launched (ScalingProposition.weight).
    """
    ran = instances_before(baseline, canary)
    if baseline.instances >= ran and swap_is_possible(baseline, canary, baseline.instances):
        return _go_back(baseline, canary, seen, policy)
    shed = _shed(canary, 1, seen)
    if shed:
        return shed
    if len(canary.tasks) < canary.instances and not no_room(seen):
        return Wait(Cause.TASKS, f"one more instance of {canary.id} to be launched{because(canary)}")
    return Scale(canary.id, canary.instances + 1, ballast=True)


def _surplus(baseline: App) -> str:
    """What was to be ballast, and serves because its run was killed, has needed a larger baseline (see `_go_back`)."""
    more = baseline.instances - (baseline.target or baseline.instances)
    told = f" with {baseline.instances} instances, {more} more than its target; removing them now would cut sessions"
    return told if more > 0 else ""


def _shed(app: App, surplus: int, seen: Observation) -> Step | None:
    """Surplus tasks that nobody uses yet; those that serve already could only go undrained.

    Not while an earlier kill is listed: that task may be shown as running, and to kill it again is to scale again.
    """
    surplus_tasks = unused(app, seen)[: max(0, surplus)]
    return (until_ended(app) or Kill(_ids(surplus_tasks))) if surplus_tasks else None


def _commit(baseline: App, seen: Observation, policy: Policy) -> Step:
    return until_drained(baseline.tasks, baseline, seen, policy) or Delete(baseline.id)


# -- going back ---------------------------------------------------------------------------------------------------


def _go_back(baseline: App, canary: App, seen: Observation, policy: Policy) -> Step:
    """Goal rollback. The canary drains once the baseline is the last scaled app; then it is deleted.

    What marathon-lb holds in MAINT of the baseline must not come back with that swap (it would be DOWN for two
    checks, all at once): it is removed first, and new tasks take over one by one as they become healthy.
    """
    ran = instances_before(baseline, canary)
    # At most as many canaries drain as the baseline has healthy tasks: a larger canary needs a larger baseline for it.
    can_swap = swap_is_possible(baseline, canary, max(ran, baseline.instances))
    configured = [task for task in canary.tasks if is_configured(task, seen)]
    enough = max(ran, len(configured)) if can_swap else ran
    home = max(enough, baseline.instances)
    shed = _shed(baseline, baseline.instances - enough, seen)
    if swapped(baseline, canary) and shed:
        return shed
    if not any(is_up(server) for task in canary.tasks for server in servers(task, seen)):
        return _grown(baseline, home) or until_drained(canary.tasks, canary, seen, policy) or Delete(canary.id)
    if not can_swap:
        return _grown(baseline, home) or until_drained(canary.tasks, canary, seen, policy) or Delete(canary.id)
    if not swapped(baseline, canary):
        return _take_over(baseline, canary, home, seen, policy)
    settling = _grown(baseline, home) or until_healthy(baseline, home)
    return settling or Wait(Cause.LOAD_BALANCER, f"the load balancers to take {canary.id} out of rotation")


def _take_over(baseline: App, canary: App, home: int, seen: Observation, policy: Policy) -> Step:
    """Make the baseline the last scaled app while nothing of it is both healthy and out of rotation.

    Canaries that have not started go before: marathon-lb counts instances of what it drains, and would take as many
    others out of rotation for them.
    """
    ending = until_ended(baseline)
    if ending:
        return ending
    count = superfluous(baseline, canary)
    if count:
        return _remove(baseline, canary, count, seen, policy)
    missing = canary.instances - len(canary.healthy)
    shed = _shed(canary, missing, seen)
    if shed:
        return shed
    if missing and not no_room(seen):
        return Wait(Cause.TASKS, f"{missing} instances of {canary.id} to be launched, or to end{because(canary)}")
    return unless_starting(baseline, Scale(baseline.id, max(home, baseline.instances + 1)))


def _grown(baseline: App, home: int) -> Step | None:
    """The baseline asked for in full, and what it was asked for is there; None when so."""
    if baseline.instances < home:
        return unless_starting(baseline, Scale(baseline.id, home))
    return until_healthy(baseline, home) if baseline.deployments else None


# -- removing tasks of the baseline ---------------------------------------------------------------------------------


def _remove(baseline: App, canary: App, count: int, seen: Observation, policy: Policy) -> Step:
    """Shrink the baseline by its drained tasks, without a swap of roles.

    A kill makes the baseline the last scaled app while its dying tasks still count as healthy, and marathon-lb takes
    new tasks out of rotation for them. So a canary instance that has not started yet, the ballast, is killed in the
    same request: both apps are scaled at the same moment, and nothing swaps. A cluster without room for it, or that is
    faster than we are, gets the plain kill, with its dip (hazard 37).
    """
    spare = superfluous(baseline, canary)
    if len(held_in_maint(baseline, spare, seen)) < spare:
        return Wait(Cause.LOAD_BALANCER, f"the load balancers to take {spare} tasks of {baseline.id} out of rotation")
    held = held_in_maint(baseline, count, seen)
    waiting = until_drained(held, baseline, seen, policy)
    if waiting:
        return waiting
    ballast = unused(canary, seen)[:1]
    if ballast:
        return Kill(_ids(held + ballast))
    if len(canary.healthy) >= canary.instances:
        return Scale(canary.id, canary.instances + 1, ballast=True)
    few = 2 * spare <= max(baseline.instances, len(canary.healthy))  # never bring most of them back at once
    if few and no_room(seen):
        return Kill(_ids(held))
    return Wait(Cause.TASKS, f"one more instance of {canary.id} to be launched{because(canary)}")


def _rolling_is_unsound(baseline: App, ran: int | None) -> Fail | None:
    if baseline.target is not None and (ran is None or baseline.target == ran):
        return None
    label = "no" if baseline.target is None else f"a stale ({baseline.target}, not {ran})"
    return Fail(
        f"{baseline.id} has {label} HAPROXY_DEPLOYMENT_TARGET_INSTANCES: removing its tasks one by one would upset "
        "marathon-lb",
        "use --strategy bluegreen for this release; the next one can roll",
    )


def _ids(tasks: Iterable[Task]) -> tuple[str, ...]:
    return tuple(task.id for task in tasks)


def _name(app: App) -> str:
    return f"{app.revision} ({app.id})" if app.revision else app.id
