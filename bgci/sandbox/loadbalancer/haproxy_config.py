"""The HAProxy configuration: services in, text out (marathon-lb: ``config``, and the templates in config.py)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bgci.sandbox.loadbalancer.drain import Json
from bgci.sandbox.loadbalancer.services import Server, Service

STATS_SOCKET = "haproxy.sock"
CONTROL_SOCKET = "control.sock"
STATE_FILE = "server-state"
CONTROL = "bgci_control"
MAX_SERVER_ID = 32767

HEAD = f"""\
global
  spread-checks 5
  max-spread-checks 15000
  maxconn 2000
  no strict-limits
  nbthread 2
  stats socket unix@{STATS_SOCKET} mode 600 expose-fd listeners
  server-state-base .
  server-state-file {STATE_FILE}
defaults
  load-server-state-from-file global
  retries                   3
  backlog               10000
  maxconn                2000
  timeout connect          3s
  timeout client         120s
  timeout server         120s
  timeout tunnel        3600s
  timeout http-keep-alive  1s
  timeout http-request    15s
  timeout queue           30s
  timeout tarpit          60s
  option            dontlognull
  option            http-server-close
  option            redispatch
"""

# Until 2.3, and so in marathon-lb's image, a worker that is replaced answers one more request on an idle connection.
# Later ones cut it at once, which fails clients that reuse it at that moment (haproxy#1506), unless told otherwise.
KEEP_IDLE = "  option idle-close-on-response\n"

# What an app may replace by a label ``HAPROXY_{n}_<name>``; the placeholders are marathon-lb's.
TEMPLATES = {
    "FRONTEND_HEAD": "\nfrontend {backend}\n  bind {bindAddr}:{servicePort}\n  mode {mode}\n",
    "FRONTEND_BACKEND_GLUE": "  use_backend {backend}\n",
    "BACKEND_HEAD": "\nbackend {backend}\n  balance {balance}\n  mode {mode}\n",
    "BACKEND_HTTP_OPTIONS": (
        "  option forwardfor\n"
        "  http-request set-header X-Forwarded-Port %[dst_port]\n"
        "  http-request add-header X-Forwarded-Proto https if { ssl_fc }\n"
    ),
    "BACKEND_HTTP_HEALTHCHECK_OPTIONS": (
        "  option  httpchk GET {healthCheckPath}\n  timeout check {healthCheckTimeoutSeconds}s\n"
    ),
    "BACKEND_TCP_HEALTHCHECK_OPTIONS": "",
    "BACKEND_STICKY_OPTIONS": "  cookie mesosphere_server_id insert indirect nocache\n",
    "BACKEND_SERVER_OPTIONS": (
        "  server {serverName} {host_ipv4}:{port} id {serverId}{cookieOptions}{healthCheckOptions}{otherOptions}\n"
    ),
    "BACKEND_SERVER_HTTP_HEALTHCHECK_OPTIONS": (
        "check inter {healthCheckIntervalSeconds}s fall {healthCheckFalls}{healthCheckPortOptions}"
    ),
    "BACKEND_SERVER_TCP_HEALTHCHECK_OPTIONS": (
        "check inter {healthCheckIntervalSeconds}s fall {healthCheckFalls}{healthCheckPortOptions}"
    ),
}


@dataclass(frozen=True)
class Listen:
    """Where this replica listens: service ports too are bound on ``address``, unless an app's label says otherwise."""

    address: str
    stats_port: int
    appid_port: int
    http_port: int | None = None


def render(services: Iterable[Service], listen: Listen, groups: Iterable[str] = ("*",)) -> str:
    """The whole configuration for the services that one of the groups selects (``*``: all)."""
    wanted = frozenset(groups)
    siblings: dict[str, list[Service]] = {}
    served = []
    for service in services:
        siblings.setdefault(service.app_id, []).append(service)
        if service.enabled and ("*" in wanted or service.groups & wanted):
            served.append(service)
    parts = [HEAD, _stats(served, listen), _vhosts(served, listen), _app_ids(served, listen)]
    parts += [_frontend(service, listen) for service in served]
    parts += [_backend(service, siblings[service.app_id]) for service in served]
    return "".join(parts)


