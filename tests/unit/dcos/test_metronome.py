"""Metronome's client: jobs, and runs that are in no list for a moment after their end."""

from __future__ import annotations

import pytest

from bgci.dcos.http import Http
from bgci.dcos.metronome import JobRun, Metronome, spec
from bgci.errors import ConflictError, InvalidError, UnavailableError

JOB = {"id": "team.web", "run": {"cmd": "true", "cpus": 0.1, "mem": 32, "disk": 0}}
EXTRAS = {"schedules": [], "activeRuns": [], "history": {"successCount": 0}, "historySummary": {}, "description": None}
NO_JOB = {"id": "team.web", "message": "Job not found"}
NO_RUN = {"jobSpec": "team.web", "id": "r1", "message": "Job Run not found"}


@pytest.fixture
def metronome(stub):
    return Metronome(Http(stub.url, backoff=0.01, retries=1))


def history(successful=(), failed=()):
    def runs(ids):
        return [{"id": run_id, "tasks": [f"team_web_{run_id}.uuid"]} for run_id in ids]

    return {**JOB, "history": {"successfulFinishedRuns": runs(successful), "failedFinishedRuns": runs(failed)}}


def test_a_metronome_that_answers_is_available(stub, metronome, answer):
    stub.tell("GET", "/ping", answer(200, "pong", "text/plain"))
    assert metronome.available()


def test_a_cluster_without_metronome_is_recognised(metronome):
    assert not metronome.available()


def test_a_metronome_that_is_down_is_not_taken_for_absent(stub, metronome, answer):
    stub.tell("GET", "/ping", answer(502, "<h1>502</h1>", "text/html"))
    with pytest.raises(UnavailableError):
        metronome.available()


def test_an_incomplete_answer_of_metronome_is_requested_again(stub, metronome, answer):
    stub.tell("GET", "/ping", answer(200, "", "text/plain"), answer(200, "pong", "text/plain"))
    assert metronome.available()


def test_another_service_in_place_of_metronome_is_not_taken_for_an_absent_metronome(stub, metronome, answer):
    stub.tell("GET", "/ping", answer(200, "", "text/plain"))
    with pytest.raises(UnavailableError, match="does not answer like Metronome"):
        metronome.available()


def test_jobs_and_active_runs_are_parsed(stub, metronome):
    stub.json("/v1/jobs", [JOB])
    stub.json("/v1/jobs/team.web/runs", [{"id": "r1"}])
    (job,) = metronome.jobs()
    assert (job.id, job.spec, job.active_runs) == ("team.web", JOB, ())
    assert metronome.active_runs("team.web") == [JobRun("r1", "UNKNOWN")]


@pytest.mark.parametrize(
    "wrong",
    [{}, [7], [{}], [{**JOB, "labels": []}], [{**JOB, "activeRuns": 3}], [{**JOB, "activeRuns": [{"tasks": []}]}]],
)
def test_a_wrong_type_in_an_answer_is_unavailable_and_named(stub, metronome, wrong):
    stub.json("/v1/jobs", wrong)
    with pytest.raises(UnavailableError, match="does not answer like Metronome"):
        metronome.jobs()


def test_a_missing_job_is_none(stub, metronome):
    stub.json("/v1/jobs/team.web", NO_JOB, status=404)
    stub.json("/v1/jobs/team.web/runs", NO_JOB, status=404)
    assert metronome.job("team.web") is None
    assert metronome.active_runs("team.web") == []


def test_a_404_of_another_server_is_not_a_missing_job(metronome):
    with pytest.raises(UnavailableError, match="service not found"):
        metronome.job("team.web")


def test_a_job_that_was_read_can_be_written_back(stub, metronome):
    assert spec({**JOB, **EXTRAS}) == JOB
    stub.json("/v1/jobs/team.web", JOB, method="PUT")
    stub.json("/v1/jobs", JOB, status=201, method="POST")
    metronome.update({**JOB, **EXTRAS})
    metronome.create({**JOB, **EXTRAS})
    assert [asked.body for asked in stub.asked] == [JOB, JOB]


def test_creating_an_existing_job_is_a_conflict(stub, metronome):
    stub.json("/v1/jobs", {"message": "Job with this id already exists"}, status=409, method="POST")
    with pytest.raises(ConflictError, match=r"team\.web: Job with this id already exists"):
        metronome.create(JOB)


def test_a_job_that_is_too_large_is_invalid_and_its_message_suggests_no_retry(stub, metronome):
    body = {"message": "Request Entity Too Large", "requestSize": "102401"}
    stub.json("/v1/jobs", body, status=413, method="POST")
    with pytest.raises(InvalidError, match="too large for Metronome: Request Entity Too Large"):
        metronome.create(JOB)


