"""The rules, by goal and by the running apps: ``next_step`` returns the one next change, or the wait for the last one.

No rule chooses the tasks that drain, because marathon-lb does (``rotation``). A rule chooses the next change in
Marathon after which every load balancer, by its own rules, drains the intended tasks, and waits until all of them have
done so.
"""

from __future__ import annotations

from dataclasses import replace

from bgci.engine.decisions import Cause, Create, Delete, Done, Fail, Kill, Kind, Restore, Scale, Step, Wait
from bgci.engine.hold import STEADY
from bgci.engine.observation import App, Replica
from bgci.engine.preconditions import unless_starting, until_no_more_than_instances, until_serving, until_settled
from bgci.engine.proof import until_proven
from bgci.engine.removal import remove_unused
from bgci.engine.situation import Hybrid, Situation
from bgci.engine.strategies import STRATEGIES
from bgci.engine.strategies.back import cut, go_back, restore_role_order
from bgci.engine.surplus import drain_surplus, finish_stand_in


def next_step(situation: Situation) -> Step:
    """The one next step towards the goal."""
    step = _by_apps(situation)
    observation = situation.observation
    unread = [_unread(replica) for replica in observation.replicas if replica.problem]
    if unread and not isinstance(step, Done | Fail):
        return Wait(Cause.UNREACHABLE, f"A load balancer cannot be read: {'; '.join(unread)}.")
    if isinstance(step, Kill | Delete) and observation.health_lost:
        return Wait(Cause.HEALTH, "Marathon's new leader has not checked the health of all tasks again yet.")
    if isinstance(step, Kill):
        hit = [app for app in observation.apps if any(task.id in step.task_ids for task in app.tasks)]
        return next(filter(None, (until_settled(app, situation) for app in hit)), step)
    if isinstance(step, Done):
        return next(filter(None, map(until_no_more_than_instances, observation.apps)), step)
    return step


def _unread(replica: Replica) -> str:
    """The problem, without its full stop, and with the load balancer's address once."""
    problem = replica.problem.rstrip(".")
    return problem if replica.url in problem else f"{replica.url}: {problem}"


def _by_apps(situation: Situation) -> Step:
    match situation.observation.apps:
        case ():
            return _from_nothing(situation)
        case (app,) if app.revision == situation.goal.revision:
            return _from_this_revision(situation, app)
        case (app,):
            return _from_another_revision(situation, app)
        case (one, two) if one.started_at != two.started_at:
            baseline, canary = situation.observation.by_age
            hybrid = Hybrid(situation.goal, situation.policy, situation.observation, situation.memory, baseline, canary)
            return finish_stand_in(hybrid) if canary.stand_in else _from_both(hybrid)
        case (one, two):
            return Fail(
                f"{one.id} and {two.id} cannot be told apart: their HAPROXY_DEPLOYMENT_STARTED_AT labels are "
                "equal or missing.",
                "Delete the app that does not belong there, then run this again.",
            )
        case apps:
            names = ", ".join(app.id for app in apps)
            return Fail(
                f"The group holds {len(apps)} apps ({names}); a release handles two.",
                "Remove the apps that do not belong to it, or correct their HAPROXY_DEPLOYMENT_GROUP.",
            )


def _from_nothing(situation: Situation) -> Step:
    goal = situation.goal
    if goal.kind is not Kind.ROLLBACK:
        return Create(goal.target, swappable=True, because="No app of its group runs.")
    if situation.memory.returning:  # the baseline ran when this run began
        return Fail(
            f"There is nothing left to go back to: no app of the group of {goal.revision} runs any more.",
            "Run `bgci promote` of the revision that should serve.",
        )
    return Done(f"{goal.revision} is not running, and neither is any other app of its group.")


def _from_this_revision(situation: Situation, app: App) -> Step:
    goal, kept = situation.goal, situation.memory.kept
    if goal.kind is Kind.ROLLBACK:
        if situation.memory.degraded and kept:
            return Restore(
                kept.id, max(kept.instances, app.baseline_instances or 0), because=f"{app.id} does not serve."
            )
        if kept and situation.memory.outage_since is not None:
            return Wait(Cause.LOAD_BALANCER, f"No task of {app.id} is in rotation.")
        if kept and situation.memory.unfollowed_since is not None:
            return Wait(Cause.LOAD_BALANCER, f"A load balancer still has servers that are not {app.id}'s.")
        if not _never_served(situation, app):
            return _nothing_before(app)
        return Delete(app.id, because="It has never served.")
    surplus = app.instances - goal.target if goal.kind is Kind.PROMOTE else 0
    if situation.memory.outside.grown(app.id):
        surplus = 0  # an operator added instances, and their removal would cut sessions
    if surplus > 0:
        draining = drain_surplus(app, situation) if app.target == goal.target else None
        if waiting := remove_unused(app, surplus, situation) or draining:
            return waiting
        # Marathon kills the youngest tasks: the rest must serve by then.
        waiting = until_serving(app, len(app.healthy), situation)
        return waiting or unless_starting(app, Scale(app.id, goal.target, because="That is its target."))
    if app.instances < goal.target:
        growing = unless_starting(app, Scale(app.id, goal.target, because="That is its target."))
        return until_no_more_than_instances(app) or growing
    waiting = until_serving(app, app.instances, situation) or until_proven(app, situation)
    return waiting or Done(f"{goal.revision} serves alone with {app.instances} instances.")


