"""The secret store of a secured cluster, and the secrets of tasks."""

from __future__ import annotations

from typing import Any

import pytest

from contract.client import until, web_app
from contract.secured import MARATHON, METRONOME, SECRET, Secured

SHOW = 'test "$GIVEN" = "s3cret \\"ä\\""'
VALUE = 's3cret "ä"'
AS_JSON = {"Content-Type": "application/json"}


def test_a_secret_is_created_once_then_changed(secured: Secured, name: str) -> None:
    path = f"{SECRET}/{name}/db"
    secured.made.append(("DELETE", path))
    assert secured.request("GET", path).status_code == 404
    assert secured.request("PATCH", path, json={"value": "x"}).status_code == 404
    assert secured.request("DELETE", path).status_code == 404
    assert secured.request("PUT", path, json={"value": VALUE}).status_code == 201
    assert secured.request("PUT", path, json={"value": "x"}).status_code == 409
    assert secured.request("GET", path).json()["value"] == VALUE
    assert secured.request("PATCH", path, json={"value": "another"}).status_code == 204
    assert secured.request("GET", path).json()["value"] == "another"
    assert secured.request("DELETE", path).status_code == 204
    assert secured.request("GET", path).status_code == 404


def test_a_secret_without_a_value_is_refused(secured: Secured, name: str) -> None:
    assert secured.request("PUT", f"{SECRET}/{name}", json={"values": "x"}).status_code == 400
    assert secured.request("PUT", f"{SECRET}/{name}", data="no JSON", headers=AS_JSON).status_code == 400


def test_bytes_come_back_as_bytes(secured: Secured, name: str) -> None:
    path, data = f"{SECRET}/{name}/keytab", bytes(range(256))
    secured.made.append(("DELETE", path))
    octets = {"Content-Type": "application/octet-stream"}
    assert secured.request("PUT", path, data=data, headers=octets).status_code == 201
    reply = secured.request("GET", path)
    assert (reply.content, reply.headers["Content-Type"]) == (data, "application/octet-stream")


def test_a_folder_is_listed_relative_to_itself(secured: Secured, name: str) -> None:
    for path in ("a", "b/c", "b/d"):
        secured.secret(f"{name}/{path}")
    secured.secret(f"{name}-other/e")
    assert secured.request("GET", f"{SECRET}/{name}?list=true").json() == {"array": ["a", "b/c", "b/d"]}
    assert {f"{name}/a", f"{name}-other/e"} <= set(secured.request("GET", f"{SECRET}/?list=true").json()["array"])


def test_the_secret_store_is_unsealed(secured: Secured) -> None:
    assert secured.request("GET", "/secrets/v1/ping").status_code == 200
    assert secured.request("GET", "/secrets/v1/seal-status/default").json()["sealed"] is False
    assert [one["name"] for one in secured.request("GET", "/secrets/v1/store").json()["array"]] == ["default"]


def succeeded(secured: Secured, job_id: str) -> bool:
    """Runs a job to its end. Returns whether it succeeded."""
    job = f"{METRONOME}/v1/jobs/{job_id}"
    assert secured.request("POST", f"{job}/runs", json={}).status_code == 201

    def ended() -> Any:
        history = secured.request("GET", f"{job}?embed=history").json()["history"]
        return history if history["successCount"] + history["failureCount"] else None

    return bool(until(ended)["successCount"])


@pytest.mark.parametrize(
    ("secret", "job", "works"),
    [
        ("{name}-db", "{name}.web", True),
        ("{name}/db", "{name}.web", True),
        ("{name}/db", "{name}.below.web", True),
        ("{name}/web/db", "{name}.web", True),
        ("{name}/below/db", "{name}.web", False),
        ("{name}/db", "{name}-other.web", False),
        ("{name}/db", "other-{name}", False),
    ],
)
def test_a_job_gets_the_secrets_of_its_own_space(
    secured: Secured, name: str, secret: str, job: str, works: bool
) -> None:
    path, job_id = secret.format(name=name), job.format(name=name)
    secured.secret(path, VALUE)
    secured.job(job_id, SHOW, env={"GIVEN": {"secret": "db"}}, secrets={"db": {"source": path}})
    assert succeeded(secured, job_id) is works


def test_a_job_without_its_secret_fails(secured: Secured, name: str) -> None:
    secured.job(name, "true", env={"GIVEN": {"secret": "db"}}, secrets={"db": {"source": f"{name}-unknown"}})
    assert not succeeded(secured, name)


def test_a_secret_is_not_readable_in_the_job_that_uses_it(secured: Secured, name: str) -> None:
    secured.secret(f"{name}-db", VALUE)
    secured.job(name, "true", env={"GIVEN": {"secret": "db"}}, secrets={"db": {"source": f"{name}-db"}})
    job = secured.request("GET", f"{METRONOME}/v1/jobs/{name}")
    assert job.json()["run"]["env"] == {"GIVEN": {"secret": "db"}}
    assert VALUE not in job.text


def app_with(secret: str) -> dict[str, Any]:
    return {"env": {"GIVEN": {"secret": "db"}}, "secrets": {"db": {"source": secret}}, "backoffSeconds": 60}


def test_an_app_gets_the_secrets_of_its_own_space(secured: Secured, name: str) -> None:
    secured.secret(f"{name}/db", VALUE)
    check = {"id": f"{name}/web", "cmd": f"{SHOW} && exec sleep 600", "instances": 1, "cpus": 0.01, "mem": 32}
    secured.make(f"{MARATHON}/v2/apps", check | app_with(f"{name}/db"), f"{MARATHON}/v2/apps/{name}/web")
    app = f"{MARATHON}/v2/apps/{name}/web"
    until(lambda: not secured.request("GET", app).json()["app"]["deployments"])
    shown = secured.request("GET", app).json()["app"]
    assert (shown["tasksRunning"], shown.get("lastTaskFailure")) == (1, None)


def test_an_app_does_not_start_with_a_secret_of_another_space(secured: Secured, name: str) -> None:
    secured.secret(f"{name}/db", VALUE)
    secured.app(f"/{name}-other/web", 1, **app_with(f"{name}/db"))
    app = f"{MARATHON}/v2/apps/{name}-other/web"
    failure = until(lambda: secured.request("GET", app).json()["app"].get("lastTaskFailure"))
    assert failure["state"] == "TASK_FAILED"
    assert f"{name}/db" in failure["message"]


def test_an_app_names_each_secret_that_it_uses(secured: Secured, name: str) -> None:
    reply = secured.request("POST", f"{MARATHON}/v2/apps", json=web_app(name, 0, env={"GIVEN": {"secret": "db"}}))
    assert (reply.status_code, reply.json()["details"][0]["path"]) == (422, "/env/GIVEN/secret")
