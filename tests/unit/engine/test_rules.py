"""The rules by the running apps: none, this revision, another one, and conflicts; for both strategies."""

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
    with_server,
)

from bgci.engine.decisions import (
    Cause,
    Create,
    Delete,
    Done,
    Fail,
    Goal,
    Kill,
    Kind,
    Policy,
    Restore,
    Scale,
    Wait,
)
from bgci.engine.memory import Memory, Return
from bgci.engine.observation import Observation, Replica, Server, Serving, Task
from bgci.errors import ConflictError


@both
@pytest.mark.parametrize("goal", [CANARY, PROMOTE])
def test_first_deployment_creates_all_instances(goal: Goal, policy: Policy) -> None:
    assert decide(seen(), goal, policy) == Create(4, swappable=True)


@both
def test_h06_first_deployment_is_not_done_before_it_serves_everywhere(policy: Policy) -> None:
    starting = canary(4, tasks=tasks("green", 4, healthy=None))
    assert waits_for(decide(seen(starting), PROMOTE, policy), Cause.HEALTH)
    unserved = Observation(1.0, (canary(4),), (Replica("lb0"),))
    assert waits_for(decide(unserved, PROMOTE, policy), Cause.LOAD_BALANCER)


NEVER = tasks("green", 4, healthy=False, ever_healthy=False)
FIRST = canary(4, baseline_instances=None, tasks=NEVER, deployments=("d",))


@both
def test_a_first_deployment_that_never_served_is_removed_by_a_rollback(policy: Policy) -> None:
    assert decide(seen(FIRST), ROLLBACK, policy) == Delete("green")


@both
@pytest.mark.parametrize(
    "served",
    [
        seen(replace(FIRST, deployments=())),
        seen(replace(FIRST, tasks=(*NEVER[1:], Task("green.9", True)))),
        seen(replace(FIRST, tasks=(*NEVER[1:], Task("green.9", False, ever_healthy=True)))),
        with_server(seen(FIRST), "green.0", Server(Serving.UP)),
        seen(replace(FIRST, baseline_instances=4)),
    ],
    ids=["deployed", "healthy", "healthy once", "in rotation", "with a baseline before"],
)
def test_a_revision_alone_that_may_have_served_is_never_removed_by_a_rollback(
    served: Observation, policy: Policy
) -> None:
    """Nothing else serves: its users would get errors only."""
    assert isinstance(decide(served, ROLLBACK, policy), Fail)


@both
def test_a_rollback_without_apps_is_done(policy: Policy) -> None:
    assert isinstance(decide(seen(), ROLLBACK, policy), Done)
    unread = seen(replicas=(Replica("lb0", problem="connection refused"),))
    assert isinstance(decide(unread, ROLLBACK, policy), Done), "no load balancer has anything to drain"


# -- from that revision fully deployed --------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("goal", [CANARY, PROMOTE])
def test_the_revision_that_serves_alone_is_done(goal: Goal, policy: Policy) -> None:
    assert isinstance(decide(seen(canary(4)), goal, policy), Done)


@both
def test_the_revision_that_serves_alone_cannot_be_rolled_back(policy: Policy) -> None:
    step = decide(seen(canary(4)), ROLLBACK, policy)
    assert isinstance(step, Fail)
    assert "promote" in step.remedy


@pytest.mark.parametrize(("before", "remedy"), [(None, "bgci remove"), (4, "bgci undo")], ids=["first", "later"])
def test_a_rollback_of_the_only_revision_names_what_can_be_done(before: int | None, remedy: str) -> None:
    step = decide(seen(canary(4, baseline_instances=before)), ROLLBACK, BLUEGREEN)
    assert isinstance(step, Fail)
    assert remedy in step.remedy


def test_a_rollback_without_a_kept_baseline_does_not_wait_for_a_load_balancer() -> None:
    """There is nothing to restore, so that the wait would only end with the timeout."""
    alone = with_server(seen(canary(4)), "green.0", Server(Serving.UP), others=("10_0_0_1_31000",))
    assert isinstance(decide(alone, ROLLBACK, BLUEGREEN), Fail)
    assert isinstance(decide(seen(canary(4)), ROLLBACK, BLUEGREEN, Memory(degraded="It does not serve.")), Fail)


@pytest.mark.parametrize(("kept", "before", "restored"), [(4, 4, 4), (2, 4, 4), (5, 4, 5), (4, None, 4)], ids=str)
def test_a_restored_baseline_has_as_many_instances_as_before_the_release(
    kept: int, before: int | None, restored: int
) -> None:
    """A rolling release has removed tasks of the baseline, and it was deleted with the rest of them: a smaller one
    would be overloaded."""
    memory = Memory(kept=baseline(kept), degraded="It does not serve.")
    alone = seen(canary(4, baseline_instances=before))
    assert decide(alone, PROMOTE, ROLLING, memory) == Restore("blue", restored)


