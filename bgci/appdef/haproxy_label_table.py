"""The table of all ``HAPROXY_*`` labels of marathon-lb (its config.py and marathon_lb.py, version 1.15).

One row states how marathon-lb reads one label. The checks, the generated configuration and docs/labels.md use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from string import Formatter


class LabelKind(Enum):
    """How marathon-lb reads the value of a label. The value is the text for docs/labels.md."""

    NUMBER = "whole number"
    FLAG = "true or false"
    GROUPS = "comma list of groups"
    HOSTS = "comma list of host names"
    PATHS = "blank-separated list of paths"
    NETWORKS = "blank-separated list of IPs and IP ranges"
    AUTH = "realm:user:encrypted password"
    MODE = "tcp or http"
    BALANCE = "HAProxy's balance algorithm"
    LINE = "text within one line"
    OPTIONS = "text at the end of a line"
    TEMPLATE = "HAProxy lines, formatted"
    FRAGMENT = "end of the server line, formatted"
    VERBATIM = "HAProxy lines, not formatted"
    DEPLOYMENT = "text, written by the deployment tool"
    UNREAD = "never read"


@dataclass(frozen=True)
class Label:
    """One label. ``HAPROXY_{n}_<name>`` if it is per port, else ``HAPROXY_<name>``.

    fields: the placeholders that marathon-lb always gives to ``str.format``, in every situation that uses the text.
    map_fields: the placeholders under ``--haproxy-map``, where they differ.
    """

    name: str
    kind: LabelKind
    meaning: str
    default: str = ""
    fields: tuple[str, ...] = ()
    map_fields: tuple[str, ...] | None = None
    per_port: bool = True

    def full_name(self, index: int | str = "{n}") -> str:
        """The key in the app's labels, for one index of a port."""
        return f"HAPROXY_{index}_{self.name}" if self.per_port else f"HAPROXY_{self.name}"


# Marathon's defaults of a health check, where an app leaves them out.
CHECK_DEFAULTS = {
    "protocol": "HTTP",
    "gracePeriodSeconds": 300,
    "intervalSeconds": 60,
    "timeoutSeconds": 20,
    "maxConsecutiveFailures": 3,
}
_CHECK_FIELDS = (
    *("healthCheck", "healthCheckPortIndex", "healthCheckPort", "healthCheckProtocol", "healthCheckPath"),
    *("healthCheckTimeoutSeconds", "healthCheckIntervalSeconds", "healthCheckGracePeriodSeconds"),
    *("healthCheckMaxConsecutiveFailures", "healthCheckFalls", "healthCheckPortOptions"),
)
_MAP = ("haproxy_dir",)

_ACL = "  acl host_{cleanedUpHostname} hdr(host) -i {hostname}\n"
_ACL_AUTH = "  acl auth_{cleanedUpHostname} http_auth(user_{backend})\n"
_ACL_PATH = "  acl path_{backend} path_beg {path}\n"
_ASK = '  http-request auth realm "{realm}" if host_{cleanedUpHostname} !auth_{cleanedUpHostname}\n'
_ASK_PATH = '  http-request auth realm "{realm}" if host_{cleanedUpHostname} path_{backend} !auth_{cleanedUpHostname}\n'
_USE = "  use_backend {backend} if host_{cleanedUpHostname}\n"
_USE_PATH = "  use_backend {backend} if host_{cleanedUpHostname} path_{backend}\n"
_SNI = "{{ ssl_fc_sni {hostname} }}"
_SERVER_CHECK = "  check inter {healthCheckIntervalSeconds}s fall {healthCheckFalls}{healthCheckPortOptions}\n"
_ALLOWED = "  acl network_allowed src {network_allowed}\n"


def _template(name: str, meaning: str, default: str, *more: str, map_fields: tuple[str, ...] | None = None) -> Label:
    """A template. Its fields are those of the default and ``more``."""
    own = [field for _, field, _, _ in Formatter().parse(default) if field]
    return Label(name, LabelKind.TEMPLATE, meaning, default, tuple(dict.fromkeys((*own, *more))), map_fields)


