"""The rollback beside a canary that is good: the order of its steps, for every state of the two apps."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.engine.situations import (
    BLUEGREEN,
    DRAINING,
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

from bgci.engine.decisions import Cause, Delete, Goal, Kill, Kind, Policy, Scale, Step
from bgci.engine.memory import Memory
from bgci.engine.observation import App, Observation, Server, Serving, Task
from bgci.engine.outside_changes import Change, OutsideChanges

SWAPPED = 9.0  # time of a scaling after the canary's: the roles are swapped


def back(observation: Observation, target: int = 2, memory: Memory | None = None, policy: Policy = BLUEGREEN) -> Step:
    return decide(observation, Goal(Kind.ROLLBACK, "v2", target), policy, memory)


# -- the size of the baseline -----------------------------------------------------------------------------------------


def test_a_rollback_scales_the_baseline_to_the_size_of_a_larger_canary() -> None:
    """marathon-lb drains at most as many canaries as the baseline has healthy tasks."""
    apps = app(0, 2, "HH", 2), app(1, 4, "HHHH", 6, base=2)
    assert back(look("UU", "UUUU", *apps)) == Scale("blue", 4)
    assert back(look("UU", "UU..", *apps)) == Scale("blue", 3), "no load balancer has the other two in rotation"


def test_a_rollback_without_a_swap_of_roles_does_not_scale_the_baseline_for_the_canary() -> None:
    no_swap = replace(app(1, 4, "HHHH", 2), swappable=False)
    assert back(look("UU", "MMMM", app(0, 2, "HH", 2), no_swap)) == Delete("green")


GROWN = OutsideChanges(changes=(Change("blue", "v1", 2, 3),))
STARTING = app(0, 3, "HHs", 2, last=SWAPPED, base=2)


def test_an_instance_that_a_rollback_needs_no_more_is_removed_before_it_serves() -> None:
    """It would stay as a surplus, which only a drain beside a stand-in removes."""
    draining = look("UU", "M", STARTING, app(1, 1, "H", 2))
    assert back(draining) == Kill(("blue.2",))


def test_an_instance_that_an_operator_added_to_the_baseline_stays() -> None:
    draining = look("UU", "M", STARTING, app(1, 1, "H", 2))
    assert back(draining, memory=Memory(outside=GROWN)) == Delete("green")


def test_an_instance_that_is_to_swap_the_roles_is_not_removed_before_the_swap() -> None:
    """The rollback would scale the baseline up and down in a circle."""
    early = look("UU", "U", replace(STARTING, last_scaling_at=1.0), app(1, 1, "H", 2))
    assert not isinstance(back(early), Kill)


# -- a canary that is out of rotation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("servers", ["M", "Md"])
def test_a_canary_in_maint_that_is_about_to_return_is_not_deleted(servers: str) -> None:
    """An operator has scaled it while it drained, so that it is the app scaled last again. Its tasks will get
    sessions, and the tasks of the baseline that replace them are in rotation only later."""
    healthy = "H" * len(servers)
    returning = look("UUU", servers, app(0, 3, "HHH", 3), app(1, len(servers), healthy, 3))
    assert waits_for(back(returning, 3), Cause.LOAD_BALANCER)


def beside_a_smaller_baseline(task: Task, server: Server, **fields: object) -> Observation:
    """One of two instances of the baseline serves. The server of the canary's task still has a session."""
    alone = app(1, 1, "H", 2)
    shown = look("U", "d", app(0, 1, "H", 2), replace(alone, tasks=(task,), **fields))
    return with_server(shown, task.id, replace(server, sessions=1))


@pytest.mark.parametrize(
    ("task", "server", "fields"),
    [
        (Task("green.0", False), Server(Serving.DOWN), {}),
        (Task("green.0", True, dying=True), Server(Serving.DOWN), {}),
        (Task("green.0", True), Server(Serving.MAINT), {"swappable": False}),
    ],
    ids=["failed", "killed", "in maint"],
)
def test_the_baseline_grows_at_once_beside_a_canary_that_does_not_enter_rotation(
    task: Task, server: Server, fields: dict[str, object]
) -> None:
    """Its sessions can last for hours, and the baseline alone is too small for the traffic."""
    assert back(beside_a_smaller_baseline(task, server, **fields)) == Scale("blue", 2)


def test_the_baseline_does_not_grow_while_one_of_several_canaries_enters_rotation() -> None:
    entering = beside_a_smaller_baseline(Task("green.0", True), Server(Serving.DOWN))
    assert waits_for(back(entering), Cause.DRAIN)
    one, two = entering.apps
    pair = replace(two, instances=2, tasks=(*two.tasks, Task("green.1", False)))
    assert waits_for(back(replace(entering, apps=(one, pair))), Cause.DRAIN)


def test_the_baseline_has_its_size_before_a_canary_that_does_not_drain_is_deleted() -> None:
    """The rollback is allowed to cut sessions, not to end with a baseline that is too small."""
    entering = beside_a_smaller_baseline(Task("green.0", True), Server(Serving.DOWN))
    force = replace(BLUEGREEN, drain_timeout=50.0, force=True)
    assert back(entering, memory=DRAINING, policy=force) == Scale("blue", 2)


def test_a_canary_is_not_deleted_while_the_baseline_that_was_scaled_for_it_starts() -> None:
    starting = app(0, 2, "Hs", 2, last=SWAPPED)
    shown = look("U", "M", replace(starting, deployments=("d",)), app(1, 1, "H", 2))
    assert waits_for(back(shown), Cause.HEALTH)


@pytest.mark.parametrize(("launched", "cause"), [("Hs", Cause.HEALTH), ("HH", Cause.LOAD_BALANCER)])
def test_the_load_balancers_are_waited_for_only_when_the_baseline_is_healthy(launched: str, cause: Cause) -> None:
    """They can drain a canary only for a healthy task of the baseline: to reload them is useless before."""
    shown = look("UU"[: launched.count("H")], "UU", app(0, 2, launched, 2, last=SWAPPED), app(1, 2, "HH", 2))
    assert waits_for(back(shown), cause)


def test_a_sick_task_of_the_baseline_does_not_keep_a_drained_canary() -> None:
    """Nothing is being deployed: the task failed before, and its replacement is not a part of the rollback."""
    sick = replace(app(0, 2, "HH", 2, last=SWAPPED), tasks=(Task("blue.0", True), Task("blue.1", False)))
    assert back(look("U", "M", sick, app(1, 1, "H", 2))) == Delete("green")


# -- before the roles are swapped -------------------------------------------------------------------------------------


def test_the_roles_are_not_swapped_while_a_killed_task_of_the_baseline_ends() -> None:
    """marathon-lb counts it as one that serves, and would drain one canary more than are replaced."""
    ending = replace(baseline(3), tasks=(*tasks("blue", 3), Task("blue.3", True, dying=True)))
    assert waits_for(decide(seen(ending, canary(1)), ROLLBACK, BLUEGREEN), Cause.TASKS)


def launching(queued: int | None) -> tuple[App, App]:
    return app(0, 1, "H", 2), replace(app(1, 2, "H", 2), queued=queued, target=4)


def test_the_roles_are_not_swapped_while_a_canary_is_not_launched_except_without_room() -> None:
    """marathon-lb counts the instance, and would take a serving one out of rotation for it."""
    assert waits_for(back(look("U", "U", *launching(1))), Cause.ROOM)
    assert back(look("U", "U", *launching(1)), memory=Memory(no_room=True)) == Scale("blue", 2)
