"""The facts that a run keeps of its observations and of the steps that Marathon has accepted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.engine.situations import (
    BLUEGREEN,
    CANARY,
    PROMOTE,
    ROLLBACK,
    ROLLING,
    baseline,
    canary,
    seen,
    tasks,
    waits_for,
    with_server,
)

from bgci.engine.decisions import Action, Cause, Create, Delete, Goal, Kill, Scale
from bgci.engine.hold import Hold
from bgci.engine.memory import ROOM_LIMIT, Memory, Return, starting_memory
from bgci.engine.observation import App, Observation, Replica, Server, Serving, Task
from bgci.engine.rollout import AGAIN_AFTER, Rollout

STAND_IN = replace(baseline(1, started_at=9.0, last_scaling_at=9.0), id="red", stand_in=True)
UNREADABLE = Replica("lb1", problem="connection refused")
HOLD = Hold(since=95.0, size=1, peers=frozenset(), failures=1, incident_at=95.0)


def after(*observations: Observation, goal: Goal = PROMOTE, memory: Memory | None = None) -> Memory:
    memory = memory or Memory()
    for observation in observations:
        memory = memory.observed(observation, goal)
    return memory


# -- the baseline to go back to ---------------------------------------------------------------------------------------


def test_the_kept_baseline_is_the_one_of_the_first_observation_until_another_one_replaces_it() -> None:
    """A restore brings it back as it ran, not as a rolling release has shrunk it."""
    shrunk = seen(baseline(1), canary(3))
    kept = after(seen(baseline(4)), shrunk).kept
    assert kept is not None
    assert kept.instances == 4
    another = after(seen(baseline(4)), seen(baseline(2, revision="v3"))).kept
    assert another is not None
    assert (another.revision, another.instances) == ("v3", 2)


def test_a_stand_in_is_not_a_second_baseline() -> None:
    kept = after(seen(baseline(5), STAND_IN), goal=ROLLBACK).kept
    assert kept is not None
    assert kept.id == "blue"


def test_a_stand_in_of_the_revision_that_is_deleted_has_not_turned_bad() -> None:
    alone, beside = canary(4), replace(STAND_IN, revision="v2")
    memory = after(seen(alone, beside), seen(alone))
    assert not memory.turned_bad


@pytest.mark.parametrize(
    ("before", "target", "size"), [(4, 3, 4), (None, 3, 3), (None, None, 2)], ids=["recorded", "target", "as it is"]
)
def test_a_rollback_returns_to_the_size_before_the_release(before: int | None, target: int | None, size: int) -> None:
    hybrid = seen(baseline(2, target=target), canary(1, baseline_instances=before))
    assert after(hybrid, goal=ROLLBACK).returning == Return("blue", size, asked=2)


@pytest.mark.parametrize(
    ("apps", "goal"),
    [
        ((baseline(), canary()), PROMOTE),
        ((baseline(),), ROLLBACK),
        ((baseline(), canary(revision="v3")), ROLLBACK),
        ((baseline(), replace(STAND_IN, revision="v2")), ROLLBACK),
        ((baseline(6), canary(1)), ROLLBACK),
    ],
    ids=["a promotion", "no canary", "another canary", "a stand-in", "a baseline that others have scaled up"],
)
def test_a_run_does_not_return_to_a_size_that_it_cannot_know(apps: tuple[App, ...], goal: Goal) -> None:
    assert after(seen(*apps), goal=goal).returning is None


def test_the_size_to_return_to_does_not_change_with_an_outside_scaling() -> None:
    memory = after(seen(baseline(4), canary(4)), seen(baseline(3), canary(4)), goal=ROLLBACK)
    assert memory.returning == Return("blue", 4, asked=4)


def test_a_run_that_rolls_back_by_itself_scales_its_baseline_up_after_an_outside_deletion_of_the_canary() -> None:
    rollout = Rollout(PROMOTE, BLUEGREEN, Memory(degraded="It turned bad."))
    rollout.decide(seen(baseline(3), canary(1)))
    assert rollout.decide(seen(baseline(3), now=101.0)) == Scale("blue", 4)


def test_only_instances_that_the_rollback_asked_for_count_as_its_own() -> None:
    """It removes them at its end, and no others."""
    hybrid = seen(baseline(4), canary(1))
    memory = after(hybrid, goal=ROLLBACK)
    steps: list[tuple[Action, int]] = [(Scale("blue", 5), 5), (Scale("green", 2), 4), (Create(1, swappable=True), 4)]
    for step, asked in steps:
        assert memory.performed(step, hybrid, ROLLBACK).returning == Return("blue", 4, asked)


# -- room -------------------------------------------------------------------------------------------------------------


def test_an_instance_that_is_launched_at_the_last_moment_shows_that_there_is_room() -> None:
    """A run without room kills tasks with a dip in capacity, until its end."""
    waited = Memory(waiting=Cause.ROOM, waiting_since=100.0 - ROOM_LIMIT - 1)
    assert not after(seen(baseline(), canary(2)), memory=waited).no_room
    assert after(seen(baseline(), canary(2, tasks=tasks("green", 1))), memory=waited).no_room


def test_a_wait_for_something_else_does_not_count() -> None:
    assert Memory(waiting=Cause.HEALTH, waiting_since=1.0).waited(Cause.ROOM, 100.0) == 0.0


# -- kills ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "killed"),
    [
        (baseline(4), set()),
        (baseline(5), set()),
        (baseline(3, tasks=tasks("blue", 4)), {"blue.0"}),
        (baseline(4, tasks=(Task("blue.0", True, dying=True), *tasks("blue", 4)[1:])), {"blue.0"}),
    ],
    ids=["not carried out", "scaled up", "carried out", "ending"],
)
def test_a_kill_counts_when_the_app_is_smaller_or_its_task_ends(shown: App, killed: set[str]) -> None:
    """A task that was not killed and counts as dying would be neither drained nor killed again: an endless wait."""
    first = seen(baseline(4), canary(1), out=("blue.0",))
    memory = after(first, goal=CANARY).performed(Kill(("blue.0",)), first, CANARY)
    assert memory.observed(seen(shown, canary(1)), CANARY).killed == killed


def test_a_kill_does_not_end_the_memory_of_an_earlier_one_in_the_other_app() -> None:
    """Its task is still listed as running, and would be killed a second time."""
    both = seen(baseline(), canary(2))
    memory = after(both, memory=Memory(killed=frozenset({"green.1"}))).performed(Kill(("blue.0",)), both, PROMOTE)
    assert memory.observed(seen(baseline(3), canary(2)), PROMOTE).killed == {"blue.0", "green.1"}


def test_a_kill_without_an_observation_before_it_is_remembered() -> None:
    assert Memory().performed(Kill(("blue.0",)), None, PROMOTE).killed == {"blue.0"}


def test_an_accepted_kill_is_repeated_when_it_shows_no_effect_for_a_second() -> None:
    """Repeated at once it would scale the app down twice."""
    drained = seen(baseline(), canary(2, tasks=tasks("green", 1)), out=("blue.0",))
    rollout = Rollout(PROMOTE, ROLLING, Memory(no_room=True))
    step = rollout.decide(drained)
    assert step == Kill(("blue.0",))
    rollout.performed(step)
    assert waits_for(rollout.decide(replace(drained, now=100.0 + AGAIN_AFTER)), Cause.UNREACHABLE)
    assert rollout.decide(replace(drained, now=100.1 + AGAIN_AFTER)) == step


def test_another_step_follows_an_accepted_one_at_once() -> None:
    rollout = Rollout(PROMOTE, BLUEGREEN)
    rollout.decide(seen(canary(2)))
    rollout.performed(Scale("green", 4))
    assert waits_for(rollout.decide(seen(canary(4, tasks=tasks("green", 2)))), Cause.HEALTH)


# -- the commit -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("apps", "deleted", "is_commit"),
    [
        ((baseline(), canary(4)), "blue", True),
        ((baseline(), canary(4)), "green", False),
        ((baseline(5), STAND_IN), "red", False),
        ((baseline(), canary(4)), "gone", False),
    ],
    ids=["the baseline", "the canary", "a stand-in", "an app that was not seen"],
)
def test_only_the_deletion_of_the_baseline_is_a_commit(apps: tuple[App, ...], deleted: str, is_commit: bool) -> None:
    """After a commit the run restores the deleted app when the rest does not serve."""
    observation = seen(*apps)
    assert bool(after(observation).performed(Delete(deleted), observation, PROMOTE).commit) is is_commit
    assert after(observation).performed(Delete(deleted), None, PROMOTE).commit is None
    assert after(observation).performed(Scale(deleted, 9), observation, PROMOTE).commit is None


# -- placeholders and progress ----------------------------------------------------------------------------------------


def test_a_run_remembers_that_it_has_asked_for_a_placeholder() -> None:
    hybrid = seen(baseline(), canary(1))
    asked = Memory().performed(Scale("green", 2, placeholder=True), hybrid, PROMOTE)
    assert asked.placeholder
    assert asked.performed(Scale("green", 4), hybrid, PROMOTE).placeholder
    assert not Memory().performed(Scale("green", 2), hybrid, PROMOTE).placeholder
    assert not Memory().performed(Create(1, swappable=True), hybrid, PROMOTE).placeholder


def test_a_scaling_gives_a_revision_its_time_to_start_again() -> None:
    """The wait before it may have been long, and no new task has had a chance."""
    shown = seen(baseline(), canary(1))
    memory = after(shown).performed(Scale("green", 4), shown, PROMOTE)
    assert memory.observed(replace(shown, now=400.0), PROMOTE).progress_at == 400.0
    assert after(shown, replace(shown, now=400.0)).progress_at == 100.0


def test_failures_before_a_task_was_healthy_do_not_count_after_it() -> None:
    """A crash loop is a revision of which no task was ever healthy."""
    never = Task("green.0", False, ever_healthy=False)
    starting = [canary(1, tasks=(never,), failure=failure) for failure in ("", "one", "two")]
    memory = after(*(seen(baseline(), app) for app in starting))
    assert memory.failures == {"one", "two"}, "no failure is none"
    assert not memory.turned_bad, "it was never good"
    assert not memory.observed(seen(baseline(), canary(1, failure="two")), PROMOTE).failures


# -- load balancers ---------------------------------------------------------------------------------------------------


def test_a_task_that_stays_down_is_one_failure() -> None:
    down = with_server(seen(baseline(), canary(2)), "green.1", Server(Serving.DOWN))
    memory = after(seen(baseline(), canary(2)), down, replace(down, now=101.0))
    assert memory.bad == {"green.1"}
    assert memory.failed == 1


def test_a_load_balancer_that_cannot_be_read_is_not_an_outage() -> None:
    """It may serve all of its tasks: a rollback of a good revision would cut their sessions."""
    blind = seen(baseline(), canary(4))
    blind = replace(blind, replicas=(blind.replicas[0], UNREADABLE))
    memory = after(blind, memory=Memory(hold=HOLD))
    assert memory.outage_since is None
    assert memory.short_since is None


def test_no_app_is_not_an_outage() -> None:
    assert after(seen()).outage_since is None


@pytest.mark.parametrize("number", [0, 1])
def test_servers_of_a_deleted_app_at_one_load_balancer_count_only_for_an_app_alone(number: int) -> None:
    def with_others(*apps: App) -> Observation:
        replicas = list(seen(*apps).replicas)
        replicas[number] = replace(replicas[number], others=("10_0_0_1_31000",))
        return seen(*apps, replicas=tuple(replicas))

    assert after(with_others(canary(4))).unfollowed_since == 100.0
    assert after(with_others(baseline(), canary(4))).unfollowed_since is None


@pytest.mark.parametrize(
    ("before", "serving", "short"), [(6, 3, True), (6, 4, False), (2, 1, True), (2, 2, False)], ids=str
)
def test_too_few_tasks_in_rotation_are_fewer_than_the_target_and_than_before(
    before: int, serving: int, short: bool
) -> None:
    shown = seen(baseline(1), canary(serving - 1))
    assert (after(shown, memory=Memory(hold=HOLD, kept=baseline(before))).short_since is not None) is short


def test_the_load_balancer_with_the_fewest_tasks_counts_and_only_while_a_task_turned_bad() -> None:
    fewer = with_server(seen(baseline(3), canary(1)), "blue.1", Server(Serving.DOWN))
    assert after(fewer, memory=Memory(hold=HOLD, kept=baseline(4))).short_since == 100.0
    assert after(fewer, memory=Memory(kept=baseline(4))).short_since is None


# -- facts that Marathon loses ----------------------------------------------------------------------------------------


def test_h39_a_task_that_was_healthy_in_this_run_was_healthy_once_for_a_new_leader_too() -> None:
    """It has had sessions, and must be drained before it is killed."""
    forgotten = canary(1, tasks=(Task("green.0", None, ever_healthy=False),))
    (recalled,) = after(seen(baseline(), canary(1))).recall([forgotten])
    assert recalled.tasks[0].ever_healthy
    (unknown,) = Memory().recall([forgotten])
    assert not unknown.tasks[0].ever_healthy


def test_a_task_that_marathon_shows_as_ending_is_dying() -> None:
    ending = canary(1, tasks=(Task("green.0", True, dying=True),))
    assert Memory(healthy_once=frozenset({"green.9"})).recall([ending]) == (ending,)
    forgotten = replace(ending, tasks=(Task("green.0", True, dying=True, ever_healthy=False),))
    (recalled,) = Memory(healthy_once=frozenset({"green.0"})).recall([forgotten])
    assert recalled.tasks[0].dying


def test_a_second_run_compares_with_the_apps_that_the_first_one_has_left() -> None:
    memory = starting_memory(baseline(), [canary(2)])
    assert memory.kept == baseline()
    assert [str(change) for change in after(seen(canary(3)), memory=memory).outside.changes] == [
        "green was scaled from 2 to 3 instances by somebody else."
    ]
