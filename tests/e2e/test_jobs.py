"""Goals as DC/OS Jobs: published as a whole, followed to the end, stopped when they are no longer wanted."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from e2e.faulty import proxy
from e2e.lab import App, Json, until

GOALS = ("deploy-single-canary", "deploy-canary-completely", "rollback-single-canary")


def names(app: App, revision: str) -> list[str]:
    slug = app.id.strip("/").replace("/", ".")
    return [f"{slug}-{revision}-{goal}" for goal in GOALS]


def mine(app: App) -> list[str]:
    slug = app.id.strip("/").replace("/", ".")
    return [job for job in app.lab.jobs() if job.startswith(slug)]


def runs(app: App, job_id: str) -> list[str]:
    return [run["id"] for run in app.lab.job(job_id)["activeRuns"]]


@pytest.fixture
def stranger(app: App) -> Iterator[str]:
    """A job of another app that runs within the test; its name begins like those of the tested app."""
    name = f"{app.id.strip('/')}-v1-nightly"
    run = {"cmd": "exec sleep 600", "cpus": 0.01, "mem": 32, "disk": 0}
    url = f"{app.lab.metronome_url}/v1/jobs"
    assert requests.post(url, json={"id": name, "run": run}, timeout=10).status_code == 201
    assert requests.post(f"{url}/{name}/runs", timeout=10).status_code == 201
    until(lambda: app.lab.job(name)["activeRuns"][0]["status"] == "ACTIVE")
    yield name
    requests.delete(f"{url}/{name}", params={"stopCurrentJobRuns": "true"}, timeout=10)


def job_template(app: App, cmd: str) -> str:
    """A job template with another command; {{ cmd }} is the packaged one."""
    run: Json = {"cmd": cmd, "cpus": 0.1, "mem": 32, "disk": 0, "docker": {"image": "{{ job_image }}"}}
    text = json.dumps({"id": "{{ id }}", "labels": 1, "run": {**run, "env": 2}})
    for place, name in (('"labels": 1', "labels"), ('"env": 2', "env")):
        text = text.replace(place, f'"{name}": {{{{ {name} | tojson }}}}')
    path = app.directory / "job.template.json"
    path.write_text(text)
    return str(path)


def test_publish_adds_three_jobs_and_touches_no_other(app: App, stranger: str) -> None:
    before = app.lab.job(stranger)
    published = app.publish("v1")
    assert mine(app) == sorted([stranger, *names(app, "v1")])
    assert published.result["jobs"] == sorted(names(app, "v1"))
    assert app.lab.job(stranger) == before
    assert app.apps() == []

    app.publish("v1")
    assert mine(app) == sorted([stranger, *names(app, "v1")])
    assert app.lab.job(stranger) == before


def test_rollback_stops_the_canary_run_whose_follower_was_lost(make_app: Callable[..., App]) -> None:
    """A CI agent that is lost leaves the run of its job in the cluster: another agent rolls back all the same."""
    app = make_app(2)
    app.promote("v1")
    app.write("v2", env={"SANDBOX_START_SECONDS": "5"})
    app.publish("v2")
    canary = names(app, "v2")[0]
    following = app.start("canary", "v2", "--via", "job")
    until(lambda: "v2" in app.runs())
    following.kill()
    assert runs(app, canary)
    back = app.run("rollback", "v2", "--via", "job")
    assert f"of {canary}" in back.text
    assert runs(app, canary) == []
    assert app.healthy() == {"v1": 2}


def test_publish_stops_an_unfollowed_run_of_a_replaced_job(app: App) -> None:
    app.publish("v1", "--job-template", job_template(app, "exec sleep 600"))
    job = names(app, "v1")[0]
    following = app.start("canary", "v1", "--via", "job")
    until(lambda: runs(app, job))
    beside = app.publish("v1", expect=6)
    assert "`bgci canary` of v1" in beside.err
    assert runs(app, job), "a run that is followed is not stopped"
    following.process.kill()
    following.end()
    app.publish("v1")
    assert runs(app, job) == []
    assert "sleep" not in app.lab.job(job)["run"]["cmd"]


def test_publish_that_fails_half_way_puts_the_earlier_jobs_back(app: App) -> None:
    app.publish("v1", "--wave", "2")
    before = [app.lab.job(job) for job in names(app, "v1")]
    third = names(app, "v1")[2].encode()
    refused: list[int] = []

    def fault(method: str, path: str, body: bytes) -> int | None:
        if method == "POST" and third in body and not refused:
            refused.append(422)
            return 422
        return None

    with proxy(app.lab.metronome_url) as metronome:
        metronome.fault = fault
        failed = app.publish("v1", "--wave", "3", expect=3, BGCI_METRONOME_URL=metronome.url)
    assert refused
    assert "The earlier jobs were restored" in failed.err
    assert [app.lab.job(job) for job in names(app, "v1")] == before


def test_publish_that_fails_half_way_removes_its_jobs_where_there_were_none(app: App) -> None:
    third = names(app, "v1")[2].encode()
    with proxy(app.lab.metronome_url) as metronome:
        metronome.fault = lambda method, path, body: 422 if method == "POST" and third in body else None
        failed = app.publish("v1", expect=3, BGCI_METRONOME_URL=metronome.url)
    assert "The earlier jobs were restored" in failed.err
    assert mine(app) == []


def test_publish_that_cannot_restore_the_earlier_jobs_does_not_claim_it(app: App) -> None:
    third = names(app, "v1")[2].encode()
    with proxy(app.lab.metronome_url) as metronome:
        metronome.fault = lambda method, path, body: 422 if third in body or method == "DELETE" else None
        failed = app.publish("v1", expect=3, BGCI_METRONOME_URL=metronome.url)
    assert "could not be restored" in failed.text
    assert "The earlier jobs were restored" not in failed.err
    app.publish("v1")
    assert mine(app) == sorted(names(app, "v1"))


def test_a_revision_with_the_same_job_name_does_not_replace_the_jobs_of_another(app: App) -> None:
    app.publish("1.0")
    before = [app.lab.job(job) for job in mine(app)]
    conflict = app.publish("1-0", expect=6)
    assert "the same job name" in conflict.err
    assert [app.lab.job(job) for job in mine(app)] == before


def test_h30_h31_a_job_carries_its_definition_and_no_credential(make_app: Callable[..., App]) -> None:
    app = make_app(1, name="/team-{}/web", group="team-{}/web")
    image = "registry.example.com/a&b|c/web:1@sha256:" + "0" * 64
    app.write("v1")
    slug = app.id.strip("/").replace("/", ".")
    running = app.lab.start(
        "publish", "--app", app.id, "--revision", "v1", "--image", image, directory=app.directory,
        BGCI_TOKEN="do-not-tell",
    )  # fmt: skip
    assert running.end().code == 0
    assert mine(app) == sorted(f"{slug}-v1-{goal}" for goal in GOALS)
    job = app.lab.job(f"{slug}-v1-deploy-single-canary")
    carried = json.loads(job["run"]["env"]["BGCI_JOB"])["definition"]
    assert carried["container"]["docker"]["image"] == image
    assert "do-not-tell" not in json.dumps(job)
    assert not any("do-not-tell" in path.read_text() for path in (app.directory / "bgci-artifacts").iterdir())


def test_a_release_by_jobs_in_a_folder_loses_no_request(make_app: Callable[..., App]) -> None:
    app = make_app(2, name="/team-{}/web", group="team-{}/web")
    by_job = ("--via", "job")
    app.publish("v1")
    app.canary("v1", *by_job)
    with app.load():
        app.publish("v2")
        app.canary("v2", *by_job)
        assert app.runs() == {"v1": 2, "v2": 1}
        app.rollback("v2", *by_job)
        assert app.healthy() == {"v1": 2}
        done = app.promote("v2", *by_job)
    assert app.healthy() == {"v2": 2}
    assert done.result["state"]["apps"][0]["revision"] == "v2"
    assert done.result["timings"]["total_seconds"] > 0
    assert any(step.get("do") == "delete" for step in done.decisions())


def test_the_exit_code_of_a_job_run_is_the_exit_code_of_the_stage(app: App) -> None:
    app.publish("v1")
    app.canary("v1", "--via", "job")
    conflict = app.rollback("v1", "--via", "job", expect=6)
    assert "nothing to go back to" in conflict.err

    app.write("v2", env={"SANDBOX_HEALTH": "fail"})
    app.publish("v2")
    unhealthy = app.canary("v2", "--via", "job", "--timeout", "6s", expect=8)
    assert unhealthy.result["name"] == "unhealthy"
    app.rollback("v2", "--via", "job")
    assert app.healthy() == {"v1": 2}


def test_h36_without_a_readable_log_the_exit_code_follows_from_the_state_of_the_group(app: App) -> None:
    app.promote("v1")
    app.write("v2", env={"SANDBOX_HEALTH": "fail"})
    app.publish("v2")
    hidden = ("/system/v1/logs", "/agent/", "/mesos/")
    with proxy(app.lab.where["cluster_url"]) as cluster:
        cluster.fault = lambda method, path, body: 403 if path.startswith(hidden) else None
        ended = app.canary("v2", "--via", "job", "--timeout", "6s", expect=8, BGCI_CLUSTER_URL=cluster.url)
    assert "The job's log cannot be read. Not permitted: GET /system/v1/logs/" in ended.out
    assert "0 of 1 instances" in ended.err


def test_h73_without_a_readable_log_a_failed_run_is_never_reported_as_a_success(app: App) -> None:
    app.promote("v1")
    app.publish("v1")
    app.publish("v2", "--job-template", job_template(app, "true"))
    with proxy(app.lab.where["cluster_url"]) as cluster:
        cluster.fault = lambda method, path, body: 403 if path.startswith(("/system/v1/logs", "/agent/")) else None
        refused = app.rollback("v1", "--via", "job", expect=6, BGCI_CLUSTER_URL=cluster.url)
        assert "failed with exit code 6. Its log cannot be read. Not permitted: GET " in refused.err
        no_bgci = app.canary("v2", "--via", "job", expect=5, BGCI_CLUSTER_URL=cluster.url)
    assert "reports success. Its log cannot be read." in no_bgci.err
    assert "Mesos reports TASK_FINISHED: Command exited with status 0. The goal is not reached." in no_bgci.err


def test_the_log_of_a_job_cannot_forge_a_line_of_bgci(app: App) -> None:
    forged = r"printf '::error::one\n##[error]two\n\033[2Ksection_start:0:x\n\r::set-output name=x::y\n'"
    app.publish("v1", "--job-template", job_template(app, forged + "; {{ cmd }}"))
    ran = app.canary("v1", "--via", "job")
    lines = ran.out.splitlines()
    assert "job | ::error::one" in lines
    assert "job | # # [error]two" in lines
    assert all(line.startswith(("[", "job | ", " ")) for line in lines), ran.out
    assert "\033" not in ran.out
    assert any(line.startswith("job | ") and "Create v1" in line for line in lines)


def stuck(app: App) -> str:
    """A published revision whose first job never ends; that job's id."""
    app.publish("v1", "--job-template", job_template(app, "exec sleep 600"))
    return names(app, "v1")[0]


