"""Metronome: jobs, and runs that leave the list before they enter the history."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from contract.client import Metronome, Sandbox, until

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000")
RUN_ID = re.compile(r"\d{14}[A-Za-z0-9]{5}")


def job(name: str, command: str = "true", **run: Any) -> dict[str, Any]:
    return {"id": f"team.{name}", "run": {"cmd": command, "cpus": 0.01, "mem": 32, "disk": 0, **run}}


def start(metronome: Metronome, spec: dict[str, Any]) -> dict[str, Any]:
    """Creates the job and starts a run. Returns the run."""
    assert metronome.create(spec).status_code == 201
    reply = metronome.post(f"/v1/jobs/{spec['id']}/runs")
    assert reply.status_code == 201
    run: dict[str, Any] = reply.json()
    return run


def outcome(metronome: Metronome, run: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Waits for the run in the history. Returns its list there, and its entry."""

    def entry() -> Any:
        history = metronome.history(run["jobId"])
        for place in ("successfulFinishedRuns", "failedFinishedRuns"):
            for found in history[place]:
                if found["id"] == run["id"]:
                    return place, found
        return None

    place, found = until(entry)
    return place, found


def test_creation_answers_201_with_the_defaults(metronome: Metronome, name: str) -> None:
    reply = metronome.create(job(name))
    spec = reply.json()
    assert reply.status_code == 201
    assert (spec["id"], spec["labels"]) == (f"team.{name}", {})
    defaults = {
        "artifacts": [], "env": {}, "placement": {"constraints": []}, "restart": {"policy": "NEVER"}, "volumes": [],
        "secrets": {}, "networks": [], "gpus": 0, "maxLaunchDelay": 3600,
    }  # fmt: skip
    assert {key: spec["run"][key] for key in defaults} == defaults
    shown = metronome.get(f"/v1/jobs/team.{name}").json()
    assert shown["schedules"] == []
    assert not shown.keys() & {"history", "historySummary", "activeRuns"}


