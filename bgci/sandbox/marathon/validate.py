"""Validates an app definition that Marathon can read: errors by path, ``/`` for the whole app.

There are three passes; a pass runs only if the earlier ones found no error: legacy fields, the canonical
definition, the model (marathon: AppValidation.scala validateOldAppAPI and validateCanonicalAppAPI,
AppDefinition.scala validAppDefinition).
All features are enabled: secrets, gpu_resources, external_volumes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from bgci.sandbox.marathon import paths
from bgci.sandbox.marathon.raml import Errors, add
from bgci.sandbox.marathon.validate_container import container_errors, linux_errors

Json = Mapping[str, Any]

MARATHON_PROTOCOLS = ("HTTP", "HTTPS", "TCP")
MESOS_PROTOCOLS = ("MESOS_HTTP", "MESOS_HTTPS", "MESOS_TCP")
OPERATORS = ("UNIQUE", "CLUSTER", "GROUP_BY", "LIKE", "UNLIKE", "MAX_PER", "IS")
_SINGLE = "Single instance app may only have one instance"
_NO_PORT = "Health check port indices must address an element of the ports array or container port mappings."
_IPV6 = "IPv6 can only be used for container type DOCKER and Mesos http/https/tcp health checks"


def is_docker(app: Json) -> bool:
    """Whether it runs in the Docker containerizer."""
    return bool(app.get("container", {}).get("type") == "DOCKER")


def has_persistent_volumes(app: Json) -> bool:
    return any("persistent" in volume for volume in app.get("container", {}).get("volumes", []))


def deprecated_errors(app: Json) -> Errors:
    """Legacy fields that are not supported, or contradict canonical ones."""
    errors: Errors = {}
    docker, address = app.get("container", {}).get("docker", {}), app.get("ipAddress")
    unsupported = ["credential"] if is_docker(app) else ["credential", "network", "parameters", "portMappings"]
    for name in unsupported:
        if docker.get(name):
            add(errors, f"/container/docker/{name}", "must be empty")
    _unique(errors, "/container/docker/portMappings", _names(docker.get("portMappings", [])), "Port names")
    if address is not None and is_docker(app) and "discovery" in address:
        add(errors, "/ipAddress", "ipAddress/discovery is not allowed for Docker containers")
    for index, uri in enumerate(app.get("uris", [])):
        _uri(errors, f"/uris({index})", uri)
    if app.get("uris") and app.get("fetch"):
        add(errors, "/uris", "may not be set in conjunction with fetch")
    if "network" in docker and app.get("networks"):
        add(errors, "/", "must not specify both container.docker.network and networks")
    if address is not None and app.get("networks"):
        add(errors, "/", "must not specify both networks and ipAddress")
    _deprecated_port_errors(app, errors)
    return errors


def _deprecated_port_errors(app: Json, errors: Errors) -> None:
    ports, definitions = app.get("ports"), app.get("portDefinitions")
    fixed = [port for port in ports or [] if port]
    if len(set(fixed)) != len(fixed):
        add(errors, "/", "ports must be unique")
    if "ipAddress" in app and (ports or definitions):
        add(errors, "/", "cannot specify both an IP address and port")
    both = ports is not None and definitions is not None
    if both and [definition["port"] for definition in definitions or []] != ports:
        add(errors, "/", "cannot specify both ports and port definitions")


def update_errors(given: Json) -> Errors:
    """The errors of an update with ``version``: such an update restores that version and cannot have other fields."""
    if "version" in given and given.keys() - {"version", "id"}:
        return {"/": ["The 'version' field may only be combined with the 'id' field."]}
    return {}


def canonical_errors(app: Json, roles: Collection[str] | None) -> Errors:
    """The errors of a definition without legacy fields. ``roles``: the allowed roles; None: no role field (1.7)."""
    errors: Errors = {}
    if "container" in app:
        container_errors(app, errors)
    for check in (
        _identity_errors, _command_errors, _port_errors, _health_errors, _readiness_errors, _resource_errors,
        _secret_errors, _strategy_errors, _network_errors, _label_errors,
    ):  # fmt: skip
        check(app, errors)
    for constraint in app.get("constraints", []):
        problem = constraint_problem(constraint)
        if problem:
            add(errors, "/constraints", problem)
    _accepted_role_errors(app, errors)
    if roles is not None:
        _role_errors(app, roles, errors)
    return errors


def _identity_errors(app: Json, errors: Errors) -> None:
    for error in paths.errors_of(app["id"]):
        add(errors, "/id", error)
    if app["id"] == "/":
        add(errors, "/id", "Path must contain at least one path element")
        add(errors, "/", "must not be root")
    for index, dependency in enumerate(app.get("dependencies", [])):
        for error in paths.errors_of(dependency):
            add(errors, f"/dependencies({index})", error)


def _command_errors(app: Json, errors: Errors) -> None:
    container = app.get("container")
    _require_command(app, container is not None and ("docker" in container or container["type"] == "MESOS"), errors)
    if "cmd" in app and len(app["cmd"]) <= 1:
        add(errors, "/", "must not be an empty string")
    for index, artifact in enumerate(app.get("fetch", [])):
        _uri(errors, f"/fetch({index})/uri", artifact["uri"])


def _require_command(app: Json, runs: bool, errors: Errors) -> None:
    cmd, args = "cmd" in app, bool(app.get("args"))
    if not (cmd != args or (not (cmd and args) and runs)):
        add(errors, "/", "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.")


def _port_errors(app: Json, errors: Errors) -> None:
    modes = [network["mode"] for network in app.get("networks", [])]
    definitions = app.get("portDefinitions", [])
    _unique(errors, "/portDefinitions", _names(definitions), "Port names")
    _unique(errors, "/portDefinitions", [d["port"] for d in definitions if d["port"]], "Ports")
    if "host" in modes and app.get("container", {}).get("portMappings"):
        add(errors, "/", "portMappings are not allowed with host-networking")
    if any(mode != "host" for mode in modes) and definitions:
        add(errors, "/", "portDefinitions are only allowed with host-networking")


def ports_of(app: Json) -> list[Json]:
    """The port mappings if there can be any, else the port definitions."""
    return list(app.get("container", {}).get("portMappings", app.get("portDefinitions", [])))


def _health_errors(app: Json, errors: Errors) -> None:
    checks = app.get("healthChecks", [])
    _check_port_errors(app, MARATHON_PROTOCOLS, errors)
    for index, check in enumerate(checks):
        can_be_ipv6 = check["protocol"] in MESOS_PROTOCOLS and is_docker(app)
        if check["ipProtocol"] != "IPv4" and not can_be_ipv6:
            add(errors, f"/healthChecks({index})", _IPV6)
    by_mesos = sum("command" in check or check["protocol"] in (*MESOS_PROTOCOLS, "COMMAND") for check in checks)
    if by_mesos - sum("command" in check for check in checks) > 1:
        add(errors, "/", "AppDefinition can contain at most one Mesos health check")


def _check_port_errors(app: Json, protocols: Collection[str], errors: Errors) -> None:
    for index, check in enumerate(app.get("healthChecks", [])):
        by_port = "command" not in check and check["protocol"] in protocols
        if by_port and not _has_port(check, len(ports_of(app))):
            add(errors, f"/healthChecks({index})", _NO_PORT)


def _has_port(check: Json, ports: int) -> bool:
    if "portIndex" in check:
        return 0 <= int(check["portIndex"]) < ports
    return "port" in check or ports == 1


def _readiness_errors(app: Json, errors: Errors) -> None:
    checks = app.get("readinessChecks", [])
    if len(checks) > 1:
        add(errors, "/readinessChecks/size", f"got {len(checks)}, expected 1 or less")
    for index, check in enumerate(checks):
        if check["portName"] not in _names(ports_of(app)):
            text = f"No port definition reference for portName {check['portName']}"
            add(errors, f"/readinessChecks({index})/portName", text)
        if check["timeoutSeconds"] >= check["intervalSeconds"]:
            text = f"got {check['timeoutSeconds']}, expected less than {check['intervalSeconds']}"
            add(errors, f"/readinessChecks({index})/timeoutSeconds", text)


def _resource_errors(app: Json, errors: Errors) -> None:
    if app["gpus"] > 0 and is_docker(app):
        add(errors, "/", "GPU resources only work with the Mesos containerizer")
    for name, limit in app.get("resourceLimits", {}).items():
        if isinstance(limit, str) and limit != "unlimited":
            text = f"'{limit}' is an invalid resource limit. It must be 'unlimited' or a number"
            add(errors, f"/resourceLimits/{name}", text)
        elif not isinstance(limit, str) and limit < app[name]:
            text = f"resource limit must be greater than or equal to requested resource ({app[name]})"
            add(errors, f"/resourceLimits/{name}", text)


def _secret_errors(app: Json, errors: Errors) -> None:
    secrets = app.get("secrets", {})
    for path, names in (("/secrets", secrets), ("/env", app.get("env", {}))):
        for index, name in enumerate(names):
            if not name:
                add(errors, f"{path}/keys({index})", "must not be empty")
    for name, value in app.get("env", {}).items():
        if isinstance(value, dict) and value["secret"] not in secrets:
            add(errors, f"/env/{name}/secret", "references an undefined secret")


def _strategy_errors(app: Json, errors: Errors) -> None:
    strategy = app.get("upgradeStrategy")
    if strategy is not None and _is_single(app):
        _require_zero(strategy, errors)
    if "residency" in app:
        if strategy is not None and strategy["maximumOverCapacity"]:
            add(errors, "/upgradeStrategy/maximumOverCapacity", f"got {strategy['maximumOverCapacity']}, expected 0.0")
        if app.get("unreachableStrategy", "disabled") != "disabled":
            add(errors, "/", "unreachableStrategy must be disabled for resident tasks")
    if _is_single(app) and app["instances"] > 1:
        add(errors, "/", _SINGLE)


def _is_single(app: Json) -> bool:
    return bool(app["labels"].get("MARATHON_SINGLE_INSTANCE_APP") == "true")


def _require_zero(strategy: Json, errors: Errors) -> None:
    for name, value in strategy.items():
        if value:
            add(errors, f"/upgradeStrategy/{name}", f"got {value}, expected 0.0")


def _network_errors(app: Json, errors: Errors) -> None:
    networks = app.get("networks", [])
    modes = [network["mode"] for network in networks]
    names = [network["name"] for network in networks if "name" in network]
    unnamed = [network for network in networks if network["mode"] == "container" and "name" not in network]
    if any(network["mode"] == "host" and (network.get("name") or network.get("labels")) for network in networks):
        add(errors, "/networks", "Host networks may not have names or labels")
    if any(network["mode"] == "container/bridge" and network.get("name") for network in networks):
        add(errors, "/networks", "Bridge networks may not have names")
    if len(unnamed) > 1 or len(set(names)) != len(names):
        add(errors, "/networks", "Duplicate networks are not allowed")
    if len(modes) > 1 and set(modes) != {"container"}:
        text = "May specify a single host network, single bridge network, or else 1-to-n container networks"
        add(errors, "/networks", text)
    if unnamed:
        add(errors, "/networks", "Network name must be specified when container network is selected.")
    if is_docker(app) and modes.count("container") > 1:
        add(errors, "/", "may only specify a single container network when using the Docker container engine")


def _label_errors(app: Json, errors: Errors) -> None:
    labels = app["labels"]
    version = labels.get("DCOS_MIGRATION_API_VERSION")
    needed = (labels.get("DCOS_PACKAGE_FRAMEWORK_NAME"), labels.get("DCOS_MIGRATION_API_PATH"))
    if version and not (version == "v1" and all(needed)):
        names = "DCOS_PACKAGE_FRAMEWORK_NAME and DCOS_MIGRATION_API_PATH"
        add(errors, "/", f"{names} must be defined when using DCOS_MIGRATION_API_VERSION")


def _accepted_role_errors(app: Json, errors: Errors) -> None:
    accepted = app.get("acceptedResourceRoles")
    if accepted is None:
        return
    if not accepted:
        add(errors, "/acceptedResourceRoles", "must not be empty")
    for role in accepted:
        if role in ("", ".", "..") or role.startswith("-") or re.search(r"[\t-\r /\x7f]", role):
            add(errors, "/acceptedResourceRoles", f'"{role}" is not a valid role name')
    if "residency" in app and accepted != ["*"]:
        text = 'A resident app must have `acceptedResourceRoles = ["*"]`.'
        add(errors, "/acceptedResourceRoles", text)


def _role_errors(app: Json, roles: Collection[str], errors: Errors) -> None:
    role = app["role"]
    if role not in roles:
        add(errors, "/role", f"got {role}, expected one of: {', '.join(sorted(roles))}")
    allowed = sorted({"*", role})
    if not set(app.get("acceptedResourceRoles", [])) <= set(allowed):
        text = f"acceptedResourceRoles can only contain {' and '.join(allowed)}"
        add(errors, "/acceptedResourceRoles", text)


def constraint_problem(constraint: Sequence[str]) -> str | None:
    """The error of one constraint (marathon: SchedulingValidation.scala). The operator's case is ignored here."""
    if len(constraint) not in (2, 3):
        return "Each constraint must have either 2 or 3 fields"
    field, operator, *rest = constraint
    value = rest[0] if rest else None
    if not field:
        return "illegal constraint specification"
    if operator.upper() not in OPERATORS:
        return f"operator must be one of the following {', '.join(OPERATORS[:-1])} or IS"
    return _value_problem(operator.upper(), value)


