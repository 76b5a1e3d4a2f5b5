"""Measures how long a cancelled command takes to end, as a DC/OS Job and in this process, for each --on-abort.

    python bench/abort.py          the table of docs/engine.md, three times each (about five minutes)
    python bench/abort.py --times 1

"platform": time outside bgci's control: health, load balancers and ends of tasks in the rollback (`timings` of
result.json), and Metronome's launch of its job. "own": the rest, with the interpreter's start inside that job.
"""

from __future__ import annotations

import argparse
import signal
import socket
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from e2e.conftest import web
from e2e.lab import App, Lab, Running, claim_port, until

from bgci.sandbox import control
from bgci.sandbox.metronome.core import LAUNCH_SECONDS

STAGES = ("canary", "promote", "release")
WAYS = ("direct", "job")
ON_ABORT = ("leave", "rollback")


@contextmanager
def new_app(lab: Lab) -> Iterator[App]:
    """One of two instances, which v1 has."""
    name = f"web-{uuid.uuid4().hex[:6]}"
    claims: list[tuple[int, socket.socket]] = [claim_port() for _ in range(2)]
    (port, _), (alternative, _) = claims
    directory = lab.home.parent / name
    directory.mkdir()
    app = App(lab, directory, f"/{name}", name, [port], web(f"/{name}", name, 2, [port], [alternative]))
    app.promote("v1")
    yield app
    for running in app.apps():
        lab.marathon.delete(running["id"])
    for _, claim in claims:
        claim.close()


def begun(app: App, stage: str, via: str, on_abort: str) -> Running:
    """The stage during its slow step: a canary or a second instance that starts, a test program."""
    slow, environment = {"SANDBOX_START_SECONDS": "60"}, {"BGCI_VIA": via, "BGCI_ON_ABORT": on_abort}
    app.write("v2", **({"env": slow} if stage == "canary" else {}))
    if via == "job" and stage != "release":
        app.publish("v2")
    if stage == "promote":
        app.canary("v2", BGCI_VIA=via)
    tests = ("--test-command", "echo began > began; exec sleep 100") if stage == "release" else ()
    running = app.start(stage, "v2", *tests, **environment)
    if stage == "release":
        until((app.directory / "began").exists)
    elif stage == "canary":
        until(lambda: len(app.apps()) == 2)
    else:
        until(lambda: app.runs().get("v2") == 2)
    return running


def measured(lab: Lab, stage: str, via: str, on_abort: str) -> tuple[float, float]:
    """Seconds from the signal to the end, in all and own."""
    with new_app(lab) as app:
        running = begun(app, stage, via, on_abort)
        time.sleep(0.3)
        sent = time.monotonic()
        running.process.send_signal(signal.SIGINT)
        ended = running.end()
        seconds = time.monotonic() - sent
        assert ended.code == 130, ended.text
        back = on_abort == "rollback"
        assert ("rolled back" in ended.result["message"]) == back, ended.text
        assert sorted(app.runs()) == (["v1"] if back else ["v1", "v2"])
        platform = ended.result["timings"]["limit_seconds"] + (LAUNCH_SECONDS if via == "job" else 0) if back else 0.0
        return seconds, seconds - platform


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3)
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory) / "sandbox"
        lab = Lab(home, control.up(home, replicas=2, addresses=["127.0.9.1", "127.0.9.2"]))
        print("| stage | via | on-abort | seconds in all | own, median | own, longest |\n|---|---|---|---|---|---|")
        try:
            for stage in STAGES:
                for via in WAYS:
                    for on_abort in ON_ABORT:
                        runs = [measured(lab, stage, via, on_abort) for _ in range(times)]
                        (longest, _), own = max(runs), [mine for _, mine in runs]
                        figures = f"{longest:.1f} | {statistics.median(own):.1f} | {max(own):.1f}"
                        print(f"| {stage} | {via} | {on_abort} | {figures} |", flush=True)
        finally:
            control.down(home)


if __name__ == "__main__":
    main()
