"""Automatic rollbacks and early ends of a run: a revision that turns bad, settings that do not serve, no progress."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bgci.engine.decisions import Cause, Delete, Done, Fail, Goal, Kind, Policy, Restore, Scale, Step, Wait
from bgci.engine.memory import FOLLOW_LIMIT, Memory
from bgci.engine.observation import App, Observation, Replica, Server, Serving, Task
from bgci.engine.rollout import UNANSWERED_LIMIT, Rollout
from bgci.errors import BgciError, ConflictError, RolledBackError, UnavailableError, UnhealthyError

PROMOTE = Goal(Kind.PROMOTE, "v2", target=2)
UP, DOWN, MAINT = Serving.UP, Serving.DOWN, Serving.MAINT


def app(colour: str, revision: str, started_at: float, count: int = 2, **fields: object) -> App:
    tasks = tuple(Task(f"{colour}.{n}", True) for n in range(count))
    shown = App(f"/web-{colour}", count, tasks, revision, colour, 2, True, None, started_at, False, started_at)
    return replace(shown, check_window=8.0, health_time=30.0, **fields)  # type: ignore[arg-type]


BLUE, GREEN = app("blue", "v1", 1.0), app("green", "v2", 2.0, baseline_instances=2)


def at(now: float, *apps: App, blue: Serving | None = UP, green: Serving | None = UP, **fields: object) -> Observation:
    states = {"blue": blue, "green": green}
    servers = {task.id: Server(state) for one in apps for task in one.tasks if (state := states[task.id.split(".")[0]])}
    worker = {"worker": 7, "worker_started": 1.0, **fields}
    settings_differ = bool(worker.pop("settings_differ", False))
    return Observation(now, apps, (Replica("http://lb", servers, **worker),), settings_differ)  # type: ignore[arg-type]


def fails(step: Step, ending: type[BgciError]) -> bool:
    return isinstance(step, Fail) and step.ending is ending


def committed(policy: Policy = Policy(), *, changed: bool = True) -> Rollout:  # noqa: B008 - frozen
    """A promote that has just deleted its baseline, at 100 s, with worker 7 in charge."""
    rollout = Rollout(PROMOTE, policy)
    rollout.decide(at(99.0, BLUE, settings_differ=changed))
    step = rollout.decide(at(100.0, BLUE, GREEN, blue=MAINT, settings_differ=changed))
    assert step == Delete("/web-blue")
    rollout.performed(Delete("/web-blue"))
    return rollout


# -- done under the final configuration -------------------------------------------------------------------------------


def test_the_proof_waits_for_a_load_balancer_without_a_reload_since_the_commit() -> None:
    step = committed().decide(at(101.0, GREEN))
    assert isinstance(step, Wait)
    assert step.cause is Cause.LOAD_BALANCER


def test_the_proof_waits_until_the_servers_of_the_baseline_are_gone() -> None:
    step = committed().decide(at(101.0, GREEN, worker=8, worker_started=100.5, others=("10_0_0_1_31000",)))
    assert isinstance(step, Wait)
    assert "not /web-green's" in step.reason


def test_the_proof_of_new_settings_lasts_as_long_as_haproxy_needs_to_find_a_failing_server() -> None:
    rollout = committed()
    for now in (101.0, 108.4):
        step = rollout.decide(at(now, GREEN, worker=8, worker_started=100.5))
        assert isinstance(step, Wait)
        assert step.cause is Cause.PROOF
    assert isinstance(rollout.decide(at(108.5, GREEN, worker=8, worker_started=100.5)), Done)


def test_a_later_reload_does_not_start_the_proof_again() -> None:
    rollout = committed()
    rollout.decide(at(101.0, GREEN, worker=8, worker_started=100.5))
    assert isinstance(rollout.decide(at(109.5, GREEN, worker=9, worker_started=109.0)), Done)


def unchecked(observation: Observation) -> Observation:
    """The same, with one server that HAProxy's check has not passed yet, such as one that it has just got."""
    (replica,) = observation.replicas
    servers = {**replica.servers, "green.1": Server(UP, unchecked=True)}
    return replace(observation, replicas=(replace(replica, servers=servers),))


def test_with_unchanged_settings_a_check_passed_before_the_commit_is_sufficient() -> None:
    assert isinstance(committed(changed=False).decide(at(101.0, GREEN)), Done)