def _value_problem(operator: str, value: str | None) -> str | None:
    if operator == "UNIQUE" and value is not None:
        return "UNIQUE does not accept a value"
    if operator == "GROUP_BY" and value is not None and not _is_int(value):
        return "GROUP BY must define an integer value or else no value at all"
    if operator == "MAX_PER" and not _is_int(value):
        return "MAX_PER requires an integer value"
    if operator in ("LIKE", "UNLIKE"):
        return _expression_problem(value)
    if operator == "IS" and not re.fullmatch(r"[a-zA-Z0-9_/.-]*", value or ""):
        return "IS only supports Mesos text and float values"
    return None


def _expression_problem(value: str | None) -> str | None:
    if value is None:
        return "LIKE and UNLIKE require a non-empty, regular expression value"
    try:
        re.compile(value.replace("(?<", "(?P<") if re.search(r"\(\?<[A-Za-z]", value) else value)
    except re.error:
        return "is not a valid regular expression"
    # Java refuses a brace unless it is escaped or belongs to a quantifier or a class.
    return "is not a valid regular expression" if re.search(r"(?<!\\)(?<!\\[pPxN])\{(?!\d+(,\d*)?\})", value) else None


def _is_int(text: str | None) -> bool:
    return text is not None and re.fullmatch(r"[+-]?[0-9]+", text) is not None and -(2**31) <= int(text) < 2**31


