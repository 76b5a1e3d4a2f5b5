"""Command ``demo``: a whole release against a new sandbox, under load, with DC/OS Jobs.

v1 is deployed in full; v2 as a canary, then completely; v3, which answers errors, is rolled back.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from bgci.engine.observation import App, Observation, Replica, Serving
from bgci.errors import BgciError
from bgci.interruption import call, pause
from bgci.operations.context import Context, stage
from bgci.operations.planning import observer_of
from bgci.options import Settings
from bgci.sandbox import control

APP = "testapp"
PORT = 10102
HYBRID_SECONDS = 8.0  # pause while the canary runs
SLOW_SECONDS = 5.0
LONGEST = 3600.0  # seconds of one command
STARTED = 10.0  # seconds for the sandbox to start, and for the timeline to end
IMAGES = {"v1": "httpd:2.4", "v2": "nginx:1.27", "v3": "broken:1.0"}
UNHEALTHY = 8


@dataclass(frozen=True)
class LabStage:
    """One command of the lab: its expected exit code, and its result."""

    command: str
    revision: str
    options: tuple[str, ...] = ()
    expected: int = 0
    pause: float = 0.0  # seconds after the command
    seconds: float = 0.0
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def code(self) -> int:
        return int(self.result.get("code", -1))


LAB = (
    LabStage("publish", "v1"),
    LabStage("canary", "v1"),  # a first deployment: it deploys the whole app
    LabStage("publish", "v2"),
    LabStage("canary", "v2", pause=HYBRID_SECONDS),
    LabStage("promote", "v2", pause=2.0),
    LabStage("publish", "v3", options=("--set", "health=fail")),
    LabStage("canary", "v3", options=("--timeout", "25s"), expected=UNHEALTHY),
    LabStage("rollback", "v3"),
)


def run(settings: Settings) -> None:
    """Run the lab and print the report. Raises BgciError when a step ends with another code than expected."""
    with stage("demo", settings) as context, tempfile.TemporaryDirectory(prefix="bgci-demo-") as directory:
        context.console.info("Starting a DC/OS on this machine: Marathon, Metronome and two load balancers.")
        try:
            where = call(lambda: control.up(Path(directory), replicas=2), LONGEST, settle=STARTED)
            balancers = list(where["marathon_lb_urls"])
            context.go_on_with(app=APP, cluster_url=where["cluster_url"], marathon_lb_url=balancers)
            _lab(context, where, Path(directory))
        finally:
            control.down(Path(directory))


def _lab(context: Context, where: Mapping[str, Any], directory: Path) -> None:
    """All stages, the load from the first full deployment on, and the report."""
    done: list[LabStage] = []
    log = directory / "load.jsonl"
    with _timeline(context, log):
        for planned in LAB[:2]:
            done.append(_perform(context, where, planned))
        with _load(where["addresses"], log):
            for planned in LAB[2:]:
                done.append(_perform(context, where, planned))
                pause(planned.pause)
    _report(context, done, _total(log))


def _perform(context: Context, where: Mapping[str, Any], planned: LabStage) -> LabStage:
    """Run one command as a user would: another process, its own artifacts."""
    artifacts = Path(context.settings.artifacts) / planned.revision
    command = [planned.command, "--app", APP, "--revision", planned.revision, "--artifacts", str(artifacts)]
    if planned.command == "publish":
        command += ["--image", IMAGES[planned.revision], "--template", str(files("bgci.sandbox") / "lab.template.json")]
    command += planned.options
    context.console.step(f"bgci {' '.join(command)}")
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "bgci", *command],
        env=os.environ | control.variables(where),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )

    def followed() -> None:
        for line in process.stdout or ():
            context.console.foreign(f"{planned.command} {planned.revision}", line)
        process.wait()

    try:
        call(followed, LONGEST)
    finally:
        process.terminate()
    return replace(planned, seconds=time.monotonic() - began, result=_result(artifacts))


def _result(artifacts: Path) -> dict[str, Any]:
    try:
        found = json.loads((artifacts / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


# -- the load and the timeline --------------------------------------------------------------------------------------


@contextmanager
def _load(addresses: list[str], log: Path) -> Iterator[None]:
    urls = [f"http://{address}:{PORT}" for address in addresses]
    process = subprocess.Popen(
        [sys.executable, "-m", "bgci.sandbox.load", *urls, "--out", str(log), "--slow-seconds", str(SLOW_SECONDS)]
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


@contextmanager
def _timeline(context: Context, log: Path) -> Iterator[None]:
    """Print the state, checked twice a second, whenever it changes."""
    over, observer = threading.Event(), observer_of(context)

    def watch() -> None:
        last = ""
        while not over.wait(0.5):
            try:
                text = _moment(observer.observe(APP), _lines(log)[-8:])
            except BgciError:
                continue
            if text != last:
                context.console.info(text)
            last = text

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(STARTED)


def _moment(seen: Observation, lines: list[dict[str, Any]]) -> str:
    """One line of the timeline: each colour's instances in rotation, and its share of the answers."""
    answers: dict[str, int] = {}
    for line in lines:
        for revision, count in line.get("answers", {}).items():
            answers[revision] = answers.get(revision, 0) + count
    total = sum(answers.values())
    parts = [
        f"{app.colour} {app.revision}: {_in_rotation(app, seen)} of {app.instances} in rotation"
        + (f", {5 * round(20 * answers.get(app.revision or '', 0) / total):d}% of answers" if total else "")
        for app in seen.apps
    ]
    return f"timeline  {'   '.join(parts) or 'nothing runs'}"


