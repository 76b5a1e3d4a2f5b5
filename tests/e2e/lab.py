"""The tools of every end-to-end test: a command line, an app, load, and a client of Marathon that is not bgci's.

Everything is real: processes, HAProxy, requests. Nothing of ``bgci`` is imported but the sandbox's start."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

WAIT_SECONDS = 60.0
COMMAND_SECONDS = 150.0
BGCI = [sys.executable, "-m", "bgci"]
Json = dict[str, Any]


def until(condition: Callable[[], Any], seconds: float = WAIT_SECONDS, every: float = 0.05) -> Any:
    """The condition's first true value; fails when it has none in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"still not so after {seconds:g} s"
        time.sleep(every)


@dataclass
class Ran:
    """The result of a command."""

    command: str
    code: int
    out: str
    err: str
    seconds: float
    artifacts: Path

    @property
    def text(self) -> str:
        return self.out + self.err

    @property
    def result(self) -> Json:
        found: Json = json.loads((self.artifacts / "result.json").read_text())
        return found

    def journal(self) -> list[Json]:
        return [json.loads(line) for line in (self.artifacts / "journal.jsonl").read_text().splitlines()]

    def decisions(self) -> list[Json]:
        """The decisions of the engine, in order."""
        return [entry["step"] for entry in self.journal() if "step" in entry]

    def instances(self) -> list[int]:
        """How many instances the group was asked to run, at each observation."""
        counts: dict[str, int] = {}
        totals = []
        for entry in self.journal():
            if "full" in entry:
                counts = {}
            for name, app in (entry.get("full") or entry.get("changed") or {}).get("apps", {}).items():
                counts[name] = 0 if app is None else app.get("instances", counts.get(name, 0))
            totals.append(sum(counts.values()))
        return totals


@dataclass
class Running:
    """A command under way."""

    process: subprocess.Popen[str]
    command: str
    artifacts: Path
    began: float = field(default_factory=time.monotonic)

    def end(self, seconds: float = COMMAND_SECONDS) -> Ran:
        """Waits for its end."""
        try:
            out, err = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            raise AssertionError(f"{self.command} did not end in {seconds:g} s:\n{out}\n{err}") from None
        ran = Ran(self.command, self.process.returncode, out, err, time.monotonic() - self.began, self.artifacts)
        assert "Traceback" not in ran.text, ran.text
        return ran

    def kill(self) -> None:
        """``kill -9``. Its output is not checked."""
        self.process.kill()
        self.process.communicate()


