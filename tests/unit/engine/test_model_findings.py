"""States that the exhaustive model found (tests/model, docs/proof.md): in each an earlier rule did harm."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.engine.situations import app, look, waits_for

from bgci.engine import forecast
from bgci.engine.decisions import Cause, Create, Delete, Done, Fail, Goal, Kill, Kind, Policy, Scale, Step
from bgci.engine.memory import Memory
from bgci.engine.observation import Observation
from bgci.engine.preconditions import RETURN_LIMIT
from bgci.engine.rollout import Rollout


def decide(seen: Observation, kind: Kind, target: int, memory: Memory | None = None) -> Step:
    return Rollout(Goal(kind, "v2", target), Policy(), memory).decide(seen)


def test_drained_tasks_of_a_larger_baseline_stay_until_the_canary_is_in_rotation() -> None:
    """marathon-lb goes on draining one task of the baseline; without the drained one that is the serving one."""
    apps = app(0, 2, "HH", 1), app(1, 2, "sH", 1)
    assert waits_for(decide(look("MU", "sd", *apps), Kind.PROMOTE, 1), Cause.LOAD_BALANCER)
    assert decide(look("MU", "sU", *apps), Kind.PROMOTE, 1) == Kill(("blue.0", "green.0"))


def test_drained_tasks_of_a_larger_baseline_stay_while_an_instance_of_it_is_missing() -> None:
    """marathon-lb counts the instance that is missing, and drains a serving task for it."""
    apps = app(0, 3, "HH", 2), app(1, 2, "sH", 2)
    assert waits_for(decide(look("MU", "sU", *apps), Kind.ROLLBACK, 2), Cause.HEALTH)


def test_a_surplus_is_drained_once_the_other_tasks_are_in_rotation() -> None:
    alone = app(1, 2, "HH", 1)
    assert waits_for(decide(look("", "UM", alone), Kind.PROMOTE, 1), Cause.LOAD_BALANCER)
    assert decide(look("", "UU", alone), Kind.PROMOTE, 1) == Create(1, swappable=True, stand_in=True)


def test_a_surplus_that_is_not_launched_is_not_waited_for() -> None:
    assert decide(look("", "U", app(1, 2, "H", 1)), Kind.PROMOTE, 1) == Scale("green", 1)


def test_the_baseline_does_not_grow_while_a_canary_is_on_its_way_into_rotation() -> None:
    """Both would be in MAINT: a task of the baseline for the canary, and the canary for the growing baseline."""
    apps = app(0, 1, "H", 2), app(1, 1, "H", 2)
    assert waits_for(decide(look("U", ".", *apps), Kind.ROLLBACK, 2), Cause.DRAIN)


def test_the_roles_are_not_swapped_while_the_baseline_comes_back_from_maint() -> None:
    apps = app(0, 1, "H", 1), app(1, 1, "H", 2, base=1)
    seen = look("d", "U", *apps)
    assert waits_for(decide(seen, Kind.ROLLBACK, 2), Cause.LOAD_BALANCER)
    assert decide(look("U", "U", *apps), Kind.ROLLBACK, 2) == Scale("blue", 2)
    impatient = Memory(waiting=Cause.LOAD_BALANCER, waiting_since=0.0)
    assert decide(seen, Kind.ROLLBACK, 2, impatient) == Scale("blue", 2)  # a server that stays DOWN stops no rollback


def test_the_role_order_is_not_restored_while_that_would_drain_every_serving_task() -> None:
    """The last task of the baseline would be drained for a canary that comes back as DOWN."""
    apps = app(0, 1, "H", 2, last=3.0), app(1, 1, "H", 1, base=2)
    assert decide(look("U", "M", *apps), Kind.PROMOTE, 1) == Scale("blue", 2)


def test_the_role_order_is_not_restored_while_a_load_balancer_can_drain_the_canary_before_it() -> None:
    """It would drain the only task of the baseline in rotation, and the canary's would be DOWN for two checks."""
    apps = app(0, 2, "HH", 3, last=9.0), app(1, 3, "HHs", 3)
    assert decide(look("MU", "UUs", *apps), Kind.PROMOTE, 3) == Scale("blue", 3)
    assert decide(look("UUU", "MM", app(0, 3, "HHH", 4, last=9.0), app(1, 3, "HHs", 4)), Kind.PROMOTE, 4) == Kill(
        ("green.2",)
    )