def _deployment(name: str, meaning: str) -> Label:
    return Label(name, LabelKind.DEPLOYMENT, meaning, per_port=False)


_VALUES = (
    Label("AUTH", LabelKind.AUTH, "HTTP basic authentication at the virtual host"),
    Label("VHOST", LabelKind.HOSTS, "The virtual hosts of this port on marathon-lb's ports 80 and 443"),
    Label("PATH", LabelKind.PATHS, "The beginnings of the path that a request to the virtual host needs"),
    Label("GROUP", LabelKind.GROUPS, "The load balancers that serve this port; takes precedence over HAPROXY_GROUP"),
    Label("STICKY", LabelKind.FLAG, "A cookie keeps each client on its server", "false"),
    Label("ENABLED", LabelKind.FLAG, "Serve this port (needed under --strict-mode)", "true"),
    Label("REDIRECT_TO_HTTPS", LabelKind.FLAG, "Redirect HTTP requests of the virtual host to HTTPS", "false"),
    Label("USE_HSTS", LabelKind.FLAG, "Add BACKEND_HSTS_OPTIONS in http mode", "false"),
    Label("SSL_CERT", LabelKind.OPTIONS, "The certificate of the service port, a path at the load balancer"),
    Label("BIND_OPTIONS", LabelKind.OPTIONS, "Further options of the bind line"),
    Label("BIND_ADDR", LabelKind.LINE, "The address to listen on", "*"),
    Label("PORT", LabelKind.NUMBER, "The port to listen on, in place of the service port (bgci writes it)"),
    Label("MODE", LabelKind.MODE, "HAProxy's mode", "http with a check of protocol HTTP or with a VHOST, else tcp"),
    Label("BALANCE", LabelKind.BALANCE, "The algorithm of load balancing", "roundrobin"),
    Label("HTTP_BACKEND_PROXYPASS_PATH", LabelKind.LINE, "The prefix to cut from the path (http mode)"),
    Label("HTTP_BACKEND_REVPROXY_PATH", LabelKind.LINE, "The path to write in Location headers (http mode)"),
    Label("HTTP_BACKEND_REDIR", LabelKind.LINE, "Where to redirect requests for / (http mode)"),
    Label("BACKEND_WEIGHT", LabelKind.NUMBER, "The order of virtual hosts: largest first", "1 with a PATH, else 0"),
    Label("BACKEND_NETWORK_ALLOWED_ACL", LabelKind.NETWORKS, "The networks that may connect", "everybody"),
    Label("BACKEND_HEALTHCHECK_PORT_INDEX", LabelKind.NUMBER, "The index of the port to check in place of this one"),
)

_PER_APP = (
    Label("GROUP", LabelKind.GROUPS, "The load balancers that serve the app", per_port=False),
    _deployment("DEPLOYMENT_GROUP", "The name that blue and green share"),
    _deployment("DEPLOYMENT_ALT_PORT", "The service ports of the second colour, a comma list"),
    _deployment("DEPLOYMENT_COLOUR", "blue or green"),
    _deployment("DEPLOYMENT_STARTED_AT", "The time at which the deployment started"),
    _deployment("DEPLOYMENT_TARGET_INSTANCES", "The wanted total of instances"),
    _deployment("DEPLOYMENT_NEW_INSTANCES", "Its presence lets marathon-lb swap the roles"),
    _deployment("APP_ID", "The id without a colour (read by zdd.py and bgci)"),
)

