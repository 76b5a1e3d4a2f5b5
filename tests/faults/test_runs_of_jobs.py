"""The run of a job that Metronome repeats, that others start, or whose log cannot be read, on virtual time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from virtual.commands import Commands, Ended
from virtual.faults import Exchange, Fault, killed_after
from virtual.scenario import SETTLED, Case, prepared, run_on, sizes
from virtual.world import CLUSTER, World

pytestmark = pytest.mark.filterwarnings(  # a program that was killed has closed nothing
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)

JOBS = f"{CLUSTER}/service/metronome/v1/jobs"
PROMOTE, ROLLBACK = "completely", "rollback-single-canary"


def asked(cluster: World, method: str, url: str, body: Any = None) -> Any:
    content = json.dumps(body).encode() if body is not None else b""
    status, _, text = cluster.loop.run_until_complete(cluster.dispatch(method, url, content))
    assert status < 300, text
    return json.loads(text)


def restarted_on_failure(cluster: World, ending: str) -> str:
    """An operator gives the job of v2 another restart policy. Returns the job's id."""
    job_id = next(one for one in cluster.metronome.jobs if one.endswith(ending))
    job = asked(cluster, "GET", f"{JOBS}/{job_id}")
    del job["schedules"]
    job["run"]["restart"] = {"policy": "ON_FAILURE"}
    asked(cluster, "PUT", f"{JOBS}/{job_id}", job)
    return job_id


def promoted(
    home: Path, fault: Fault | None = None, at: int = -1, *, by_hand: bool = False
) -> tuple[Ended, Ended, list[Exchange], dict[str | None, int], str]:
    """The promotion of v2 by a job that somebody gave the policy ON_FAILURE, and the same command again.

    by_hand: somebody has started the run. Returns also all requests, the instances by revision, and the policy.
    """
    with prepared(Case(via="job"), home) as (cluster, commands):
        assert commands.run("canary").code == 0
        job_id = restarted_on_failure(cluster, PROMOTE)
        if by_hand:
            asked(cluster, "POST", f"{JOBS}/{job_id}/runs")
        commands.counting, commands.faults = True, {at: fault} if fault else {}
        ended = commands.run("promote")
        commands.counting = False
        again = commands.run("promote")
        run_on(cluster, SETTLED)
        policy = cluster.metronome.jobs[job_id]["run"]["restart"]["policy"]
        return ended, again, commands.exchanges, sizes(cluster), policy


def changes_by_job(exchanges: list[Exchange]) -> list[int]:
    """The job's own changes of the two apps."""
    return [n for n, one in enumerate(exchanges) if one.by_job and one.changes and "-lock-" not in one.url][1:]


def test_h72_a_job_with_a_restart_policy_is_started_without_it_and_is_not_repeated(tmp_path: Path) -> None:
    home = tmp_path / "world"
    ended, _, exchanges, runs, policy = promoted(home)
    assert (ended.code, runs, policy) == (0, {"v2": 2}, "NEVER")
    assert "The restart policy of " in ended.text
    for at in changes_by_job(exchanges):
        ended, again, tried, runs, _ = promoted(home, killed_after, at)
        assert sum(one.by_job and one.method == "POST" for one in tried) == 1, "the lock of one process"
        assert ended.code in (0, 5), ended
        assert "terminated with signal Killed" in ended.text
        assert (again.code, runs) == (0, {"v2": 2}), again


def test_a_run_with_a_restart_policy_that_others_have_started_goes_on_after_its_process_was_lost(
    tmp_path: Path,
) -> None:
    home = tmp_path / "world"
    _, _, exchanges, _, _ = promoted(home, by_hand=True)
    for at in changes_by_job(exchanges):
        ended, _, tried, runs, _ = promoted(home, killed_after, at, by_hand=True)
        assert sum(one.by_job and one.method == "POST" for one in tried) == 2, "the lock of each process"
        assert (ended.code, runs) == (0, {"v2": 2}), ended
        assert "its process ended without a result" in ended.text
        assert "somebody else" not in ended.text


