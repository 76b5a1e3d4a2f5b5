"""The rules: one test per cell of the design's goal table, for both strategies, and what surrounds the table."""

from __future__ import annotations

from dataclasses import replace

import pytest

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
    Scale,
    Step,
    Wait,
)
from bgci.engine.memory import ROOM_LIMIT, Memory
from bgci.engine.observation import App, Observation, Replica, Server, Serving, Task
from bgci.engine.rollout import Rollout
from bgci.engine.rotation import drained_by_rule, roles_swapped
from bgci.errors import ConflictError, DeadlineError

STRATEGIES = [Policy("bluegreen"), Policy("rolling")]
both = pytest.mark.parametrize("policy", STRATEGIES, ids=lambda policy: policy.strategy)
BLUEGREEN, ROLLING = STRATEGIES
CANARY = Goal(Kind.CANARY, "v2", target=4, instances=1)
PROMOTE = Goal(Kind.PROMOTE, "v2", target=4)
ROLLBACK = Goal(Kind.ROLLBACK, "v2", target=4)


def tasks(app_id: str, count: int, **fields: object) -> tuple[Task, ...]:
    return tuple(Task(**{"id": f"{app_id}.{n}", "healthy": True, **fields}) for n in range(count))  # type: ignore[arg-type]


def baseline(count: int = 4, **fields: object) -> App:
    shown = App("blue", count, tasks("blue", count), "v1", "blue", 4, True, None, started_at=1.0, last_scaling_at=1.0)
    return replace(shown, **fields)  # type: ignore[arg-type]


def canary(count: int = 1, **fields: object) -> App:
    shown = App("green", count, tasks("green", count), "v2", "green", 4, True, 4, started_at=2.0, last_scaling_at=2.0)
    return replace(shown, **fields)  # type: ignore[arg-type]


def seen(*apps: App, out: tuple[str, ...] = (), workers: tuple[int, ...] = (), **fields: object) -> Observation:
    """All healthy tasks are up in two load balancers, but for those in MAINT."""
    servers = {
        task.id: Server(Serving.MAINT if task.id in out else Serving.UP)
        for app in apps
        for task in app.tasks
        if task.healthy or task.id in out
    }
    replicas = (Replica("lb0", servers), Replica("lb1", servers, older_workers=workers))
    return Observation(**{"now": 100.0, "apps": apps, "replicas": replicas, **fields})  # type: ignore[arg-type]


def decide(observation: Observation, goal: Goal, policy: Policy, memory: Memory | None = None) -> Step:
    return Rollout(goal, policy, memory).decide(observation)


DRAINING = Memory(waiting=Cause.DRAIN, waiting_since=0.0)
WITHOUT_ROOM = Memory(waiting=Cause.ROOM, waiting_since=100.0 - ROOM_LIMIT - 1)


def waits_for(step: Step, cause: Cause) -> bool:
    return isinstance(step, Wait) and step.cause is cause


# -- from nothing running -------------------------------------------------------------------------------------------


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


@both
def test_a_first_deployment_is_removed_by_rollback_only_if_it_never_served(policy: Policy) -> None:
    never = tasks("green", 4, healthy=False, ever_healthy=False)
    first = canary(4, baseline_instances=None, tasks=never, deployments=("d",))
    assert decide(seen(first), ROLLBACK, policy) == Delete("green")
    for served in (replace(first, deployments=()), replace(first, tasks=(*never[1:], Task("green.9", True)))):
        assert isinstance(decide(seen(served), ROLLBACK, policy), Fail)


@both
def test_a_rollback_without_apps_is_done(policy: Policy) -> None:
    assert isinstance(decide(seen(), ROLLBACK, policy), Done)


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


@both
def test_h15_a_baseline_without_health_checks_is_refused_unless_allowed(policy: Policy) -> None:
    bare = seen(baseline(has_health_checks=False))
    assert isinstance(decide(bare, PROMOTE, policy), Fail)
    assert isinstance(decide(bare, PROMOTE, replace(policy, allow_no_health_check=True)), Create)


def test_h09_a_baseline_without_target_gets_a_canary_that_cannot_swap_roles() -> None:
    assert decide(seen(baseline(target=None)), CANARY, BLUEGREEN) == Create(1, swappable=False)
    assert isinstance(decide(seen(baseline(target=None)), CANARY, ROLLING), Fail)


# -- from hybrid with this canary ---------------------------------------------------------------------------------


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


@both
def test_a_canary_that_has_just_become_healthy_is_not_deleted_before_a_load_balancer_knows_it(policy: Policy) -> None:
    known = {task.id: Server(Serving.UP) for task in baseline().tasks}
    early = Observation(100.0, (baseline(), canary(1)), (Replica("lb0", known),))
    assert waits_for(decide(early, ROLLBACK, policy), Cause.DRAIN)
    late = replace(policy, drain_timeout=50.0)
    assert decide(early, ROLLBACK, late, DRAINING) == Delete("green")  # none ever will


# -- the arithmetic -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "target", "drains"), [(3, 1, 3, 1), (3, 2, 3, 2), (8, 2, 10, 0), (4, 4, 4, 4), (8, 4, 4, 4)]
)
def test_the_number_of_drained_tasks_is_that_of_marathon_lb(old: int, new: int, target: int, drains: int) -> None:
    assert drained_by_rule(old, new, target) == drains


def test_roles_are_swapped_only_with_the_label_and_a_later_scaling() -> None:
    assert roles_swapped(baseline(last_scaling_at=3.0), canary())
    assert not roles_swapped(baseline(last_scaling_at=2.0), canary())
    assert not roles_swapped(baseline(last_scaling_at=3.0), canary(swappable=False))


def test_h18_maint_with_zero_sessions_is_not_drained_while_an_older_worker_lives() -> None:
    task = baseline().tasks[0]
    assert not seen(baseline(), out=(task.id,), workers=(7,)).is_drained(task)
    assert seen(baseline(), out=(task.id,), workers=(7,)).is_drained(replace(task, idle=True))
    assert seen(baseline(), out=(task.id,)).is_drained(task)


@pytest.mark.parametrize(
    "busy",
    [Server(Serving.MAINT, sessions=1), Server(Serving.DOWN, sessions=1), Server(Serving.UP), Server(Serving.DOWN)],
)
def test_h18_a_task_is_not_drained_while_one_load_balancer_serves_it_or_its_sessions(busy: Server) -> None:
    task, idle = baseline().tasks[0], Server(Serving.MAINT)
    replicas = (Replica("lb0", {task.id: idle}), Replica("lb1", {task.id: busy}))
    assert not Observation(100.0, (baseline(),), replicas).is_drained(task)


def test_h18_a_failed_task_of_a_surplus_is_not_removed_while_it_has_sessions() -> None:
    failed = Task("green.4", healthy=False)
    alone = seen(canary(5, tasks=(*tasks("green", 4), failed)))
    assert decide(alone, PROMOTE, BLUEGREEN) == Kill((failed.id,))
    servers = {**alone.replicas[0].servers, failed.id: Server(Serving.DOWN, sessions=1)}
    held = replace(alone, replicas=(alone.replicas[0], Replica("lb1", servers)))
    assert not isinstance(decide(held, PROMOTE, BLUEGREEN), Kill)
