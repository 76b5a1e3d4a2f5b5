"""The memory of one run: timers, deadlines, reload requests, and the confirmation before a kill."""

from __future__ import annotations

from dataclasses import replace

from bgci.engine.decisions import Cause, Create, Delete, Fail, Goal, Kill, Kind, Policy, Scale, Wait
from bgci.engine.memory import ROOM_LIMIT
from bgci.engine.observation import App, Observation, Replica, Server, Serving, Task
from bgci.engine.rollout import RELOAD_AFTER, Rollout
from bgci.errors import ConflictError, UnavailableError, UnhealthyError

PROMOTE = Goal(Kind.PROMOTE, "v2", target=4)


def tasks(app_id: str, count: int, healthy: bool | None = True) -> tuple[Task, ...]:
    return tuple(Task(f"{app_id}.{n}", healthy, ever_healthy=bool(healthy)) for n in range(count))


BASELINE = App("blue", 4, tasks("blue", 4), "v1", target=4, swappable=True, started_at=1.0, last_scaling_at=1.0)
CANARY = App("green", 1, tasks("green", 1), "v2", None, 4, True, 4, started_at=2.0, last_scaling_at=2.0)


def at(now: float, *apps: App, maint: tuple[str, ...] = (), up: bool = True) -> Observation:
    healthy = [task.id for app in apps for task in app.healthy]
    servers = {name: Server(Serving.MAINT if name in maint else Serving.UP) for name in healthy if up}
    return Observation(now, apps, (Replica("lb", servers),))


def test_missing_room_is_remembered_for_the_whole_run() -> None:
    rollout = Rollout(PROMOTE, Policy("rolling"))
    asked = replace(CANARY, instances=2, deployments=("d",))
    first = at(0.0, BASELINE, asked, maint=("blue.0",))
    assert isinstance(rollout.decide(first), Wait)
    assert isinstance(rollout.decide(replace(first, now=ROOM_LIMIT)), Wait)
    assert rollout.decide(replace(first, now=ROOM_LIMIT + 1)) == Kill(("blue.0",))
    smaller = replace(BASELINE, instances=3, tasks=BASELINE.tasks[1:])
    later = replace(CANARY, instances=3, tasks=tasks("green", 2), deployments=("d",))
    second = at(ROOM_LIMIT + 2, smaller, later, maint=("blue.1",))
    assert rollout.decide(second) == Kill(("blue.1",))


def test_a_killed_task_that_ends_slowly_is_not_taken_for_missing_room() -> None:
    rollout = Rollout(PROMOTE, Policy("rolling"))
    ending = replace(BASELINE, instances=3, last_scaling_at=2.0)
    for now in (0.0, 60.0):
        step = rollout.decide(at(now, ending, CANARY, maint=("blue.0",)))
        assert isinstance(step, Wait)
        assert step.cause is Cause.TASKS
    assert not rollout.memory.no_room


def test_h38_a_lagging_load_balancer_is_asked_to_reload_repeatedly() -> None:
    rollout = Rollout(PROMOTE, Policy())
    lagging = replace(CANARY, instances=4, tasks=tasks("green", 4))
    times = (0.0, RELOAD_AFTER - 1, RELOAD_AFTER, RELOAD_AFTER + 1, 2 * RELOAD_AFTER)
    steps = [rollout.decide(at(now, lagging, up=False)) for now in times]
    assert [isinstance(step, Wait) and step.request_reload for step in steps] == [False, False, True, False, True]


def test_a_deadline_ends_with_the_cause_of_the_wait() -> None:
    starting = replace(CANARY, instances=4, tasks=tasks("green", 4, None))
    failing = replace(starting, trouble="health check failing (500)", complaint="health check failing (500)")
    rollout = Rollout(PROMOTE, Policy(timeout=10.0))
    assert isinstance(rollout.decide(at(0.0, failing)), Wait)
    step = rollout.decide(at(10.0, starting))
    assert isinstance(step, Fail)
    assert step.ending is UnhealthyError
    assert "Timed out after 10 s" in step.message
    assert "health check failing (500)" in step.message, "the last complaint, although a restart took it away"


