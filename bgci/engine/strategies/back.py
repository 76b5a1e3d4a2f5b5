"""The rollback, for every strategy: marathon-lb drains the canary once the baseline is the app scaled last."""

from __future__ import annotations

from bgci.engine.decisions import Cause, Delete, Kill, Scale, Step, Wait
from bgci.engine.memory import ROOM_LIMIT
from bgci.engine.observation import Observation, Replica, Serving, Task
from bgci.engine.preconditions import (
    RETURN_LIMIT,
    drained,
    unless_starting,
    until_drained,
    until_ended,
    until_healthy,
    until_launched,
    until_no_more_than_instances,
    until_returned,
)
from bgci.engine.removal import remove_drained, remove_unused
from bgci.engine.rotation import drains_when_swapped
from bgci.engine.situation import Hybrid

AS_BEFORE = "That many ran when the canary was created."


def go_back(hybrid: Hybrid) -> Step:
    """Drain the canary and delete it.

    Servers in MAINT must not return with the swap of roles, because all of them would be DOWN for two checks at once.
    So the engine first removes the baseline's drained tasks, and new tasks replace them one by one as they become
    healthy.
    """
    baseline, canary, observation = hybrid.baseline, hybrid.canary, hybrid.observation
    if hybrid.memory.degraded and (abandoned := _abandon(hybrid)):
        return abandoned
    can_swap = hybrid.can_swap_roles(max(hybrid.initial_instances, baseline.instances))
    needed = _needed(hybrid) if can_swap else hybrid.initial_instances
    target = max(needed, baseline.instances)
    if hybrid.roles_swapped and not hybrid.memory.outside.grown(baseline.id):  # instances that an operator adds stay
        surplus = remove_unused(baseline, baseline.instances - needed, hybrid)
        if surplus:
            return surplus
    out_of_rotation = not any(observation.is_up(task) for task in canary.tasks)
    if not hybrid.roles_swapped:
        # An operator scaled the canary while it drained: its tasks in MAINT are about to return.
        out_of_rotation &= not any(
            one.serving is Serving.MAINT for task in canary.tasks for one in hybrid.observation.servers(task)
        )
    if out_of_rotation or not can_swap:
        if not hybrid.roles_swapped and any(_enters_rotation(task, observation) for task in canary.tasks):
            # Scaling the baseline now would drain the canary as well: as many tasks of both would be in MAINT.
            return until_drained(canary.tasks, canary, hybrid) or _grown(hybrid, target) or _delete(hybrid)
        return _grown(hybrid, target) or until_drained(canary.tasks, canary, hybrid) or _delete(hybrid)
    if not hybrid.roles_swapped:
        return _prepare_role_swap(hybrid, target)
    settling = _grown(hybrid, target) or until_healthy(baseline, target)
    return settling or Wait(Cause.LOAD_BALANCER, f"The load balancers have not taken {canary.id} out of rotation yet.")


def _delete(hybrid: Hybrid) -> Delete:
    canary = hybrid.canary
    return Delete(canary.id, because=drained(canary.tasks, hybrid))


def _enters_rotation(task: Task, observation: Observation) -> bool:
    """Whether the task is entering rotation: it is healthy, and not every load balancer has it in MAINT."""
    return bool(task.healthy) and not task.dying and not observation.in_maint_everywhere(task)


def cut(hybrid: Hybrid) -> Step:
    """Delete the canary at once, with its sessions, while the baseline is in rotation; drain it otherwise.

    Tasks of the baseline in MAINT return once HAProxy has checked them twice. If all of them were in MAINT, no task
    would serve in between.
    """
    baseline, canary, replicas = hybrid.baseline, hybrid.canary, hybrid.observation.replicas
    if not all(any(one.server(task.id).serving is Serving.UP for task in baseline.tasks) for one in replicas):
        return go_back(hybrid)
    if baseline.instances < hybrid.initial_instances:
        return Scale(baseline.id, hybrid.initial_instances, because=AS_BEFORE)
    return Delete(canary.id, because="Its sessions are not waited for (--cut), and the baseline is in rotation.")


def _abandon(hybrid: Hybrid) -> Step | None:
    """Remove the tasks of a bad canary that are out of rotation: they only keep the baseline's tasks in MAINT.

    They need no drain, because no request reaches them. Without them marathon-lb puts as many tasks of the baseline
    back in rotation, after two of HAProxy's checks. None when all of the canary's tasks are in rotation.

    None also when some are and the roles are swapped: marathon-lb drains the canary already, and a kill of some of its
    tasks would swap the roles back. Only a baseline that finds no room in the cluster needs that kill.
    """
    baseline, canary = hybrid.baseline, hybrid.canary
    useless = [task for task in canary.tasks if not task.dying and not _holds_sessions(task, hybrid)]
    if len(useless) < len(canary.tasks):
        waited = hybrid.memory.waited(Cause.HEALTH, hybrid.observation.now)
        if hybrid.roles_swapped and (len(baseline.tasks) >= baseline.instances or waited <= ROOM_LIMIT):
            return None
        # A task that was never healthy stays: it may be the placeholder of a removal.
        failed = [task for task in useless if task.ever_healthy]
        ids = tuple(task.id for task in failed)
        reason = "They do not serve any more, and keep as many of the baseline out of rotation."
        return (until_ended(canary) or Kill(ids, because=reason)) if failed else None
    if baseline.instances < hybrid.initial_instances:  # first: a killed run must not lose them
        return Scale(baseline.id, hybrid.initial_instances, because=AS_BEFORE)
    return Delete(canary.id, because="None of its tasks serves.")