def test_with_unchanged_settings_the_proof_waits_for_the_first_check_of_each_server() -> None:
    rollout = committed(changed=False)
    step = rollout.decide(unchecked(at(101.0, GREEN)))
    assert isinstance(step, Wait)
    assert step.cause is Cause.PROOF
    assert "check of 1 instances of /web-green has not passed" in step.reason
    assert isinstance(rollout.decide(at(102.0, GREEN)), Done)


def test_new_settings_are_not_proven_by_time_alone_while_a_check_fails() -> None:
    step = committed().decide(unchecked(at(120.0, GREEN, worker=8, worker_started=100.5)))
    assert isinstance(step, Wait)
    assert step.cause is Cause.PROOF


def test_a_check_that_never_passes_after_the_commit_brings_the_baseline_back() -> None:
    rollout = committed(changed=False)
    rollout.decide(unchecked(at(101.0, GREEN)))
    assert isinstance(rollout.decide(unchecked(at(147.0, GREEN))), Wait)
    assert rollout.decide(unchecked(at(147.1, GREEN))) == Restore("/web-blue", 2)


def test_a_first_deployment_with_default_settings_waits_only_for_haproxys_first_check() -> None:
    alone, goal = app("blue", "v1", 1.0), Goal(Kind.PROMOTE, "v1", target=2)
    first = at(100.0, alone)
    (replica,) = first.replicas
    fresh = {**replica.servers, "blue.0": Server(UP, unchecked=True)}
    rollout = Rollout(goal, Policy())
    waiting = rollout.decide(replace(first, replicas=(replace(replica, servers=fresh),)))
    assert isinstance(waiting, Wait)
    assert waiting.cause is Cause.PROOF
    assert isinstance(rollout.decide(at(100.5, alone)), Done)


@pytest.mark.parametrize("state", [DOWN, None], ids=["down", "left out"])
def test_a_revision_that_does_not_serve_with_its_own_settings_is_replaced_by_the_baseline_as_it_ran(
    state: Serving | None,
) -> None:
    rollout = committed()
    step = rollout.decide(at(103.0, GREEN, green=state, worker=8, worker_started=100.5))
    assert step == Restore("/web-blue", 2)
    rollout.performed(Restore("/web-blue", 2))
    starting = replace(BLUE, tasks=(), last_scaling_at=104.0, deployments=("d",))
    assert rollout.decide(at(104.0, starting, GREEN, green=state, worker=8)) == Delete("/web-green")
    rollout.performed(Delete("/web-green"))
    waiting = rollout.decide(at(105.0, starting, worker=9))
    assert isinstance(waiting, Wait), "not before the baseline is healthy and in rotation"
    assert fails(rollout.decide(at(110.0, BLUE, worker=9)), RolledBackError)


def test_a_revision_that_does_not_serve_stays_with_on_degraded_leave() -> None:
    rollout = committed(Policy(leave_degraded=True))
    step = rollout.decide(at(103.0, GREEN, green=DOWN, worker=8, worker_started=100.5))
    assert fails(step, UnhealthyError)


# -- what proves nothing ----------------------------------------------------------------------------------------------

OTHER = Replica("http://lb2", {task.id: Server(UP) for task in GREEN.tasks}, worker=9, worker_started=100.5)


def test_a_load_balancer_that_has_not_reloaded_since_the_commit_does_not_bring_the_baseline_back() -> None:
    """Its server is DOWN under the settings of the baseline, which are no longer in force."""
    step = committed().decide(at(103.0, GREEN, green=DOWN))
    assert isinstance(step, Wait)
    assert step.cause is Cause.LOAD_BALANCER


def test_a_load_balancer_that_cannot_be_read_after_the_commit_does_not_bring_the_baseline_back() -> None:
    blind = replace(at(103.0, GREEN), replicas=(Replica("http://lb", problem="connection refused"),))
    rollout = committed()
    step = rollout.decide(blind)
    assert isinstance(step, Wait)
    assert step.cause is Cause.UNREACHABLE
    assert isinstance(rollout.decide(at(109.0, GREEN, worker=8, worker_started=100.5)), Done)


def test_a_revision_whose_tasks_are_all_replaced_after_the_commit_is_waited_for() -> None:
    """Such as after a lost host: Marathon starts them again, and the load balancer has no server of it meanwhile."""
    step = committed().decide(at(103.0, replace(GREEN, tasks=()), worker=8, worker_started=100.5))
    assert isinstance(step, Wait)
    assert step.cause is Cause.HEALTH


