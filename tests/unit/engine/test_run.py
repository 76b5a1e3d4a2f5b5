"""One run from its first observation to its end: deadlines, early ends, reload requests, confirmations."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.engine.situations import (
    BLUEGREEN,
    PROMOTE,
    ROLLBACK,
    ROLLING,
    baseline,
    canary,
    decide,
    seen,
    tasks,
    waits_for,
    with_server,
)

from bgci.engine.decisions import Cause, Create, Delete, Done, Fail, Kill, Policy, Scale, Wait
from bgci.engine.early_end import FIRST_ANSWER, LAUNCH_TIME, OUTAGE
from bgci.engine.memory import Memory
from bgci.engine.observation import Observation, Replica, Server, Serving, Task
from bgci.engine.rollout import RELOAD_AFTER, UNANSWERED_LIMIT, Rollout
from bgci.errors import RolledBackError, UnavailableError, UnhealthyError

DEAF = Replica("lb1", problem="connection refused")


def later(observation: Observation, seconds: float) -> Observation:
    return replace(observation, now=observation.now + seconds)


# -- the end ----------------------------------------------------------------------------------------------------------


def test_a_rollback_that_restores_the_baseline_ends_well_and_a_promotion_that_does_so_does_not() -> None:
    """The job of a rollback is green when the baseline serves again."""
    alone, bad = seen(baseline()), Memory(degraded="It does not serve.")
    assert isinstance(decide(alone, ROLLBACK, BLUEGREEN, bad), Done)
    step = decide(alone, PROMOTE, BLUEGREEN, bad)
    assert isinstance(step, Fail)
    assert step.ending is RolledBackError


def test_a_revision_that_turns_bad_ends_a_run_that_knows_no_baseline() -> None:
    """There is nothing to restore: the run must tell so at once, not go back to nothing."""
    rollout = Rollout(PROMOTE, BLUEGREEN, Memory())
    drained = seen(baseline(), canary(4), out=tuple(task.id for task in baseline().tasks), settings_differ=True)
    assert rollout.decide(drained) == Delete("blue")
    rollout.performed(Delete("blue"))
    rollout.memory = replace(rollout.memory, kept=None)
    down = {task.id: Server(Serving.DOWN) for task in canary(4).tasks}
    reloaded = tuple(Replica(f"lb{n}", down, worker=9, worker_started=101.0) for n in (0, 1))
    step = rollout.decide(seen(canary(4), replicas=reloaded, now=103.0))
    assert isinstance(step, Fail)
    assert step.ending is UnhealthyError


# -- deadlines and answers --------------------------------------------------------------------------------------------


def test_the_timeout_counts_from_the_first_observation() -> None:
    """Not from an attempt before it in which Marathon did not answer, and not from the epoch."""
    rollout = Rollout(PROMOTE, Policy(timeout=10.0))
    assert isinstance(rollout.unreachable(1000.0, "No answer."), Wait)
    assert isinstance(rollout.decide(seen(baseline(), now=1005.0)), Create)
    assert isinstance(rollout.unreachable(1014.9, "No answer."), Wait)
    assert isinstance(rollout.unreachable(1015.0, "No answer."), Fail)


def test_marathon_that_does_not_answer_to_steps_ends_the_run_a_minute_after_the_first_of_them() -> None:
    rollout = Rollout(PROMOTE, BLUEGREEN)
    rollout.decide(seen(baseline()))
    for now in (1000.0, 1030.0, 999.9 + UNANSWERED_LIMIT):
        assert isinstance(rollout.unanswered(now, "503", Scale("green", 4)), Wait)
    assert isinstance(rollout.unanswered(1000.0 + UNANSWERED_LIMIT, "503", Scale("green", 4)), Fail)


def test_a_step_without_an_answer_may_have_been_performed_or_not() -> None:
    """Either state is the run's own work, so that neither ends it as an outside change."""
    for instances in (2, 4):
        rollout = Rollout(PROMOTE, BLUEGREEN)
        step = rollout.decide(seen(canary(2)))
        assert step == Scale("green", 4)
        rollout.unanswered(100.5, "503", step)
        assert not isinstance(rollout.decide(seen(canary(instances), now=101.0)), Fail)
    assert isinstance(Rollout(PROMOTE, BLUEGREEN).unanswered(0.0, "503", Kill(("blue.0",))), Wait), "nothing was seen"


# -- early ends -------------------------------------------------------------------------------------------------------


