"""marathon-lb's statistics port: the server rows of each task, and the older HAProxy workers that are alive.

Reference: docs/platform.md, marathon-lb; hazards 16-18, 34.
"""

from __future__ import annotations

import csv
import re
import socket
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

from bgci.analysis.haproxy_counters import STATUS_CLASSES, reading
from bgci.analysis.judge import Counts
from bgci.bounded import lines_of
from bgci.dcos.haproxy_config import Stranger, parse_config, strangers
from bgci.dcos.haproxy_workers import LONGEST, Workers, older_workers
from bgci.dcos.http import Http
from bgci.dcos.http_failure import HttpFailure
from bgci.engine.observation import Replica, Server, Serving
from bgci.errors import BgciError, UnavailableError, UsageError
from bgci.interruption import call, pause

STATS_PORT = 9090
# The columns of HAProxy's statistics that bgci reads; versions have different ones.
COLUMNS = (
    *("pxname", "svname", "status", "scur", "qcur", "check_status", "rtime", "ttime_max", "stot", "econ", "eresp"),
    *STATUS_CLASSES,
)
MOST_PIDS = 20_000  # characters: a thousand old workers have fewer
MOST_ROWS = 60_000  # a marathon-lb has fewer
LOOKS, LOOK_AGAIN = 5, 0.05  # attempts to read the current worker's statistics, and the seconds between them
RESOLVE_SECONDS = 20.0  # for a name; the resolver's own limits are longer
# Otherwise an older worker could answer on a connection that it has kept alive, or a cache could.
FRESH = {"Connection": "close", "Cache-Control": "no-cache"}
# An address that the load balancer resolved itself: IPv4; IPv6 in full; IPv6 with its "::".
ADDRESS = r"(?:\d{1,3}(?:_\d{1,3}){3}|[0-9A-Fa-f]{1,4}(?:_[0-9A-Fa-f]{1,4}){7}|[0-9A-Fa-f_]*__[0-9A-Fa-f_]*)"

Row = Mapping[str, str]
T = TypeVar("T")


@dataclass(frozen=True)
class Endpoint:
    """The address of one port of a task. ``host``: the agent, by name or address; ``ips``: the task's own, if any."""

    backend: str
    host: str
    ips: tuple[str, ...]
    port: int


@dataclass(frozen=True)
class ServerRow:
    """One server of one backend in HAProxy's statistics. ``response_ms``: HAProxy's mean of the last 1024 requests."""

    serving: Serving
    counts: Counts = Counts()
    response_ms: float = 0.0


@dataclass(frozen=True)
class Census:
    """The tasks (by id) with a server in a load balancer. ``duplicates``: ``backend/server`` listed repeatedly."""

    url: str
    tasks: frozenset[str] = frozenset()
    duplicates: tuple[str, ...] = ()


@dataclass(frozen=True)
class About:
    """HAProxy's version, empty if it does not say; how many older workers hold sessions; whether it runs without a
    master process. ``forking_threads``: more than 1 where its list of processes endangers requests (hazard 64)."""

    version: str
    older_workers: int
    lone: bool
    forking_threads: int = 1


