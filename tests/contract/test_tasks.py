"""Tasks: real processes, their health, and the effect of kills on instances."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import requests

from contract.client import Marathon, Sandbox, counts, instance_of, missing, until, web_app

TASK_ID = re.compile(r"[a-z0-9._-]+\.instance-[0-9a-f-]{36}\._app\.\d+")
LEGACY_TASK_ID = re.compile(r"[a-z0-9._-]+\.[0-9a-f-]{36}")


def url_of(task: dict[str, Any]) -> str:
    return f"http://{task['host']}:{task['ports'][0]}"


def test_task_is_a_web_server_that_identifies_itself(marathon: Marathon, name: str) -> None:
    app = marathon.deploy(web_app(name, labels={"BGCI_REVISION": "r1"}))
    task = app["tasks"][0]
    assert (TASK_ID if marathon.modern else LEGACY_TASK_ID).fullmatch(task["id"])
    assert (task["state"], task["servicePorts"], len(task["ports"])) == ("TASK_RUNNING", [], 1)
    reply = requests.get(url_of(task), timeout=10)
    assert "It works!" in reply.text
    if "X-Task-Id" in reply.headers:
        shown = [reply.headers[f"X-{header}"] for header in ("App-Id", "App-Version", "Task-Id", "Revision")]
        assert shown == [f"/{name}", app["version"], task["id"], "r1"]


def test_health_results_are_empty_before_the_first_and_name_the_instance(marathon: Marathon, name: str) -> None:
    marathon.create(web_app(name))
    task = until(lambda: marathon.tasks(f"/{name}"))[0]
    assert all(result["alive"] for result in task["healthCheckResults"])
    marathon.settled()
    result = marathon.tasks(f"/{name}")[0]["healthCheckResults"][0]
    assert (result["alive"], result["consecutiveFailures"]) == (True, 0)
    assert result["instanceId"] == f"instance [{instance_of(task['id'])}]"
    assert result["firstSuccess"] <= result["lastSuccess"]


@pytest.mark.sandbox_only
def test_failures_within_the_grace_period_are_not_counted(marathon: Marathon, name: str) -> None:
    marathon.create(web_app(name, env={"SANDBOX_HEALTH": "fail"}, health={"path": "/health"}))
    result = until(lambda: [r for t in marathon.tasks(f"/{name}") for r in t["healthCheckResults"]])[0]
    assert (result["alive"], result["consecutiveFailures"]) == (False, 0)
    assert not result.keys() & {"firstSuccess", "lastSuccess", "lastFailure"}
    assert counts(marathon.app(f"/{name}")) == (0, 1, 0, 1)


@pytest.mark.since_1_8
@pytest.mark.sandbox_only
def test_task_is_killed_on_the_failure_after_the_maximum_and_relaunched_in_its_instance(
    marathon: Marathon, name: str
) -> None:
    health = {"path": "/health", "gracePeriodSeconds": 0, "maxConsecutiveFailures": 1}
    with marathon.events("unhealthy_instance_kill_event", "failed_health_check_event") as events:
        marathon.create(web_app(name, env={"SANDBOX_HEALTH": "fail"}, health=health))
        second = until(lambda: [t for t in marathon.tasks(f"/{name}") if t["id"].endswith("._app.2")])[0]
    mine = [event for event in events if event.get("appId") == f"/{name}"]
    kinds = [event["eventType"] for event in mine]
    assert kinds[:3] == ["failed_health_check_event", "failed_health_check_event", "unhealthy_instance_kill_event"]
    assert mine[2]["instanceId"] == second["id"].split("._app.")[0]
    failure = marathon.app(f"/{name}")["lastTaskFailure"]
    assert failure["state"] == "TASK_KILLED"
    assert failure["message"] == f"Task was killed since health check failed. Reason: {mine[2]['reason']}"
    assert re.match("500|ClientConnectorError", mine[2]["reason"])  # it answers 500, or does not listen yet


@pytest.mark.sandbox_only
def test_late_health_ends_the_deployment_late(marathon: Marathon, name: str) -> None:
    app = marathon.deploy(web_app(name, env={"SANDBOX_HEALTH_AFTER": "1"}, health={"path": "/health"}))
    assert counts(app) == (0, 1, 1, 0)


@pytest.mark.parametrize("check", [{"protocol": "TCP"}, {"protocol": "COMMAND", "command": {"value": "true"}}])
def test_tcp_and_command_checks_pass(marathon: Marathon, name: str, check: dict[str, Any]) -> None:
    definition = web_app(name)
    definition["healthChecks"] = [{**check, "intervalSeconds": 1}]
    assert counts(marathon.deploy(definition)) == (0, 1, 1, 0)


@pytest.mark.until_1_7
def test_kill_without_scale_starts_another_instance(marathon: Marathon, name: str) -> None:
    task = marathon.deploy(web_app(name))["tasks"][0]
    assert marathon.post("/v2/tasks/delete", {"ids": [task["id"]]}).status_code == 200
    until(lambda: [t for t in marathon.tasks(f"/{name}") if t["id"] != task["id"] and t["state"] == "TASK_RUNNING"])
    assert marathon.post("/v2/tasks/delete?scale=true", {"ids": [task["id"]]}).status_code == 200
    assert marathon.app(f"/{name}")["instances"] == 1


@pytest.mark.since_1_8
def test_kill_without_scale_relaunches_the_same_instance(marathon: Marathon, name: str) -> None:
    before = marathon.deploy(web_app(name))
    task = before["tasks"][0]
    reply = marathon.post("/v2/tasks/delete", {"ids": [task["id"]]})
    assert (reply.status_code, [t["id"] for t in reply.json()["tasks"]]) == (200, [task["id"]])
    assert "Marathon-Deployment-Id" not in reply.headers
    relaunched = task["id"].removesuffix(".1") + ".2"
    until(lambda: [t["id"] for t in marathon.tasks(f"/{name}")] == [relaunched])
    after = until(lambda: marathon.app(f"/{name}"))
    assert (after["instances"], after["versionInfo"]) == (1, before["versionInfo"])


def test_kill_with_scale_lowers_instances_and_moves_last_scaling_at(marathon: Marathon, name: str) -> None:
    before = marathon.deploy(web_app(name, 3))
    victims = [task["id"] for task in before["tasks"][:2]]
    reply = marathon.post("/v2/tasks/delete?scale=true", {"ids": victims})
    assert reply.headers["Marathon-Deployment-Id"] == reply.json()["deploymentId"]
    after = marathon.app(f"/{name}")
    assert after["instances"] == 1
    assert after["versionInfo"]["lastScalingAt"] == reply.json()["version"]
    assert after["versionInfo"]["lastConfigChangeAt"] == before["versionInfo"]["lastConfigChangeAt"]
    marathon.settled()
    assert [task["id"] for task in marathon.tasks(f"/{name}")] == [before["tasks"][2]["id"]]


def test_kill_with_scale_over_two_apps_is_one_deployment_with_one_version(marathon: Marathon, name: str) -> None:
    apps = [marathon.deploy(web_app(f"{name}-{colour}")) for colour in ("blue", "green")]
    reply = marathon.post("/v2/tasks/delete?scale=true", {"ids": [app["tasks"][0]["id"] for app in apps]})
    shown = [marathon.app(app["id"]) for app in apps]
    assert {app["versionInfo"]["lastScalingAt"] for app in shown} == {reply.json()["version"]}
    assert [app["instances"] for app in shown] == [0, 0]
    marathon.settled()


@pytest.mark.since_1_8
def test_stale_task_id_resolves_to_its_instance(marathon: Marathon, name: str) -> None:
    first = marathon.deploy(web_app(name, 2))["tasks"][0]["id"]
    marathon.post("/v2/tasks/delete", {"ids": [first]})
    second = first.removesuffix(".1") + ".2"
    until(lambda: [t for t in marathon.tasks(f"/{name}") if t["id"] == second and t["state"] == "TASK_RUNNING"])
    marathon.post("/v2/tasks/delete?scale=true", {"ids": [first]})
    assert marathon.app(f"/{name}")["instances"] == 1
    marathon.settled()
    assert second not in {task["id"] for task in marathon.tasks(f"/{name}")}


@pytest.mark.sandbox_only
def test_dying_task_stays_listed_with_its_health_and_is_not_counted_twice(marathon: Marathon, name: str) -> None:
    app = marathon.deploy(web_app(name, 2, env={"SANDBOX_STOP_SECONDS": "2"}))
    victim = app["tasks"][0]
    marathon.post("/v2/tasks/delete?scale=true", {"ids": [victim["id"]]})
    app = marathon.app(f"/{name}")
    dying = next(task for task in app["tasks"] if task["id"] == victim["id"])
    assert (dying["state"], dying["healthCheckResults"][0]["alive"]) == ("TASK_KILLING", True)
    assert (app["instances"], counts(app)) == (1, (0, 1, 2, 0))
    assert requests.get(url_of(victim), timeout=10).status_code == 200
    again = marathon.post("/v2/tasks/delete?scale=true", {"ids": [victim["id"]]})
    assert (again.status_code, marathon.app(f"/{name}")["instances"]) == (200, 1)
    marathon.settled()
    assert len(marathon.tasks(f"/{name}")) == 1


@pytest.mark.sandbox_only
def test_kill_with_scale_that_is_reversed_at_once_is_replaced_when_the_dying_task_has_ended(
    marathon: Marathon, name: str
) -> None:
    victim = marathon.deploy(web_app(name, 2, env={"SANDBOX_STOP_SECONDS": "1"}))["tasks"][0]["id"]
    marathon.post("/v2/tasks/delete?scale=true", {"ids": [victim]})
    refused = marathon.put(f"/v2/apps/{name}", {"instances": 2})
    assert refused.status_code == 409
    assert marathon.put(f"/v2/apps/{name}?force=true", {"instances": 2}).status_code == 200
    marathon.settled()
    states = sorted(task["state"] for task in marathon.tasks(f"/{name}"))
    assert states == ["TASK_KILLING", "TASK_RUNNING"]
    until(lambda: counts(marathon.app(f"/{name}")) == (0, 2, 2, 0))
    assert victim not in {task["id"] for task in marathon.tasks(f"/{name}")}


def test_wiped_instance_is_replaced_by_another(marathon: Marathon, name: str) -> None:
    task = marathon.deploy(web_app(name))["tasks"][0]["id"]
    assert marathon.post("/v2/tasks/delete?wipe=true", {"ids": [task]}).status_code == 200
    instance = task.split("._app.")[0]
    until(lambda: [t for t in marathon.tasks(f"/{name}") if not t["id"].startswith(instance)])
    assert marathon.app(f"/{name}")["instances"] == 1


def test_tasks_are_spread_over_the_agents(server: Callable[..., Sandbox], name: str) -> None:
    marathon = Marathon(server("--hosts", "127.0.0.1,127.0.0.2", "--offer-delay", "0.05").marathon_url)
    tasks = marathon.deploy(web_app(name, 2, health={}))["tasks"]
    assert {task["host"] for task in tasks} == {"127.0.0.1", "127.0.0.2"}
    assert len({task["slaveId"] for task in tasks}) == 2
    asked = marathon.delete(f"/v2/apps/{name}/tasks?host=127.0.0.2").json()["tasks"]
    assert [task["host"] for task in asked] == ["127.0.0.2"]


def test_unknown_ids_are_ignored_and_malformed_ones_refused(marathon: Marathon, name: str) -> None:
    gone = f"{name}.instance-3f0c8a5e-0000-0000-0000-000000000000._app.1"
    assert marathon.post("/v2/tasks/delete", {"ids": [gone]}).json() == {"tasks": []}
    scaled = marathon.post("/v2/tasks/delete?scale=true", {"ids": [gone]})
    assert (scaled.status_code, scaled.json().keys()) == (200, {"version", "deploymentId"})
    malformed = marathon.post("/v2/tasks/delete", {"ids": ["nonsense"]})
    assert malformed.status_code == 400
    assert malformed.json()["message"].startswith("Invalid task id 'nonsense'. [")


def test_scale_and_wipe_exclude_each_other(marathon: Marathon) -> None:
    reply = marathon.post("/v2/tasks/delete?scale=true&wipe=true", {"ids": []})
    message = {"message": "You cannot use scale and wipe at the same time."}
    assert (reply.status_code, reply.json()) == (400, message)


def test_one_task_is_deleted_by_path(marathon: Marathon, name: str) -> None:
    task = marathon.deploy(web_app(name, 2))["tasks"][0]["id"]
    assert marathon.delete(f"/v2/apps/{name}/tasks/{task}").json()["task"]["id"] == task
    gone = "3f0c8a5e-0000-0000-0000-000000000000"
    assert missing(marathon.delete(f"/v2/apps/{name}/tasks/{name}.{gone}")) == f"Task '{name}.{gone}' does not exist"
    malformed = marathon.delete(f"/v2/apps/{name}/tasks/none.x")
    assert malformed.status_code == (500 if marathon.modern else 422)
    assert "Invalid UUID string: x" in malformed.json()["message"]
    reply = marathon.delete(f"/v2/apps/{name}/tasks?scale=true")
    assert reply.json().keys() == {"version", "deploymentId"}
    marathon.settled()
    assert marathon.app(f"/{name}")["instances"] <= 1


def test_all_tasks_are_listed_with_service_ports(marathon: Marathon, name: str) -> None:
    app = marathon.deploy(web_app(name))
    port = app["container"]["portMappings"][0]["servicePort"]
    listed = [t for t in marathon.get("/v2/tasks?status=running").json()["tasks"] if t["appId"] == f"/{name}"]
    assert [task["servicePorts"] for task in listed] == [[port]]
    staging = marathon.get("/v2/tasks?status[]=staging").json()["tasks"]
    assert f"/{name}" not in {task["appId"] for task in staging}
    table = marathon.get("/v2/tasks", headers={"Accept": "text/plain"})
    if marathon.modern:
        assert table.status_code == 406
    else:
        assert f"{name}\t{port}\t{listed[0]['host']}:{listed[0]['ports'][0]}\n" in table.text


@pytest.mark.sandbox_only
def test_container_network_gives_a_separate_address_and_no_host_port(marathon: Marathon, name: str) -> None:
    network = [{"mode": "container", "name": "dcos"}]
    definition = web_app(name, 2, networks=network)
    definition["container"]["portMappings"] = [{"containerPort": 18080}]
    tasks = marathon.deploy(definition)["tasks"]
    addresses = {task["ipAddresses"][0]["ipAddress"] for task in tasks}
    assert ([task["ports"] for task in tasks], len(addresses)) == ([[], []], 2)
    for address in addresses:
        assert requests.get(f"http://{address}:18080", timeout=10).status_code == 200


@pytest.mark.sandbox_only
def test_command_app_runs_its_command_with_marathons_environment(marathon: Marathon, name: str) -> None:
    command = "env > env.txt; exec python3 -m http.server $PORT0 --bind $HOST"
    ports = [{"port": 0, "name": "web"}, {"port": 0}]
    app = marathon.deploy({"id": f"/{name}", "cmd": command, "cpus": 0.1, "mem": 32, "portDefinitions": ports,
                           "labels": {"my.label": "x"}, "env": {"A": "b"}})  # fmt: skip
    task = app["tasks"][0]

    def environment() -> Any:
        try:
            text = requests.get(f"{url_of(task)}/env.txt", timeout=10).text
        except requests.ConnectionError:
            return None
        return dict(line.split("=", 1) for line in text.splitlines())

    env = until(environment)
    assert (env["A"], env["MARATHON_APP_ID"], env["MARATHON_APP_LABEL_MY_LABEL"]) == ("b", f"/{name}", "x")
    assert env["PORTS"] == ",".join(str(port) for port in task["ports"])
    assert env["PORT_WEB"] == env["PORT0"] == str(task["ports"][0])
    assert (env["MESOS_TASK_ID"], env["MARATHON_APP_VERSION"]) == (task["id"], app["version"])


@pytest.mark.sandbox_only
@pytest.mark.parametrize(
    ("container", "why"),
    [("DOCKER", "docker -H unix:///var/run/docker.sock pull"), ("MESOS", "Could not resolve host: registry.invalid")],
)
def test_image_that_no_agent_can_pull_fails_each_task_before_it_runs(
    marathon: Marathon, name: str, container: str, why: str
) -> None:
    definition = web_app(name, backoffSeconds=1, backoffFactor=1.0)
    definition["container"] |= {"type": container, "docker": {"image": "registry.invalid/web:v2"}}
    with marathon.events("status_update_event") as events:
        marathon.create(definition)
        failed = until(lambda: [one for one in events if one.get("taskStatus") == "TASK_FAILED"][1:])[0]["message"]
    assert failed.startswith("Failed to launch container: ")
    assert why in failed
    assert "TASK_RUNNING" not in [one.get("taskStatus") for one in events]
    assert marathon.app(f"/{name}")["lastTaskFailure"]["message"] == failed


@pytest.mark.sandbox_only
def test_request_in_flight_is_cut_when_its_task_is_killed(marathon: Marathon, name: str) -> None:
    task = marathon.deploy(web_app(name))["tasks"][0]
    session = requests.Session()
    session.get(url_of(task), timeout=10)
    marathon.post("/v2/tasks/delete?scale=true", {"ids": [task["id"]]})
    marathon.settled()
    with pytest.raises(requests.ConnectionError):
        session.get(url_of(task), timeout=10)
    session.close()
