"""The restored role order: a release cannot go on while marathon-lb drains the canary (hazard 1)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.engine.situations import BLUEGREEN, app, decide, look, waits_for

from bgci.engine.decisions import Cause, Goal, Kill, Kind, Scale, Step
from bgci.engine.memory import Memory
from bgci.engine.observation import Observation, Replica, Task

NO_ROOM = Memory(no_room=True)


def promote(observation: Observation, target: int, memory: Memory | None = None) -> Step:
    return decide(observation, Goal(Kind.PROMOTE, "v2", target), BLUEGREEN, memory)


@pytest.mark.parametrize(
    ("target", "instances"), [(3, 3), (6, 4)], ids=["smaller than before", "a target above its size"]
)
def test_a_release_goes_back_only_to_a_baseline_beside_which_marathon_lb_drains_the_canary(
    target: int, instances: int
) -> None:
    """Otherwise one more canary restores the order: the run would scale the baseline for a swap that cannot be."""
    apps = app(0, instances, "H" * instances, target, last=9.0), app(1, 1, "H", 4)
    assert promote(look("U" * instances, "U", *apps), 4) == Scale("green", 2, placeholder=True)


def test_a_release_goes_back_to_its_begin_when_the_baseline_has_its_size() -> None:
    apps = app(0, 4, "HHHH", 4, last=9.0), app(1, 2, "HH", 4)
    assert waits_for(promote(look("UUUU", "UM", *apps), 4), Cause.LOAD_BALANCER)


def test_a_release_does_not_go_back_by_a_swap_that_marathon_lb_would_not_follow() -> None:
    """Even if the restored order takes the last serving task out of rotation for two checks."""
    apps = app(0, 1, "H", 6, last=9.0), app(1, 1, "H", 1, base=2)
    assert promote(look("U", "M", *apps), 1) == Scale("green", 2, placeholder=True)


def test_the_order_is_restored_while_a_killed_task_of_the_baseline_ends() -> None:
    """Only in a cluster without room several tasks are killed at once. marathon-lb drains the canary for them, until
    they end."""
    baseline = app(0, 3, "HHH", 4, last=9.0)
    ending = replace(baseline, tasks=(*baseline.tasks, Task("blue.9", True, dying=True)))
    shown = look("UUU", "M", ending, app(1, 1, "H", 4))
    assert promote(shown, 4) == Scale("green", 2, placeholder=True)
    assert waits_for(promote(shown, 4, NO_ROOM), Cause.TASKS)


def test_only_one_unused_canary_is_removed_before_the_order_is_restored() -> None:
    apps = app(0, 3, "HHH", 4, last=9.0), app(1, 3, "Hss", 4)
    assert promote(look("UUU", "M", *apps), 4) == Kill(("green.1",))


def test_without_room_the_order_is_restored_beside_a_canary_that_is_not_launched() -> None:
    """It will not be launched: the wait for it would last until the timeout."""
    apps = app(0, 3, "HHH", 4, last=9.0), app(1, 2, "H", 4)
    assert waits_for(promote(look("UUU", "M", *apps), 4), Cause.ROOM)
    assert promote(look("UUU", "M", *apps), 4, NO_ROOM) == Scale("green", 3, placeholder=True)


def test_the_load_balancer_that_would_lose_most_decides_whether_the_order_is_restored() -> None:
    """The first one has not drained the canary yet, and could do so before it sees the restored order."""
    apps = app(0, 2, "HH", 3, last=9.0), app(1, 3, "HHs", 3)
    behind, drained = look("MU", "UU", *apps), look("UU", "MM", *apps)
    assert promote(drained, 3) == Kill(("green.2",))
    both = replace(behind, replicas=(*behind.replicas, Replica("lb1", drained.replicas[0].servers)))
    assert promote(both, 3) == Scale("blue", 3)


@pytest.mark.parametrize(
    ("servers", "apps", "size"),
    [
        (("U", "M"), (app(0, 1, "H", 1, last=9.0), app(1, 1, "H", 1, base=2)), 2),
        (("UU", "MU"), (app(0, 2, "HH", 3, last=9.0), app(1, 2, "HH", 2, base=3)), 3),
    ],
    ids=["all of the canary is drained", "a part of the canary is drained"],
)
def test_without_room_the_run_goes_back_at_once_when_the_load_balancers_have_followed(
    servers: tuple[str, str], apps: tuple[object, object], size: int
) -> None:
    """Nothing else will be in rotation: the wait would last a minute, with the smallest number of serving tasks."""
    assert promote(look(*servers, *apps), size - 1, NO_ROOM) == Scale("blue", size)
