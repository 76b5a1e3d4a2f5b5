"""Thin clients: requests, replies, and waits for a condition. They share no code with the tested programs."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

IMAGE = "httpd:2.4"
WAIT_SECONDS = 30.0


def until(condition: Callable[[], Any], seconds: float = WAIT_SECONDS) -> Any:
    """The condition's first true value; fails when it has none in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"still not so after {seconds:g} s: {condition}"
        time.sleep(0.02)


@dataclass
class Sandbox:
    """A running sandbox and where it answers."""

    process: subprocess.Popen[bytes]
    directory: Path
    marathon_url: str
    metronome_url: str
    cluster_url: str
    more: dict[str, str] = field(default_factory=dict)
    """Of a secured one: paths by name."""


def start_server(directory: Path, *options: str) -> Sandbox:
    """Starts a sandbox's cluster, as a process; it answers when this returns."""
    directory.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "bgci.sandbox.server", "--state-dir", str(directory), *options]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    path = directory / "cluster.json"
    until(lambda: path.exists() or process.poll() is not None)
    assert process.poll() is None, (directory / "log").read_text()
    told = json.loads(path.read_text())
    urls = {name: told.pop(name) for name in ("marathon_url", "metronome_url", "cluster_url")}
    return Sandbox(process, directory, **urls, more=told)


def stop_server(sandbox: Sandbox) -> None:
    sandbox.process.terminate()
    sandbox.process.wait(timeout=20)
    assert "Traceback" not in (sandbox.directory / "log").read_text()


class Client:
    """Requests relative to one URL."""

    def __init__(self, url: str) -> None:
        self.url = url

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
        options.setdefault("timeout", 10)
        if body is not None:
            options["json"] = body
        return requests.request(method, self.url + path, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.call("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        return self.call("POST", path, body, **options)

    def put(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        return self.call("PUT", path, body, **options)

    def delete(self, path: str, **options: Any) -> requests.Response:
        return self.call("DELETE", path, **options)


class Marathon(Client):
    """Marathon, and the apps that were created through this client."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.created: list[str] = []

    @functools.cached_property
    def modern(self) -> bool:
        """Whether this Marathon answers like 1.8 and later."""
        major, minor, *_ = self.get("/v2/info").json()["version"].split(".")
        return (int(major), int(minor)) >= (1, 8)

    def create(self, definition: dict[str, Any]) -> requests.Response:
        reply = self.post("/v2/apps", definition)
        if reply.status_code == 201:
            self.created.append(reply.json()["id"])
        return reply

    def deploy(self, definition: dict[str, Any]) -> dict[str, Any]:
        """Creates an app and waits for the end of its deployment. Returns the app."""
        reply = self.create(definition)
        assert reply.status_code == 201, reply.text
        self.settled()
        return self.app(reply.json()["id"])

    def app(self, app_id: str) -> dict[str, Any]:
        reply = self.get(f"/v2/apps/{app_id}")
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()["app"]
        return found

    def tasks(self, app_id: str) -> list[dict[str, Any]]:
        return list(self.app(app_id)["tasks"])

    def settled(self) -> None:
        """Waits until no deployment of this client's apps is left."""

        def idle() -> bool:
            deployments = self.get("/v2/deployments").json()
            return not any(set(deployment["affectedApps"]) & set(self.created) for deployment in deployments)

        until(idle)

    def clean_up(self) -> None:
        for app_id in self.created:
            self.delete(f"/v2/apps/{app_id}")
        self.settled()

    @contextlib.contextmanager
    def events(self, *types: str) -> Iterator[list[dict[str, Any]]]:
        """The events that arrive while the block runs, in a growing list; the first says that the stream is open."""
        parts = urllib.parse.urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=60)
        chosen = [("event_type", name) for name in (*types, "event_stream_attached")] if types else []
        path = f"{parts.path}/v2/events?{urllib.parse.urlencode(chosen)}"
        connection.request("GET", path, headers={"Accept": "text/event-stream"})
        stream = connection.sock
        reply = connection.getresponse()
        assert reply.status == 200
        seen: list[dict[str, Any]] = []

        def read() -> None:
            with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
                for line in iter(reply.readline, b""):
                    if line.startswith(b"data: "):
                        seen.append(json.loads(line[6:]))

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        until(lambda: seen)
        try:
            yield seen
        finally:
            stream.shutdown(socket.SHUT_RDWR)
            reader.join()
            connection.close()


class Metronome(Client):
    """Metronome, and the jobs that were created through this client."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.created: list[str] = []

    def create(self, spec: dict[str, Any]) -> requests.Response:
        reply = self.post("/v1/jobs", spec)
        if reply.status_code == 201:
            self.created.append(spec["id"])
        return reply

    def history(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/v1/jobs/{job_id}", params={"embed": "history"}).json()["history"]
        return found

    def clean_up(self) -> None:
        for job_id in self.created:
            self.delete(f"/v1/jobs/{job_id}", params={"stopCurrentJobRuns": "true"})


@dataclass
class WebApp:
    """An app definition in the making."""

    name: str
    instances: int = 1
    env: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    health: dict[str, Any] | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def definition(self) -> dict[str, Any]:
        check = {"protocol": "HTTP", "path": "/", "portIndex": 0, "intervalSeconds": 1, "gracePeriodSeconds": 30}
        checks = [] if self.health == {} else [{**check, **(self.health or {})}]
        return {
            "id": f"/{self.name}",
            "instances": self.instances,
            "cpus": 0.01,
            "mem": 32,
            "container": {"type": "DOCKER", "docker": {"image": IMAGE}, "portMappings": [{"containerPort": 80}]},
            "networks": [{"mode": "container/bridge"}],
            "healthChecks": checks,
            "env": self.env,
            "labels": self.labels,
            **self.extra,
        }


def instance_of(task_id: str) -> str:
    """The instance that a task belongs to, in the form of 1.8 and later or of 1.7."""
    name, dot, uuid = task_id.rpartition(".")
    return task_id.split("._app.")[0] if "._app." in task_id else f"{name}{dot}marathon-{uuid}"


def missing(reply: requests.Response) -> str:
    """The message of a 404. Since 1.8 some have an empty list of details as well."""
    assert reply.status_code == 404, reply.text
    body = reply.json()
    assert body.pop("details", []) == []
    assert body.keys() == {"message"}
    return str(body["message"])


def web_app(name: str, instances: int = 1, **fields: Any) -> dict[str, Any]:
    """A small web server behind a bridge network, checked by Marathon every second."""
    known = {key: fields.pop(key) for key in ("env", "labels", "health") if key in fields}
    return WebApp(name, instances, **known, extra=fields).definition()


def counts(app: dict[str, Any]) -> tuple[int, int, int, int]:
    """Staged, running, healthy, unhealthy."""
    return (app["tasksStaged"], app["tasksRunning"], app["tasksHealthy"], app["tasksUnhealthy"])
