"""A stub Marathon, tasks that answer with their names, and a load balancer process between them and the test."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

Json = dict[str, Any]
PORT = 10101
NAME: web.AppKey[str] = web.AppKey("name", str)
CHECK: Json = {
    "protocol": "HTTP",
    "path": "/health",
    "portIndex": 0,
    "intervalSeconds": 1,
    "timeoutSeconds": 1,
    "gracePeriodSeconds": 1,
    "maxConsecutiveFailures": 3,
}


def an_app(app_id: str, *tasks: Json, instances: int | None = None, scaled: str = "10:00:00", **labels: str) -> Json:
    """An app as Marathon shows it, with service port 10101; ``labels`` without their prefix ``HAPROXY_``."""
    return {
        "id": app_id,
        "instances": len(tasks) if instances is None else instances,
        "labels": {f"HAPROXY_{name}": value for name, value in labels.items()},
        "networks": [{"mode": "container/bridge"}],
        "container": {"portMappings": [{"containerPort": 80, "servicePort": PORT}]},
        "healthChecks": [CHECK],
        "versionInfo": {"lastScalingAt": f"2024-05-01T{scaled}.000Z"},
        "tasks": list(tasks),
    }


def colour(name: str, *tasks: Json, day: int, target: int | None = None, **more: Any) -> Json:
    """One of the pair of the group ``/web``, deployed on that day of May."""
    labels = {
        "DEPLOYMENT_GROUP": "web",
        "DEPLOYMENT_STARTED_AT": f"2024-05-{day:02}T10:00:00.000000",
        "0_PORT": "10101",
    }
    if target is not None:
        labels |= {"DEPLOYMENT_NEW_INSTANCES": "0", "DEPLOYMENT_TARGET_INSTANCES": str(target)}
    return an_app(f"/web-{name}", *tasks, **labels, **more)


def a_task(task_id: str, port: int = 31000, *, alive: bool | None = True, **more: Any) -> Json:
    results = [] if alive is None else [{"alive": alive}]
    return {
        "id": task_id,
        "host": "127.0.0.1",
        "ports": [port],
        "state": "TASK_RUNNING",
        "healthCheckResults": results,
        **more,
    }


async def until(condition: Callable[[], Any], *, seconds: float = 20, why: str = "") -> Any:
    """The first true value of the condition (a function, or one that returns an awaitable)."""
    deadline = time.monotonic() + seconds
    value: Any = None
    while time.monotonic() < deadline:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {why or condition} (last: {value!r})")


class StubMarathon:
    """Serves ``apps``; ``publish`` sends an event to every stream."""

    def __init__(self) -> None:
        self.apps: list[Json] = []
        self.status = 200
        self.looks = 0
        self.subscribed: set[str] = set()
        self._streams: set[web.StreamResponse] = set()

    def routes(self) -> web.Application:
        app = web.Application()
        app.add_routes([web.get("/v2/apps", self._list), web.get("/v2/events", self._events)])
        return app

    async def publish(self, kind: str = "status_update_event") -> None:
        for stream in list(self._streams):
            await stream.write(f"event: {kind}\r\ndata: {json.dumps({'eventType': kind})}\r\n\r\n".encode())

    async def show(self, *apps: Json) -> None:
        self.apps = list(apps)
        await self.publish()

    async def _list(self, request: web.Request) -> web.Response:
        assert request.query["embed"] == "apps.tasks"
        self.looks += 1
        if self.status != 200:
            return web.json_response({"message": "no leader"}, status=self.status)
        return web.json_response({"apps": self.apps})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        self.subscribed = set(request.query.getall("event_type"))
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        self._streams.add(stream)
        try:
            with contextlib.suppress(ConnectionError):
                while True:
                    await asyncio.sleep(1)
                    await stream.write(b"\r\n")
        finally:
            self._streams.discard(stream)
        return stream


async def _name(request: web.Request) -> web.Response:
    return web.Response(text=request.app[NAME])


class Balancer:
    """The load balancer's process, seen from outside."""

    def __init__(self, process: asyncio.subprocess.Process, directory: Path, address: str) -> None:
        self.process = process
        self.directory = directory
        self.address = address
        self.service = f"http://{address}:{PORT}"
        ready = json.loads((directory / "ready.json").read_text())
        self.url: str = ready["url"]
        self.appid_url: str = ready["appid_url"]
        self.http_url: str = ready["http_url"]
        self.https_url: str = ready["https_url"]

    async def get(self, path: str) -> str:
        async with aiohttp.request("GET", self.url + path) as response:
            assert response.status == 200
            return await response.text()

    async def pids(self) -> list[int]:
        return [int(pid) for pid in (await self.get("/_haproxy_getpids")).split(" ")]

    async def servers(self) -> dict[int, str]:
        """The status of each server by its port, in the current worker."""
        return {port: row["status"] for _, port, row in await self.rows()}

    async def rows(self) -> list[tuple[str, int, dict[str, str]]]:
        """The backend, the port and the whole row of each server in the statistics."""
        found = csv.DictReader((await self.get("/haproxy?stats;csv")).lstrip("# ").splitlines())
        return [
            (row["pxname"], int(row["svname"].rpartition("_")[2]), row)
            for row in found
            if row["svname"] not in ("FRONTEND", "BACKEND")
        ]


class World:
    """Everything one test needs; ended with it. ``failing``: names of tasks whose checks fail. ``passed``: how many
    checks each task has passed."""

    def __init__(self, directory: Path, stack: contextlib.AsyncExitStack) -> None:
        self.marathon = StubMarathon()
        self.marathon_url = ""
        self.release = asyncio.Event()
        self.failing: set[str] = set()
        self.passed: Counter[str] = Counter()
        self._directory = directory
        self._stack = stack

    async def serve(self, app: web.Application) -> int:
        """The port where this is served now."""
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port: int = runner.addresses[0][1]
        return port

    async def task(self, name: str, **more: Any) -> Json:
        """A running task that answers with its name; to ``/held`` only when the world's ``release`` is set."""
        app = web.Application()
        app[NAME] = name

        async def held(request: web.Request) -> web.Response:
            await self.release.wait()
            return await _name(request)

        async def health(_: web.Request) -> web.Response:
            if name in self.failing:
                return web.Response(status=503)
            self.passed[name] += 1
            return web.Response(text="ok")

        app.add_routes([web.get("/", _name), web.get("/held", held), web.get("/health", health)])
        return a_task(name, await self.serve(app), **more)

    async def balancer(self, *options: str) -> Balancer:
        """A started load balancer on a loopback address of its own."""
        address = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}.{random.randrange(1, 255)}"
        with open(self._directory / "lb.log", "wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bgci.sandbox.loadbalancer", "--marathon", self.marathon_url,
                "--address", address, "--state-dir", str(self._directory), *options,
                stdout=log, stderr=log,
            )  # fmt: skip
        self._stack.push_async_callback(_end, process)
        await until((self._directory / "ready.json").exists, why="ready.json")
        return Balancer(process, self._directory, address)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(process.wait(), 10)


@contextlib.asynccontextmanager
async def a_world(directory: Path) -> AsyncIterator[World]:
    async with contextlib.AsyncExitStack() as stack:
        world = World(directory, stack)
        world.marathon_url = f"http://127.0.0.1:{await world.serve(world.marathon.routes())}"
        yield world


def lives(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def haproxies_below(directory: Path) -> list[int]:
    """HAProxy processes that work in this directory."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                comm = Path(entry.path, "comm").read_text().strip()
                if comm == "haproxy" and os.readlink(f"{entry.path}/cwd") == str(directory):
                    found.append(int(entry.name))
    return found