_TEMPLATES = (
    _template(
        "FRONTEND_HEAD", "The frontend of the service port",
        "\nfrontend {backend}\n  bind {bindAddr}:{servicePort}{sslCert}{bindOptions}\n  mode {mode}\n",
    ),
    _template("FRONTEND_BACKEND_GLUE", "Leads the frontend to the backend", "  use_backend {backend}\n"),
    _template("BACKEND_HEAD", "The head of the backend", "\nbackend {backend}\n  balance {balance}\n  mode {mode}\n"),
    _template("USERLIST_HEAD", "The user list of AUTH", "\nuserlist user_{backend}\n  user {user} password {passwd}\n"),
    Label(
        "BACKEND_HTTP_OPTIONS", LabelKind.VERBATIM, "Options of the backend in http mode",
        "  option forwardfor\n  http-request set-header X-Forwarded-Port %[dst_port]\n"
        "  http-request add-header X-Forwarded-Proto https if { ssl_fc }\n",
    ),
    Label(
        "BACKEND_HSTS_OPTIONS", LabelKind.VERBATIM, "The header of USE_HSTS",
        "  rspadd  Strict-Transport-Security:\\ max-age=15768000\n",
    ),
    Label(
        "BACKEND_STICKY_OPTIONS", LabelKind.VERBATIM, "The cookie of STICKY",
        "  cookie mesosphere_server_id insert indirect nocache\n",
    ),
    _template(
        "HTTP_BACKEND_PROXYPASS_GLUE", "Carries out HTTP_BACKEND_PROXYPASS_PATH",
        "  http-request set-header Host {hostname}\n" + r'  reqirep  "^([^ :]*)\ {proxypath}/?(.*)" "\1\ /\2"' + "\n",
    ),
    _template(
        "HTTP_BACKEND_REVPROXY_GLUE", "Carries out HTTP_BACKEND_REVPROXY_PATH",
        "  acl hdr_location res.hdr(Location) -m found\n"
        '  rspirep "^Location: (https?://{hostname}(:[0-9]+)?)?(/.*)" "Location:   {rootpath}" if hdr_location\n',
    ),
    _template("HTTP_BACKEND_NETWORK_ALLOWED_ACL", "Each allowed network, http mode", _ALLOWED),
    _template("TCP_BACKEND_NETWORK_ALLOWED_ACL", "Each allowed network, tcp mode", _ALLOWED),
    _template(
        "BACKEND_HTTP_HEALTHCHECK_OPTIONS", "The backend's check, HTTP",
        "  option  httpchk GET {healthCheckPath}\n  timeout check {healthCheckTimeoutSeconds}s\n", *_CHECK_FIELDS,
    ),
    _template("BACKEND_TCP_HEALTHCHECK_OPTIONS", "The backend's check, TCP or tcp mode", "", *_CHECK_FIELDS),
    _template(
        "BACKEND_SERVER_OPTIONS", "The line of each task",
        "  server {serverName} {host_ipv4}:{port} id {serverId}{cookieOptions}{healthCheckOptions}{otherOptions}\n",
        "host",
    ),
    Label(
        "BACKEND_SERVER_HTTP_HEALTHCHECK_OPTIONS", LabelKind.FRAGMENT, "{healthCheckOptions}, HTTP",
        _SERVER_CHECK, _CHECK_FIELDS,
    ),
    Label(
        "BACKEND_SERVER_TCP_HEALTHCHECK_OPTIONS", LabelKind.FRAGMENT, "{healthCheckOptions}, TCP or tcp mode",
        _SERVER_CHECK, _CHECK_FIELDS,
    ),
    _template(
        "HTTP_FRONTEND_APPID_ACL", "Routes by the header X-Marathon-App-Id on port 9091",
        "  acl app_{cleanedUpAppId} hdr(x-marathon-app-id) -i {appId}\n"
        "  use_backend {backend} if app_{cleanedUpAppId}\n", "hostname", map_fields=_MAP,
    ),
)  # fmt: skip

_REDIRECT = "  redirect scheme https code 301 if !{{ ssl_fc }} host_{cleanedUpHostname}"
_WHEN_SNI = "if " + _SNI
_ASK_SNI = '  http-request auth realm "{realm}" if ' + _SNI