def test_a_canary_that_serves_alone_is_not_scaled_down_to_its_target() -> None:
    assert isinstance(decide(seen(canary(6)), CANARY, BLUEGREEN), Done)


@both
def test_the_revision_alone_with_too_few_instances_is_scaled_up(policy: Policy) -> None:
    assert decide(seen(canary(2)), PROMOTE, policy) == Scale("green", 4)


@both
def test_a_surplus_after_the_commit_is_removed_by_killing_unused_tasks_first(policy: Policy) -> None:
    surplus = canary(5, tasks=(*tasks("green", 4), Task("green.new", None, ever_healthy=False)))
    assert decide(seen(surplus), PROMOTE, policy) == Kill(("green.new",))
    assert decide(seen(canary(5, swappable=False)), PROMOTE, policy) == Scale("green", 4)


@both
def test_h66_a_serving_surplus_is_drained_beside_a_stand_in(policy: Policy) -> None:
    alone = canary(5)
    assert decide(seen(alone), PROMOTE, policy) == Create(1, swappable=True, stand_in=True)
    beside = replace(baseline(1, target=4, started_at=9.0, last_scaling_at=9.0), revision="v2", stand_in=True)
    assert decide(seen(alone, beside, out=("green.0",)), PROMOTE, policy) == Kill(("green.0",))
    left = canary(4, last_scaling_at=10.0)
    assert waits_for(decide(seen(left, beside), PROMOTE, policy), Cause.DRAIN)
    assert decide(seen(left, beside, out=("blue.0",)), PROMOTE, policy) == Delete("blue")


@both
def test_h66_a_stand_in_without_room_is_deleted(policy: Policy) -> None:
    none = replace(baseline(1, target=4, started_at=9.0, last_scaling_at=9.0), revision="v2", stand_in=True, tasks=())
    assert waits_for(decide(seen(canary(5), none), PROMOTE, policy), Cause.ROOM)
    assert decide(seen(canary(5), none), PROMOTE, policy, WITHOUT_ROOM) == Delete("blue")


@both
def test_a_killed_task_is_not_killed_again_while_it_is_listed_as_running(policy: Policy) -> None:
    fewer = Goal(Kind.PROMOTE, "v2", target=3)
    killed = canary(4, tasks=(*tasks("green", 4), Task("green.new", None, ever_healthy=False)))
    assert waits_for(decide(seen(killed), fewer, policy), Cause.TASKS)


def test_h18_a_failed_task_of_a_surplus_is_not_removed_while_it_has_sessions() -> None:
    failed = Task("green.4", healthy=False)
    alone = seen(canary(5, tasks=(*tasks("green", 4), failed)))
    assert decide(alone, PROMOTE, BLUEGREEN) == Kill((failed.id,))
    servers = {**alone.replicas[0].servers, failed.id: Server(Serving.DOWN, sessions=1)}
    held = replace(alone, replicas=(alone.replicas[0], Replica("lb1", servers)))
    assert not isinstance(decide(held, PROMOTE, BLUEGREEN), Kill)


# -- from another revision fully deployed -----------------------------------------------------------------------------


@both
def test_a_canary_is_created_beside_the_baseline(policy: Policy) -> None:
    assert decide(seen(baseline()), CANARY, policy) == Create(1, swappable=True)


def test_a_full_swap_creates_all_of_the_new_revision_with_bluegreen() -> None:
    assert decide(seen(baseline()), PROMOTE, BLUEGREEN) == Create(4, swappable=True)


def test_a_full_swap_creates_one_wave_with_rolling() -> None:
    assert decide(seen(baseline()), PROMOTE, ROLLING) == Create(1, swappable=True)


def test_a_full_swap_to_fewer_instances_removes_drained_tasks_before_the_rest_drains() -> None:
    assert decide(seen(baseline(8)), PROMOTE, BLUEGREEN) == Create(4, swappable=True)
    out = tuple(f"blue.{number}" for number in range(4))
    standing = decide(seen(baseline(8), canary(4), out=out), PROMOTE, BLUEGREEN)
    assert standing == Scale("green", 5, placeholder=True)


@both
def test_another_revision_alone_needs_no_rollback(policy: Policy) -> None:
    assert isinstance(decide(seen(baseline()), ROLLBACK, policy), Done)


@both
def test_a_rollback_that_had_to_scale_the_baseline_up_reports_it(policy: Policy) -> None:
    grown = decide(seen(baseline(5)), ROLLBACK, policy)
    assert isinstance(grown, Done)
    assert "with 5 instances, 1 more than its target" in grown.message
    home = decide(seen(baseline(4)), ROLLBACK, policy)
    assert isinstance(home, Done)
    assert "target" not in home.message


@both
def test_a_rollback_ends_only_when_the_baseline_is_back_in_rotation(policy: Policy) -> None:
    assert waits_for(decide(seen(baseline(), out=("blue.0",)), ROLLBACK, policy), Cause.LOAD_BALANCER)


