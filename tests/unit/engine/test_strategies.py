"""The strategies: when a release grows its canary, removes a part of the baseline, deletes it, and is done."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.engine.situations import (
    BLUEGREEN,
    CANARY,
    PROMOTE,
    ROLLING,
    baseline,
    both,
    canary,
    decide,
    seen,
    tasks,
    waits_for,
    with_server,
)

from bgci.engine.decisions import Cause, Delete, Fail, Goal, Kill, Kind, Policy, Scale
from bgci.engine.memory import Memory
from bgci.engine.observation import App, Server, Serving, Task

ALL = tuple(task.id for task in baseline().tasks)
UNUSED = Task("green.new", None, ever_healthy=False)


def with_unused(count: int, instances: int, **fields: object) -> App:
    """A canary with so many healthy tasks, and one more that has not started."""
    return canary(instances, tasks=(*tasks("green", count), UNUSED), **fields)


# -- the end of a promotion -------------------------------------------------------------------------------------------


@both
def test_the_baseline_is_not_deleted_while_a_task_of_the_canary_is_down(policy: Policy) -> None:
    """All of the baseline is in MAINT: the rest of the canary would get all requests for good."""
    drained = seen(baseline(), canary(4), out=ALL)
    assert decide(drained, PROMOTE, policy) == Delete("blue")
    assert waits_for(
        decide(with_server(drained, "green.1", Server(Serving.DOWN)), PROMOTE, policy), Cause.LOAD_BALANCER
    )


@both
def test_a_placeholder_is_removed_before_the_baseline_is_deleted(policy: Policy) -> None:
    """It would become healthy, and stay as a surplus."""
    assert decide(seen(baseline(), with_unused(4, 5), out=ALL), PROMOTE, policy) == Kill(("green.new",))


def test_a_placeholder_that_was_killed_does_not_delay_the_deletion_of_the_baseline() -> None:
    assert decide(seen(baseline(), with_unused(4, 4), out=ALL), PROMOTE, ROLLING) == Delete("blue")


def test_a_baseline_larger_than_the_target_shrinks_instead_of_draining_for_ever() -> None:
    """marathon-lb drains at most as many of its tasks as the canary has."""
    larger = seen(baseline(8, target=8), canary(4, baseline_instances=8), out=ALL)
    for policy in (BLUEGREEN, ROLLING):
        assert decide(larger, PROMOTE, policy) == Scale("green", 5, placeholder=True)


@pytest.mark.parametrize(
    ("fewer", "cause"),
    [
        ((baseline(8, target=8), canary(4, tasks=tasks("green", 3))), Cause.HEALTH),
        ((baseline(7, target=8, tasks=(*tasks("blue", 7), Task("blue.9", True, dying=True))), canary(4)), Cause.TASKS),
    ],
    ids=["a canary starts", "a killed task ends"],
)
def test_a_larger_baseline_shrinks_only_beside_a_healthy_canary_and_one_step_at_a_time(
    fewer: tuple[App, App], cause: Cause
) -> None:
    assert waits_for(decide(seen(*fewer, out=ALL), PROMOTE, BLUEGREEN), cause)


def test_a_target_that_was_raised_during_the_release_is_reached_before_the_baseline_is_deleted() -> None:
    """marathon-lb drains by the target of the canary's creation, so that all of the baseline is drained too early."""
    drained = seen(baseline(2, target=4), canary(4), out=ALL[:2])
    assert decide(drained, Goal(Kind.PROMOTE, "v2", target=6), ROLLING) == Scale("green", 5, placeholder=True)


# -- rolling: waves and canaries --------------------------------------------------------------------------------------


def test_the_next_wave_is_as_large_as_the_room_that_the_last_one_left() -> None:
    assert decide(seen(baseline(2), canary(2)), PROMOTE, replace(ROLLING, wave=2)) == Scale("green", 4)


def test_the_canary_grows_although_marathon_lb_drains_nothing_for_it() -> None:
    """The target was lowered since its creation. A wave that scales the canary to its own size would never end."""
    assert decide(seen(baseline(4), canary(1, target=6)), PROMOTE, ROLLING) == Scale("green", 2)


def test_a_rolling_canary_replaces_as_many_instances_of_the_baseline() -> None:
    assert decide(seen(baseline(4), canary(1), out=("blue.0",)), CANARY, ROLLING) == Scale("green", 2, placeholder=True)


@both
def test_a_canary_is_not_done_while_a_task_of_it_is_down(policy: Policy) -> None:
    """The job would be green, and users would get the baseline only."""
    left = seen(baseline(3), canary(1)) if policy is ROLLING else seen(baseline(), canary(1), out=("blue.0",))
    down = with_server(left, "green.0", Server(Serving.DOWN))
    assert waits_for(decide(down, CANARY, policy), Cause.LOAD_BALANCER)


@both
def test_a_placeholder_that_a_canary_needs_no_more_is_removed(policy: Policy) -> None:
    left = (
        seen(baseline(3), with_unused(1, 2)) if policy is ROLLING else seen(baseline(), with_unused(1, 2), out=ALL[:1])
    )
    assert decide(left, CANARY, policy, Memory(placeholder=True)) == Kill(("green.new",))


def test_a_placeholder_of_this_run_that_serves_is_not_a_canary_that_is_too_large() -> None:
    """It became healthy before its removal. The run would end as a conflict with itself."""
    even = seen(baseline(2), canary(2))
    assert not isinstance(decide(even, CANARY, ROLLING, Memory(placeholder=True)), Fail)
    assert isinstance(decide(even, CANARY, ROLLING), Fail)


def test_a_canary_of_another_size_is_no_placeholder_because_the_target_is_smaller_than_the_baseline() -> None:
    """The run would end as done with three canaries where one was asked for."""
    three = seen(baseline(5, target=8), canary(3, baseline_instances=8))
    assert isinstance(decide(three, CANARY, ROLLING), Fail)
