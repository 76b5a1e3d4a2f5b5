"""From what a client sends to the canonical definition (marathon: S/api/v2/AppNormalization.scala)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from bgci.sandbox.marathon.validate import Refusal, canonical_errors, old_api_errors, shape_errors, update_errors

Json = dict[str, Any]

FIELDS = frozenset({
    "id", "cmd", "args", "user", "env", "instances", "cpus", "mem", "disk", "gpus", "executor", "constraints", "fetch",
    "requirePorts", "portDefinitions", "backoffSeconds", "backoffFactor", "maxLaunchDelaySeconds", "container",
    "healthChecks", "check", "readinessChecks", "taskKillGracePeriodSeconds", "dependencies", "upgradeStrategy",
    "labels", "acceptedResourceRoles", "networks", "secrets", "unreachableStrategy", "killSelection", "tty", "role",
    "residency", "executorResources", "resourceLimits", "ports", "uris", "ipAddress",
})  # fmt: skip
"""What Marathon reads; the last three are legacy and never shown."""

DEFAULTS: Json = {
    "backoffFactor": 1.15, "backoffSeconds": 1, "maxLaunchDelaySeconds": 300, "cpus": 1, "mem": 128, "disk": 0,
    "gpus": 0, "executor": "", "instances": 1, "requirePorts": False, "killSelection": "YOUNGEST_FIRST", "labels": {},
    "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 1},
    "unreachableStrategy": {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}, "role": "slave_public",
}  # fmt: skip
HEALTH_CHECK_DEFAULTS: Json = {
    "gracePeriodSeconds": 300, "ignoreHttp1xx": False, "intervalSeconds": 60, "maxConsecutiveFailures": 3,
    "protocol": "HTTP", "timeoutSeconds": 20, "delaySeconds": 15, "ipProtocol": "IPv4",
}  # fmt: skip
READINESS_DEFAULTS: Json = {
    "name": "readinessCheck", "protocol": "HTTP", "path": "/", "portName": "http-api", "intervalSeconds": 30,
    "timeoutSeconds": 10, "httpStatusCodesForReady": [200], "preserveLastResponse": False,
}  # fmt: skip
PORT_DEFAULTS: Json = {"port": 0, "protocol": "tcp", "labels": {}}
MAPPING_DEFAULTS: Json = {"containerPort": 0, "servicePort": 0, "protocol": "tcp", "labels": {}}
DOCKER_DEFAULTS: Json = {"forcePullImage": False, "privileged": False, "parameters": []}
FETCH_DEFAULTS: Json = {"extract": True, "executable": False, "cache": False}
OMITTED_WHEN_EMPTY = (
    "args", "constraints", "dependencies", "env", "fetch", "healthChecks", "readinessChecks", "secrets",
    "acceptedResourceRoles",
)  # fmt: skip
DOCKER_NETWORKS = {"BRIDGE": "container/bridge", "HOST": "host", "USER": "container"}


def create(body: Json, app_id: str | None = None, *, secrets: bool = False) -> Json:
    """The canonical definition of a new app, or of a complete replacement; ``secrets``: whether there is a store.

    Raises Refusal.
    """
    app = _known({**body, "id": app_id} if app_id else body)
    _refuse("Invalid JSON", shape_errors(app, complete=True))
    app["id"] = absolute(app["id"])
    _refuse("Object is not valid", old_api_errors(app))
    return complete(migrate(app), secrets=secrets)


def update(body: Json, current: Mapping[str, Any], *, secrets: bool = False) -> Json:
    """The definition after a partial update: each given field replaces the old one as a whole. Raises Refusal."""
    given = _known(body)
    _refuse("Invalid JSON", shape_errors(given, complete=False))
    _refuse("Object is not valid", update_errors(body))
    _refuse("Object is not valid", old_api_errors(given))
    # marathon: AppConversion.scala clears these two in every update that omits them.
    kept = {name: value for name, value in current.items() if name not in ("executorResources", "resourceLimits")}
    given.pop("id", None)
    changes = _migrate_update(given)
    if "networks" in changes and changes["networks"][:1] != kept["networks"][:1]:
        kept.pop("portDefinitions", None)
    return complete(migrate({**kept, **changes}), secrets=secrets)


def absolute(app_id: str) -> str:
    """``web`` means ``/web``."""
    return "/" + app_id.strip("/")


def complete(app: Json, *, secrets: bool) -> Json:
    """Validates a canonical definition and fills in the defaults. Raises Refusal."""
    _refuse("Object is not valid", canonical_errors(app, secrets=secrets))
    full = {**DEFAULTS, **app}
    full["networks"] = app.get("networks") or [{"mode": "host"}]
    host = full["networks"][0].get("mode", "container") == "host"
    if not host:
        full["requirePorts"] = False
        full.pop("portDefinitions", None)
    if "portDefinitions" in full:
        full["portDefinitions"] = [{**PORT_DEFAULTS, **definition} for definition in full["portDefinitions"]]
    container = _container(full.get("container"), full["networks"][0])
    if container is not None:
        full["container"] = container
    if full.get("healthChecks"):
        full["healthChecks"] = [{**HEALTH_CHECK_DEFAULTS, **check} for check in full["healthChecks"]]
    if full.get("readinessChecks"):
        full["readinessChecks"] = [{**READINESS_DEFAULTS, **check} for check in full["readinessChecks"]]
    if full.get("fetch"):
        full["fetch"] = [{**FETCH_DEFAULTS, **fetch} for fetch in full["fetch"]]
    for name in OMITTED_WHEN_EMPTY:
        if not full.get(name):
            full.pop(name, None)
    return full


def _container(container: Json | None, network: Json) -> Json | None:
    if container is None:
        if network.get("mode", "container") == "host":
            return None
        container = {"type": "MESOS", "portMappings": [{}]}
    container = {"volumes": [], **container}
    container.setdefault("type", "DOCKER")
    if "docker" in container:
        container["docker"] = {**DOCKER_DEFAULTS, **container["docker"]}
    if "portMappings" in container:
        bridge = {"hostPort": 0} if network.get("mode") == "container/bridge" else {}
        container["portMappings"] = [{**MAPPING_DEFAULTS, **bridge, **m} for m in container["portMappings"]]
    return container


def migrate(app: Json) -> Json:
    """Legacy input of a whole app in canonical form. Raises Refusal where both forms contradict each other."""
    app = dict(app)
    app["networks"] = _networks(app)
    mode = app["networks"][0].get("mode", "container") if app["networks"] else "host"
    ports = app.pop("ports", None)
    definitions = app.get("portDefinitions")
    if definitions is None and ports is not None:
        definitions = [{"port": port} for port in ports]
    container = _migrate_container(app)
    if container is not None and mode == "host":
        container = {name: value for name, value in container.items() if name != "portMappings"}
    elif container is not None:
        mappings = list(container.get("portMappings", [{}]))
        service = [{"servicePort": d.get("port", 0)} for d in definitions or []]
        nothing: Json = {}
        pairs = zip_longest(service, mappings, fillvalue=nothing)
        container = {**container, "portMappings": [{**port, **mapping} for port, mapping in pairs]}
    if mode == "host":
        app["portDefinitions"] = [{"port": 0}] if definitions is None else definitions
    else:
        app.pop("portDefinitions", None)
    if container is not None:
        app["container"] = container
    if definitions or (container or {}).get("portMappings"):
        app["healthChecks"] = _default_port_index(app.get("healthChecks", []))
    return _fetch(app)


def _migrate_update(given: Json) -> Json:
    """Legacy input of a partial update in canonical form; nothing is filled in."""
    changes = dict(given)
    networks = _networks(given)
    if networks:
        changes["networks"] = networks
    container = _migrate_container(changes)
    if container is not None:
        changes["container"] = container
    ports = changes.pop("ports", None)
    if ports is not None:
        changes.setdefault("portDefinitions", [{"port": port} for port in ports])
    if "healthChecks" in changes:
        changes["healthChecks"] = _default_port_index(changes["healthChecks"])
    return _fetch(changes)


def _networks(app: Json) -> list[Json]:
    address = app.get("ipAddress")
    docker = app.get("container", {}).get("docker", {}).get("network")
    if docker is not None and docker not in DOCKER_NETWORKS:
        raise Refusal(500, {"message": f"unsupported docker network type {docker}"})
    if docker is None and address is None:
        return list(app.get("networks", []))
    mode = DOCKER_NETWORKS[docker] if docker else "container"
    name = (address or {}).get("networkName")
    if docker is None and name == "mesos-bridge":
        mode = "container/bridge"
    return [{"mode": mode, "name": name} if mode == "container" and name else {"mode": mode}]


def _migrate_container(app: Json) -> Json | None:
    address = app.pop("ipAddress", None)
    container = app.get("container")
    if container is None:
        container = {"type": "MESOS"} if address is not None else None
    if container is None:
        return None
    container = dict(container)
    if "docker" in container:
        docker = dict(container["docker"])
        docker.pop("network", None)
        mappings = docker.pop("portMappings", None)
        if mappings and container.get("portMappings"):
            raise Refusal(500, {"message": "cannot specify both portMappings and docker.portMappings"})
        if mappings is not None:
            container.setdefault("portMappings", mappings)
        container["docker"] = docker
    discovered = (address or {}).get("discovery", {}).get("ports")
    if discovered:
        rename = {"number": "containerPort"}
        container["portMappings"] = [{rename.get(k, k): v for k, v in port.items()} for port in discovered]
    return container


def _default_port_index(checks: list[Json]) -> list[Json]:
    def with_port(check: Json) -> Json:
        needless = check.get("protocol") == "COMMAND" or "port" in check or "portIndex" in check
        return check if needless else {**check, "portIndex": 0}

    return [with_port(check) for check in checks]


def _fetch(app: Json) -> Json:
    uris = app.pop("uris", None)
    if uris:
        app["fetch"] = [{"uri": uri} for uri in uris]
    return app


def _known(body: Json) -> Json:
    """Without nulls, which mean absent, and without the fields that Marathon does not read."""
    given = _without_nulls(body)
    return {name: value for name, value in given.items() if name in FIELDS}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value


def _refuse(message: str, errors: Mapping[str, list[str]]) -> None:
    """422 with the errors of each path."""
    if errors:
        details = [{"path": path, "errors": texts} for path, texts in errors.items()]
        raise Refusal(422, {"message": message, "details": details})