def test_h32_a_run_that_never_ends_is_stopped_at_the_timeout(app: App) -> None:
    job = stuck(app)
    ended = app.canary("v1", "--via", "job", "--timeout", "3s", expect=9)
    assert ended.seconds < 60
    assert runs(app, job) == []
    assert job in ended.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_the_run(app: App, number: signal.Signals, code: int) -> None:
    job = stuck(app)
    running = app.start("canary", "v1", "--via", "job")
    until(lambda: runs(app, job))
    running.process.send_signal(number)
    ended = running.end()
    assert ended.code == code
    assert ended.result["name"] == "aborted"
    assert runs(app, job) == []


def test_h22_a_run_of_another_goal_of_the_same_app_is_a_conflict(app: App) -> None:
    job = stuck(app)
    running = app.start("canary", "v1", "--via", "job")
    until(lambda: runs(app, job))
    running.process.kill()  # its lock goes with it, the run goes on
    running.end()
    conflict = app.promote("v1", "--via", "job", expect=6)
    assert job in conflict.err


def test_on_abort_rollback_rolls_back_before_the_command_ends(app: App) -> None:
    app.promote("v1")
    app.write("v2", env={"SANDBOX_HEALTH": "fail"})
    running = app.start("canary", "v2", "--on-abort", "rollback")
    until(lambda: len(app.apps()) == 2)
    running.process.terminate()
    ended = running.end()
    assert ended.code == 143
    assert app.healthy() == {"v1": 2}


