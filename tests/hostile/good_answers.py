"""The good answers of the canned cluster."""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from hostile.tls import certificate

LOCK = "BGCI_LOCK_OF"  # the label of a lock
PREVIEW = "BGCI_PREVIEW_OF"  # the label of a preview
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


@dataclass(frozen=True)
class State:
    """What differs from the usual state, in which v1 and its canary v2 run with one healthy instance each.

    ``colours``: of the running apps; v2 is green, and v1 served before it. ``foreign``: another tool has deployed v1.
    ``instances``: of each app. ``target``: instances that each app shall have. ``baseline``: tasks of v1; v2 has one.
    ``placeholder``: v2 has another task without health.
    ``out``: the hosts whose tasks are out of rotation. ``ended``: a job's run has ended as soon as it was started;
    ``failed``: with an error. ``active``: each job has an active run. ``refused`` and ``missing``: endpoints that
    answer 403 and 404. ``uid`` and ``seconds``: claims of the login's token: its account, and how long it is valid.
    """

    colours: tuple[str, ...] = ("blue", "green")
    foreign: bool = False
    instances: int = 1
    target: int = 1
    baseline: int = 1
    placeholder: bool = False
    out: tuple[str, ...] = ()
    ended: bool = False
    failed: bool = False
    active: bool = False
    refused: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    uid: str = ""
    seconds: float = 0.0


ALONE = State(colours=("green",))


