"""Preconditions of a step: what a run waits for, how long, and how its messages name it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.engine.situations import (
    BLUEGREEN,
    DRAINING,
    PROMOTE,
    ROLLBACK,
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

from bgci.engine.decisions import Cause, Delete, Fail, Goal, Kill, Kind, Wait
from bgci.engine.memory import Memory
from bgci.engine.observation import App, Observation, Server, Serving, Task
from bgci.engine.rollout import Rollout
from bgci.errors import DeadlineError

HOME = baseline(last_scaling_at=3.0)  # the roles are swapped: marathon-lb drains the canary
DRAINED = seen(HOME, canary(1), out=("green.0",))
HELD = with_server(DRAINED, "green.0", Server(Serving.MAINT, sessions=2))


# -- drained tasks ----------------------------------------------------------------------------------------------------


def test_a_drain_timeout_of_zero_does_not_end_a_run_at_its_first_observation() -> None:
    """The run may have just begun, so that the load balancers had no time at all."""
    rollout = Rollout(ROLLBACK, replace(BLUEGREEN, drain_timeout=0.0))
    assert waits_for(rollout.decide(HELD), Cause.DRAIN)
    ended = rollout.decide(replace(HELD, now=HELD.now + 1))
    assert isinstance(ended, Fail)
    assert ended.ending is DeadlineError


def test_the_drain_timeout_counts_from_the_first_wait_for_the_drain() -> None:
    policy = replace(BLUEGREEN, drain_timeout=100.0)
    assert waits_for(decide(HELD, ROLLBACK, replace(policy, drain_timeout=100.1), DRAINING), Cause.DRAIN)
    assert isinstance(decide(HELD, ROLLBACK, policy, DRAINING), Fail)
    elsewhere = replace(DRAINING, waiting=Cause.LOAD_BALANCER)
    assert waits_for(decide(HELD, ROLLBACK, policy, elsewhere), Cause.DRAIN)


def test_sessions_are_not_cut_after_the_drain_timeout_because_another_task_is_not_configured() -> None:
    pair = seen(HOME, canary(2), out=("green.0",))
    (replica, other) = pair.replicas
    servers = {name: server for name, server in replica.servers.items() if name != "green.1"}
    new = replace(pair, replicas=(replace(replica, servers=servers), replace(other, servers=servers)))
    held = with_server(new, "green.0", Server(Serving.MAINT, sessions=1))
    assert isinstance(decide(held, ROLLBACK, replace(BLUEGREEN, drain_timeout=50.0), DRAINING), Fail)


@pytest.mark.parametrize(
    ("server", "workers", "text"),
    [
        (Server(Serving.UP), (), "1 still in rotation"),
        (Server(Serving.MAINT, sessions=2), (), "2 sessions"),
        (Server(Serving.MAINT), (7,), "older HAProxy workers that can hold sessions: lb1 pid 7"),
        (Server(Serving.MAINT), (0,), "older HAProxy workers that can hold sessions: lb1 (not asked yet)"),
        (Server(Serving.DOWN), (), "not yet in MAINT everywhere"),
    ],
    ids=["up", "sessions", "older worker", "not asked", "down"],
)
def test_the_wait_for_a_drain_names_what_holds_it_up(server: Server, workers: tuple[int, ...], text: str) -> None:
    no_swap = seen(baseline(), canary(1, swappable=False), out=("green.0",))
    step = decide(with_server(no_swap, "green.0", server, older_workers=workers), ROLLBACK, BLUEGREEN)
    assert step == Wait(Cause.DRAIN, f"1 tasks of green are not drained ({text}).")


@pytest.mark.parametrize(
    ("held", "because"),
    [
        (DRAINED, "All of its tasks are drained."),
        (HELD, "It was not drained within --drain-timeout."),
        (seen(HOME, canary(1, tasks=())), "None of its tasks runs."),
    ],
    ids=["drained", "cut", "nothing runs"],
)
def test_a_deletion_tells_whether_sessions_were_cut(held: Observation, because: str) -> None:
    step = decide(held, ROLLBACK, replace(BLUEGREEN, drain_timeout=50.0, force=True), DRAINING)
    assert isinstance(step, Delete)
    assert step.because == because


# -- killed tasks -----------------------------------------------------------------------------------------------------


def of_baseline(instances: int, alive: int, dying: int) -> App:
    ending = tuple(Task(f"blue.ending-{n}", True, dying=True) for n in range(dying))
    return baseline(instances, tasks=(*tasks("blue", alive), *ending))


@pytest.mark.parametrize(
    ("instances", "alive", "dying", "ending"), [(4, 3, 1, 1), (3, 3, 1, 1), (4, 2, 2, 2), (2, 4, 0, 2)]
)
def test_the_baseline_is_not_deleted_while_a_killed_task_of_it_is_listed(
    instances: int, alive: int, dying: int, ending: int
) -> None:
    """marathon-lb counts it, so that fewer of the tasks that serve are in rotation than the rule takes for granted."""
    shown = of_baseline(instances, alive, dying)
    step = decide(seen(shown, canary(4), out=tuple(task.id for task in shown.tasks)), PROMOTE, BLUEGREEN)
    assert step == Wait(Cause.TASKS, f"{ending} killed tasks of blue have not ended yet.")


def test_an_unused_task_is_not_killed_while_an_earlier_killed_one_ends() -> None:
    """Marathon may list the earlier one as running again, and would count it a second time."""
    alone = app(1, 2, "Hs", 1)
    ending = replace(alone, tasks=(*alone.tasks, Task("green.9", True, dying=True)))
    goal = Goal(Kind.PROMOTE, "v2", target=1)
    assert waits_for(decide(look("", "U", ending), goal, BLUEGREEN), Cause.TASKS)
    assert decide(look("", "U", alone), goal, BLUEGREEN) == Kill(("green.1",))


@pytest.mark.parametrize(
    ("memory", "waits"),
    [(Memory(), True), (Memory(no_room=True), False), (Memory(degraded="It turned bad."), False)],
    ids=["room", "no room", "bad"],
)
def test_h70_a_kill_does_not_wait_for_instances_that_will_not_be_launched(memory: Memory, waits: bool) -> None:
    """In a full cluster they are never launched, and those of a bad revision need not be."""
    waiting = look("UUU", "sU", app(0, 3, "HHH", 4), replace(app(1, 3, "sH", 4), queued=1))
    step = decide(waiting, Goal(Kind.ROLLBACK if not memory.degraded else Kind.PROMOTE, "v2", 4), BLUEGREEN, memory)
    assert waits_for(step, Cause.ROOM) if waits else step == Kill(("green.0",))


# -- health -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "end"),
    [("", "are healthy."), ("health check failing (500)", "are healthy: health check failing (500).")],
)
def test_the_wait_for_health_names_the_trouble(trouble: str, end: str) -> None:
    step = decide(seen(canary(4, tasks=tasks("green", 3), trouble=trouble)), PROMOTE, BLUEGREEN)
    assert isinstance(step, Wait)
    assert step.reason == f"3 of 4 instances of green {end}"
