"""Adoption of running apps on each version of Marathon: it ends, and never leaves the app locked."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bgci.dcos.http import Http
from bgci.dcos.marathon import Marathon as Client
from bgci.doctor.adopt import set_labels, unlock
from bgci.doctor.adoption import Adoption, adoption
from bgci.errors import DeadlineError
from contract.client import Marathon, Sandbox, until, web_app

STARTED_AT = "2026-01-01T00:00:00.000"
CHECKS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "http": [{"protocol": "HTTP", "path": "/"}],
    "tcp": [{"protocol": "TCP"}],
    "mesos-http": [{"protocol": "MESOS_HTTP", "path": "/"}],
    "command": [{"protocol": "COMMAND", "command": {"value": "true"}}],
}
STRATEGIES = [(0, 0), (0.5, 0), (1, 0), (1, 0.5), (0, 1), (1, 1)]
FAST = ("--offer-delay", "0.05", "--health-delay", "0.1")
TIMEOUT = 120.0  # of the whole matrix on a busy machine


@pytest.fixture(params=["1.11", "1.7"])
def cluster(request: pytest.FixtureRequest, server: Callable[..., Sandbox]) -> Marathon:
    """A sandbox of each version."""
    return Marathon(server("--marathon-version", request.param, *FAST).marathon_url)


def definition(name: str, checks: str, least: float, over: float, instances: int) -> dict[str, Any]:
    strategy = {"minimumHealthCapacity": least, "maximumOverCapacity": over}
    health = [{**check, "intervalSeconds": 1, "gracePeriodSeconds": 30} for check in CHECKS[checks]]
    return {**web_app(name, instances), "upgradeStrategy": strategy, "healthChecks": health}


def planned(client: Client, app_id: str) -> Adoption:
    app = client.app(app_id)
    assert app is not None
    return adoption(app, app_id=app_id, definition=None, now=STARTED_AT, marathon_version=client.info().version)


def adopt(url: str, app_id: str, **options: Any) -> None:
    """Adopts the app like `bgci doctor --adopt --adopt-restart`, with a separate connection."""
    client = Client(Http(url))
    app = client.app(app_id)
    assert app is not None
    set_labels(client, app, planned(client, app_id), waiting=lambda what: None, **options)


def serving(app: dict[str, Any]) -> int:
    return int(app["tasksHealthy" if app.get("healthChecks") else "tasksRunning"])


def test_h57_every_combination_of_checks_and_strategy_is_adopted_with_no_dip(cluster: Marathon) -> None:
    apps = [
        definition(f"{checks}-{n}-{instances}", checks, *strategy, instances)
        for checks in CHECKS
        for n, strategy in enumerate(STRATEGIES)
        for instances in ((1, 2) if checks == "http" else (2,))
    ]
    assert cluster.put("/v2/apps", apps).status_code == 200
    until(lambda: cluster.get("/v2/deployments").json() == [], TIMEOUT)
    before = {app["id"]: app for app in cluster.get("/v2/apps?embed=apps.tasks").json()["apps"]}
    least = {app_id: app["instances"] for app_id, app in before.items()}
    with ThreadPoolExecutor(len(apps)) as pool:
        running = [pool.submit(adopt, cluster.url, app_id, timeout=TIMEOUT) for app_id in before]
        while not all(one.done() for one in running):
            for app in cluster.get("/v2/apps?embed=apps.counts").json()["apps"]:
                least[app["id"]] = min(least[app["id"]], serving(app))
    for one in running:
        one.result()
    assert cluster.get("/v2/deployments").json() == []
    for app in cluster.get("/v2/apps?embed=apps.tasks&embed=apps.counts").json()["apps"]:
        earlier = before[app["id"]]
        assert app["labels"]["HAPROXY_DEPLOYMENT_GROUP"] == app["id"].strip("/")
        assert (serving(app), least[app["id"]]) == (app["instances"], app["instances"]), app["id"]
        assert not {task["id"] for task in app["tasks"]} & {task["id"] for task in earlier["tasks"]}
        assert app["upgradeStrategy"]["minimumHealthCapacity"] == 1


@pytest.mark.parametrize("version", ["1.11", "1.7"])
def test_h57_an_adoption_without_room_is_cancelled_and_loses_no_task(
    server: Callable[..., Sandbox], version: str
) -> None:
    """The only agent has no room for a third task. Marathon's own rollback hangs too, and is cancelled by force."""
    marathon = Marathon(server("--marathon-version", version, "--cpus", "1", *FAST).marathon_url)
    before = marathon.deploy({**definition("full", "http", 1, 0, 2), "cpus": 0.4})
    with pytest.raises(DeadlineError) as caught:
        adopt(marathon.url, "/full", timeout=1.0, revert_seconds=1.0)
    assert "was not adopted" in caught.value.message
    assert (
        "No deployment holds the app, it has its earlier labels again, 2 of 2 tasks are healthy" in caught.value.message
    )
    assert "force=true" in caught.value.message
    assert marathon.get("/v2/deployments").json() == []
    after = marathon.app("/full")
    assert after["labels"] == {}
    assert {task["id"] for task in after["tasks"]} == {task["id"] for task in before["tasks"]}
    assert marathon.put("/v2/apps/full", {"instances": 1}).status_code == 200
    marathon.settled()


def test_h57_an_app_that_is_already_locked_is_unlocked_by_cancelling(cluster: Marathon) -> None:
    before = cluster.deploy(definition("caught", "http", 0.5, 0, 2))
    client = Client(Http(cluster.url))
    plan = planned(client, "/caught")
    deployment = cluster.put("/v2/apps/caught", {"labels": {"a": "1"}}).json()["deploymentId"]
    assert "it has its earlier labels again" in unlock(client, plan, deployment, 30.0)
    cluster.settled()
    after = cluster.app("/caught")
    assert (after["labels"], after["tasksHealthy"]) == (before["labels"], 2)


def test_h57_an_unreachable_marathon_is_reported_with_the_command_that_cancels(cluster: Marathon) -> None:
    cluster.deploy(definition("away", "none", 1, 1, 1))
    plan = planned(Client(Http(cluster.url)), "/away")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        away = Client(Http(f"http://127.0.0.1:{closed.getsockname()[1]}", backoff=0.01, retries=1))
        assert "`dcos marathon deployment stop d1`" in unlock(away, plan, "d1", 1.0)


def test_cancelling_with_force_starts_no_reverting_deployment(cluster: Marathon) -> None:
    cluster.create(definition("new", "http", 1, 1, 1))
    client = Client(Http(cluster.url))
    deployment = client.http.get("/v2/deployments")[0]["id"]
    assert client.cancel(deployment, force=True) == ""
    assert client.http.get("/v2/deployments") == []
    assert client.cancel(deployment) == ""
    assert cluster.app("/new")["instances"] == 1