def test_an_aborted_promote_leaves_a_hybrid_that_the_same_command_finishes(app: App) -> None:
    app.promote("v1")
    running = app.start("promote", "v2")
    until(lambda: len(app.apps()) == 2)
    running.process.terminate()
    assert running.end().code == 143
    assert set(app.runs()) == {"v1", "v2"}
    app.promote("v2")
    assert app.healthy() == {"v2": 2}


def test_via_auto_uses_jobs_where_metronome_answers_and_runs_directly_elsewhere(app: App) -> None:
    app.publish("v1")
    by_job = app.canary("v1", "--via", "auto")
    assert by_job.result["job"] == names(app, "v1")[0]
    plain: dict[str, Any] = {"BGCI_CLUSTER_URL": "", "BGCI_MARATHON_URL": app.lab.marathon.url}
    directly = app.canary("v2", "--via", "auto", **plain)
    assert "job" not in directly.result
    refused = app.canary("v2", "--via", "job", expect=2, **plain)
    assert "Metronome" in refused.err


def test_prune_keeps_the_jobs_of_running_and_latest_revisions_and_touches_no_other(app: App, stranger: str) -> None:
    for revision in ("v1", "v2", "v3"):
        app.publish(revision, "--job-template", job_template(app, "true"))
        job = names(app, revision)[0]
        assert requests.post(f"{app.lab.metronome_url}/v1/jobs/{job}/runs", timeout=10).status_code == 201
        until(lambda job=job: app.lab.job(job, "history")["history"]["successfulFinishedRuns"])
    would = app.run("prune", "", "--keep", "1", "--dry-run")
    assert names(app, "v1")[0] in would.out
    assert len(mine(app)) == 10

    pruned = app.run("prune", "", "--keep", "2")
    assert sorted(pruned.result["removed"]) == sorted(names(app, "v1"))
    assert mine(app) == sorted([stranger, *names(app, "v2"), *names(app, "v3")])
    app.promote("v2")
    app.run("prune", "", "--keep", "0")
    assert mine(app) == sorted([stranger, *names(app, "v2")]), "v2 runs"


def test_publish_dry_run_shows_the_difference_and_changes_nothing(app: App) -> None:
    would = app.publish("v1", "--dry-run")
    assert mine(app) == []
    for job in names(app, "v1"):
        assert f"Plan: Publish job {job}." in would.out
    assert Path(app.directory / "bgci-artifacts" / "manifest.json").exists()
