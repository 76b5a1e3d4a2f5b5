"""What to do next: ``decide`` is a pure function of what is seen and what is wanted.

marathon-lb decides who drains (``get_apps``): of the app it takes for old, as many tasks as the other one has healthy
beyond the target; and it takes the last scaled app for the old one once both carry HAPROXY_DEPLOYMENT_NEW_INSTANCES.
So the engine never tells a load balancer anything. It chooses the next change in Marathon after which the load
balancer, by its own rules, does the right thing, and waits until every replica has done it.
"""

from __future__ import annotations

from collections.abc import Iterable

from bgci.rollout.model import (
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
    Server,
    Serving,
    Step,
    Strategy,
    Task,
    Wait,
)

# Seconds until a cluster that does not start one more instance is taken to have no room for it (see `_remove`).
ROOM_PATIENCE = 30.0
# How often the race for the ballast may be lost, which then serves as one canary more.
BALLAST_TRIES = 2


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
        return _shed(app, surplus, seen) or _unless_starting(app, Scale(app.id, goal.target))
    return _serving(app, app.instances, seen) or Done(f"{goal.revision} serves alone with {app.instances} instances")


def _from_other(baseline: App, seen: Observation, goal: Goal, policy: Policy) -> Step:
    if goal.kind is Kind.ROLLBACK:
        waiting = _serving(baseline, len(baseline.healthy), seen)
        return waiting or Done(f"{goal.revision} is not running, {_name(baseline)} serves alone")
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
    # rolling: what is more than asked for may be ballast (see `_remove`) of this run, or of one that was killed.
    left = baseline.instances + canary.instances > _ran(baseline, canary) and canary.instances == goal.instances + 1
    ours = policy.strategy is Strategy.ROLLING and (seen.ballasted or left)
    if goal.kind is Kind.CANARY and canary.instances > goal.instances and not ours:
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
        return _unless_starting(canary, Scale(canary.id, goal.instances))
    waiting = _shed(canary, canary.instances - goal.instances, seen) or _serving(canary, goal.instances, seen)
    return waiting or Done(f"{goal.revision} has {goal.instances} instances in rotation beside {_name(baseline)}")


def _swap(baseline: App, canary: App, seen: Observation, goal: Goal, policy: Policy) -> Step:
    """bluegreen, goal promote: grow to all, wait until all of the baseline is drained, delete it. No kill, no dip.

    A baseline that is larger than the target has more than the canary can make superfluous at once: what is drained
    of it is removed, until the rest is no more than that.
    """
    if canary.instances < goal.target:
        return _unless_starting(canary, Scale(canary.id, goal.target))
    if baseline.instances > goal.target:
        waiting = _health(canary, goal.target) or _ending(baseline)
        return waiting or _remove(baseline, canary, _spare(baseline, canary), seen, policy)
    shed = _shed(canary, canary.instances - goal.target, seen)
    return shed or _ending(baseline) or _serving(canary, goal.target, seen) or _commit(baseline, seen, policy)


def _roll(baseline: App, canary: App, seen: Observation, goal: Goal, policy: Policy) -> Step:
    """rolling: one wave up, as many of the baseline drained and removed, the next wave."""
    upto = goal.instances if goal.kind is Kind.CANARY else goal.target
    healthy = len(canary.healthy)
    spare = _spare(baseline, canary)
    if goal.kind is Kind.PROMOTE and healthy >= goal.target and spare >= baseline.instances:
        shed = _shed(canary, canary.instances - goal.target, seen)
        return shed or _serving(canary, goal.target, seen) or _commit(baseline, seen, policy)
    ran = _ran(baseline, canary)
    retired = ran - baseline.instances
    count = spare if goal.kind is Kind.PROMOTE else min(spare, healthy - retired)  # a canary: one for one
    wave = _wave(baseline, ran, goal, policy)
    waiting = _health(canary, min(canary.instances, wave)) or _ending(baseline)  # what is beyond the wave is ballast
    if waiting:
        return waiting
    if count > 0:
        unsound = _rolling_is_unsound(baseline, canary.baseline_instances)
        return unsound or _remove(baseline, canary, count, seen, policy)
    if canary.instances < upto:
        return _unless_starting(canary, Scale(canary.id, max(wave, canary.instances + 1)))
    waiting = _serving(canary, canary.instances, seen)
    return waiting or Done(f"{goal.revision} has {upto} instances in rotation, {_name(baseline)} {baseline.instances}")


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
    ran = _ran(baseline, canary)
    if baseline.instances >= ran and _can_swap(baseline, canary, baseline.instances):
        return _go_back(baseline, canary, seen, policy)
    shed = _shed(canary, 1, seen)
    if shed:
        return shed
    if len(canary.tasks) < canary.instances and not _no_room(seen):
        return Wait(Cause.TASKS, f"one more instance of {canary.id} to be launched{_because(canary)}")
    return Scale(canary.id, canary.instances + 1, ballast=True)


