"""What Marathon refuses: errors by JSON path, ``/`` for the whole app (marathon: AppValidation.scala)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bgci.sandbox.shape import FLAG, INTEGER, NUMBER, STRINGS, TEXT, Shape, array, choice, problems
from bgci.sandbox.web import ApiError

Json = Mapping[str, Any]
Errors = dict[str, list[str]]


class Refusal(ApiError):
    """The definition is not accepted."""


_SEGMENT = re.compile(r"(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])")
_RESERVED = ("restart", "tasks", "versions", ".", "..")
_OPERATORS = ("UNIQUE", "CLUSTER", "GROUP_BY", "LIKE", "UNLIKE", "MAX_PER", "IS")
_MARATHON_PROTOCOLS = ("HTTP", "HTTPS", "TCP")
_MESOS_PROTOCOLS = ("MESOS_HTTP", "MESOS_HTTPS", "MESOS_TCP")
_PROTOCOLS = (*_MARATHON_PROTOCOLS, *_MESOS_PROTOCOLS, "COMMAND")

_PORT = Shape("object", {"port": INTEGER, "protocol": TEXT, "name": TEXT, "labels": STRINGS})
_MAPPING_FIELDS = {"containerPort": INTEGER, "hostPort": INTEGER, "servicePort": INTEGER}
_MAPPING = Shape("object", {**_MAPPING_FIELDS, "protocol": TEXT, "name": TEXT, "labels": STRINGS})
_DOCKER_FIELDS = {"image": TEXT, "network": TEXT, "portMappings": array(_MAPPING), "forcePullImage": FLAG}
_DOCKER = Shape("object", {**_DOCKER_FIELDS, "privileged": FLAG, "parameters": array(Shape("object"))})
_CONTAINER_FIELDS = {"type": choice("DOCKER", "MESOS"), "docker": _DOCKER, "portMappings": array(_MAPPING)}
_SECONDS = ("gracePeriodSeconds", "intervalSeconds", "timeoutSeconds", "delaySeconds")
_HEALTH = Shape(
    "object",
    {
        **dict.fromkeys((*_SECONDS, "maxConsecutiveFailures", "port", "portIndex"), INTEGER),
        "path": TEXT,
        "protocol": choice(*_PROTOCOLS),
        "command": Shape("object", {"value": TEXT}),
    },
)
_READINESS = Shape("object", {"name": TEXT, "path": TEXT, "portName": TEXT, "intervalSeconds": NUMBER})
_STRATEGY = {"maximumOverCapacity": NUMBER, "minimumHealthCapacity": NUMBER}
_DISCOVERY = Shape("object", {"ports": array(Shape("object", {"number": INTEGER, "name": TEXT}))})
_APP = Shape(
    "object",
    {
        **dict.fromkeys(("id", "cmd", "user", "executor", "role"), TEXT),
        **dict.fromkeys(("instances", "gpus", "backoffSeconds", "maxLaunchDelaySeconds"), INTEGER),
        **dict.fromkeys(("cpus", "mem", "disk", "backoffFactor"), NUMBER),
        **dict.fromkeys(("args", "dependencies", "acceptedResourceRoles", "uris"), array(TEXT)),
        "taskKillGracePeriodSeconds": INTEGER,
        "env": Shape("object", items=Shape("string or object")),
        "labels": STRINGS,
        "constraints": array(array(TEXT)),
        "fetch": array(Shape("object", {"uri": TEXT}, ("uri",))),
        "requirePorts": FLAG,
        "portDefinitions": array(_PORT),
        "ports": array(INTEGER),
        "container": Shape("object", {**_CONTAINER_FIELDS, "volumes": array(Shape("object"))}),
        "networks": array(Shape("object", {"mode": choice("host", "container", "container/bridge"), "name": TEXT})),
        "ipAddress": Shape("object", {"networkName": TEXT, "discovery": _DISCOVERY}),
        "healthChecks": array(_HEALTH),
        "readinessChecks": array(_READINESS),
        "upgradeStrategy": Shape("object", _STRATEGY, tuple(_STRATEGY)),
        "secrets": Shape("object", items=Shape("object", {"source": TEXT})),
        "killSelection": choice("YOUNGEST_FIRST", "OLDEST_FIRST"),
    },
)
_TYPE_ERRORS = {
    "string": "error.expected.jsstring", "integer": "error.expected.jsnumber", "number": "error.expected.jsnumber",
    "array": "error.expected.jsarray", "object": "error.expected.jsobject", "boolean": "error.expected.jsboolean",
    "string or object": "error.expected.jsstring",
}  # fmt: skip


def shape_errors(app: Json, *, complete: bool) -> Errors:
    """JSON of the wrong type or shape, in the words of Play's JSON library."""
    errors: Errors = {}
    for problem in problems(app, replace(_APP, required=("id",) if complete else ())):
        path = "".join(f"({part})" if isinstance(part, int) else f"/{part}" for part in problem.path)
        if problem.kind == "missing":
            _add(errors, f"{path}/{problem.name}", "error.path.missing")
        elif problem.kind == "type":
            _add(errors, path, _TYPE_ERRORS[problem.shape.kind])
        else:
            _add(errors, path, "error.unknown.enum.literal")
    return errors


