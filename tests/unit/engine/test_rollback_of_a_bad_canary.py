"""The rollback of a canary that turned bad: it removes at once the tasks that do not serve, and no others."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.engine.situations import BLUEGREEN, app, decide, look, waits_for, with_server

from bgci.engine.decisions import Cause, Delete, Goal, Kill, Kind, Step
from bgci.engine.memory import ROOM_LIMIT, Memory
from bgci.engine.observation import Observation, Replica, Server, Serving, Task

BAD = Memory(degraded="It turned bad.", turned_bad=frozenset({"green.0"}))
GOOD_AGAIN = replace(BAD, turned_bad=frozenset({"green.0", "green.1"}))
DOWN, ABSENT, MAINT = Server(Serving.DOWN), Server(Serving.ABSENT), Server(Serving.MAINT)
OTHER = Task("green.1", True)


def bad(observation: Observation, memory: Memory = BAD) -> Step:
    return decide(observation, Goal(Kind.PROMOTE, "v2", 2), BLUEGREEN, memory)


def beside(task: Task, server: Server, *, baseline: str = "UU", workers: tuple[int, ...] = ()) -> Observation:
    """The canary of two instances: ``green.0`` turned bad, and this other task."""
    canary = app(1, 2, "HH", 2)
    shown = look(baseline, "dd", app(0, 2, "HH", 2), replace(canary, tasks=(canary.tasks[0], task)))
    return with_server(shown, "green.1", server, older_workers=workers)


# -- the whole canary, or its failed task alone -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "held",
    [
        beside(OTHER, ABSENT),
        beside(OTHER, DOWN, workers=(7,)),
        beside(OTHER, replace(MAINT, sessions=1)),
        beside(OTHER, MAINT, workers=(7,)),
    ],
    ids=["a new task", "a task that returns from maint", "sessions", "sessions in an older worker"],
)
def test_a_bad_canary_is_not_deleted_with_a_task_that_serves_or_is_about_to(held: Observation) -> None:
    """Its users would lose their sessions. Only the task that turned bad goes."""
    assert bad(held) == Kill(("green.0",))


@pytest.mark.parametrize(
    "useless",
    [
        beside(OTHER, DOWN),
        beside(Task("green.1", False), ABSENT),
        beside(OTHER, ABSENT, baseline="dd"),
        beside(OTHER, MAINT),
        beside(replace(OTHER, idle=True), MAINT, workers=(7,)),
    ],
    ids=["down", "failed", "left out by the load balancer", "drained", "idle by its own answer"],
)
def test_a_bad_canary_is_deleted_at_once_when_none_of_its_tasks_can_have_sessions(useless: Observation) -> None:
    """It keeps as many tasks of the baseline out of rotation."""
    assert bad(useless) == Delete("green")


def test_a_task_that_turned_bad_does_not_keep_the_canary_although_it_is_healthy_again() -> None:
    assert bad(beside(OTHER, ABSENT), GOOD_AGAIN) == Delete("green")


@pytest.mark.parametrize("server", [ABSENT, replace(MAINT, sessions=1)], ids=["new there", "sessions there"])
def test_a_task_that_one_load_balancer_can_use_keeps_the_canary(server: Server) -> None:
    down = beside(OTHER, DOWN)
    two = replace(down, replicas=(*down.replicas, Replica("lb1", down.replicas[0].servers)))
    assert bad(two) == Delete("green")
    assert bad(with_server(two, "green.1", server)) == Kill(("green.0",))


def test_no_further_task_of_a_bad_canary_is_killed_while_a_killed_one_ends() -> None:
    ending = beside(replace(OTHER, dying=True), DOWN)
    assert waits_for(bad(replace(ending, apps=(ending.apps[0], replace(ending.apps[1], instances=1)))), Cause.TASKS)


def test_the_placeholder_of_a_bad_canary_is_kept_for_the_removal_of_drained_tasks() -> None:
    """Without it that removal swaps the roles, and needs a second placeholder."""
    launched = look("MU", "Us", app(0, 2, "HH", 2), app(1, 2, "Hs", 2))
    assert bad(launched) == Kill(("blue.0", "green.1"))


def test_a_failed_task_of_a_canary_that_drains_stays_while_the_baseline_is_launched_and_starts() -> None:
    """A kill would swap the roles back. Only a baseline without room for its tasks needs the place."""
    starting = app(0, 2, "Hs", 2, last=9.0)
    waited = replace(BAD, waiting=Cause.HEALTH, waiting_since=100.0 - ROOM_LIMIT - 1)
    assert waits_for(bad(look("U", "dU", starting, app(1, 2, "HH", 2)), waited), Cause.HEALTH)