@dataclass
class Lab:
    """A sandbox with its load balancers, and the environment in which commands find it."""

    home: Path
    where: Mapping[str, Any]

    @property
    def options(self) -> Json:
        """Options of every request to Marathon and Metronome, as a secured cluster needs them."""
        return {}

    @property
    def marathon(self) -> Marathon:
        return Marathon(self.marathon_url, self.options)

    @property
    def marathon_url(self) -> str:
        return str(self.where["marathon_url"])

    @property
    def metronome_url(self) -> str:
        return str(self.where["metronome_url"])

    @property
    def balancers(self) -> list[str]:
        return list(self.where["marathon_lb_urls"])

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a command, without variables of the CI system or the shell that runs the tests."""
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "PYTHONPATH")}
        urls = " ".join(self.balancers)
        return {
            **kept,
            "BGCI_CLUSTER_URL": self.where["cluster_url"],
            "BGCI_MARATHON_LB_URL": urls,
            "BGCI_JOB_CLUSTER_URL": self.where["cluster_url"],
            "BGCI_JOB_MARATHON_LB_URL": urls,
            "BGCI_JOB_IMAGE": "bgci:latest",
            "BGCI_VIA": "direct",
            "BGCI_TIMEOUT": "90s",
            "BGCI_DRAIN_TIMEOUT": "60s",
            **more,
        }

    def start(self, *words: str, directory: Path, **environment: str) -> Running:
        """Starts ``bgci`` with these words, in a working directory whose ``artifacts`` it writes."""
        process = subprocess.Popen(
            [*BGCI, *words],
            cwd=directory,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        return Running(process, " ".join(words), directory / environment.get("BGCI_ARTIFACTS", "bgci-artifacts"))

    def jobs(self) -> list[str]:
        """The ids of all jobs, from Metronome itself."""
        reply = requests.get(f"{self.metronome_url}/v1/jobs", timeout=10, **self.options)
        return sorted(job["id"] for job in reply.json())

    def job(self, job_id: str, embed: str = "activeRuns") -> Json:
        url = f"{self.metronome_url}/v1/jobs/{job_id}"
        reply = requests.get(url, params={"embed": embed}, timeout=10, **self.options)
        assert reply.status_code == 200, reply.text
        found: Json = reply.json()
        return found


@dataclass(frozen=True)
class Marathon:
    """A client of Marathon, independent of bgci. ``options``: of each."""

    url: str
    options: Json = field(default_factory=dict)

    def apps(self, group: str) -> list[Json]:
        """The apps of a group with their tasks, by id."""
        reply = requests.get(f"{self.url}/v2/apps", params={"embed": "apps.tasks"}, timeout=10, **self.options).json()
        found = [app for app in reply["apps"] if app["labels"].get("HAPROXY_DEPLOYMENT_GROUP") == group]
        return sorted(found, key=lambda app: str(app["id"]))

    def create(self, definition: Json) -> None:
        reply = requests.post(f"{self.url}/v2/apps", json=definition, timeout=10, **self.options)
        assert reply.status_code == 201, reply.text

    def scale(self, app_id: str, instances: int) -> None:
        """Scales the app, and waits until all instances are healthy."""
        reply = requests.put(f"{self.url}/v2/apps{app_id}", json={"instances": instances}, timeout=10, **self.options)
        assert reply.status_code == 200, reply.text
        until(lambda: self.counts(app_id) == (instances, instances, []))

    def counts(self, app_id: str) -> tuple[int, int, list[Json]]:
        """Running, healthy, deployments."""
        app = requests.get(f"{self.url}/v2/apps{app_id}", timeout=10, **self.options).json()["app"]
        return app["tasksRunning"], app["tasksHealthy"], app["deployments"]

    def delete(self, app_id: str) -> None:
        requests.delete(f"{self.url}/v2/apps{app_id}", params={"force": "true"}, timeout=10, **self.options)


def claim_port() -> tuple[int, socket.socket]:
    """A service port for one test process, below the ports that systems assign. A UDP socket tells other test
    processes."""
    for port in range(14000, 19000):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.bind(("127.0.0.1", port))
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            sock.close()
            continue
        return port, sock
    raise AssertionError("no free service port")


@dataclass
class App:
    """An app of the test's own, with its template in a directory of its own."""

    lab: Lab
    directory: Path
    id: str
    group: str
    ports: list[int]
    definition: Json

    @property
    def port(self) -> int:
        return self.ports[0]

    def write(self, revision: str, **changes: Any) -> None:
        """The template of one revision: ``env`` and ``labels`` are added to, other fields replaced."""
        definition = json.loads(json.dumps(self.definition))
        for name, value in changes.items():
            definition[name] = {**definition[name], **value} if name in ("env", "labels") else value
        (self.directory / self.template(revision)).write_text(json.dumps(definition, indent=2))

    def template(self, revision: str) -> str:
        return f"{self.id.strip('/').replace('/', '.')}.{revision}.template.json"

    def start(self, command: str, revision: str = "", *options: str, **environment: str) -> Running:
        """Starts a command for this app; the first use of a revision writes its template."""
        words = [command, "--app", self.id]
        if revision:
            if not (self.directory / self.template(revision)).exists():
                self.write(revision)
            words += ["--revision", revision, "--image", f"image:{revision}"]
        return self.lab.start(*words, *options, directory=self.directory, **environment)

    def run(self, command: str, revision: str = "", *options: str, expect: int = 0, **environment: str) -> Ran:
        """Runs a command for this app to its end and checks its exit code."""
        ran = self.start(command, revision, *options, **environment).end()
        assert ran.code == expect, f"{ran.command} ended with {ran.code}, not {expect}:\n{ran.text}"
        return ran

    def canary(self, revision: str, *options: str, expect: int = 0, **environment: str) -> Ran:
        return self.run("canary", revision, *options, expect=expect, **environment)

    def promote(self, revision: str, *options: str, expect: int = 0, **environment: str) -> Ran:
        return self.run("promote", revision, *options, expect=expect, **environment)

    def rollback(self, revision: str, *options: str, expect: int = 0, **environment: str) -> Ran:
        return self.run("rollback", revision, *options, expect=expect, **environment)

    def publish(self, revision: str, *options: str, expect: int = 0, **environment: str) -> Ran:
        return self.run("publish", revision, *options, expect=expect, **environment)

    def status(self) -> Json:
        found: Json = json.loads(self.run("status", "", "--output", "json").out)
        return found

    # -- what Marathon and the load balancers say ---------------------------------------------------------------------

    def apps(self) -> list[Json]:
        return self.lab.marathon.apps(self.group)

    def locks(self) -> list[str]:
        """The ids of the app's locks."""
        reply = requests.get(f"{self.lab.marathon_url}/v2/apps", timeout=10, **self.lab.options).json()
        return [str(app["id"]) for app in reply["apps"] if app["labels"].get("BGCI_LOCK_OF") == self.id]

    def runs(self) -> dict[str, int]:
        """Instances by revision ("" without one)."""
        return {app["labels"].get("BGCI_REVISION", ""): app["instances"] for app in self.apps()}

    def healthy(self) -> dict[str, int]:
        return {app["labels"].get("BGCI_REVISION", ""): app["tasksHealthy"] for app in self.apps()}

    def id_of(self, revision: str) -> str:
        return next(str(app["id"]) for app in self.apps() if app["labels"].get("BGCI_REVISION", "") == revision)

    def tasks(self, revision: str) -> set[str]:
        return {task["id"] for app in self.apps() if app["id"] == self.id_of(revision) for task in app["tasks"]}

    def state(self) -> list[Any]:
        """The state of the group, which a command without changes must not change."""
        return [
            (app["id"], app["version"], app["instances"], app["labels"], sorted(task["id"] for task in app["tasks"]))
            for app in self.apps()
        ]

    def rows(self, balancer: str) -> list[Json]:
        """The servers of the app's backends in one load balancer, without placeholders."""
        text = requests.get(f"{balancer}/haproxy?stats;csv", timeout=10).text.lstrip("# ")
        names = {f"{self.group.strip('/').replace('/', '_')}_{port}" for port in self.ports}
        rows = csv.DictReader(text.splitlines())
        return [row for row in rows if row["pxname"] in names and row["svname"] not in ("FRONTEND", "BACKEND")]

    def up(self, balancer: str) -> int:
        """Servers in rotation, at the port where they are fewest."""
        counts = {f"_{port}": 0 for port in self.ports}
        for row in self.rows(balancer):
            if row["status"].startswith("UP") or row["status"] == "no check":
                counts["_" + row["pxname"].rpartition("_")[2]] += 1
        return min(counts.values())

    def least_up(self) -> int:
        return min(self.up(balancer) for balancer in self.lab.balancers)

    def answers(self, count: int = 20, port: int = 0) -> dict[str, int]:
        """The number of answers of each revision, for so many new connections to the first load balancer."""
        found: dict[str, int] = {}
        for _ in range(count):
            reply = requests.get(f"http://127.0.0.1:{port or self.port}/", timeout=10)
            assert reply.status_code == 200
            found[reply.headers["X-Revision"]] = found.get(reply.headers["X-Revision"], 0) + 1
        return found

    @contextmanager
    def load(self, *, slow: float = 2.0, slow_seconds: float = 2.5, fast: float = 15.0) -> Iterator[Load]:
        """Sends requests to every service port of every replica within the block; none may fail. The slow ones are
        in flight when the block begins."""
        load = Load(self, slow, slow_seconds, fast)
        try:
            until(lambda: load.count("sent") >= 10)
            yield load
        finally:
            load.stop()
        total = load.total()
        assert total["failed"] == 0, total
        assert total["answered"] == total["sent"]

    @contextmanager
    def long_session(self, seconds: float) -> Iterator[LongSession]:
        """One request to the first load balancer that takes so many seconds."""
        session = LongSession(f"http://127.0.0.1:{self.port}/?sleep={seconds:g}")
        yield session
        session.join()

    @contextmanager
    def watched(self) -> Iterator[Watch]:
        """Counts the instances in rotation while the block runs."""
        watch = Watch(self)
        try:
            yield watch
        finally:
            watch.stop()