def _never_served(situation: Situation, app: App) -> bool:
    """Whether it is a first deployment that never became healthy: its deployment has not ended, and no task was
    healthy or in rotation."""
    served = any(task.healthy or task.ever_healthy or situation.observation.is_up(task) for task in app.tasks)
    return app.baseline_instances is None and bool(app.deployments) and not served


def _nothing_before(app: App) -> Fail:
    if app.baseline_instances is None:
        return Fail(
            f"There is nothing to go back to: {app.revision} is the first revision of this app, and it serves.",
            "Remove the app with `bgci remove`, or run `bgci promote` for another revision.",
        )
    return Fail(
        f"There is nothing to go back to: {app.revision} is the only revision that runs.",
        "Run `bgci undo` to bring back the revision that served before, or `bgci promote` for another revision.",
    )


def _from_another_revision(situation: Situation, baseline: App) -> Step:
    goal, policy = situation.goal, situation.policy
    if goal.kind is Kind.ROLLBACK:
        returning = situation.memory.returning
        if returning and returning.app_id == baseline.id and baseline.instances < returning.size:
            return unless_starting(baseline, Scale(baseline.id, returning.size))  # the canary was deleted by others
        count = baseline.instances if baseline.deployments else len(baseline.healthy)
        waiting = until_serving(baseline, count, situation) or _drain_own_surplus(baseline, situation)
        return waiting or Done(f"{goal.revision} is not running. {baseline.name} serves alone{_surplus(baseline)}.")
    if not baseline.has_health_checks and not policy.allow_no_health_check:
        return Fail(
            f"{baseline.id} has no health check: marathon-lb would send requests to new tasks before they have "
            "started.",
            "Give it a health check, or accept failed requests with --allow-no-health-check.",
        )
    return STRATEGIES[policy.strategy].begin(situation, baseline)


def _drain_own_surplus(baseline: App, situation: Situation) -> Step | None:
    """Drain and remove the instances that this rollback added to the baseline, but not those that others added."""
    returning = situation.memory.returning
    if not returning or (baseline.id, baseline.instances) != (returning.app_id, returning.asked):
        return None
    if baseline.instances <= returning.size or baseline.target != returning.size:
        return None
    return drain_surplus(baseline, situation)


def _surplus(baseline: App) -> str:
    """The end of the message when the baseline stays above its target.

    An interrupted run's placeholder became healthy, so the rollback had to scale the baseline above its target.
    """
    more = baseline.instances - (baseline.target or baseline.instances)
    text = f" with {baseline.instances} instances, {more} more than its target: removing them now would cut sessions"
    return text if more > 0 else ""


def _from_both(hybrid: Hybrid) -> Step:
    goal, baseline, canary = hybrid.goal, hybrid.baseline, hybrid.canary
    if canary.revision != goal.revision:
        return Fail(
            f"A canary of {canary.name} runs beside {baseline.name}, so {goal.kind.value} of {goal.revision} cannot "
            "begin.",
            f"Promote or roll back {canary.name} first.",
        )
    if goal.kind is Kind.ROLLBACK:
        return cut(hybrid) if hybrid.policy.cut else go_back(hybrid)
    strategy = STRATEGIES[hybrid.policy.strategy]
    placeholder = hybrid.memory.placeholder or strategy.has_placeholder(hybrid)
    if goal.kind is Kind.CANARY and canary.instances > goal.instances and not placeholder:
        return Fail(
            f"{goal.revision} has {canary.instances} canary instances already, more than {goal.instances}: a canary "
            "only grows.",
            f"Run `bgci rollback` first, or ask for {canary.instances} instances.",
        )
    if hybrid.roles_swapped and baseline.instances:
        return _unless_on_hold(restore_role_order(hybrid), hybrid)
    return _unless_on_hold(strategy.canary(hybrid) if goal.kind is Kind.CANARY else strategy.promote(hybrid), hybrid)


def _unless_on_hold(step: Step, hybrid: Hybrid) -> Step:
    """The step; while the canary is on hold, nothing that scales it up, removes a task of the baseline or ends the run.

    A placeholder goes alone then: once it were healthy, a revision that may be bad would have one more task.
    """
    baseline, canary = hybrid.baseline, hybrid.canary
    if not hybrid.memory.hold or isinstance(step, Wait | Fail):
        return step
    match step:
        case Scale(app_id) if app_id != canary.id:
            return step
        case Delete(app_id) if app_id != baseline.id:
            return step
        case Kill(task_ids):
            own = {task.id for task in canary.tasks}
            ids = tuple(task_id for task_id in task_ids if task_id in own)
            if ids:
                return step if ids == task_ids else replace(step, task_ids=ids, because="The placeholder is not used.")
    return Wait(
        Cause.HEALTH,
        f"Tasks of {canary.id} turned bad: the next change comes when it has served for {STEADY:.0f} s without a "
        "failure.",
    )
