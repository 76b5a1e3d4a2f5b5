"""``/v2/apps``: accepted definitions, their stored form, and their form in answers."""

from __future__ import annotations

import re

import pytest
import requests

from contract.client import IMAGE, Marathon, Sandbox, counts, missing, web_app

ZERO = ("/upgradeStrategy/maximumOverCapacity", "/upgradeStrategy/minimumHealthCapacity")
TOO_MUCH = {"maximumOverCapacity": 2, "minimumHealthCapacity": 1}
VERSION = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def test_creation_answers_201_with_the_app_and_its_deployment(marathon: Marathon, name: str) -> None:
    reply = marathon.create(web_app(name))
    app = reply.json()
    assert reply.status_code == 201
    assert reply.headers["Marathon-Deployment-Id"] == app["deployments"][0]["id"]
    assert counts(app) == (0, 0, 0, 0)
    assert VERSION.fullmatch(app["version"])
    assert "versionInfo" not in app
    assert ("tasks" in app) is not marathon.modern


def test_second_creation_of_an_id_is_a_conflict(marathon: Marathon, name: str) -> None:
    marathon.create(web_app(name))
    reply = marathon.create(web_app(name))
    assert (reply.status_code, reply.json()) == (409, {"message": f"An app with id [/{name}] already exists."})


def test_app_is_shown_with_counts_tasks_labels_and_version_info(marathon: Marathon, name: str) -> None:
    app = marathon.deploy(web_app(name, 2))
    assert counts(app) == (0, 2, 2, 0)
    assert app["deployments"] == []
    assert app["labels"] == {}
    assert app["versionInfo"] == {"lastScalingAt": app["version"], "lastConfigChangeAt": app["version"]}
    assert not app.keys() & {"ports", "uris", "ipAddress", "env"}
    assert app["upgradeStrategy"] == {"minimumHealthCapacity": 1, "maximumOverCapacity": 1}
    delay = 300 if marathon.modern else 3600
    assert (app["backoffFactor"], app["backoffSeconds"], app["maxLaunchDelaySeconds"]) == (1.15, 1, delay)


def test_missing_app_is_404(marathon: Marathon, name: str) -> None:
    for reply in (
        marathon.get(f"/v2/apps/{name}"),
        marathon.delete(f"/v2/apps/{name}"),
        marathon.get(f"/v2/apps/{name}/tasks"),
        marathon.get(f"/v2/apps/{name}/versions"),
        marathon.post(f"/v2/apps/{name}/restart"),
        marathon.call("PATCH", f"/v2/apps/{name}", {"instances": 1}),
    ):
        assert missing(reply) == f"App '/{name}' does not exist"


def test_relative_id_becomes_absolute_and_double_slash_is_found(marathon: Marathon, name: str) -> None:
    marathon.deploy({**web_app(name, 0), "id": f"{name}/web"})
    marathon.created.append(f"/{name}/web")
    assert marathon.get(f"/v2/apps//{name}/web").json()["app"]["id"] == f"/{name}/web"


def test_legacy_networking_is_shown_in_canonical_form(marathon: Marathon, name: str) -> None:
    docker = {"image": IMAGE, "network": "BRIDGE", "portMappings": [{"containerPort": 80, "servicePort": 0}]}
    container = {"type": "DOCKER", "docker": docker}
    definition = {**web_app(name, 0), "container": container, "uris": ["http://x/y"], "ipAddress": None}
    definition.pop("networks")
    app = marathon.deploy(definition)
    assert app["networks"] == [{"mode": "container/bridge"}]
    assert app["fetch"][0]["uri"] == "http://x/y"
    assert "network" not in app["container"]["docker"]
    assert "portMappings" not in app["container"]["docker"]
    mapping = app["container"]["portMappings"][0]
    assert (mapping["containerPort"], mapping["hostPort"], mapping["protocol"]) == (80, 0, "tcp")
    assert mapping["servicePort"] in range(10000, 20001)


def test_legacy_ports_become_port_definitions(marathon: Marathon, name: str) -> None:
    app = marathon.deploy({"id": f"/{name}", "cmd": "sleep 60", "instances": 0, "ports": [0, 19901]})
    ports = [definition["port"] for definition in app["portDefinitions"]]
    assert app["networks"] == [{"mode": "host"}]
    assert (len(ports), ports[1]) == (2, 19901)
    assert ports[0] in range(10000, 20001)


