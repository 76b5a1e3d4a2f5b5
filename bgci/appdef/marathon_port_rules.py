"""Rules for ports, networks and checks of a canonical app."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bgci.appdef.findings import Finding, marathon_path
from bgci.appdef.marathon_forms import port_count
from bgci.appdef.marathon_parts import App, container_of, engine_of, refused, rule

_MESOS_PROTOCOLS = ("COMMAND", "MESOS_HTTP", "MESOS_HTTPS", "MESOS_TCP")


@rule("AppValidation.portMappingsValidator")
def check_port_mappings(app: App) -> Iterator[Finding]:
    mappings, path = container_of(app).get("portMappings") or (), "$.container.portMappings"
    yield from unique_names(mappings, path)
    containers = [network for network in app["networks"] if network["mode"] == "container"]
    names = [network["name"] for network in app["networks"] if "name" in network]
    for index, mapping in enumerate(mappings):
        if len(containers) > 1 and "hostPort" in mapping and len(mapping["networkNames"]) != 1:
            yield refused(f"{path}[{index}]", "has a hostPort for several networks", "Name one network in networkNames")
        for number, name in enumerate(mapping["networkNames"]):
            if name not in names:
                place = f"{path}[{index}].networkNames[{number}]"
                yield refused(place, f"is {name!r}, which is not a network of this app", "Name one of its networks")


def unique_names(ports: Sequence[App], path: str) -> Iterator[Finding]:
    names = [port["name"] for port in ports if "name" in port]
    for index, port in enumerate(ports):
        if names.count(port.get("name", "")) > 1 and port["name"] in [each.get("name") for each in ports[:index]]:
            message = f"is {port['name']!r} a second time"
            yield refused(f"{path}[{index}].name", message, "Give each port a different name", marathon_path(path))


@rule("AppValidation.portDefinitionsValidator")
def check_port_definitions(app: App) -> Iterator[Finding]:
    definitions, path = app.get("portDefinitions") or (), "$.portDefinitions"
    yield from unique_names(definitions, path)
    ports = [each["port"] for each in definitions]
    for index, port in enumerate(ports):
        place = f"{path}[{index}].port"
        if port < 0:  # of `ports`, whose numbers the reader does not check
            yield refused(place, f"is {port}", "Write a port from 0 to 65535")
        if port and port in ports[:index]:
            yield refused(place, f"is {port} a second time", "Give each port a different number", "/portDefinitions")


@rule("NetworkValidation.ramlNetworksValidator, AppValidation.complyWithDockerNetworkingRules")
def check_networks(app: App) -> Iterator[Finding]:
    networks, path = app["networks"], "$.networks"
    modes = [network["mode"] for network in networks]
    if len(networks) > 1 and set(modes) != {"container"}:
        yield refused(path, "has several networks, of which not all are container networks", "Keep one", "/networks")
    for index, network in enumerate(networks):
        mode, place = network["mode"], f"{path}[{index}]"
        if mode == "container" and "name" not in network:
            yield refused(f"{place}.name", "is missing", "Add the network's name, such as dcos", "/networks")
        if mode != "container" and "name" in network:
            yield refused(f"{place}.name", f"is not possible with mode {mode}", "Remove it", "/networks")
        if mode == "host" and network["labels"]:
            yield refused(f"{place}.labels", "are not possible with mode host", "Remove them", "/networks")
    names = [network["name"] for network in networks if "name" in network]
    if len(set(names)) < len(names):
        yield refused(path, "has a network twice", "Keep one", "/networks")
    if engine_of(app) == "DOCKER" and modes.count("container") > 1:
        yield refused(path, "has several networks", 'A DOCKER container takes one: keep one, or use "MESOS"', "/")


@rule("AppValidation.portIndexIsValid, complyWithIpProtocolRules; HealthCheckConversion")
def check_health_checks(app: App) -> Iterator[Finding]:
    ports = port_count(app)
    for index, check in enumerate(app["healthChecks"]):
        path, protocol = f"$.healthChecks[{index}]", check["protocol"]
        if (protocol == "COMMAND") != ("command" in check):
            remedy = "Write protocol COMMAND with a command, or neither"
            yield refused(
                path, f"has the protocol {protocol} {'with' if 'command' in check else 'without'} a command", remedy
            )
        elif protocol == "COMMAND":
            if "path" in check or "port" in check:
                yield refused(path, "has a path or a port beside its command", "Remove them")
        else:
            yield from _port_reference(check, path, ports, path)
        if check["ipProtocol"] == "IPv6" and not (protocol.startswith("MESOS_") and engine_of(app) == "DOCKER"):
            remedy = "Use a MESOS_ protocol in a DOCKER container, or IPv4"
            yield refused(f"{path}.ipProtocol", "is IPv6", remedy, marathon_path(path))
    by_mesos = [
        check for check in app["healthChecks"] if check["protocol"] in _MESOS_PROTOCOLS and "command" not in check
    ]
    if len(by_mesos) > 1:
        yield refused("$.healthChecks", f"has {len(by_mesos)} checks with a MESOS_ protocol", "Keep one of them", "/")


def _port_reference(check: App, path: str, ports: int, place: str) -> Iterator[Finding]:
    """A check's portIndex names a port of the app; without one it has a port, or the app has one port only."""
    if "portIndex" in check:
        if check["portIndex"] >= ports:
            message = f"is {check['portIndex']}, but the app has {ports} ports"
            yield refused(f"{path}.portIndex", message, "Count the ports from 0", marathon_path(place))
    elif "port" not in check and ports != 1:
        yield refused(path, f"does not say which of the app's {ports} ports it checks", "Add portIndex")


@rule("AppDefinition.containsNoChecksWithDocker, checkPortIndexIsValid; CheckConversion", "1.11")
def check_mesos_check(app: App) -> Iterator[Finding]:
    check = app.get("check")
    if check is None:
        return
    kinds = [kind for kind in ("http", "tcp", "exec") if kind in check]
    if len(kinds) != 1:
        yield refused("$.check", "has not exactly one of http, tcp and exec", "Write one of them")
        return
    if engine_of(app) == "DOCKER":
        yield refused("$.check", "is not possible with a DOCKER container", 'Write "type": "MESOS", or remove it', "/")
    [kind] = kinds
    if kind == "exec" and "argv" in check["exec"]["command"]:
        yield refused("$.check.exec.command.argv", "is not supported", "Write shell instead")
    if kind == "http" and check["http"]["scheme"] == "HTTPS":
        yield refused("$.check.http.scheme", "is HTTPS, which Marathon cannot convert", "Use HTTP or tcp")
    if kind != "exec":
        yield from _port_reference(check[kind], f"$.check.{kind}", port_count(app), "$.check")


@rule("AppValidation.readinessCheckValidator")
def check_readiness_checks(app: App) -> Iterator[Finding]:
    checks = app["readinessChecks"]
    mappings = container_of(app).get("portMappings")
    table = mappings if mappings is not None else app.get("portDefinitions") or ()
    names = [port.get("name") for port in table]
    if len(checks) > 1:
        yield refused("$.readinessChecks", f"has {len(checks)} checks", "Keep one")
    for index, check in enumerate(checks):
        path = f"$.readinessChecks[{index}]"
        if check["timeoutSeconds"] >= check["intervalSeconds"]:
            remedy = "Write less than intervalSeconds (the defaults are 10 and 30)"
            yield refused(f"{path}.timeoutSeconds", "is not less than intervalSeconds", remedy)
        if check["portName"] not in names:
            message = f"is {check['portName']!r}, which is not the name of a port"
            yield refused(f"{path}.portName", message, "Use the name of one of the app's ports")
