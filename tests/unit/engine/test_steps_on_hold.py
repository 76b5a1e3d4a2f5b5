"""The steps that a run takes while its revision is on hold, and when the hold ends."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.engine.situations import (
    BLUEGREEN,
    PROMOTE,
    ROLLING,
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

from bgci.engine.decisions import Cause, Delete, Fail, Goal, Kind, Scale
from bgci.engine.hold import STEADY, TOGETHER, Hold
from bgci.engine.memory import Memory
from bgci.engine.observation import Observation, Replica, Server, Serving, Task

HOLD = Hold(since=95.0, size=1, peers=frozenset(), failures=1, incident_at=95.0)
ON_HOLD = Memory(hold=HOLD)


# -- steps ------------------------------------------------------------------------------------------------------------


def test_the_baseline_grows_although_the_canary_is_on_hold() -> None:
    """That is no step forward: the revision that serves well gets more instances."""
    swapped = look("U", "M", app(0, 1, "H", 2, last=3.0), app(1, 1, "H", 1, base=2))
    assert decide(swapped, Goal(Kind.PROMOTE, "v2", 1), BLUEGREEN, ON_HOLD) == Scale("blue", 2)


def test_a_drained_canary_on_hold_is_deleted() -> None:
    swapped = seen(baseline(last_scaling_at=3.0), canary(1), out=("green.0",))
    assert decide(swapped, PROMOTE, BLUEGREEN, ON_HOLD) == Delete("green")


def test_no_task_of_the_baseline_is_killed_while_the_canary_is_on_hold() -> None:
    crowded = seen(baseline(), canary(2, tasks=tasks("green", 1)), out=("blue.0",))
    assert waits_for(decide(crowded, PROMOTE, ROLLING, replace(ON_HOLD, no_room=True)), Cause.HEALTH)


def test_a_run_on_hold_that_cannot_reach_its_goal_ends() -> None:
    """Otherwise it would wait for the revision to recover, and fail then."""
    stale = seen(baseline(target=3), canary(1), out=("blue.0",))
    assert isinstance(decide(stale, PROMOTE, ROLLING, ON_HOLD), Fail)


def test_a_run_on_hold_names_the_event_that_it_waits_for() -> None:
    """The wait for a drain has its own timeout, that for the health of a revision ends early."""
    busy = seen(baseline(), canary(4), out=("blue.0", "blue.1", "blue.2"))
    assert waits_for(decide(busy, PROMOTE, BLUEGREEN, ON_HOLD), Cause.DRAIN)


# -- its end ----------------------------------------------------------------------------------------------------------


def is_steady(observation: Observation, hold: Hold = HOLD) -> bool:
    """Whether the time without a failure has begun."""
    known = Memory(hold=hold, healthy_once=frozenset({"green.0", "green.1"}), bad=frozenset({"green.1"}))
    after = known.observed(observation, PROMOTE).hold
    return after is not None and after.steady_since is not None


PAIR = seen(baseline(), canary(2))
DOWN = with_server(PAIR, "green.1", Server(Serving.DOWN))


def test_a_revision_recovers_only_when_as_many_tasks_serve_as_before_its_failure() -> None:
    """At every load balancer, and without a task that fails. A run that goes on earlier replaces the baseline by a
    revision that is bad."""
    two = replace(HOLD, size=2)
    assert is_steady(PAIR, two)
    assert not is_steady(DOWN, two)
    sick = seen(baseline(), canary(2, tasks=(Task("green.0", True), Task("green.1", False))))
    assert not is_steady(with_server(sick, "green.1", Server(Serving.UP)))


def test_a_revision_with_fewer_instances_than_before_its_failure_recovers() -> None:
    """The run has removed its placeholder: the hold would never end."""
    assert is_steady(PAIR, replace(HOLD, size=3))


def test_a_load_balancer_that_cannot_be_read_does_not_begin_the_time_without_a_failure_again() -> None:
    blind = replace(PAIR, replicas=(PAIR.replicas[0], Replica("lb1", problem="connection refused")))
    assert is_steady(blind)
    assert not is_steady(replace(blind, replicas=blind.replicas[1:])), "no load balancer shows that it serves"


def test_a_revision_that_serves_alone_is_not_on_hold() -> None:
    """There is no baseline to which the run could go back."""
    assert Memory(hold=HOLD).observed(seen(canary(4)), PROMOTE).hold is None


NOTHING: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("failed", "complete"), [(NOTHING, False), (frozenset({"c"}), True)], ids=["incomplete", "a failure"]
)
def test_the_time_without_a_failure_begins_again(failed: frozenset[str], complete: bool) -> None:
    begun = Hold.begun(0.0, frozenset("abc"), frozenset("a")).observed(1.0, NOTHING, complete=True)
    assert begun is not None
    again = begun.observed(20.0, failed, complete=complete)
    assert again is not None
    once_more = again.observed(21.0, NOTHING, complete=True)
    assert once_more is not None
    assert once_more.observed(20.0 + STEADY, NOTHING, complete=True) is not None
    assert once_more.observed(21.0 + STEADY, NOTHING, complete=True) is None


def test_a_failure_after_the_moment_of_the_first_one_is_a_second_incident() -> None:
    begun = Hold.begun(0.0, frozenset("abc"), frozenset("a"))
    for now, incidents in ((TOGETHER - 0.5, 1), (TOGETHER, 2)):
        later = begun.observed(now, frozenset("b"), complete=False)
        assert later is not None
        assert (later.incidents, later.spreads) == (incidents, incidents == 2)


def test_a_failure_that_has_spread_stays_so_with_a_later_failure_of_a_new_task() -> None:
    spread = Hold.begun(0.0, frozenset("ab"), frozenset("a")).observed(10.0, frozenset("b"), complete=False)
    assert spread is not None
    later = spread.observed(20.0, frozenset("new"), complete=False)
    assert later is not None
    assert later.spreads
