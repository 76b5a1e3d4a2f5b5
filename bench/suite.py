"""Measures a suite of 200 checks over 10 instances against its slowest chain and the sum of all requests.

    python bench/suite.py

Instances are the sandbox's tasks, as separate processes. 199 checks send one request to each instance; one sends 200
of them one after the other, which is the slowest chain. Each request takes 50 ms to answer.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from bgci.checks import runner
from bgci.checks.model import Check, Expect, Suite
from bgci.checks.test_result import Outcome
from bgci.sandbox import task_server

INSTANCES, CHECKS, CHAIN = 10, 200, 200
ANSWER = 0.05  # seconds


@contextmanager
def instances(count: int) -> Iterator[list[runner.Place]]:
    processes, places = [], []
    try:
        for _ in range(count):
            with closing(socket.create_server(("127.0.0.1", 0))) as free:
                netloc = f"127.0.0.1:{free.getsockname()[1]}"
            environment = {**os.environ, "SANDBOX_LISTEN": netloc}
            command = [sys.executable, "-S", "-E", "-s", str(Path(task_server.__file__))]
            processes.append(subprocess.Popen(command, env=environment))
            places.append(runner.Place(netloc, (f"http://{netloc}",)))
        for place in places:
            _await(place)
        yield places
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _await(place: runner.Place) -> None:
    host, _, port = place.name.partition(":")
    for _ in range(200):
        try:
            socket.create_connection((host, int(port)), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"{place.name} does not answer")


def measured(places: list[runner.Place], checks: tuple[Check, ...]) -> float:
    began = time.monotonic()
    cases = runner.run(Suite("bench", checks), {"canary": places}, timeout=600)
    assert len(cases) == len(checks) * len(places)
    assert {case.outcome for case in cases} == {Outcome.PASSED}
    return time.monotonic() - began


def main() -> None:
    expect, path = Expect(status=("200",)), f"/?sleep={ANSWER}"
    quick = tuple(Check(f"check {number}", path, expect) for number in range(CHECKS - 1))
    chain = Check("the slowest chain", path, expect, repeat=CHAIN)
    with instances(INSTANCES) as places:
        alone = measured(places[:1], (chain,))
        everything = measured(places, (*quick, chain))
    requests = INSTANCES * (CHECKS - 1 + CHAIN)
    print(f"the slowest chain alone: {alone:.1f} s; sum of all {requests:,} requests: {requests * ANSWER:.0f} s")
    print(f"{CHECKS} checks over {INSTANCES} instances: {everything:.1f} s, {everything / alone:.2f} times the chain")


if __name__ == "__main__":
    main()
