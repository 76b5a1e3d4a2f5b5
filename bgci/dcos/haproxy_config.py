"""A load balancer's live configuration (`/_haproxy_getconfig`): the servers behind each port."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bgci.bounded import lines_of

MOST_LINES = 200_000  # limit of the configuration: enough for thousands of apps
# marathon-lb's own ports: statistics, HTTP, HTTPS and app id routing.
_BIND = re.compile(r"^bind\s+(?:\S*:)?(\d{1,5})\b")
_SECTION = re.compile(r"^(frontend|backend|listen)\s+(\S+)")
_SERVER = re.compile(r"^server\s+(\S+)\s+(\S+)(.*)$")


@dataclass(frozen=True, slots=True)
class ServerLine:
    """One server of a backend. ``address`` is ``ip:port``; ``disabled``: marathon-lb drains it."""

    name: str
    address: str
    disabled: bool = False


@dataclass(frozen=True)
class Frontend:
    """A frontend: its ports and its backends."""

    name: str
    ports: tuple[int, ...]
    backends: tuple[str, ...]


@dataclass(frozen=True)
class LiveConfig:
    """The frontends by name, and the servers of each backend."""

    frontends: tuple[Frontend, ...] = ()
    backends: Mapping[str, tuple[ServerLine, ...]] = field(default_factory=dict)

    def serving(self, port: int) -> tuple[Frontend, ...]:
        """Every frontend that listens on this port: two of them share its traffic (hazard 53)."""
        return tuple(frontend for frontend in self.frontends if port in frontend.ports)


@dataclass(frozen=True)
class Stranger:
    """A server in our part of a load balancer that is not one of our tasks.

    ``share``: its part of the traffic of that port, 0..1, as HAProxy spreads it over the servers in rotation. ``app``:
    the app of the task, empty if no readable app has a task at that address.
    """

    replica: str
    port: int
    server: str
    address: str
    share: float
    app: str = ""

    def __str__(self) -> str:
        return f"{self.app or 'an unknown app'} (not ours) at {self.address}, server {self.server} of {self.replica}"


def parse_config(text: str) -> LiveConfig:
    """The configuration's frontends and backends. Ignores all other lines."""
    ports: dict[str, list[int]] = {}
    targets: dict[str, list[str]] = {}
    servers: dict[str, list[ServerLine]] = {}
    kind, name = "", ""
    for raw in lines_of(text, MOST_LINES):
        line = raw.split("#", 1)[0].strip()
        if section := _SECTION.match(line):
            kind, name = section[1], section[2]
            if kind != "backend":
                ports.setdefault(name, [])
        elif re.match(r"^(global|defaults|peers|userlist|resolvers|cache|program|mailers)\b", line):
            kind = ""
        elif kind in ("frontend", "listen") and (bound := _BIND.match(line)):
            ports[name].append(int(bound[1]))
        elif kind in ("frontend", "listen") and (used := re.match(r"^(?:use_backend|default_backend)\s+(\S+)", line)):
            targets.setdefault(name, []).append(used[1])
        elif kind in ("backend", "listen") and (server := _SERVER.match(line)):
            disabled = bool(re.search(r"\sdisabled\b", server[3]))
            servers.setdefault(name, []).append(ServerLine(server[1], server[2], disabled))
    frontends = tuple(
        Frontend(one, tuple(bound), tuple(dict.fromkeys([*targets.get(one, []), *([one] if one in servers else [])])))
        for one, bound in ports.items()
    )
    return LiveConfig(frontends, {one: tuple(lines) for one, lines in servers.items()})


def strangers(config: LiveConfig, port: int, known: Iterable[str], *, replica: str) -> list[Stranger]:
    """The servers behind this service port that are not ours. ``known``: names of our own servers.

    Each frontend of the port gets the same part of the connections (the kernel spreads them), and each server in
    rotation the same part of its frontend's.
    """
    ours = set(known)
    frontends = config.serving(port)
    found = []
    for frontend in frontends:
        lines = [line for backend in frontend.backends for line in config.backends.get(backend, ())]
        active = [line for line in lines if not line.disabled]
        for line in lines:
            if line.name not in ours:
                share = 0.0 if line.disabled else 1 / len(active) / len(frontends)
                found.append(Stranger(replica, port, line.name, line.address, round(share, 3)))
    return found