def test_a_load_balancer_that_never_reloads_after_the_commit_brings_the_baseline_back() -> None:
    rollout = committed()
    assert isinstance(rollout.decide(at(146.0, GREEN)), Wait)
    assert rollout.decide(at(146.1, GREEN)) == Restore("/web-blue", 2)


@pytest.mark.parametrize(("state", "found"), [(DOWN, "down"), (None, "not configured")])
@pytest.mark.parametrize(("kept", "deleted"), [(BLUE, "/web-blue"), (None, "its baseline")], ids=["kept", "not kept"])
def test_the_reason_names_the_state_of_the_revision_and_the_deleted_baseline(
    state: Serving | None, found: str, kept: App | None, deleted: str
) -> None:
    rollout = committed(Policy(leave_degraded=True))
    rollout.memory = replace(rollout.memory, kept=kept)
    step = rollout.decide(at(103.0, GREEN, green=state, worker=8, worker_started=100.5))
    assert isinstance(step, Fail)
    assert f"/web-green is {found} at http://lb since {deleted} was deleted" in step.message


def test_a_load_balancer_that_does_not_tell_its_worker_is_not_waited_for() -> None:
    """Without its pid no reload can be seen: the run would take it for one that never follows."""
    rollout = Rollout(PROMOTE, Policy())
    rollout.decide(at(99.0, BLUE, settings_differ=True, worker=0))
    rollout.decide(at(100.0, BLUE, GREEN, blue=MAINT, settings_differ=True, worker=0))
    rollout.performed(Delete("/web-blue"))
    assert isinstance(rollout.decide(at(101.0, GREEN, worker=0)), Done)


def test_with_unchanged_settings_a_reload_after_the_commit_does_not_delay_the_end() -> None:
    assert isinstance(committed(changed=False).decide(at(101.0, GREEN, worker=8, worker_started=100.5)), Done)


def test_the_load_balancer_that_reloaded_last_decides_the_time_of_the_proof() -> None:
    later = replace(at(109.0, GREEN, worker=8, worker_started=100.5))
    two = (*later.replicas, replace(OTHER, worker_started=102.0))
    assert isinstance(committed().decide(later), Done)
    step = committed().decide(replace(later, replicas=two))
    assert isinstance(step, Wait)
    assert step.cause is Cause.PROOF


@pytest.mark.parametrize(
    ("before", "settings_differ", "proven"),
    [(None, False, True), (None, True, False), (2, False, False)],
    ids=["first, with default settings", "first, with its own settings", "after a commit of another run"],
)
def test_a_revision_alone_serves_for_the_time_of_its_checks_unless_its_settings_are_the_defaults(
    before: int | None, settings_differ: bool, proven: bool
) -> None:
    """The servers have inherited UP from the load balancer's state under other settings."""
    alone = replace(GREEN, baseline_instances=before)
    step = Rollout(PROMOTE, Policy()).decide(at(100.0, alone, worker_started=99.0, settings_differ=settings_differ))
    assert isinstance(step, Done if proven else Wait)


def test_a_commit_to_default_settings_is_proven_like_any_other() -> None:
    """The canary of another tool, without the number of the baseline's instances, looks like a first deployment."""
    alone = replace(GREEN, baseline_instances=None)
    step = committed().decide(at(101.0, alone, worker=8, worker_started=100.5))
    assert isinstance(step, Wait)
    assert step.cause is Cause.PROOF


# -- a revision that turns bad ----------------------------------------------------------------------------------------


def half_way() -> Rollout:
    """A promote whose baseline drains: all of the canary in rotation, all of the baseline in MAINT."""
    rollout = Rollout(PROMOTE, Policy())
    rollout.decide(at(99.0, BLUE))
    rollout.decide(at(100.0, BLUE, GREEN, blue=MAINT, older_workers=(5,)))
    return rollout


def test_a_canary_that_fails_at_every_load_balancer_is_deleted_at_once_and_the_baseline_comes_back() -> None:
    rollout = half_way()
    sick = replace(GREEN, tasks=tuple(replace(task, healthy=False) for task in GREEN.tasks))
    first = rollout.decide(at(101.0, BLUE, sick, blue=MAINT, green=DOWN, older_workers=(5,)))
    assert isinstance(first, Wait), "a single look decides nothing"
    assert rollout.decide(at(102.0, BLUE, sick, blue=MAINT, green=DOWN, older_workers=(5,))) == Delete("/web-green")
    rollout.performed(Delete("/web-green"))
    assert isinstance(rollout.decide(at(103.0, BLUE, blue=DOWN)), Wait)
    ended = rollout.decide(at(106.0, BLUE))
    assert fails(ended, RolledBackError)
    assert "turned bad" in str(ended)