def bound(config: str) -> set[tuple[str, int]]:
    """The addresses and ports that a configuration binds."""
    return {(address, int(port)) for address, port in re.findall(r"^ +bind (\S+):(\d+)", config, re.MULTILINE)}


def backend_name(service: Service) -> str:
    """``/team/web`` on 10101 is ``team_web_10101``: the CSV's ``pxname``."""
    return f"{service.app_id[1:].replace('/', '_')}_{service.port}"


def server_name(server: Server) -> str:
    """The CSV's ``svname``."""
    parts = [server.ip] if server.host == server.ip else [server.host, server.ip]
    return _safe("_".join([*parts, str(server.port)]))


def server_id(name: str, taken: set[int]) -> int:
    """An id that stays the same over reloads, so that HAProxy keeps the server's state; it is added to ``taken``.

    SHA-256 modulo 32767, hashed on after a collision or a 0 (marathon-lb: ``calculate_server_id``).
    """
    while True:
        digest = hashlib.sha256(name.encode()).hexdigest()
        number = int(digest, 16) % MAX_SERVER_ID
        if number and number not in taken:
            taken.add(number)
            return number
        name = f"{name} {digest}"


def _safe(text: str) -> str:
    return re.sub(r"[^a-zA-Z0-9\-]", "_", text)


def _template(service: Service, name: str) -> str:
    return (service.templates or {}).get(name, TEMPLATES[name])


def _stats(services: Sequence[Service], listen: Listen) -> str:
    """The page and the endpoints. Our own process answers what Lua does in marathon-lb; the CSV does not show it."""
    shown = ["stats", "marathon_http_appid_in", "marathon_http_in", *(backend_name(service) for service in services)]
    scopes = "".join(f"  stats scope {name}\n" for name in dict.fromkeys(shown))
    return f"""\
listen stats
  bind {listen.address}:{listen.stats_port}
  mode http
{KEEP_IDLE}  stats enable
{scopes}  monitor-uri /_haproxy_health_check
  use_backend {CONTROL} if {{ path /_haproxy_getpids /_haproxy_getconfig /_mlb_signal/hup /_mlb_signal/usr1 }}

backend {CONTROL}
  mode http
  server control unix@{CONTROL_SOCKET}
"""


def _vhosts(services: Sequence[Service], listen: Listen) -> str:
    if listen.http_port is None:
        return ""
    rules = [f"\nfrontend marathon_http_in\n  bind {listen.address}:{listen.http_port}\n  mode http\n{KEEP_IDLE}"]
    for service in sorted(services, key=lambda service: service.weight, reverse=True):
        if not service.vhosts:
            continue
        name = backend_name(service)
        # Our port is not 80, so clients send it along in the Host header.
        rules += [f"  acl host_{name} hdr(host),field(1,:) -i {host}\n" for host in service.vhosts]
        rules += [f"  acl path_{name} path_beg {service.path}\n"] if service.path else []
        rules.append(f"  use_backend {name} if host_{name}{f' path_{name}' if service.path else ''}\n")
    return "".join(rules)


def _app_ids(services: Sequence[Service], listen: Listen) -> str:
    """Routing by ``X-Marathon-App-Id``: to the first HTTP port of an app; a blue/green pair is ``/<group>``."""
    first: dict[str, Service] = {}
    for service in services:
        if service.mode == "http":
            first.setdefault(service.app_id, service)
    rules = "".join(
        f"  acl app_{_safe(app_id)} hdr(x-marathon-app-id) -i {app_id}\n"
        f"  use_backend {backend_name(service)} if app_{_safe(app_id)}\n"
        for app_id, service in first.items()
    )
    head = f"\nfrontend marathon_http_appid_in\n  bind {listen.address}:{listen.appid_port}\n  mode http\n{KEEP_IDLE}"
    return head + rules


