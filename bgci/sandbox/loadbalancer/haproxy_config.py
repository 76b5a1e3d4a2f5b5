"""Renders the HAProxy configuration of the services (marathon-lb: ``config``, and the templates in config.py)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bgci.sandbox.loadbalancer.drain import Json
from bgci.sandbox.loadbalancer.labels import Settings
from bgci.sandbox.loadbalancer.services import Server, Service
from bgci.sandbox.loadbalancer.templates import ALLOW_DENY
from bgci.sandbox.loadbalancer.vhosts import Routes, safe

STATS_SOCKET = "haproxy.sock"
CONTROL_SOCKET = "control.sock"
STATE_FILE = "server-state"
LOG_SOCKET = "requests.sock"
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
  option            idle-close-on-response
"""
LOG_HEAD = f"""\
  log               unix@{LOG_SOCKET} local0
  option            dontlog-normal
"""
LOG_FORMAT = (
    '  log-format "%ci:%cp %b/%s %bi:%bp %si:%sp %TR/%Tw/%Tc/%Tr/%Ta %ST %B %tsc %ac/%fc/%bc/%sc/%rc %pid %{+Q}r"\n'
)
# Until 2.3, and so in marathon-lb's image, a replaced worker answers one more request on an idle connection. Later
# versions close the connection at once, which fails clients that reuse it at that moment (haproxy#1506). The last
# option prevents that.


@dataclass(frozen=True)
class Listen:
    """This replica's listening address and ports. An app's label can bind its service port elsewhere than ``address``.

    ``log_requests``: HAProxy logs each request that did not end normally."""

    address: str
    stats_port: int
    appid_port: int
    http_port: int | None = None
    https_port: int | None = None
    certificate: str = "cert.pem"
    log_requests: bool = False


def render(services: Iterable[Service], listen: Listen, groups: Iterable[str] = ("*",)) -> str:
    """The whole configuration for the services that one of the groups selects (``*``: all).

    Raises KeyError, ValueError or IndexError for a template that cannot be formatted."""
    wanted = frozenset(groups)
    everything = list(services)
    served = [s for s in everything if s.settings.enabled and ("*" in wanted or s.groups & wanted)]
    parts = [_userlist(service) for service in served]
    parts += [_vhosts(served, listen), _app_ids(served, listen), _vhosts_https(served, listen)]
    parts += [_frontend(service, listen) for service in served]
    for service in served:
        parts.append(_backend(service, [other for other in everything if other.app_id == service.app_id]))
    text = "".join(parts)
    return HEAD + LOG_HEAD * listen.log_requests + _stats(text, listen) + text


def bound(config: str) -> set[tuple[str, int]]:
    """The addresses and ports that a configuration binds."""
    return {(address, int(port)) for address, port in re.findall(r"^ +bind (\S+):(\d+)", config, re.MULTILINE)}


def backend_name(service: Service) -> str:
    """``/team/web`` on 10101 is ``team_web_10101``: the CSV's ``pxname``."""
    return f"{service.app_id[1:].replace('/', '_')}_{service.port}"


def server_name(server: Server) -> str:
    """The CSV's ``svname``."""
    parts = [server.ip] if server.host == server.ip else [server.host, server.ip]
    return safe("_".join([*parts, str(server.port)]))


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


def _stats(text: str, listen: Listen) -> str:
    """The statistics page and the endpoints. Our own process replaces marathon-lb's Lua; the CSV does not show it."""
    shown = ["stats", *re.findall(r"^(?:frontend|backend|listen) (\S+)", text, re.MULTILINE)]
    scopes = "".join(f"  stats scope {name}\n" for name in dict.fromkeys(shown))
    return f"""\
listen stats
  bind {listen.address}:{listen.stats_port}
  mode http
  stats enable
{scopes}  monitor-uri /_haproxy_health_check
  use_backend {CONTROL} if {{ path /_haproxy_getpids /_haproxy_getconfig /_mlb_signal/hup /_mlb_signal/usr1 }}

backend {CONTROL}
  mode http
  server control unix@{CONTROL_SOCKET}
"""


def _userlist(service: Service) -> str:
    _, user, password = service.settings.auth
    template = service.settings.template("USERLIST_HEAD")
    return template.format(backend=backend_name(service), user=user, passwd=password) if user else ""


def _vhosts(services: Sequence[Service], listen: Listen) -> str:
    if listen.http_port is None:
        return ""
    # Our port is not 80, so clients send it along in the Host header, which marathon-lb compares as a whole.
    head = (
        f"\nfrontend marathon_http_in\n  bind {listen.address}:{listen.http_port}\n  mode http\n"
        "  http-request set-header Host %[req.hdr(host),field(1,:)]\n"
    )
    return head + "".join(_routes(service, listen).http() for service in _heaviest_first(services))


def _vhosts_https(services: Sequence[Service], listen: Listen) -> str:
    if listen.https_port is None:
        return ""
    bind = f"{listen.address}:{listen.https_port} ssl crt {listen.certificate}"
    head = f"\nfrontend marathon_https_in\n  bind {bind}\n  mode http\n"
    return head + "".join(_routes(service, listen).https() for service in _heaviest_first(services))