def test_a_rollback_scales_only_the_baseline_to_which_it_returns() -> None:
    returns_to = [Memory(returning=Return(app_id, size=4, asked=4)) for app_id in ("blue", "red")]
    assert decide(seen(baseline(2)), ROLLBACK, BLUEGREEN, returns_to[0]) == Scale("blue", 4)
    assert isinstance(decide(seen(baseline(2)), ROLLBACK, BLUEGREEN, returns_to[1]), Done)


def test_a_rollback_does_not_wait_for_a_task_of_the_baseline_that_failed_before() -> None:
    """No deployment of the baseline runs: Marathon does not replace that task for this rollback."""
    sick = baseline(tasks=(*tasks("blue", 3), Task("blue.3", False)))
    assert isinstance(decide(seen(sick), ROLLBACK, BLUEGREEN), Done)
    assert waits_for(decide(seen(replace(sick, deployments=("d",))), ROLLBACK, BLUEGREEN), Cause.HEALTH)


@both
def test_h15_a_baseline_without_health_checks_is_refused_unless_allowed(policy: Policy) -> None:
    bare = seen(baseline(has_health_checks=False))
    assert isinstance(decide(bare, PROMOTE, policy), Fail)
    assert isinstance(decide(bare, PROMOTE, replace(policy, allow_no_health_check=True)), Create)


def test_h09_a_baseline_without_target_gets_a_canary_that_cannot_swap_roles() -> None:
    assert decide(seen(baseline(target=None)), CANARY, BLUEGREEN) == Create(1, swappable=False)
    assert isinstance(decide(seen(baseline(target=None)), CANARY, ROLLING), Fail)


# -- from hybrid with another canary, and other conflicts -----------------------------------------------------------


@both
@pytest.mark.parametrize("goal", [CANARY, PROMOTE, ROLLBACK], ids=lambda goal: goal.kind.value)
def test_h14_another_canary_is_a_conflict_that_names_it(goal: Goal, policy: Policy) -> None:
    step = decide(seen(baseline(), canary(1, revision="v3")), goal, policy)
    assert isinstance(step, Fail)
    assert step.ending is ConflictError
    assert "v3" in step.message


@both
def test_three_apps_are_a_conflict_that_names_them(policy: Policy) -> None:
    step = decide(seen(baseline(), canary(), baseline(id="red")), PROMOTE, policy)
    assert isinstance(step, Fail)
    assert all(name in step.message for name in ("blue", "green", "red"))


@both
def test_two_indistinguishable_apps_are_a_conflict(policy: Policy) -> None:
    step = decide(seen(baseline(started_at=0.0), canary(started_at=0.0)), PROMOTE, policy)
    assert isinstance(step, Fail)


@both
def test_h19_no_step_is_taken_while_a_load_balancer_cannot_be_read(policy: Policy) -> None:
    blind = replace(seen(baseline()), replicas=(Replica("lb0", problem="connection refused"),))
    step = decide(blind, PROMOTE, policy)
    assert waits_for(step, Cause.UNREACHABLE)
    assert "connection refused" in str(step)


@both
def test_h39_no_task_is_killed_or_deleted_while_marathon_has_lost_its_health_results(policy: Policy) -> None:
    forgotten = canary(1, tasks=(Task("green.0", None, ever_healthy=True),))
    assert waits_for(decide(seen(baseline(last_scaling_at=3.0), forgotten), ROLLBACK, policy), Cause.HEALTH)


def test_h39_a_lost_health_result_stops_no_step_that_kills_nothing() -> None:
    """The run would stop for a task that the new leader of Marathon checks only later."""
    forgotten = canary(2, tasks=(Task("green.0", True), Task("green.1", None, ever_healthy=True)))
    assert decide(seen(forgotten), PROMOTE, BLUEGREEN) == Scale("green", 4)
    ending = canary(2, tasks=(Task("green.0", True), Task("green.1", None, dying=True)))
    home = seen(baseline(last_scaling_at=3.0), ending, out=("green.0", "green.1"))
    assert decide(home, ROLLBACK, BLUEGREEN) == Delete("green"), "Marathon checks no task that ends"


@pytest.mark.parametrize("problem", ["connection refused.", "lb0: connection refused"])
def test_a_load_balancer_that_cannot_be_read_is_named_once(problem: str) -> None:
    step = decide(seen(baseline(), replicas=(Replica("lb0", problem=problem),)), PROMOTE, BLUEGREEN)
    assert isinstance(step, Wait)
    assert step.reason == "A load balancer cannot be read: lb0: connection refused."


@both
def test_a_canary_that_has_just_become_healthy_is_not_deleted_before_a_load_balancer_knows_it(policy: Policy) -> None:
    known = {task.id: Server(Serving.UP) for task in baseline().tasks}
    early = Observation(100.0, (baseline(), canary(1)), (Replica("lb0", known),))
    assert waits_for(decide(early, ROLLBACK, policy), Cause.DRAIN)
    late = replace(policy, drain_timeout=50.0)
    assert decide(early, ROLLBACK, late, DRAINING) == Delete("green")  # none ever will
