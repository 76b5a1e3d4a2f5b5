"""The cluster: the sandbox's Marathon, Metronome and Admin Router, tasks that are no processes, and load balancers."""

from __future__ import annotations

import asyncio
import io
import json
import random
import shutil
import signal
import types
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from unittest import mock

from aiohttp import StreamReader, web
from aiohttp.http import RawRequestMessage
from aiohttp.http_writer import HttpVersion11
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from bgci.sandbox import clock as sandbox_clock
from bgci.sandbox import dcos
from bgci.sandbox.marathon import tasks as marathon_tasks
from bgci.sandbox.marathon.core import Marathon
from bgci.sandbox.marathon.health import HealthChecker
from bgci.sandbox.marathon.store import Options
from bgci.sandbox.mesos import Mesos
from bgci.sandbox.metronome import core as metronome_core
from bgci.sandbox.metronome.core import Metronome
from virtual.clock import Clock, Loop, Program, virtual_time
from virtual.marathon_lb import Place, Replica

CLUSTER = "http://127.0.0.1:8000"
HOST = "127.0.0.1"
LATENCY = 0.002  # seconds each way
CUT_MARGIN = 0.0


@dataclass(frozen=True)
class Pace:
    """Seconds. ``stop``: from SIGTERM to a task's end; ``session``: how long each session at a server lasts."""

    offer: float = 0.05
    fetch: float = 0.1
    health: float = 0.3
    stop: float = 0.15
    session: float = 0.4


FAST = Pace(offer=0.01, fetch=0.02, health=0.03, stop=0.05)


class Child:
    """A task that runs no process. ``stopped``: called when it gets its SIGTERM."""

    def __init__(self, stop: float, stopped: Callable[[], None]) -> None:
        self.pid = 1
        self._end: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._stop = stop
        self._stopped = stopped
        self._stopping = False

    async def wait(self) -> int:
        return await asyncio.shield(self._end)

    def signal(self, number: signal.Signals) -> None:
        if not self._end.done():
            self._end.set_result(-int(number))

    def stop(self, grace_seconds: float) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._stopped()
        asyncio.get_running_loop().call_later(self._stop, self.signal, signal.SIGTERM)


class JobChild(Child):
    """A run of a job: a program of bgci."""

    def __init__(self, program: Program) -> None:
        super().__init__(0.0, lambda: None)
        self.program = program
        self.life: asyncio.Future[None] | None = None

    def stop(self, grace_seconds: float) -> None:
        self.program.terminate()


class Ports:
    """Host ports without a listener."""

    def __init__(self) -> None:
        self._next = 31000
        self._taken: set[Place] = set()

    def claim(self, host: str, port: int) -> bool:
        free = (host, port) not in self._taken
        self._taken.add((host, port))
        return free

    def take(self, host: str) -> int:
        self._next += 1
        self.claim(host, self._next)
        return self._next

    def release(self, addresses: Sequence[Place]) -> None:
        self._taken.difference_update(addresses)


class Checks(HealthChecker):
    """Every task that runs passes its checks."""

    async def _ask(self, task: Any, check: Mapping[str, Any]) -> str | None:
        return None if task.child is not None else "not there"


@dataclass
class Ledger:
    """Counts the violations of invariants. ``least``: the fewest in rotation at any load balancer since ``watch``."""

    cut: list[str] = field(default_factory=list)
    least: int = 99
    watching: bool = False


