"""Which app definitions Marathon refuses: the shape of the RAML types, then a table of rules over several fields.

Marathon checks in three steps, and each step needs that the one before found nothing: the JSON reader, the rules for
deprecated fields, the rules for the canonical form. `check_marathon_rules` does the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bgci.appdef.findings import Finding, at, marathon_path
from bgci.appdef.java import is_java_pattern, is_java_uri
from bgci.appdef.marathon_forms import canonical, port_count
from bgci.appdef.marathon_schema import LATEST, check_shape, read
from bgci.appdef.marathon_volumes import check_volumes

App = Mapping[str, Any]
_MESOS_PROTOCOLS = ("COMMAND", "MESOS_HTTP", "MESOS_HTTPS", "MESOS_TCP")
_RESERVED = ("restart", "tasks", "versions", ".", "..")
_PATH_PART = re.compile(
    r"(?:(?:[a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9])\.)*(?:[a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9])|\.|\.\."
)
_OPERATORS = ("UNIQUE", "CLUSTER", "GROUP_BY", "LIKE", "UNLIKE", "MAX_PER", "IS")


@dataclass(frozen=True)
class Rule:
    """A rule over several fields. source: where Marathon has it. versions: the Marathon versions that apply it."""

    source: str
    check: Callable[[App], Iterator[Finding]]
    versions: tuple[str, ...] = ("1.7", "1.11")


def check_marathon_rules(definition: App, version: str = LATEST) -> list[Finding]:
    """Everything in the definition that this version of Marathon refuses."""
    found = list(check_shape(definition, version))
    if found:
        return found
    app = read(definition, version)
    found = [finding for rule in DEPRECATED if version in rule.versions for finding in rule.check(app)]
    if found:
        return found
    app = canonical(app)
    return [finding for rule in CANONICAL if version in rule.versions for finding in rule.check(app)]


def _docker(app: App) -> App:
    docker: App = _container(app).get("docker") or {}
    return docker


def _container(app: App) -> App:
    return app.get("container") or {}


def _engine(app: App) -> str:
    """The container's type, empty without a container."""
    return str(_container(app).get("type", ""))


def _refused(path: str, message: str, remedy: str, marathon: str = "") -> Finding:
    return Finding(path, message, remedy, marathon=marathon)


# --- Deprecated fields -----------------------------------------------------------------------------------------------


def _uris(app: App) -> Iterator[Finding]:
    if app.get("uris") and app["fetch"]:
        yield _refused("$.uris", "cannot be combined with fetch", "Keep fetch only")
    for index, uri in enumerate(app.get("uris") or ()):
        if not is_java_uri(uri):
            yield _refused(
                f"$.uris[{index}]", f"is {uri!r}, which is not a valid URI", "Encode special characters with %"
            )


def _networks_twice(app: App) -> Iterator[Finding]:
    network = _docker(app).get("network")
    if network and app["networks"]:
        yield _refused("$.container.docker.network", "cannot be combined with networks", "Keep networks only", "/")
    if network == "NONE":
        yield _refused("$.container.docker.network", "is NONE", "Use BRIDGE, HOST or USER, or write networks", "/")
    if app.get("ipAddress") is not None and app["networks"]:
        yield _refused("$.ipAddress", "cannot be combined with networks", "Keep networks only", "/")


def _ports_twice(app: App) -> Iterator[Finding]:
    ports, definitions = app.get("ports"), app.get("portDefinitions")
    if ports is not None and definitions is not None and ports != [each["port"] for each in definitions]:
        yield _refused("$.ports", "contradicts portDefinitions", "Keep portDefinitions only", "/")
    used = [port for port in ports or () if port]
    if len(set(used)) < len(used):
        yield _refused("$.ports", "has a port twice", "Write each port once", "/")
    if app.get("ipAddress") is not None and (ports or definitions):
        yield _refused("$.ipAddress", "cannot be combined with ports", "Write networks and portMappings instead", "/")


def _mappings_twice(app: App) -> Iterator[Finding]:
    docker, path = _docker(app), "$.container.docker.portMappings"
    if docker.get("portMappings") and _container(app).get("portMappings"):
        yield _refused(path, "cannot be combined with container.portMappings", "Keep container.portMappings only")
    yield from _unique_names(docker.get("portMappings") or (), path)