def old_api_errors(app: Json) -> Errors:
    """Legacy fields that contradict canonical ones."""
    errors: Errors = {}
    container, address = app.get("container", {}), app.get("ipAddress")
    ports, definitions = app.get("ports"), app.get("portDefinitions")
    fixed = [port for port in ports or [] if port]
    docker = "container" in app and container.get("type", "DOCKER") == "DOCKER"
    if docker and address and address.get("discovery"):
        _add(errors, "/ipAddress", "ipAddress/discovery is not allowed for Docker containers")
    if container.get("docker", {}).get("network") and app.get("networks"):
        _add(errors, "/", "must not specify both container.docker.network and networks")
    if address and app.get("networks"):
        _add(errors, "/", "must not specify both networks and ipAddress")
    if len(set(fixed)) != len(fixed):
        _add(errors, "/", "ports must be unique")
    if address and (ports or definitions):
        _add(errors, "/", "cannot specify both an IP address and port")
    if ports is not None and definitions is not None and [d.get("port") for d in definitions] != ports:
        _add(errors, "/", "cannot specify both ports and port definitions")
    if app.get("uris") and app.get("fetch"):
        _add(errors, "/uris", "may not be set in conjunction with fetch")
    return errors


def update_errors(body: Json) -> Errors:
    """``version`` in an update means: go back to that version, and nothing else."""
    given = {name for name, value in body.items() if value is not None}
    if "version" in given and given - {"version", "id"}:
        return {"/": ["The 'version' field may only be combined with the 'id' field."]}
    return {}


def id_errors(app_id: str) -> list[str]:
    segments = app_id.strip("/").split("/")
    if segments == [""]:
        return ["must not be root"]
    if not all(_SEGMENT.fullmatch(segment) for segment in segments):
        return [f"must fully match regular expression '^{_SEGMENT.pattern}|(\\.|\\.\\.)$'"]
    if segments[-1] in _RESERVED:
        return [f"must not end with any of the following reserved keywords: {', '.join(_RESERVED)}"]
    return []


def canonical_errors(app: Json, *, secrets: bool) -> Errors:
    """What is semantically wrong with an app in canonical form; ``secrets``: whether there is a store of them."""
    errors: Errors = {}
    for error in id_errors(app["id"]):
        _add(errors, "/id", error)
    _command_errors(app, errors)
    _number_errors(app, errors)
    _port_errors(app, errors)
    _health_errors(app, errors)
    for index, constraint in enumerate(app.get("constraints", [])):
        if len(constraint) not in (2, 3) or constraint[1] not in _OPERATORS:
            _add(errors, f"/constraints({index})", f"Missing or invalid operator in constraint {constraint}")
    _label_errors(app, errors)
    if app.get("secrets") and not secrets:
        _add(errors, "/secrets", "Feature secrets is not enabled. Enable with --enable_features secrets)")
    if secrets:
        _secret_errors(app, errors)
    return errors


def _secret_errors(app: Json, errors: Errors) -> None:
    declared = app.get("secrets", {})
    for name, secret in declared.items():
        if not (isinstance(secret, dict) and secret.get("source")):
            _add(errors, f"/secrets({name})/source", "error.path.missing")
    for name, value in app.get("env", {}).items():
        if isinstance(value, dict) and value.get("secret") not in declared:
            _add(errors, f"/env({name})", f"references an undefined secret: {value.get('secret')}")


def _command_errors(app: Json, errors: Errors) -> None:
    cmd, args = app.get("cmd"), app.get("args")
    container = app.get("container")
    runs = container is not None and ("docker" in container or container.get("type") == "MESOS")
    if not (bool(cmd) != bool(args) or (not (cmd and args) and runs)):
        text = "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'."
        _add(errors, "/", text)
    if cmd is not None and len(cmd) <= 1:
        _add(errors, "/", "must not be an empty string")
    if container is not None and container.get("type", "DOCKER") == "DOCKER" and "docker" not in container:
        _add(errors, "/container/docker", "not defined")
    if container is not None and "docker" in container and not container["docker"].get("image"):
        _add(errors, "/container/docker/image", "must not be empty")