def test_marathon_out_of_reach_until_the_deadline_is_unavailable() -> None:
    rollout = Rollout(PROMOTE, Policy(timeout=10.0))
    rollout.decide(at(0.0))
    assert isinstance(rollout.unreachable(9.0, "Marathon does not answer."), Wait)
    step = rollout.unreachable(10.0, "Marathon does not answer.")
    assert isinstance(step, Fail)
    assert step.ending is UnavailableError


def test_a_kill_is_confirmed_by_the_same_tasks_in_the_same_state() -> None:
    rollout = Rollout(PROMOTE, Policy())
    rollout.decide(at(0.0, BASELINE, CANARY))
    step = Kill(("blue.0", "green.0"))
    assert rollout.needs_confirmation(step) == ("blue", "green")
    assert rollout.confirms(step, (BASELINE, CANARY))
    gone = replace(BASELINE, tasks=BASELINE.tasks[1:])
    sick = replace(CANARY, tasks=tasks("green", 1, False))
    assert not rollout.confirms(step, (gone, CANARY))
    assert not rollout.confirms(step, (BASELINE, sick))


def test_a_delete_is_confirmed_by_both_apps_as_they_were() -> None:
    rollout = Rollout(PROMOTE, Policy())
    rollout.decide(at(0.0, BASELINE, CANARY))
    step = Delete("blue")
    assert rollout.needs_confirmation(step) == ("blue", "green")
    assert rollout.confirms(step, (BASELINE, CANARY))
    assert not rollout.confirms(step, (replace(BASELINE, tasks=tasks("blue", 5)), CANARY))
    assert not rollout.confirms(step, (replace(BASELINE, instances=5), CANARY))
    assert not rollout.confirms(step, (replace(BASELINE, configured_at=7.0), CANARY))
    assert not rollout.confirms(step, (BASELINE,)), "the app that would serve alone was deleted"
    assert not rollout.confirms(step, (BASELINE, replace(CANARY, tasks=tasks("green", 1, False))))


def test_a_scale_needs_no_confirmation() -> None:
    rollout = Rollout(PROMOTE, Policy())
    rollout.decide(at(0.0, BASELINE, CANARY))
    assert rollout.needs_confirmation(Scale("green", 4)) == ()


def test_a_killed_task_counts_as_dying_only_once_marathon_has_accepted_the_kill() -> None:
    rollout = Rollout(PROMOTE, Policy("rolling"))
    rollout.decide(at(0.0, BASELINE, CANARY))
    rollout.performed(Kill(("blue.0",)))
    (app,) = rollout.memory.recall((BASELINE,))
    assert [task.dying for task in app.tasks] == [True, False, False, False]


def test_a_marathon_that_accepts_a_step_and_does_nothing_meets_the_deadline() -> None:
    rollout = Rollout(PROMOTE, Policy(timeout=10.0))
    steps = []
    for tenth in range(200):
        step = rollout.decide(at(tenth / 10, BASELINE))
        steps.append(step)
        if isinstance(step, Fail):
            break
        if not isinstance(step, Wait):
            rollout.performed(step)
    asked = [step for step in steps if not isinstance(step, Wait | Fail)]
    assert {type(step) for step in asked} == {Create}
    assert 2 <= len(asked) <= 11, "asked again, but not with every look"
    assert isinstance(steps[-1], Fail)
    assert steps[-1].ending is UnavailableError


def test_h20_a_lock_is_waited_for_until_the_deadline_and_is_then_a_conflict() -> None:
    rollout = Rollout(PROMOTE, Policy(timeout=60.0))
    rollout.decide(at(0.0, BASELINE))
    waits = rollout.locked(1.0, "blue is locked by deployment d")
    assert isinstance(waits, Wait)
    assert waits.cause is Cause.LOCK
    ended = rollout.locked(61.0, "blue is locked by deployment d")
    assert isinstance(ended, Fail)
    assert ended.ending is ConflictError
    assert "deployment d" in ended.message