def _discovery(app: App) -> Iterator[Finding]:
    address = app.get("ipAddress") or {}
    path, remedy = "$.ipAddress.discovery", "Write networks and container.portMappings instead"
    if "discovery" not in address:
        return
    if _engine(app) == "DOCKER":
        yield _refused(path, "is not possible with a DOCKER container", remedy, "/ipAddress")
    elif address["discovery"]["ports"] and (_container(app).get("portMappings") or _docker(app).get("portMappings")):
        yield _refused(path, "cannot be combined with portMappings", remedy)


def _mesos_docker(app: App) -> Iterator[Finding]:
    docker = _docker(app)
    if "credential" in docker:
        yield _refused("$.container.docker.credential", "is no longer supported", "Use pullConfig with a secret")
    if _engine(app) != "MESOS":
        return
    for name in ("network", "parameters", "portMappings"):
        if docker.get(name):
            remedy = "Remove it" if name == "parameters" else "Write networks and container.portMappings instead"
            yield _refused(f"$.container.docker.{name}", "is not possible with a MESOS container", remedy)


# --- The canonical form ----------------------------------------------------------------------------------------------


def _id(app: App) -> Iterator[Finding]:
    parts = app["id"].strip("/").split("/")
    if parts == [""]:
        yield _refused("$.id", "is empty", "Write the app's id, such as /team/web")
    elif not _valid_path(app["id"]):
        yield _refused("$.id", f"is {app['id']!r}", f"The last part cannot be {', '.join(_RESERVED[:3])}")


def _valid_path(path: str) -> bool:
    parts = [part for part in path.split("/") if part]
    return all(_PATH_PART.fullmatch(part) for part in parts) and (not parts or parts[-1] not in _RESERVED)


def _dependencies(app: App) -> Iterator[Finding]:
    for index, path in enumerate(app["dependencies"]):
        if not _valid_path(path):
            remedy = "Use lower-case letters, digits, dashes and /"
            yield _refused(f"$.dependencies[{index}]", f"is {path!r}, which is not a valid id", remedy)
        elif f"{app['id']}/".startswith(f"{path.rstrip('/')}/"):
            yield _refused(f"$.dependencies[{index}]", "is the app itself or its folder", "Remove it", "/")


def _command(app: App) -> Iterator[Finding]:
    cmd, args = app.get("cmd"), app["args"]
    if cmd is not None and args:
        yield _refused("$.cmd", "cannot be combined with args", "Keep one of the two", "/")
    elif cmd is None and not args and not ("docker" in _container(app) or _engine(app) == "MESOS"):
        yield _refused("$", "says nothing to run", "Add container.docker.image, cmd or args", "/")
    if cmd is not None and len(cmd) < 2:
        yield _refused("$.cmd", "is too short", "Write two characters or more, or remove it", "/")


def _container_type(app: App) -> Iterator[Finding]:
    container = _container(app)
    if _engine(app) == "DOCKER" and "docker" not in container:
        yield _refused("$.container.docker", "is missing", 'Add it with its image, or write "type": "MESOS"')
    if "appc" in container and ("docker" in container or _engine(app) == "DOCKER"):
        yield _refused("$.container.appc", "cannot be combined with docker", "Keep one of the two", "/container")


def _pull_config(app: App) -> Iterator[Finding]:
    config, path = _docker(app).get("pullConfig"), "$.container.docker.pullConfig"
    if config and _engine(app) == "DOCKER":
        yield _refused(path, "is not possible with a DOCKER container", 'Write "type": "MESOS", or remove it')
    elif config and config["secret"] not in app["secrets"]:
        yield _refused(path, "names a secret that is not declared", "Declare it under secrets with its source")


