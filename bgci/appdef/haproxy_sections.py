"""Marathon-lb's part of HAProxy's configuration for one app, with the app's labels applied. Pure.

It has two tasks of the app, of which one is drained, at addresses that do not exist (192.0.2.0/24). The lines
for the shared frontends (virtual hosts, app ids) are in separate frontends here, so that ``haproxy -c`` can check
them. Without ``--haproxy-map`` and ``--group-https-by-vhost``. The labels have to be free of findings that freeze.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bgci.appdef.app_definition import as_int, as_list, as_mapping, group, labels, service_ports
from bgci.appdef.haproxy_label_table import CHECK_DEFAULTS, PER_PORT, LabelKind
from bgci.appdef.haproxy_labels import port_label
from bgci.appdef.haproxy_values import as_number, is_true

_HOSTS = ("192.0.2.1", "192.0.2.2")
_FIRST_PORT = 31000
_SHARED = "\nfrontend {name}\n  bind 127.0.0.1:{port}\n  mode http\n"


@dataclass(frozen=True)
class Sections:
    """The app's part of the configuration. ``names``: the frontends, backends and user lists in ``text``."""

    names: frozenset[str]
    text: str


def haproxy_sections(definition: Mapping[str, Any]) -> Sections:
    """The sections of each port that the labels enable."""
    siblings = balanced_ports(definition)
    ports = [port for port in siblings if port.enabled]
    first_http = next((port for port in ports if port.mode == "http"), None)
    hosts = [port for port in ports if port.text("VHOST")]
    parts = [port.format("USERLIST_HEAD", user=port.auth[1], passwd=port.auth[2]) for port in ports if port.auth[1]]
    if hosts:
        parts += [_SHARED.format(name="bgci_check_http_in", port=80), *(_http_routes(port) for port in hosts)]
    if first_http:
        parts += [_SHARED.format(name="bgci_check_http_appid_in", port=9091), _app_id_route(first_http)]
    if hosts:
        parts += [_SHARED.format(name="bgci_check_https_in", port=443), *(_https_routes(port) for port in hosts)]
    parts += ["".join(_frontend(port)) for port in ports]
    parts += ["".join(_backend(port, siblings)) for port in ports]
    names = {name for port in ports for name in (port.backend, f"user_{port.backend}")}
    return Sections(frozenset(names), "".join(parts))


def balanced_ports(definition: Mapping[str, Any]) -> list[BalancedPort]:
    """The app's ports with a service port, in the order of the ports that the load balancer listens on."""
    own = (BalancedPort(definition, index, port) for index, port in enumerate(service_ports(definition)) if port)
    return sorted(own, key=lambda port: port.number)


class BalancedPort:
    """One port of the app, as marathon-lb's MarathonService holds it."""

    def __init__(self, definition: Mapping[str, Any], index: int, service_port: int) -> None:
        self._labels, self.index = labels(definition), index
        self.number = as_number(self.text("PORT", str(service_port))) or service_port
        self.app_id = "/" + group(definition).removeprefix("/")
        self.backend = f"{self.app_id[1:].replace('/', '_')}_{self.number}"
        self.task_port = _FIRST_PORT + index
        parts = self.text("AUTH").split(":")
        self.auth = (parts[0], parts[1], parts[2]) if len(parts) == 3 else ("", "", "")
        self.checked_index = as_number(self.text("BACKEND_HEALTHCHECK_PORT_INDEX"))
        self.check = _health_check(definition, index)
        self.mode = self._mode()
        if self.check is None and self.checked_index is not None:
            self.check = _health_check(definition, self.checked_index)
            if self.check and "HTTP" in self.check["protocol"]:
                self.mode = "http"

    def _mode(self) -> str:
        implied = "http" if self.text("VHOST") or (self.check and self.check["protocol"] == "HTTP") else "tcp"
        return self.text("MODE", implied).lower()

    def text(self, name: str, default: str = "") -> str:
        """A label's text, or the default without it."""
        value = port_label(self._labels, self.index, name)
        return default if value is None else value

    def flag(self, name: str, default: bool = False) -> bool:
        return is_true(self.text(name, str(default)))

    def template(self, name: str) -> str:
        """The label in place of marathon-lb's own template, or that one."""
        row = PER_PORT[name]
        text = self.text(name, row.default).replace("\r\n", "\n")
        return f" {text.strip()}" if row.kind is LabelKind.FRAGMENT and text.strip() else text

    def format(self, name: str, **values: object) -> str:
        """The template with its placeholders replaced."""
        return self.template(name).format(backend=self.backend, **values)

    @property
    def enabled(self) -> bool:
        """Whether marathon-lb serves the port (without ``--strict-mode``)."""
        return self.flag("ENABLED", True)

    @property
    def tcp_check(self) -> bool:
        """Whether HAProxy checks by a connection alone."""
        return self.mode == "tcp" or (self.check is not None and self.check["protocol"] in ("TCP", "MESOS_TCP"))


