"""The templates of the configuration, and the app's own ones (marathon-lb: config.py).

An app replaces a template by the label ``HAPROXY_{n}_<name>``. The placeholders are marathon-lb's."""

from __future__ import annotations

from collections.abc import Mapping

_HOST = "  acl host_{cleanedUpHostname} hdr(host) -i {hostname}\n"
_PATH = "  acl path_{backend} path_beg {path}\n"
_USER = "  acl auth_{cleanedUpHostname} http_auth(user_{backend})\n"
_SNI = "{{ ssl_fc_sni {hostname} }}"
_BY_HOST = "host_{cleanedUpHostname}"
_BY_HOST_AND_PATH = "host_{cleanedUpHostname} path_{backend}"
_BY_SNI_AND_PATH = f"{_SNI} path_{{backend}}"


def _use(condition: str) -> str:
    return f"  use_backend {{backend}} if {condition}\n"


def _ask(condition: str) -> str:
    return f'  http-request auth realm "{{realm}}" if {condition} !auth_{{cleanedUpHostname}}\n'


_REDIRECT = "  redirect scheme https code 301 if !{{ ssl_fc }} "
_CHECK = "check inter {healthCheckIntervalSeconds}s fall {healthCheckFalls}{healthCheckPortOptions}"
_ALLOWED = "  acl network_allowed src {network_allowed}\n"

ALLOW_DENY = {
    "http": "  http-request allow if network_allowed\n  http-request deny\n",
    "tcp": "  tcp-request content accept if network_allowed\n  tcp-request content reject\n",
}
"""What follows the networks that a backend allows, by mode."""

TEMPLATES: Mapping[str, str] = {
    "USERLIST_HEAD": "\nuserlist user_{backend}\n  user {user} password {passwd}\n",
    "FRONTEND_HEAD": "\nfrontend {backend}\n  bind {bindAddr}:{servicePort}{sslCert}{bindOptions}\n  mode {mode}\n",
    "FRONTEND_BACKEND_GLUE": "  use_backend {backend}\n",
    "HTTP_FRONTEND_ACL": _HOST + _use(_BY_HOST),
    "HTTP_FRONTEND_ACL_ONLY": _HOST,
    "HTTP_FRONTEND_ACL_WITH_AUTH": _HOST + _USER + _ask(_BY_HOST) + _use(_BY_HOST),
    "HTTP_FRONTEND_ACL_WITH_PATH": _HOST + _PATH + _use(_BY_HOST_AND_PATH),
    "HTTP_FRONTEND_ACL_WITH_AUTH_AND_PATH": (_HOST + _USER + _PATH + _ask(_BY_HOST_AND_PATH) + _use(_BY_HOST_AND_PATH)),
    "HTTP_FRONTEND_ACL_ONLY_WITH_PATH": _PATH,
    "HTTP_FRONTEND_ACL_ONLY_WITH_PATH_AND_AUTH": _PATH + _USER,
    "HTTP_FRONTEND_ROUTING_ONLY": _use(_BY_HOST),
    "HTTP_FRONTEND_ROUTING_ONLY_WITH_AUTH": _USER + _ask(_BY_HOST) + _use(_BY_HOST),
    "HTTP_FRONTEND_ROUTING_ONLY_WITH_PATH": _use(_BY_HOST_AND_PATH),
    "HTTP_FRONTEND_ROUTING_ONLY_WITH_PATH_AND_AUTH": _ask(_BY_HOST_AND_PATH) + _use(_BY_HOST_AND_PATH),
    "HTTP_FRONTEND_APPID_ACL": (
        "  acl app_{cleanedUpAppId} hdr(x-marathon-app-id) -i {appId}\n" + _use("app_{cleanedUpAppId}")
    ),
    "HTTPS_FRONTEND_ACL": _use(_SNI),
    "HTTPS_FRONTEND_ACL_WITH_AUTH": _USER + _ask(_SNI) + _use(_SNI),
    "HTTPS_FRONTEND_ACL_WITH_PATH": _use(_BY_SNI_AND_PATH),
    "HTTPS_FRONTEND_ACL_WITH_AUTH_AND_PATH": _USER + _ask(_BY_SNI_AND_PATH) + _use(_BY_SNI_AND_PATH),
    "HTTPS_FRONTEND_ACL_ONLY_WITH_PATH": _PATH,
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
    "BACKEND_SERVER_HTTP_HEALTHCHECK_OPTIONS": _CHECK,
    "BACKEND_SERVER_TCP_HEALTHCHECK_OPTIONS": _CHECK,
    "BACKEND_REDIRECT_HTTP_TO_HTTPS": f"{_REDIRECT}{_BY_HOST}\n",
    "BACKEND_REDIRECT_HTTP_TO_HTTPS_WITH_PATH": f"{_REDIRECT}{_BY_HOST_AND_PATH}\n",
    # HAProxy 2.1 and later refuse rspadd, rspirep and reqirep: an app with these labels is left out there.
    "BACKEND_HSTS_OPTIONS": "  rspadd  Strict-Transport-Security:\\ max-age=15768000\n",
    "HTTP_BACKEND_PROXYPASS_GLUE": (
        '  http-request set-header Host {hostname}\n  reqirep  "^([^ :]*)\\ {proxypath}/?(.*)" "\\1\\ /\\2"\n'
    ),
    "HTTP_BACKEND_REVPROXY_GLUE": (
        "  acl hdr_location res.hdr(Location) -m found\n"
        '  rspirep "^Location: (https?://{hostname}(:[0-9]+)?)?(/.*)" "Location:   {rootpath}" if hdr_location\n'
    ),
    "HTTP_BACKEND_REDIR": (
        "  acl is_root path -i /\n"
        "  acl is_domain hdr(host) -i {hostname}\n"
        "  redirect code 301 location {redirpath} if is_domain is_root\n"
    ),
    "HTTP_BACKEND_NETWORK_ALLOWED_ACL": _ALLOWED,
    "TCP_BACKEND_NETWORK_ALLOWED_ACL": _ALLOWED,
}

OVERRIDABLE = frozenset(TEMPLATES) - {"HTTP_BACKEND_REDIR"}
"""Templates that an app can replace. The label of the other one is a path."""
