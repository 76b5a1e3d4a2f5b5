"""What Marathon itself would refuse (marathon: AppValidation.scala, AppNormalization.scala, the RAML types)."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bgci.appdef.app_definition import as_int, as_list, as_mapping, labels, network_mode, port_table
from bgci.appdef.findings import Finding, Shape, at, check_shape

_TEXT, _FLAG, _COUNT, _OBJECT = Shape("text"), Shape("flag"), Shape("integer", low=0), Shape("object")
_TEXTS = Shape("list", members=_TEXT)
_TEXT_MAP = Shape("object", members=_TEXT)
_PORT = Shape("integer", low=0, high=65535)
_FRACTION = Shape("number", low=0, high=1)
_COMMON_PORT = {
    "name": Shape("text", pattern=r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"),
    "protocol": Shape("text", choices=("tcp", "udp", "udp,tcp")),
    "labels": _TEXT_MAP,
}
_MAPPINGS = Shape(
    "list",
    members=Shape("object", fields={"containerPort": _PORT, "hostPort": _PORT, "servicePort": _PORT, **_COMMON_PORT}),
)
_DOCKER = Shape(
    "object",
    required=("image",),
    fields={
        "image": Shape("text", pattern=r"\S+"),
        "network": Shape("text", choices=("BRIDGE", "HOST", "USER")),
        "portMappings": _MAPPINGS,
        "forcePullImage": _FLAG,
        "privileged": _FLAG,
        "parameters": Shape("list", members=Shape("object", required=("key", "value"), members=_TEXT)),
    },
)
_HEALTH_CHECK = Shape(
    "object",
    fields={
        "protocol": Shape(
            "text", choices=("HTTP", "HTTPS", "TCP", "COMMAND", "MESOS_TCP", "MESOS_HTTP", "MESOS_HTTPS")
        ),
        "path": Shape("text", pattern=r"/\S*"),
        "port": _PORT,
        "portIndex": _COUNT,
        "gracePeriodSeconds": _COUNT,
        "intervalSeconds": _COUNT,
        "timeoutSeconds": _COUNT,
        "delaySeconds": _COUNT,
        "maxConsecutiveFailures": _COUNT,
        "ignoreHttp1xx": _FLAG,
        "ipProtocol": Shape("text", choices=("IPv4", "IPv6")),
        "command": Shape("object", required=("value",), fields={"value": _TEXT}),
    },
)
_READINESS_CHECK = Shape(
    "object",
    fields={
        "name": _TEXT,
        "protocol": Shape("text", choices=("HTTP", "HTTPS")),
        "path": _TEXT,
        "portName": _TEXT,
        "intervalSeconds": _COUNT,
        "timeoutSeconds": Shape("integer", low=1),
        "httpStatusCodesForReady": Shape("list", members=Shape("integer", low=100, high=999)),
        "preserveLastResponse": _FLAG,
    },
)
APP = Shape(
    "object",
    fields={
        "id": _TEXT,
        "acceptedResourceRoles": _TEXTS,
        "args": _TEXTS,
        "backoffFactor": Shape("number", low=1),
        "backoffSeconds": _COUNT,
        "check": _OBJECT,
        "cmd": _TEXT,
        "constraints": Shape("list", members=_TEXTS),
        "container": Shape(
            "object",
            fields={
                "type": Shape("text", choices=("DOCKER", "MESOS")),
                "docker": _DOCKER,
                "portMappings": _MAPPINGS,
                "volumes": Shape("list", members=_OBJECT),
                "linuxInfo": _OBJECT,
            },
        ),
        "cpus": Shape("number", low=0.001),
        "dependencies": _TEXTS,
        "disk": Shape("number", low=0),
        "env": Shape("object", members=Shape("text or secret")),
        "executor": _TEXT,
        "executorResources": _OBJECT,
        "fetch": Shape("list", members=Shape("object", required=("uri",), fields={"uri": _TEXT})),
        "gpus": _COUNT,
        "healthChecks": Shape("list", members=_HEALTH_CHECK),
        "instances": _COUNT,
        "ipAddress": _OBJECT,
        "killSelection": Shape("text", choices=("YOUNGEST_FIRST", "OLDEST_FIRST")),
        "labels": _TEXT_MAP,
        "maxLaunchDelaySeconds": _COUNT,
        "mem": Shape("number", low=0),
        "networks": Shape(
            "list",
            members=Shape(
                "object",
                fields={
                    "mode": Shape("text", choices=("host", "container/bridge", "container")),
                    "name": Shape("text", pattern=r"[a-z0-9]([-a-z0-9_]*[a-z0-9])?"),
                    "labels": _TEXT_MAP,
                },
            ),
        ),
        "portDefinitions": Shape("list", members=Shape("object", fields={"port": _PORT, **_COMMON_PORT})),
        "ports": Shape("list", members=_PORT),
        "readinessChecks": Shape("list", members=_READINESS_CHECK),
        "requirePorts": _FLAG,
        "residency": _OBJECT,
        "resourceLimits": _OBJECT,
        "role": _TEXT,
        "secrets": Shape(
            "object", members=Shape("object", required=("source",), fields={"source": Shape("text", pattern=r".+")})
        ),
        "taskKillGracePeriodSeconds": _COUNT,
        "tty": _FLAG,
        "unreachableStrategy": Shape("object"),
        "upgradeStrategy": Shape(
            "object",
            required=("minimumHealthCapacity", "maximumOverCapacity"),
            fields={"minimumHealthCapacity": _FRACTION, "maximumOverCapacity": _FRACTION},
        ),
        "uris": _TEXTS,
        "user": _TEXT,
    },
)
_OPERATORS = ("UNIQUE", "CLUSTER", "GROUP_BY", "LIKE", "UNLIKE", "MAX_PER", "IS")


def check_marathon_rules(definition: Mapping[str, Any]) -> Iterator[Finding]:
    """Everything in the definition that Marathon would refuse, or silently ignore because it is misspelt."""
    yield from check_shape(definition, APP)
    for rule in _RULES:
        yield from rule(definition)


def _misspelt(definition: Mapping[str, Any]) -> Iterator[Finding]:
    for name in definition:
        likely = difflib.get_close_matches(name, APP.fields, n=1, cutoff=0.85)
        if likely and name not in APP.fields:
            yield Finding(at("$", name), "is unknown to Marathon, which ignores it silently", f"write {likely[0]}")


def _command(definition: Mapping[str, Any]) -> Iterator[Finding]:
    cmd, args = definition.get("cmd"), definition.get("args")
    docker = as_mapping(as_mapping(definition.get("container")).get("docker"))
    if cmd is not None and args:
        yield Finding("$.cmd", "stands beside args", "keep one of the two")
    if isinstance(cmd, str) and len(cmd.strip()) < 2:
        yield Finding(
            "$.cmd", "is empty for Marathon, which wants two characters at least", "write the command, or none"
        )
    if cmd is None and not args and not docker.get("image"):
        yield Finding("$", "says nothing to run", "add container.docker.image, cmd or args")


def _container(definition: Mapping[str, Any]) -> Iterator[Finding]:
    container = definition.get("container")
    if isinstance(container, Mapping) and container.get("type", "DOCKER") == "DOCKER" and "docker" not in container:
        yield Finding("$.container.docker", "is missing", 'add it with its image, or write "type": "MESOS"')


def _said_twice(definition: Mapping[str, Any]) -> Iterator[Finding]:
    container = as_mapping(definition.get("container"))
    docker = as_mapping(container.get("docker"))
    both = (
        ("$.container.docker.network", bool(docker.get("network")), "networks", bool(definition.get("networks"))),
        ("$.ipAddress", "ipAddress" in definition, "networks", bool(definition.get("networks"))),
        (
            "$.container.docker.portMappings",
            "portMappings" in docker,
            "container.portMappings",
            "portMappings" in container,
        ),
        ("$.ports", "ports" in definition, "portDefinitions", "portDefinitions" in definition),
        ("$.ports", "ports" in definition, "service ports in the port mappings", _has_service_ports(definition)),
    )
    for path, old, new, new_is_there in both:
        if old and new_is_there:
            yield Finding(path, f"stands beside {new}: the old form and the new one", f"keep {new} only")


def _has_service_ports(definition: Mapping[str, Any]) -> bool:
    _, key, table = port_table(definition)
    return key == "servicePort" and any(as_mapping(entry).get(key) for entry in table)


def _networks(definition: Mapping[str, Any]) -> Iterator[Finding]:
    networks = [as_mapping(network) for network in as_list(definition.get("networks"))]
    for index, network in enumerate(networks):
        if network.get("mode", "container") == "container":
            continue
        if "name" in network:
            yield Finding(at(at("$.networks", index), "name"), f"names a {network['mode']} network", "remove the name")
        if len(networks) > 1:
            yield Finding(at("$.networks", index), "cannot stand beside another network", "keep one")
    host = network_mode(definition) == "host"
    container = as_mapping(definition.get("container"))
    mappings = {
        "$.container.portMappings": container.get("portMappings"),
        "$.container.docker.portMappings": as_mapping(container.get("docker")).get("portMappings"),
    }
    for path, value in mappings.items():
        if host and value:
            yield Finding(
                path,
                "has no effect with host networking",
                'add "networks": [{"mode": "container/bridge"}], or use portDefinitions',
            )
    if not host and definition.get("portDefinitions"):
        yield Finding("$.portDefinitions", "is for host networking only", "move it into container.portMappings")


def _ports(definition: Mapping[str, Any]) -> Iterator[Finding]:
    path, key, table = port_table(definition)
    names: set[Any] = set()
    for index, entry in enumerate(table if key else ()):
        name = as_mapping(entry).get("name")
        if isinstance(name, str) and name in names:
            yield Finding(f"{at(path, index)}.name", f"is {name!r} a second time", "give each port a name of its own")
        names.add(name if isinstance(name, str) else None)


def _health_checks(definition: Mapping[str, Any]) -> Iterator[Finding]:
    ports = len(port_table(definition)[2])
    checks = [as_mapping(check) for check in as_list(definition.get("healthChecks"))]
    for index, check in enumerate(checks):
        path = at("$.healthChecks", index)
        if check.get("protocol") == "COMMAND":
            if "command" not in check:
                yield Finding(f"{path}.command", "is missing", 'add it: {"value": "…"}')
            continue
        if "port" in check and "portIndex" in check:
            yield Finding(f"{path}.port", "stands beside portIndex", "keep portIndex")
        if "port" not in check and "portIndex" not in check and ports != 1:
            yield Finding(path, f"does not say which of the {ports} ports it checks", "add portIndex")
        if as_int(check.get("portIndex")) >= max(ports, 1):
            yield Finding(
                f"{path}.portIndex", f"is {check['portIndex']}, but there are {ports} ports", "they count from 0"
            )
    by_mesos = [check for check in checks if check.get("protocol") in ("MESOS_HTTP", "MESOS_HTTPS", "MESOS_TCP")]
    if len(by_mesos) > 1:
        yield Finding("$.healthChecks", f"has {len(by_mesos)} checks of the MESOS_ kind", "Marathon takes one")


def _readiness_checks(definition: Mapping[str, Any]) -> Iterator[Finding]:
    checks = [as_mapping(check) for check in as_list(definition.get("readinessChecks"))]
    names = [as_mapping(entry).get("name") for entry in port_table(definition)[2]]
    if len(checks) > 1:
        yield Finding("$.readinessChecks", f"has {len(checks)} checks", "Marathon takes one")
    for index, check in enumerate(checks):
        path = at("$.readinessChecks", index)
        if as_int(check.get("timeoutSeconds", 10)) >= as_int(check.get("intervalSeconds", 30)):
            yield Finding(
                f"{path}.timeoutSeconds", "is not below intervalSeconds", "lower it (the defaults are 10 and 30)"
            )
        if check.get("portName", "http-api") not in names:
            yield Finding(
                f"{path}.portName",
                "names no port (the default is http-api)",
                "name the port so, or the other way round",
            )


def _single_instance(definition: Mapping[str, Any]) -> Iterator[Finding]:
    if labels(definition).get("MARATHON_SINGLE_INSTANCE_APP") != "true":
        return
    path = "$.labels.MARATHON_SINGLE_INSTANCE_APP"
    if as_int(definition.get("instances", 1)) > 1:
        yield Finding(path, "allows one instance only", "set instances to 1, or remove the label")
    strategy = as_mapping(definition.get("upgradeStrategy"))
    if any(strategy.get(name, 1) != 0 for name in ("minimumHealthCapacity", "maximumOverCapacity")):
        yield Finding(path, "wants an upgradeStrategy of zeros", "set both of its capacities to 0, or remove the label")


def _constraints(definition: Mapping[str, Any]) -> Iterator[Finding]:
    for index, constraint in enumerate(as_list(definition.get("constraints"))):
        path = at("$.constraints", index)
        if not isinstance(constraint, list):
            continue
        if len(constraint) not in (2, 3):
            yield Finding(path, f"has {len(constraint)} parts", "write field, operator and, if need be, a value")
        elif constraint[1] not in _OPERATORS:
            yield Finding(at(path, 1), f"is {constraint[1]!r}", f"use one of {', '.join(_OPERATORS)}")


def _secrets(definition: Mapping[str, Any]) -> Iterator[Finding]:
    declared = as_mapping(definition.get("secrets"))
    container = as_mapping(definition.get("container"))
    used = {
        at("$.env", name): as_mapping(value).get("secret") for name, value in as_mapping(definition.get("env")).items()
    }
    for index, volume in enumerate(as_list(container.get("volumes"))):
        used[at("$.container.volumes", index)] = as_mapping(volume).get("secret")
    docker = as_mapping(container.get("docker"))
    used["$.container.docker.pullConfig"] = as_mapping(docker.get("pullConfig")).get("secret")
    for path, name in used.items():
        if isinstance(name, str) and name not in declared:
            yield Finding(
                path, f"uses the secret {name!r}, which is not declared", "declare it under secrets with its source"
            )


_RULES: tuple[Callable[[Mapping[str, Any]], Iterator[Finding]], ...] = (
    _misspelt,
    _command,
    _container,
    _said_twice,
    _networks,
    _ports,
    _health_checks,
    _readiness_checks,
    _single_instance,
    _constraints,
    _secrets,
)