class LoadBalancer:
    """One replica. ``url`` is its statistics port, such as ``http://10.0.0.5:9090``."""

    def __init__(self, url: str, *, ca_cert: str | None = None, insecure: bool = False) -> None:
        self._http = Http(
            url,
            ca_cert=ca_cert,
            insecure=insecure,
            connect_timeout=2.0,
            read_timeout=5.0,
            retries=1,
            backoff=0.2,
            name="marathon-lb",
        )
        self.url = self._http.base_url
        self._workers = Workers()
        self._lists_pids = False  # shown by its configuration
        self._longest_session = 0.0  # seconds; in the last poll

    def read(self, wanted: Mapping[str, Sequence[Endpoint]], *, within: float = LONGEST) -> Replica:
        """The state of each task of ``wanted`` (by task id) at this replica; ``problem``: why it cannot be read.

        ``within``: seconds in which the end of older workers must be noticed (`Workers.older`); 0: no task waits for
        it.
        """
        try:
            self._require_pids()
            backends = _by_backend(self._current_rows())
            self._longest_session = _longest_session(wanted, backends)
            servers = {task_id: _server(endpoints, backends) for task_id, endpoints in wanted.items()}
            # A task that gets or has sessions here is not drained, so older workers do not matter.
            matter = any(one.serving is not Serving.UP and not one.sessions for one in servers.values())
            older = self._workers.older(matter=matter, within=within, pids=self._pids)
        except BgciError as error:
            return Replica(self.url, problem=str(error).splitlines()[0])
        return Replica(
            self.url,
            servers=servers,
            older_workers=older,
            worker=self._workers.worker,
            worker_started=self._workers.started,
            others=_others(wanted, backends),
        )

    def _current_rows(self) -> list[Row]:
        """The rows of the current worker, as they are now. Raises UnavailableError for outdated ones."""
        for _ in range(LOOKS):
            rows = self._rows()
            # After the statistics, so that a worker that was replaced in between is in the list.
            page, longest = self._page(), self._longest_session
            if self._workers.answered(page, longest_session=longest):
                return rows
            pause(LOOK_AGAIN)
        raise UnavailableError(
            f"{self.url} answers with outdated statistics.",
            remedy="Give the address of one load balancer itself as --marathon-lb-url, not of a cache.",
        )

    def _require_pids(self) -> None:
        """Raises UnavailableError if this load balancer does not list its process ids: now, not during a drain."""
        if not self._lists_pids:
            with suppress(HttpFailure):
                self._lists_pids = "/_haproxy_getpids" in self._http.text("/_haproxy_getconfig", headers=FRESH)
            if not self._lists_pids:
                self._pids()
                self._lists_pids = True

    def _page(self) -> str:
        try:
            return self._text("/haproxy?stats", Accept="text/html")
        except BgciError:
            return ""

    def rows(self, wanted: Mapping[str, Sequence[Endpoint]]) -> dict[str, list[ServerRow]]:
        """Each task's servers with their counters, by task id. Raises UnavailableError.

        The counters start at 0 again with each reload.
        """
        backends = _by_backend(self._rows())
        return {
            task_id: [_server_row(row) for end in endpoints if (row := _named(end, backends.get(end.backend, {})))]
            for task_id, endpoints in wanted.items()
        }

    def census(self, wanted: Mapping[str, Sequence[Endpoint]]) -> Census:
        """Which of the tasks ``wanted`` (by task id) have a server. Raises UnavailableError or DeniedError."""
        rows = self._rows()
        backends = _by_backend(rows)
        tasks = (
            task for task, ends in wanted.items() if any(_named(end, backends.get(end.backend, {})) for end in ends)
        )
        counts = Counter(f"{row['pxname']}/{row['svname']}" for row in rows)
        return Census(self.url, frozenset(tasks), tuple(sorted(name for name, count in counts.items() if count > 1)))

    def about(self) -> About:
        """For `bgci doctor`. Raises UnavailableError or DeniedError."""
        page = self._text("/haproxy?stats", Accept="text/html")
        self._rows()
        pids = self._pids()
        try:
            config = self.config()
        except BgciError:
            config = ""
        threads = int(found[1]) if (found := re.search(r"nbthread = (\d{1,5})\b", page)) else 1
        lone = len(pids) == 1
        # The file's name in marathon-lb's own head: another one may do without a child process (docs/traffic.md).
        forks = threads if re.search(r"^[ \t]*lua-load[ \t]+(?:\S*/)?getpids\.lua\b", config, re.MULTILINE) else 1
        return About(_version(page), len(older_workers(pids, lone)), lone, forks)

    def config(self) -> str:
        """HAProxy's live configuration. Raises UnavailableError, also for a text without a section; DeniedError."""
        text = self._text("/_haproxy_getconfig")
        if not re.search(r"^[ \t]*(global|defaults|frontend|listen)\b", text, re.MULTILINE):
            raise UnavailableError(
                f"{self.url}/_haproxy_getconfig does not answer with HAProxy's configuration.",
                remedy="--marathon-lb-url must lead to marathon-lb itself; otherwise run the command again.",
            )
        return text

    def version(self) -> str:
        """HAProxy's version, empty if unknown. Raises UnavailableError or DeniedError."""
        return _version(self._text("/haproxy?stats", Accept="text/html"))

    def strangers(self, ports: Iterable[int], ours: Iterable[Endpoint]) -> list[Stranger]:
        """The servers behind these service ports that are not our tasks, with their share of the traffic (hazard 53).
        ``ours``: the addresses of our tasks. Raises UnavailableError."""
        config = parse_config(self.config())
        names = {line.name: line.name for lines in config.backends.values() for line in lines}
        known = [name for end in ours if (name := _named(end, names))]
        return [one for port in ports for one in strangers(config, port, known, replica=self.url)]

    def request_reload(self) -> None:
        """Ask marathon-lb to write its configuration again (hazard 38). Ignores a failure, because a wait follows
        anyway."""
        with suppress(BgciError):
            self._text("/_mlb_signal/hup")

    def _text(self, path: str, **headers: str) -> str:
        try:
            return self._http.text(path, headers={**FRESH, **headers})
        except HttpFailure as failure:
            raise failure.unavailable("marathon-lb fails") from failure

    def _rows(self) -> list[Row]:
        rows = parse_stats(self._text("/haproxy?stats;csv"))
        if rows is None:
            raise UnavailableError(
                f"{self.url} does not answer with HAProxy's statistics.",
                remedy="--marathon-lb-url is marathon-lb's statistics port, usually http://<host>:9090.",
            )
        return rows

    def _pids(self) -> list[int]:
        text = self._text("/_haproxy_getpids")
        if len(text) > MOST_PIDS or not re.fullmatch(r"\s*[0-9]{1,10}(\s+[0-9]{1,10})*\s*", text):
            raise UnavailableError(
                f"{self.url}/_haproxy_getpids does not list process ids.",
                remedy="--marathon-lb-url must lead to marathon-lb itself; `bgci doctor` checks its version.",
            )
        return sorted(int(pid) for pid in text.split())