def test_h70_a_kill_waits_while_a_killed_task_can_be_among_the_listed_ones() -> None:
    """``green.0`` of a canary of 4 was killed and is listed as running. A second kill of it would make Marathon stop
    ``green.1``, which serves."""
    baseline = app(0, 3, "HHH", 4)
    assert waits_for(decide(look("UUU", "sU", baseline, app(1, 3, "sH", 4)), Kind.ROLLBACK, 4), Cause.ROOM)
    launched = look("UUU", "sUs", baseline, app(1, 2, "sHs", 4))
    assert waits_for(decide(launched, Kind.ROLLBACK, 4), Cause.TASKS)
    ended = look("UUU", "Us", baseline, app(1, 2, "Hs", 4))
    assert decide(ended, Kind.ROLLBACK, 4) == Kill(("green.1",))


def test_h70_without_room_for_the_missing_instances_a_kill_waits_only_for_tasks_that_the_queue_shows_to_be_killed() -> (
    None
):
    """Of a canary of 3 two tasks are listed. With two more in the queue, one of these was killed before."""
    baseline, canary = app(0, 3, "HHH", 4), app(1, 3, "sH", 4)

    def after(queued: int | None) -> Step:
        seen = look("UUU", "sU", baseline, replace(canary, queued=queued))
        return decide(seen, Kind.ROLLBACK, 4, Memory(no_room=True))

    assert after(1) == Kill(("green.0",))
    assert waits_for(after(2), Cause.TASKS)
    assert waits_for(after(None), Cause.ROOM)


def test_h70_a_kill_is_not_confirmed_when_a_task_was_launched_since() -> None:
    """The tasks of the kill are as they were, but the app lists more than its instances now."""
    rollout = Rollout(Goal(Kind.ROLLBACK, "v2", 4), Policy())
    apps = app(0, 3, "HHH", 4), app(1, 2, "sH", 4)
    assert isinstance(step := rollout.decide(look("UUU", "sU", *apps)), Kill)
    assert rollout.confirms(step, apps)
    assert not rollout.confirms(step, (apps[0], app(1, 2, "sHs", 4)))
    assert not rollout.confirms(step, (apps[0], replace(apps[1], instances=3)))


def test_h70_a_goal_is_not_done_while_its_serving_task_may_have_been_killed() -> None:
    """Of a revision of one instance both tasks are listed: the one in rotation may be the one that ends."""
    alone = app(1, 1, "Hs", 1)
    assert waits_for(decide(look("", "U", alone), Kind.PROMOTE, 1), Cause.TASKS)
    assert waits_for(decide(look("", "U", replace(alone, instances=0)), Kind.PROMOTE, 2), Cause.TASKS)
    assert isinstance(decide(look("", "U", app(1, 1, "H", 1)), Kind.PROMOTE, 1), Done)


def test_a_plain_kill_waits_until_the_tasks_that_an_earlier_one_returned_are_in_rotation_again() -> None:
    """Each plain kill swaps the roles, and takes half of the serving tasks out of rotation for two checks."""
    apps = app(0, 3, "HHH", 4), app(1, 3, "HH", 4)

    def after(canary: str) -> Step:
        goal, policy = Goal(Kind.PROMOTE, "v2", 4), Policy("rolling")
        return Rollout(goal, policy, Memory(no_room=True)).decide(look("MUU", canary, *apps))

    assert waits_for(after("dU"), Cause.LOAD_BALANCER)
    assert after("UU") == Kill(("blue.0",))


def test_a_rollback_continues_beside_an_instance_for_which_there_is_no_room() -> None:
    """marathon-lb counts the instance that is not launched, and has only one task of the canary to drain."""
    apps = app(0, 2, "HH", 2), replace(app(1, 2, "H", 2), queued=1)
    seen = look("MU", "U", *apps)
    assert waits_for(decide(seen, Kind.ROLLBACK, 2), Cause.ROOM)
    assert decide(seen, Kind.ROLLBACK, 2, Memory(no_room=True)) == Kill(("blue.0",))