def _health_check(definition: Mapping[str, Any], index: int) -> dict[str, Any] | None:
    """The first check with its own port, or with this index (marathon_lb.py: get_health_check)."""
    for raw in as_list(definition.get("healthChecks")):
        check = {**CHECK_DEFAULTS, **as_mapping(raw)}
        if check["protocol"] != "COMMAND" and (check.get("port") or as_int(check.get("portIndex", 0)) == index):
            return check
    return None


def _safe(text: str) -> str:
    return re.sub(r"[^a-zA-Z0-9\-]", "_", text)


def _frontend(port: BalancedPort) -> Iterator[str]:
    certificate, options = port.text("SSL_CERT"), port.text("BIND_OPTIONS")
    yield port.format(
        "FRONTEND_HEAD",
        bindAddr=port.text("BIND_ADDR", "*"),
        servicePort=port.number,
        mode=port.mode,
        sslCert=f" ssl crt {certificate}" if certificate else "",
        bindOptions=f" {options}" if options else "",
    )
    yield port.format("FRONTEND_BACKEND_GLUE")


def _backend(port: BalancedPort, siblings: list[BalancedPort]) -> Iterator[str]:
    yield port.format("BACKEND_HEAD", balance=port.text("BALANCE", "roundrobin"), mode=port.mode)
    if port.mode == "http":
        yield from _http_options(port)
    networks = port.text("BACKEND_NETWORK_ALLOWED_ACL")
    if networks and port.mode in ("http", "tcp"):
        for network in networks.split():
            yield port.format(f"{port.mode.upper()}_BACKEND_NETWORK_ALLOWED_ACL", network_allowed=network)
        yield {
            "http": "  http-request allow if network_allowed\n  http-request deny\n",
            "tcp": "  tcp-request content accept if network_allowed\n  tcp-request content reject\n",
        }[port.mode]
    if port.flag("STICKY"):
        yield port.template("BACKEND_STICKY_OPTIONS")
    kind = "TCP" if port.tcp_check else "HTTP"
    check_port = _checked_port(port, siblings)
    if port.check and port.mode in ("http", "tcp"):
        yield port.format(f"BACKEND_{kind}_HEALTHCHECK_OPTIONS", **_check_values(port.check, check_port))
    options = ""
    if port.check and (kind == "TCP" or port.mode == "http"):
        own = port.check.get("port") if port.checked_index is None else check_port
        options = port.format(f"BACKEND_SERVER_{kind}_HEALTHCHECK_OPTIONS", **_check_values(port.check, own))
    for number, host in enumerate(_HOSTS):
        yield _server(port, host, number, options)


def _http_options(port: BalancedPort) -> Iterator[str]:
    if port.flag("USE_HSTS"):
        yield port.template("BACKEND_HSTS_OPTIONS")
    yield port.template("BACKEND_HTTP_OPTIONS")
    host = port.text("VHOST").lower() if port.text("VHOST") else None
    if path := port.text("HTTP_BACKEND_PROXYPASS_PATH"):
        yield port.format("HTTP_BACKEND_PROXYPASS_GLUE", hostname=host, proxypath=path)
    if path := port.text("HTTP_BACKEND_REVPROXY_PATH"):
        yield port.format("HTTP_BACKEND_REVPROXY_GLUE", hostname=host, rootpath=path)
    if path := port.text("HTTP_BACKEND_REDIR"):
        yield f"  acl is_root path -i /\n  acl is_domain hdr(host) -i {host}\n"
        yield f"  redirect code 301 location {path} if is_domain is_root\n"