def _port_mappings(app: App) -> Iterator[Finding]:
    mappings, path = _container(app).get("portMappings") or (), "$.container.portMappings"
    yield from _unique_names(mappings, path)
    containers = [network for network in app["networks"] if network["mode"] == "container"]
    names = [network["name"] for network in app["networks"] if "name" in network]
    for index, mapping in enumerate(mappings):
        if len(containers) > 1 and "hostPort" in mapping and len(mapping["networkNames"]) != 1:
            yield _refused(
                f"{path}[{index}]", "has a hostPort for several networks", "Name one network in networkNames"
            )
        for number, name in enumerate(mapping["networkNames"]):
            if name not in names:
                place = f"{path}[{index}].networkNames[{number}]"
                yield _refused(place, f"is {name!r}, which is not a network of this app", "Name one of its networks")


def _unique_names(ports: Sequence[App], path: str) -> Iterator[Finding]:
    names = [port["name"] for port in ports if "name" in port]
    for index, port in enumerate(ports):
        if names.count(port.get("name", "")) > 1 and port["name"] in [each.get("name") for each in ports[:index]]:
            message = f"is {port['name']!r} a second time"
            yield _refused(f"{path}[{index}].name", message, "Give each port a name of its own", marathon_path(path))


def _port_definitions(app: App) -> Iterator[Finding]:
    definitions, path = app.get("portDefinitions") or (), "$.portDefinitions"
    yield from _unique_names(definitions, path)
    ports = [each["port"] for each in definitions]
    for index, port in enumerate(ports):
        if port and port in ports[:index]:
            place = f"{path}[{index}].port"
            yield _refused(place, f"is {port} a second time", "Give each port a number of its own", "/portDefinitions")


def _networks(app: App) -> Iterator[Finding]:
    networks, path = app["networks"], "$.networks"
    modes = [network["mode"] for network in networks]
    if len(networks) > 1 and set(modes) != {"container"}:
        yield _refused(path, "has several networks, of which not all are container networks", "Keep one", "/networks")
    for index, network in enumerate(networks):
        mode, place = network["mode"], f"{path}[{index}]"
        if mode == "container" and "name" not in network:
            yield _refused(f"{place}.name", "is missing", "Add the network's name, such as dcos", "/networks")
        if mode != "container" and "name" in network:
            yield _refused(f"{place}.name", f"is not possible with mode {mode}", "Remove it", "/networks")
        if mode == "host" and network["labels"]:
            yield _refused(f"{place}.labels", "are not possible with mode host", "Remove them", "/networks")
    names = [network["name"] for network in networks if "name" in network]
    if len(set(names)) < len(names):
        yield _refused(path, "has a network twice", "Keep one", "/networks")
    if _engine(app) == "DOCKER" and modes.count("container") > 1:
        yield _refused(path, "has several networks", 'A DOCKER container takes one: keep one, or use "MESOS"', "/")


def _health_checks(app: App) -> Iterator[Finding]:
    ports = port_count(app)
    for index, check in enumerate(app["healthChecks"]):
        path, protocol = f"$.healthChecks[{index}]", check["protocol"]
        if (protocol == "COMMAND") != ("command" in check):
            remedy = "Write protocol COMMAND with a command, or neither"
            yield _refused(
                path, f"has the protocol {protocol} {'with' if 'command' in check else 'without'} a command", remedy
            )
        elif protocol == "COMMAND":
            if "path" in check or "port" in check:
                yield _refused(path, "has a path or a port beside its command", "Remove them")
        else:
            yield from _port_reference(check, path, ports, path)
        if check["ipProtocol"] == "IPv6" and not (protocol.startswith("MESOS_") and _engine(app) == "DOCKER"):
            remedy = "Use a MESOS_ protocol in a DOCKER container, or IPv4"
            yield _refused(f"{path}.ipProtocol", "is IPv6", remedy, marathon_path(path))
    by_mesos = [
        check for check in app["healthChecks"] if check["protocol"] in _MESOS_PROTOCOLS and "command" not in check
    ]
    if len(by_mesos) > 1:
        yield _refused("$.healthChecks", f"has {len(by_mesos)} checks with a MESOS_ protocol", "Keep one of them", "/")


def _port_reference(check: App, path: str, ports: int, place: str) -> Iterator[Finding]:
    """A check's portIndex names a port of the app; without one it has a port, or the app has one port only."""
    if "portIndex" in check:
        if check["portIndex"] >= ports:
            message = f"is {check['portIndex']}, but the app has {ports} ports"
            yield _refused(f"{path}.portIndex", message, "Count the ports from 0", marathon_path(place))
    elif "port" not in check and ports != 1:
        yield _refused(path, f"does not say which of the app's {ports} ports it checks", "Add portIndex")