def test_a_rollback_is_not_ended_early_by_a_baseline_that_starts_slowly() -> None:
    """Only the timeout ends it: users have nothing else."""
    rollout = Rollout(ROLLBACK, BLUEGREEN)
    starting = seen(baseline(4, tasks=tasks("blue", 2), deployments=("d",)))
    for seconds in (0.0, LAUNCH_TIME, 10 * LAUNCH_TIME):
        assert waits_for(rollout.decide(later(starting, seconds)), Cause.HEALTH)


def test_a_rollback_is_not_ended_early_by_its_canary_either() -> None:
    rollout = Rollout(ROLLBACK, BLUEGREEN)
    swapped = baseline(4, tasks=tasks("blue", 3), last_scaling_at=3.0, deployments=("d",))
    sick = seen(swapped, canary(2, tasks=(Task("green.0", True), Task("green.1", None, ever_healthy=False))))
    for seconds in (0.0, LAUNCH_TIME, 10 * LAUNCH_TIME):
        assert waits_for(rollout.decide(later(sick, seconds)), Cause.HEALTH)


def test_a_canary_that_is_complete_is_not_blamed_for_a_baseline_that_starts_slowly() -> None:
    """The run goes back to the begin of the release, after an operator has scaled the baseline."""
    rollout = Rollout(PROMOTE, BLUEGREEN)
    swapped = seen(baseline(4, tasks=tasks("blue", 3), last_scaling_at=3.0, deployments=("d",)), canary(1))
    for seconds in (0.0, LAUNCH_TIME, 2 * LAUNCH_TIME):
        assert waits_for(rollout.decide(later(swapped, seconds)), Cause.HEALTH)


@pytest.mark.parametrize(
    ("launched", "where"),
    [(1, "the tasks of green"), (0, "the cluster's free resources and the constraints of green")],
    ids=["starting", "not launched"],
)
def test_a_start_without_progress_tells_where_to_look(launched: int, where: str) -> None:
    rollout = Rollout(PROMOTE, BLUEGREEN)
    starting = tuple(Task(f"green.{n}", None, ever_healthy=False) for n in range(launched))
    waiting = seen(baseline(), canary(4, tasks=starting, deployments=("d",)))
    rollout.decide(waiting)
    step = rollout.decide(later(waiting, LAUNCH_TIME))
    assert isinstance(step, Fail)
    assert step.remedy.startswith(f"Look at {where}, ")


def test_a_second_load_balancer_that_never_answered_ends_the_run_although_the_first_one_does() -> None:
    rollout = Rollout(PROMOTE, BLUEGREEN)
    half = seen(baseline())
    half = replace(half, replicas=(half.replicas[0], DEAF))
    assert isinstance(rollout.decide(half), Wait)
    step = rollout.decide(later(half, FIRST_ANSWER))
    assert isinstance(step, Fail)
    assert step.ending is UnavailableError


def test_a_revision_alone_ends_the_run_only_when_it_is_healthy_and_out_of_rotation_for_two_seconds() -> None:
    """Tasks that Marathon replaces are out of rotation until they are healthy, and HAProxy checks them then."""
    down = tuple(Replica(name, {t.id: Server(Serving.DOWN) for t in canary(4).tasks}) for name in ("lb0", "lb1"))
    run = Rollout(PROMOTE, BLUEGREEN)
    run.decide(seen(canary(4), settings_differ=True, now=90.0))
    fallen = seen(canary(4), replicas=down, now=100.0)
    assert waits_for(run.decide(fallen), Cause.LOAD_BALANCER)
    starting = replace(fallen, apps=(canary(4, tasks=(*tasks("green", 3), Task("green.4", None, ever_healthy=False))),))
    assert not isinstance(run.decide(later(starting, 5.0)), Fail)
    assert isinstance(run.decide(later(fallen, OUTAGE + 4.0)), Fail)


def test_a_revision_alone_of_which_one_task_fell_out_of_rotation_is_waited_for() -> None:
    """The rest of it serves, and HAProxy's check may pass again."""
    run = Rollout(PROMOTE, BLUEGREEN)
    run.decide(seen(canary(4), settings_differ=True))
    fallen = with_server(seen(canary(4)), "green.1", Server(Serving.DOWN))
    for seconds in (1.0, OUTAGE + 1.0):
        assert waits_for(run.decide(later(fallen, seconds)), Cause.LOAD_BALANCER)


@pytest.mark.parametrize(("shown", "named"), [("", 1), ("exit code 1", 1)], ids=["restarted", "still failing"])
def test_the_last_complaint_of_a_health_check_is_named_once(shown: str, named: int) -> None:
    rollout = Rollout(PROMOTE, Policy(timeout=10.0))
    starting = canary(4, tasks=tasks("green", 4, healthy=None, ever_healthy=False))
    rollout.decide(seen(replace(starting, trouble="exit code 1", complaint="exit code 1")))
    step = rollout.decide(seen(replace(starting, trouble=shown), now=110.0))
    assert isinstance(step, Fail)
    assert step.message.count("exit code 1") == named


