"""Converts legacy fields to canonical form, fills in missing fields, and builds the stored form
(marathon: AppNormalization.scala, and the conversions of S/raml)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bgci.sandbox.marathon.validate import MESOS_PROTOCOLS, OPERATORS, has_persistent_volumes
from bgci.sandbox.web import ApiError

Json = dict[str, Any]

HOST = [{"mode": "host"}]
UPGRADE = {"maximumOverCapacity": 1.0, "minimumHealthCapacity": 1.0}
RESIDENT_UPGRADE = {"maximumOverCapacity": 0.0, "minimumHealthCapacity": 0.5}
UNREACHABLE = {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}
RESIDENCY = {"relaunchEscalationTimeoutSeconds": 3600, "taskLostBehavior": "WAIT_FOREVER"}
_MAPPING = {"containerPort": 0, "labels": {}, "protocol": "tcp", "servicePort": 0}
_PORT = {"port": 0, "protocol": "tcp"}
_MODES = {"BRIDGE": "container/bridge", "HOST": "host", "USER": "container"}
_ARCHIVES = (".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".gz", ".tgz", ".tbz2", ".txz", ".zip")


class Refusal(ApiError):
    """The definition is not accepted."""


def _fail(message: str) -> Refusal:
    """The refusal for an exception that Marathon does not expect."""
    return Refusal(500, {"message": message})


def canonical(app: Json) -> Json:
    """A whole app without legacy fields. Raises Refusal (marathon: forDeprecated)."""
    app = _translated(app)
    networks = app["networks"] = app.get("networks") or []
    host = all(network["mode"] == "host" for network in networks)
    ports = app.pop("ports", None)
    given = app.get("portDefinitions")
    definitions = given if given is not None or ports is None else [{**_PORT, "port": port} for port in ports]
    app.pop("portDefinitions", None)
    if host:
        app["portDefinitions"] = [{**_PORT, "name": "default"}] if definitions is None else definitions
    if "container" in app:
        app["container"] = _with_mappings(app["container"], networks, definitions or [])
    if given or app.get("container", {}).get("portMappings") is not None:
        _index_ports(app)
    if has_persistent_volumes(app):
        app.setdefault("residency", RESIDENCY)
    return app


def canonical_update(given: Json) -> Json:
    """The fields of a partial update without legacy ones; only the fields that Marathon fills in are filled in.
    Raises Refusal (marathon: forDeprecatedUpdates, forUpdates)."""
    update = _translated(given)
    ports = update.pop("ports", None)
    if ports is not None:
        update.setdefault("portDefinitions", [{**_PORT, "port": port} for port in ports])
    _index_ports(update)
    if "networks" in update:
        _require_network_names(update["networks"])
        update = _with_container(update)
    return update


def _translated(app: Json) -> Json:
    """``uris``, ``ipAddress`` and the Docker network in their canonical places."""
    app = dict(app)
    networks = _networks(app)
    address = app.pop("ipAddress", None)
    if networks is not None:
        app["networks"] = networks
    if "container" not in app and address is not None:
        app["container"] = {"type": "MESOS", "volumes": []}
    if "container" in app:
        app["container"] = _container(app["container"], address or {})
    uris = app.pop("uris", None)
    if uris and app.get("fetch"):
        raise _fail("cannot specify both uris and fetch fields")
    if uris:
        plain = {"executable": False, "cache": False}
        app["fetch"] = [{"uri": uri, "extract": re.split("[?#]", uri)[0].endswith(_ARCHIVES), **plain} for uri in uris]
    if "readinessChecks" in app:
        app["readinessChecks"] = [{"httpStatusCodesForReady": [200], **check} for check in app["readinessChecks"]]
    return app


def _networks(app: Json) -> list[Json] | None:
    address = app.get("ipAddress")
    kind = app.get("container", {}).get("docker", {}).get("network")
    if address is None and kind is None:
        found: list[Json] | None = app.get("networks")
        return found
    if app.get("networks"):
        raise _fail("cannot mix deprecated and canonical network APIs")
    if kind is not None and kind not in _MODES:
        raise _fail(f"unsupported docker network type {kind}")
    name = (address or {}).get("networkName")
    mode = _MODES[kind] if kind else "container/bridge" if name == "mesos-bridge" else "container"
    labels = {"labels": address["labels"]} if address and "labels" in address and mode != "host" else {}
    return [{"mode": mode, **({"name": name} if name and mode == "container" else {}), **labels}]


def _container(container: Json, address: Json) -> Json:
    container = dict(container)
    if "docker" in container:
        docker = container["docker"] = dict(container["docker"])
        docker.pop("network", None)
        mappings = docker.pop("portMappings", None)
        if mappings and container.get("portMappings") is not None:
            raise _fail("cannot specify both portMappings and docker.portMappings")
        if mappings is not None:
            container.setdefault("portMappings", mappings)
    discovered = address.get("discovery", {}).get("ports", [])
    if discovered and container["type"] != "MESOS":
        raise _fail(f"ipAddress.discovery.ports do not apply for container type {container['type']}")
    if discovered and "portMappings" in container:
        raise _fail("container.portMappings and ipAddress.discovery.ports must not both be set")
    if discovered:
        container["portMappings"] = [_discovered(port) for port in discovered]
    return container


def _discovered(port: Json) -> Json:
    return {**_MAPPING, **{{"number": "containerPort"}.get(name, name): value for name, value in port.items()}}


def _with_mappings(container: Json, networks: Sequence[Json], definitions: Sequence[Json]) -> Json:
    """The container with as many port mappings as there are ports; without any on the host's network."""
    container = dict(container)
    if not networks or any(network["mode"] == "host" for network in networks):
        container.pop("portMappings", None)
    else:
        container.setdefault("portMappings", [{**_MAPPING, "name": "default"}])
    if any(network["mode"] != "host" for network in networks):
        missing = len(definitions) - len(container.get("portMappings", []))
        container["portMappings"] = [*container.get("portMappings", []), *[_MAPPING] * missing]
    return container