def _mesos_check(app: App) -> Iterator[Finding]:
    check = app.get("check")
    if check is None:
        return
    kinds = [kind for kind in ("http", "tcp", "exec") if kind in check]
    if len(kinds) != 1:
        yield _refused("$.check", "has not exactly one of http, tcp and exec", "Write one of them")
        return
    if _engine(app) == "DOCKER":
        yield _refused("$.check", "is not possible with a DOCKER container", 'Write "type": "MESOS", or remove it', "/")
    [kind] = kinds
    if kind == "exec" and "argv" in check["exec"]["command"]:
        yield _refused("$.check.exec.command.argv", "is not supported", "Write shell instead")
    if kind == "http" and check["http"]["scheme"] == "HTTPS":
        yield _refused("$.check.http.scheme", "is HTTPS, which Marathon cannot convert", "Use HTTP or tcp")
    if kind != "exec":
        yield from _port_reference(check[kind], f"$.check.{kind}", port_count(app), "$.check")


def _readiness_checks(app: App) -> Iterator[Finding]:
    checks = app["readinessChecks"]
    mappings = _container(app).get("portMappings")
    table = mappings if mappings is not None else app.get("portDefinitions") or ()
    names = [port.get("name") for port in table]
    if len(checks) > 1:
        yield _refused("$.readinessChecks", f"has {len(checks)} checks", "Keep one")
    for index, check in enumerate(checks):
        path = f"$.readinessChecks[{index}]"
        if check["timeoutSeconds"] >= check["intervalSeconds"]:
            remedy = "Write less than intervalSeconds (the defaults are 10 and 30)"
            yield _refused(f"{path}.timeoutSeconds", "is not less than intervalSeconds", remedy)
        if check["portName"] not in names:
            message = f"is {check['portName']!r}, which is not the name of a port"
            yield _refused(f"{path}.portName", message, "Use the name of one of the app's ports")


def _fetch(app: App) -> Iterator[Finding]:
    for index, artifact in enumerate(app["fetch"]):
        if not is_java_uri(artifact["uri"]):
            message = f"is {artifact['uri']!r}, which is not a valid URI"
            yield _refused(f"$.fetch[{index}].uri", message, "Encode special characters with %")


def _resource_limits(app: App) -> Iterator[Finding]:
    for name, limit in (app.get("resourceLimits") or {}).items():
        path = f"$.resourceLimits.{name}"
        if isinstance(limit, str):
            if limit != "unlimited":
                yield _refused(path, f"is {limit!r}", 'Write a number or "unlimited"')
        elif limit < app[name]:
            yield _refused(path, f"is {limit}, less than {name}", f"Write {app[name]} or more")


def _secrets(app: App) -> Iterator[Finding]:
    for name in app["secrets"]:
        if not name:
            yield _refused("$.secrets['']", "has an empty name", "Name the secret", "/secrets")


def _env(app: App) -> Iterator[Finding]:
    for name, value in app["env"].items():
        if not name:
            yield _refused("$.env['']", "has an empty name", "Name the variable", "/env")
        if isinstance(value, Mapping) and value["secret"] not in app["secrets"]:
            message = f"uses the secret {value['secret']!r}, which is not declared"
            yield _refused(
                at("$.env", name), message, "Declare it under secrets with its source", f"/env/{name}/secret"
            )


def _accepted_roles(app: App) -> Iterator[Finding]:
    roles, path = app.get("acceptedResourceRoles"), "$.acceptedResourceRoles"
    if roles is None:
        return
    if not roles:
        yield _refused(path, "is empty", 'Write ["*"], or remove it')
    for role in roles:
        if role in ("", ".", "..") or role.startswith("-") or re.search("[\t\n\x0b\x0c\r /\x7f]", role):
            yield _refused(path, f"has {role!r}, which is not a role name", "Use a name without spaces and slashes")
    if "residency" in app and roles != ["*"]:
        yield _refused(path, "has another role than * beside persistent volumes", 'Write ["*"]')


