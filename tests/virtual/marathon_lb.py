"""A model of one replica of marathon-lb with HAProxy: its servers, and its statistics (docs/platform.md).

Which app drains is the sandbox's own arithmetic; this is HAProxy: workers, sessions, and servers that leave MAINT.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bgci.sandbox.events import END, EventBus
from bgci.sandbox.loadbalancer.haproxy_config import Listen, backend_name, render, server_name
from bgci.sandbox.loadbalancer.marathon import RELEVANT, without_nulls
from bgci.sandbox.loadbalancer.services import HealthMemory, Service, services_of
from virtual.clock import Clock

MASTER = 7  # the pid of HAProxy's master
LISTEN = Listen("127.0.0.1", 9090, 9091)
RELOAD = 0.1  # seconds from an event to the new configuration
CHECKS = 2  # that must pass until a server that leaves MAINT is UP
COLUMNS = "pxname,svname,qcur,scur,stot,econ,eresp,status,rtime"
Place = tuple[str, int]  # host and port of a task


@dataclass(frozen=True)
class Server:
    """``up_at``: when it is UP; infinite in MAINT."""

    place: Place
    up_at: float


@dataclass(frozen=True)
class Worker:
    """One HAProxy worker and what it serves: the servers by (backend, name)."""

    pid: int
    started: float
    servers: Mapping[tuple[str, str], Server] = field(default_factory=dict)
    config: str = render([], LISTEN)

    def up(self, now: float) -> set[Place]:
        return {server.place for server in self.servers.values() if server.up_at <= now}


class Replica:
    """``apps``: asks Marathon. ``session``: how long each session lasts, in seconds: a server in rotation always has
    some. ``lag``: added to the time until it follows Marathon. ``stale``: how old its statistics are.
    ``down_until``: until when nobody reaches it; it serves on.
    """

    def __init__(self, url: str, clock: Clock, bus: EventBus, apps: Callable[[], Awaitable[Any]]) -> None:
        self.url = url
        self.session = 0.4
        self.lag = 0.0
        self.stale = 0.0
        self.down_until = self._dead_until = 0.0
        self.history = [Worker(100, clock.now - 3600.0)]
        self.reloaded: Callable[[], None] = lambda: None
        self._clock = clock
        self._bus = bus
        self._apps = apps
        self._memory = HealthMemory()
        self._ended: dict[Place, float] = {}  # when each place left rotation
        self._wanted: Mapping[tuple[str, str], bool] = {}
        self._looking: set[asyncio.Task[None]] = set()

    @property
    def worker(self) -> Worker:
        return self.history[-1]

    @property
    def serves(self) -> bool:
        """Whether it has a configuration: a dead one takes no requests."""
        return len(self.history) > 1

    def restart(self, seconds: float) -> None:
        """It is dead for so long, and starts with nothing."""
        self.down_until = self._dead_until = self._clock.now + seconds
        self.history = [Worker(100, self.down_until)]
        self._memory, self._wanted, self._ended = HealthMemory(), {}, {}
        asyncio.get_running_loop().call_later(seconds, self._look_after, 0.0)

    def holds(self, place: Place) -> bool:
        """Whether it sends requests to the place, or still has a session with it."""
        now = self._clock.now
        return place in self.worker.up(now) or self._ended.get(place, -1e9) + self.session > now

    async def follow(self) -> None:
        while True:
            with self._bus.subscription(RELEVANT) as queue:
                await self.look()
                while await queue.get() != END:
                    while not queue.empty():
                        queue.get_nowait()
                    await asyncio.sleep(RELOAD)
                    self._look_after(self.lag)
            await asyncio.sleep(1.0)  # until it connects again

    def _look_after(self, lag: float) -> None:
        """A look now, whose result is in force only later."""

        async def later() -> None:
            apps = await self._apps()
            await asyncio.sleep(lag)
            self._take(apps)

        task = asyncio.ensure_future(later())
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    async def look(self) -> None:
        self._take(await self._apps())

    def _take(self, answer: Any) -> None:
        """Make this the configuration."""
        if answer is None or self._clock.now < self._dead_until:
            return
        services = services_of(without_nulls(answer)["apps"], resolve=lambda host: host, memory=self._memory)
        wanted = {
            (backend_name(service), server_name(server)): server.draining
            for service in services
            for server in service.servers
        }
        if wanted == self._wanted:
            return
        self._wanted = wanted
        self._reload(services)

    def _reload(self, services: list[Service]) -> None:
        now, before = self._clock.now, self.worker
        servers = {}
        for service in services:
            interval = float((service.health_check or {}).get("intervalSeconds", 2))
            for server in service.servers:
                key, place = (backend_name(service), server_name(server)), (server.ip, server.port)
                earlier = before.servers.get(key)
                if server.draining:
                    up_at = float("inf")
                elif earlier is None:
                    up_at = now
                else:
                    up_at = earlier.up_at if earlier.up_at != float("inf") else now + CHECKS * interval
                servers[key] = Server(place, up_at)
        config = render(services, LISTEN)
        self.history.append(Worker(before.pid + 1, now, servers, config))
        up = self.worker.up(now)
        self._ended.update(dict.fromkeys(before.up(now) - up, now))
        for place in up:
            self._ended.pop(place, None)
        self.reloaded()

    # -- what it answers ----------------------------------------------------------------------------------------------

    def answer(self, path: str) -> tuple[int, str, str]:
        """Status, content type and body."""
        now = self._clock.now - self.stale
        worker = next((one for one in reversed(self.history) if one.started <= now), self.history[0])
        match path.partition("?"):
            case ("/haproxy", _, "stats;csv"):
                return 200, "text/csv", self._statistics(worker, now)
            case ("/haproxy", _, _):
                return 200, "text/html", self._page(worker, now)
            case ("/_haproxy_getpids", _, _):
                return 200, "text/plain", " ".join(map(str, [MASTER, *self._pids(worker, now)]))
            case ("/_haproxy_getconfig", _, _):
                return 200, "text/plain", worker.config
            case ("/_mlb_signal/hup", _, _):
                self._look_after(self.lag)
                return 200, "text/plain", "Sent SIGHUP signal to marathon-lb"
        return 404, "text/plain", "not found"

    def _pids(self, newest: Worker, now: float) -> list[int]:
        """The newest worker, and each older one that still has a session."""
        workers = self.history[: self.history.index(newest) + 1]
        ended = [one.started for one in workers[1:]]  # each worker's end is the next one's start
        older = [
            one.pid
            for one, end in zip(workers, ended, strict=False)
            if end + self.session > now and (one.up(end) or one.started + self.session > end)
        ]
        return [*older, newest.pid]

    @staticmethod
    def _statistics(worker: Worker, now: float) -> str:
        lines = [f"# {COLUMNS},"]
        for (backend, name), server in worker.servers.items():
            status = "MAINT" if server.up_at == float("inf") else "UP" if server.up_at <= now else "DOWN 1/2"
            lines.append(f"{backend},{name},0,{int(status == 'UP')},9,0,0,{status},1,")
        return "\n".join(lines) + "\n"

    @staticmethod
    def _page(worker: Worker, now: float) -> str:
        seconds = int(now - worker.started)
        uptime = f"{seconds // 86400}d {seconds // 3600 % 24}h{seconds // 60 % 60:02}m{seconds % 60:02}s"
        return f"<html>HAProxy version 2.6.12, <b>pid = </b> {worker.pid} <b>uptime = </b> {uptime}</html>"