def test_a_rollback_without_room_goes_on_beside_a_canary_that_stays_down_after_a_minute() -> None:
    """One of its tasks is DOWN, and its third instance never starts: only the other task can be lost."""
    apps = app(0, 3, "HHH", 3), replace(app(1, 3, "HH", 3), queued=1)
    rollout = Rollout(Goal(Kind.ROLLBACK, "v2", 3), Policy(), Memory(no_room=True))
    seen = look("MMU", "dU", *apps)
    assert waits_for(rollout.decide(seen), Cause.LOAD_BALANCER)
    assert rollout.decide(replace(seen, now=seen.now + RETURN_LIMIT)) == Kill(("blue.0", "blue.1"))


def test_h70_no_role_order_is_restored_and_no_surplus_drained_while_a_killed_task_is_listed_as_running() -> None:
    swapped = app(0, 1, "HH", 2, last=9.0), app(1, 2, "HH", 2)
    assert waits_for(decide(look("UU", "MM", *swapped), Kind.PROMOTE, 2), Cause.TASKS)
    alone = app(1, 3, "HHHH", 2)
    assert waits_for(decide(look("", "UUUU", alone), Kind.PROMOTE, 2), Cause.TASKS)


def test_without_room_the_role_order_is_restored_when_killed_tasks_have_ended() -> None:
    baseline, canary = app(0, 1, "HH", 3, last=9.0), app(1, 3, "HHH", 3)
    ending = replace(baseline, tasks=(baseline.tasks[0], replace(baseline.tasks[1], dying=True)))
    memory = Memory(no_room=True)
    assert waits_for(decide(look("U.", "UUU", ending, canary), Kind.PROMOTE, 3, memory), Cause.TASKS)
    ended = app(0, 1, "H", 3, last=9.0)
    assert decide(look("U", "UUM", ended, canary), Kind.PROMOTE, 3, memory) == Scale("green", 4, placeholder=True)


def test_without_room_the_run_goes_back_only_when_the_load_balancers_have_followed_the_swap() -> None:
    """The baseline would wait for room, or begin the release again in a circle."""
    apps = app(0, 1, "H", 3, last=9.0), app(1, 3, "HHH", 3)
    rollout = Rollout(Goal(Kind.PROMOTE, "v2", 3), Policy("rolling"), Memory(no_room=True))
    behind = look("U", "MM.", *apps)
    assert waits_for(rollout.decide(behind), Cause.LOAD_BALANCER)
    assert decide(look("U", "MUU", *apps), Kind.PROMOTE, 3, Memory(no_room=True)) == Scale("green", 4, placeholder=True)
    assert rollout.decide(replace(behind, now=behind.now + RETURN_LIMIT)) == Scale("blue", 3)


def test_the_swap_of_an_earlier_canary_does_not_excuse_a_new_one() -> None:
    rollout = Rollout(Goal(Kind.PROMOTE, "v2", 2), Policy())
    rollout.decide(look("UU", "UU", app(0, 2, "HH", 2, last=9.0), app(1, 2, "HH", 2)))
    rollout.decide(look("UU", "", app(0, 2, "HH", 2, last=9.0)))
    new = replace(app(1, 2, "HH", 2, last=10.0), started_at=10.0)
    rollout.decide(look("UU", "UU", app(0, 2, "HH", 2, last=9.0), new))
    rollout.decide(look("UU", "dU", app(0, 2, "HH", 2, last=9.0), new))
    assert rollout.memory.turned_bad == {"green.0"}


def test_without_room_no_plain_kill_takes_most_of_the_serving_tasks_out_of_rotation() -> None:
    """marathon-lb would drain four of six tasks; beside the larger baseline two of three, and then the last one."""
    rolling, no_room = Policy("rolling", wave=3), Memory(no_room=True)
    six = look("MMMUUU", "UUU", app(0, 6, "HHHHHH", 6), app(1, 4, "HHH", 6))
    assert waits_for(Rollout(Goal(Kind.PROMOTE, "v2", 6), rolling, no_room).decide(six), Cause.ROOM)
    larger = look("MUU", "U", app(0, 3, "HHH", 2, base=3), app(1, 2, "H", 1, base=3))
    assert waits_for(Rollout(Goal(Kind.PROMOTE, "v2", 1), Policy(), no_room).decide(larger), Cause.ROOM)