def _heaviest_first(services: Sequence[Service]) -> list[Service]:
    hosted = [service for service in services if service.settings.hostname]
    return sorted(hosted, key=lambda service: service.settings.weight, reverse=True)


def _routes(service: Service, listen: Listen) -> Routes:
    return Routes(service, backend_name(service), _bind_addr(service, listen))


def _app_ids(services: Sequence[Service], listen: Listen) -> str:
    """Routing by ``X-Marathon-App-Id``: to the first HTTP port of an app; a blue/green pair is ``/<group>``."""
    first: dict[str, Service] = {}
    for service in services:
        if service.mode == "http":
            first.setdefault(service.app_id, service)
    rules = "".join(
        service.settings.template("HTTP_FRONTEND_APPID_ACL").format(
            cleanedUpAppId=safe(app_id),
            hostname=service.settings.hostname,
            appId=app_id,
            backend=backend_name(service),
        )
        for app_id, service in first.items()
    )
    return f"\nfrontend marathon_http_appid_in\n  bind {listen.address}:{listen.appid_port}\n  mode http\n{rules}"


def _bind_addr(service: Service, listen: Listen) -> str:
    given = service.settings.bind_addr
    return listen.address if given is None else given


def _frontend(service: Service, listen: Listen) -> str:
    name, settings = backend_name(service), service.settings
    head = settings.template("FRONTEND_HEAD").format(
        bindAddr=_bind_addr(service, listen),
        backend=name,
        servicePort=service.port,
        mode=service.mode,
        sslCert=f" ssl crt {settings.ssl_cert}" if settings.ssl_cert else "",
        bindOptions=f" {settings.bind_options}" if settings.bind_options else "",
    )
    log = LOG_FORMAT if listen.log_requests and service.mode == "http" else ""
    return head + log + settings.template("FRONTEND_BACKEND_GLUE").format(backend=name)


def _backend(service: Service, siblings: Sequence[Service]) -> str:
    """``siblings``: the app's services (this one too), sorted by port. The check can use a sibling's port."""
    settings = service.settings
    head = settings.template("BACKEND_HEAD")
    lines = [head.format(backend=backend_name(service), balance=settings.balance, mode=service.mode)]
    if service.mode == "http":
        lines += _http_options(settings)
    if settings.networks and service.mode in ALLOW_DENY:
        template = settings.template(f"{service.mode.upper()}_BACKEND_NETWORK_ALLOWED_ACL")
        lines += [template.format(network_allowed=network) for network in settings.networks.split()]
        lines.append(ALLOW_DENY[service.mode])
    if settings.sticky:
        lines.append(settings.template("BACKEND_STICKY_OPTIONS"))
    template = _check_template(service, "BACKEND_{}_HEALTHCHECK_OPTIONS")
    if template and service.health_check:
        lines.append(template.format(**_check_values(service.health_check, _checked_port(service, siblings, 0))))
    taken: set[int] = set()
    lines += [_server(service, siblings, index, taken) for index in range(len(service.servers))]
    return "".join(lines)


def _http_options(settings: Settings) -> list[str]:
    lines = [settings.template("BACKEND_HSTS_OPTIONS")] if settings.hsts else []
    lines.append(settings.template("BACKEND_HTTP_OPTIONS"))
    for value, name, template in (
        (settings.proxypath, "proxypath", "HTTP_BACKEND_PROXYPASS_GLUE"),
        (settings.rootpath, "rootpath", "HTTP_BACKEND_REVPROXY_GLUE"),
        (settings.redirpath, "redirpath", "HTTP_BACKEND_REDIR"),
    ):
        if value:
            lines.append(settings.template(template).format(**{"hostname": settings.hostname, name: value}))
    return lines


def _server(service: Service, siblings: Sequence[Service], index: int, taken: set[int]) -> str:
    server = service.servers[index]
    name = server_name(server)
    check = ""
    template = _check_template(service, "BACKEND_SERVER_{}_HEALTHCHECK_OPTIONS").strip()
    if template and service.health_check:
        port = service.health_check.get("port")
        port = port if service.settings.check_port_index is None else _checked_port(service, siblings, index)
        check = " " + template.format(**_check_values(service.health_check, port))
    cookie = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:10]
    return service.settings.template("BACKEND_SERVER_OPTIONS").format(
        serverName=name,
        host=server.host,
        host_ipv4=server.ip,
        port=server.port,
        serverId=server_id(name, taken),
        cookieOptions=f" check cookie {cookie}" if service.settings.sticky else "",
        healthCheckOptions=check,
        otherOptions=" disabled" if server.draining else "",
    )


def _check_template(service: Service, name: str) -> str:
    """The template for the kind of check; "" without one. In TCP mode even an HTTP check only connects."""
    if service.health_check is None:
        return ""
    if service.mode == "tcp" or service.health_check["protocol"] in ("TCP", "MESOS_TCP"):
        return service.settings.template(name.format("TCP"))
    return service.settings.template(name.format("HTTP")) if service.mode == "http" else ""


def _checked_port(service: Service, siblings: Sequence[Service], index: int) -> int:
    """The port where the server at this index is checked: its own port, or the port of the sibling named by a label."""
    checked = service.settings.check_port_index
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
