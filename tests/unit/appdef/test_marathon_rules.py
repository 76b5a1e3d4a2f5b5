"""bgci refuses what two real Marathons refused, accepts what they accepted, and knows what they stored.

`tests/data/marathon-verdicts.jsonl.gz` has the answers of Marathon 1.11 and 1.7 to 172 app definitions.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from definition_samples import BRIDGE, HOST, LEGACY, changed

from bgci.appdef.findings import marathon_path
from bgci.appdef.marathon_forms import stored
from bgci.appdef.marathon_parts import CANONICAL, DEPRECATED
from bgci.appdef.marathon_rules import check_marathon_rules
from bgci.appdef.marathon_schema import VERSIONS

DATA = Path(__file__).parents[2] / "data" / "marathon-verdicts.jsonl.gz"
VERDICTS: list[dict[str, Any]] = [json.loads(line) for line in gzip.decompress(DATA.read_bytes()).splitlines()]
SETS = ("acceptedResourceRoles", "constraints", "dependencies", "healthChecks")


def paths(definition: dict[str, Any], version: str = "1.11") -> list[str]:
    return sorted({each.marathon or marathon_path(each.path) for each in check_marathon_rules(definition, version)})


def app(definition: dict[str, Any] = BRIDGE, **fields: Any) -> dict[str, Any]:
    """An app in a folder, so that a role of its own is possible."""
    return changed(definition, **{"id": "/v/x", **fields})


def container(**fields: Any) -> dict[str, Any]:
    copied = app()
    copied["container"].update(fields)
    return copied


def mesos(**fields: Any) -> dict[str, Any]:
    return container(type="MESOS", **fields)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_definition_is_refused_exactly_where_marathon_refused_it(version: str) -> None:
    wrong = [
        verdict["name"]
        for verdict in VERDICTS
        if bool(check_marathon_rules(verdict["definition"], version)) != (verdict[version]["status"] != 201)
    ]
    assert wrong == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_finding_names_the_path_of_marathons_answer(version: str) -> None:
    other = {
        verdict["name"]: paths(verdict["definition"], version)
        for verdict in VERDICTS
        if verdict[version].get("paths") and paths(verdict["definition"], version) != sorted(verdict[version]["paths"])
    }
    # Marathon names two more fields for the one mistake.
    assert other == {"single default": ["/isSingleInstance"]}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_stored_form_is_what_marathon_stored(version: str) -> None:
    accepted = [verdict for verdict in VERDICTS if verdict[version]["status"] == 201]
    assert len(accepted) > 70
    for verdict in accepted:
        ours, theirs = stored(verdict["definition"], version), verdict[version]["stored"]
        assert set(ours) == set(theirs), verdict["name"]
        assert {key: value for key, value in ours.items() if key not in SETS} == {
            key: value for key, value in theirs.items() if key not in SETS
        }, verdict["name"]
        assert stored(theirs, version) == ours, verdict["name"]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_stored_form_of_a_stored_form_is_the_same(version: str) -> None:
    for definition in (BRIDGE, HOST, LEGACY):
        once = stored(definition, version)
        assert stored(once, version) == once


def test_two_spellings_of_one_app_have_the_same_stored_form() -> None:
    plain = {"id": "/web", "container": {"docker": {"image": "a"}, "portMappings": [{"containerPort": 80}]}}
    new = {**plain, "networks": [{"mode": "container/bridge"}], "killSelection": "youngest_first", "cpus": 1.0}
    old = json.loads(json.dumps(plain))
    old["container"]["docker"] |= {"network": "BRIDGE", "portMappings": old["container"].pop("portMappings")}
    assert stored(new) == stored(old)


def test_each_rule_names_its_source_once() -> None:
    sources = [rule.source for rule in (*DEPRECATED, *CANONICAL)]
    assert all(sources)
    assert len(set(sources)) == len(sources)


PERSISTENT = {"containerPath": "data", "mode": "RW", "persistent": {"size": 10}}
RESIDENT: dict[str, Any] = {"role": "v", "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0}}
DVDI = {"provider": "dvdi", "name": "v", "options": {"dvdi/driver": "rexray"}}


@pytest.mark.parametrize(
    "definition",
    [
        app(constraints=[["hostname", "GROUP_BY", "3"], ["rack", "LIKE", r"\p{Alnum}+(?i)x"], ["a", "CLUSTER"]]),
        app(constraints=[["a", "MAX_PER", "-2"], ["a", "UNLIKE", "[a-z&&[^b]]"], ["a", "IS"]]),
        app(networks=[{"name": "dcos"}]),
        mesos(portMappings=[{"hostPort": 0, "networkNames": ["b"]}]) | {"networks": [{"name": "a"}, {"name": "b"}]},
        app(healthChecks=[{"protocol": "COMMAND", "command": {"value": "x"}, "portIndex": 7}]),
        app(healthChecks=[{"protocol": "MESOS_TCP", "ipProtocol": "IPV6", "portIndex": 0}]),
        mesos() | {"check": {"exec": {"command": {"shell": "true"}}}},
        mesos() | {"check": {"tcp": {}}, "gpus": 1},
        mesos(volumes=[PERSISTENT]) | RESIDENT,
        mesos(volumes=[PERSISTENT]) | RESIDENT | {"unreachableStrategy": "disabled", "acceptedResourceRoles": ["*"]},
        mesos(volumes=[{"containerPath": "/s", "secret": "s"}]) | {"secrets": {"s": {"source": "a/b"}}},
        container(volumes=[{"containerPath": "/d", "mode": "RW", "external": DVDI}]) | {"instances": 1},
        mesos(linuxInfo={"seccomp": {"profileName": "p"}, "ipcInfo": {"mode": "private", "shmSize": 8}}),
        app(resourceLimits={"cpus": "unlimited", "mem": 64}),
        app(fetch=[{"uri": "file:///a%20b", "destPath": "x"}]),
        app(role="v", acceptedResourceRoles=["v", "*"]),
        app(LEGACY, ports=[0, 0]),
        app(unreachableStrategy="never"),
        app(labels=None, env=None, healthChecks=None, killSelection=None, networks=[{"mode": "host", "name": None}]),
        {"id": "/v/x", "cmd": "ab", "ipAddress": {"networkName": "dcos", "discovery": {"ports": []}}},
        {"id": "/v/x", "args": ["x"], "ipAddress": {"discovery": {"ports": [{"name": "a"}]}, "networkName": "dcos"}},
    ],
)
def test_an_unusual_definition_that_marathon_accepts_passes(definition: dict[str, Any]) -> None:
    assert [str(finding) for finding in check_marathon_rules(definition)] == []


@pytest.mark.parametrize(
    ("definition", "path"),
    [
        # constraints: the brothers of UNIQUE with a value
        (app(constraints=[["hostname", "UNIQUE", ""]]), "/constraints"),
        (app(constraints=[["", "UNIQUE"]]), "/constraints"),
        (app(constraints=[["a", "MAX_PER", "1.5"]]), "/constraints"),
        (app(constraints=[["a", "GROUP_BY", "99999999999"]]), "/constraints"),
        (app(constraints=[["a", "LIKE"]]), "/constraints"),
        (app(constraints=[["a", "UNLIKE", "*"]]), "/constraints"),
        (app(constraints=[["a", "LIKE", "x{"]]), "/constraints"),
        (app(constraints=[["a", "LIKE", "(?P<x>a)"]]), "/constraints"),
        (app(constraints=[["a", "IS", "a b"]]), "/constraints"),
        (app(constraints=[["a", "UNIQUE", "b", "c"]]), "/constraints"),
        (app(constraints=[[]]), "/constraints"),
        # numbers and texts at their limits
        (app(cpus=-0.1), "/cpus"),
        (app(instances=2**31), "/instances"),
        (app(cmd="\t"), "/"),
        (app(cmd=""), "/cmd"),
        (app(executor="//"), "/executor"),
        (app(upgradeStrategy={"minimumHealthCapacity": 1}), "/upgradeStrategy/maximumOverCapacity"),
        (app(executorResources={"mem": 8}), "/executorResources/mem"),
        (app(fetch=[{"uri": "a b"}]), "/fetch(0)/uri"),
        (app(uris=["http://[x"]), "/uris(0)"),
        (app(uris=["x"], fetch=[{"uri": "y"}]), "/uris"),
        (app(readinessChecks=[{}, {}]), "/readinessChecks"),
        # ports and networks
        (app(HOST, portDefinitions=[{"port": 5}, {"port": 5}]), "/portDefinitions"),
        (app(HOST, ports=[10102, 10102], portDefinitions=None), "/"),
        (app(HOST, ports=[-1], portDefinitions=None, healthChecks=None), "/portDefinitions(0)/port"),
        (app(HOST, networks=[{"mode": "host", "name": "x"}]), "/networks"),
        (app(HOST, networks=[{"mode": "host", "labels": {"a": "b"}}]), "/networks"),
        (app(networks=[{"name": "a"}, {"name": "b"}]), "/"),
        (app(networks=[{"mode": "container"}]), "/networks"),
        (mesos() | {"networks": [{"name": "a"}, {"name": "a"}]}, "/networks"),
        (
            mesos(portMappings=[{"hostPort": 0}]) | {"networks": [{"name": "a"}, {"name": "b"}]},
            "/container/portMappings(0)",
        ),
        (container(portMappings=[{"networkNames": ["b"]}]), "/container/portMappings(0)/networkNames(0)"),
        (container(portMappings=[{"name": "a"}, {"name": "a"}]), "/container/portMappings"),
        (app(ipAddress={}, networks=[], ports=[1]), "/"),
        (app(ipAddress={"discovery": {}}, networks=[]), "/ipAddress"),
        (app(LEGACY, networks=[{"mode": "host"}]), "/"),
        (app(LEGACY) | {"container": {**LEGACY["container"], "portMappings": []}}, "/container/docker/portMappings"),
        # containers
        (mesos(docker={"image": "a", "portMappings": []}), "/container/docker/portMappings"),
        (app(container={"type": "MESOS"}), "/"),
        (app(container=None, healthChecks=None), "/"),
        (mesos(docker={"image": "a", "parameters": [{"key": "a", "value": "b"}]}), "/container/docker/parameters"),
        (mesos(docker={"image": "a", "network": "BRIDGE"}) | {"networks": []}, "/container/docker/network"),
        (mesos(docker={"image": "a", "pullConfig": {"secret": "s"}}), "/container/docker/pullConfig"),
        (container(docker={"image": "a", "credential": {"principal": "p"}}), "/container/docker/credential"),
        (mesos(volumes=[{"containerPath": "/s", "secret": "s"}]), "/container/volumes(0)"),
        (mesos(volumes=[{**PERSISTENT, "containerPath": "/a"}]) | RESIDENT, "/container/volumes(0)/containerPath"),
        (mesos(volumes=[{**PERSISTENT, "mode": "RO"}]) | RESIDENT, "/container/volumes(0)/mode"),
        (
            mesos(volumes=[{**PERSISTENT, "persistent": {"size": 0}}]) | RESIDENT,
            "/container/volumes(0)/persistent/size",
        ),
        (mesos(volumes=[PERSISTENT]) | {**RESIDENT, "role": "*"}, "/role"),
        (mesos(volumes=[PERSISTENT]) | {**RESIDENT, "unreachableStrategy": {}}, "/"),
        (mesos(volumes=[PERSISTENT]) | {**RESIDENT, "acceptedResourceRoles": ["v"]}, "/acceptedResourceRoles"),
        (mesos(linuxInfo={"seccomp": {}}), "/container/linuxInfo/seccomp"),
        # checks
        (app(healthChecks=[{"protocol": "HTTP", "command": {"value": "x"}}]), "/healthChecks(0)"),
        (app(healthChecks=[{"protocol": "COMMAND", "command": {"value": "x"}, "path": "/"}]), "/healthChecks(0)"),
        (app(healthChecks=[{"protocol": "MESOS_HTTP", "portIndex": 5}]), "/healthChecks(0)"),
        (app(healthChecks=[{"ipProtocol": "IPv6", "portIndex": 0}]), "/healthChecks(0)"),
        (mesos() | {"check": {"tcp": {}, "http": {}}}, "/check"),
        (mesos() | {"check": {"http": {"portIndex": 4}}}, "/check"),
        # names, roles, secrets, labels
        (app(env={"": "x"}), "/env"),
        (app(secrets={"": {"source": "x"}}), "/secrets"),
        (app(role="w"), "/role"),
        (app(acceptedResourceRoles=["-x"]), "/acceptedResourceRoles"),
        (app(dependencies=["/v"]), "/"),
        (app(dependencies=["/a/tasks"]), "/dependencies(0)"),
        (app(labels={"DCOS_MIGRATION_API_VERSION": "v1"}), "/"),
        (app(unreachableStrategy={"inactiveAfterSeconds": 9}), "/unreachableStrategy/inactiveAfterSeconds"),
        (app(unreachableStrategy=7), "/unreachableStrategy"),
        (app(id="/"), "/id"),
    ],
)
def test_a_definition_that_marathon_refuses_is_refused(definition: dict[str, Any], path: str) -> None:
    assert path in paths(definition)


@pytest.mark.parametrize("fields", [{"role": "w"}, {"check": {}}, {"resourceLimits": {"cpus": "x"}}])
def test_a_rule_of_marathon_1_8_does_not_hold_for_1_7(fields: dict[str, Any]) -> None:
    assert paths(app(**fields))
    assert paths(app(**fields), "1.7") == []