def test_h72_a_goal_that_metronome_repeats_is_stopped_and_ends_with_the_code_of_its_first_process(
    tmp_path: Path,
) -> None:
    with prepared(Case(via="job"), tmp_path / "world") as (cluster, commands):
        assert commands.run("promote").code == 0
        job_id = restarted_on_failure(cluster, ROLLBACK)
        asked(cluster, "POST", f"{JOBS}/{job_id}/runs")
        ended = commands.run("rollback")
        run_on(cluster, SETTLED)
        assert asked(cluster, "GET", f"{JOBS}/{job_id}/runs") == []
        assert ended.code == 6
        assert "nothing to go back to" in ended.text
        assert "Metronome has started its process again, and bgci has stopped that one." in ended.text
        assert sizes(cluster) == {"v2": 2}


HIDDEN = ("/system/v1/logs", "/agent/", "/mesos/")


def hide(commands: Commands, status: int) -> None:
    """No log and no state of Mesos can be read from now on."""
    send = commands.world.dispatch

    async def dispatch(method: str, url: str, body: bytes = b"") -> tuple[int, str, bytes]:
        if url.removeprefix(CLUSTER).startswith(HIDDEN):
            return status, "text/html", b"<html>no</html>"
        return await send(method, url, body)

    commands.world.dispatch = dispatch  # type: ignore[method-assign]


@pytest.mark.parametrize("status", [403, 404, 410, 502])
def test_a_killed_run_without_a_readable_log_is_unavailable_with_the_reason(tmp_path: Path, status: int) -> None:
    home = tmp_path / "world"
    _, _, exchanges, _, _ = promoted(home)
    at = changes_by_job(exchanges)[0]
    with prepared(Case(via="job"), home) as (cluster, commands):
        assert commands.run("canary").code == 0
        restarted_on_failure(cluster, PROMOTE)
        hide(commands, status)
        commands.counting, commands.faults = True, {at: killed_after}
        ended = commands.run("promote")
        assert ended.code in (5, 9), ended
        assert "failed. Its log cannot be read. " in ended.text
        assert ("Not permitted: GET /system/v1/logs/" if status == 403 else f"{status}") in ended.text
        commands.counting = False
        run_on(cluster, 60.0)  # Mesos cannot confirm the end of the process that holds the lock
        again = commands.run("promote")
        assert (again.code, sizes(cluster)) == (0, {"v2": 2}), again


def test_a_job_whose_image_cannot_be_pulled_is_named_with_the_reason_of_the_agent(tmp_path: Path) -> None:
    with prepared(Case(via="job"), tmp_path / "world") as (cluster, commands):
        job_id = next(one for one in cluster.metronome.jobs if one.endswith("single-canary"))
        cluster.metronome.jobs[job_id]["run"]["docker"] = {"image": "registry.invalid/bgci:1"}
        ended = commands.run("canary")
        assert ended.code == 5, ended
        assert "Failed to run 'docker -H unix:///var/run/docker.sock pull registry.invalid/bgci:1'" in ended.text
        assert "bgci has not run: check --job-image" in ended.text


def test_a_schedule_on_a_job_is_named_by_each_command_that_runs_a_job_and_removed_by_publish(tmp_path: Path) -> None:
    with prepared(Case(via="job"), tmp_path / "world") as (cluster, commands):
        job_id = next(one for one in cluster.metronome.jobs if one.endswith(PROMOTE))
        asked(cluster, "POST", f"{JOBS}/{job_id}/schedules", {"id": "nightly", "cron": "0 3 * * *"})
        ended = commands.run("canary")
        assert ended.code == 0
        assert f"`dcos job schedule remove {job_id} nightly`" in ended.text
        published = commands.run("publish")
        assert published.code == 0
        assert f"The schedule nightly of the job {job_id} is removed with it." in published.text
        assert asked(cluster, "GET", f"{JOBS}/{job_id}/schedules") == []