def test_legacy_and_canonical_networking_together_are_refused(marathon: Marathon, name: str) -> None:
    definition = web_app(name)
    definition["container"]["docker"]["network"] = "BRIDGE"
    reply = marathon.create(definition)
    assert reply.status_code == 422
    assert reply.json()["message"] == "Object is not valid"
    errors = {error for detail in reply.json()["details"] for error in detail["errors"]}
    assert "must not specify both container.docker.network and networks" in errors


def test_dynamic_service_ports_differ_and_survive_an_update(marathon: Marathon, name: str) -> None:
    one, two = marathon.deploy(web_app(f"{name}-1", 0)), marathon.deploy(web_app(f"{name}-2", 0))
    port = one["container"]["portMappings"][0]["servicePort"]
    assert port != two["container"]["portMappings"][0]["servicePort"]
    marathon.put(f"/v2/apps{one['id']}", {"container": web_app(name)["container"], "mem": 33})
    assert marathon.app(one["id"])["container"]["portMappings"][0]["servicePort"] == port


def test_explicit_service_port_may_be_claimed_twice(marathon: Marathon, name: str) -> None:
    for number in (1, 2):
        definition = web_app(f"{name}-{number}", 0)
        definition["container"]["portMappings"] = [{"containerPort": 80, "servicePort": 19902}]
        assert marathon.create(definition).status_code == 201


