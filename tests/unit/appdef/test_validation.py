"""Validation: every mistake is found, all at once, with its place and a remedy; good definitions pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from definition_samples import BG_DEPLOY, BRIDGE, CHECK, HOST, LEGACY, changed, with_labels, with_ports

from bgci.appdef.app_definition import instances, normalise, service_ports
from bgci.appdef.template import render_template
from bgci.appdef.validate import Finding, check_definition, require_valid
from bgci.errors import InvalidError

EXAMPLES = Path(__file__).parents[3] / "examples"
CONTAINER: dict[str, Any] = changed(BRIDGE, networks=[{"mode": "container", "name": "dcos"}])
GROUP, ALT = "HAPROXY_DEPLOYMENT_GROUP", "HAPROXY_DEPLOYMENT_ALT_PORT"


def findings(definition: dict[str, Any], app_id: str = "/web", allow_no_health_check: bool = False) -> list[Finding]:
    return check_definition(definition, app_id=app_id, allow_no_health_check=allow_no_health_check)


def paths(definition: dict[str, Any], **options: Any) -> list[str]:
    found = findings(definition, **options)
    assert all(finding.message and finding.remedy for finding in found)
    return [finding.path for finding in found]


def docker(**fields: Any) -> dict[str, Any]:
    """BRIDGE with other fields in container.docker."""
    copied = changed(BRIDGE)
    copied["container"]["docker"].update(fields)
    return copied


def port(definition: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """BRIDGE or the like with other fields in its first port mapping."""
    copied = changed(definition)
    copied["container"]["portMappings"][0].update(fields)
    return copied


def check(**fields: Any) -> dict[str, Any]:
    """BRIDGE with other fields in its health check; None removes one."""
    merged = {key: value for key, value in {**CHECK, **fields}.items() if value is not None}
    return changed(BRIDGE, healthChecks=[merged])


@pytest.mark.parametrize("definition", [BRIDGE, HOST, LEGACY, CONTAINER, with_ports(BRIDGE, 1, 2, alt="3, 4")])
def test_a_good_definition_passes_in_every_network_mode(definition: dict[str, Any]) -> None:
    assert findings(normalise(definition)) == []


def test_a_bg_deploy_definition_passes_unchanged() -> None:
    definition = normalise(render_template(BG_DEPLOY, name="testapp.1.template.json", variables={"image": "nginx:1"}))
    assert findings(definition, "/testapp") == []


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.template.*")), ids=lambda file: str(file.name))
def test_every_example_passes(file: Path) -> None:
    app = "/" + file.name.split(".template.")[0].replace(".", "/")
    variables = {"image": "example/web@sha256:" + "a" * 64, "app": app, "revision": "7", "env": {}}
    definition = normalise(render_template(file.read_text(encoding="utf-8"), name=file.name, variables=variables))
    assert findings(definition, app) == []


def test_the_examples_directory_is_not_empty() -> None:
    assert len(list(EXAMPLES.glob("*.template.*"))) >= 3


@pytest.mark.parametrize(
    ("definition", "path"),
    [
        # the id
        (changed(BRIDGE, id="/other"), "$.id"),
        (changed(BRIDGE, id="/Web"), "$.id"),
        (changed(BRIDGE, id=5), "$.id"),
        ({key: value for key, value in BRIDGE.items() if key != "id"}, "$.id"),
        # the group and the ports
        (with_labels(BRIDGE, **{GROUP: None}), f"$.labels.{GROUP}"),
        (with_labels(BRIDGE, **{GROUP: " "}), f"$.labels.{GROUP}"),
        (with_labels(BRIDGE, **{GROUP: "a b"}), f"$.labels.{GROUP}"),
        (with_labels(BRIDGE, **{GROUP: "web-blue"}), f"$.labels.{GROUP}"),
        (with_labels(BRIDGE, **{GROUP: 5}), f"$.labels.{GROUP}"),
        (with_labels(BRIDGE, **{ALT: None}), f"$.labels.{ALT}"),
        (with_labels(BRIDGE, **{ALT: 10129}), f"$.labels.{ALT}"),
        (with_labels(BRIDGE, **{ALT: "10102"}), f"$.labels.{ALT}"),
        (with_labels(BRIDGE, **{ALT: "port"}), f"$.labels.{ALT}"),
        (with_labels(BRIDGE, **{ALT: "65536"}), f"$.labels.{ALT}"),
        (with_labels(BRIDGE, **{ALT: "9" * 5000}), f"$.labels.{ALT}"),
        (with_labels(BRIDGE, **{ALT: "10129,10130"}), f"$.labels.{ALT}"),
        (with_ports(BRIDGE, 1, 2, alt="3"), f"$.labels.{ALT}"),
        (with_ports(BRIDGE, 1, 2, alt="3,3"), f"$.labels.{ALT}"),
        (with_ports(BRIDGE, 1, 2, alt="3,1"), f"$.labels.{ALT}"),
        (with_ports(BRIDGE, 1, 1, alt="3,4"), "$.container.portMappings[1].servicePort"),
        (port(BRIDGE, servicePort=0), "$.container.portMappings[0].servicePort"),
        (port(BRIDGE, servicePort="10102"), "$.container.portMappings[0].servicePort"),
        (port(BRIDGE, servicePort=70000), "$.container.portMappings[0].servicePort"),
        (changed(HOST, portDefinitions=[{}]), "$.portDefinitions[0].port"),
        (changed(HOST, portDefinitions=[]), "$.portDefinitions"),
        (with_labels(BRIDGE, HAPROXY_0_ENABLED="false"), "$.container.portMappings"),
        (with_labels(BRIDGE, HAPROXY_0_PORT="80"), "$.labels.HAPROXY_0_PORT"),
        # our own labels
        (with_labels(BRIDGE, BGCI_REVISION="1"), "$.labels.BGCI_REVISION"),
        (with_labels(BRIDGE, BGCI_WHATEVER="1"), "$.labels.BGCI_WHATEVER"),
        (with_labels(BRIDGE, BGCI_DRAIN_PATH="idle"), "$.labels.BGCI_DRAIN_PATH"),
        (with_labels(BRIDGE, bgci_drain_path="/idle"), "$.labels.bgci_drain_path"),
        # health checks
        (changed(BRIDGE, healthChecks=[]), "$.healthChecks"),
        (check(protocol="COMMAND", command={"value": "true"}), "$.healthChecks"),
        (check(protocol="COMMAND"), "$.healthChecks[0]"),
        (check(portIndex=1), "$.healthChecks[0].portIndex"),
        (check(portIndex="0"), "$.healthChecks[0].portIndex"),
        (check(protocol="HTPP"), "$.healthChecks[0].protocol"),
        (check(path="health"), "$.healthChecks[0].path"),
        (check(intervalSeconds=-1), "$.healthChecks[0].intervalSeconds"),
        (
            changed(BRIDGE, healthChecks=[{**CHECK, "protocol": f"MESOS_{p}"} for p in ("HTTP", "TCP")]),
            "$.healthChecks",
        ),
        (changed(with_ports(BRIDGE, 1, 2, alt="3,4"), healthChecks=[{**CHECK, "portIndex": 1}]), "$.healthChecks"),
        (changed(HOST, healthChecks=[{"protocol": "HTTP", "port": 10102}]), "$.healthChecks[0].port"),
        (changed(BRIDGE, healthChecks=["x"]), "$.healthChecks[0]"),
        # what Marathon refuses
        (changed(BRIDGE, cpus=0), "$.cpus"),
        (changed(BRIDGE, mem="64"), "$.mem"),
        (changed(BRIDGE, instances="4"), "$.instances"),
        (changed(BRIDGE, instances=0), "$.instances"),
        (changed(BRIDGE, instances=-1), "$.instances"),
        (changed(BRIDGE, instances=1.5), "$.instances"),
        (changed(BRIDGE, instances=True), "$.instances"),
        (changed(BRIDGE, cmd="ls -l", args=["a"]), "$.cmd"),
        (changed(BRIDGE, cmd="x"), "$.cmd"),
        ({key: value for key, value in HOST.items() if key != "cmd"}, "$"),
        (changed(HOST, container={"volumes": []}), "$.container.docker"),
        (changed(HOST, container={"docker": {}}), "$.container.docker.image"),
        (docker(image="a b"), "$.container.docker.image"),
        (docker(image=""), "$.container.docker.image"),
        (docker(network="NONE"), "$.container.docker.network"),
        (docker(network="BRIDGE"), "$.container.docker.network"),
        (docker(portMappings=[{"containerPort": 80}]), "$.container.docker.portMappings"),
        (changed(BRIDGE, ipAddress={"networkName": "dcos"}), "$.ipAddress"),
        (changed(HOST, ports=[1]), "$.ports"),
        (changed(BRIDGE, networks=[]), "$.container.portMappings"),
        (changed(BRIDGE, networks=[{"mode": "bridge"}]), "$.networks[0].mode"),
        (changed(BRIDGE, networks=[{"mode": "container/bridge", "name": "x"}]), "$.networks[0].name"),
        (changed(BRIDGE, networks=[{"mode": "container/bridge"}, {"name": "x"}]), "$.networks"),
        (
            changed(HOST, portDefinitions=[{"port": 1, "name": "a"}, {"port": 2, "name": "a"}]),
            "$.portDefinitions[1].name",
        ),
        (changed(HOST, portDefinitions=[{"port": 1, "name": "A_b"}]), "$.portDefinitions[0].name"),
        (changed(BRIDGE, upgradeStrategy={"minimumHealthCapacity": 1}), "$.upgradeStrategy.maximumOverCapacity"),
        (
            changed(BRIDGE, upgradeStrategy={"minimumHealthCapacity": 2, "maximumOverCapacity": 1}),
            "$.upgradeStrategy.minimumHealthCapacity",
        ),
        (with_labels(BRIDGE, MARATHON_SINGLE_INSTANCE_APP="true"), "$.labels.MARATHON_SINGLE_INSTANCE_APP"),
        (changed(BRIDGE, constraints=[["hostname"]]), "$.constraints[0]"),
        (changed(BRIDGE, constraints=[["hostname", "NEAR"]]), "$.constraints[0]"),
        (changed(BRIDGE, constraints=["hostname:UNIQUE"]), "$.constraints[0]"),
        (changed(BRIDGE, readinessChecks=[{}, {}]), "$.readinessChecks"),
        (changed(BRIDGE, readinessChecks=[{"intervalSeconds": 5}]), "$.readinessChecks[0].timeoutSeconds"),
        (changed(BRIDGE, readinessChecks=[{"portName": "http"}]), "$.readinessChecks[0].portName"),
        (changed(BRIDGE, env={"A": 5}), "$.env.A"),
        (changed(BRIDGE, env={"A": {"secret": "db"}}), "$.env.A"),
        (changed(BRIDGE, secrets={"db": {}}), "$.secrets.db.source"),
        (changed(BRIDGE, labels={**BRIDGE["labels"], "a.b": 5}), "$.labels['a.b']"),
        (changed(BRIDGE, labels=[]), "$.labels"),
        (changed(BRIDGE, container=[]), "$.container"),
        (changed(BRIDGE, healthCheck=[CHECK]), "$.healthCheck"),
        # VIPs
        (port(BRIDGE, labels={"VIP_0": "/web-blue:80"}), "$.container.portMappings[0].labels.VIP_0"),
        (port(BRIDGE, labels={"VIP_0": "/green/web:80"}), "$.container.portMappings[0].labels.VIP_0"),
        (port(BRIDGE, labels={"vip": "web-{{colour}}:80"}), "$.container.portMappings[0].labels.vip"),
        (
            changed(HOST, portDefinitions=[{"port": 1, "labels": {"VIP_0": "web-green:1"}}]),
            "$.portDefinitions[0].labels.VIP_0",
        ),
    ],
)
def test_a_mistake_is_found_with_its_path(definition: dict[str, Any], path: str) -> None:
    assert path in paths(normalise(definition))


@pytest.mark.parametrize(
    "definition",
    [
        docker(image="example/a&b|c:1"),
        docker(image="example/web@sha256:" + "0" * 64),
        with_labels(BRIDGE, BGCI_DRAIN_PATH="/idle"),
        with_labels(BRIDGE, **{GROUP: "/team/web"}),
        with_labels(BRIDGE, HAPROXY_GROUP=None),
        with_labels(BRIDGE, HAPROXY_0_PORT="10102", HAPROXY_DEPLOYMENT_COLOUR="blue"),
        port(BRIDGE, labels={"VIP_0": "/web:80", "VIP_1": "10.1.2.3:80", "VIP_2": "/webgreenhouse:80"}),
        with_labels(with_ports(BRIDGE, 1, 0, alt="2"), HAPROXY_GROUP=None, HAPROXY_0_GROUP="external"),
        changed(BRIDGE, env={"A": {"secret": "db"}, "B": "b"}, secrets={"db": {"source": "team/db"}}),
        changed(BRIDGE, readinessChecks=[{"portName": "http"}], container=port(BRIDGE, name="http")["container"]),
        changed(BRIDGE, constraints=[["hostname", "UNIQUE"], ["rack", "LIKE", "r.*"]]),
        check(portIndex=None),
        check(portIndex=None, port=80),
        changed(BRIDGE, healthChecks=[{"protocol": "COMMAND", "command": {"value": "true"}}, CHECK]),
        changed(BRIDGE, version="2024-05-01T10:00:00.000Z", tasksRunning=1, deployments=[]),
    ],
)
def test_an_unusual_but_valid_definition_passes(definition: dict[str, Any]) -> None:
    assert findings(normalise(definition)) == []


def test_h15_an_app_without_a_health_check_is_refused_unless_allowed() -> None:
    definition = {key: value for key, value in BRIDGE.items() if key != "healthChecks"}
    assert paths(definition) == ["$.healthChecks"]
    assert paths(definition, allow_no_health_check=True) == []


def test_a_colour_name_in_the_apps_folder_is_not_taken_for_its_colour() -> None:
    definition = port(changed(BRIDGE, id="/green-team/code-blue"), labels={"VIP_0": "/green-team/code-blue:80"})
    definition["container"]["portMappings"][0]["labels"]["VIP_1"] = "/green-team/api:80"
    definition = with_labels(definition, HAPROXY_DEPLOYMENT_GROUP="code-blue")
    assert paths(definition, app_id="/green-team/code-blue") == []


def test_all_findings_are_reported_at_once() -> None:
    found = findings({"id": "/other", "instances": "4", "labels": {"A": 5}})
    assert {"$.id", "$.instances", "$.labels.A", f"$.labels.{GROUP}", f"$.labels.{ALT}", "$.healthChecks"} <= {
        finding.path for finding in found
    }
    with pytest.raises(InvalidError) as caught:
        require_valid(found, what="the definition of /web")
    assert all(finding.path in caught.value.message for finding in found)
    require_valid([], what="anything")


def test_a_value_of_the_environment_is_never_shown() -> None:
    found = findings(changed(BRIDGE, env={"PASSWORD": ["hunter2"]}))
    assert "hunter2" not in json.dumps([str(finding) for finding in found])


WRONG: list[Any] = [None, True, 0, -1, 1.5, "", "x", [], [None], ["x"], [[]], [{}], {}, {"x": None}, {"x": []}]


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_a_field_of_a_wrong_type_never_raises(value: Any) -> None:
    fields = [
        *BRIDGE,
        *HOST,
        "args",
        "env",
        "constraints",
        "secrets",
        "readinessChecks",
        "upgradeStrategy",
        "ipAddress",
    ]
    for name in [*fields, "ports", "check", "fetch"]:
        for definition in (BRIDGE, HOST, LEGACY):
            findings(normalise(changed(definition, **{name: value})))
    for name in BRIDGE["labels"]:
        findings(normalise(with_labels(BRIDGE, **{name: value})))
    for name in ("image", "network", "portMappings", "pullConfig"):
        findings(normalise(docker(**{name: value})))
    for name in CHECK:
        findings(normalise(check(**{name: value})))
    for name in ("name", "labels", "servicePort"):
        findings(normalise(port(BRIDGE, **{name: value})))
    findings(normalise({"id": "/web", "container": {"docker": value, "portMappings": value, "volumes": value}}))


def test_a_whole_number_with_a_decimal_point_is_that_number_where_marathon_reads_a_whole_one() -> None:
    """A filter such as round makes 4.0 of 4; Marathon takes it."""
    definition = normalise(port(changed(BRIDGE, instances=4.0, cpus=1.0), servicePort=10102.0))
    assert findings(definition) == []
    assert instances(definition) == 4
    assert service_ports(definition) == [10102]
