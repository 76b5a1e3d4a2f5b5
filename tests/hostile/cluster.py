"""A cluster of canned answers on one address, one of whose endpoints gives a hostile answer.

The sandbox answers well, so what it cannot say is said here: nothing is simulated, every answer stays the same.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

Send = Callable[[bytes], None]
Answer = Callable[[Send, bytes, threading.Event], None]
"""Writes a whole answer to ``Send``, head and body, instead of this good body; ends when the event is set."""

TASKS = "/service/marathon/v2/tasks"
# The name of a request's endpoint: the first pattern that its method and path match.
ENDPOINTS: tuple[tuple[str, str], ...] = (
    ("version", r"GET /dcos-metadata/dcos-version\.json"),
    ("login", r"POST /acs/api/v1/auth/login"),
    ("permissions", r"GET /acs/api/v1/users/"),
    ("secrets", r"GET /secrets/"),
    ("ca", r"GET /ca/"),
    ("marathon-ping", r"GET /service/marathon/ping"),
    ("info", r"GET /service/marathon/v2/info"),
    ("queue", r"GET /service/marathon/v2/queue"),
    ("deployments", r"GET /service/marathon/v2/deployments"),
    ("cancel", r"DELETE /service/marathon/v2/deployments"),
    ("apps", r"GET /service/marathon/v2/apps($|\?)"),
    ("app", r"GET /service/marathon/v2/apps/"),
    ("create", r"POST /service/marathon/v2/apps"),
    ("change", r"PUT /service/marathon/v2/apps"),
    ("delete", r"DELETE /service/marathon/v2/apps"),
    ("kill", r"POST /service/marathon/v2/tasks/delete"),
    ("metronome-ping", r"GET /service/metronome/ping"),
    ("metronome-info", r"GET /service/metronome/info"),
    ("jobs", r"GET /service/metronome/v1/jobs($|\?)"),
    ("runs", r"GET /service/metronome/v1/jobs/[^/]*/runs$"),
    ("run", r"GET /service/metronome/v1/jobs/[^/]*/runs/"),
    ("job", r"GET /service/metronome/v1/jobs/"),
    ("start", r"POST /service/metronome/v1/jobs/[^/]*/runs$"),
    ("stop", r"POST /service/metronome/v1/jobs/[^/]*/runs/.*/stop"),
    ("create-job", r"POST /service/metronome/v1/jobs"),
    ("change-job", r"PUT /service/metronome/v1/jobs"),
    ("delete-job", r"DELETE /service/metronome/v1/jobs"),
    ("log", r"GET /system/v1/logs/"),
    ("files", r"GET /agent/"),
    ("state", r"GET /mesos/master/state"),
    ("tasks", r"POST /mesos/api/v1"),
    ("statistics", r"GET /haproxy\?stats;csv"),
    ("statistics-page", r"GET /haproxy\?stats"),
    ("pids", r"GET /_haproxy_getpids"),
    ("config", r"GET /_haproxy_getconfig"),
    ("reload", r"GET /_mlb_signal"),
    ("instance", r"[A-Z]+ /"),
)
TEXTS = {"marathon-ping", "metronome-ping", "ca", "log", "statistics", "statistics-page", "pids", "config", "reload"}
TEXTS |= {"instance"}

MISSING = b'{"message": "There is none of that name."}'

DEFINITION: dict[str, Any] = {
    "id": "/web",
    "instances": 1,
    "cpus": 0.1,
    "mem": 32,
    "networks": [{"mode": "container/bridge"}],
    "container": {
        "type": "DOCKER",
        "docker": {"image": "{{ image }}"},
        "portMappings": [{"containerPort": 80, "servicePort": 10001}],
    },
    "healthChecks": [{"protocol": "HTTP", "path": "/", "intervalSeconds": 1, "timeoutSeconds": 1}],
    "labels": {
        "HAPROXY_GROUP": "external",
        "HAPROXY_DEPLOYMENT_GROUP": "web",
        "HAPROXY_DEPLOYMENT_ALT_PORT": "10002",
    },
}


class Cluster:
    """The cluster, its load balancer and the instances of ``/web``, revision v1 beside its canary v2.

    It remembers nothing but the locks that commands create and delete: without them no command would get any further.

    ``hostile``: the endpoint that answers by ``answer``. ``asked``: which endpoints were asked, in order. ``alone``:
    v2 runs alone, and v1 served before it. ``ended``: a job's run has ended as soon as it was started. ``jobs``: the
    job definitions by id.
    """

    def __init__(self) -> None:
        self.hostile = ""
        self.answer: Answer = _nothing
        self.asked: list[str] = []
        self.alone = False
        self.ended = False
        self.jobs: Mapping[str, Any] = {}
        self.locks: dict[str, Any] = {}  # by path
        self.over = threading.Event()
        self._listeners: list[socket.socket] = []
        while len(self._listeners) < 2:  # until a port is free at both addresses
            for listener in self._listeners:
                listener.close()
            self._listeners = [socket.create_server(("127.0.0.1", 0), backlog=64)]
            self.port = self._listeners[0].getsockname()[1]
            with suppress(OSError):
                self._listeners.append(socket.create_server(("127.0.0.2", self.port), backlog=64))
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Cluster:
        for listener in self._listeners:
            threading.Thread(target=self._serve, args=(listener,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for listener in self._listeners:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def answering(self, endpoint: str, answer: Answer) -> None:
        """Sets the answer of this endpoint. Unfinished hostile answers end."""
        self.over.set()
        self.over = threading.Event()
        self.hostile, self.answer, self.asked, self.locks = endpoint, answer, [], {}

    def _serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=self._handle, args=(connection,), daemon=True).start()

    def _handle(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(60)
            data = b""
            while b"\r\n\r\n" not in data:
                part = connection.recv(65536)
                if not part:
                    return
                data += part
            head, _, body = data.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: *([0-9]+)", head)
            while length and len(body) < int(length[1]):
                body += connection.recv(65536)
            method, target = head.split(b"\r\n")[0].decode("latin-1").split(" ")[:2]
            endpoint = next(name for name, form in ENDPOINTS if re.match(form, f"{method} {target}"))
            self.asked.append(endpoint)
            self._remember(endpoint, target.partition("?")[0], body)
            good = self._good(endpoint, target)
            if endpoint == self.hostile:
                self.answer(connection.sendall, good, self.over)
            else:
                kind = "text/plain" if endpoint in TEXTS else "application/json"
                connection.sendall(whole(good, kind, "404 Not Found" if good == MISSING else "200 OK"))

    def _remember(self, endpoint: str, path: str, body: bytes) -> None:
        """Records the creation or deletion of a lock, also if the answer is hostile."""
        if endpoint == "create" and (lock := json.loads(body)).get("labels", {}).get("BGCI_LOCK_OF"):
            version = f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%S}.000Z"
            self.locks[f"{path}{lock['id']}"] = {**lock, "version": version}
        elif endpoint == "delete":
            self.locks.pop(path, None)

    # -- good answers -------------------------------------------------------------------------------------------------

    def _good(self, endpoint: str, target: str) -> bytes:
        found = self._value(endpoint, target)
        return found.encode() if isinstance(found, str) else json.dumps(found).encode()

    def _value(self, endpoint: str, target: str) -> Any:
        path = target.partition("?")[0]
        name = path.rpartition("/jobs/")[2].split("/")[0]
        match endpoint:
            case "version":
                return {"version": "1.13.4", "dcos-variant": "enterprise"}
            case "login":
                return {"token": "e30.e30.c2ln"}
            case "permissions":
                return {"direct": [], "groups": []}
            case "secrets":
                return {"array": ["bgci-service-account"]}
            case "info":
                return {"version": "1.8.222", "elected": True, "leader": "127.0.0.1:8080"}
            case "queue":
                return {"queue": [{"id": "/web-green", "app": {"id": "/web-green"}, "count": 1, "delay": {}}]}
            case "deployments":
                return []
            case "apps":
                return {"apps": [*self.apps(), *self.locks.values()]}
            case "app":
                found = self.locks.get(path) or next((app for app in self.apps() if path.endswith(app["id"])), None)
                return {"app": found} if found else json.loads(MISSING)
            case "create" | "change" | "delete" | "kill" | "cancel":
                return {"deploymentId": "d1", "version": "2026-01-01T00:00:00.000Z"}
            case "jobs":
                return [{**job, "activeRuns": [], "historySummary": {}} for job in self.jobs.values()]
            case "job" if name in self.jobs:
                runs = [{"id": "r1", "tasks": ["t-r1"]}]
                history = {"successfulFinishedRuns": runs, "failedFinishedRuns": []}
                return {**self.jobs[name], "activeRuns": [], "historySummary": {}, "history": history}
            case "create-job" | "change-job" | "delete-job":
                return {}
            case "runs":
                return []
            case "job":
                return json.loads(MISSING)
            case "run" if self.ended:
                return json.loads(MISSING)
            case "run":
                return {"id": "r1", "status": "ACTIVE", "tasks": [{"id": "t-r1"}]}
            case "start" | "stop":
                return {"id": "r1", "status": "INITIAL", "tasks": []}
            case "log" | "files":
                return "[    0.0s]   Goal: canary v2 of /web (bluegreen).\n" if endpoint == "log" else {"data": "x\n"}
            case "state":
                status = {"container_status": {"container_id": {"value": "c1"}}}
                task = {"id": "t-r1", "slave_id": "s1", "framework_id": "f1", "statuses": [status]}
                return {"frameworks": [{"tasks": [task]}], "completed_frameworks": []}
            case "tasks":
                return {"get_tasks": {"tasks": [{"task_id": {"value": "t-r1"}, "statuses": []}]}}
            case "statistics":
                return self._statistics()
            case "statistics-page":
                return "<b>HAProxy version 2.4.22</b> <b>pid = </b> 21 <b>uptime = </b> 1d 2h03m04s<br>"
            case "pids":
                return "8 21\n"
            case "config":
                servers = "".join(f"  server {name} {at} check\n" for name, at in self._servers())
                front = "frontend web_10001\n  bind *:10001\n  default_backend web_10001\n"
                return f"global\n  daemon\n{front}backend web_10001\n{servers}"
            case "metronome-ping" | "marathon-ping":
                return "pong\n"
            case "metronome-info":
                return {"version": "0.6.71"}
        return "hello from the instance"

    def _servers(self) -> list[tuple[str, str]]:
        hosts = ["127.0.0.1"] if self.alone else ["127.0.0.2", "127.0.0.1"]
        return [(f"{host.replace('.', '_')}_{self.port}", f"{host}:{self.port}") for host in hosts]

    def _statistics(self) -> str:
        head = "# pxname,svname,qcur,scur,status,stot,econ,eresp,hrsp_2xx,hrsp_5xx,rtime,\n"
        return head + "".join(f"web_10001,{name},0,0,UP,10,0,0,10,0,1,\n" for name, _ in self._servers())

    def apps(self) -> list[dict[str, Any]]:
        new = self._app("green", "v2", "2026-01-02T00:00:00.000", "127.0.0.1")
        if self.alone:
            new["labels"] = {**new["labels"], "BGCI_PREVIOUS_REVISION": "v1"}
            return [new]
        return [self._app("blue", "v1", "2026-01-01T00:00:00.000", "127.0.0.2"), new]

    def _app(self, colour: str, revision: str, started: str, host: str) -> dict[str, Any]:
        app: dict[str, Any] = json.loads(json.dumps(DEFINITION).replace("{{ image }}", f"image:{revision}"))
        labels = {
            "HAPROXY_DEPLOYMENT_COLOUR": colour,
            "HAPROXY_DEPLOYMENT_STARTED_AT": started,
            "HAPROXY_DEPLOYMENT_TARGET_INSTANCES": "1",
            "HAPROXY_APP_ID": "/web",
            "BGCI_REVISION": revision,
            "BGCI_IMAGE": f"image:{revision}",
        }
        task = {
            "id": f"t-{revision}",
            "host": host,
            "ports": [self.port],
            "state": "TASK_RUNNING",
            "startedAt": f"{started}Z",
            "healthCheckResults": [{"alive": True, "firstSuccess": f"{started}Z"}],
        }
        return {
            **app,
            "id": f"/web-{colour}",
            "labels": {**app["labels"], **labels},
            "version": f"{started}Z",
            "versionInfo": {"lastScalingAt": f"{started}Z"},
            "tasks": [task],
            "tasksRunning": 1,
            "tasksHealthy": 1,
            "deployments": [],
        }


def whole(body: bytes, kind: str = "application/json", status: str = "200 OK", *more: str) -> bytes:
    """Sends a whole answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def _nothing(send: Send, good: bytes, over: threading.Event) -> None:
    """Closes the connection."""