def _roles(app: App) -> Iterator[Finding]:
    """Marathon 1.8 and later: a role is the default one or that of the top folder (marathon: RoleSettings.scala)."""
    folders = app["id"].split("/")[1:-1]
    allowed = {"*", *folders[:1]}
    role = app.get("role", "*")
    if role not in allowed:
        yield _refused("$.role", f"is {role!r}", f"Use {' or '.join(sorted(allowed))}, or remove it")
    elif role == "*" and any("persistent" in volume for volume in _container(app).get("volumes", ())):
        yield _refused("$.role", "is *, which persistent volumes cannot have", f"Write {(folders or ['a role'])[0]!r}")
    accepted = app.get("acceptedResourceRoles") or []
    if not set(accepted) <= {"*", role}:
        path = "$.acceptedResourceRoles"
        yield _refused(path, f"has a role other than {' and '.join(sorted({'*', role}))}", "Remove the other roles")


def _gpus(app: App) -> Iterator[Finding]:
    if app["gpus"] > 0 and _engine(app) == "DOCKER":
        yield _refused(
            "$.gpus", "are not possible with a DOCKER container", 'Write "type": "MESOS", or remove gpus', "/"
        )


def _migration_labels(app: App) -> Iterator[Finding]:
    name, labels = "DCOS_MIGRATION_API_VERSION", app["labels"]
    others = ("DCOS_PACKAGE_FRAMEWORK_NAME", "DCOS_MIGRATION_API_PATH")
    if labels.get(name) and (labels[name] != "v1" or not all(labels.get(other) for other in others)):
        yield _refused(f"$.labels.{name}", "is not complete", f"Write v1, and set {' and '.join(others)}", "/")


def _single_instance(app: App) -> Iterator[Finding]:
    path = "$.labels.MARATHON_SINGLE_INSTANCE_APP"
    if app["labels"].get("MARATHON_SINGLE_INSTANCE_APP") != "true":
        return
    if app["instances"] > 1:
        yield _refused(path, "allows one instance only", "Set instances to 1, or remove the label", "/")
    strategy = app.get("upgradeStrategy") or {"minimumHealthCapacity": 1}
    if any(strategy.values()):
        remedy = "Set both capacities of upgradeStrategy to 0, or remove the label"
        yield _refused(path, "requires an upgradeStrategy of zeros", remedy, "/isSingleInstance")


def _resident(app: App) -> Iterator[Finding]:
    """An app with persistent volumes, or with `residency`, has its own upgrade and unreachable strategies."""
    if "residency" not in app:
        return
    if (app.get("upgradeStrategy") or {"maximumOverCapacity": 0})["maximumOverCapacity"] != 0:
        path = "$.upgradeStrategy.maximumOverCapacity"
        yield _refused(path, "is not 0 beside persistent volumes", "Write 0")
    if isinstance(app.get("unreachableStrategy"), Mapping):
        yield _refused("$.unreachableStrategy", "is not possible with persistent volumes", 'Write "disabled"', "/")


def _unreachable(app: App) -> Iterator[Finding]:
    strategy, path = app.get("unreachableStrategy"), "$.unreachableStrategy.inactiveAfterSeconds"
    if isinstance(strategy, Mapping) and strategy["inactiveAfterSeconds"] > strategy["expungeAfterSeconds"]:
        yield _refused(path, "is greater than expungeAfterSeconds", "Write the same or less")


def _constraints(app: App) -> Iterator[Finding]:
    for index, constraint in enumerate(app["constraints"]):
        problem = constraint_problem(constraint)
        if problem:
            yield _refused(f"$.constraints[{index}]", *problem, "/constraints")


