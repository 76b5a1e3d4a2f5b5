"""Outside changes during a run: their detection, and the ends of runs that would undo them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bgci.engine.decisions import Action, Create, Delete, Done, Fail, Goal, Kill, Kind, Policy, Scale, Step, Wait
from bgci.engine.observation import App, Observation, Replica, Server, Serving, Task
from bgci.engine.outside_changes import MOST_RESIZES, Change, OutsideChanges, compared
from bgci.engine.rollout import Rollout
from bgci.errors import ConflictError

CANARY, PROMOTE, ROLLBACK = (
    Goal(kind, "v2", target=4, instances=2) for kind in (Kind.CANARY, Kind.PROMOTE, Kind.ROLLBACK)
)


def app(colour: str, count: int, **fields: object) -> App:
    revision, started = ("v1", 1.0) if colour == "blue" else ("v2", 2.0)
    tasks = tuple(Task(f"{colour}.{n}", True) for n in range(count))
    shown = App(f"/web-{colour}", count, tasks, revision, colour, 4, True, None, started, False, started, 1.0)
    return replace(shown, **fields)  # type: ignore[arg-type]


BLUE, GREEN = app("blue", 4), app("green", 2, baseline_instances=4)


def seen(*apps: App, now: float = 100.0) -> Observation:
    servers = {task.id: Server(Serving.UP) for one in apps for task in one.tasks}
    return Observation(now, apps, (Replica("http://lb", servers, worker=7),))


def after(*looks: tuple[App, ...], goal: Goal = PROMOTE, policy: Policy = Policy()) -> Step:  # noqa: B008 - frozen
    """The decision after these observations, a second apart, of which nothing was performed."""
    rollout, step = Rollout(goal, policy), None
    for number, apps in enumerate(looks):
        step = rollout.decide(seen(*apps, now=100.0 + number))
    assert step is not None
    return step


def texts(hand: OutsideChanges) -> list[str]:
    return [str(change) for change in hand.changes]


# -- noticing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("later", "text"),
    [
        ((app("blue", 6), GREEN), "/web-blue was scaled from 4 to 6 instances by somebody else."),
        ((app("blue", 0), GREEN), "/web-blue was suspended (0 instances) by somebody else."),
        ((GREEN,), "/web-blue was deleted by somebody else."),
        ((replace(BLUE, configured_at=9.0), GREEN), "/web-blue was restarted or changed by somebody else."),
    ],
)
def test_an_outside_change_is_reported(later: tuple[App, ...], text: str) -> None:
    assert texts(OutsideChanges().observed(seen(BLUE, GREEN)).observed(seen(*later))) == [text]


def test_the_runs_own_steps_are_not_outside_changes() -> None:
    first = seen(BLUE, GREEN)
    hand = OutsideChanges().observed(first)
    hand = hand.asked(Scale("/web-green", 4), first, answered=True).observed(grown := seen(BLUE, app("green", 4)))
    hand = hand.asked(Kill(("blue.0", "blue.1", "green.3")), grown, answered=True)
    hand = hand.observed(shrunk := seen(app("blue", 2), app("green", 3)))
    hand = hand.asked(Delete("/web-blue"), shrunk, answered=True).observed(seen(app("green", 3)))
    assert texts(hand) == []


def test_the_first_observation_of_a_created_app_is_not_an_outside_change() -> None:
    first = seen(BLUE)
    hand = OutsideChanges().observed(first).asked(Create(1, swappable=True), first, answered=True)
    assert texts(hand.observed(seen(BLUE, GREEN))) == []


def test_a_kill_that_found_fewer_tasks_is_not_an_outside_change_and_a_later_scaling_is() -> None:
    first = seen(BLUE, GREEN)
    hand = OutsideChanges().observed(first).asked(Kill(("blue.0", "blue.1")), first, answered=True)
    hand = hand.observed(seen(app("blue", 3), GREEN))
    assert texts(hand) == []
    assert len(texts(hand.observed(seen(BLUE, GREEN)))) == 1


@pytest.mark.parametrize(
    ("step", "later", "text"),
    [
        (Scale("/web-green", 4), (BLUE, app("green", 6)), "/web-green was scaled from 4 to 6 instances"),
        (Scale("/web-blue", 2), (app("blue", 3), GREEN), "/web-blue was scaled from 2 to 3 instances"),
        (Kill(("blue.0",)), (app("blue", 5), GREEN), "/web-blue was scaled from 3 to 5 instances"),
        (Kill(("blue.0",)), (app("blue", 0), GREEN), "/web-blue was suspended (0 instances)"),
        (
            Kill(("blue.0",)),
            (app("blue", 3), replace(GREEN, last_scaling_at=9.0)),
            "/web-green was restarted or changed",
        ),
    ],
)
def test_an_outside_change_right_after_a_step_of_the_run_is_reported(
    step: Action, later: tuple[App, ...], text: str
) -> None:
    first = seen(BLUE, GREEN)
    hand = OutsideChanges().observed(first).asked(step, first, answered=True)
    assert texts(hand.observed(seen(*later))) == [f"{text} by somebody else."]


def test_an_app_that_the_run_has_deleted_and_that_is_still_listed_is_not_an_outside_change() -> None:
    first = seen(BLUE, GREEN)
    hand = OutsideChanges().observed(first).asked(Delete("/web-blue"), first, answered=True)
    assert texts(hand.observed(first)) == []


def test_a_scaling_is_not_a_restart_and_a_time_that_was_unknown_before_is_no_change() -> None:
    scaled = app("blue", 6, last_scaling_at=9.0)
    assert texts(OutsideChanges().observed(seen(BLUE, GREEN)).observed(seen(scaled, GREEN))) == [
        "/web-blue was scaled from 4 to 6 instances by somebody else."
    ]
    unknown = replace(BLUE, configured_at=0.0)
    assert texts(OutsideChanges().observed(seen(unknown, GREEN)).observed(seen(BLUE, GREEN))) == []


@pytest.mark.parametrize("later", [(BLUE, GREEN), (BLUE, app("green", 4))], ids=["not done", "done"])
def test_a_step_without_an_answer_counts_as_done_or_not_done(later: tuple[App, ...]) -> None:
    first = seen(BLUE, GREEN)
    hand = OutsideChanges().observed(first).asked(Scale("/web-green", 4), first, answered=False)
    assert texts(hand.observed(seen(*later))) == []
    assert texts(hand.observed(first).observed(seen(*later))) == [], "also some observations later"


@pytest.mark.parametrize(
    "later",
    [
        (),
        (GREEN,),
        (BLUE, app("green", 0)),
        (app("blue", 6), app("green", 1)),
        (replace(BLUE, configured_at=9.0), replace(GREEN, configured_at=9.0)),
        (replace(BLUE, last_scaling_at=9.0), replace(GREEN, last_scaling_at=9.0)),
        (BLUE, GREEN),
    ],
)
def test_what_is_kept_of_an_app_suffices_to_notice_each_change(later: tuple[App, ...]) -> None:
    whole, kept = (
        OutsideChanges(known={one.id: one for one in apps}).observed(seen(*later))
        for apps in ((BLUE, GREEN), [compared(one, "v2") for one in (BLUE, GREEN)])
    )
    assert kept.changes == whole.changes
    assert kept.restarted == whole.restarted - {task.id for task in BLUE.tasks}, "only tasks of the release turn bad"


# -- what follows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("goal", [CANARY, PROMOTE], ids=["canary", "promote"])
@pytest.mark.parametrize("later", [(BLUE, app("green", 1)), (BLUE, app("green", 0)), (BLUE,)], ids=["1", "0", "gone"])
def test_a_canary_deleted_from_outside_is_not_created_again(goal: Goal, later: tuple[App, ...]) -> None:
    step = after((BLUE, GREEN), later, goal=goal)
    assert isinstance(step, Fail)
    assert step.ending is ConflictError
    assert "/web-green was " in step.message
    assert step.message.count("/web-green was ") == 1


@pytest.mark.parametrize("later", [(app("blue", 0), GREEN), (GREEN,)], ids=["suspended", "deleted"])
def test_a_canary_is_not_scaled_to_the_target_when_its_baseline_is_deleted_from_outside(later: tuple[App, ...]) -> None:
    step = after((BLUE, GREEN), later, goal=CANARY)
    assert isinstance(step, Fail)
    assert "Only v2 is left to serve" in step.message


@pytest.mark.parametrize("later", [(app("blue", 0),), ()], ids=["suspended", "deleted"])
def test_a_baseline_that_is_taken_away_before_the_canary_exists_leaves_nothing(later: tuple[App, ...]) -> None:
    step = after((BLUE,), later, goal=CANARY)
    assert isinstance(step, Fail)
    assert "No other app is left to serve" in step.message


def test_the_message_of_a_timeout_names_the_changes_too() -> None:
    starting = replace(GREEN, tasks=(), configured_at=9.0)
    step = after((BLUE, GREEN), *[(BLUE, starting)] * 9, goal=CANARY, policy=Policy(timeout=5.0))
    assert isinstance(step, Fail)
    assert step.message.startswith("Timed out")
    assert step.message.endswith("/web-green was restarted or changed by somebody else.")


def test_a_promote_continues_without_its_baseline_and_reports_it() -> None:
    alone = app("green", 4)
    step = after((BLUE, alone), (alone,))
    assert step == Done("v2 serves alone with 4 instances. /web-blue was deleted by somebody else.")


def test_a_baseline_that_is_scaled_up_from_outside_is_still_replaced() -> None:
    assert not isinstance(after((BLUE, GREEN), (app("blue", 6), GREEN)), Fail)


def test_instances_added_from_outside_to_the_revision_alone_stay() -> None:
    larger = app("green", 6)
    step = after((app("green", 4),), (larger,))
    assert step == Done(
        "v2 serves alone with 6 instances. /web-green was scaled from 4 to 6 instances by somebody else."
    )


def test_a_canary_goes_on_beside_a_baseline_that_is_scaled_up_from_outside() -> None:
    assert not isinstance(after((BLUE, GREEN), (app("blue", 6), GREEN), goal=CANARY), Fail)


@pytest.mark.parametrize(
    ("change", "grown"),
    [
        (Change("/web-blue", "v1", 4, 6), True),
        (Change("/web-green", "v2", 4, 6), False),
        (Change("/web-blue", "v1", 4, 2), False),
        (Change("/web-blue", "v1", 0, 0, restarted=True), False),
        (Change("/web-blue", "v1", 4, None), False),
        (Change("/web-blue", "v1", 0, None), False),
    ],
)
def test_only_an_app_with_more_instances_has_grown_from_outside(change: Change, grown: bool) -> None:
    """The run keeps the instances of an operator, and removes its own surplus."""
    assert OutsideChanges(changes=(change,)).grown("/web-blue") is grown


def test_restarts_and_resizes_of_both_apps_are_not_an_autoscaler() -> None:
    looks = [(replace(BLUE, configured_at=float(n)), GREEN) for n in range(1, MOST_RESIZES + 3)]
    assert not isinstance(after(*looks), Fail)
    both = [(BLUE, GREEN), (app("blue", 5), app("green", 3)), (app("blue", 6), app("green", 4))]
    assert not isinstance(after(*both), Fail)


def test_an_autoscaler_that_works_against_the_release_ends_it() -> None:
    sizes = [4, 6, 5, 6][: MOST_RESIZES + 1]
    step = after(*((app("blue", size), GREEN) for size in sizes))
    assert isinstance(step, Fail)
    assert "resized 3 times by somebody else (6, 5, 6)" in step.message
    assert "Stop the autoscaler of /web-blue" in step.remedy
    assert step.message.count("/web-blue was ") == 1


@pytest.mark.parametrize("later", [(BLUE, app("green", 0)), (app("blue", 0), GREEN), (app("blue", 9), GREEN)])
def test_a_rollback_continues_despite_any_outside_change(later: tuple[App, ...]) -> None:
    assert not isinstance(after((BLUE, GREEN), later, goal=ROLLBACK), Fail)


# -- between our request and our first look ---------------------------------------------------------------------------


def created(now: float, *later: App, goal: Goal = CANARY, answered: bool = True) -> Step:
    """The decision at ``now``, after a canary was created at 100."""
    rollout = Rollout(goal, Policy())
    step = rollout.decide(seen(BLUE))
    assert isinstance(step, Create)
    if answered:
        rollout.performed(step, App("/web-green", step.instances, revision="v2"))
    else:
        rollout.unanswered(100.0, "No answer.", step)
    return rollout.decide(seen(BLUE, *later, now=now))


@pytest.mark.parametrize("goal", [CANARY, PROMOTE], ids=["canary", "promote"])
def test_an_app_deleted_before_it_was_seen_is_not_created_again(goal: Goal) -> None:
    step = created(102.0, goal=goal)
    assert isinstance(step, Fail)
    assert step.ending is ConflictError
    assert step.message.startswith("/web-green was deleted by somebody else.")
    assert "to create it again" in step.remedy


def test_an_app_that_marathon_does_not_list_yet_is_waited_for() -> None:
    assert isinstance(created(100.5), Wait)


def test_an_app_that_is_suspended_before_it_was_seen_stays_suspended() -> None:
    step = created(100.5, app("green", 0))
    assert isinstance(step, Fail)
    assert step.message.startswith("/web-green was suspended (0 instances) by somebody else.")


def test_a_creation_without_an_answer_is_repeated() -> None:
    assert isinstance(created(102.0, answered=False), Create)


# -- restarts ---------------------------------------------------------------------------------------------------------


def replaced(count: int = 4) -> App:
    """The canary after a restart: other tasks, of another configuration."""
    tasks = tuple(Task(f"green.new-{n}", True) for n in range(count))
    return app("green", 4, tasks=tasks, configured_at=9.0)


def test_tasks_that_a_restart_replaces_have_not_turned_bad() -> None:
    before = app("green", 4, configured_at=1.0)
    both = replace(replaced(), tasks=(*before.tasks, *replaced().tasks))
    rollout = Rollout(PROMOTE, Policy())
    for number, canary in enumerate([before, both, replaced(), replaced()]):
        step = rollout.decide(seen(BLUE, canary, now=100.0 + 5 * number))
    assert not rollout.memory.turned_bad
    assert not rollout.memory.degraded
    assert not isinstance(step, Fail)


def test_a_task_of_a_restarted_canary_that_fails_later_has_turned_bad() -> None:
    failing = replace(replaced(), tasks=(Task("green.new-0", False), *replaced().tasks[1:]))
    rollout = Rollout(PROMOTE, Policy())
    for number, canary in enumerate([app("green", 4, configured_at=1.0), replaced(), failing]):
        rollout.decide(seen(BLUE, canary, now=100.0 + number))
    assert rollout.memory.turned_bad == {"green.new-0"}


def test_a_restart_by_marathon_1_7_looks_like_a_scaling_to_the_same_size() -> None:
    hand = OutsideChanges().observed(first := seen(BLUE, GREEN))
    assert texts(hand.observed(seen(BLUE, replace(GREEN, last_scaling_at=9.0)))) == [
        "/web-green was restarted or changed by somebody else."
    ]
    ours = hand.asked(Scale("/web-green", 2), first, answered=True)
    assert texts(ours.observed(seen(BLUE, replace(GREEN, last_scaling_at=9.0)))) == []
    unsure = hand.asked(Scale("/web-green", 2), first, answered=False)
    assert texts(unsure.observed(seen(BLUE, replace(GREEN, last_scaling_at=9.0)))) == []


# -- what the run says ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("goal", "later", "remedy"),
    [
        (PROMOTE, (BLUE, app("green", 0)), "Run `bgci promote` of v2 again to scale it up, or `bgci rollback` of v2"),
        (PROMOTE, (BLUE,), "Run `bgci promote` of v2 again to create it again."),
        (CANARY, (app("blue", 0), GREEN), "Run `bgci rollback` of v2 to scale /web-blue up again, or `bgci promote`"),
        (CANARY, (GREEN,), "Run `bgci promote` of v2 to serve with it alone."),
    ],
)
def test_the_remedy_matches_the_outside_change(goal: Goal, later: tuple[App, ...], remedy: str) -> None:
    step = after((BLUE, GREEN), later, goal=goal)
    assert isinstance(step, Fail)
    assert step.remedy.startswith(remedy)


def test_several_resizes_of_one_app_are_reported_in_one_sentence() -> None:
    hand = OutsideChanges()
    for size in (4, 6, 5, 6):
        hand = hand.observed(seen(app("blue", size), GREEN))
    assert hand.named("Done") == "Done. /web-blue was resized 3 times by somebody else (6, 5, 6)."


def test_each_kind_of_change_of_each_app_is_named_once() -> None:
    hand = OutsideChanges()
    for number, size in enumerate((4, 6, 5, 6), start=1):
        hand = hand.observed(seen(app("blue", size), replace(GREEN, configured_at=float(number))))
    hand = hand.observed(seen(app("blue", 6, configured_at=9.0), replace(GREEN, configured_at=4.0)))
    assert list(hand.texts()) == [
        "/web-blue was resized 3 times by somebody else (6, 5, 6).",
        "/web-blue was restarted or changed by somebody else.",
        "/web-green was restarted or changed by somebody else.",
    ]
    assert OutsideChanges().named("Done") == "Done"


# -- a rollback whose canary is deleted meanwhile ---------------------------------------------------------------------


def test_a_rollback_brings_the_baseline_back_after_an_outside_deletion_or_suspension() -> None:
    for smaller in (app("blue", 3), app("blue", 0)):
        rollout = Rollout(ROLLBACK, Policy())
        rollout.decide(seen(BLUE, GREEN))
        assert rollout.decide(seen(smaller, now=101.0)) == Scale("/web-blue", 4)


def test_a_rollback_to_a_baseline_that_is_deleted_from_outside_with_the_canary_fails() -> None:
    step = after((BLUE, GREEN), (), goal=ROLLBACK)
    assert isinstance(step, Fail)
    assert step.ending is ConflictError
    assert "/web-blue was deleted by somebody else." in step.message
    assert isinstance(after((), goal=ROLLBACK), Done), "nothing ran before"


def test_servers_drained_by_an_outside_scaling_of_the_baseline_have_not_turned_bad() -> None:
    down = {f"green.{n}": Server(Serving.DOWN) for n in range(4)}
    for baseline, bad in ((app("blue", 0, last_scaling_at=50.0), False), (BLUE, True)):
        rollout = Rollout(PROMOTE, Policy())
        rollout.decide(seen(BLUE, app("green", 4)))
        rollout.decide(
            replace(seen(baseline, app("green", 4), now=101.0), replicas=(Replica("http://lb", down, worker=7),))
        )
        assert bool(rollout.memory.turned_bad) is bad
