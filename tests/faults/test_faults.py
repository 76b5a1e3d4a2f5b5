"""A fault at any request of a release: it reaches its goal, or the same command finishes it. No request is lost.

At every request that changes something, directly: a kill and a lost answer after it, and one of the other faults. By
jobs: one of the two at every fourth. Some of the requests that only read. bench/faults.py plays all faults at all.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from virtual.faults import ANSWERS, FAULTS, REPLICAS, Exchange, hangs
from virtual.scenario import CASES, FAST_CASES, TWO_REPLICAS, WORLDS, Case, play

from bgci.engine.lock import LEASE

READS = 41
AFTER_THE_EFFECT = ("SIGKILL after", "reset after")
OTHERS = ("SIGKILL before", "503", "409 lock", "empty without effect", "invalid JSON")


_EXCHANGES: dict[Case, list[Exchange]] = {}


def exchanges_of(case: Case, home: Path) -> list[Exchange]:
    """All requests of the release without a fault."""
    if case not in _EXCHANGES:
        _EXCHANGES[case] = play(case, home).exchanges
    return _EXCHANGES[case]


def played(case: Case, fault: str, home: Path, first: int = 0, step: int = 1) -> list[str]:
    """The problems after the fault at each ``step``-th request that changes something."""
    changes = [n for n, one in enumerate(exchanges_of(case, home)) if one.changes][first::step]
    assert changes
    return wrong(case, fault, home, changes)


def wrong(case: Case, fault: str, home: Path, chosen: list[int]) -> list[str]:
    stories = [play(case, home, FAULTS[fault], at, fault) for at in chosen]
    return [str(story) for story in stories if story.problems]


@pytest.mark.parametrize("fault", AFTER_THE_EFFECT)
@pytest.mark.parametrize("case", [case for case in CASES if " direct " in case])
def test_a_command_with_a_fault_after_any_change_reaches_its_goal_or_is_finished_by_the_same_command(
    tmp_path: Path, case: str, fault: str
) -> None:
    assert played(CASES[case], fault, tmp_path / "world") == []


@pytest.mark.parametrize("number", range(len(OTHERS)))
@pytest.mark.parametrize("case", [case for case in CASES if " direct " in case])
def test_a_command_with_another_fault_at_any_change_reaches_its_goal_or_is_finished_by_the_same_command(
    tmp_path: Path, case: str, number: int
) -> None:
    assert played(CASES[case], OTHERS[number], tmp_path / "world", number, len(OTHERS)) == []


@pytest.mark.parametrize("case", [case for case in CASES if " direct " in case])
def test_a_command_with_a_fault_at_any_read_reaches_its_goal_or_is_finished_by_the_same_command(
    tmp_path: Path, case: str
) -> None:
    home, faults = tmp_path / "world", [fault for fault in OTHERS if "409" not in fault]  # no read is refused so
    reads = [n for n, one in enumerate(exchanges_of(CASES[case], home)) if n % READS == 0 and not one.changes]
    assert reads
    for number, at in enumerate(reads):
        assert wrong(CASES[case], faults[number % len(faults)], home, [at]) == []


@pytest.mark.parametrize("number", range(len(AFTER_THE_EFFECT)))
@pytest.mark.parametrize("case", [case for case in CASES if " job " in case])
def test_a_release_by_jobs_with_a_fault_reaches_its_goal_or_is_finished_by_the_same_command(
    tmp_path: Path, case: str, number: int
) -> None:
    assert played(CASES[case], AFTER_THE_EFFECT[number], tmp_path / "world", 4 * number, 8) == []


def test_h65_the_lock_of_a_killed_job_is_removed_at_once_because_mesos_reports_its_end(tmp_path: Path) -> None:
    case, home = CASES["bluegreen promote job N=2 canary=1"], tmp_path / "world"
    exchanges = exchanges_of(case, home)
    at = next(n for n, one in enumerate(exchanges) if one.by_job and one.method == "PUT")  # the promotion scales up
    story = play(case, home, FAULTS["SIGKILL after"], at, "SIGKILL after")
    assert story.problems == [], story
    _, killed, again = story.ends
    assert (
        "Its log has no result of bgci. Mesos reports TASK_FAILED: Command terminated with signal Killed."
        in killed.text
    )
    assert "Removed the abandoned lock of `bgci promote` of v2 (task " in again.text
    assert again.seconds < LEASE / 4  # virtual ones


@pytest.mark.parametrize("via", ["direct", "job"])
@pytest.mark.parametrize("goal", ["promote", "rollback"])
def test_a_command_against_a_hanging_cluster_ends_within_5_seconds_of_its_deadline(
    tmp_path: Path, goal: str, via: str
) -> None:
    case, home = Case(goal=goal, via=via, timeout=20.0), tmp_path / "world"
    for at in range(0, len(exchanges_of(case, home)), 58):
        story = play(case, home, hangs, at, "hangs")
        assert [ended.seconds for ended in story.ends if ended.seconds > case.timeout + 5] == [], story
        assert story.problems == [], story
        assert set(story.codes) & {5, 9}, story


@pytest.mark.parametrize("case", [case for case in FAST_CASES if "canary=2" in case])
def test_h66_a_kill_between_two_requests_leaves_no_surplus_of_immediately_healthy_tasks(
    tmp_path: Path, case: str
) -> None:
    assert played(FAST_CASES[case], "SIGKILL after", tmp_path / "world", step=2) == []


@pytest.mark.parametrize("strategy", ["bluegreen", "rolling"])
def test_h67_an_observation_30_seconds_old_is_not_used(tmp_path: Path, strategy: str) -> None:
    case, home = Case(strategy, "rollback"), tmp_path / "world"
    exchanges = exchanges_of(case, home)
    kill = next(n for n, one in enumerate(exchanges) if "/tasks/delete" in one.url)
    placeholder = max(n for n, one in enumerate(exchanges[:kill]) if one.method == "PUT")
    for at in range(placeholder + 1, kill, 2):
        story = play(case, home, ANSWERS["time-out"], at, "time-out")
        assert story.problems == [], story


@pytest.mark.parametrize("strategy", ["bluegreen", "rolling"])
def test_h20_h41_a_release_waits_until_a_lock_met_by_any_of_its_changes_is_gone(tmp_path: Path, strategy: str) -> None:
    case, home = Case(strategy, "promote"), tmp_path / "world"
    exchanges = exchanges_of(case, home)
    urls = {n: one.url for n, one in enumerate(exchanges) if one.changes and "-lock-" not in one.url}
    changes = [
        n for n, url in urls.items() if exchanges[n].method != "POST" or "/tasks/delete" in url
    ]  # not of new apps
    assert strategy == "bluegreen" or any("/tasks/delete" in urls[n] for n in changes)
    assert {"PUT", "DELETE"} <= {exchanges[n].method for n in changes}
    for at in changes:
        story = play(case, home, ANSWERS["409 lock"], at, "409 lock")
        assert set(story.codes) == {0}, story
        assert story.problems == [], story


@pytest.mark.parametrize("strategy", ["bluegreen", "rolling"])
@pytest.mark.parametrize("goal", ["promote", "rollback"])
def test_statistics_10_seconds_old_do_no_harm(tmp_path: Path, goal: str, strategy: str) -> None:
    assert played(Case(strategy, goal), "statistics stale by 10 s", tmp_path / "world", step=2) == []


@pytest.mark.parametrize("fault", ["clock jumps 6 h", "load balancer lags 5 s"])
@pytest.mark.parametrize("case", [case for case in CASES if "rollback direct" in case])
def test_a_clock_that_is_wrong_and_a_load_balancer_that_is_slow_do_no_harm(
    tmp_path: Path, case: str, fault: str
) -> None:
    assert played(CASES[case], fault, tmp_path / "world", step=3) == []


@pytest.mark.parametrize("number", range(len(REPLICAS)))
@pytest.mark.parametrize("case", [case for case in TWO_REPLICAS if "promote direct" in case])
def test_one_of_two_load_balancers_can_be_lost_and_come_back(tmp_path: Path, case: str, number: int) -> None:
    assert played(TWO_REPLICAS[case], list(REPLICAS)[number], tmp_path / "world", number, len(REPLICAS)) == []


def test_a_restart_of_metronome_during_a_release_by_jobs_does_no_harm(tmp_path: Path) -> None:
    assert played(Case(goal="promote", via="job"), "Metronome restarts", tmp_path / "world", step=5) == []


@pytest.mark.parametrize("strategy", ["bluegreen", "rolling"])
def test_h39_h67_a_deletion_is_not_repeated_to_a_new_leader_before_an_observation(
    tmp_path: Path, strategy: str
) -> None:
    case, home = Case(strategy, "promote", "job"), tmp_path / "world"
    exchanges = exchanges_of(case, home)
    deletions = [n for n, one in enumerate(exchanges) if one.method == "DELETE" and "-lock-" not in one.url]
    assert deletions
    assert wrong(case, "leader changes", home, deletions) == []


@pytest.mark.parametrize("case", [case for case in CASES if "promote direct" in case])
def test_a_change_of_marathons_leader_at_any_change_does_no_harm(tmp_path: Path, case: str) -> None:
    assert played(CASES[case], "leader changes", tmp_path / "world", step=2) == []


@pytest.mark.parametrize("case", [case for case in WORLDS if "bluegreen rollback direct" in case])
def test_a_killed_command_in_a_faulty_cluster_is_finished_by_the_same_command(tmp_path: Path, case: str) -> None:
    assert played(WORLDS[case], "SIGKILL after", tmp_path / "world", first=1, step=4) == []


@pytest.mark.parametrize("case", [case for case in CASES if "rollback job" in case])
def test_a_second_run_after_an_unanswered_start_takes_no_change_of_the_first_one_for_one_of_somebody_else(
    tmp_path: Path, case: str
) -> None:
    exchanges = exchanges_of(CASES[case], tmp_path / "world")
    starts = [n for n, one in enumerate(exchanges) if one.method == "POST" and one.url.endswith("/runs")]
    assert len(starts) == 2
    assert wrong(CASES[case], "time-out", tmp_path / "world", starts) == []


@pytest.mark.parametrize("case", [case for case in CASES if "rollback direct" in case])
def test_a_change_without_a_confirming_answer_is_not_taken_for_undone_by_somebody_else(
    tmp_path: Path, case: str
) -> None:
    assert played(CASES[case], "empty without effect", tmp_path / "world") == []


def test_h49_marathon_lb_is_asked_to_reload_after_each_deletion(tmp_path: Path) -> None:
    exchanges = play(Case("bluegreen", "promote"), tmp_path / "world").exchanges
    deleted = [n for n, one in enumerate(exchanges) if one.method == "DELETE" and "-lock-" not in one.url]
    assert deleted
    for at in deleted:
        assert any("/_mlb_signal/hup" in one.url for one in exchanges[at:])
