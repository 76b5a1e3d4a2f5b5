"""A run whose new revision turns bad is on hold: no step forward until the revision has recovered, a rollback when it
fails again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.engine.world import ABSENT, DOWN, HEALTH_TIME, LIMIT, MAINT, ROLLING, UP, N, World, app

from bgci.engine.decisions import Cause, Create, Delete, Done, Fail, Kill, Kind, Policy, Scale, Step, Wait
from bgci.engine.degradation import SHORT_LIMIT, TOLERATED
from bgci.engine.early_end import CRASHES, LAUNCH_TIME
from bgci.engine.hold import STEADY, TOGETHER
from bgci.engine.memory import ROOM_LIMIT
from bgci.engine.observation import Observation, Replica, Server, Task
from bgci.errors import BgciError, RolledBackError, UnhealthyError


def on_hold(step: Step) -> bool:
    return isinstance(step, Wait) and step.cause is Cause.HEALTH and "turned bad" in step.reason


def waits_for_two_replacements(world: World) -> bool:
    """Two tasks are started in the place of those that ended, and the run stays on hold."""
    world.restart()
    world.restart()
    return on_hold(world.look(2.0)) and not world.degraded


def fails(step: Step, ending: type[BgciError]) -> bool:
    return isinstance(step, Fail) and step.ending is ending


# Each with a step forward as its next one: the next wave; the commit; the growth of a bluegreen canary; its end.
FORWARD = {
    "rolling, next wave": (lambda: World(ROLLING, 2), Scale("/web-green", 3)),
    "rolling, placeholder": (
        lambda: World(ROLLING, 2, baseline=3, drained=1),
        Scale("/web-green", 3, placeholder=True),
    ),
    "bluegreen, commit": (lambda: World(Policy(), N, drained=N), Delete("/web-blue")),
    "bluegreen, growth": (lambda: World(Policy(), 1, drained=1), Scale("/web-green", N)),
    "canary": (lambda: World(Policy(), 2, kind=Kind.CANARY, drained=2), None),
}


@pytest.mark.parametrize("name", FORWARD)
def test_after_a_single_failure_a_run_takes_no_step_forward_until_the_revision_is_steady(name: str) -> None:
    make, forward = FORWARD[name]
    world = make()
    assert world.look() == forward or (forward is None and isinstance(world.look(), Done))
    assert on_hold(world.blip()), "the replacement serves"
    assert on_hold(world.look(STEADY - 0.1))
    after = world.look(STEADY)
    assert after == forward or (forward is None and isinstance(after, Done))
    assert not world.degraded


def test_a_placeholder_is_killed_alone_when_a_task_turns_bad_before_its_use() -> None:
    world = World(ROLLING, 2, baseline=3, drained=1)
    world.look()
    unstarted = Task("green.7", None, ever_healthy=False)
    world.canary = replace(world.canary, instances=3, tasks=(*world.canary.tasks, unstarted))
    assert world.look() == Kill(("blue.0", "green.7"))
    world.servers["green.0"] = DOWN  # HAProxy's check fails, Marathon's does not yet
    assert world.look(0.1) == Kill(("green.7",))


def test_the_role_order_is_not_restored_by_one_more_task_of_a_revision_that_turned_bad() -> None:
    world = World(replace(ROLLING, wave=2), 3)
    world.look()
    world.crash(0)
    world.look(0.1)
    world.restart()
    world.baseline = replace(world.baseline, last_scaling_at=world.now)  # a plain kill: the roles are swapped
    assert on_hold(world.look(1.0))


@pytest.mark.parametrize("policy", [Policy(), ROLLING], ids=["bluegreen", "rolling"])
@pytest.mark.parametrize("canaries", [2, 3])
def test_h61_a_second_task_that_fails_before_the_revision_has_recovered_causes_a_rollback(
    policy: Policy, canaries: int
) -> None:
    world = World(policy, canaries, drained=canaries if policy == Policy() else 0)
    world.look()
    assert on_hold(world.blip())
    world.look(3.0)
    world.crash(0)
    world.look(0.1)
    assert "2 tasks of /web-green turned bad after they were healthy" in world.degraded


def test_tasks_that_fail_at_the_same_time_are_one_incident() -> None:
    world = World(ROLLING, 3)
    world.look()
    world.crash(0)
    world.look(0.1)
    world.crash(0)
    world.look(TOGETHER - 0.1)
    assert not world.degraded
    assert waits_for_two_replacements(world)


@pytest.mark.parametrize("canaries", [1, 2, 3])
def test_a_repeatedly_failing_task_is_tolerated_equally_often_after_any_number_of_waves(canaries: int) -> None:
    world = World(ROLLING, canaries)
    world.look()
    for _ in range(TOLERATED):
        assert on_hold(world.blip(len(world.canary.tasks) - 1))
        assert not world.degraded
        world.look(5.0)
    world.crash(canaries - 1)  # again the one that was started last
    world.look(0.1)
    assert f"{TOLERATED + 1} tasks of /web-green turned bad" in world.degraded


def test_a_wave_of_two_tasks_that_fails_as_a_whole_for_the_second_time_causes_a_rollback() -> None:
    world = World(ROLLING, 2)
    world.look()
    world.crash(0)
    world.crash(0)
    world.look(0.5)
    assert waits_for_two_replacements(world)
    world.crash(0)
    world.look(5.0)
    assert "3 tasks of /web-green turned bad" in world.degraded


def test_a_task_that_fails_and_passes_its_checks_in_turn_causes_a_rollback() -> None:
    world = World(ROLLING, 3)
    world.look()
    (first, *others) = world.canary.tasks
    for _ in range(TOLERATED):
        world.canary = replace(world.canary, tasks=(replace(first, healthy=False), *others))
        world.look(4.0)
        world.canary = replace(world.canary, tasks=(first, *others))
        assert on_hold(world.look(2.0))
    world.servers[first.id] = DOWN
    world.look(4.0)
    assert "A task of /web-green turned bad after it was healthy, 3 times in all" in world.degraded


def test_too_many_failures_cause_a_rollback_even_if_the_revision_recovers_between_them() -> None:
    world = World(ROLLING, 2)
    world.look()
    for _ in range(N):
        world.blip()
        world.look(STEADY)
        assert not world.rollout.memory.hold
    world.crash(0)
    world.look(0.1)
    assert f"{N + 1} tasks of /web-green turned bad" in world.degraded


def test_a_revision_that_crash_loops_after_it_was_healthy_causes_a_rollback() -> None:
    world = World(Policy(), 1, drained=1)
    world.look()
    world.crash(0)
    world.servers["blue.0"] = UP  # marathon-lb has replaced it: all is in rotation
    for number in range(CRASHES):
        assert not world.degraded
        world.canary = replace(world.canary, failure=f"failure {number}")
        world.look(2.0)
    assert world.degraded


def test_tasks_that_end_after_their_first_check_and_before_they_are_in_rotation_cause_a_rollback() -> None:
    world = World(Policy(), 1)
    world.servers["green.0"] = ABSENT
    world.look()
    for _ in range(TOLERATED):
        world.crash(0)
        world.look(1.0)
        world.restart()
        world.servers.popitem()
        world.look(5.0)
        assert not world.degraded
    world.crash(0)
    world.look(1.0)
    assert f"{TOLERATED + 1} tasks of /web-green turned bad" in world.degraded


@pytest.mark.parametrize(("leave", "ending"), [(True, UnhealthyError), (False, None)], ids=["leave", "rollback"])
def test_a_revision_that_does_not_recover_ends_the_run_after_the_time_in_which_a_task_can_start(
    leave: bool, ending: type[BgciError] | None
) -> None:
    world = World(Policy(leave_degraded=leave), 2, drained=1)
    world.look()
    world.crash(0)
    world.look(1.0)
    assert isinstance(world.look(LIMIT - 1.0), Wait)
    step = world.look(1.0)
    if ending:
        assert fails(step, ending)
        assert f"It has not served for {STEADY:.0f} s without a failure, in {LIMIT:.0f} s." in str(step)
    else:
        assert f"in {LIMIT:.0f} s." in world.degraded


def test_fewer_in_rotation_than_before_for_five_seconds_still_cause_a_rollback() -> None:
    world = World(ROLLING, 2)
    world.look()
    world.crash(0)
    world.look(0.1)
    world.look(SHORT_LIMIT - 0.1)
    assert not world.degraded
    world.look(0.2)
    assert "A task of /web-green turned bad after it was healthy; 3 tasks of the group are in rotation." in (
        world.degraded
    )


def test_the_deadline_of_a_run_on_hold_is_that_of_a_revision_that_is_not_healthy() -> None:
    world = World(replace(ROLLING, timeout=20.0), 2, baseline=2)
    world.look()
    world.blip()
    step = world.look(20.0)
    assert fails(step, UnhealthyError)
    assert "Tasks of /web-green turned bad" in str(step)


def test_a_run_that_rolls_back_is_not_on_hold() -> None:
    world = World(ROLLING, 2)
    world.look()
    world.blip()
    world.crash(0)
    world.look(3.0)
    assert world.degraded
    world.restart()
    assert world.look(1.0) == Scale("/web-blue", N)
    world.rollout.performed(Scale("/web-blue", N))
    (gone, world.canary) = world.canary, replace(world.canary, tasks=(), instances=0)
    world.baseline = replace(app("blue", "v1", 1.0, N), last_scaling_at=world.now)
    world.servers = {task.id: UP for task in world.baseline.tasks}
    assert world.look(3.0) == Delete(gone.id)


def draining(canaries: int, launched: int) -> World:
    """A run that goes back: the growth of the baseline has swapped the roles, the canary is in MAINT, its first task
    fails."""
    world = World(ROLLING, canaries)
    world.look()
    world.blip()
    world.crash(0)
    world.look(3.0)
    assert world.degraded
    world.restart()
    baseline = app("blue", "v1", 1.0, N)
    deployments = ("d",) * (launched < N)
    world.baseline = replace(
        baseline, tasks=baseline.tasks[:launched], deployments=deployments, last_scaling_at=world.now
    )
    first, *others = world.canary.tasks
    world.canary = replace(world.canary, tasks=(replace(first, healthy=False), *others))
    world.servers = {task.id: UP for task in world.baseline.tasks} | {task.id: MAINT for task in others}
    return world


def test_a_task_of_a_bad_canary_that_drains_is_not_removed_alone_because_that_would_put_the_rest_in_rotation() -> None:
    world = draining(3, launched=N)
    assert isinstance(world.look(1.0), Delete), "all of it is drained"
    world.servers |= {world.canary.tasks[1].id: UP}
    step = world.look(1.0)
    assert isinstance(step, Wait)
    assert step.cause is Cause.LOAD_BALANCER


def test_a_task_of_a_bad_canary_that_drains_is_removed_alone_for_a_baseline_that_finds_no_room() -> None:
    world = draining(3, launched=N - 1)
    first, second, _ = world.canary.tasks
    world.servers |= {second.id: UP}
    waiting = world.look(1.0)
    assert isinstance(waiting, Wait)
    assert waiting.cause is Cause.HEALTH
    assert isinstance(world.look(ROOM_LIMIT), Wait)
    step = world.look(0.1)
    assert isinstance(step, Kill)
    assert first.id in step.task_ids
    assert second.id not in step.task_ids


def test_a_rolled_back_run_ends_with_10_and_the_reason() -> None:
    world = World(ROLLING, 2)
    world.look()
    world.blip()
    world.crash(0)
    world.look(3.0)
    observation = Observation(world.now + 5, (app("blue", "v1", 1.0, N),), (replica_of("blue", N),))
    step = world.rollout.decide(observation)
    assert fails(step, RolledBackError)
    assert "2 tasks of /web-green turned bad" in str(step)


def replica_of(colour: str, count: int) -> Replica:
    return Replica("http://lb", {f"{colour}.{n}": Server(UP) for n in range(count)}, worker=8, worker_started=1.0)


# -- ends of tasks that are not failures of the revision ---------------------------------------------------------------


def test_a_task_that_is_restarted_long_after_the_last_scaling_has_the_full_time_to_start() -> None:
    """A restart by an operator at the end of a long drain: the tasks' own time counts from then."""
    world = World(Policy(), N, drained=N)
    world.servers["blue.0"] = UP  # not drained yet
    world.look()
    world.look(600.0)
    world.canary = replace(world.canary, tasks=(), configured_at=world.now, deployments=("d",))
    world.servers = {task_id: UP for task_id in world.servers if task_id.startswith("blue")}
    assert isinstance(world.look(1.0), Wait)
    assert isinstance(world.look(LAUNCH_TIME), Wait)
    assert fails(world.look(HEALTH_TIME), UnhealthyError)


