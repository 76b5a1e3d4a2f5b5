"""What is served: from Marathon's apps to services, ports with their servers (marathon-lb: ``get_apps``, utils.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from bgci.sandbox.loadbalancer.drain import Json, merge_groups

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
    """One service port of an app, with the settings that the labels ``HAPROXY_{n}_…`` give it."""

    app_id: str
    port: int
    servers: tuple[Server, ...]
    enabled: bool = True
    mode: str = "tcp"
    health_check: Json | None = None
    groups: frozenset[str] = frozenset()
    bind_addr: str | None = None
    balance: str = "roundrobin"
    vhosts: tuple[str, ...] = ()
    path: str | None = None
    weight: int = 0
    sticky: bool = False
    check_port_index: int | None = None
    templates: Mapping[str, str] | None = None


class HealthMemory:
    """The last known health of tasks, for replies without ``healthCheckResults`` (marathon-lb: ``--health-check``)."""

    def __init__(self, capacity: int = 1000) -> None:
        self._capacity = capacity
        self._alive: dict[str, bool] = {}

    def alive(self, task: Json) -> bool:
        """Whether any result of this task is alive; without results what was known, else False."""
        known = self._alive.pop(task["id"], False)
        if "healthCheckResults" in task:
            known = any(result["alive"] for result in task["healthCheckResults"])
        self._alive[task["id"]] = known
        while len(self._alive) > self._capacity:
            del self._alive[next(iter(self._alive))]
        return known


def services_of(apps: Iterable[Json], *, resolve: Resolve, memory: HealthMemory | None = None) -> list[Service]:
    """The services that have a usable task, sorted by app id and port.

    ``resolve`` gives a host's IP address, or "" if it has none. ``memory`` is given for ``--health-check``: only tasks
    with a live result are then served. Raises what ``merge_groups`` raises, and ValueError for labels like a port "x".
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
            # Revisions may differ in their number of ports: as many as both have.
            for service_port, port in zip(ports, task_ports, strict=False):
                servers[service_port].append(Server(task["host"], ip, port, task.get("draining", False)))
    # An app that names a service port twice has the settings of the last one there.
    index_of = {port: index for index, port in enumerate(ports)}
    services = (_service(app, index, port, tuple(servers[port])) for port, index in index_of.items())
    return [service for service in services if service.servers]


def _service(app: Json, index: int, port: int, servers: tuple[Server, ...]) -> Service:
    prefix = f"HAPROXY_{index}_"
    label = {key[len(prefix) :]: value for key, value in app["labels"].items() if key.startswith(prefix)}
    vhosts = tuple(filter(None, label.get("VHOST", "").lower().split(",")))
    check = health_check_of(app, index)
    mode = "http" if vhosts or (check and check["protocol"] == "HTTP") else "tcp"
    mode = label["MODE"].lower() if "MODE" in label else mode
    check_index = int(label["BACKEND_HEALTHCHECK_PORT_INDEX"]) if "BACKEND_HEALTHCHECK_PORT_INDEX" in label else None
    if check is None and check_index is not None:
        check = health_check_of(app, check_index)
        if check and check["protocol"] in ("HTTP", "HTTPS", "MESOS_HTTP", "MESOS_HTTPS"):
            mode = "http"
    groups = label.get("GROUP", app["labels"].get("HAPROXY_GROUP"))
    return Service(
        app_id=app["id"],
        port=int(label.get("PORT", port)),
        servers=tuple(sorted(servers, key=lambda server: (server.host, server.port))),
        enabled=is_true(label.get("ENABLED", "true")),
        mode=mode,
        health_check=check,
        groups=frozenset() if groups is None else frozenset(groups.split(",")),
        bind_addr=label.get("BIND_ADDR"),
        balance=label.get("BALANCE", "roundrobin"),
        vhosts=vhosts,
        path=label.get("PATH"),
        weight=int(label.get("BACKEND_WEIGHT", 0)) or int("PATH" in label),
        sticky=is_true(label.get("STICKY", "false")),
        check_port_index=check_index,
        templates={key: value.replace("\r\n", "\n") for key, value in label.items()},
    )


def is_true(text: str) -> bool:
    """A label's truth."""
    return text.lower() in ("true", "t", "yes", "y")


def health_check_of(app: Json, index: int) -> Json | None:
    """The app's first check that names a port of its own, or this port index."""
    checks: list[Json] = app.get("healthChecks", [])
    return next((check for check in checks if check.get("port") or check.get("portIndex") == index), None)


def network_mode(app: Json) -> str:
    """``host``, ``container/bridge`` or ``container`` (each task has an address of its own); legacy forms too."""
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
    """Where a task is reached: its IP address ("" if it has none yet) and its ports by position."""
    mode = network_mode(app)
    container_ports = [mapping["containerPort"] for mapping in port_mappings(app) if "containerPort" in mapping]
    if mode == "container":
        addresses = task.get("ipAddresses", [])
        return (addresses[0].get("ipAddress", "") if addresses else ""), container_ports
    ports = task.get("ports", []) or definition_ports(app)
    return resolve(task["host"]), ports or (container_ports if mode == "container/bridge" else [])