class World:
    """``directory``: for what programs write. ``invoke``: runs one command line in a program's own thread."""

    def __init__(self, directory: Path, loop: Loop, clock: Clock, replicas: int, pace: Pace) -> None:
        self.clock = clock
        self.loop = loop
        self.directory = directory
        self.pace = pace
        self.ledger = Ledger()
        self.job: Callable[[Sequence[str], Mapping[str, str], Path], Program] = _no_jobs
        self.programs: list[Program] = []
        self.marathon_down_until = 0.0
        mesos = Mesos(directory / "sandboxes", (HOST,))
        options = Options(
            hosts=(HOST,), offer_delay=pace.offer, fetch_delay=pace.fetch, health_delay=pace.health, kill_grace=3.0
        )
        self.marathon = Marathon(options, self, Ports(), mesos)  # type: ignore[arg-type]
        self.marathon.health.__class__ = Checks
        self.metronome = Metronome(self, mesos, 0.014)  # type: ignore[arg-type]
        self._router = dcos.application(self.marathon, self.metronome, mesos)
        bus = self.marathon.store.events
        urls = [f"http://127.0.0.1:{9090 + number}" for number in range(replicas)]
        self.replicas = {url: Replica(url, clock, bus, self._apps) for url in urls}
        for replica in self.replicas.values():
            replica.session = pace.session
            replica.reloaded = self._account
        self._followers: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        self._router.freeze()
        self._followers = [asyncio.ensure_future(replica.follow()) for replica in self.replicas.values()]

    async def close(self) -> None:
        for program in self.programs:
            program.abandon()
        for follower in self._followers:
            follower.cancel()
        await self.marathon.close()
        await self.metronome.close()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    # -- in place of the sandbox's processes ---------------------------------------------------------------------------

    async def start(self, argv: Sequence[str], *, env: Mapping[str, str], directory: Path) -> Child:
        """A task, or the program of a job's run."""
        if "BGCI_JOB" not in env:
            host, port = env["SANDBOX_LISTEN"].split(",")[0].rsplit(":", 1)
            return Child(self.pace.stop, lambda: self._stopped((host, int(port))))
        words = argv[-1].split()
        program = self.job(words[words.index("bgci") + 1 :], env, directory)
        child = JobChild(program)

        async def live() -> None:
            code = await program.run()
            if not child._end.done():
                child._end.set_result(code)

        child.life = asyncio.ensure_future(live())
        return child

    # -- requests -----------------------------------------------------------------------------------------------------

    async def dispatch(self, method: str, url: str, body: bytes = b"") -> tuple[int, str, bytes]:
        """One request to the cluster or to a load balancer: status, headers' content type, body. Raises
        ConnectionRefusedError."""
        parts = URL(url)
        replica = self.replicas.get(f"http://{parts.host}:{parts.port}")
        if replica:
            if self.clock.now < replica.down_until:
                raise ConnectionRefusedError
            status, kind, text = replica.answer(parts.raw_path_qs)
            return status, kind, text.encode()
        if self.clock.now < self.marathon_down_until and "/service/marathon" in parts.path:
            return 503, "text/html", b"<html>503 Service Unavailable</html>"
        return await self._handled(method, parts, body)

    async def _handled(self, method: str, url: URL, body: bytes) -> tuple[int, str, bytes]:
        headers = CIMultiDict({"Host": url.authority, "Accept": "application/json, text/plain, */*"})
        if body or method in ("POST", "PUT"):
            headers["Content-Type"] = "application/json"
        proxy = CIMultiDictProxy(headers)
        message = RawRequestMessage(
            method, url.raw_path_qs, HttpVersion11, proxy, (), False, None, False, False, URL(url.raw_path_qs)
        )
        payload = StreamReader(_PROTOCOL, 2**16, loop=self.loop)
        if body:
            payload.feed_data(body)
        payload.feed_eof()
        request = web.Request(
            message, payload, _PROTOCOL, mock.sentinel.writer, mock.sentinel.task, self.loop, client_max_size=2**25
        )
        try:
            response = await self._router._handle(request)
        except web.HTTPException as refused:
            response = refused
        await request._prepare_hook(response)
        if 300 <= response.status < 400:
            return await self._handled(method, url.join(URL(response.headers["Location"], encoded=True)), body)
        text = response.body if isinstance(response, web.Response) and isinstance(response.body, bytes) else b""
        return response.status, response.headers.get("Content-Type", ""), text

    async def _apps(self) -> Any:
        """Marathon's apps for a load balancer; None while Marathon is down."""
        if self.clock.now < self.marathon_down_until:
            return None
        _, _, body = await self._handled("GET", URL(f"{CLUSTER}/service/marathon/v2/apps?embed=apps.tasks"), b"")
        return json.loads(body)

    # -- what happens to it -------------------------------------------------------------------------------------------

    @property
    def last_replica(self) -> Replica:
        *_, replica = self.replicas.values()
        return replica

    def change_leader(self, seconds: float) -> None:
        """Marathon answers 503 for so long; the new leader knows no health."""
        self.marathon_down_until = self.clock.now + seconds
        store = self.marathon.store

        def forget() -> None:
            store.events.close()
            self.marathon.health.forget_results()

        self.loop.call_later(seconds, forget)

    def _stopped(self, place: Place) -> None:
        """A task gets its SIGTERM."""
        for replica in self.replicas.values():
            if replica.holds(place):
                self.ledger.cut.append(f"{place[1]} at {replica.url} at {self.clock.now:.3f}")
        self._account()

    def _account(self) -> None:
        if not self.ledger.watching:
            return
        tasks = [i.task for i in self.marathon.store.instances.values() if i.task and i.condition.value == "Running"]
        alive = {endpoint for task in tasks for endpoint in task.endpoints[:1]}
        for replica in self.replicas.values():
            if replica.serves:
                self.ledger.least = min(self.ledger.least, len(replica.worker.up(self.clock.now) & alive))

    def watch(self) -> None:
        self.ledger = Ledger(watching=True)
        self._account()


class _Protocol:
    """What aiohttp's request wants of a connection."""

    transport = None
    ssl_context = None
    peername = sockname = (HOST, 1)
    _reading_paused = False

    def pause_reading(self) -> None: ...

    def resume_reading(self, *args: Any, **more: Any) -> None: ...


_PROTOCOL: Any = _Protocol()


def _no_jobs(words: Sequence[str], env: Mapping[str, str], directory: Path) -> Program:
    raise AssertionError("no jobs here")


@contextmanager
def world(
    directory: Path, *, replicas: int = 1, pace: Pace = Pace(), seed: int = 1, clock: Clock | None = None
) -> Iterator[World]:
    """A new cluster on virtual time; the same seed gives the same one."""
    clock, chance = clock or Clock(), random.Random(seed)

    def unique() -> uuid.UUID:
        return uuid.UUID(int=chance.getrandbits(128))

    def utc_now() -> datetime:
        return datetime.fromtimestamp(clock.time() - clock.skew, timezone.utc)

    state = random.getstate()
    random.seed(seed)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    sandbox_clock._last = datetime.min.replace(tzinfo=timezone.utc)
    uuids = types.SimpleNamespace(uuid1=unique, uuid4=unique)
    with (
        virtual_time(clock) as loop,
        mock.patch.object(sandbox_clock, "utc_now", utc_now),
        mock.patch.object(metronome_core, "utc_now", utc_now),
        mock.patch.object(marathon_tasks, "uuid", uuids),
        mock.patch.object(metronome_core, "uuid", uuids),
    ):
        asyncio.set_event_loop(loop)
        made = None

        async def build() -> World:
            return World(directory, loop, clock, replicas, pace)

        made = loop.run_until_complete(build())
        try:
            loop.run_until_complete(made.open())
            yield made
        finally:
            loop.run_until_complete(made.close())
            asyncio.set_event_loop(None)
            random.setstate(state)


__all__ = ["CLUSTER", "FAST", "LATENCY", "Awaitable", "Pace", "World", "io", "world"]