def _server(port: BalancedPort, host: str, number: int, check_options: str) -> str:
    name = _safe(f"{host}_{port.task_port}")
    cookie = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:10]
    return port.format(
        "BACKEND_SERVER_OPTIONS",
        host=host,
        host_ipv4=host,
        port=port.task_port,
        serverName=name,
        serverId=number + 1,
        cookieOptions=f" check cookie {cookie}" if port.flag("STICKY") else "",
        healthCheckOptions=check_options,
        otherOptions=" disabled" if number == 0 else "",
    )


def _checked_port(port: BalancedPort, siblings: list[BalancedPort]) -> int:
    """The task's port to check. marathon-lb counts the app's ports in the order of their numbers."""
    if port.checked_index is None or not 0 <= port.checked_index < len(siblings):
        return port.task_port
    return siblings[port.checked_index].task_port


def _check_values(check: Mapping[str, Any], port: int | None) -> dict[str, object]:
    own = {f"healthCheck{name[0].upper()}{name[1:]}": check[name] for name in CHECK_DEFAULTS}
    return {
        **own,
        "healthCheck": check,
        "healthCheckPortIndex": check.get("portIndex"),
        "healthCheckPort": port,
        "healthCheckPath": check.get("path", "/"),
        "healthCheckFalls": as_int(check["maxConsecutiveFailures"]) + 1,
        "healthCheckPortOptions": f" port {port}" if port else "",
    }


# -- the shared frontends -------------------------------------------------------------------------------------------


def _app_id_route(port: BalancedPort) -> str:
    values = {"cleanedUpAppId": _safe(port.app_id), "hostname": port.text("VHOST").lower() or None}
    return port.format("HTTP_FRONTEND_APPID_ACL", appId=port.app_id, **values)


def _route_values(port: BalancedPort, host: str) -> dict[str, object]:
    """Every placeholder of the virtual hosts' templates; marathon-lb gives each template some of them."""
    first = port.text("VHOST").lower().split(",")[0]
    return {
        "cleanedUpHostname": f"{_safe(first)}_{port.app_id[1:].replace('/', '_')}",
        "hostname": host,
        "path": port.text("PATH"),
        "realm": port.auth[0],
        "appId": port.app_id,
        "bindAddr": port.text("BIND_ADDR", "*"),
    }


def _suffix(port: BalancedPort) -> str:
    """``_WITH_AUTH``, ``_WITH_PATH``, ``_WITH_AUTH_AND_PATH`` or nothing."""
    needed = [name for name, wanted in (("AUTH", port.auth[0]), ("PATH", port.text("PATH"))) if wanted]
    return f"_WITH_{'_AND_'.join(needed)}" if needed else ""


def _http_routes(port: BalancedPort) -> str:
    hosts = port.text("VHOST").lower().split(",")
    values, path, redirect = _route_values(port, hosts[0]), port.text("PATH"), port.flag("REDIRECT_TO_HTTPS")
    if len(hosts) == 1 and not redirect:
        return port.format(f"HTTP_FRONTEND_ACL{_suffix(port)}", **values)
    if len(hosts) == 1:
        routes = ["HTTP_FRONTEND_ACL_ONLY", "HTTP_FRONTEND_ACL_ONLY_WITH_PATH"] if path else ["HTTP_FRONTEND_ACL"]
        text = "".join(port.format(name, **values) for name in routes)
    else:
        both = path and port.auth[0]
        text = port.format(f"HTTP_FRONTEND_ACL_ONLY_WITH_PATH{'_AND_AUTH' if both else ''}", **values) if path else ""
        text += "".join(port.format("HTTP_FRONTEND_ACL_ONLY", **{**values, "hostname": host}) for host in hosts)
    if redirect:
        name = f"BACKEND_REDIRECT_HTTP_TO_HTTPS{'_WITH_PATH' if path else ''}"
    else:
        name = f"HTTP_FRONTEND_ROUTING_ONLY{_suffix(port).replace('AUTH_AND_PATH', 'PATH_AND_AUTH')}"
    return text + port.format(name, **values)


def _https_routes(port: BalancedPort) -> str:
    hosts = port.text("VHOST").lower().split(",")
    values = _route_values(port, hosts[0])
    text = port.format("HTTPS_FRONTEND_ACL_ONLY_WITH_PATH", **values) if port.text("PATH") else ""
    for host in hosts:
        text += port.format(f"HTTPS_FRONTEND_ACL{_suffix(port)}", **{**values, "hostname": host})
    return text