def _number_errors(app: Json, errors: Errors) -> None:
    for name, least in {"cpus": 0.001, "mem": 0, "instances": 0, "disk": 0, "gpus": 0}.items():
        if app.get(name, 1) < least:
            _add(errors, f"/{name}", f"got {app[name]}, expected {least} or more")
    for name in ("maximumOverCapacity", "minimumHealthCapacity"):
        value = app.get("upgradeStrategy", {}).get(name, 1)
        if not 0 <= value <= 1:
            _add(errors, f"/upgradeStrategy/{name}", f"got {value}, expected between 0.0 and 1.0")


def _port_errors(app: Json, errors: Errors) -> None:
    networks = app.get("networks") or [{"mode": "host"}]
    modes = [network.get("mode", "container") for network in networks]
    definitions = app.get("portDefinitions", [])
    mappings = app.get("container", {}).get("portMappings", [])
    if "host" in modes and mappings:
        _add(errors, "/", "portMappings are not allowed with host-networking")
    if "host" not in modes and definitions:
        _add(errors, "/", "portDefinitions are only allowed with host-networking")
    if len(modes) > 1 and set(modes) != {"container"}:
        _add(errors, "/networks", "Host networks and bridge networks must be single")
    for index, network in enumerate(networks):
        if modes[index] == "container" and not network.get("name"):
            _add(errors, f"/networks({index})", "container network name must be specified")
    ports = [d.get("port", 0) for d in definitions if d.get("port", 0)]
    if len(set(ports)) != len(ports):
        _add(errors, "/portDefinitions", "Ports must be unique.")
    for path, items in (("/portDefinitions", definitions), ("/container/portMappings", mappings)):
        names = [item["name"] for item in items if item.get("name")]
        if len(set(names)) != len(names):
            _add(errors, path, "Port names must be unique.")


def _health_errors(app: Json, errors: Errors) -> None:
    ports = app.get("portDefinitions") or app.get("container", {}).get("portMappings", [])
    checks = app.get("healthChecks", [])
    if sum(1 for check in checks if check.get("protocol") in _MESOS_PROTOCOLS) > 1:
        _add(errors, "/", "AppDefinition can contain at most one Mesos health check")
    for index, check in enumerate(checks):
        path, protocol = f"/healthChecks({index})", check.get("protocol", "HTTP")
        if protocol == "COMMAND" and "command" not in check:
            _add(errors, f"{path}/command", "not defined")
        if protocol in _MARATHON_PROTOCOLS and not _has_port(check, len(ports)):
            text = "Health check port indices must address an element of the ports array or container port mappings."
            _add(errors, path, text)
        if "port" in check and "portIndex" in check:
            _add(errors, path, "HealthCheck must specify either a port or a portIndex")
    readiness = app.get("readinessChecks", [])
    names = {port.get("name") for port in ports}
    if len(readiness) > 1:
        _add(errors, "/readinessChecks", f"got {len(readiness)}, expected 1 or less")
    for index, check in enumerate(readiness):
        if check.get("timeoutSeconds", 10) >= check.get("intervalSeconds", 30):
            _add(errors, f"/readinessChecks({index})/timeoutSeconds", "must be less than intervalSeconds")
        if check.get("portName", "http-api") not in names:
            text = f"No port definition reference for portName {check.get('portName', 'http-api')}"
            _add(errors, f"/readinessChecks({index})/portName", text)


def _has_port(check: Json, ports: int) -> bool:
    if "portIndex" in check:
        return 0 <= int(check["portIndex"]) < ports
    return "port" in check or ports == 1


def _label_errors(app: Json, errors: Errors) -> None:
    labels = app.get("labels", {})
    if labels.get("MARATHON_SINGLE_INSTANCE_APP") == "true":
        strategy = app.get("upgradeStrategy", {"minimumHealthCapacity": 1, "maximumOverCapacity": 1})
        if app.get("instances", 1) > 1:
            _add(errors, "/", "Single instance app may only have one instance")
        if any(strategy.values()):
            _add(errors, "/", "Invalid upgrade strategy for single instance app")
    version = labels.get("DCOS_MIGRATION_API_VERSION")
    needed = (labels.get("DCOS_PACKAGE_FRAMEWORK_NAME"), labels.get("DCOS_MIGRATION_API_PATH"))
    if version and not (version == "v1" and all(needed)):
        names = "DCOS_PACKAGE_FRAMEWORK_NAME and DCOS_MIGRATION_API_PATH"
        _add(errors, "/", f"{names} must be defined when using DCOS_MIGRATION_API_VERSION")


def _add(errors: Errors, path: str, error: str | None) -> None:
    if error is not None:
        errors.setdefault(path, []).append(error)
