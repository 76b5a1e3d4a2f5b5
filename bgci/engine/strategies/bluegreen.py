"""bluegreen: the baseline keeps all its tasks until the commit, as many of them in MAINT as the canary has healthy
ones.

bgci kills no task before the commit, so there is no dip and no cut session. Capacity: twice the instances."""

from __future__ import annotations

from bgci.engine.decisions import Create, Done, Scale, Step
from bgci.engine.observation import App
from bgci.engine.preconditions import unless_starting, until_ended, until_healthy, until_serving
from bgci.engine.removal import commit, remove_drained, remove_unused
from bgci.engine.situation import Hybrid, Situation


def begin(situation: Situation, baseline: App) -> Step:
    """Create the canary."""
    # Without TARGET on the baseline a swap of roles would stop marathon-lb for the whole cluster: no label, no swap.
    reason = f"{baseline.name} serves, and keeps its instances."
    return Create(situation.goal.wanted, swappable=baseline.target is not None, because=reason)


def canary(hybrid: Hybrid) -> Step:
    """Grow the canary to its size."""
    goal, app = hybrid.goal, hybrid.canary
    if app.instances < goal.instances:
        return unless_starting(app, Scale(app.id, goal.instances, because="That is the size of the canary."))
    waiting = remove_unused(app, app.instances - goal.instances, hybrid) or until_serving(app, goal.instances, hybrid)
    return waiting or Done(f"{goal.revision} has {app.instances} instances in rotation beside {hybrid.baseline.name}.")


def promote(hybrid: Hybrid) -> Step:
    """Grow the canary to the target, wait until all of the baseline is drained, delete it.

    marathon-lb drains at most as many tasks of the baseline as the canary has healthy ones. So the engine first shrinks
    a baseline that is larger than the target by its drained tasks.
    """
    target, baseline, app = hybrid.goal.target, hybrid.baseline, hybrid.canary
    if app.instances < target:
        return unless_starting(
            app, Scale(app.id, target, because="That many must serve before the baseline is deleted.")
        )
    if baseline.instances > target:
        waiting = until_healthy(app, target) or until_ended(baseline)
        return waiting or remove_drained(hybrid, hybrid.drainable)
    surplus = remove_unused(app, app.instances - target, hybrid)
    return surplus or until_ended(baseline) or until_serving(app, target, hybrid) or commit(hybrid)
