"""Removal of tasks without a lost request: unused ones at once, drained ones without a swap of roles."""

from __future__ import annotations

from collections.abc import Iterable

from bgci.engine.decisions import Cause, Delete, Fail, Kill, Kind, Scale, Step, Wait
from bgci.engine.observation import App, Replica, Serving, Task
from bgci.engine.preconditions import drained, until_drained, until_ended, until_launched, until_returned, until_serving
from bgci.engine.rotation import drained_by_rule, drains_when_swapped
from bgci.engine.situation import Hybrid, Situation


def remove_unused(app: App, surplus: int, situation: Situation) -> Step | None:
    """Remove up to ``surplus`` unused tasks; None when there are none. Serving tasks stay, because they are not
    drained.

    The rule waits for an earlier kill to end first. Marathon can still list such a task as running, and a second kill
    of it would scale the app down a second time.
    """
    tasks = situation.unused(app)[: max(0, surplus)]
    unused = "They are neither healthy nor in rotation, and more than are wanted."
    return (until_ended(app) or Kill(_ids(tasks), because=unused)) if tasks else None


def commit(hybrid: Hybrid) -> Step:
    """Delete the baseline once all of it is drained."""
    baseline = hybrid.baseline
    waiting = until_drained(baseline.tasks, baseline, hybrid)
    return waiting or Delete(baseline.id, because=drained(baseline.tasks, hybrid))


def remove_drained(hybrid: Hybrid, count: int) -> Step:
    """Shrink the baseline by ``count`` drained tasks, without a swap of roles.

    A plain kill makes the baseline the app scaled last. Its ending tasks still count as healthy, so marathon-lb would
    take new tasks out of rotation for them (hazard 37). The engine therefore asks for one more canary instance, the
    placeholder, and kills it before its first health check in the same request as the drained tasks: Marathon scales
    both apps at the same moment, and the roles stay. If the cluster has no room for the placeholder,
    the engine uses the plain kill, with its dip.
    """
    baseline, canary, drainable = hybrid.baseline, hybrid.canary, hybrid.drainable
    if len(hybrid.in_maint(baseline, drainable)) < drainable:
        return Wait(
            Cause.LOAD_BALANCER,
            f"The load balancers have not taken {drainable} tasks of {baseline.id} out of rotation.",
        )
    retired = hybrid.in_maint(baseline, count)
    waiting = until_drained(retired, baseline, hybrid) or _unless_too_few_serve(hybrid, len(retired))
    if waiting:
        return waiting
    placeholder = hybrid.unused(canary)[:1]
    if placeholder:
        together = "They are drained; the placeholder goes with them, so that the roles of the two apps stay."
        return Kill(_ids((*retired, *placeholder)), because=together)
    if len(canary.healthy) >= canary.instances:
        reason = f"It is the placeholder with which drained tasks of {baseline.id} are removed."
        return Scale(canary.id, canary.instances + 1, placeholder=True, because=reason)
    if hybrid.memory.no_room and (waiting := _until_canary_serves(hybrid)):
        return waiting
    if hybrid.memory.no_room and _few_are_lost(hybrid, len(retired)):
        return Kill(_ids(retired), because="They are drained, and the cluster has no room for a placeholder.")
    return until_launched(canary, 1)


def _until_canary_serves(hybrid: Hybrid) -> Wait | None:
    """Until what an earlier plain kill has taken out of rotation is back. A rollback goes on without tasks of the
    canary that stay DOWN."""
    canary = hybrid.canary
    if hybrid.goal.kind is Kind.ROLLBACK:
        return until_returned(canary, hybrid)
    return until_serving(canary, len(canary.healthy), hybrid)


def _few_are_lost(hybrid: Hybrid, removed: int) -> bool:
    """Whether the plain kill of ``removed`` drained tasks leaves enough tasks in rotation.

    It swaps the roles: marathon-lb drains tasks of the canary. When the order is restored, these are DOWN for two
    checks, while marathon-lb drains tasks of the baseline again.
    """
    baseline, canary, serving = hybrid.baseline, hybrid.canary, hybrid.observation.least_in_rotation
    lost = drains_when_swapped(baseline, canary)
    if hybrid.goal.kind is Kind.ROLLBACK:  # no strategy has to go on from there: only what serves can be lost
        lost = min(lost, max((_up(canary, replica) for replica in hybrid.observation.replicas), default=0))
    again = drained_by_rule(baseline.instances - removed, len(canary.healthy), canary.target or baseline.instances)
    return lost < serving and 2 * lost <= serving + 1 and 2 * again <= serving - lost


def _up(app: App, replica: Replica) -> int:
    return sum(replica.server(task.id).serving is Serving.UP for task in app.tasks)


def _unless_too_few_serve(hybrid: Hybrid, removed: int) -> Wait | None:
    """Until a removal of ``removed`` drained tasks leaves enough tasks in rotation.

    marathon-lb counts the instances of the baseline, not its tasks. If the baseline is larger than the target,
    marathon-lb continues to drain as many as before, out of fewer tasks. That is safe once the canary's tasks are in
    rotation and no task of the baseline is missing.
    """
    baseline, canary, observation = hybrid.baseline, hybrid.canary, hybrid.observation
    floor = min(hybrid.goal.target, hybrid.initial_instances)
    after = drained_by_rule(baseline.instances - removed, len(canary.healthy), canary.target or baseline.instances)
    more = after - (hybrid.drainable - removed)
    lost = min(more, sum(observation.is_up(task) for task in baseline.tasks))
    if lost <= 0 or observation.least_in_rotation - lost >= floor:
        return None
    cause = Cause.HEALTH if len(baseline.healthy) < baseline.instances else Cause.LOAD_BALANCER
    return Wait(
        cause,
        f"{observation.least_in_rotation} tasks are in rotation: without drained tasks of {baseline.id} marathon-lb "
        f"would leave fewer than {floor} there.",
    )


def removal_is_unsound(baseline: App, instances: int | None) -> Fail | None:
    """Why the engine cannot remove tasks of the baseline one by one: a removal may swap the roles, and then its TARGET
    counts.

    ``instances``: how many the baseline had when the release began.
    """
    if baseline.target is not None and (instances is None or baseline.target == instances):
        return None
    label = "no" if baseline.target is None else f"a stale ({baseline.target}, not {instances})"
    return Fail(
        f"{baseline.id} has {label} HAPROXY_DEPLOYMENT_TARGET_INSTANCES: marathon-lb would take the wrong tasks out of "
        "rotation while its tasks are removed one by one.",
        "Use --strategy bluegreen for this release; the next one can use rolling.",
    )


def _ids(tasks: Iterable[Task]) -> tuple[str, ...]:
    return tuple(task.id for task in tasks)
