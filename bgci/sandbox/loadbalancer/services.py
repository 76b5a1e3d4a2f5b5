"""Turns Marathon's apps into services: service ports with their servers (marathon-lb: ``get_apps``, utils.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bgci.sandbox.loadbalancer.drain import Json, merge_groups
from bgci.sandbox.loadbalancer.labels import Settings, settings_of

Resolve = Callable[[str], str]

LEFT_OUT = frozenset(
    {
        "TASK_STAGING",
        "TASK_STARTING",
        "TASK_KILLING",
        "TASK_FINISHED",
        "TASK_FAILED",
        "TASK_KILLED",
        "TASK_ERROR",
        "TASK_DROPPED",
        "TASK_GONE",
        "TASK_GONE_BY_OPERATOR",
        "TASK_UNKNOWN",
    }
)
"""States whose tasks are not served; RUNNING, LOST and UNREACHABLE are."""


@dataclass(frozen=True)
class Server:
    """One port of one task."""

    host: str
    ip: str
    port: int
    draining: bool = False


@dataclass(frozen=True)
class Service:
    """One service port of an app. Two tasks under one name are two servers, as in marathon-lb."""

    app_id: str
    servers: tuple[Server, ...]
    groups: frozenset[str]
    health_check: Json | None
    settings: Settings

    @property
    def port(self) -> int:
        return self.settings.port

    @property
    def mode(self) -> str:
        given = self.settings.mode
        return given if given is not None else "http" if self.settings.hostname else "tcp"


class HealthMemory:
    """The last known health of tasks, for replies without ``healthCheckResults`` (marathon-lb: ``--health-check``)."""

    def __init__(self, capacity: int = 1000) -> None:
        self._capacity = capacity
        self._alive: dict[str, bool] = {}

    def alive(self, task: Json) -> bool:
        """Whether any result of this task is alive; without results, the last known health, else False."""
        known = self._alive.pop(task["id"], False)
        if "healthCheckResults" in task:
            known = any(result["alive"] for result in task["healthCheckResults"])
        self._alive[task["id"]] = known
        while len(self._alive) > self._capacity:
            del self._alive[next(iter(self._alive))]
        return known


def services_of(apps: Iterable[Json], *, resolve: Resolve, memory: HealthMemory | None = None) -> list[Service]:
    """The services that have a usable task, sorted by app id and port. It changes the apps, as ``merge_groups`` does.

    ``resolve`` gives a host's IP address, or "" if it has none. ``memory`` is given for ``--health-check``: only tasks
    with a live result are then served. Raises what ``merge_groups`` and ``settings_of`` raise.
    """
    found = [service for app in merge_groups(apps) for service in _services_of_app(app, resolve, memory)]
    return sorted(found, key=lambda service: (service.app_id, service.port))


def _services_of_app(app: Json, resolve: Resolve, memory: HealthMemory | None) -> list[Service]:
    ports = service_ports(app)
    servers: dict[int, list[Server]] = {port: [] for port in ports}
    for task in app["tasks"]:
        if not task["host"] or task.get("state") in LEFT_OUT:
            continue
        if memory is not None and app.get("healthChecks") and not memory.alive(task):
            continue
        ip, task_ports = task_address(app, task, resolve)
        if ip:
            # Revisions can differ in their number of ports. zip() stops at the shorter list.
            for service_port, port in zip(ports, task_ports, strict=False):
                servers[service_port].append(Server(task["host"], ip, port, task.get("draining", False)))
    # If an app names a service port twice, the last settings count. The first ones are read too.
    services = {port: _service(app, index, port, tuple(servers[port])) for index, port in enumerate(ports)}
    return [service for service in services.values() if service.servers]


def _service(app: Json, index: int, port: int, servers: tuple[Server, ...]) -> Service:
    check = health_check_of(app, index)
    settings = settings_of(app["labels"], index, port, "http" if check and check["protocol"] == "HTTP" else None)
    if check is None and settings.check_port_index is not None:
        check = health_check_of(app, settings.check_port_index)
        if check and check["protocol"] in ("HTTP", "HTTPS", "MESOS_HTTP", "MESOS_HTTPS"):
            settings.mode = "http"
    groups = settings.groups
    if groups is None:
        groups = frozenset(app["labels"]["HAPROXY_GROUP"].split(",") if "HAPROXY_GROUP" in app["labels"] else ())
    ordered = sorted(servers, key=lambda server: (server.host, server.port))
    return Service(app["id"], tuple(ordered), groups, check, settings)


def health_check_of(app: Json, index: int) -> Json | None:
    """The app's first health check with an explicit port, or with this port index."""
    checks: list[Json] = app.get("healthChecks", [])
    return next((check for check in checks if check.get("port") or check.get("portIndex") == index), None)


def network_mode(app: Json) -> str:
    """``host``, ``container/bridge`` or ``container`` (a separate address for each task); reads legacy forms too."""
    legacy = {"USER": "container", "BRIDGE": "container/bridge"}
    mode = "container" if app.get("ipAddress") else "host"
    mode = legacy.get(app.get("container", {}).get("docker", {}).get("network", ""), mode)
    for network in app.get("networks", []):
        mode = network.get("mode", "container")
    return mode


def port_mappings(app: Json) -> list[Json]:
    """The container's port mappings, in either of the two places."""
    container: Json = app.get("container", {})
    mappings: list[Json] = container.get("docker", {}).get("portMappings", []) or container.get("portMappings", [])
    return mappings


def service_ports(app: Json) -> list[int]:
    """The ports on the load balancer, one for each port of a task, by position."""
    if network_mode(app) != "host":
        mapped = [mapping["servicePort"] for mapping in port_mappings(app) if "servicePort" in mapping]
        if mapped:
            return mapped
    return definition_ports(app) if "portDefinitions" in app else list(app.get("ports", []))


def definition_ports(app: Json) -> list[int]:
    """The ports of the app's port definitions."""
    return [definition["port"] for definition in app.get("portDefinitions", []) if "port" in definition]


def task_address(app: Json, task: Json, resolve: Resolve) -> tuple[str, list[int]]:
    """The task's IP address ("" if it has none yet) and its ports by position."""
    mode = network_mode(app)
    container_ports = [mapping["containerPort"] for mapping in port_mappings(app) if "containerPort" in mapping]
    if mode == "container":
        addresses = task.get("ipAddresses", [])
        return (addresses[0].get("ipAddress", "") if addresses else ""), container_ports
    ports = task.get("ports", []) or definition_ports(app)
    return resolve(task["host"]), ports or (container_ports if mode == "container/bridge" else [])