def _index_ports(app: Json) -> None:
    """A check over the network without a port means the first one."""

    def indexed(check: Json) -> Json:
        needless = check["protocol"] == "COMMAND" or "port" in check or "portIndex" in check
        return check if needless else {**check, "portIndex": 0}

    if app.get("healthChecks"):
        app["healthChecks"] = [indexed(check) for check in app["healthChecks"]]


def filled(app: Json) -> Json:
    """A canonical app with networks, a container where one is needed, and host ports of a bridge.
    Raises Refusal (marathon: forPostValidation)."""
    app = {**app, "networks": app["networks"] or HOST}
    _require_network_names(app["networks"])
    if any(network["mode"] != "host" for network in app["networks"]):
        app["requirePorts"] = False
    default = "disabled" if has_persistent_volumes(app) else UNREACHABLE
    app.setdefault("unreachableStrategy", default)
    return _with_container(app)


def _require_network_names(networks: Sequence[Json]) -> None:
    if any(network["mode"] == "container" and "name" not in network for network in networks):
        raise _fail("container network name is not defined")


def _with_container(app: Json) -> Json:
    if "container" not in app and any(network["mode"] != "host" for network in app["networks"]):
        mappings = [{**_MAPPING, "name": "default"}]
        app = {**app, "container": {"type": "MESOS", "volumes": [], "portMappings": mappings}}
    container = app.get("container", {})
    if "portMappings" in container and any(network["mode"] == "container/bridge" for network in app["networks"]):
        mappings = [{"hostPort": 0, **mapping} for mapping in container["portMappings"]]
        app = {**app, "container": {**container, "portMappings": mappings}}
    return app


def stored(app: Json, *, modern: bool) -> Json:
    """The definition as Marathon's model writes it, without unknown fields. Raises Refusal (marathon: S/raml)."""
    app = {name: value for name, value in app.items() if name not in ("residency", "version", "versionInfo")}
    for constraint in app.get("constraints", []):
        if constraint[1] not in OPERATORS:
            raise _fail(f"illegal constraint specification {','.join(constraint)}")
    if "healthChecks" in app:
        app["healthChecks"] = [_stored_check(check, modern=modern) for check in app["healthChecks"]]
    if "check" in app:
        _require_one_check(app["check"])
    external = any("external" in volume for volume in app.get("container", {}).get("volumes", []))
    resident = has_persistent_volumes(app)
    app.setdefault("upgradeStrategy", RESIDENT_UPGRADE if resident or external else UPGRADE)
    if resident:
        app["residency"] = RESIDENCY
    if "container" in app:
        app["container"] = _stored_container(app["container"], host=app["networks"][0]["mode"] == "host")
    if not app.get("acceptedResourceRoles"):
        app.pop("acceptedResourceRoles", None)
    return app