def test_a_swap_of_this_run_excuses_a_server_that_is_down_after_the_order_is_restored() -> None:
    rollout = Rollout(Goal(Kind.PROMOTE, "v2", 3), Policy())
    baseline = app(0, 2, "HH", 3, last=9.0)
    step = rollout.decide(look("UU", "UM", baseline, app(1, 2, "HH", 3)))
    assert step == Scale("green", 3, placeholder=True)
    rollout.performed(step)
    rollout.decide(look("UU", "dU", baseline, app(1, 3, "HH", 3, last=10.0)))
    assert rollout.memory.turned_bad == set()


def test_a_server_that_is_down_after_the_roles_were_swapped_has_not_turned_bad() -> None:
    """By the plain kill of this run: the load balancer had it in MAINT and released it between two observations."""
    for last, bad in ((0.0, True), (9.0, False)):
        rollout = Rollout(Goal(Kind.PROMOTE, "v2", 3), Policy())
        rollout.decide(look("UU", "UU", app(0, 2, "HH", 3, last=last), app(1, 2, "HH", 3)))
        rollout.decide(look("UU", "dU", app(0, 2, "HH", 3, last=last), app(1, 2, "HH", 3)))
        assert bool(rollout.memory.turned_bad) is bad


def test_more_tasks_than_instances_are_not_missing_instances() -> None:
    """After a second kill of one task, which counts twice (hazard 21)."""
    apps = app(0, 1, "H", 2), app(1, 0, "H", 2, base=2)
    assert decide(look("U", "U", *apps), Kind.ROLLBACK, 2) == Scale("blue", 2)


# -- rules that the other tests do not reach ---------------------------------------------------------------------------


def test_a_rollback_with_cut_deletes_the_canary_while_the_baseline_is_in_rotation() -> None:
    cut = Policy(cut=True)
    goal = Goal(Kind.ROLLBACK, "v2", 2)
    apps = app(0, 2, "HH", 2), app(1, 1, "H", 2)
    assert Rollout(goal, cut).decide(look("MU", "U", *apps)) == Delete("green")
    drains = Rollout(goal, cut).decide(look("MM", "UU", apps[0], app(1, 2, "HH", 2)))
    assert drains == Scale("green", 3, placeholder=True)
    smaller = app(0, 1, "H", 2), app(1, 1, "H", 2)
    assert Rollout(goal, cut).decide(look("U", "U", *smaller)) == Scale("blue", 2)


def test_a_canary_that_turned_bad_is_deleted_after_the_baseline_has_its_size_again() -> None:
    bad = Memory(degraded="It turned bad.")
    small = app(0, 1, "H", 2), app(1, 1, "H", 2)
    assert decide(look("U", "d", *small), Kind.PROMOTE, 2, bad) == Scale("blue", 2)
    one_serves = app(0, 2, "HH", 2), app(1, 2, "HH", 2)
    assert decide(look("UM", "dU", *one_serves), Kind.PROMOTE, 2, bad) == Kill(("green.0",))
    whole = app(0, 2, "HH", 2), app(1, 1, "H", 2)
    assert decide(look("UU", "d", *whole), Kind.PROMOTE, 2, bad) == Delete("green")


def test_the_role_order_is_restored_by_a_canary_that_is_not_in_use_or_not_launched() -> None:
    baseline = app(0, 3, "HHH", 4, last=3.0)
    assert decide(look("UUU", "M", baseline, app(1, 2, "Hs", 4)), Kind.PROMOTE, 4) == Kill(("green.1",))
    assert waits_for(decide(look("UUU", "M", baseline, app(1, 2, "H", 4)), Kind.PROMOTE, 4), Cause.ROOM)


def test_a_revision_alone_that_left_rotation_ends_the_run() -> None:
    alone = app(1, 1, "H", 1)
    run = Rollout(Goal(Kind.PROMOTE, "v2", 1), Policy())
    run.decide(replace(look("", "U", alone), settings_differ=True))
    assert waits_for(run.decide(replace(look("", "d", alone), now=101.0)), Cause.LOAD_BALANCER)
    ended = run.decide(replace(look("", "d", alone), now=104.0))
    assert isinstance(ended, Fail)
    assert "none of its tasks is in rotation any more" in ended.message


def test_a_plan_that_is_too_long_is_truncated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "MOST_STEPS", 2)
    plan = forecast.forecast(Goal(Kind.PROMOTE, "v2", 2), Policy(), look("UU", "", app(0, 2, "HH", 2)), "green")
    assert plan.end is None