def _shed(app: App, surplus: int, seen: Observation) -> Step | None:
    """Surplus tasks that nobody uses yet; those that serve already could only go undrained."""
    fresh = _fresh(app, seen)[: max(0, surplus)]
    return Kill(_ids(fresh)) if fresh else None


def _commit(baseline: App, seen: Observation, policy: Policy) -> Step:
    return _drain(baseline.tasks, baseline, seen, policy) or Delete(baseline.id)


# -- going back ---------------------------------------------------------------------------------------------------


def _go_back(baseline: App, canary: App, seen: Observation, policy: Policy) -> Step:
    """Goal rollback. The canary drains once the baseline is the last scaled app; then it is deleted.

    What marathon-lb holds in MAINT of the baseline must not come back with that swap (it would be DOWN for two
    checks, all at once): it is removed first, and new tasks take over one by one as they become healthy.
    """
    ran = _ran(baseline, canary)
    # At most as many canaries drain as the baseline has healthy tasks: a larger canary needs a larger baseline for it.
    can_swap = _can_swap(baseline, canary, max(ran, baseline.instances))
    configured = [task for task in canary.tasks if _configured(task, seen)]
    enough = max(ran, len(configured)) if can_swap else ran
    home = max(enough, baseline.instances)
    shed = _shed(baseline, baseline.instances - enough, seen)
    if swapped(baseline, canary) and shed:
        return shed
    if not any(_up(server) for task in canary.tasks for server in _servers(task, seen)):
        return _grown(baseline, home) or _drain(canary.tasks, canary, seen, policy) or Delete(canary.id)
    if not can_swap:
        return _grown(baseline, home) or _drain(canary.tasks, canary, seen, policy) or Delete(canary.id)
    if not swapped(baseline, canary):
        return _take_over(baseline, canary, home, seen, policy)
    settling = _grown(baseline, home) or _health(baseline, home)
    return settling or Wait(Cause.LOAD_BALANCER, f"the load balancers to take {canary.id} out of rotation")


def _take_over(baseline: App, canary: App, home: int, seen: Observation, policy: Policy) -> Step:
    """Make the baseline the last scaled app while nothing of it is both healthy and out of rotation.

    Canaries that have not started go before: marathon-lb counts instances of what it drains, and would take as many
    others out of rotation for them.
    """
    ending = _ending(baseline)
    if ending:
        return ending
    count = _spare(baseline, canary)
    if count:
        return _remove(baseline, canary, count, seen, policy)
    missing = canary.instances - len(canary.healthy)
    shed = _shed(canary, missing, seen)
    if shed:
        return shed
    if missing and not _no_room(seen):
        return Wait(Cause.TASKS, f"{missing} instances of {canary.id} to be launched, or to end{_because(canary)}")
    return _unless_starting(baseline, Scale(baseline.id, max(home, baseline.instances + 1)))


def _grown(baseline: App, home: int) -> Step | None:
    """The baseline asked for in full, and what it was asked for is there; None when so."""
    if baseline.instances < home:
        return _unless_starting(baseline, Scale(baseline.id, home))
    return _health(baseline, home) if baseline.deployments else None


# -- removing tasks of the baseline ---------------------------------------------------------------------------------