def test_a_new_leader_of_marathon_that_has_lost_all_health_results_late_in_a_drain_does_not_end_the_run() -> None:
    world = World(Policy(), N, drained=N)
    world.servers["blue.0"] = UP  # not drained yet
    world.look()
    world.look(600.0)
    good = world.canary
    world.canary = replace(good, tasks=tuple(replace(task, healthy=None) for task in good.tasks))
    assert isinstance(world.look(1.0), Wait)
    assert isinstance(world.look(LAUNCH_TIME), Wait)
    assert fails(world.look(HEALTH_TIME), UnhealthyError)


def test_a_canary_that_the_run_itself_has_deleted_has_not_turned_bad() -> None:
    world = World(Policy(), 2)
    world.look()
    alone = Observation(world.now + 1, (world.baseline,), (replica_of("blue", N),))
    world.rollout.decide(alone)
    world.canary = app("green", "v2", 2.0, 0)
    world.servers = {task.id: UP for task in world.baseline.tasks}
    world.look(2.0)
    assert not world.rollout.memory.turned_bad
    assert not world.rollout.memory.hold


def test_a_canary_that_the_run_creates_again_after_a_failure_is_on_hold() -> None:
    world = World(ROLLING, 2)
    world.look()
    world.blip()
    world.rollout.performed(Delete("/web-green"))  # such as after a swap of the roles by an operator
    world.rollout.decide(Observation(world.now + 600, (world.baseline,), (replica_of("blue", 2),)))
    world.rollout.performed(Create(1, swappable=True), world.canary)
    world.canary = app("green", "v2", 2000.0, 2)
    world.servers |= {task.id: UP for task in world.canary.tasks}
    assert on_hold(world.look(600.1))
    assert on_hold(world.look(STEADY - 0.1))
    assert world.look(0.1) == Scale("/web-green", 3)