class Load:
    """A load generator beside the test."""

    def __init__(self, app: App, slow: float, slow_seconds: float, fast: float) -> None:
        self._file = app.directory / f"load-{time.monotonic_ns()}.jsonl"
        urls = [f"http://{address}:{port}" for port in app.ports for address in app.lab.where["addresses"]]
        options = ["--fast", str(fast), "--kept", "4", "--slow", str(slow), "--slow-seconds", str(slow_seconds)]
        command = [sys.executable, "-m", "bgci.sandbox.load", *urls, "--out", str(self._file), *options]
        self._process = subprocess.Popen(command)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=60)

    def lines(self) -> list[Json]:
        if not self._file.exists():
            return []
        return [json.loads(text) for text in self._file.read_text().splitlines() if text.endswith("}")]

    def count(self, what: str) -> int:
        return sum(int(line[what]) for line in self.lines() if not line.get("total"))

    def total(self) -> Json:
        return next(line for line in reversed(self.lines()) if line.get("total"))

    def answered_by(self, revision: str) -> int:
        return sum(line["answers"].get(revision, 0) for line in self.lines() if not line.get("total"))


class LongSession(threading.Thread):
    """One request in a separate thread; ``status`` and ``revision`` are there when it has ended."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.status = 0
        self.revision = ""
        self.failure = ""
        self.start()

    def run(self) -> None:
        try:
            reply = requests.get(self.url, timeout=120, headers={"Connection": "close"})
            self.status, self.revision = reply.status_code, reply.headers.get("X-Revision", "")
        except requests.RequestException as error:
            self.failure = str(error)


class Watch:
    """The fewest instances in rotation that were seen at any replica."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._over = threading.Event()
        self.least = app.least_up()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(0.15):
            try:
                self.least = min(self.least, self._app.least_up())
            except requests.RequestException:
                continue

    def stop(self) -> None:
        self._over.set()
        self._thread.join()


def send(process_id: int, number: signal.Signals) -> None:
    """Sends a signal to a process of this test."""
    os.kill(process_id, number)