def test_second_creation_is_a_conflict_and_a_missing_job_404(metronome: Metronome, name: str) -> None:
    metronome.create(job(name))
    reply = metronome.create(job(name))
    assert (reply.status_code, reply.json()) == (409, {"message": "Job with this id already exists"})
    missing = (404, {"id": f"team.{name}x", "message": "Job not found"})
    path = f"/v1/jobs/team.{name}x"
    replies = [
        metronome.get(path),
        metronome.delete(path),
        metronome.put(path, job(name)),
        metronome.post(f"{path}/runs"),
        metronome.get(f"{path}/runs"),
    ]
    assert [(r.status_code, r.json()) for r in replies] == [missing] * len(replies)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"run": {"cmd": "true", "cpus": 0, "mem": 32, "disk": 0}}, "/run/cpus"),
        ({"run": {"cmd": "true", "cpus": 1, "mem": 31, "disk": 0}}, "/run/mem"),
        ({"run": {"cpus": 1, "mem": 32, "disk": 0}}, "/run"),
        ({"run": {"args": ["x"], "cpus": 1, "mem": 32, "disk": 0}}, "/run"),
        ({"run": {"cmd": "true", "cpus": 1, "mem": 32, "disk": 0, "env": {"A": 1}}}, "/run/env/A"),
        ({"run": {"cmd": "true", "cpus": 1, "mem": 32, "disk": 0, "foo": 1}}, "/run"),
        ({"run": {"cmd": "true", "cpus": 1, "mem": 32, "disk": 0, "secrets": {"a": {"source": "b"}}}}, "/run"),
        ({"run": {"cmd": "true", "cpus": 1, "mem": 32, "disk": 0, "restart": {}}}, "/run/restart"),
        ({"id": "Upper"}, "/id"),
        ({"id": "team/web"}, "/id"),
        ({"history": {}}, ""),
        ({"description": None}, "/description"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_invalid_job_is_422_with_the_path(metronome: Metronome, name: str, change: dict[str, Any], path: str) -> None:
    reply = metronome.create({**job(name), **change})
    assert (reply.status_code, reply.json()["message"]) == (422, "Object is not valid")
    assert path in {detail["path"] for detail in reply.json()["details"]}


def test_bad_requests_name_their_path(metronome: Metronome, name: str) -> None:
    for body in ("{", "", '{"id": NaN}', "\xff"):
        broken = send(metronome, body.encode("latin-1"))
        assert (broken.status_code, broken.json()["requestPath"]) == (400, "/v1/jobs")
    typed = send(metronome, b"{}", "text/plain")
    assert (typed.status_code, typed.json()["requestPath"]) == (415, "/v1/jobs")
    named = metronome.get("/v1/jobs/Bad_Id")
    assert (named.status_code, named.json()["message"]) == (400, "Not a valid id: Bad_Id")
    unknown = metronome.get("/v1/nothing")
    assert (unknown.status_code, unknown.json()["message"]) == (404, "Unknown route.")


def send(metronome: Metronome, body: bytes, content_type: str = "application/json") -> requests.Response:
    return requests.post(f"{metronome.url}/v1/jobs", data=body, headers={"Content-Type": content_type}, timeout=10)


@pytest.mark.parametrize("query", ["embed=everything", "embed=", "embed=history,,activeRuns", "embed=history&embed=x"])
def test_embed_option_that_is_unknown_or_empty_is_400(metronome: Metronome, name: str, query: str) -> None:
    for path in ("/v1/jobs", f"/v1/jobs/team.{name}"):
        reply = metronome.get(f"{path}?{query}")
        assert (reply.status_code, reply.json()["requestPath"]) == (400, path)


def test_stop_current_job_runs_is_a_boolean_or_400(metronome: Metronome, name: str) -> None:
    metronome.create(job(name))
    assert metronome.delete(f"/v1/jobs/team.{name}?stopCurrentJobRuns=maybe").status_code == 400
    assert metronome.delete(f"/v1/jobs/team.{name}?stopCurrentJobRuns=0").status_code == 200


def test_h58_body_may_have_102400_bytes(metronome: Metronome, name: str) -> None:
    spec = job(name, env={"A": ""})
    spec["run"]["env"]["A"] = "x" * (102_400 - len(json.dumps(spec)))
    assert send(metronome, json.dumps(spec).encode()).status_code == 201
    metronome.created.append(spec["id"])
    spec["run"]["env"]["A"] += "x"
    refused = metronome.put(f"/v1/jobs/{spec['id']}", spec)
    message = {"message": "Request Entity Too Large", "requestPath": f"/v1/jobs/{spec['id']}"}
    assert (refused.status_code, refused.json()) == (413, message)


def test_list_shows_active_runs_of_jobs_that_have_some(metronome: Metronome, name: str) -> None:
    metronome.create(job(f"{name}-idle"))
    start(metronome, job(name, "sleep 60"))
    shown = {one["id"]: one for one in metronome.get("/v1/jobs", params={"embed": "activeRuns"}).json()}
    assert len(shown[f"team.{name}"]["activeRuns"]) == 1
    assert "activeRuns" not in shown[f"team.{name}-idle"]
    assert metronome.get(f"/v1/jobs/team.{name}-idle?embed=activeRuns").json()["activeRuns"] == []


def test_update_overrides_the_id_and_refuses_embedded_history(metronome: Metronome, name: str) -> None:
    metronome.create(job(name))
    changed = metronome.put(f"/v1/jobs/team.{name}", {**job("other", "false"), "labels": {"a": "b"}})
    assert (changed.status_code, changed.json()["id"], changed.json()["run"]["cmd"]) == (200, f"team.{name}", "false")
    shown = metronome.get(f"/v1/jobs/team.{name}", params={"embed": "historySummary"}).json()
    assert metronome.put(f"/v1/jobs/team.{name}", shown).status_code == 422


def runs(run: Any) -> bool:
    return bool(run["tasks"][0]["status"] == "TASK_RUNNING")


def test_run_is_initial_then_active_then_in_the_history(metronome: Metronome, name: str) -> None:
    run = start(metronome, job(name, "sleep 4"))
    assert RUN_ID.fullmatch(run["id"])
    assert TIME.fullmatch(run["createdAt"])
    assert (run["jobId"], run["status"], run["completedAt"], run["tasks"]) == (f"team.{name}", "INITIAL", None, [])
    path = f"/v1/jobs/team.{name}/runs/{run['id']}"
    active = until(lambda: (r := metronome.get(path).json())["tasks"] and runs(r) and r)
    assert active["status"] == "ACTIVE"
    assert active["tasks"][0]["id"].startswith(f"team_{name}_{run['id']}.")
    assert [r["id"] for r in metronome.get(f"/v1/jobs/team.{name}/runs").json()] == [run["id"]]
    place, entry = outcome(metronome, run)
    assert (place, entry["tasks"]) == ("successfulFinishedRuns", [active["tasks"][0]["id"]])
    assert TIME.fullmatch(entry["finishedAt"])


@pytest.mark.sandbox_only
def test_finished_run_is_briefly_neither_active_nor_in_the_history(server: Callable[..., Sandbox], name: str) -> None:
    metronome = Metronome(server("--history-gap", "1").metronome_url)
    run = start(metronome, job(name))
    path = f"/v1/jobs/team.{name}/runs/{run['id']}"
    until(lambda: metronome.get(path).status_code == 404)
    missing = {"jobSpec": f"team.{name}", "id": run["id"], "message": "Job Run not found"}
    assert metronome.history(f"team.{name}")["successfulFinishedRuns"] == []
    assert metronome.get(path).json() == missing
    assert outcome(metronome, run)[0] == "successfulFinishedRuns"


def test_failed_command_is_a_failed_run(metronome: Metronome, name: str) -> None:
    run = start(metronome, job(name, "exit 6"))
    assert outcome(metronome, run)[0] == "failedFinishedRuns"
    history = metronome.history(f"team.{name}")
    assert (history["successCount"], history["failureCount"]) == (0, 1)
    assert history["lastSuccessAt"] is None
    assert TIME.fullmatch(history["lastFailureAt"])


@pytest.mark.sandbox_only
@pytest.mark.parametrize(
    "image", [{"docker": {"image": "registry.invalid/a"}}, {"ucr": {"image": {"id": "b.invalid:5000/c"}}}]
)
def test_run_whose_image_no_agent_can_pull_fails(metronome: Metronome, name: str, image: dict[str, Any]) -> None:
    run = start(metronome, job(name, **image))
    place, entry = outcome(metronome, run)
    assert (place, len(entry["tasks"])) == ("failedFinishedRuns", 1)


def test_history_is_newest_first_and_summed_up(metronome: Metronome, name: str) -> None:
    first = start(metronome, job(name))
    outcome(metronome, first)
    second = metronome.post(f"/v1/jobs/team.{name}/runs").json()
    outcome(metronome, second)
    runs = metronome.history(f"team.{name}")["successfulFinishedRuns"]
    assert [run["id"] for run in runs] == [second["id"], first["id"]]
    summary = metronome.get(f"/v1/jobs/team.{name}?embed=historySummary,activeRuns").json()
    assert summary["historySummary"].keys() == {"successCount", "failureCount", "lastSuccessAt", "lastFailureAt"}
    assert (summary["historySummary"]["successCount"], summary["activeRuns"]) == (2, [])


def test_stop_fails_the_run_at_once(metronome: Metronome, name: str) -> None:
    run = start(metronome, job(name, "trap '' TERM; sleep 60", taskKillGracePeriodSeconds=1))
    path = f"/v1/jobs/team.{name}/runs/{run['id']}"
    until(lambda: metronome.get(path).json()["status"] == "ACTIVE")
    stopped = metronome.post(f"{path}/actions/stop")
    assert (stopped.status_code, stopped.json()["status"]) == (200, "FAILED")
    assert metronome.get(path).status_code == 404
    assert metronome.post(f"{path}/actions/stop").status_code == 404
    assert outcome(metronome, run)[0] == "failedFinishedRuns"


def test_job_with_active_runs_is_deleted_only_if_they_are_stopped(metronome: Metronome, name: str) -> None:
    start(metronome, job(name, "sleep 60"))
    refused = metronome.delete(f"/v1/jobs/team.{name}")
    message = {"message": "There are active job runs. Override with stopCurrentJobRuns=true"}
    assert (refused.status_code, refused.json()) == (409, message)
    deleted = metronome.delete(f"/v1/jobs/team.{name}?stopCurrentJobRuns=true")
    assert (deleted.status_code, deleted.json()["id"]) == (200, f"team.{name}")
    assert metronome.get(f"/v1/jobs/team.{name}").status_code == 404


@pytest.mark.sandbox_only
def test_restart_on_failure_launches_further_tasks_in_the_same_run(
    metronome: Metronome, name: str, tmp_path: Path
) -> None:
    command = 'test -e "$MARK" || { touch "$MARK"; exit 1; }'
    restart = {"policy": "ON_FAILURE", "activeDeadlineSeconds": 60}
    run = start(metronome, job(name, command, restart=restart, env={"MARK": str(tmp_path / "mark")}))
    place, entry = outcome(metronome, run)
    assert (place, len(entry["tasks"])) == ("successfulFinishedRuns", 2)


def test_h72_run_that_is_restarted_stays_active_with_all_its_tasks_until_it_is_stopped(
    metronome: Metronome, name: str
) -> None:
    run = start(metronome, job(name, "exit 8", restart={"policy": "ON_FAILURE"}))
    path = f"/v1/jobs/team.{name}/runs/{run['id']}"
    shown = until(lambda: len((r := metronome.get(path).json())["tasks"]) > 2 and r)
    assert (shown["status"], shown["completedAt"]) == ("ACTIVE", None)
    ended = sorted(shown["tasks"], key=lambda task: str(task["startedAt"]))[0]
    assert (ended["status"], ended.get("completedAt")) == ("TASK_FAILED", None)
    assert metronome.post(f"{path}/actions/stop").status_code == 200
    assert outcome(metronome, run)[0] == "failedFinishedRuns"


@pytest.mark.sandbox_only
def test_deadline_ends_the_restarts(metronome: Metronome, name: str) -> None:
    restart = {"policy": "ON_FAILURE", "activeDeadlineSeconds": 0}
    run = start(metronome, job(name, "false", restart=restart))
    place, entry = outcome(metronome, run)
    assert (place, len(entry["tasks"])) == ("failedFinishedRuns", 1)


def test_h60_deadline_of_a_job_that_is_never_restarted_ends_nothing(metronome: Metronome, name: str) -> None:
    run = start(metronome, job(name, "sleep 1.5", restart={"policy": "NEVER", "activeDeadlineSeconds": 1}))
    assert outcome(metronome, run)[0] == "successfulFinishedRuns"


def test_dependencies_must_exist_and_hold_a_job(metronome: Metronome, name: str) -> None:
    metronome.create(job(name))
    child = {**job(f"{name}-child"), "dependencies": [{"id": f"team.{name}"}]}
    unknown = metronome.create({**child, "dependencies": [{"id": "none"}]})
    assert (unknown.status_code, unknown.json().keys()) == (422, {"message"})
    assert metronome.create(child).status_code == 201
    assert metronome.delete(f"/v1/jobs/team.{name}").status_code == 409
    itself = metronome.put(f"/v1/jobs/team.{name}-child", {**child, "dependencies": [{"id": child["id"]}]})
    assert (itself.status_code, itself.json()) == (422, {"message": "Dependencies have a cycle."})


def test_stopping_a_run_of_an_unknown_job_names_the_job(metronome: Metronome, name: str) -> None:
    path = f"/v1/jobs/team.{name}/runs/20240501100259Ab3dE/actions/stop"
    assert metronome.post(path).json() == {"id": f"team.{name}", "message": "Job not found"}
    metronome.create(job(name))
    missing = {"jobSpec": f"team.{name}", "id": "20240501100259Ab3dE", "message": "Job Run not found"}
    assert metronome.post(path).json() == missing


@pytest.mark.sandbox_only
def test_waiting_run_is_queued_under_the_first_segment(metronome: Metronome, name: str) -> None:
    run = start(metronome, job(name))
    queue = metronome.get("/v1/queue").json()
    assert metronome.get(f"/v1/jobs/team.{name}/runs/{run['id']}").json()["status"] in ("INITIAL", "ACTIVE")
    queued = [entry for entry in queue if {"runId": run["id"]} in entry["runs"]]
    assert [entry["jobId"] for entry in queued] in ([], ["team"])
    outcome(metronome, run)