_VHOST_TEMPLATES = (
    _template("BACKEND_REDIRECT_HTTP_TO_HTTPS", "REDIRECT_TO_HTTPS without a PATH", _REDIRECT + "\n", "bindAddr"),
    _template(
        "BACKEND_REDIRECT_HTTP_TO_HTTPS_WITH_PATH", "REDIRECT_TO_HTTPS with a PATH",
        _REDIRECT + " path_{backend}\n", "bindAddr",
    ),
    _template("HTTP_FRONTEND_ACL", "One VHOST on port 80", _ACL + _USE, map_fields=_MAP),
    _template("HTTP_FRONTEND_ACL_WITH_AUTH", "The same with AUTH", _ACL + _ACL_AUTH + _ASK + _USE, "appId"),
    _template("HTTP_FRONTEND_ACL_WITH_PATH", "The same with a PATH", _ACL + _ACL_PATH + _USE_PATH, "appId"),
    _template(
        "HTTP_FRONTEND_ACL_WITH_AUTH_AND_PATH", "The same with both",
        _ACL + _ACL_AUTH + _ACL_PATH + _ASK_PATH + _USE_PATH, "appId",
    ),
    _template("HTTP_FRONTEND_ACL_ONLY", "Each of several VHOSTs on port 80", _ACL, map_fields=_MAP),
    _template("HTTP_FRONTEND_ACL_ONLY_WITH_PATH", "The PATH of several VHOSTs", _ACL_PATH),
    _template(
        "HTTP_FRONTEND_ACL_ONLY_WITH_PATH_AND_AUTH", "The PATH of several VHOSTs with AUTH",
        _ACL_PATH + _ACL_AUTH, "hostname", "realm",
    ),
    _template("HTTP_FRONTEND_ROUTING_ONLY", "Leads several VHOSTs to the backend", _USE),
    _template("HTTP_FRONTEND_ROUTING_ONLY_WITH_AUTH", "The same with AUTH", _ACL_AUTH + _ASK + _USE),
    _template("HTTP_FRONTEND_ROUTING_ONLY_WITH_PATH", "The same with a PATH", _USE_PATH),
    _template("HTTP_FRONTEND_ROUTING_ONLY_WITH_PATH_AND_AUTH", "The same with both", _ASK_PATH + _USE_PATH),
    _template(
        "HTTPS_FRONTEND_ACL", "Each VHOST on port 443",
        f"  use_backend {{backend}} {_WHEN_SNI}\n",
        "cleanedUpHostname", "appId", map_fields=("hostname", "haproxy_dir"),
    ),
    _template(
        "HTTPS_FRONTEND_ACL_WITH_AUTH", "The same with AUTH",
        f"{_ACL_AUTH}{_ASK_SNI} !auth_{{cleanedUpHostname}}\n  use_backend {{backend}} {_WHEN_SNI}\n", "appId",
    ),
    _template(
        "HTTPS_FRONTEND_ACL_WITH_PATH", "The same with a PATH",
        f"  use_backend {{backend}} {_WHEN_SNI} path_{{backend}}\n", "cleanedUpHostname", "appId",
    ),
    _template(
        "HTTPS_FRONTEND_ACL_WITH_AUTH_AND_PATH", "The same with both",
        f"{_ACL_AUTH}{_ASK_SNI} path_{{backend}} !auth_{{cleanedUpHostname}}\n"
        f"  use_backend {{backend}} {_WHEN_SNI} path_{{backend}}\n", "appId",
    ),
    _template("HTTPS_FRONTEND_ACL_ONLY_WITH_PATH", "The PATH on port 443", _ACL_PATH),
)  # fmt: skip

_UNREAD = tuple(
    Label(f"MAP_{name}", LabelKind.UNREAD, "marathon-lb accepts the label and never reads it")
    for name in ("HTTP_FRONTEND_ACL", "HTTP_FRONTEND_ACL_ONLY", "HTTP_FRONTEND_APPID_ACL", "HTTPS_FRONTEND_ACL")
)

LABELS: tuple[Label, ...] = (*_PER_APP, *_VALUES, *_TEMPLATES, *_VHOST_TEMPLATES, *_UNREAD)
PER_PORT = {label.name: label for label in LABELS if label.per_port}
PER_APP = {label.full_name(): label for label in LABELS if not label.per_port}

TEXTS_WITH_LINES = (LabelKind.TEMPLATE, LabelKind.FRAGMENT, LabelKind.VERBATIM, LabelKind.UNREAD)
"""The kinds whose text may hold several lines."""