def model_errors(app: Json, *, checks: bool) -> Errors:
    """The errors of a filled-in definition; ``checks``: whether the field ``check`` exists (since 1.8)."""
    errors: Errors = {}
    container = app.get("container")
    _require_command(app, container is not None and "docker" in container, errors)
    _check_port_errors(app, (*MARATHON_PROTOCOLS, *MESOS_PROTOCOLS), errors)
    if container is not None:
        linux_errors(container.get("linuxInfo", {}), errors)
    if _is_single(app) and any(app["upgradeStrategy"].values()):
        add(errors, "/isSingleInstance", "must be false")
        _require_zero(app["upgradeStrategy"], errors)
    unreachable = app["unreachableStrategy"]
    if unreachable != "disabled" and unreachable["inactiveAfterSeconds"] > unreachable["expungeAfterSeconds"]:
        text = "inactiveAfterSeconds ({inactiveAfterSeconds}) must be less or equal to expungeAfterSeconds, which is "
        text += "{expungeAfterSeconds}"
        add(errors, "/unreachableStrategy/inactiveAfterSeconds", text.format(**unreachable))
    if checks and "check" in app:
        _single_check_errors(app, errors)
    if app.get("role") == "*" and has_persistent_volumes(app):
        add(errors, "/role", "Resident apps cannot have the role *")
    return errors


def _single_check_errors(app: Json, errors: Errors) -> None:
    check = app["check"]
    if is_docker(app):
        add(errors, "/", "AppDefinition must not use 'checks' if using docker")
    if "exec" not in check and not _has_port(check.get("http", check.get("tcp", {})), len(ports_of(app))):
        text = "check port index must address an element of the ports array or container port mappings."
        add(errors, "/check/get", text)


def _names(ports: Iterable[Json]) -> list[str]:
    return [port["name"] for port in ports if "name" in port]


def _unique(errors: Errors, path: str, values: Sequence[Any], what: str) -> None:
    if len(set(values)) != len(values):
        add(errors, path, f"{what} must be unique.")


_URI = re.compile(r"(?:%[0-9A-Fa-f]{2}|[^\s\x00-\x1f\x7f\"<>\\^`{|}%])*")


def _uri(errors: Errors, path: str, uri: str) -> None:
    """Checks a URI as java.net.URI does: allowed characters, and text after ``scheme:`` and ``//``."""
    if not _URI.fullmatch(uri) or re.fullmatch(r"[A-Za-z][-A-Za-z0-9+.]*:(//)?|//", uri) or uri.startswith(":"):
        add(errors, path, "URI has invalid syntax.")