def _in_rotation(app: App, seen: Observation) -> int:
    """Instances at the load balancer that has the fewest: one can lag behind the other."""

    def up(replica: Replica, apps: Sequence[App]) -> int:
        return sum(replica.server(task.id).serving is Serving.UP for one in apps for task in one.tasks)

    return up(min(seen.replicas, key=lambda replica: up(replica, seen.apps)), [app]) if seen.replicas else 0


def _lines(log: Path) -> list[dict[str, Any]]:
    try:
        texts = log.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [json.loads(text) for text in texts if text.endswith("}")]


def _total(log: Path) -> dict[str, Any]:
    return next((line for line in reversed(_lines(log)) if line.get("total")), {})


# -- the report -----------------------------------------------------------------------------------------------------


def _report(context: Context, done: list[LabStage], total: Mapping[str, Any]) -> None:
    """Print the table of commands and the count of requests. Raises BgciError for an unexpected result."""
    log = context.console.info
    log(f"{'stage':<12} {'revision':<9} {'exit':>5} {'seconds':>8} {'goal':>7} {'limit':>7} {'overhead':>9}")
    for one in done:
        times = one.result.get("timings", {})
        figures = (
            f"{times['total_seconds']:6.1f}s {times['limit_seconds']:6.1f}s {times['overhead']:>8.0%}" if times else ""
        )
        log(f"{one.command:<12} {one.revision:<9} {one.code:>5} {one.seconds:>7.1f}s {figures}")
    log("Limit: the time of the platform itself, for the start and health of tasks, load balancers, and open sessions.")
    failed, sent = total.get("failed", -1), total.get("sent", 0)
    log(f"requests: {sent}, failed: {failed} {json.dumps(total.get('failures', {})) if failed else ''}")
    log(f"artifacts: {context.settings.artifacts}")
    rows = [
        {"command": one.command, "revision": one.revision, "code": one.code, "seconds": round(one.seconds, 3)}
        for one in done
    ]
    context.result = replace(context.result, requests=dict(total), stages=tuple(rows))
    wrong = [f"{one.command} {one.revision} ended with {one.code}" for one in done if one.code != one.expected]
    if failed:
        wrong.append(f"{failed} of {sent} requests failed")
    if wrong:
        raise BgciError(f"The demo failed: {'; '.join(wrong)}.", remedy="Please report this.")
    context.console.result(f"The demo succeeded: {sent} requests, none failed.")
