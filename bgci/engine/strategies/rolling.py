"""rolling: the canary grows by a wave, as many tasks of the baseline are drained and removed, then the next wave.

Capacity: one wave and one placeholder; without room for the placeholder a dip of a wave and one task."""

from __future__ import annotations

from bgci.engine.decisions import Create, Done, Scale, Step
from bgci.engine.observation import App
from bgci.engine.preconditions import unless_starting, until_ended, until_healthy, until_serving
from bgci.engine.removal import commit, removal_is_unsound, remove_drained, remove_unused
from bgci.engine.situation import Hybrid, Situation


def begin(situation: Situation, baseline: App) -> Step:
    """Create the canary with the first wave."""
    unsound = removal_is_unsound(baseline, baseline.instances)
    return unsound or Create(
        _wave(situation, baseline, baseline.instances),
        swappable=True,
        because=f"It is the first wave beside {baseline.name}.",
    )


def promote(hybrid: Hybrid) -> Step:
    """Exchange waves until the canary has its target, then delete the rest of the baseline, which is drained by
    then."""
    target, app = hybrid.goal.target, hybrid.canary
    if len(app.healthy) >= target and hybrid.drainable >= hybrid.baseline.instances:
        surplus = remove_unused(app, app.instances - target, hybrid)
        return surplus or until_serving(app, target, hybrid) or commit(hybrid)
    return _exchange(hybrid, hybrid.drainable)


def canary(hybrid: Hybrid) -> Step:
    """Exchange waves until the canary has its size, and has replaced as many instances of the baseline."""
    retired = hybrid.initial_instances - hybrid.baseline.instances
    return _exchange(hybrid, min(hybrid.drainable, hybrid.goal.instances - retired))


def has_placeholder(hybrid: Hybrid) -> bool:
    """Whether an interrupted run left a placeholder, which can serve by now.

    A canary without a placeholder has replaced as many instances of the baseline, so both together are not more than
    before.
    """
    total = hybrid.baseline.instances + hybrid.canary.instances
    return total > max(hybrid.initial_instances, hybrid.goal.target)


def _exchange(hybrid: Hybrid, count: int) -> Step:
    """Remove ``count`` drained tasks of the baseline; without any grow by the next wave; then wait for rotation."""
    goal, baseline, app = hybrid.goal, hybrid.baseline, hybrid.canary
    wave = _wave(hybrid, baseline, hybrid.initial_instances)
    # Instances beyond the wave are placeholders: do not wait for their health.
    waiting = until_healthy(app, min(app.instances, wave)) or until_ended(baseline)
    if waiting:
        return waiting
    if count > 0:
        return removal_is_unsound(baseline, app.baseline_instances) or remove_drained(hybrid, count)
    if app.instances < goal.wanted:
        return unless_starting(app, Scale(app.id, max(wave, app.instances + 1), because="It is the next wave."))
    settling = remove_unused(app, app.instances - wave, hybrid) or until_serving(app, app.instances, hybrid)
    return settling or Done(
        f"{goal.revision} has {app.instances} instances in rotation, {baseline.name} has {baseline.instances}."
    )


def _wave(situation: Situation, baseline: App, initial_instances: int) -> int:
    """How many instances of the new revision can run beside the rest of the baseline."""
    goal = situation.goal
    room = max(initial_instances, goal.target) - baseline.instances + situation.policy.wave
    return max(1, min(goal.wanted, room))
