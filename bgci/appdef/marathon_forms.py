"""The forms of an app definition in Marathon: as written, canonical (without deprecated fields), and stored.

Marathon translates a definition in two steps (marathon: AppNormalization.scala), converts it to its model and writes
that (marathon: AppConversion.scala). The functions here do the same, so that a definition can be compared with an app
that runs.
"""

from __future__ import annotations

import copy
import posixpath
from collections.abc import Mapping
from typing import Any

from bgci.appdef.marathon_schema import LATEST, check_shape, distinct, read, write

DOCKER_NETWORKS = {"BRIDGE": "container/bridge", "USER": "container", "HOST": "host"}
# marathon: FetchUri.scala
_ARCHIVES = (".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".gz", ".tgz", ".tbz2", ".txz", ".zip")
_PORT = {"containerPort": 0, "labels": {}, "protocol": "tcp", "servicePort": 0, "networkNames": []}
_MESOS = {"type": "MESOS", "volumes": []}
# Fields that Marathon sets itself and that say nothing about the definition.
_VOLATILE = ("version", "versionInfo")


def stored(definition: Mapping[str, Any], version: str = LATEST) -> dict[str, Any]:
    """The definition as Marathon stores it, with every default. `definition` can also be an app that Marathon returned.

    Lists whose order Marathon does not keep are sorted. A definition that Marathon cannot read is returned unchanged.
    """
    if any(check_shape(definition, version)):
        return dict(definition)
    app = finished(canonical(read(definition, version)), version)
    return write({key: value for key, value in app.items() if key not in _VOLATILE}, version)


def absolute(path: str) -> str:
    """An id as Marathon resolves it: absolute, without `..` and empty parts (marathon: PathId.scala)."""
    return posixpath.normpath("/" + path.strip("/"))


def canonical(app: Mapping[str, Any]) -> dict[str, Any]:
    """The app without deprecated fields (marathon: AppNormalization.forDeprecated). `app` is what `read` returned.

    The rules of `marathon_rules` for deprecated fields have no findings.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(app))
    networks = _networks(app)
    on_host = all(network["mode"] == "host" for network in networks)
    changed["id"] = absolute(app["id"])
    changed["dependencies"] = sorted({absolute(path) for path in app["dependencies"]})
    changed["networks"] = networks
    changed["fetch"] = _fetch(app)
    ports = _port_definitions(app)
    container = changed.get("container") or (copy.deepcopy(_MESOS) if app.get("ipAddress") is not None else None)
    if container is not None:
        _migrate_ports(container, app, networks, len(ports or []))
        changed["container"] = container
        if any("persistent" in volume for volume in container["volumes"]):
            changed.setdefault("residency", {})
    if app.get("portDefinitions") or "portMappings" in (container or {}):
        for check in changed["healthChecks"]:
            if check["protocol"] != "COMMAND" and "port" not in check:
                check.setdefault("portIndex", 0)
    changed["portDefinitions"] = None
    if on_host:
        changed["portDefinitions"] = ports if ports is not None else [_named_default({"port": 0})]
    for check in changed["readinessChecks"]:
        check.setdefault("httpStatusCodesForReady", [200])
    return {key: value for key, value in changed.items() if key not in ("uris", "ipAddress", "ports")}


def _networks(app: Mapping[str, Any]) -> list[dict[str, Any]]:
    """marathon: AppNormalization.NetworkTranslation."""
    address = app.get("ipAddress")
    mode = DOCKER_NETWORKS.get(_docker(app).get("network", ""))
    labels = address["labels"] if address else {}
    name = {"name": address["networkName"]} if address and "networkName" in address else {}
    if address and mode is None:
        mode = "container/bridge" if name.get("name") == "mesos-bridge" else "container"
    if mode is None:
        return copy.deepcopy(list(app["networks"]))
    return [{"mode": mode, "labels": {} if mode == "host" else labels, **(name if mode == "container" else {})}]


def _docker(app: Mapping[str, Any]) -> Mapping[str, Any]:
    docker: Mapping[str, Any] = (app.get("container") or {}).get("docker") or {}
    return docker


def _fetch(app: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not app.get("uris"):
        return list(app["fetch"])
    return [
        {
            "uri": uri,
            "extract": uri.partition("?")[0].partition("#")[0].endswith(_ARCHIVES),
            "executable": False,
            "cache": False,
        }
        for uri in app["uris"]
    ]


def _port_definitions(app: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    if app.get("portDefinitions") is not None:
        return copy.deepcopy(list(app["portDefinitions"]))
    if app.get("ports") is not None:
        return [{"port": port, "labels": {}, "protocol": "tcp"} for port in app["ports"]]
    return None


def _named_default(port: Mapping[str, Any]) -> dict[str, Any]:
    """The port that Marathon adds to an app without any (marathon: Apps.scala)."""
    return {"labels": {}, "protocol": "tcp", **port, "name": "default"}


def _migrate_ports(
    container: dict[str, Any], app: Mapping[str, Any], networks: list[dict[str, Any]], definitions: int
) -> None:
    """marathon: AppNormalization, the functions from migrateDockerPortMappings to maybeAddPortMappings."""
    docker = container.get("docker") or {}
    legacy = docker.pop("portMappings", None)
    docker.pop("network", None)
    if legacy is not None and "portMappings" not in container:
        container["portMappings"] = legacy
    discovery = ((app.get("ipAddress") or {}).get("discovery") or {}).get("ports")
    if discovery:
        container["portMappings"] = [
            {**_PORT, "containerPort": port["number"], **{key: port[key] for key in ("name", "protocol", "labels")}}
            for port in discovery
        ]
    if not networks or any(network["mode"] == "host" for network in networks):
        container.pop("portMappings", None)
    elif container.get("portMappings") is None:
        container["portMappings"] = [_named_default(_PORT)]
    if any(network["mode"] != "host" for network in networks) and container.get("portMappings") is not None:
        container["portMappings"] += [dict(_PORT) for _ in range(definitions - len(container["portMappings"]))]


def port_count(app: Mapping[str, Any]) -> int:
    """How many ports a health check can refer to by index (marathon: AppValidation.portIndices)."""
    return len((app.get("container") or {}).get("portMappings") or app.get("portDefinitions") or [])


def finished(app: Mapping[str, Any], version: str = LATEST) -> dict[str, Any]:
    """A canonical app as Marathon keeps it (marathon: AppNormalization.forPostValidation, AppConversion.scala)."""
    changed = copy.deepcopy(dict(app))
    changed["networks"] = app["networks"] or [{"mode": "host", "labels": {}}]
    on_host = all(network["mode"] == "host" for network in changed["networks"])
    container = changed.get("container")
    if container is None and not on_host:
        container = {**copy.deepcopy(_MESOS), "portMappings": [_named_default(_PORT)]}
    if container is not None:
        changed["container"] = _finished_container(container, changed["networks"])
    volumes = (container or {}).get("volumes", [])
    persistent = any("persistent" in volume for volume in volumes)
    external = any("external" in volume for volume in volumes)
    if not on_host:
        changed |= {"requirePorts": False, "portDefinitions": None}
    changed["healthChecks"] = distinct([_finished_check(check) for check in app["healthChecks"]])
    changed.setdefault("upgradeStrategy", {"maximumOverCapacity": 1, "minimumHealthCapacity": 1})
    if "upgradeStrategy" not in app and (persistent or external):
        changed["upgradeStrategy"] = {"maximumOverCapacity": 0, "minimumHealthCapacity": 0.5}
    enabled = {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}
    strategy = changed.setdefault("unreachableStrategy", "disabled" if persistent else enabled)
    if isinstance(strategy, str):
        changed["unreachableStrategy"] = "disabled"
    changed.pop("residency", None)
    if persistent:
        after = 3600 if isinstance(strategy, str) else strategy["inactiveAfterSeconds"]
        changed["residency"] = {"relaunchEscalationTimeoutSeconds": after, "taskLostBehavior": "WAIT_FOREVER"}
    if not changed.get("acceptedResourceRoles"):
        changed.pop("acceptedResourceRoles", None)
    if version != "1.7":
        changed.setdefault("role", "*")
    return changed


def _finished_container(container: dict[str, Any], networks: list[dict[str, Any]]) -> dict[str, Any]:
    docker = container.get("docker")
    if docker is not None and container["type"] == "MESOS":
        kept = {key: docker[key] for key in ("image", "credential", "pullConfig", "forcePullImage") if key in docker}
        container["docker"] = {**kept, "parameters": [], "privileged": False}
    elif docker is not None:
        container["docker"] = {key: docker[key] for key in ("image", "forcePullImage", "parameters", "privileged")}
        container.pop("linuxInfo", None)
    bridged = any(network["mode"] == "container/bridge" for network in networks)
    for mapping in container.get("portMappings") or []:
        if bridged:
            mapping.setdefault("hostPort", 0)
    for volume in container["volumes"]:
        if "persistent" in volume:
            volume["persistent"].setdefault("type", "mount" if "profileName" in volume["persistent"] else "root")
    if not bridged and all(network["mode"] == "host" for network in networks):
        container.pop("portMappings", None)
    elif container.get("portMappings") is None:
        container["portMappings"] = []
    return container


def _finished_check(check: Mapping[str, Any]) -> dict[str, Any]:
    """Each protocol keeps some fields only (marathon: HealthCheckConversion.scala)."""
    protocol = check["protocol"]
    common = ["gracePeriodSeconds", "intervalSeconds", "maxConsecutiveFailures", "protocol", "timeoutSeconds"]
    if protocol == "COMMAND":
        return {**{key: check[key] for key in (*common, "command", "delaySeconds")}, "ipProtocol": "IPv4"}
    kept = [*common, "port", "portIndex", *(["path"] if "HTTP" in protocol else [])]
    kept += ["delaySeconds", "ipProtocol"] if protocol.startswith("MESOS_") else []
    made = {key: check[key] for key in kept if key in check}
    made = {"delaySeconds": 15, "ipProtocol": "IPv4", **made}
    return {**made, "ignoreHttp1xx": False} if protocol in ("HTTP", "HTTPS") else made