def _frontend(service: Service, listen: Listen) -> str:
    name = backend_name(service)
    bind = service.bind_addr or listen.address
    head = _template(service, "FRONTEND_HEAD").format(
        backend=name, bindAddr=bind, servicePort=service.port, mode=service.mode, sslCert="", bindOptions=""
    )
    head += KEEP_IDLE if service.mode == "http" else ""
    return head + _template(service, "FRONTEND_BACKEND_GLUE").format(backend=name)


def _backend(service: Service, siblings: Sequence[Service]) -> str:
    """``siblings`` are the app's services (this one too), sorted by port: one of them may be checked for this one."""
    head = _template(service, "BACKEND_HEAD")
    lines = [head.format(backend=backend_name(service), balance=service.balance, mode=service.mode)]
    if service.mode == "http":
        lines.append(_template(service, "BACKEND_HTTP_OPTIONS"))
    if service.sticky:
        lines.append(_template(service, "BACKEND_STICKY_OPTIONS"))
    template = _check_template(service, "BACKEND_{}_HEALTHCHECK_OPTIONS")
    if template and service.health_check:
        lines.append(template.format(**_check_values(service.health_check, _checked_port(service, siblings, 0))))
    taken: set[int] = set()
    lines += [_server(service, siblings, index, taken) for index in range(len(service.servers))]
    return "".join(lines)


def _server(service: Service, siblings: Sequence[Service], index: int, taken: set[int]) -> str:
    server = service.servers[index]
    name = server_name(server)
    check = ""
    template = _check_template(service, "BACKEND_SERVER_{}_HEALTHCHECK_OPTIONS").strip()
    if template and service.health_check:
        port = service.health_check.get("port")
        port = port if service.check_port_index is None else _checked_port(service, siblings, index)
        check = " " + template.format(**_check_values(service.health_check, port))
    cookie = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:10]
    return _template(service, "BACKEND_SERVER_OPTIONS").format(
        serverName=name,
        host=server.host,
        host_ipv4=server.ip,
        port=server.port,
        serverId=server_id(name, taken),
        cookieOptions=f" check cookie {cookie}" if service.sticky else "",
        healthCheckOptions=check,
        otherOptions=" disabled" if server.draining else "",
    )


def _check_template(service: Service, name: str) -> str:
    """The template for the kind of check; "" without one. In TCP mode even an HTTP check is a mere connect."""
    if service.health_check is None:
        return ""
    if service.mode == "tcp" or service.health_check["protocol"] in ("TCP", "MESOS_TCP"):
        return _template(service, name.format("TCP"))
    return _template(service, name.format("HTTP")) if service.mode == "http" else ""


def _checked_port(service: Service, siblings: Sequence[Service], index: int) -> int:
    """The port where the server at this index is checked: its own, or that of the sibling that a label names."""
    checked = service.check_port_index
    if checked is None or abs(checked) > len(siblings):
        return service.servers[index].port
    return siblings[checked].servers[index].port


def _check_values(check: Json, port: int | None) -> Json:
    return {
        "healthCheck": check,
        "healthCheckPortIndex": check.get("portIndex"),
        "healthCheckPort": port,
        "healthCheckProtocol": check["protocol"],
        "healthCheckPath": check.get("path", "/"),
        "healthCheckTimeoutSeconds": check["timeoutSeconds"],
        "healthCheckIntervalSeconds": check["intervalSeconds"],
        "healthCheckGracePeriodSeconds": check["gracePeriodSeconds"],
        "healthCheckMaxConsecutiveFailures": check["maxConsecutiveFailures"],
        "healthCheckFalls": check["maxConsecutiveFailures"] + 1,
        "healthCheckPortOptions": f" port {port}" if port else "",
    }