def _version(page: str) -> str:
    found = re.search(r"HAProxy version ([0-9][^\s,<]*)", page)
    return found[1] if found else ""


def resolve_replicas(urls: Sequence[str]) -> list[str]:
    """One URL per load balancer: a name with several addresses means as many replicas. The default port is 9090.

    An https URL stays unchanged, because its certificate names the host. Raises UnavailableError for an unknown name.
    """
    found: list[str] = []
    for url in urls:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host or parts.scheme not in ("http", "https"):
            raise UsageError(
                "A --marathon-lb-url is not a usable URL.", remedy=f"Write it as http://host:{STATS_PORT}."
            )
        port = port or (443 if parts.scheme == "https" else STATS_PORT)
        hosts = [host] if parts.scheme == "https" else _addresses(host, port)
        for name in hosts if len(hosts) > 1 else [host]:
            netloc = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
            found.append(urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", "")))
    return list(dict.fromkeys(found))


def _addresses(host: str, port: int) -> list[str]:
    """The A records, sorted; without any the AAAA records."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):
            found = call(partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM), RESOLVE_SECONDS)
            return sorted({str(info[4][0]) for info in found})
    raise UnavailableError(
        f"The load balancer's name {host} cannot be resolved.",
        remedy="Check --marathon-lb-url, and this machine's DNS: inside the cluster there are other names.",
    )


def backend_name(group_or_app_id: str, service_port: int) -> str:
    """HAProxy's backend for a group or app (marathon_lb.py: config)."""
    return f"{group_or_app_id.removeprefix('/').replace('/', '_')}_{service_port}"


def serving(status: str) -> Serving:
    """The meaning of a server's status (hazard 34): ``UP 1/4`` still serves, ``no check`` always serves."""
    word = status.strip().split(" ")[0].upper()
    if word == "UP" or status.strip().lower() == "no check":
        return Serving.UP
    return Serving.MAINT if word in ("MAINT", "DRAIN", "NOLB") else Serving.DOWN


def parse_stats(text: str) -> list[Row] | None:
    """The rows of a statistics CSV by the names of ``COLUMNS``, for any version of HAProxy; None for any other text."""
    lines = csv.reader(lines_of(text.lstrip("# \ufeff\r\n"), MOST_ROWS + 2, 200_000))
    try:
        header = next(lines, [])
        if header[:2] != ["pxname", "svname"] or "status" not in header:
            return None
        places = {
            name: header.index(name) for name in COLUMNS if name in header
        }  # the first of several columns with one name
        rows: list[Row] = [
            {name: row[at] for name, at in places.items() if at < len(row)} for row in lines if len(row) > 1
        ]
        return rows if len(rows) <= MOST_ROWS else None
    except csv.Error:  # such as a field of more than 128 KiB
        return None


def _by_backend(rows: Iterable[Row]) -> dict[str, dict[str, Row]]:
    backends: dict[str, dict[str, Row]] = {}
    for row in rows:
        backends.setdefault(row["pxname"], {})[row["svname"]] = row
    return backends


def _longest_session(wanted: Mapping[str, Sequence[Endpoint]], backends: Mapping[str, Mapping[str, Row]]) -> float:
    """Seconds of the longest session that has ended in the tasks' backends; 0 if unknown."""
    names = {end.backend for endpoints in wanted.values() for end in endpoints}
    rows = (row for name in names for row in backends.get(name, {}).values())
    return max((_count(row.get("ttime_max", "")) for row in rows), default=0) / 1000


def _others(wanted: Mapping[str, Sequence[Endpoint]], backends: Mapping[str, Mapping[str, Row]]) -> tuple[str, ...]:
    """The servers of the tasks' backends that are not these tasks."""
    ends = [end for endpoints in wanted.values() for end in endpoints]
    found = set()
    for backend in {end.backend for end in ends}:
        rows = {name: name for name in backends.get(backend, {}) if re.search(r"_\d+$", name)}
        found |= set(rows) - {_named(end, rows) for end in ends if end.backend == backend}
    return tuple(sorted(found))


def _server(endpoints: Sequence[Endpoint], backends: Mapping[str, Mapping[str, Row]]) -> Server:
    """One task over all of its service ports. A backend that this replica does not have is ignored."""
    rows = [row for end in endpoints if (row := _named(end, backends.get(end.backend, {})))]
    states = {serving(row.get("status", "")) for row in rows}
    sessions = sum(_count(row.get(key, "")) for row in rows for key in ("scur", "qcur"))
    if not states:
        return Server(Serving.ABSENT)
    if Serving.UP in states:
        return Server(Serving.UP, sessions, unchecked=any(map(_unchecked, rows)))
    return Server(Serving.MAINT if states == {Serving.MAINT} else Serving.DOWN, sessions)


def _unchecked(row: Row) -> bool:
    """Whether HAProxy's last check of this server has not passed.

    A server that is new to HAProxy is UP before its first check (``UP 1/4``, check status INI) and goes DOWN with its
    first failure; a checked one counts down (``UP 3/4``). A reload keeps both columns. Measured with HAProxy 2.6.
    """
    status, check = row.get("status", ""), row.get("check_status", "").removeprefix("* ")
    return serving(status) is Serving.DOWN or "/" in status or check == "INI"


def _server_row(row: Row) -> ServerRow:
    cells = {name: int(cell) for name, cell in row.items() if re.fullmatch(r"-?[0-9]{1,20}", cell)}
    return ServerRow(serving(row.get("status", "")), reading(cells), float(cells.get("rtime", 0)))


def _named(end: Endpoint, rows: Mapping[str, T]) -> T | None:
    """The entry of an endpoint by its server: ``<ip>_<port>``, or ``<host>_<ip>_<port>`` with an ip unknown to us."""
    host, ips = _clean(end.host), [_clean(ip) for ip in end.ips]
    for name in (f"{host}_{end.port}", *(f"{ip}_{end.port}" for ip in ips), *(f"{host}_{ip}_{end.port}" for ip in ips)):
        if name in rows:
            return rows[name]
    if ips:  # one host can have other tasks with the same port
        return None
    resolved = re.compile(rf"{re.escape(host)}_{ADDRESS}_{end.port}")
    return next((row for name, row in rows.items() if resolved.fullmatch(name)), None)


def _clean(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]", "_", text)


def _count(cell: str) -> int:
    return int(cell) if re.fullmatch(r"[0-9]{1,20}", cell) else 0