def test_an_invalid_job_is_refused_with_the_paths_of_its_errors(stub, metronome):
    body = {"message": "Object is not valid", "details": [{"path": "/run/cpus", "errors": ["too small"]}]}
    stub.json("/v1/jobs", body, status=422, method="POST")
    with pytest.raises(InvalidError, match=r"/run/cpus: too small"):
        metronome.create(JOB)


def test_deleting_a_job_stops_its_runs_and_accepts_a_missing_job(stub, metronome):
    stub.json("/v1/jobs/team.web", NO_JOB, status=404, method="DELETE")
    metronome.delete("team.web")
    assert stub.asked[0].query == [("stopCurrentJobRuns", "true")]


def test_starting_sends_a_content_type_without_a_body(stub, metronome):
    """Metronome answers 415 otherwise."""
    stub.json("/v1/jobs/team.web/runs", {"id": "r1", "status": "INITIAL"}, status=201, method="POST")
    assert metronome.start("team.web").id == "r1"
    assert stub.asked[0].headers["content-type"] == "application/json"


def test_starting_an_unknown_job_is_a_conflict_that_names_publish(stub, metronome):
    stub.json("/v1/jobs/team.web/runs", NO_JOB, status=404, method="POST")
    with pytest.raises(ConflictError) as caught:
        metronome.start("team.web")
    assert "bgci publish" in caught.value.remedy


def test_an_active_run_shows_its_tasks(stub, metronome):
    stub.json("/v1/jobs/team.web/runs/r1", {"id": "r1", "status": "ACTIVE", "tasks": [{"id": "t1"}]})
    state = metronome.run("team.web", "r1")
    assert state == JobRun("r1", "ACTIVE", ("t1",))
    assert not state.finished


def test_h36_a_run_between_active_and_history_is_neither_failed_nor_done(stub, metronome, answer):
    stub.json("/v1/jobs/team.web/runs/r1", NO_RUN, status=404)
    stub.tell("GET", "/v1/jobs/team.web", answer(200, history(["r0"])), answer(200, history(["r1", "r0"])))
    assert metronome.run("team.web", "r1") == JobRun("r1", "UNKNOWN")
    done = metronome.run("team.web", "r1")
    assert done == JobRun("r1", "SUCCESS", ("team_web_r1.uuid",))
    assert done.finished
    assert ("embed", "history") in stub.asked[-1].query


def test_h36_a_failed_run_is_found_in_the_history(stub, metronome):
    stub.json("/v1/jobs/team.web/runs/r1", NO_RUN, status=404)
    stub.json("/v1/jobs/team.web", history(failed=["r1"]))
    assert metronome.run("team.web", "r1").status == "FAILED"


def test_a_job_deleted_under_its_run_is_a_conflict(stub, metronome):
    stub.json("/v1/jobs/team.web/runs/r1", NO_RUN, status=404)
    stub.json("/v1/jobs/team.web", NO_JOB, status=404)
    with pytest.raises(ConflictError, match="no longer exist"):
        metronome.run("team.web", "r1")


def test_stopping_an_ended_run_succeeds(stub, metronome):
    stub.json("/v1/jobs/team.web/runs/r1/actions/stop", NO_RUN, status=404, method="POST")
    metronome.stop("team.web", "r1")
    assert len(stub.asked) == 1


def test_tasks_of_a_run_are_in_the_order_of_their_start_whatever_the_order_of_the_answer(stub, metronome):
    """A map with more than four tasks has no order (metronome: JobRun.tasks)."""
    times = ["10:02:59.735", "10:03:00.001", "10:03:01.000", "10:03:02.100", "10:03:02.900"]
    tasks = [{"id": f"t{n}", "startedAt": f"2024-05-01T{time}+0000"} for n, time in enumerate(times)]
    shown = [tasks[n] for n in (3, 1, 4, 0, 2)]
    stub.json("/v1/jobs/team.web/runs/r1", {"id": "r1", "status": "ACTIVE", "tasks": shown})
    assert metronome.run("team.web", "r1").task_ids == ("t0", "t1", "t2", "t3", "t4")


def test_enabled_schedules_of_a_job_are_named(stub, metronome):
    schedules = [{"id": "nightly", "enabled": True}, {"id": "paused", "enabled": False}, {"id": "old"}]
    stub.json("/v1/jobs/team.web", {**JOB, "schedules": schedules})
    job = metronome.job("team.web")
    assert job.schedules == ("nightly", "old")
    assert "schedules" not in job.spec