def test_a_complaint_is_not_named_in_a_wait_for_something_else() -> None:
    rollout = Rollout(PROMOTE, Policy(timeout=10.0))
    rollout.decide(seen(canary(4, complaint="exit code 1")))
    step = rollout.decide(seen(canary(4), out=("green.0",), now=110.0))
    assert isinstance(step, Fail)
    assert "exit code 1" not in step.message


# -- requests ---------------------------------------------------------------------------------------------------------


def test_h38_a_load_balancer_is_asked_to_reload_only_after_a_wait_for_it() -> None:
    """A reload costs every app of the cluster older workers that live as long as their sessions."""
    lagging, starting = seen(canary(4), out=("green.0",)), seen(canary(4, tasks=tasks("green", 3)))
    rollout = Rollout(PROMOTE, BLUEGREEN)
    rollout.decide(starting)
    for observation, cause in (
        (later(lagging, RELOAD_AFTER), Cause.LOAD_BALANCER),
        (later(starting, 30), Cause.HEALTH),
    ):
        step = rollout.decide(observation)
        assert isinstance(step, Wait)
        assert (step.cause, step.request_reload) == (cause, False)


def test_h38_no_reload_is_requested_while_another_event_is_awaited() -> None:
    rollout = Rollout(PROMOTE, BLUEGREEN)
    starting = seen(canary(4, tasks=tasks("green", 3)))
    for seconds in (0.0, RELOAD_AFTER, 2 * RELOAD_AFTER):
        step = rollout.decide(later(starting, seconds))
        assert isinstance(step, Wait)
        assert not step.request_reload


# -- confirmations ----------------------------------------------------------------------------------------------------


def test_a_kill_is_confirmed_although_the_other_app_and_the_other_tasks_have_changed() -> None:
    """A cluster in which tasks come and go would never confirm it."""
    rollout = Rollout(PROMOTE, BLUEGREEN)
    apps = baseline(), canary(2)
    rollout.decide(seen(*apps))
    step = Kill(("blue.0",))
    assert rollout.needs_confirmation(step) == ("blue",)
    assert rollout.confirms(step, (apps[0], canary(3)))
    sick = (*apps[0].tasks[:3], Task("blue.3", False))
    assert rollout.confirms(step, (replace(apps[0], tasks=sick), apps[1]))
    assert Rollout(PROMOTE, BLUEGREEN).needs_confirmation(step) == (), "nothing was observed"


def test_a_deletion_is_confirmed_by_the_tasks_of_the_deleted_app() -> None:
    rollout = Rollout(PROMOTE, BLUEGREEN)
    apps = baseline(), canary(2)
    rollout.decide(seen(*apps))
    other = (Task("blue.new", True), *apps[0].tasks[1:])
    assert not rollout.confirms(Delete("blue"), (replace(apps[0], tasks=other), apps[1]))
    replaced = (Task("green.new", True), apps[1].tasks[1])
    assert rollout.confirms(Delete("blue"), (apps[0], replace(apps[1], tasks=replaced)))
    assert rollout.confirms(Scale("green", 4), ()), "it stops no task"


@pytest.mark.parametrize(
    ("deployments", "healthy", "force"), [(("d",), None, True), ((), None, False)], ids=["waits", "no deployment"]
)
def test_a_kill_cancels_the_deployment_that_waits_for_its_task(
    deployments: tuple[str, ...], healthy: bool | None, force: bool
) -> None:
    """Marathon refuses it otherwise, and with force it would also cancel a deployment of somebody else."""
    unused = Task("green.9", healthy, ever_healthy=False)
    surplus = canary(5, tasks=(*tasks("green", 4), unused), deployments=deployments)
    assert decide(seen(surplus), PROMOTE, BLUEGREEN) == Kill(("green.9",), force=force)


def test_a_kill_does_not_cancel_a_deployment_that_waits_for_no_health() -> None:
    """Such as one of an operator who has changed the baseline: all of its tasks are healthy."""
    launched = canary(2, tasks=(*tasks("green", 1), Task("green.9", None, ever_healthy=False)))
    step = decide(seen(baseline(deployments=("d",)), launched, out=("blue.0",)), PROMOTE, ROLLING)
    assert step == Kill(("blue.0", "green.9"), force=False)
