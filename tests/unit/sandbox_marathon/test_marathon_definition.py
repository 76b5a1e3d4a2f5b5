"""Rules of definitions that the recorded verdicts do not show, each from Marathon's source."""

from __future__ import annotations

from typing import Any

import pytest

from bgci.sandbox.marathon import definition
from bgci.sandbox.marathon.dialect import DIALECTS
from bgci.sandbox.web import ApiError

Json = dict[str, Any]
NEW, OLD = DIALECTS["1.11"], DIALECTS["1.7"]
CHECK = {"protocol": "HTTP", "path": "/", "portIndex": 0}


def app(**changes: Any) -> Json:
    container = {"type": "DOCKER", "docker": {"image": "x"}, "portMappings": [{"containerPort": 80, "name": "http"}]}
    bridge = [{"mode": "container/bridge"}]
    return {"id": "/v/x", "container": container, "networks": bridge, "healthChecks": [CHECK], **changes}


def command(**changes: Any) -> Json:
    return {"id": "/v/x", "cmd": "sleep 1", **changes}


def refusal(body: Any, dialect: Any = NEW) -> tuple[int, str, list[str]]:
    """Status, message and paths."""
    with pytest.raises(ApiError) as caught:
        definition.create(body, dialect)
    body = caught.value.body
    return caught.value.status, body["message"], sorted(detail["path"] for detail in body.get("details", []))


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ([], ["/id"]), (app(labels=[]), ["/labels"]), (app(env={"A": {}}), ["/env/A/secret"]),
        (app(version="then"), ["/version"]), (app(instances=1e999), ["/instances"]), (app(cpus=1e999), ["/cpus"]),
        (app(gpus=0.5), ["/gpus"]), (app(resourceLimits=1), ["/resourceLimits"]),
        (app(healthChecks=[{"command": {}}]), ["/healthChecks(0)/command/value"]),
        (app(upgradeStrategy=1), ["/upgradeStrategy/maximumOverCapacity", "/upgradeStrategy/minimumHealthCapacity"]),
    ],
)  # fmt: skip
def test_unreadable_definition_is_invalid_json(body: Any, paths: list[str]) -> None:
    assert refusal(body) == (422, "Invalid JSON", paths)


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        (app(id="/"), ["/", "/id"]), (app(env={"": "x"}), ["/env/keys(0)"]),
        (app(secrets={"": {"source": "x"}}), ["/secrets/keys(0)"]), (app(uris=["a b"]), ["/uris(0)"]),
        (app(fetch=[{"uri": "http://"}]), ["/fetch(0)/uri"]), (app(container=[]), ["/", "/container/docker"]),
        (app(container={"type": "MESOS"}), ["/"]), (app(cmd="a", args=["b"]), ["/"]),
        (app(constraints=[["a", "LIKE", "a{"]]), ["/constraints"]), (app(constraints=[["a"]]), ["/constraints"]),
        (app(readinessChecks=[{"portName": "http"}] * 2), ["/readinessChecks/size"]),
        (app(acceptedResourceRoles=["a b", "*"]), ["/acceptedResourceRoles"]),
        (app(unreachableStrategy={"inactiveAfterSeconds": 2}), ["/unreachableStrategy/inactiveAfterSeconds"]),
        (command(healthChecks=[{"protocol": "MESOS_TCP", "portIndex": 3}]), ["/healthChecks(0)"]),
        (command(healthChecks=[{"ipProtocol": "ipv6"}]), ["/healthChecks(0)"]),
        (command(check={"tcp": {"portIndex": 1}}), ["/check/get"]),
        (command(networks=[{"mode": "host", "name": "a"}]), ["/networks"]),
        (command(portDefinitions=[{"port": 1}, {"port": 1}]), ["/portDefinitions"]),
    ],
)  # fmt: skip
def test_wrong_definition_is_not_valid(body: Json, paths: list[str]) -> None:
    assert refusal(body) == (422, "Object is not valid", paths)


