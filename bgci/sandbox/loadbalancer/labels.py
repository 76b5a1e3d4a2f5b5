"""Reads an app's labels ``HAPROXY_{n}_<name>`` into the settings of its service port n (marathon-lb: config.py).

An unreadable label raises ValueError. marathon-lb then updates no app at all, even if this app has no task and is not
in one of the balancer's groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bgci.sandbox.loadbalancer.templates import OVERRIDABLE, TEMPLATES


@dataclass
class Settings:
    """The settings of one service port."""

    port: int
    mode: str | None = None
    enabled: bool = True
    groups: frozenset[str] | None = None
    bind_addr: str | None = None
    bind_options: str | None = None
    ssl_cert: str | None = None
    balance: str = "roundrobin"
    hostname: str | None = None
    """Virtual hosts in small letters, joined by commas."""
    path: str = ""
    weight: int = 0
    auth: tuple[str, str, str] = ("", "", "")
    """Realm, user, password."""
    redirect: bool = False
    hsts: bool = False
    sticky: bool = False
    check_port_index: int | None = None
    networks: str = ""
    proxypath: str = ""
    rootpath: str = ""
    redirpath: str = ""
    own_templates: dict[str, str] = field(default_factory=dict)

    def template(self, name: str) -> str:
        """The app's own template of this name, else the default one."""
        return self.own_templates.get(name, TEMPLATES[name])


def is_true(text: str) -> bool:
    """Whether a label's text means true. Every other text is false."""
    return text.lower() in ("true", "t", "yes", "y")


def _auth(text: str) -> tuple[str, str, str]:
    realm, user, password = text.split(":")
    return realm, user, password


_READ: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "AUTH": ("auth", _auth),
    "BACKEND_HEALTHCHECK_PORT_INDEX": ("check_port_index", int),
    "BACKEND_NETWORK_ALLOWED_ACL": ("networks", str),
    "BACKEND_WEIGHT": ("weight", int),
    "BALANCE": ("balance", str),
    "BIND_ADDR": ("bind_addr", str),
    "BIND_OPTIONS": ("bind_options", str),
    "ENABLED": ("enabled", is_true),
    "GROUP": ("groups", lambda text: frozenset(text.split(","))),
    "HTTP_BACKEND_PROXYPASS_PATH": ("proxypath", str),
    "HTTP_BACKEND_REDIR": ("redirpath", str),
    "HTTP_BACKEND_REVPROXY_PATH": ("rootpath", str),
    "MODE": ("mode", str.lower),
    "PATH": ("path", str),
    "PORT": ("port", int),
    "REDIRECT_TO_HTTPS": ("redirect", is_true),
    "SSL_CERT": ("ssl_cert", str),
    "STICKY": ("sticky", is_true),
    "USE_HSTS": ("hsts", is_true),
    "VHOST": ("hostname", str.lower),
}
"""By a label's name: the setting, and how it is read."""


def settings_of(labels: Mapping[str, str], index: int, port: int, mode: str | None) -> Settings:
    """The settings of this service port by the labels. Raises ValueError for an unreadable label."""
    settings, prefix = Settings(port, mode), f"HAPROXY_{index}_"
    for key, value in labels.items():
        name = key.removeprefix(prefix) if key.startswith(prefix) else ""
        if name in _READ:
            setting, read = _READ[name]
            setattr(settings, setting, read(value))
        elif name in OVERRIDABLE:
            settings.own_templates[name] = value.replace("\r\n", "\n")
    if f"{prefix}PATH" in labels and settings.weight == 0:
        settings.weight = 1
    return settings