def test_a_single_restarted_task_does_not_cause_a_rollback() -> None:
    rollout = half_way()
    one = replace(GREEN, tasks=GREEN.tasks[:1])
    for now in (101.0, 104.0):
        step = rollout.decide(at(now, BLUE, one, blue=MAINT, older_workers=(5,)))
        assert isinstance(step, Wait)
        assert not rollout.memory.degraded


def test_a_server_that_comes_back_from_maint_has_not_turned_bad() -> None:
    rollout = half_way()
    rollout.decide(at(101.0, BLUE, GREEN, blue=UP, green=MAINT, older_workers=(5,)))
    rollout.decide(at(102.0, BLUE, GREEN, blue=UP, green=DOWN, older_workers=(5,)))
    assert not rollout.memory.turned_bad


# -- early ends -------------------------------------------------------------------------------------------------------


def starting(**fields: object) -> App:
    return replace(GREEN, tasks=(), deployments=("d",), **fields)  # type: ignore[arg-type]


def test_a_crash_loop_ends_with_the_third_failed_task() -> None:
    rollout = Rollout(PROMOTE, Policy())
    steps = [rollout.decide(at(float(n), BLUE, starting(failure=f"failure {n}"))) for n in (1, 2, 3)]
    assert [isinstance(step, Wait) for step in steps] == [True, True, False]
    assert fails(steps[-1], UnhealthyError)
    assert "the tasks of /web-green" in steps[-1].remedy, (
        "between two tasks of a crash loop resources are not the cause"
    )


def test_a_wait_without_progress_ends_after_the_health_checks_time_or_the_progress_timeout() -> None:
    for policy, limit in ((Policy(), 90.0), (Policy(progress_timeout=20.0), 20.0)):
        rollout = Rollout(PROMOTE, policy)
        assert isinstance(rollout.decide(at(0.0, BLUE, starting())), Wait)
        assert isinstance(rollout.decide(at(limit - 1, BLUE, starting())), Wait)
        assert fails(rollout.decide(at(limit, BLUE, starting())), UnhealthyError)


def test_a_task_that_is_launched_is_progress() -> None:
    rollout = Rollout(PROMOTE, Policy(progress_timeout=20.0))
    rollout.decide(at(0.0, BLUE, starting()))
    launched = replace(starting(), tasks=(Task("green.0", None, ever_healthy=False),))
    assert isinstance(rollout.decide(at(15.0, BLUE, launched)), Wait)
    assert isinstance(rollout.decide(at(34.0, BLUE, launched)), Wait)
    assert fails(rollout.decide(at(35.0, BLUE, launched)), UnhealthyError)


def test_a_load_balancer_that_never_answered_ends_the_run_in_a_minute_and_a_lost_one_is_waited_for() -> None:
    deaf = replace(at(0.0, BLUE, GREEN), replicas=(Replica("http://lb", problem="refused"),))
    never, lost = Rollout(PROMOTE, Policy()), Rollout(PROMOTE, Policy())
    lost.decide(at(0.0, BLUE, GREEN))
    for rollout in (never, lost):
        assert isinstance(rollout.decide(replace(deaf, now=1.0)), Wait)
    ended = never.decide(replace(deaf, now=61.0))
    assert fails(ended, UnavailableError)
    assert "http://lb: refused. It has not answered" in str(ended)
    assert isinstance(lost.decide(replace(deaf, now=600.0)), Wait)


def test_one_lost_answer_leads_to_a_new_observation_and_many_end_with_unavailable() -> None:
    rollout = Rollout(PROMOTE, Policy())
    rollout.decide(at(0.0, BLUE))
    assert isinstance(rollout.unanswered(1.0, "503", Delete("/web-blue")), Wait)
    assert fails(rollout.unanswered(1.0 + UNANSWERED_LIMIT, "503", Delete("/web-blue")), UnavailableError)
    rollout.performed(Scale("/web-green", 2))
    assert isinstance(rollout.unanswered(500.0, "503", Delete("/web-blue")), Wait), (
        "an accepted step begins the time again"
    )


