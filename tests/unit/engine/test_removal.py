"""Removal of drained tasks beside a placeholder, or by a plain kill in a cluster without room (hazard 37)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.engine.situations import (
    BLUEGREEN,
    CANARY,
    PROMOTE,
    ROLLBACK,
    ROLLING,
    app,
    baseline,
    canary,
    decide,
    look,
    seen,
    tasks,
    waits_for,
    with_server,
)

from bgci.engine.decisions import Cause, Delete, Fail, Goal, Kill, Kind, Scale, Step
from bgci.engine.memory import Memory
from bgci.engine.observation import Replica, Server, Serving, Task
from bgci.engine.removal import removal_is_unsound

NO_ROOM = Memory(no_room=True)
LAUNCHED = canary(2, tasks=(*tasks("green", 1), Task("green.new", None, ever_healthy=False)))
TOGETHER = Kill(("blue.0", "green.new"))


# -- beside a placeholder ---------------------------------------------------------------------------------------------


def test_h37_a_task_in_maint_is_not_killed_while_it_has_sessions() -> None:
    drained = seen(baseline(), LAUNCHED, out=("blue.0",))
    assert decide(drained, PROMOTE, ROLLING) == TOGETHER
    held = with_server(drained, "blue.0", Server(Serving.MAINT, sessions=1))
    assert waits_for(decide(held, PROMOTE, ROLLING), Cause.DRAIN)
    reloaded = with_server(drained, "blue.0", Server(Serving.MAINT), older_workers=(7,))
    assert waits_for(decide(reloaded, PROMOTE, ROLLING), Cause.DRAIN)


def test_only_one_placeholder_goes_with_the_drained_tasks() -> None:
    """The canary would lose an instance that it still needs."""
    two = replace(LAUNCHED, instances=3, tasks=(*LAUNCHED.tasks, Task("green.newer", None, ever_healthy=False)))
    assert decide(seen(baseline(), two, out=("blue.0",)), PROMOTE, ROLLING) == TOGETHER


def test_a_placeholder_that_failed_is_used_although_an_older_worker_lives() -> None:
    """No load balancer ever sent it a session, so that no worker can hold one."""
    idle = baseline(tasks=tasks("blue", 4, idle=True))
    drained = seen(idle, LAUNCHED, out=("blue.0",))
    failing = with_server(drained, "green.new", Server(Serving.DOWN), older_workers=(7,))
    assert decide(failing, PROMOTE, ROLLING) == TOGETHER


def test_a_killed_placeholder_is_not_used_a_second_time() -> None:
    ending = replace(LAUNCHED, instances=1, tasks=(LAUNCHED.tasks[0], replace(LAUNCHED.tasks[1], dying=True)))
    assert decide(seen(baseline(), ending, out=("blue.0",)), PROMOTE, ROLLING) == Scale("green", 2, placeholder=True)


def test_with_room_the_launch_of_the_placeholder_is_waited_for_beside_a_canary_that_is_down() -> None:
    """Only this wait tells that the cluster has no room. Any other one would last until the timeout."""
    behind = look("MUU", "d", app(0, 3, "HHH", 3), app(1, 2, "H", 3))
    assert waits_for(decide(behind, Goal(Kind.PROMOTE, "v2", 3), ROLLING), Cause.ROOM)


def test_a_drained_task_is_removed_while_marathon_lb_continues_to_drain_only_those_that_it_drains_already() -> None:
    """No serving task is lost, so that the removal need not wait for the canary that is DOWN."""
    behind = look("MMU", "dd", app(0, 3, "HHH", 3), app(1, 3, "HHs", 3))
    assert decide(behind, CANARY, ROLLING) == Kill(("blue.0", "green.2"))


def test_a_canary_without_a_target_label_replaces_the_baseline_instance_by_instance() -> None:
    """Another tool has created it. Without the label marathon-lb takes the size of the baseline."""
    launched = replace(LAUNCHED, target=None)
    assert decide(seen(baseline(), launched, out=("blue.0",)), PROMOTE, ROLLING) == TOGETHER
    asked = seen(baseline(), replace(launched, tasks=launched.tasks[:1]), out=("blue.0",))
    assert waits_for(decide(asked, PROMOTE, ROLLING), Cause.ROOM)
    assert decide(asked, PROMOTE, ROLLING, NO_ROOM) == Kill(("blue.0",))


# -- the plain kill ---------------------------------------------------------------------------------------------------


def test_a_promotion_without_room_does_not_go_on_beside_a_canary_that_stays_down() -> None:
    """Each plain kill takes half of the serving tasks out of rotation, and what is DOWN does not return for it."""
    down = look("MUU", "dU", app(0, 3, "HHH", 4), app(1, 3, "HH", 4))
    waited = Memory(no_room=True, waiting=Cause.LOAD_BALANCER, waiting_since=0.0)
    assert waits_for(decide(down, PROMOTE, ROLLING, waited), Cause.LOAD_BALANCER)


def after_a_plain_kill(maint: str, up: str, target: int, goal: Kind, instances: int) -> Step:
    apps = app(0, len(maint), "H" * len(maint), target), app(1, len(up) + 1, "H" * len(up), target)
    policy = replace(ROLLING, wave=3)
    return decide(look(maint, up, *apps), Goal(goal, "v2", target, instances), policy, NO_ROOM)


@pytest.mark.parametrize(
    ("maint", "up", "target", "goal", "instances"),
    [("MU", "UU", 3, Kind.CANARY, 2), ("MUUU", "U", 2, Kind.PROMOTE, 1)],
    ids=["half of three, rounded up, are drained at once", "half of the rest are drained again"],
)
def test_h37_a_plain_kill_takes_up_to_half_of_the_serving_tasks_out_of_rotation(
    maint: str, up: str, target: int, goal: Kind, instances: int
) -> None:
    """A stricter rule would never end a release in a small cluster without room."""
    assert after_a_plain_kill(maint, up, target, goal, instances) == Kill(("blue.0",))


def test_h37_a_rollback_counts_what_a_plain_kill_loses_at_the_load_balancer_with_most_of_the_canary() -> None:
    apps = app(0, 3, "HHH", 3), replace(app(1, 3, "HH", 3), queued=1)
    waited = Memory(no_room=True, waiting=Cause.LOAD_BALANCER, waiting_since=0.0)
    one_down = look("MMU", "dU", *apps)
    goal = Goal(Kind.ROLLBACK, "v2", 3)
    assert decide(one_down, goal, BLUEGREEN, waited) == Kill(("blue.0", "blue.1"))
    other = Replica("lb1", look("MMU", "UU", *apps).replicas[0].servers)
    assert waits_for(
        decide(replace(one_down, replicas=(*one_down.replicas, other)), goal, BLUEGREEN, waited), Cause.ROOM
    )


# -- where tasks cannot be removed one by one -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "instances", "label"),
    [
        (4, 4, ""),
        (4, None, ""),
        (None, 4, "has no HAPROXY"),
        (None, None, "has no HAPROXY"),
        (3, 4, "a stale (3, not 4)"),
    ],
)
def test_a_removal_one_by_one_needs_the_baselines_size_as_its_target(
    target: int | None, instances: int | None, label: str
) -> None:
    """marathon-lb stops for all apps without the label, and takes too many tasks out of rotation with a stale one."""
    found = removal_is_unsound(baseline(target=target), instances)
    assert bool(found) is bool(label)
    assert found is None or label in found.message


@pytest.mark.parametrize("target", [None, 3])
def test_rolling_removes_no_task_of_a_baseline_whose_target_is_not_its_size(target: int | None) -> None:
    drained = seen(baseline(target=target), LAUNCHED, out=("blue.0",))
    assert isinstance(decide(drained, PROMOTE, ROLLING), Fail)


# -- the size of the baseline before the release ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "target", "step"),
    [(4, 3, Scale("blue", 4)), (None, 3, Scale("blue", 3)), (None, None, Delete("green"))],
    ids=["recorded by the canary", "its target", "as it is"],
)
def test_a_rollback_brings_back_as_many_instances_as_ran_when_the_canary_was_created(
    before: int | None, target: int | None, step: Step
) -> None:
    smaller = seen(baseline(2, target=target), canary(1, baseline_instances=before))
    assert decide(smaller, ROLLBACK, replace(BLUEGREEN, cut=True)) == step


@pytest.mark.parametrize("target", [6, None])
def test_h09_a_rollback_swaps_no_roles_if_marathon_lb_would_not_drain_the_canary_then(target: int | None) -> None:
    """With a target above the baseline's size it keeps the canary in rotation, until the run times out."""
    assert waits_for(decide(seen(baseline(4, target=target), canary(1)), ROLLBACK, BLUEGREEN), Cause.DRAIN)
