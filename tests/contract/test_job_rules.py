"""The jobs that Metronome accepts, and their stored form: recorded from Metronome 0.6.70, rule by rule of its
schema."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from contract.client import Metronome, Sandbox, until
from contract.test_jobs import job, outcome, start

DATA = Path(__file__).parent.parent / "data" / "metronome"
DOCKER, UCR = {"image": "x"}, {"image": {"id": "x"}}
NETWORK, SECRET = {"mode": "container", "name": "n"}, {"A": {"secret": "s"}}
NEVER = {"policy": "NEVER"}
ATTRIBUTE = {"attribute": "a", "operator": "IS"}
VERDICTS = [json.loads(line) for line in gzip.decompress((DATA / "verdicts.jsonl.gz").read_bytes()).splitlines()]


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda verdict: verdict["name"][:60])
def test_job_gets_the_verdict_of_the_real_metronome(metronome: Metronome, verdict: dict[str, Any]) -> None:
    reply = metronome.create(verdict["definition"])
    details = reply.json().get("details", [])
    assert reply.status_code == verdict["status"]
    assert sorted(detail["path"] for detail in details) == sorted(verdict["paths"])
    if reply.status_code == 422:
        assert sorted(error for detail in details for error in detail["errors"]) == sorted(verdict["messages"])


@pytest.mark.parametrize(
    ("run", "stored"),
    [
        ({"ucr": {"image": {"id": "x"}}}, {"id": "x", "kind": "docker", "forcePull": False}),
        ({"ucr": {"image": {"id": "x", "kind": "appc"}}}, {"id": "x", "kind": "appc", "forcePull": False}),
        ({"taskKillGracePeriodSeconds": 0.5}, 0),
        ({"taskKillGracePeriodSeconds": -1}, -1),
        ({"env": {"A": {"secret": "s", "x": 1}}, "secrets": {"s": {"source": "p"}}}, {"A": {"secret": "s"}}),
        ({"secrets": {"s": {"source": "p", "y": 2}}, "env": {"A": {"secret": "s"}}}, {"s": {"source": "p"}}),
        ({"networks": [{"mode": "host", "labels": {}}]}, [{"mode": "host"}]),
        ({"restart": {"policy": "NEVER", "activeDeadlineSeconds": 1.0}}, {**NEVER, "activeDeadlineSeconds": 1}),
        ({"placement": {"constraints": [{**ATTRIBUTE, "operator": "EQ"}]}}, {"constraints": [ATTRIBUTE]}),
    ],
    ids=lambda value: str(value)[:60],
)
def test_job_is_stored_in_full(metronome: Metronome, name: str, run: dict[str, Any], stored: Any) -> None:
    reply = metronome.create(job(name, **run))
    assert reply.status_code == 201, reply.text
    kept = reply.json()["run"]
    assert (kept["ucr"]["image"] if "ucr" in run else kept[next(iter(run))]) == stored


@pytest.mark.parametrize(
    ("run", "path", "error"),
    [
        ({"gpus": 1, "docker": DOCKER}, "/run/gpus", "GPUs are not supported with Docker"),
        (
            {"networks": [{"mode": "container/bridge"}]},
            "/run/networks",
            "Only containers may join container or bridge networks",
        ),
        ({"ucr": UCR, "networks": [NETWORK, NETWORK]}, "/run/networks", "network names must be unique"),
        ({"docker": DOCKER, "ucr": UCR}, "/run", "Either Docker or UCR should be provided, but not both"),
        ({"env": SECRET, "secrets": {"s": {}}}, "/run/secrets/s/source", "'source' is undefined on object: {}"),
        ({"cpus": 0.0}, "/run/cpus", "0.0 is smaller than required minimum value of 0.01."),
        ({"cpus": 0.00001}, "/run/cpus", "0.00001 is smaller than required minimum value of 0.01."),
        ({"gpus": 2**31}, "/run/gpus", "error.expected.int"),
        ({"env": {"A": {"secret": None}}}, "/run/env/A", "Instance does not match any schema."),
    ],
    ids=lambda value: str(value)[:40],
)
def test_rule_beyond_the_schema_is_422_with_its_path(
    metronome: Metronome, name: str, run: dict[str, Any], path: str, error: str
) -> None:
    reply = metronome.create(job(name, **run))
    assert (reply.status_code, reply.json()["details"]) == (422, [{"path": path, "errors": [error]}])


@pytest.mark.parametrize(
    "run",
    [
        {"networks": [{"mode": "host", "name": "n"}]},
        {"docker": {"image": "x"}, "networks": [{"mode": "container", "name": ""}]},
        {"taskKillGracePeriodSeconds": 2**40},
    ],
    ids=str,
)
def test_some_mistakes_end_with_500(metronome: Metronome, name: str, run: dict[str, Any]) -> None:
    reply = metronome.create(job(name, **run))
    assert (reply.status_code, reply.json()) == (500, {"requestPath": "/v1/jobs"})


SCHEDULE = {"id": "daily", "cron": "0 3 * * *"}


def test_schedule_is_created_shown_changed_and_deleted(metronome: Metronome, name: str) -> None:
    metronome.create(job(name))
    every, one = f"/v1/jobs/team.{name}/schedules", f"/v1/jobs/team.{name}/schedules/daily"
    assert metronome.get(one).json() == {"id": "daily", "message": "Schedule not found"}
    created = metronome.post(every, SCHEDULE)
    assert created.status_code == 201
    shown = created.json()
    assert shown.pop("nextRunAt").endswith("T03:00:00.000+0000")
    defaults = {"timezone": "UTC", "startingDeadlineSeconds": 900, "concurrencyPolicy": "ALLOW", "enabled": True}
    assert shown == {**SCHEDULE, **defaults}
    assert [schedule["id"] for schedule in metronome.get(every).json()] == ["daily"]
    assert [schedule["id"] for schedule in metronome.get(f"/v1/jobs/team.{name}").json()["schedules"]] == ["daily"]
    assert metronome.post(every, {**SCHEDULE, "id": "other"}).status_code == 409
    changed = metronome.put(one, {**SCHEDULE, "id": "other", "enabled": False})
    assert (changed.status_code, changed.json()["id"], changed.json()["enabled"]) == (200, "daily", False)
    assert metronome.delete(one).status_code == 200
    assert metronome.delete(one).status_code == 404
    assert metronome.get(f"/v1/jobs/team.{name}x/schedules").status_code == 404


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"cron": "x"}, "/cron"),
        ({"timezone": "Mars"}, "/timezone"),
        ({"startingDeadlineSeconds": 59}, "/startingDeadline"),
        ({"concurrencyPolicy": "allow"}, "/concurrencyPolicy"),
    ],
)
def test_invalid_schedule_is_422_with_the_path(
    metronome: Metronome, name: str, change: dict[str, Any], path: str
) -> None:
    metronome.create(job(name))
    reply = metronome.post(f"/v1/jobs/team.{name}/schedules", {**SCHEDULE, **change})
    assert (reply.status_code, [detail["path"] for detail in reply.json()["details"]]) == (422, [path])


def test_v0_accepts_a_job_with_its_schedule(metronome: Metronome, name: str) -> None:
    spec = {**job(name), "schedules": [SCHEDULE]}
    created = metronome.post("/v0/scheduled-jobs", spec)
    metronome.created.append(spec["id"])
    assert (created.status_code, created.json()["schedules"][0]["id"]) == (201, "daily")
    assert metronome.put(f"/v1/jobs/team.{name}", job(name)).json()["schedules"] != []
    assert metronome.put(f"/v0/scheduled-jobs/team.{name}", job(name)).json()["schedules"] == []
    grace = job(name, taskKillGracePeriodSeconds=1)
    assert metronome.put(f"/v0/scheduled-jobs/team.{name}", grace).status_code == 422


@pytest.mark.sandbox_only
def test_update_with_an_unknown_dependency_never_ends_until_metronome_restarts(
    server: Callable[..., Sandbox], name: str
) -> None:
    sandbox = server()
    metronome = Metronome(sandbox.metronome_url)
    metronome.create(job(name))
    path = f"/v1/jobs/team.{name}"
    assert metronome.put(path, {**job(name), "dependencies": [{"id": "none"}]}).status_code == 422
    assert metronome.put(path, job(name)).status_code == metronome.delete(path).status_code == 500
    with outage(sandbox):
        pass
    assert metronome.put(path, job(name)).status_code == 200


@contextlib.contextmanager
def outage(sandbox: Sandbox) -> Iterator[None]:
    """Metronome does not answer within the block."""
    url = f"{sandbox.cluster_url}/_sandbox/metronome/outage"
    assert requests.post(url, timeout=10).status_code == 200
    yield
    assert requests.delete(url, timeout=10).status_code == 200


@pytest.mark.sandbox_only
def test_run_survives_an_outage_of_metronome(server: Callable[..., Sandbox], name: str, tmp_path: Path) -> None:
    sandbox = server()
    metronome = Metronome(sandbox.metronome_url)
    run = start(
        metronome, job(name, 'until test -e "$MARK"; do sleep 0.05; done', env={"MARK": str(tmp_path / "mark")})
    )
    path = f"/v1/jobs/team.{name}/runs/{run['id']}"
    until(lambda: metronome.get(path).json()["status"] == "ACTIVE")
    with outage(sandbox):
        with pytest.raises(requests.ConnectionError):
            requests.get(metronome.url + path, timeout=10)
        assert requests.get(f"{sandbox.cluster_url}/service/metronome{path}", timeout=10).status_code == 502
    assert metronome.get(path).json()["status"] == "ACTIVE"
    (tmp_path / "mark").touch()
    assert outcome(metronome, run)[0] == "successfulFinishedRuns"


@pytest.mark.sandbox_only
def test_outage_ends_by_itself_after_its_seconds(server: Callable[..., Sandbox]) -> None:
    sandbox = server()
    metronome_url = f"{sandbox.cluster_url}/service/metronome/ping"
    requests.post(f"{sandbox.cluster_url}/_sandbox/metronome/outage?seconds=0.3", timeout=10)
    until(lambda: requests.get(metronome_url, timeout=10).status_code == 200)
