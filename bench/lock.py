"""Measures the cost of an app lock (docs/lock.md): the seconds of its requests in releases on a sandbox.

    python bench/lock.py --times 3

Each release (canary, then promote) goes through a proxy that notes when each request begins and ends. A lock is taken
from its POST to the end of the first list of locks, and released by its DELETE.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from abort import new_app  # type: ignore[import-not-found]
from e2e.faulty import Proxy, proxy
from e2e.lab import App, Lab
from faults_real import sandbox  # type: ignore[import-not-found]


class Times:
    """Requests of locks that went through the proxy: method, began, ended."""

    def __init__(self, server: Proxy) -> None:
        self.requests: list[tuple[str, float, float]] = []
        self._began: dict[int, float] = {}
        server.fault, server.after = self._before, self._after

    def _before(self, method: str, path: str, body: bytes) -> None:
        if b"BGCI_LOCK_OF" in body or "BGCI_LOCK_OF" in path or "-lock-" in path:
            self._began[threading.get_ident()] = time.monotonic()

    def _after(self, method: str, path: str) -> bool:
        began = self._began.pop(threading.get_ident(), None)
        if began is not None:
            self.requests.append((method, began, time.monotonic()))
        return False

    def seconds(self) -> list[float]:
        """Of each taking and each release of a lock."""
        found, since = [], 0.0
        for method, began, ended in sorted(self.requests, key=lambda one: one[1]):
            if method == "POST":
                since = began
            elif method == "GET" and since:
                found.append(ended - since)
                since = 0.0
            elif method == "DELETE":
                found.append(ended - began)
        return found


def release(lab: Lab, app: App, server: Proxy, via: str, revision: str) -> tuple[float, list[float]]:
    """Seconds of the whole release, and of its locks."""
    app.write(revision)
    if via == "job":
        app.publish(revision)
    times, began = Times(server), time.monotonic()
    for command in ("canary", "promote"):
        addresses = {"BGCI_CLUSTER_URL": server.url, "BGCI_JOB_CLUSTER_URL": server.url}
        running = app.start(command, revision, "--via", via, **addresses)
        out, _ = running.process.communicate()
        assert running.process.returncode == 0, out
    return time.monotonic() - began, times.seconds()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3)
    given = parser.parse_args()
    with sandbox() as lab, new_app(lab) as app, proxy(lab.where["cluster_url"]) as server:
        for via in ("direct", "job"):
            for number in range(given.times):
                whole, locks = release(lab, app, server, via, f"{via}{number}")
                print(f"{via}: {whole:.1f} s, of these {sum(locks):.3f} s for locks: ", end="")
                print(", ".join(f"{one:.3f}" for one in locks), f"median {statistics.median(locks):.3f}", flush=True)


if __name__ == "__main__":
    main()