# -- rollback without a baseline in the cluster -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken", [{"green": None}, {"others": ("10_0_0_1_31000",)}], ids=["out of rotation", "never followed"]
)
def test_a_rollback_restores_the_kept_baseline_where_the_revision_alone_does_not_serve(broken: dict[str, Any]) -> None:
    rollout = Rollout(replace(PROMOTE, kind=Kind.ROLLBACK), Policy(), Memory(kept=BLUE))
    assert isinstance(rollout.decide(at(100.0, GREEN, **broken)), Wait)
    assert rollout.decide(at(100.0 + FOLLOW_LIMIT, GREEN, **broken)) == Restore("/web-blue", 2)


def test_a_rollback_of_a_revision_that_serves_alone_stays_a_conflict_although_a_baseline_was_kept() -> None:
    rollout = Rollout(replace(PROMOTE, kind=Kind.ROLLBACK), Policy(), Memory(kept=BLUE))
    assert fails(rollout.decide(at(100.0, GREEN)), ConflictError)


@pytest.mark.parametrize("kept", [BLUE, None], ids=["kept", "not kept"])
def test_a_rollback_restores_the_baseline_only_where_it_was_kept(kept: App | None) -> None:
    """A revision that does not serve is not left to run because a promotion would leave it (--on-degraded)."""
    rollout = Rollout(replace(PROMOTE, kind=Kind.ROLLBACK), Policy(leave_degraded=True), Memory(kept=kept))
    for now in (100.0, 120.0):
        step = rollout.decide(at(now, GREEN, green=DOWN))
    assert bool(rollout.memory.degraded) is bool(kept)
    assert isinstance(step, Restore if kept else Fail)


def test_servers_that_an_operator_drained_during_a_rollback_do_not_count_as_an_outage() -> None:
    """They return by themselves. As an outage they would cost the canary, which serves, its sessions."""
    rollout = Rollout(replace(PROMOTE, kind=Kind.ROLLBACK), Policy())
    rollout.decide(at(100.0, BLUE, GREEN))
    scaled = app("blue", "v1", 1.0, count=3, last_scaling_at=100.0)
    for now in (101.0, 103.0):
        rollout.decide(at(now, scaled, GREEN, blue=DOWN, green=MAINT))
    assert not rollout.memory.degraded


# -- a new leader of Marathon -----------------------------------------------------------------------------------------


def forgotten(shown: App) -> App:
    """The app as a new leader shows it, without health results."""
    return replace(shown, tasks=tuple(replace(task, healthy=None, ever_healthy=False) for task in shown.tasks))


def test_h39_a_rollback_during_a_change_of_leader_cuts_no_session_of_the_canary() -> None:
    """Load balancers without any task take them up again; an older worker can still serve them."""
    rollout = Rollout(replace(PROMOTE, kind=Kind.ROLLBACK), Policy())
    rollout.decide(at(100.0, BLUE, GREEN))
    gone: dict[str, Any] = {"blue": None, "green": None, "older_workers": (6,)}
    for now, apps in ((101.0, (forgotten(BLUE), forgotten(GREEN))), (103.0, (BLUE, GREEN)), (105.0, (BLUE, GREEN))):
        step = rollout.decide(at(now, *apps, **gone))
        assert not isinstance(step, Delete), step
    assert not rollout.memory.degraded


def test_h39_an_outage_that_outlasts_a_change_of_leader_ends_the_wait_for_the_canary() -> None:
    rollout = Rollout(replace(PROMOTE, kind=Kind.ROLLBACK), Policy())
    rollout.decide(at(100.0, BLUE, GREEN, blue=MAINT))
    rollout.decide(at(101.0, forgotten(BLUE), forgotten(GREEN), blue=None, green=None))
    for now in (101.0 + FOLLOW_LIMIT, 103.0 + FOLLOW_LIMIT):
        step = rollout.decide(at(now, BLUE, GREEN, blue=MAINT, green=DOWN))
    assert step == Delete("/web-green")


def test_h39_a_change_of_leader_right_after_the_commit_rolls_no_good_revision_back() -> None:
    rollout = committed()
    for now, shown in ((101.0, forgotten(GREEN)), (103.0, GREEN)):
        assert isinstance(rollout.decide(at(now, shown, green=None, worker=8)), Wait)
    for now in (105.0, 106.0):
        step = rollout.decide(at(now, GREEN, worker=9))
    assert isinstance(step, Wait | Done)
    assert not rollout.memory.degraded