def constraint_problem(constraint: Sequence[str]) -> tuple[str, str] | None:
    """What is wrong with a constraint, and the remedy; None when Marathon accepts it."""
    if len(constraint) not in (2, 3):
        return f"has {len(constraint)} parts", "Write field, operator and, if the operator needs one, a value"
    field, operator, value = (*constraint, None)[:3]
    if not field:
        return "has an empty field", "Write the name of an agent's attribute, or hostname"
    if operator not in _OPERATORS:
        return f"has the operator {operator!r}", f"Use one of {', '.join(_OPERATORS)}"
    number = value is not None and re.fullmatch("[+-]?[0-9]{1,10}", value) and -(2**31) <= int(value) < 2**31
    wrong = {
        "UNIQUE": (value is not None, "UNIQUE has no value", "Remove the value"),
        "GROUP_BY": (value is not None and not number, "GROUP_BY needs a whole number", "Write a number, or no value"),
        "MAX_PER": (not number, "MAX_PER needs a whole number", "Write a number"),
        "LIKE": (not is_java_pattern(value), "LIKE needs a regular expression", "Write a valid one"),
        "UNLIKE": (not is_java_pattern(value), "UNLIKE needs a regular expression", "Write a valid one"),
        "IS": (
            not re.fullmatch("[a-zA-Z0-9_/.-]*", value or ""),
            "IS compares plain text",
            "Use letters, digits and _/.-",
        ),
    }.get(operator, (False, "", ""))
    return (f"is not valid: {wrong[1]}", wrong[2]) if wrong[0] else None


DEPRECATED = (
    Rule("AppValidation.validateOldAppAPI: uris", _uris),
    Rule("AppValidation.validateOldAppAPI: networks; AppNormalization.NetworkTranslation", _networks_twice),
    Rule("AppValidation.validateOldAppAPI: ports", _ports_twice),
    Rule("AppNormalization.migrateDockerPortMappings", _mappings_twice),
    Rule("AppNormalization.migrateIpDiscovery; AppValidation.validateOldAppAPI: ipAddress", _discovery),
    Rule("AppValidation.validOldContainerAPI", _mesos_docker),
)
CANONICAL = (
    Rule("PathId.pathIdValidator, PathId.nonEmptyPath", _id),
    Rule("PathId.pathIdValidator; RootGroup.dependencyGraph", _dependencies),
    Rule("AppValidation.containsCmdArgsOrContainer, validateCanonicalAppAPI: cmd", _command),
    Rule("AppValidation.dockerDockerContainerValidator, mesosContainerImageValidator", _container_type),
    Rule("AppValidation.mesosDockerContainerValidator", _pull_config),
    Rule("AppValidation.portMappingsValidator", _port_mappings),
    Rule("AppValidation.portDefinitionsValidator", _port_definitions),
    Rule("NetworkValidation.ramlNetworksValidator, AppValidation.complyWithDockerNetworkingRules", _networks),
    Rule("AppValidation.portIndexIsValid, complyWithIpProtocolRules; HealthCheckConversion", _health_checks),
    Rule("AppDefinition.containsNoChecksWithDocker, checkPortIndexIsValid; CheckConversion", _mesos_check, ("1.11",)),
    Rule("AppValidation.readinessCheckValidator", _readiness_checks),
    Rule("ArtifactValidation.artifactUriIsValid", _fetch),
    Rule("AppValidation.validResourceLimits", _resource_limits, ("1.11",)),
    Rule("SecretValidation.secretValidator", _secrets),
    Rule("EnvVarValidation.envValidator, SecretValidation.secretValidator", _env),
    Rule("ResourceRole.validAcceptedResourceRoles", _accepted_roles),
    Rule(
        "RoleSettings.forService; AppDefinition.validWithRoleEnforcement; ResourceRole.validForRole", _roles, ("1.11",)
    ),
    Rule("AppValidation.complyWithGpuRules", _gpus),
    Rule("AppValidation.complyWithMigrationAPI", _migration_labels),
    Rule("SchedulingValidation.complyWithSingleInstanceLabelRules, validForSingleInstanceApps", _single_instance),
    Rule("SchedulingValidation.validForResidentTasks, requireUnreachableDisabledForResidentTasks", _resident),
    Rule("UnreachableEnabled.unreachableEnabledValidator", _unreachable),
    Rule("SchedulingValidation.complyWithAppConstraintRules; ConstraintConversion", _constraints),
    Rule(
        "AppValidation.validVolume; DVDIProviderValidations; LinuxInfo.validLinuxInfoForContainerState", check_volumes
    ),
)
