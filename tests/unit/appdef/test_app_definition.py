"""Reading and writing definitions in old and new forms."""

from __future__ import annotations

import json
from typing import Any

import pytest
from definition_samples import BG_DEPLOY, BRIDGE, HOST, LEGACY, changed, with_labels, with_ports

from bgci.appdef.app_definition import (
    alt_ports,
    group,
    instances,
    network_mode,
    normalise,
    service_ports,
    set_service_ports,
)


def test_a_bg_deploy_definition_loses_its_nulls_and_the_port_definitions_that_marathon_refuses() -> None:
    definition = normalise(json.loads(BG_DEPLOY))
    assert "portDefinitions" not in definition
    assert "volumes" not in definition
    assert definition["container"]["docker"]["network"] == "BRIDGE", "legacy networking stays: old Marathons need it"
    assert "null" not in json.dumps(definition)
    assert service_ports(definition) == [10102]


def test_null_of_a_field_is_dropped_and_null_in_a_map_stays_for_the_validation() -> None:
    raw: dict[str, Any] = {"id": "web", "env": {"A": None, "B": "b"}, "healthChecks": [{"path": None, "portIndex": 0}]}
    assert normalise(raw) == {"id": "/web", "env": {"A": None, "B": "b"}, "healthChecks": [{"portIndex": 0}]}
    assert raw["healthChecks"] == [{"path": None, "portIndex": 0}], "the input is unchanged"


@pytest.mark.parametrize(("written", "read"), [("web", "/web"), ("/v//web/", "/v/web"), ("/a/../web", "/web")])
def test_an_id_becomes_absolute_as_marathon_resolves_it(written: str, read: str) -> None:
    assert normalise({"id": written})["id"] == read


def test_enums_are_written_in_marathons_case() -> None:
    raw = changed(BRIDGE, killSelection="oldest_first", networks=[{"mode": "CONTAINER/bridge"}])
    raw["container"]["type"] = "docker"
    definition = normalise(raw)
    assert definition["killSelection"] == "OLDEST_FIRST"
    assert definition["networks"] == [{"mode": "container/bridge"}]
    assert definition["container"]["type"] == "DOCKER"


def test_legacy_ports_beside_mappings_become_their_service_ports() -> None:
    raw = changed(LEGACY, ports=[10200])
    del raw["container"]["docker"]["portMappings"][0]["servicePort"]
    definition = normalise(raw)
    assert service_ports(definition) == [10200]
    assert "ports" not in definition


@pytest.mark.parametrize("definition", [BRIDGE, LEGACY])
@pytest.mark.parametrize("fields", [{"ports": [10200]}, {"portDefinitions": [{"port": 10200}]}])
def test_ports_beside_mappings_are_dropped_as_marathon_drops_them(
    definition: dict[str, Any], fields: dict[str, Any]
) -> None:
    normalised = normalise(changed(definition, **fields))
    assert service_ports(normalised) == [10102]
    assert not {"ports", "portDefinitions"} & set(normalised)


def test_port_definitions_beyond_the_mappings_add_mappings_as_in_marathon() -> None:
    assert service_ports(normalise(changed(BRIDGE, portDefinitions=[{"port": 1}, {"port": 2}]))) == [10102, 0]


def test_port_definitions_stay_with_host_networking() -> None:
    assert normalise(HOST)["portDefinitions"] == HOST["portDefinitions"]


def test_ports_that_contradict_port_definitions_are_left_for_the_validation() -> None:
    both = changed(BRIDGE, portDefinitions=[{"port": 1}], ports=[2])
    assert normalise(both)["ports"] == [2]


@pytest.mark.parametrize(
    ("definition", "mode"),
    [
        (BRIDGE, "container/bridge"),
        (HOST, "host"),
        (LEGACY, "container/bridge"),
        ({"networks": [{"mode": "container", "name": "dcos"}]}, "container"),
        ({"networks": [{"name": "dcos"}]}, "container"),
        ({"ipAddress": {"networkName": "dcos"}}, "container"),
        ({"container": {"docker": {"network": "USER"}}}, "container"),
        ({"container": {"docker": {"network": "HOST"}}}, "host"),
        ({}, "host"),
    ],
)
def test_the_network_mode_is_read_from_every_form(definition: dict[str, Any], mode: str) -> None:
    assert network_mode(definition) == mode


@pytest.mark.parametrize("definition", [BRIDGE, HOST, LEGACY, {"ports": [10102]}])
def test_service_ports_are_read_and_written_in_every_form(definition: dict[str, Any]) -> None:
    assert service_ports(definition) == [10102]
    written = set_service_ports(definition, [10129])
    assert service_ports(written) == [10129]
    assert service_ports(definition) == [10102]


def test_an_unset_service_port_reads_as_zero() -> None:
    assert service_ports({"portDefinitions": [{}, {"port": 0}, {"port": 9}]}) == [0, 0, 9]


def test_alternative_ports_are_a_comma_list() -> None:
    assert alt_ports(with_ports(BRIDGE, 1, 2, alt="10129, 10130")) == [10129, 10130]
    assert alt_ports(with_labels(BRIDGE, HAPROXY_DEPLOYMENT_ALT_PORT="10129,x")) == [10129, 0]
    assert alt_ports({}) == []


def test_group_and_target_are_read_with_marathons_defaults() -> None:
    assert group(BRIDGE) == "web"
    assert group({}) == ""
    assert instances(BRIDGE) == 4
    assert instances({}) == 1


@pytest.mark.parametrize(
    "nonsense", [{"labels": 5}, {"container": [], "networks": ["x"]}, {"ports": "x"}, {"networks": 7}]
)
def test_malformed_fields_read_as_unset(nonsense: dict[str, Any]) -> None:
    assert normalise(nonsense) == nonsense
    assert service_ports(nonsense) == []
    assert alt_ports(nonsense) == []
