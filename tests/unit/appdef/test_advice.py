"""Unwise settings are advice; settings that cannot work beside the other colour are refused; other documents are
named."""

from __future__ import annotations

from typing import Any

import pytest
from definition_samples import BRIDGE, CHECK, HOST, changed

from bgci.appdef.app_definition import normalise
from bgci.appdef.findings import Finding, require_valid
from bgci.appdef.validate import check_definition
from bgci.errors import InvalidError


def findings(definition: dict[str, Any], version: str = "1.11") -> list[Finding]:
    normalised = normalise(definition)
    return check_definition(normalised, app_id="/web", allow_no_health_check=False, marathon_version=version)


def with_container(**fields: Any) -> dict[str, Any]:
    copied = changed(BRIDGE)
    copied["container"].update(fields)
    return copied


def with_parameter(key: str, value: str) -> dict[str, Any]:
    docker = {**BRIDGE["container"]["docker"], "parameters": [{"key": key, "value": value}]}
    return with_container(docker=docker)


def with_host_port(**fields: Any) -> dict[str, Any]:
    return changed(
        with_container(portMappings=[{"containerPort": 80, "servicePort": 10102, "hostPort": 31110}]), **fields
    )


@pytest.mark.parametrize(
    ("definition", "path"),
    [
        (changed(BRIDGE, cpus=0), "$.cpus"),
        (changed(BRIDGE, mem=0.5), "$.mem"),
        (with_container(docker={"image": "a b"}), "$.container.docker.image"),
        (changed(BRIDGE, healthChecks=[{**CHECK, "timeoutSeconds": -1}]), "$.healthChecks[0].timeoutSeconds"),
        (changed(BRIDGE, healthChecks=[{**CHECK, "intervalSeconds": 0}]), "$.healthChecks[0].intervalSeconds"),
        (changed(BRIDGE, env={"a b": "c"}), "$.env['a b']"),
        (changed(BRIDGE, unreachableStrategy="never"), "$.unreachableStrategy"),
        (changed(BRIDGE, healthCheck=[CHECK]), "$.healthCheck"),
        (changed(BRIDGE, healthChecks=[{**CHECK, "gracePeriodSecond": 9}]), "$.healthChecks[0].gracePeriodSecond"),
        (changed(HOST, container={"docker": {"image": "a"}, "portMappings": [{}]}), "$.container.portMappings"),
        (with_host_port(), "$.container.portMappings[0].hostPort"),
        (with_parameter("publish", "8080:80"), "$.container.docker.parameters[0]"),
        (with_parameter("name", "web"), "$.container.docker.parameters[0]"),
        (with_host_port(constraints=[["hostname", "UNIQUE"]]), "$.container.portMappings[0].hostPort"),
        (changed(HOST, requirePorts=True), "$.requirePorts"),
    ],
)
def test_an_unwise_setting_is_advice_and_refused_only_when_strict(definition: dict[str, Any], path: str) -> None:
    found = findings(definition)
    assert [(finding.path, finding.advice) for finding in found] == [(path, True)]
    assert require_valid(found, what="It") == found
    with pytest.raises(InvalidError, match="1 finding"):
        require_valid(found, what="It", strict=True)


def test_a_field_that_an_old_marathon_ignores_is_advice_for_that_version_only() -> None:
    definition = changed(BRIDGE, resourceLimits={"cpus": "unlimited"})
    assert findings(definition) == []
    assert [(each.path, each.advice) for each in findings(definition, "1.7")] == [("$.resourceLimits", True)]


@pytest.mark.parametrize(
    ("definition", "path"),
    [
        (with_host_port(constraints=[["hostname", "CLUSTER", "a.example"]]), "$.container.portMappings[0].hostPort"),
        (with_host_port(constraints=[["hostname", "LIKE", "agent-1"]]), "$.container.portMappings[0].hostPort"),
        (changed(HOST, requirePorts=True, constraints=[["hostname", "IS", "a"]]), "$.portDefinitions"),
        (
            changed(
                with_container(
                    volumes=[
                        {
                            "containerPath": "/d",
                            "mode": "RW",
                            "external": {"provider": "dvdi", "name": "v", "options": {"dvdi/driver": "rexray"}},
                        }
                    ]
                ),
                instances=1,
            ),
            "$.container.volumes[0].external",
        ),
    ],
)
def test_h63_a_setting_that_the_second_colour_cannot_have_is_refused(definition: dict[str, Any], path: str) -> None:
    assert path in [finding.path for finding in findings(definition) if not finding.advice]


@pytest.mark.parametrize("path", ["health", "/a b", "/a\tb"])
def test_a_check_path_that_haproxy_parses_differently_is_refused(path: str) -> None:
    found = findings(changed(BRIDGE, healthChecks=[{**CHECK, "path": path}]))
    assert [finding.path for finding in found if not finding.advice] == ["$.healthChecks[0].path"]


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ({"id": "/shop", "apps": [BRIDGE]}, "group"),
        ({"id": "/shop", "groups": [{"id": "a", "apps": []}]}, "group"),
        ({"id": "/shop", "containers": [{"name": "a"}], "networks": []}, "pod"),
        ({"app": BRIDGE}, "answer of Marathon"),
        ({"id": "shop", "run": {"cpus": 1}}, "DC/OS Job"),
    ],
)
def test_a_document_that_is_not_an_app_is_the_only_finding(document: dict[str, Any], word: str) -> None:
    [finding] = findings(document)
    assert word in finding.message
    assert "one app" in finding.message


def test_a_finding_has_marathons_path_where_it_differs() -> None:
    [finding] = findings(changed(BRIDGE, constraints=[["hostname", "UNIQUE", "x"]]))
    assert str(finding).splitlines() == [
        "$.constraints[0] is not valid: UNIQUE has no value. Marathon names /constraints.",
        "    Remove the value.",
    ]
    [same] = findings(changed(BRIDGE, instances="4"))
    assert "Marathon" not in str(same)
