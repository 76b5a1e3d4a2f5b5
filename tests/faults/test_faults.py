"""A fault at any request of a release: it ends in the goal, or the same command finishes it. No request is lost.

Every request that changes something, with the faults that matter there; each 41st of the others. bench/faults.py plays
all of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from virtual.faults import ANSWERS, KILLS, hangs
from virtual.scenario import CASES, FAST_CASES, Case, play

pytestmark = pytest.mark.filterwarnings(  # a program that was killed has closed nothing
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)
READS = 41
EVERYWHERE = {**KILLS, **ANSWERS}
DIRECT = ("SIGKILL before", "SIGKILL after", "503", "409 lock", "reset after", "empty without effect", "invalid JSON")
BY_JOBS = ("SIGKILL after", "reset after")


def rows() -> list[tuple[str, str]]:
    by_jobs = [(case, fault) for case in CASES for fault in BY_JOBS if " job " in case]
    direct = [(case, fault) for case in CASES for fault in DIRECT if " direct " in case]
    return direct + by_jobs


def played(case: Case, fault: str, home: Path) -> list[str]:
    """What went wrong, at each request that is chosen."""
    exchanges = play(case, home).exchanges
    chosen = [n for n, one in enumerate(exchanges) if one.changes or (n % READS == 0 and "409" not in fault)]
    stories = [play(case, home, EVERYWHERE[fault], at, fault) for at in chosen]
    assert chosen
    return [str(story) for story in stories if story.problems]


@pytest.mark.parametrize(("case", "fault"), rows())
def test_a_fault_at_any_request_ends_in_the_goal_or_is_finished_by_the_same_command(
    tmp_path: Path, case: str, fault: str
) -> None:
    assert played(CASES[case], fault, tmp_path / "world") == []


@pytest.mark.parametrize("via", ["direct", "job"])
@pytest.mark.parametrize("goal", ["promote", "rollback"])
def test_a_cluster_that_hangs_ends_a_command_within_5_seconds_of_its_deadline(
    tmp_path: Path, goal: str, via: str
) -> None:
    case, home = Case(goal=goal, via=via, timeout=20.0), tmp_path / "world"
    for at in range(0, len(play(case, home).exchanges), 29):
        story = play(case, home, hangs, at, "hangs")
        assert [ended.seconds for ended in story.ends if ended.seconds > case.timeout + 5] == [], story
        assert story.problems == [], story
        assert set(story.codes) & {5, 9}, story


@pytest.mark.parametrize("fault", KILLS)
@pytest.mark.parametrize("case", [case for case in FAST_CASES if "canary=2" in case])
def test_h66_a_kill_between_two_requests_leaves_no_surplus_of_tasks_that_are_healthy_at_once(
    tmp_path: Path, case: str, fault: str
) -> None:
    assert played(FAST_CASES[case], fault, tmp_path / "world") == []


@pytest.mark.parametrize("strategy", ["bluegreen", "rolling"])
def test_h67_what_was_read_half_a_minute_ago_is_not_acted_on(tmp_path: Path, strategy: str) -> None:
    case, home = Case(strategy, "rollback"), tmp_path / "world"
    exchanges = play(case, home).exchanges
    kill = next(n for n, one in enumerate(exchanges) if "/tasks/delete" in one.url)
    placeholder = max(n for n, one in enumerate(exchanges[:kill]) if one.method == "PUT")
    for at in range(placeholder + 1, kill):
        story = play(case, home, ANSWERS["time-out"], at, "time-out")
        assert story.problems == [], story


@pytest.mark.parametrize("strategy", ["bluegreen", "rolling"])
def test_h20_h41_a_lock_met_by_any_change_of_a_release_is_waited_out_by_the_command_itself(
    tmp_path: Path, strategy: str
) -> None:
    case, home = Case(strategy, "promote"), tmp_path / "world"
    exchanges = play(case, home).exchanges
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


def test_h49_marathon_lb_is_asked_to_read_again_after_each_deletion(tmp_path: Path) -> None:
    exchanges = play(Case("bluegreen", "promote"), tmp_path / "world").exchanges
    deleted = [n for n, one in enumerate(exchanges) if one.method == "DELETE" and "-lock-" not in one.url]
    assert deleted
    for at in deleted:
        assert any("/_mlb_signal/hup" in one.url for one in exchanges[at:])
