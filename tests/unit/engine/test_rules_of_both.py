"""The rules while the baseline and the canary run: one test per cell of the goal table, for both strategies."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.engine.situations import (
    BLUEGREEN,
    CANARY,
    DRAINING,
    PROMOTE,
    ROLLBACK,
    ROLLING,
    WITHOUT_ROOM,
    baseline,
    both,
    canary,
    decide,
    seen,
    tasks,
    waits_for,
)

from bgci.engine.decisions import Cause, Delete, Done, Fail, Goal, Kill, Policy, Scale
from bgci.engine.observation import App, Task
from bgci.errors import DeadlineError


@both
def test_a_canary_that_is_too_small_is_scaled_up(policy: Policy) -> None:
    hybrid = seen(baseline(3), canary(1), out=()) if policy is ROLLING else seen(baseline(), canary(1), out=("blue.0",))
    assert decide(hybrid, replace(CANARY, instances=2), policy) == Scale("green", 2)


@both
def test_a_canary_of_the_wanted_size_is_done(policy: Policy) -> None:
    hybrid = seen(baseline(3), canary(1)) if policy is ROLLING else seen(baseline(), canary(1), out=("blue.0",))
    assert isinstance(decide(hybrid, CANARY, policy), Done)


@both
def test_a_canary_does_not_shrink(policy: Policy) -> None:
    left = baseline() if policy is BLUEGREEN else baseline(1)
    step = decide(seen(left, canary(3)), CANARY, policy)
    assert isinstance(step, Fail)
    assert "bgci rollback" in step.remedy


def test_a_placeholder_that_serves_is_tolerated() -> None:
    for more in (1, 2):
        step = decide(seen(baseline(3), canary(1 + more), out=("blue.0",)), CANARY, ROLLING)
        assert isinstance(step, Done), more


@both
def test_a_canary_that_is_not_healthy_yet_is_waited_for(policy: Policy) -> None:
    sick = canary(1, tasks=tasks("green", 1, healthy=False))
    assert waits_for(decide(seen(baseline(), sick), CANARY, policy), Cause.HEALTH)
    deploying = replace(sick, deployments=("d",))
    assert waits_for(decide(seen(baseline(), deploying), PROMOTE, policy), Cause.HEALTH)


def test_promote_with_bluegreen_scales_up_drains_and_deletes() -> None:
    all_out = tuple(task.id for task in baseline().tasks)
    assert decide(seen(baseline(), canary(1), out=("blue.0",)), PROMOTE, BLUEGREEN) == Scale("green", 4)
    assert waits_for(decide(seen(baseline(), canary(4), out=all_out[:3]), PROMOTE, BLUEGREEN), Cause.DRAIN)
    waiting = decide(seen(baseline(), canary(4), out=all_out, workers=(7,)), PROMOTE, BLUEGREEN)
    assert waits_for(waiting, Cause.DRAIN)
    assert "pid 7" in str(waiting)
    assert decide(seen(baseline(), canary(4), out=all_out), PROMOTE, BLUEGREEN) == Delete("blue")


@both
@pytest.mark.parametrize("goal", [CANARY, PROMOTE], ids=lambda goal: goal.kind.value)
def test_h01_after_an_interrupted_rollback_promote_deletes_the_drained_canary_and_begins_again(
    goal: Goal, policy: Policy
) -> None:
    hybrid = seen(baseline(last_scaling_at=3.0), canary(1), out=("green.0",))
    assert decide(hybrid, goal, policy) == Delete("green")


def test_h01_a_swap_of_roles_by_a_kill_with_scale_is_undone_by_scaling_the_canary_again() -> None:
    assert decide(seen(baseline(3, last_scaling_at=3.0), canary(1)), PROMOTE, ROLLING) == Scale("green", 2, True)


def with_placeholder(count: int, **fields: object) -> App:
    """A canary of so many with one more instance that has been launched."""
    launched = (*tasks("green", count), Task("green.new", None, ever_healthy=False))
    return canary(count + 1, tasks=launched, deployments=("d",), **fields)


def test_h37_promote_with_rolling_kills_drained_tasks_together_with_the_placeholder() -> None:
    hybrid = seen(baseline(), canary(1), out=("blue.0",))
    assert decide(hybrid, PROMOTE, ROLLING) == Scale("green", 2, placeholder=True)
    asked = canary(2, tasks=tasks("green", 1), deployments=("d",))
    assert waits_for(decide(seen(baseline(), asked, out=("blue.0",)), PROMOTE, ROLLING), Cause.ROOM)
    launched = seen(baseline(), with_placeholder(1), out=("blue.0",))
    assert decide(launched, PROMOTE, ROLLING) == Kill(("blue.0", "green.new"), force=True)


def test_promote_with_rolling_continues_when_the_killed_tasks_are_no_longer_listed() -> None:
    dying = baseline(3, tasks=(Task("blue.0", True, dying=True), *baseline().tasks[1:]), last_scaling_at=3.0)
    even = canary(1, last_scaling_at=3.0)
    assert waits_for(decide(seen(dying, even, out=("blue.0",)), PROMOTE, ROLLING), Cause.TASKS)
    as_if_running = replace(dying, tasks=baseline().tasks)
    assert waits_for(decide(seen(as_if_running, even, out=("blue.0",)), PROMOTE, ROLLING), Cause.TASKS)
    retired = replace(dying, tasks=baseline().tasks[1:])
    assert decide(seen(retired, even), PROMOTE, ROLLING) == Scale("green", 2)


def test_rolling_without_room_for_a_placeholder_kills_without_one() -> None:
    asked = canary(2, tasks=tasks("green", 1), deployments=("d",))
    crowded = seen(baseline(), asked, out=("blue.0",))
    assert decide(crowded, PROMOTE, ROLLING, WITHOUT_ROOM) == Kill(("blue.0",))


def test_h37_a_kill_without_a_placeholder_never_risks_most_of_the_serving_tasks() -> None:
    asked = canary(2, tasks=tasks("green", 1), deployments=("d",))
    crowded = seen(baseline(1, target=1), replace(asked, target=1, baseline_instances=1), out=("blue.0",))
    assert waits_for(decide(crowded, replace(ROLLBACK, target=1), ROLLING, WITHOUT_ROOM), Cause.ROOM)


def test_promote_with_rolling_waits_for_the_tasks_that_marathon_lb_drains() -> None:
    elsewhere = seen(baseline(), canary(1), out=("blue.3",))
    assert waits_for(decide(elsewhere, PROMOTE, ROLLING), Cause.LOAD_BALANCER)


def test_a_placeholder_of_an_interrupted_run_is_used_at_once() -> None:
    left = seen(baseline(3, baseline_instances=None), with_placeholder(2, last_scaling_at=3.0), out=("blue.0",))
    assert decide(left, PROMOTE, ROLLING) == Kill(("blue.0", "green.new"), force=True)


def test_promote_with_rolling_deletes_an_empty_baseline_without_scaling_anything() -> None:
    empty = baseline(0, last_scaling_at=9.0)
    assert decide(seen(empty, canary(4)), PROMOTE, ROLLING) == Delete("blue")


@both
def test_h40_a_rollback_kills_drained_tasks_then_scales_the_baseline_last(policy: Policy) -> None:
    hybrid = seen(baseline(), canary(1), out=("blue.0",))
    assert decide(hybrid, ROLLBACK, policy) == Scale("green", 2, placeholder=True)
    assert decide(seen(baseline(), with_placeholder(1), out=("blue.0",)), ROLLBACK, policy) == Kill(
        ("blue.0", "green.new"), force=True
    )
    taken = baseline(3, last_scaling_at=3.0)
    assert decide(seen(taken, canary(1, last_scaling_at=3.0)), ROLLBACK, policy) == Scale("blue", 4)


@both
def test_a_rollback_kills_canaries_that_have_not_started_before_the_roles_swap(policy: Policy) -> None:
    half = with_placeholder(1)
    assert decide(seen(baseline(3), half), ROLLBACK, policy) == Kill(("green.new",), force=True)
    assert waits_for(decide(seen(baseline(3), replace(half, tasks=half.tasks[:1])), ROLLBACK, policy), Cause.ROOM)


@both
def test_a_rollback_deletes_the_canary_when_it_is_drained(policy: Policy) -> None:
    home = baseline(last_scaling_at=3.0)
    assert waits_for(decide(seen(home, canary(1)), ROLLBACK, policy), Cause.LOAD_BALANCER)
    assert waits_for(decide(seen(home, canary(1), out=("green.0",), workers=(7,)), ROLLBACK, policy), Cause.DRAIN)
    assert decide(seen(home, canary(1), out=("green.0",)), ROLLBACK, policy) == Delete("green")


@both
def test_h03_a_rollback_deletes_a_canary_that_was_never_healthy_at_once(policy: Policy) -> None:
    sick = canary(1, tasks=(Task("green.0", None, ever_healthy=False),), deployments=("d",))
    assert decide(seen(baseline(), sick), ROLLBACK, policy) == Delete("green")


@both
def test_h09_a_rollback_without_a_target_label_waits_for_the_drain_timeout_then_follows_the_option(
    policy: Policy,
) -> None:
    hybrid = seen(baseline(target=None), canary(1, swappable=False), out=("blue.0",))
    soon = replace(policy, drain_timeout=200.0)
    assert waits_for(decide(hybrid, ROLLBACK, soon, DRAINING), Cause.DRAIN)
    late = replace(policy, drain_timeout=50.0)
    assert waits_for(decide(hybrid, ROLLBACK, late), Cause.DRAIN)
    step = decide(hybrid, ROLLBACK, late, DRAINING)
    assert isinstance(step, Fail)
    assert step.ending is DeadlineError
    assert decide(hybrid, ROLLBACK, replace(late, force=True), DRAINING) == Delete("green")


@both
def test_h09_a_rollback_without_a_target_label_swaps_no_roles_even_if_the_canary_has_the_label(policy: Policy) -> None:
    """With the roles swapped marathon-lb would stop for the whole cluster."""
    hybrid = seen(baseline(3, target=None), canary(1))
    assert waits_for(decide(hybrid, ROLLBACK, policy), Cause.DRAIN)