@pytest.mark.parametrize(
    ("volume", "paths"),
    [
        ({"containerPath": "/a", "secret": "s"}, ["/container/volumes(0)"]),
        ({"containerPath": "/a", "mode": "RW", "persistent": {"size": 1}}, ["/container/volumes(0)/containerPath"]),
        ({"containerPath": "a", "mode": "RO", "persistent": {"size": 1}}, ["/container/volumes(0)/mode"]),
        ({"containerPath": "a", "mode": "RW", "persistent": {"size": 0}}, ["/container/volumes(0)/persistent/size"]),
        (
            {"containerPath": "a", "mode": "RW", "external": {"name": "n", "provider": "other"}},
            ["/container/volumes(0)/external/provider"],
        ),
    ],
)
def test_wrong_volume_is_not_valid(volume: Json, paths: list[str]) -> None:
    body = app()
    body["container"]["volumes"] = [volume]
    assert refusal(body) == (422, "Object is not valid", paths)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (command(container={"docker": {"image": "x", "network": "NONE"}}), "unsupported docker network type NONE"),
        (
            app(healthChecks=[{**CHECK, "command": {"value": "x"}}]),
            "Invalid combination of HealthCheck parameters in "
            "AppHealthCheck(Some(AppCommandCheck(x)),300,None,60,3,Some(/),None,Some(0),HTTP,IPv4,20,15)",
        ),
        (app(healthChecks=[{"command": {"value": "x"}}]), "illegal protocol HTTP specified with command"),
    ],
)
def test_a_value_that_marathon_does_not_expect_is_500(body: Json, message: str) -> None:
    assert refusal(body) == (500, message, [])


def test_a_value_that_is_not_an_object_is_read_as_an_empty_object() -> None:
    stored = definition.create(app(unreachableStrategy=5, healthChecks=[1], networks=[]), NEW)
    assert stored["unreachableStrategy"] == {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}
    assert (stored["healthChecks"][0]["protocol"], stored["networks"]) == ("HTTP", [{"mode": "host"}])


def test_relative_ids_are_of_the_root_and_dots_are_resolved() -> None:
    stored = definition.create(app(id="v/../w/x", dependencies=["../y"]), NEW)
    assert (stored["id"], stored["dependencies"]) == ("/w/x", ["/y"])


def test_ports_of_a_bridge_add_mappings_and_no_service_ports() -> None:
    mappings = definition.create(app(ports=[10101, 10102]), NEW)["container"]["portMappings"]
    assert [(m["containerPort"], m["servicePort"], m["hostPort"]) for m in mappings] == [(80, 0, 0), (0, 0, 0)]


def test_persistent_volume_makes_a_resident_app() -> None:
    body = app(role="v")
    body["container"]["volumes"] = [{"containerPath": "a", "mode": "rw", "persistent": {"size": 1}}]
    stored = definition.create(body, NEW)
    assert stored["upgradeStrategy"] == {"maximumOverCapacity": 0.0, "minimumHealthCapacity": 0.5}
    assert (stored["unreachableStrategy"], stored["residency"]["taskLostBehavior"]) == ("disabled", "WAIT_FOREVER")
    assert stored["container"]["volumes"][0]["persistent"] == {"type": "root", "size": 1, "constraints": []}


def test_update_keeps_unnamed_fields_and_the_role() -> None:
    current = {**definition.create(app(labels={"a": "b"}), NEW), "role": "other"}
    stored = definition.update({"cpus": 2, "labels": {"c": "d"}}, current, NEW)
    assert stored == {**current, "cpus": 2.0, "labels": {"c": "d"}}


def test_update_to_a_bridge_replaces_the_container() -> None:
    stored = definition.update({"networks": [{"mode": "container/bridge"}]}, definition.create(command(), NEW), NEW)
    assert stored["container"]["type"] == "MESOS"
    assert "portDefinitions" not in stored


def test_version_is_given_alone_in_an_update() -> None:
    current = definition.create(command(), NEW)
    given = {"version": "2020-01-01T00:00:00.000Z", "cpus": 1}
    with pytest.raises(ApiError, match="Object is not valid"):
        definition.update(given, current, NEW)


def test_older_marathon_ignores_fields_of_later_versions() -> None:
    body = command(
        role="a b", check={}, resourceLimits={"cpus": 0}, container={"type": "MESOS", "appc": {"image": "x"}}
    )
    stored = definition.create(body, OLD)
    assert not stored.keys() & {"role", "check", "resourceLimits"}
    assert refusal(command(container={"type": "MESOS", "appc": {}}), OLD)[2] == ["/container/appc/image"]