@pytest.mark.parametrize(
    ("change", "message", "paths"),
    [
        ({"instances": -1}, "Invalid JSON", ["/instances"]),
        ({"upgradeStrategy": TOO_MUCH}, "Invalid JSON", ["/upgradeStrategy/maximumOverCapacity"]),
        ({"id": "/Upper"}, "Invalid JSON", ["/id"]),
        ({"cmd": "a"}, "Object is not valid", ["/"]),
        ({"healthChecks": [{"protocol": "HTTP", "portIndex": 1}]}, "Object is not valid", ["/healthChecks(0)"]),
        ({"constraints": [["hostname", "NEAR"]]}, "Object is not valid", ["/constraints"]),
        ({"labels": {"MARATHON_SINGLE_INSTANCE_APP": "true"}}, "Object is not valid", ["/isSingleInstance", *ZERO]),
        ({"id": "/team/tasks"}, "Object is not valid", ["/id"]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_invalid_definition_is_422_with_the_path(
    marathon: Marathon, name: str, change: dict, message: str, paths: list[str]
) -> None:
    reply = marathon.create({**web_app(name), **change})
    assert (reply.status_code, reply.json()["message"]) == (422, message)
    assert sorted(detail["path"] for detail in reply.json()["details"]) == paths


def test_wrong_type_is_422_and_bad_json_400(marathon: Marathon, name: str) -> None:
    wrong = marathon.create({**web_app(name), "instances": "two"})
    details = [{"path": "/instances", "errors": ["error.expected.jsnumber"]}]
    assert (wrong.status_code, wrong.json()) == (422, {"message": "Invalid JSON", "details": details})
    broken = requests.post(f"{marathon.url}/v2/apps", data="{", timeout=10)
    assert (broken.status_code, broken.json()["message"]) == (400, "Invalid JSON")
    assert isinstance(broken.json()["details"], str)
    empty = requests.post(f"{marathon.url}/v2/apps", timeout=10)
    assert (empty.status_code, empty.json()["message"]) == (400, "Please specify data in JSON format")


def test_partial_update_replaces_whole_fields_and_null_changes_nothing(marathon: Marathon, name: str) -> None:
    marathon.deploy(web_app(name, 0, labels={"a": "1", "b": "2"}))
    marathon.put(f"/v2/apps/{name}", {"labels": {"c": "3"}, "mem": None, "tasksRunning": 7, "unknown": True})
    marathon.settled()
    app = marathon.app(f"/{name}")
    assert (app["labels"], app["mem"]) == ({"c": "3"}, 32)
    assert "unknown" not in app


def test_full_update_falls_back_to_defaults(marathon: Marathon, name: str) -> None:
    marathon.deploy(web_app(name, 0, labels={"a": "1"}))
    definition = {key: value for key, value in web_app(name).items() if key not in ("instances", "labels", "mem")}
    marathon.put(f"/v2/apps/{name}", definition, params={"partialUpdate": "false"})
    marathon.settled()
    app = marathon.app(f"/{name}")
    assert (app["instances"], app["labels"], app["mem"]) == (1, {}, 128)


def test_update_of_a_missing_app_creates_it(marathon: Marathon, name: str) -> None:
    marathon.created.append(f"/{name}")
    reply = marathon.put(f"/v2/apps/{name}", web_app(name, 0))
    assert reply.status_code == 201
    assert reply.json().keys() == {"version", "deploymentId"}


def test_array_update_changes_several_apps_in_one_deployment(marathon: Marathon, name: str) -> None:
    for number in (1, 2):
        marathon.deploy(web_app(f"{name}-{number}", 0))
    reply = marathon.put("/v2/apps", [{"id": f"/{name}-{number}", "mem": 40} for number in (1, 2)])
    assert reply.status_code == 200
    assert reply.headers["Marathon-Deployment-Id"] == reply.json()["deploymentId"]
    assert [marathon.app(f"/{name}-{number}")["mem"] for number in (1, 2)] == [40, 40]


def test_version_is_restored_alone_and_never_with_other_fields(marathon: Marathon, name: str) -> None:
    first = marathon.deploy(web_app(name, 0))["version"]
    marathon.put(f"/v2/apps/{name}", {"mem": 64})
    marathon.settled()
    mixed = marathon.put(f"/v2/apps/{name}", {"version": first, "mem": 32})
    assert mixed.status_code == 422
    assert "only be combined with the 'id' field" in mixed.text
    assert marathon.put(f"/v2/apps/{name}", {"version": first}).status_code == 200
    marathon.settled()
    assert marathon.app(f"/{name}")["mem"] == 32


def test_versions_list_every_change_and_show_the_bare_app(marathon: Marathon, name: str) -> None:
    first = marathon.deploy(web_app(name, 0))["version"]
    second = marathon.put(f"/v2/apps/{name}", {"mem": 64}).json()["version"]
    listed = marathon.get(f"/v2/apps/{name}/versions").json()["versions"]
    assert sorted(listed) == [first, second]
    assert marathon.get(f"/v2/apps/{name}/versions/{first}").json()["mem"] == 32
    missing(marathon.get(f"/v2/apps/{name}/versions/2001-01-01T00:00:00.000Z"))


def test_scaling_moves_last_scaling_only(marathon: Marathon, name: str) -> None:
    before = marathon.deploy(web_app(name, 0))["versionInfo"]
    version = marathon.put(f"/v2/apps/{name}", {"instances": 1}).json()["version"]
    after = marathon.app(f"/{name}")["versionInfo"]
    assert after == {"lastScalingAt": version, "lastConfigChangeAt": before["lastConfigChangeAt"]}
    assert version > before["lastScalingAt"]


def test_label_change_is_a_config_change_and_moves_both_times(marathon: Marathon, name: str) -> None:
    marathon.deploy(web_app(name, 0))
    version = marathon.put(f"/v2/apps/{name}", {"labels": {"a": "1"}}).json()["version"]
    assert marathon.app(f"/{name}")["versionInfo"] == {"lastScalingAt": version, "lastConfigChangeAt": version}


def test_restart_moves_one_time_only(marathon: Marathon, name: str) -> None:
    before = marathon.deploy(web_app(name, 0))["versionInfo"]
    version = marathon.post(f"/v2/apps/{name}/restart").json()["version"]
    after = marathon.app(f"/{name}")["versionInfo"]
    assert after == {**before, "lastConfigChangeAt" if marathon.modern else "lastScalingAt": version}


def test_update_without_change_moves_nothing_but_has_a_deployment_id(marathon: Marathon, name: str) -> None:
    before = marathon.deploy(web_app(name, 0))
    reply = marathon.put(f"/v2/apps/{name}", {"mem": 32})
    after = marathon.app(f"/{name}")
    assert (reply.status_code, bool(reply.json()["deploymentId"])) == (200, True)
    assert (after["version"], after["versionInfo"]) == (before["version"], before["versionInfo"])
    assert after["deployments"] == []


def test_labels_select_apps(marathon: Marathon, name: str) -> None:
    for number, group in ((1, f"{name}/web"), (2, f"{name}.api")):
        marathon.deploy(web_app(f"{name}-{number}", 0, labels={"GROUP": group, f"L{name}": "x"}))

    def select(selector: str) -> set[str]:
        reply = marathon.get("/v2/apps", params={"label": selector})
        return {app["id"].removeprefix(f"/{name}-") for app in reply.json()["apps"]}

    assert select(rf"GROUP=={name}\/web") == {"1"}
    assert select(f"GROUP=={name}.api") == {"2"}
    assert select(f"L{name},GROUP!={name}.api") == {"1"}
    assert select(f"L{name}") == {"1", "2"}
    assert select(rf"GROUP in ({name}.api, {name}\/web)") == {"1", "2"}
    assert select(f"L{name}==x,GROUP notin ({name}.api)") == {"1"}


def test_unescaped_label_selector_is_422(marathon: Marathon) -> None:
    reply = marathon.get("/v2/apps", params={"label": "GROUP==a/b"})
    assert reply.status_code == 422
    assert reply.json()["message"].startswith("Can not parse label selector GROUP==a/b")


def test_list_has_tasks_only_when_embedded(marathon: Marathon, name: str) -> None:
    marathon.deploy(web_app(name))

    def listed(**params: str) -> dict:
        return marathon.get("/v2/apps", params={"id": name.upper(), **params}).json()["apps"][0]

    assert "tasks" not in listed()
    assert counts(listed()) == (0, 1, 1, 0)
    assert len(listed(embed="apps.tasks")["tasks"]) == 1
    assert "lastTaskFailure" not in listed(embed="apps.tasks")
    stats = listed(embed="apps.taskStats")["tasksStats" if marathon.modern else "taskStats"]["totalSummary"]["stats"]
    assert stats["counts"] == {"staged": 0, "running": 1, "healthy": 1, "unhealthy": 0}


def test_group_lists_its_apps(marathon: Marathon, name: str) -> None:
    marathon.deploy(web_app(f"{name}/a", 0))
    marathon.deploy(web_app(f"{name}/b/c", 0))
    found = marathon.get(f"/v2/apps/{name}/*").json()["*"]
    assert {app["id"] for app in found} == {f"/{name}/a", f"/{name}/b/c"}
    assert missing(marathon.get(f"/v2/apps/{name}-none/*")) == f"Group '/{name}-none' does not exist"


def test_app_and_group_cannot_share_an_id(marathon: Marathon, name: str) -> None:
    marathon.deploy(web_app(name, 0))
    assert marathon.create(web_app(f"{name}/web", 0)).status_code == 422


def test_only_json_is_read_and_written(marathon: Marathon, name: str) -> None:
    other = {"Content-Type": "text/plain"}
    unread = requests.post(f"{marathon.url}/v2/apps", data="{}", headers=other, timeout=10)
    unwritten = marathon.get("/v2/apps", headers={"Accept": "text/plain"})
    assert [unread.status_code, unwritten.status_code] == [415, 406]


def test_enums_are_read_in_any_case_and_stored_in_one(marathon: Marathon, name: str) -> None:
    definition = web_app(name, 0, killSelection="oldest_first")
    definition["container"] |= {"type": "docker"}
    definition["healthChecks"][0]["protocol"] = "http"
    app = marathon.deploy(definition)
    assert (app["killSelection"], app["container"]["type"]) == ("OLDEST_FIRST", "DOCKER")
    assert app["healthChecks"][0]["protocol"] == "HTTP"


@pytest.mark.since_1_8
def test_role_is_the_default_or_that_of_the_top_group(marathon: Marathon, name: str) -> None:
    assert marathon.create({**web_app(name, 0), "id": f"/{name}/a", "role": name}).status_code == 201
    reply = marathon.create({**web_app(name, 0), "id": f"/{name}/b", "role": "other"})
    assert (reply.status_code, [detail["path"] for detail in reply.json()["details"]]) == (422, ["/role"])


def test_dependencies_in_a_circle_are_refused(marathon: Marathon, name: str) -> None:
    reply = marathon.create(web_app(name, 0, dependencies=[f"/{name}"]))
    assert (reply.status_code, [detail["path"] for detail in reply.json()["details"]]) == (422, ["/"])


def test_unrouted_path_is_500(marathon: Marathon) -> None:
    reply = marathon.get("/v2/nothing")
    assert (reply.status_code, reply.json()) == (500, {"message": "URI not found"})


def test_replies_carry_leader_and_no_cache(marathon: Marathon) -> None:
    reply = marathon.get("/v2/info")
    assert reply.headers["X-Marathon-Leader"].startswith("http")
    assert reply.headers["Cache-Control"] == "no-cache, no-store, must-revalidate"
    assert reply.json()["leader"] == marathon.get("/v2/leader").json()["leader"]


def test_ping_answers_by_accept(marathon: Marathon) -> None:
    assert marathon.get("/ping").text == "pong"
    assert marathon.get("/ping", headers={"Accept": "application/json"}).text == '"pong"'
    assert marathon.get("/ping", headers={"Accept": "image/png"}).status_code == 204


def test_root_redirects_to_the_ui(sandbox: Sandbox) -> None:
    reply = requests.get(sandbox.marathon_url, allow_redirects=False, timeout=10)
    assert (reply.status_code, reply.headers["Location"]) == (302, "/ui/")