class GoodAnswers:
    """Remembers nothing but the locks and previews that commands create and delete: without them no command would get
    any further. ``jobs``: the job definitions by id."""

    def __init__(self) -> None:
        self.state = State()
        self.jobs: Mapping[str, Any] = {}
        self.created: dict[str, Any] = {}  # by path
        self.port = 0
        self._began = time.time()

    def good(self, endpoint: str, target: str, body: bytes) -> bytes:
        """The good answer. Remembers a creation or deletion, also if the answer is hostile."""
        path = target.partition("?")[0]
        self._remember(endpoint, path, body)
        if endpoint in self.state.missing:
            return MISSING
        found = self._value(endpoint, path)
        return found.encode() if isinstance(found, str) else json.dumps(found).encode()

    def status(self, endpoint: str, good: bytes) -> str:
        """The status of the good answer."""
        if endpoint in self.state.refused:
            return "403 Forbidden"
        return "404 Not Found" if good == MISSING else "200 OK"

    def _remember(self, endpoint: str, path: str, body: bytes) -> None:
        if endpoint == "create-lock":
            lock = json.loads(body)
            self.created[f"{path}{lock['id']}"] = {**lock, "version": _moment()}
        elif endpoint == "create" and PREVIEW.encode() in body:
            app = json.loads(body)
            self.created[f"{path}{app['id']}"] = self._running(app, ["127.0.0.1"], _moment())
        elif endpoint in ("delete-lock", "delete"):
            self.created.pop(path, None)

    def _value(self, endpoint: str, path: str) -> Any:
        for part in (self._cluster, self._marathon, self._metronome, self._balancer):
            found = part(endpoint, path)
            if found is not None:
                return found
        return "hello from the instance"

    def _cluster(self, endpoint: str, path: str) -> Any:
        match endpoint:
            case "version":
                return {"version": "1.13.4", "dcos-variant": "enterprise"}
            case "login" | "login-again":
                return {"token": self._token()}
            case "ca":
                return ssl.DER_cert_to_PEM_cert(certificate().der)
            case "permissions":
                return {"direct": [], "groups": []}
            case "secrets":
                return {"array": ["bgci-service-account"]}
            case "secret":
                return {"value": "x"}
            case "state":
                status = {"container_status": {"container_id": {"value": "c1"}}}
                task = {"id": "t-r1", "slave_id": "s1", "framework_id": "f1", "statuses": [status]}
                return {"frameworks": [{"tasks": [task]}], "completed_frameworks": []}
            case "tasks":
                return {"get_tasks": {"tasks": [{"task_id": {"value": "t-r1"}, "statuses": []}]}}
            case "log":
                return "[    0.0s]   Goal: canary v2 of /web (bluegreen).\n"
            case "files":
                return {"data": "x\n"}
        return None

    def _marathon(self, endpoint: str, path: str) -> Any:
        match endpoint:
            case "marathon-ping":
                return "pong\n"
            case "info":
                return {"version": "1.8.222", "elected": True, "leader": "127.0.0.1:8080"}
            case "queue":
                return {"queue": [{"id": "/web-green", "app": {"id": "/web-green"}, "count": 1, "delay": {}}]}
            case "apps" | "locks":
                return {"apps": [*self.apps(), *self.created.values()]}
            case "app":
                found = self.created.get(path) or next((app for app in self.apps() if path.endswith(app["id"])), None)
                return {"app": found} if found else json.loads(MISSING)
            case "delete-task":
                return json.loads(MISSING)
            case "create-lock" | "renew-lock" | "delete-lock" | "create" | "change" | "delete" | "kill" | "cancel":
                return {"deploymentId": "d1", "version": "2026-01-01T00:00:00.000Z"}
        return None

    def _metronome(self, endpoint: str, path: str) -> Any:
        name = path.rpartition("/jobs/")[2].split("/")[0]
        runs = [{"id": "r1", "status": "ACTIVE", "tasks": [{"id": "t-r1"}]}]
        active = {"activeRuns": runs if self.state.active else [], "historySummary": {}}
        match endpoint:
            case "metronome-ping":
                return "pong\n"
            case "metronome-info":
                return {"version": "0.6.71"}
            case "jobs":
                return [{**job, **active} for job in self.jobs.values()]
            case "job" | "history" if name in self.jobs:
                finished = [{"id": "r1", "tasks": ["t-r1"]}]
                kinds = ("failedFinishedRuns", "successfulFinishedRuns")
                history = dict(zip(kinds if self.state.failed else kinds[::-1], (finished, []), strict=True))
                return {**self.jobs[name], **active, "history": history}
            case "create-job" | "change-job" | "delete-job":
                return {}
            case "runs":
                return runs if self.state.active else []
            case "job" | "history":
                return json.loads(MISSING)
            case "run":
                return json.loads(MISSING) if self.state.ended else runs[0]
            case "start" | "stop":
                return {"id": "r1", "status": "INITIAL", "tasks": []}
        return None

    def _balancer(self, endpoint: str, path: str) -> Any:
        match endpoint:
            case "statistics":
                head = "# pxname,svname,qcur,scur,status,stot,econ,eresp,hrsp_2xx,hrsp_5xx,rtime,\n"
                rows = (f"web_10001,{name},0,0,{status},10,0,0,10,0,1,\n" for name, _, status in self._servers())
                preview = f"web-preview_10002,127_0_0_1_{self.port},0,0,UP,0,0,0,0,0,0,\n"
                return head + "".join(rows) + preview
            case "statistics-page":
                minutes, seconds = divmod(int(time.time() - self._began), 60)
                uptime = f"1d 2h{minutes % 60:02}m{seconds:02}s"
                return f"<b>HAProxy version 2.4.22</b> <b>pid = </b> 21 <b>uptime = </b> {uptime}<br>"
            case "pids":
                return "8 21\n"
            case "config":
                servers = "".join(f"  server {name} {at} check\n" for name, at, _ in self._servers())
                front = "frontend web_10001\n  bind *:10001\n  default_backend web_10001\n"
                return f"global\n  daemon\n{front}backend web_10001\n{servers}"
        return None

    def _token(self) -> str:
        """A token. Without claims it is that of an unknown account, and has no end."""
        claims = {"uid": self.state.uid} if self.state.uid else {}
        end = {"exp": time.time() + self.state.seconds} if self.state.seconds else {}
        part = base64.urlsafe_b64encode(json.dumps({**claims, **end}).encode()).decode().rstrip("=")
        return f"e30.{part}.c2ln"

    def _hosts(self) -> dict[str, list[str]]:
        """Each colour's agents, one for each task."""
        blue = [f"127.0.0.{number + 2}" for number in range(self.state.baseline)]
        return {
            colour: hosts
            for colour, hosts in (("blue", blue), ("green", ["127.0.0.1"]))
            if colour in self.state.colours
        }

    def _servers(self) -> list[tuple[str, str, str]]:
        """Name, address and status of each server."""
        return [
            (
                f"{host.replace('.', '_')}_{self.port}",
                f"{host}:{self.port}",
                "MAINT" if host in self.state.out else "UP",
            )
            for hosts in self._hosts().values()
            for host in hosts
        ]

    def apps(self) -> list[dict[str, Any]]:
        found = [self._app(colour, hosts) for colour, hosts in self._hosts().items()]
        if self.state.colours == ("green",):
            found[0]["labels"]["BGCI_PREVIOUS_REVISION"] = "v1"
        return found

    def _app(self, colour: str, hosts: list[str]) -> dict[str, Any]:
        revision, started = ("v1", "2026-01-01T00:00:00.000") if colour == "blue" else ("v2", "2026-01-02T00:00:00.000")
        app: dict[str, Any] = json.loads(json.dumps(DEFINITION).replace("{{ image }}", f"image:{revision}"))
        if self.state.foreign and colour == "blue":
            return self._running(app, hosts, f"{started}Z")
        labels = {
            "HAPROXY_DEPLOYMENT_COLOUR": colour,
            "HAPROXY_DEPLOYMENT_STARTED_AT": started,
            "HAPROXY_DEPLOYMENT_TARGET_INSTANCES": str(self.state.target),
            "HAPROXY_APP_ID": "/web",
            "BGCI_REVISION": revision,
            "BGCI_IMAGE": f"image:{revision}",
        }
        coloured = {**app, "id": f"/web-{colour}", "labels": {**app["labels"], **labels}}
        instances = max(self.state.instances, len(hosts))
        running = self._running({**coloured, "instances": instances}, hosts, f"{started}Z")
        if self.state.placeholder and colour == "green":
            running["tasks"].append(
                {**running["tasks"][0], "id": "t-new", "host": "127.0.0.9", "healthCheckResults": []}
            )
            running["instances"] += 1
        return running

    def _running(self, app: dict[str, Any], hosts: list[str], at: str) -> dict[str, Any]:
        """The app with its tasks and its state, as Marathon shows it."""
        names = [f"t-{app['labels'].get('BGCI_REVISION', 'v1')}" + "-more" * number for number in range(len(hosts))]
        tasks = [
            {
                "id": name,
                "host": host,
                "ports": [self.port],
                "state": "TASK_RUNNING",
                "startedAt": at,
                "healthCheckResults": [{"alive": True, "firstSuccess": at}],
            }
            for name, host in zip(names, hosts, strict=True)
        ]
        return {
            **app,
            "version": at,
            "versionInfo": {"lastScalingAt": at},
            "tasks": tasks,
            "tasksRunning": len(tasks),
            "tasksHealthy": len(tasks),
            "deployments": [],
        }


def _moment() -> str:
    return f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%S}.000Z"
