"""The content of a job, options of a stage that differ from it, and following a run during failures."""

from __future__ import annotations

import json
import random
import zipfile
from pathlib import Path

import requests

from e2e.faulty import proxy
from e2e.lab import App, Json, until
from e2e.test_jobs import job_template, names, runs, stuck

BY_JOB = ("--via", "job")


def document(app: App, job: str) -> Json:
    found: Json = json.loads(app.lab.job(job)["run"]["env"]["BGCI_JOB"])
    return found


def test_an_option_that_is_given_only_to_the_stage_is_honoured(app: App) -> None:
    app.promote("v1")
    app.publish("v2")
    canary, promote, _ = names(app, "v2")
    before = document(app, canary)["options"]
    ran = app.canary("v2", *BY_JOB, "--strategy", "rolling", "--drain-timeout", "50s")
    after = document(app, canary)["options"]
    assert (before["strategy"], before["drain_timeout"]) == ("bluegreen", "60s")
    assert (after["strategy"], after["drain_timeout"]) == ("rolling", "50s")
    assert "--strategy rolling, published with bluegreen" in ran.out
    assert "(rolling)" in ran.out, "the run itself goes by it"
    assert document(app, promote)["options"] == before, "the other jobs are as they were"


def test_the_deadline_of_a_run_follows_the_timeout_of_its_stage(app: App) -> None:
    app.publish("v1")
    app.canary("v1", *BY_JOB, "--timeout", "200s")
    run = app.lab.job(names(app, "v1")[0])["run"]
    assert run["cmd"].startswith("exec timeout -k 30 365 bgci canary")
    assert run["restart"]["activeDeadlineSeconds"] == 365


def test_an_image_or_definition_that_differs_from_the_published_one_is_a_conflict_with_both(app: App) -> None:
    app.publish("v1")
    words = ("canary", "--app", app.id, "--revision", "v1", *BY_JOB)
    other = app.lab.start(*words, "--image", "image:other", directory=app.directory).end()
    assert other.code == 6
    assert "--image image:other, published with image:v1" in other.err
    app.write("v1", env={"CHANGED": "yes"})
    changed = app.canary("v1", *BY_JOB, "--template-dir", ".", expect=6)
    assert "CHANGED" in changed.err
    image = app.canary("v1", *BY_JOB, "--job-image", "example/bgci:other", expect=6)
    assert "--job-image example/bgci:other, published with bgci:latest" in image.err
    assert app.apps() == []


def test_an_active_run_is_not_joined_with_different_options(app: App) -> None:
    job = stuck(app)
    running = app.start("canary", "v1", *BY_JOB)
    until(lambda: runs(app, job))
    running.process.kill()  # its lock goes with it, the run goes on
    running.end()
    refused = app.canary("v1", *BY_JOB, "--wave", "2", expect=6)
    assert "--wave 2, published with 1" in refused.err


def test_a_rollback_needs_only_app_and_revision(app: App, tmp_path: Path) -> None:
    app.promote("v1")
    for revision, via in (("v2", "direct"), ("v3", "job")):
        app.publish(revision)
        app.canary(revision)
        words = ("rollback", "--app", app.id, "--revision", revision, "--via", via)
        done = app.lab.start(*words, directory=tmp_path, BGCI_IMAGE="of/another:pipeline").end()
        assert done.code == 0, done.text
        assert app.healthy() == {"v1": 2}


def test_following_a_run_outlasts_an_outage_of_metronome(app: App) -> None:
    app.publish("v1", "--job-template", job_template(app, "sleep 3; {{ cmd }}"))
    with proxy(app.lab.where["cluster_url"]) as cluster:
        running = app.start("canary", "v1", *BY_JOB, BGCI_CLUSTER_URL=cluster.url)
        until(lambda: runs(app, names(app, "v1")[0]))

        def of_metronome() -> int:
            return sum("/service/metronome" in path for _, path in cluster.seen)

        before = of_metronome()
        cluster.fault = lambda method, path, body: 503 if "/service/metronome" in path else None
        until(lambda: of_metronome() > before + 6)  # one request and all of its retries, and another one
        cluster.fault = lambda method, path, body: None
        ended = running.end()
    assert ended.code == 0, ended.text
    assert "Metronome does not answer" in ended.out
    assert app.healthy() == {"v1": 2}


def replaced(app: App, job: str) -> None:
    """Replaces the job like a publish, without regard to locks."""
    jobs, options = f"{app.lab.metronome_url}/v1/jobs", {"timeout": 30, **app.lab.options}
    document = {name: value for name, value in app.lab.job(job).items() if name != "activeRuns"}
    deleted = requests.delete(f"{jobs}/{job}", params={"stopCurrentJobRuns": "true"}, **options)
    assert deleted.status_code == 200, deleted.text
    created = requests.post(jobs, json=document, **options)
    assert created.status_code == 201, created.text


def test_h59_a_run_whose_job_is_replaced_is_reported_as_gone_at_once(app: App) -> None:
    job = stuck(app)
    running = app.start("canary", "v1", *BY_JOB)
    until(lambda: runs(app, job))
    replaced(app, job)
    ended = running.end(60)
    assert ended.code == 6, ended.text
    assert job in ended.err
    assert "job was replaced" in ended.err
    assert "un the same command again" in ended.err
    assert "Stopped run" not in ended.text


def test_a_definition_that_is_too_large_as_text_is_carried_compressed_and_runs(app: App) -> None:
    app.write("v1", env={"LARGE": "ab" * 55_000})
    app.publish("v1")
    assert not app.lab.job(names(app, "v1")[0])["run"]["env"]["BGCI_JOB"].startswith("{")
    app.canary("v1", *BY_JOB)
    assert app.apps()[0]["env"]["LARGE"] == "ab" * 55_000


def test_h58_a_definition_too_large_for_a_job_is_refused_by_render_with_its_largest_parts(app: App) -> None:
    noise = random.Random(1)  # nothing compresses it
    app.write("v1", env={"NOISE": noise.randbytes(90_000).hex()})
    refused = app.run("render", "v1", expect=3)
    assert "$.env.NOISE" in refused.err
    assert "102400" in refused.err


def test_publish_without_an_image_for_the_jobs_is_a_usage_error_that_names_the_option(app: App) -> None:
    refused = app.publish("v1", expect=2, BGCI_JOB_IMAGE="")
    assert "--job-artifact" in refused.err
    assert not [job for job in app.lab.jobs() if job.startswith(app.id.strip("/"))]
    app.run("release", "v1", expect=2, BGCI_JOB_IMAGE="", BGCI_VIA="job")
    app.run("render", "v1", BGCI_JOB_IMAGE="")


def test_a_job_runs_the_bgci_that_mesos_fetches_into_it(app: App, tmp_path: Path) -> None:
    archive = tmp_path / "bgci-own.pyz"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("__main__.py", "print('fetched', flush=True)\nfrom bgci.cli import main\nmain()\n")
    app.publish("v1", "--job-artifact", f"file://{archive}", BGCI_JOB_IMAGE="")
    job = app.lab.job(next(one for one in app.lab.jobs() if one.startswith(app.id.strip("/"))))
    assert job["run"]["docker"]["image"] == "python:3.12-slim"
    ran = app.promote("v1", BGCI_VIA="job", BGCI_JOB_IMAGE="")
    assert "job | fetched" in ran.text
    assert app.healthy() == {"v1": 2}