def _remove(baseline: App, canary: App, count: int, seen: Observation, policy: Policy) -> Step:
    """Shrink the baseline by its drained tasks, without a swap of roles.

    A kill makes the baseline the last scaled app while its dying tasks still count as healthy, and marathon-lb takes
    new tasks out of rotation for them. So a canary instance that has not started yet, the ballast, is killed in the
    same request: both apps are scaled at the same moment, and nothing swaps. A cluster without room for it, or that is
    faster than we are, gets the plain kill, with its dip (hazard 37).
    """
    spare = _spare(baseline, canary)
    if len(_held(baseline, spare, seen)) < spare:
        return Wait(Cause.LOAD_BALANCER, f"the load balancers to take {spare} tasks of {baseline.id} out of rotation")
    held = _held(baseline, count, seen)
    waiting = _drain(held, baseline, seen, policy)
    if waiting:
        return waiting
    ballast = _fresh(canary, seen)[:1]
    if ballast:
        return Kill(_ids(held + ballast))
    if len(canary.healthy) >= canary.instances:
        return Scale(canary.id, canary.instances + 1, ballast=True)
    few = 2 * spare <= max(baseline.instances, len(canary.healthy))  # never bring most of them back at once
    if few and _no_room(seen):
        return Kill(_ids(held))
    return Wait(Cause.TASKS, f"one more instance of {canary.id} to be launched{_because(canary)}")


def _no_room(seen: Observation) -> bool:
    """Whether an instance has been waited for so long that the cluster seems to have no room for it."""
    return seen.short_since is not None and seen.now - seen.short_since > ROOM_PATIENCE


def _ending(app: App) -> Wait | None:
    """Until what was killed is gone: marathon-lb counts it for as long as Marathon lists it."""
    dying = sum(task.dying for task in app.tasks)
    if len(app.tasks) <= app.instances and not dying:
        return None
    return Wait(Cause.TASKS, f"{max(dying, len(app.tasks) - app.instances)} killed tasks of {app.id} to end")


def _held(app: App, count: int, seen: Observation) -> tuple[Task, ...]:
    """What marathon-lb drains of the app and goes on draining: healthy, in MAINT everywhere, of the lowest ids."""
    drains = _lowest(app, count)
    return tuple(
        task
        for task in app.healthy
        if task.id in drains and all(replica.server(task.id).serving is Serving.MAINT for replica in seen.replicas)
    )


def _lowest(app: App, count: int) -> list[str]:
    """The ids of what marathon-lb drains of the app by its rules, whatever state they are in."""
    return sorted(task.id for task in app.tasks)[:count]


def _fresh(app: App, seen: Observation) -> tuple[Task, ...]:
    """Not healthy and in nobody's rotation: marathon-lb does not count it, and no request is lost with it.

    A task that was healthy once has to be drained like any other.
    """
    return tuple(
        task
        for task in app.tasks
        if not task.healthy
        and not task.dying
        and not any(_up(server) for server in _servers(task, seen))
        and (not task.ever_healthy or drained(task, seen))
    )


# -- what must be so before going on: a step to wait with, or None --------------------------------------------------


def _serving(app: App, count: int, seen: Observation) -> Wait | None:
    """Until this many tasks of the app are healthy and in rotation in every replica."""
    waiting = _health(app, count)
    if waiting:
        return waiting
    for replica in seen.replicas:
        up = sum(_up(replica.server(task.id)) for task in app.healthy)
        if up < count:
            return Wait(Cause.LOAD_BALANCER, f"{up} of {count} instances of {app.id} are in rotation at {replica.url}")
    return None


def _health(app: App, count: int) -> Wait | None:
    healthy = len(app.healthy)
    if healthy >= count:
        return None
    return Wait(Cause.HEALTH, f"{healthy} of {count} instances of {app.id} are healthy{_because(app)}")


def _unless_starting(app: App, step: Step) -> Step:
    """A running deployment holds the app's lock: wait for the health that it waits for."""
    if app.deployments and len(app.healthy) < app.instances:
        return _health(app, app.instances) or step
    return step