def _holds_sessions(task: Task, hybrid: Hybrid) -> bool:
    """Whether the task serves, is about to serve, or is draining sessions."""
    observation = hybrid.observation
    drains = any(server.serving is Serving.MAINT for server in observation.servers(task))
    return observation.is_up(task) or _is_taken_up(task, hybrid) or (drains and not observation.is_drained(task))


def _is_taken_up(task: Task, hybrid: Hybrid) -> bool:
    """Whether a load balancer is about to put a healthy task in rotation: a new one, or one that returns from MAINT.

    The latter is DOWN for two checks, and can have sessions in an older worker. A load balancer without any task of the
    two apps in rotation does not count: it has left the apps out, or its checks of all of them fail. A task that failed
    in this run does not count either.
    """
    everything = [*hybrid.baseline.tasks, *hybrid.canary.tasks]
    good = task.healthy and task.id not in hybrid.memory.turned_bad
    return bool(good) and any(
        (serving is Serving.ABSENT or (serving is Serving.DOWN and replica.older_workers))
        and any(replica.server(other.id).serving is Serving.UP for other in everything)
        for replica in hybrid.observation.replicas
        for serving in [replica.server(task.id).serving]
    )


def restore_role_order(hybrid: Hybrid) -> Step:
    """Make the canary the app scaled last again: a strategy cannot go on with swapped roles.

    If a rollback or an operator scaled the baseline, all servers in MAINT would return as DOWN for two checks, all at
    once. The engine then drains and removes the canary, and the release begins again. After a plain kill one more
    canary instance restores the order, unless that takes more than half of the serving tasks out of rotation. The
    engine never scales the canary down for it: Marathon kills a running task before an instance that is not launched
    (ScalingProposition.weight).
    """
    baseline, canary = hybrid.baseline, hybrid.canary
    if baseline.instances >= hybrid.initial_instances and hybrid.can_swap_roles(baseline.instances):
        return go_back(hybrid)
    most = 2 * min(hybrid.drainable, len(baseline.healthy)) > _least_with_swapped_roles(hybrid)
    if most and hybrid.can_swap_roles(hybrid.initial_instances):
        return _until_followed(hybrid) or go_back(hybrid)
    # Without room several tasks can have been killed at once: marathon-lb drains the canary for them until they end.
    ended = until_ended(baseline) if hybrid.memory.no_room else until_no_more_than_instances(baseline)
    waiting = ended or remove_unused(canary, 1, hybrid)
    if waiting:
        return waiting
    if len(canary.tasks) < canary.instances and not hybrid.memory.no_room:
        return until_launched(canary, 1)
    last = "It must be the app that was scaled last again, for marathon-lb to drain the baseline."
    return Scale(canary.id, canary.instances + 1, placeholder=True, because=last)


def _least_with_swapped_roles(hybrid: Hybrid) -> int:
    """How many tasks stay in rotation while a load balancer drains the canary: it can do that before it sees the
    restored order, and the canary's tasks are then DOWN for two checks."""
    observation = hybrid.observation
    drains = drains_when_swapped(hybrid.baseline, hybrid.canary)

    def least(replica: Replica) -> int:
        drained = sum(replica.server(task.id).serving is Serving.MAINT for task in hybrid.canary.tasks)
        return observation.in_rotation(replica) - max(0, drains - drained)

    return min(map(least, observation.replicas), default=0)


def _until_followed(hybrid: Hybrid) -> Wait | None:
    """In a cluster without room, in which the baseline cannot grow: until the load balancers have drained the canary,
    and all other tasks are in rotation. More tasks serve then, so that restoring the order takes a smaller part."""
    if not hybrid.memory.no_room or hybrid.memory.waited(Cause.LOAD_BALANCER, hybrid.observation.now) >= RETURN_LIMIT:
        return None
    baseline, canary = hybrid.baseline, hybrid.canary
    serving = len(baseline.healthy) + max(0, len(canary.healthy) - drains_when_swapped(baseline, canary))
    for replica in hybrid.observation.replicas:
        if hybrid.observation.in_rotation(replica) != serving:
            return Wait(Cause.LOAD_BALANCER, f"{replica.url} has not followed the swap of the roles yet.")
    return None


def _needed(hybrid: Hybrid) -> int:
    """How many instances the baseline needs: marathon-lb drains at most as many canaries as it has healthy tasks."""
    configured = [task for task in hybrid.canary.tasks if hybrid.observation.is_configured(task)]
    return max(hybrid.initial_instances, len(configured))


def _prepare_role_swap(hybrid: Hybrid, target: int) -> Step:
    """Make the baseline the app scaled last while none of its tasks is both healthy and out of rotation.

    It first removes canary instances that have not started: marathon-lb counts the instances of the app that it drains,
    so it would take as many serving ones out of rotation for them.
    """
    baseline, canary = hybrid.baseline, hybrid.canary
    ending = until_ended(baseline)
    if ending:
        return ending
    if hybrid.drainable:
        return remove_drained(hybrid, hybrid.drainable)
    missing = max(0, canary.instances - len(canary.healthy))
    surplus = remove_unused(canary, missing, hybrid)
    if surplus:
        return surplus
    if missing and not hybrid.memory.no_room:
        return until_launched(canary, missing)
    if returning := until_returned(baseline, hybrid):
        return returning
    last = "It becomes the app that was scaled last, so that marathon-lb drains the canary."
    return unless_starting(baseline, Scale(baseline.id, max(target, baseline.instances + 1), because=last))


def _grown(hybrid: Hybrid, target: int) -> Step | None:
    """Scale the baseline up and wait for its health; None when it has its instances."""
    baseline = hybrid.baseline
    if baseline.instances < target:
        return unless_starting(baseline, Scale(baseline.id, target, because="That many must serve without the canary."))
    return until_healthy(baseline, target) if baseline.deployments else None
