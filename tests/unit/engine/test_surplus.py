"""A serving surplus is drained beside a stand-in, before the engine removes it (hazard 66)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.engine.situations import BLUEGREEN, PROMOTE, ROLLBACK, baseline, canary, decide, seen, waits_for, with_server

from bgci.engine.decisions import Cause, Create, Delete, Done, Kill, Scale
from bgci.engine.memory import Memory, Return
from bgci.engine.observation import App, Server, Serving, Task


def stand_in(**fields: object) -> App:
    """The stand-in of one instance beside the revision v2, which was created last."""
    beside = replace(baseline(1, target=4, started_at=9.0, last_scaling_at=9.0), revision="v2", stand_in=True)
    return replace(beside, **fields)  # type: ignore[arg-type]


# -- the surplus that a rollback has added to the baseline ------------------------------------------------------------


def test_h66_instances_that_a_rollback_added_to_the_baseline_are_drained_before_its_end() -> None:
    """The rollback asked for a fifth instance to swap the roles. Users would pay for it until the next release."""
    added = Memory(returning=Return("blue", size=4, asked=5))
    assert decide(seen(baseline(5)), ROLLBACK, BLUEGREEN, added) == Create(1, swappable=True, stand_in=True)


@pytest.mark.parametrize(
    ("target", "returning"),
    [
        (4, Return("blue", size=4, asked=4)),  # an operator has added the fifth
        (4, Return("red", size=4, asked=5)),  # another app serves than the one that the rollback scaled
        (3, Return("blue", size=4, asked=5)),  # marathon-lb would drain by a target that is not the baseline's size
    ],
    ids=["of an operator", "of another app", "beside a stale target"],
)
def test_instances_that_the_rollback_did_not_add_stay(target: int, returning: Return) -> None:
    step = decide(seen(baseline(5, target=target)), ROLLBACK, BLUEGREEN, Memory(returning=returning))
    assert isinstance(step, Done)
    assert f"{5 - target} more than its target" in step.message


def test_a_rollback_to_a_baseline_without_a_target_label_is_done() -> None:
    step = decide(seen(baseline(5, target=None)), ROLLBACK, BLUEGREEN)
    assert isinstance(step, Done)
    assert step.message == "v2 is not running. v1 (blue) serves alone."


# -- where a stand-in cannot work -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "memory"),
    [
        ({"swappable": False}, Memory()),  # marathon-lb would not drain it
        ({"has_health_checks": False}, Memory()),  # marathon-lb would count a stand-in that has not started
        ({"target": 3}, Memory()),  # marathon-lb would drain by a stale target
        ({}, Memory(no_room=True)),  # the stand-in would never be launched, and the release would not end
    ],
    ids=["no swap", "no health check", "stale target", "no room"],
)
def test_a_surplus_is_scaled_down_where_a_stand_in_cannot_drain_it(fields: dict[str, object], memory: Memory) -> None:
    assert decide(seen(canary(5, **fields)), PROMOTE, BLUEGREEN, memory) == Scale("green", 4)


def test_a_surplus_is_not_scaled_down_while_another_task_is_out_of_rotation() -> None:
    """Marathon stops the youngest task, which can be the only one that serves."""
    larger = canary(5, swappable=False)
    assert waits_for(decide(seen(larger, out=("green.0",)), PROMOTE, BLUEGREEN), Cause.LOAD_BALANCER)


# -- beside the stand-in ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [{}, {"target": None}], ids=["the target", "no target label"])
def test_a_stand_in_that_is_not_needed_any_more_is_drained_before_its_deletion(left: dict[str, object]) -> None:
    """Such as after an operator has scaled the app down: users of the stand-in would lose their sessions."""
    app = canary(4, **left)
    assert waits_for(decide(seen(app, stand_in()), PROMOTE, BLUEGREEN), Cause.DRAIN)
    assert decide(seen(app, stand_in(), out=("blue.0",)), PROMOTE, BLUEGREEN) == Delete("blue")


def test_a_stand_in_is_deleted_once_the_roles_are_swapped_although_a_surplus_is_left() -> None:
    """marathon-lb drains the stand-in then, and would never drain the app beside it: the release would not end."""
    scaled = canary(5, last_scaling_at=10.0)
    assert decide(seen(scaled, stand_in(), out=("blue.0",)), PROMOTE, BLUEGREEN) == Delete("blue")


def test_a_stand_in_that_is_not_healthy_yet_is_waited_for() -> None:
    starting = stand_in(tasks=(Task("blue.0", None, ever_healthy=False),))
    assert waits_for(decide(seen(canary(5), starting), PROMOTE, BLUEGREEN), Cause.HEALTH)


def test_h66_a_task_of_the_surplus_is_killed_only_when_all_load_balancers_have_drained_it() -> None:
    drained = seen(canary(5), stand_in(), out=("green.0",))
    assert decide(drained, PROMOTE, BLUEGREEN) == Kill(("green.0",))
    serves = with_server(drained, "green.0", Server(Serving.UP))
    assert waits_for(decide(serves, PROMOTE, BLUEGREEN), Cause.LOAD_BALANCER)
    held = with_server(drained, "green.0", Server(Serving.MAINT, sessions=1))
    assert waits_for(decide(held, PROMOTE, BLUEGREEN), Cause.DRAIN)