def _drain(tasks: Iterable[Task], app: App, seen: Observation, policy: Policy) -> Step | None:
    """Until these tasks are drained, or the drain time-out has passed."""
    busy = [task for task in tasks if not drained(task, seen)]
    if not busy:
        return None
    why = _undrained(busy, app, seen)
    if seen.draining_since is None or seen.now - seen.draining_since < policy.drain_timeout:
        return Wait(Cause.DRAIN, why)
    if policy.force or not any(_configured(task, seen) for task in busy):
        return None  # by now a load balancer that serves them at all would know them
    return Fail(
        f"after {policy.drain_timeout:.0f}s still waiting: {why}",
        "wait for these sessions to end and run this again, or cut them with --on-drain-timeout force",
        overdue=True,
    )


def _undrained(busy: list[Task], app: App, seen: Observation) -> str:
    up = sum(any(_up(server) for server in _servers(task, seen)) for task in busy)
    sessions = sum(server.sessions for task in busy for server in _servers(task, seen))
    workers = [f"{replica.url} pid {pid}" for replica in seen.replicas for pid in replica.older_workers]
    parts = [f"{up} still in rotation"] if up else []
    parts += [f"{sessions} sessions"] if sessions else []
    parts += [f"older HAProxy workers that may hold sessions: {', '.join(workers)}"] if workers else []
    return f"{len(busy)} tasks of {app.id} to drain ({'; '.join(parts) or 'not yet in MAINT everywhere'})"


def drained(task: Task, seen: Observation) -> bool:
    """Out of rotation in every replica, and nothing left that could hold a session with it (hazard 18).

    What is healthy and not in MAINT is on its way into rotation, even where no replica shows it yet.
    """
    if not _touched(task, seen):
        return True
    coming = bool(task.healthy) and not task.dying
    return all(
        not _up(replica.server(task.id))
        and (not coming or replica.server(task.id).serving is Serving.MAINT)
        and (task.idle or (replica.server(task.id).sessions == 0 and not replica.older_workers))
        for replica in seen.replicas
    )


def _touched(task: Task, seen: Observation) -> bool:
    """Whether any session can ever have reached the task."""
    return task.ever_healthy or _configured(task, seen)


def _configured(task: Task, seen: Observation) -> bool:
    return any(server.serving is not Serving.ABSENT for server in _servers(task, seen))


# -- marathon-lb's arithmetic ---------------------------------------------------------------------------------------


def swapped(baseline: App, canary: App) -> bool:
    """Whether marathon-lb takes the canary for the old app (line 1674: the last scaled one is new)."""
    return canary.swappable and baseline.last_scaling_at > canary.last_scaling_at


def spared(baseline: App, new: int, target: int) -> int:
    """How many tasks of the baseline this many healthy new ones make superfluous: marathon-lb drains as many."""
    return min(baseline.instances, new, max(0, new + baseline.instances - target))


def _ran(baseline: App, canary: App) -> int:
    """How many instances the baseline had when the canary was created."""
    return canary.baseline_instances or baseline.target or baseline.instances


def _spare(baseline: App, canary: App) -> int:
    return spared(baseline, len(canary.healthy), canary.target or baseline.instances)


def _can_swap(baseline: App, canary: App, home: int) -> bool:
    """Whether the canary can be drained: with roles swapped the baseline's TARGET counts."""
    return canary.swappable and baseline.target is not None and baseline.target <= home


def _rolling_is_unsound(baseline: App, ran: int | None) -> Fail | None:
    if baseline.target is not None and (ran is None or baseline.target == ran):
        return None
    label = "no" if baseline.target is None else f"a stale ({baseline.target}, not {ran})"
    return Fail(
        f"{baseline.id} has {label} HAPROXY_DEPLOYMENT_TARGET_INSTANCES: removing its tasks one by one would upset "
        "marathon-lb",
        "use --strategy bluegreen for this release; the next one can roll",
    )


def _up(server: Server) -> bool:
    return server.serving is Serving.UP


def _servers(task: Task, seen: Observation) -> list[Server]:
    return [replica.server(task.id) for replica in seen.replicas]


def _ids(tasks: Iterable[Task]) -> tuple[str, ...]:
    return tuple(task.id for task in tasks)


def _name(app: App) -> str:
    return f"{app.revision} ({app.id})" if app.revision else app.id


def _because(app: App) -> str:
    return f": {app.trouble}" if app.trouble else ""