def _stored_check(check: Json, *, modern: bool) -> Json:
    protocol = check["protocol"]
    common = {name: check[name] for name in (
        "gracePeriodSeconds", "intervalSeconds", "maxConsecutiveFailures", "protocol", "timeoutSeconds",
    )}  # fmt: skip
    common |= {"delaySeconds": 15, "ipProtocol": "IPv4"}
    if "command" in check and ("path" in check or "port" in check):
        raise _fail(f"Invalid combination of HealthCheck parameters in {_as_scala(check, modern=modern)}")
    if "command" in check and protocol != "COMMAND":
        raise _fail(f"illegal protocol {protocol} specified with command")
    if "command" in check:
        return {**common, "command": check["command"], "delaySeconds": check["delaySeconds"]}
    if protocol == "COMMAND":
        raise _fail("illegal protocol COMMAND for non-command health check")
    names = ["port", "portIndex", *["path"] * (not protocol.endswith("TCP"))]
    names += ["delaySeconds", "ipProtocol"] * (protocol in MESOS_PROTOCOLS)
    ignored = {"ignoreHttp1xx": False} if protocol in ("HTTP", "HTTPS") else {}
    return {**common, **ignored, **{name: check[name] for name in names if name in check}}


def _as_scala(check: Json, *, modern: bool) -> str:
    """A check in the form in which Scala shows it in messages."""
    command = f"{'AppCommandCheck' if modern else 'CommandCheck'}({check['command']['value']})"
    ignored = str(check["ignoreHttp1xx"]).lower() if "ignoreHttp1xx" in check else None
    optional = {**check, "command": command, "ignoreHttp1xx": ignored}

    def some(name: str) -> str:
        return "None" if optional.get(name) is None else f"Some({optional[name]})"

    values = [some("command"), check["gracePeriodSeconds"], some("ignoreHttp1xx"), check["intervalSeconds"],
              check["maxConsecutiveFailures"], some("path"), some("port"), some("portIndex"), check["protocol"],
              check["ipProtocol"], check["timeoutSeconds"], check["delaySeconds"]]  # fmt: skip
    return f"AppHealthCheck({','.join(map(str, values))})"


def _require_one_check(check: Mapping[str, Any]) -> None:
    if sum(name in check for name in ("http", "tcp", "exec")) != 1:
        raise _fail("illegal RAML Check: expected one of http, tcp or exec checks")
    if check.get("http", {}).get("scheme") == "HTTPS":
        raise _fail("HTTPS (of class mesosphere.marathon.raml.HttpScheme$Https$)")


def _stored_container(container: Json, *, host: bool) -> Json:
    container = {**container, "volumes": [_stored_volume(volume) for volume in container["volumes"]]}
    if host:
        container.pop("portMappings", None)
    if "docker" in container:
        by_mesos = container["type"] == "MESOS"
        docker = {"parameters": [], "privileged": False, **container["docker"]}
        dropped = ("parameters", "privileged") if by_mesos else ("pullConfig", "credential")
        docker = {name: value for name, value in docker.items() if name not in dropped}
        container["docker"] = {**docker, **({"parameters": [], "privileged": False} if by_mesos else {})}
    if container["type"] == "DOCKER":
        container.pop("linuxInfo", None)
    return container


def _stored_volume(volume: Json) -> Json:
    if "persistent" not in volume:
        return volume
    info = volume["persistent"]
    for constraint in info["constraints"]:
        if constraint[1] != "LIKE":
            raise _fail(f"illegal volume constraint {','.join(constraint)}")
    kind = "mount" if "profileName" in info else "root"
    return {**volume, "persistent": {"type": kind, **info}}
