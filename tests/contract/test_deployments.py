"""Deployments: their locks, their waits, and their ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from contract.client import Marathon, Sandbox, counts, missing, until, web_app

LOCKED = (
    "App is locked by one or more deployments. Override with the option '?force=true'. "
    "View details at '/v2/deployments/<DEPLOYMENT_ID>'."
)
SICK = {"SANDBOX_HEALTH": "fail"}


def of(marathon: Marathon, app_id: str) -> list[dict[str, Any]]:
    return [d for d in marathon.get("/v2/deployments").json() if app_id in d["affectedApps"]]


def test_creation_is_two_steps_and_waits_for_health(marathon: Marathon, name: str) -> None:
    deployment_id = marathon.create(web_app(name)).json()["deployments"][0]["id"]
    deployment = of(marathon, f"/{name}")[0]
    kinds = [[action["action"] for action in step["actions"]] for step in deployment["steps"]]
    assert kinds == [["StartApplication"], ["ScaleApplication"]]
    assert (deployment["id"], deployment["totalSteps"]) == (deployment_id, 2)
    assert marathon.app(f"/{name}")["deployments"] == [{"id": deployment_id}]
    marathon.settled()
    assert counts(marathon.app(f"/{name}")) == (0, 1, 1, 0)


@pytest.mark.sandbox_only
def test_deployment_of_an_unhealthy_app_never_ends_and_locks_it(marathon: Marathon, name: str) -> None:
    marathon.create(web_app(name, env=SICK))
    until(lambda: marathon.app(f"/{name}")["tasksRunning"] == 1)
    holder = of(marathon, f"/{name}")[0]["id"]
    for reply in (
        marathon.put(f"/v2/apps/{name}", {"instances": 2}),
        marathon.post(f"/v2/apps/{name}/restart"),
        marathon.post("/v2/tasks/delete?scale=true", {"ids": [marathon.tasks(f"/{name}")[0]["id"]]}),
        marathon.delete(f"/v2/apps/{name}?force=false"),
    ):
        assert (reply.status_code, reply.json()) == (409, {"message": LOCKED, "deployments": [{"id": holder}]})


@pytest.mark.sandbox_only
def test_lock_is_per_app(marathon: Marathon, name: str) -> None:
    marathon.create(web_app(f"{name}-blue", env=SICK))
    assert marathon.create(web_app(f"{name}-green", 0)).status_code == 201


@pytest.mark.sandbox_only
def test_update_without_change_is_never_locked(marathon: Marathon, name: str) -> None:
    marathon.create(web_app(name, env=SICK))
    assert marathon.put(f"/v2/apps/{name}", {"mem": 32}).status_code == 200


@pytest.mark.sandbox_only
def test_force_cancels_the_holder_and_takes_over(marathon: Marathon, name: str) -> None:
    marathon.create(web_app(name, env=SICK))
    holder = of(marathon, f"/{name}")[0]["id"]
    with marathon.events("deployment_failed") as events:
        assert marathon.put(f"/v2/apps/{name}?force=true", {"instances": 0}).status_code == 200
        until(lambda: [e for e in events if e.get("id") == holder])
    assert events[-1]["reason"] == "The upgrade has been cancelled"
    marathon.settled()
    assert marathon.tasks(f"/{name}") == []


@pytest.mark.sandbox_only
def test_plain_delete_cancels_the_holder(marathon: Marathon, name: str) -> None:
    marathon.create(web_app(name, env=SICK))
    reply = marathon.delete(f"/v2/apps/{name}")
    assert (reply.status_code, reply.json().keys()) == (200, {"version", "deploymentId"})
    assert marathon.get(f"/v2/apps/{name}").status_code == 404
    marathon.settled()


@pytest.mark.sandbox_only
def test_cancelled_creation_is_reverted_by_deleting_the_app(marathon: Marathon, name: str) -> None:
    marathon.create(web_app(name, env=SICK))
    holder = of(marathon, f"/{name}")[0]["id"]
    reply = marathon.delete(f"/v2/deployments/{holder}")
    assert (reply.status_code, reply.json().keys()) == (200, {"version", "deploymentId"})
    assert marathon.get(f"/v2/apps/{name}").status_code == 404


@pytest.mark.sandbox_only
def test_cancelled_update_goes_back_to_the_earlier_definition(marathon: Marathon, name: str) -> None:
    marathon.deploy(web_app(name))
    marathon.put(f"/v2/apps/{name}", {"env": SICK})
    holder = of(marathon, f"/{name}")[0]["id"]
    marathon.delete(f"/v2/deployments/{holder}")
    marathon.settled()
    app = marathon.app(f"/{name}")
    assert "env" not in app
    assert counts(app) == (0, 1, 1, 0)


@pytest.mark.sandbox_only
def test_forced_cancel_leaves_the_app_partly_updated(marathon: Marathon, name: str) -> None:
    marathon.create(web_app(name, env=SICK))
    holder = of(marathon, f"/{name}")[0]["id"]
    reply = marathon.delete(f"/v2/deployments/{holder}?force=true")
    assert (reply.status_code, reply.content) == (202, b"")
    assert of(marathon, f"/{name}") == []
    assert marathon.app(f"/{name}")["instances"] == 1


def test_unknown_deployment_is_404(marathon: Marathon) -> None:
    assert missing(marathon.delete("/v2/deployments/none")) == "DeploymentPlan none does not exist"


def test_config_change_replaces_every_task_without_going_below_capacity(marathon: Marathon, name: str) -> None:
    before = marathon.deploy(web_app(name, 2))
    marathon.put(f"/v2/apps/{name}", {"labels": {"a": "1"}})
    assert of(marathon, f"/{name}")[0]["steps"][0]["actions"][0]["action"] == "RestartApplication"
    least = 2
    while of(marathon, f"/{name}"):
        least = min(least, marathon.app(f"/{name}")["tasksHealthy"])
    after = marathon.app(f"/{name}")
    assert least == 2
    assert {task["version"] for task in after["tasks"]} == {after["version"]}
    assert not {task["id"] for task in before["tasks"]} & {task["id"] for task in after["tasks"]}


NO_OVER_CAPACITY = [{"minimumHealthCapacity": least, "maximumOverCapacity": 0} for least in (0, 0.5, 1)]


@pytest.mark.parametrize("strategy", NO_OVER_CAPACITY, ids=lambda strategy: str(strategy["minimumHealthCapacity"]))
def test_h57_upgrade_of_an_app_with_checks_by_marathon_needs_over_capacity(
    marathon: Marathon, name: str, strategy: dict[str, float]
) -> None:
    """From 1.10.5 on the deployment never ends by itself; only a cancellation ends it."""
    before = marathon.deploy(web_app(name, 2, upgradeStrategy=strategy))
    marathon.put(f"/v2/apps/{name}", {"labels": {"a": "1"}})
    if not marathon.modern:
        marathon.settled()
        assert marathon.app(f"/{name}")["labels"] == {"a": "1"}
        return
    holder = until(lambda: of(marathon, f"/{name}"))[0]
    until(lambda: of(marathon, f"/{name}")[0]["currentStep"] == 1)
    assert {task["state"] for task in marathon.tasks(f"/{name}")} == {"TASK_RUNNING"}
    assert marathon.put(f"/v2/apps/{name}", {"instances": 3}).status_code == 409
    assert marathon.delete(f"/v2/deployments/{holder['id']}").status_code == 200
    marathon.settled()
    after = marathon.app(f"/{name}")
    assert (after["labels"], counts(after)) == ({}, (0, 2, 2, 0))
    assert {task["id"] for task in after["tasks"]} == {task["id"] for task in before["tasks"]}


@pytest.mark.parametrize(
    ("checks", "strategy"),
    [
        ([{"protocol": "MESOS_HTTP", "path": "/"}], NO_OVER_CAPACITY[0]),
        ([], NO_OVER_CAPACITY[2]),
        ([{"protocol": "TCP"}], {"minimumHealthCapacity": 1, "maximumOverCapacity": 0.5}),
        ([{"protocol": "HTTP", "path": "/"}], {"minimumHealthCapacity": 0, "maximumOverCapacity": 1}),
    ],
    ids=["MESOS_HTTP", "no checks", "over-capacity 0.5", "over-capacity 1"],
)
def test_upgrade_that_can_start_or_kill_ends(
    marathon: Marathon, name: str, checks: list[dict[str, str]], strategy: dict[str, float]
) -> None:
    checks = [{**check, "intervalSeconds": 1} for check in checks]
    marathon.deploy({**web_app(name, 2, upgradeStrategy=strategy), "healthChecks": checks})
    version = marathon.put(f"/v2/apps/{name}", {"labels": {"a": "1"}}).json()["version"]
    marathon.settled()
    assert {task["version"] for task in marathon.tasks(f"/{name}")} == {version}


def test_upgrade_without_minimum_health_kills_first(marathon: Marathon, name: str) -> None:
    checks = [{"protocol": "MESOS_HTTP", "path": "/", "intervalSeconds": 1}]
    marathon.deploy({**web_app(name, 2, upgradeStrategy=NO_OVER_CAPACITY[0]), "healthChecks": checks})
    marathon.put(f"/v2/apps/{name}", {"labels": {"a": "1"}})
    until(lambda: marathon.app(f"/{name}")["tasksRunning"] == 0)
    marathon.settled()
    assert counts(marathon.app(f"/{name}")) == (0, 2, 2, 0)


def test_scale_down_kills_the_youngest_or_the_oldest_as_configured(marathon: Marathon, name: str) -> None:
    for selection, keeps in (("YOUNGEST_FIRST", 0), ("OLDEST_FIRST", -1)):
        app_id = f"/{name}-{selection[0].lower()}"
        marathon.deploy(web_app(app_id.strip("/"), killSelection=selection))
        marathon.put(f"/v2/apps{app_id}", {"instances": 2})
        marathon.settled()
        by_age = sorted(marathon.tasks(app_id), key=lambda task: task["startedAt"])
        marathon.put(f"/v2/apps{app_id}", {"instances": 1})
        marathon.settled()
        assert [task["id"] for task in marathon.tasks(app_id)] == [by_age[keeps]["id"]]


@pytest.mark.sandbox_only
def test_apps_without_checks_count_as_soon_as_they_run(marathon: Marathon, name: str) -> None:
    app = marathon.deploy(web_app(name, health={}, env={"SANDBOX_START_SECONDS": "60"}))
    assert counts(app) == (0, 1, 0, 0)


@pytest.mark.sandbox_only
def test_readiness_check_holds_a_deployment_open(marathon: Marathon, name: str) -> None:
    readiness = {"portName": "web", "path": "/?status=200", "intervalSeconds": 2, "timeoutSeconds": 1}
    definition = web_app(name, health={}, env={"SANDBOX_START_SECONDS": "1.5"}, readinessChecks=[readiness])
    definition["container"]["portMappings"] = [{"containerPort": 80, "name": "web"}]
    marathon.create(definition)
    results = until(
        lambda: [r for d in of(marathon, f"/{name}") for a in d["currentActions"] for r in a["readinessCheckResults"]]
    )
    assert (results[0]["name"], results[0]["ready"]) == ("readinessCheck", False)
    marathon.settled()


def test_dependencies_are_deployed_first(marathon: Marathon, name: str) -> None:
    marathon.created += [f"/{name}-db", f"/{name}-web"]
    bodies = [web_app(f"{name}-web", dependencies=[f"/{name}-db"]), web_app(f"{name}-db")]
    marathon.put("/v2/apps", bodies)
    steps = of(marathon, f"/{name}-web")[0]["steps"]
    order = [action["app"] for step in steps[1:] for action in step["actions"]]
    assert order == [f"/{name}-db", f"/{name}-web"]
    marathon.settled()


def test_app_that_fits_on_no_agent_waits_in_the_queue(server: Callable[..., Sandbox], name: str) -> None:
    marathon = Marathon(server("--cpus", "1", "--offer-delay", "0.05").marathon_url)
    marathon.deploy(web_app(f"{name}-small", cpus=0.8))
    marathon.create(web_app(f"{name}-big", cpus=0.5))
    entry = until(lambda: marathon.get("/v2/queue").json()["queue"])[0]
    assert (entry["app"]["id"], entry["count"]) == (f"/{name}-big", 1)
    assert entry["delay"] == {"timeLeftSeconds": 0, "overdue": True}
    reasons = entry["processedOffersSummary"]["rejectSummaryLastOffers"]
    assert [reason["reason"] for reason in reasons] == ["InsufficientCpus"]
    marathon.delete(f"/v2/apps/{name}-small")
    until(lambda: marathon.get("/v2/queue").json()["queue"] == [])
    marathon.settled()


@pytest.mark.since_1_8
@pytest.mark.sandbox_only
def test_crash_loop_backs_off_visibly_until_the_delay_is_reset(marathon: Marathon, name: str) -> None:
    definition = web_app(name, env={"SANDBOX_CRASH_AFTER": "0.1"}, backoffSeconds=50, health={})
    marathon.create(definition)

    def delayed() -> Any:
        entries = [e for e in marathon.get("/v2/queue").json()["queue"] if e["app"]["id"] == f"/{name}"]
        return [e for e in entries if e["delay"]["timeLeftSeconds"] > 40 and not e["delay"]["overdue"]]

    until(delayed)
    failure = marathon.app(f"/{name}")["lastTaskFailure"]
    assert (failure["state"], failure["message"]) == ("TASK_FAILED", "Command exited with status 1")
    task = marathon.tasks(f"/{name}")[0]
    assert (task["state"], task["ports"]) == ("TASK_FAILED", [])
    assert marathon.delete(f"/v2/queue/{name}/delay").status_code == 204
    until(lambda: marathon.tasks(f"/{name}")[0]["id"].endswith("._app.2"))


def test_reset_of_a_missing_delay_is_404(marathon: Marathon, name: str) -> None:
    reply = marathon.delete(f"/v2/queue/{name}/delay")
    assert missing(reply) == f"Application /{name} not found in tasks queue."
