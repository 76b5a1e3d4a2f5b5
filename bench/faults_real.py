"""SIGKILL before and after each request that changes something, and a reset after its effect, on a real sandbox.

    python bench/faults_real.py                            both strategies, canary + promote and canary + rollback
    python bench/faults_real.py --strategy rolling --fault reset

Real Marathon API of the sandbox, real HAProxy, traffic all the while: no request is allowed to fail. bench/faults.py
plays every request and every fault on virtual time.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from abort import new_app  # type: ignore[import-not-found]
from e2e.faulty import Proxy, proxy
from e2e.lab import App, Lab, Running

from bgci.sandbox import control

FAULTS = ("kill before", "kill after", "reset")
MOST_TRIES = 3


class Door:
    """The cluster's address, with one fault at the n-th request that changes something."""

    def __init__(self, server: Proxy, fault: str, number: int) -> None:
        self.running: Running | None = None
        self.count = -1
        self._fault, self._number = fault, number
        server.fault, server.after = self.before, self.after

    def before(self, method: str, path: str, body: bytes) -> int | None:
        self.count += method != "GET"
        return self._happens("kill before") if method != "GET" and self.count == self._number else None

    def after(self, method: str, path: str) -> bool:
        """Whether the answer is lost."""
        if method == "GET" or self.count != self._number:
            return False
        self._happens("kill after")
        return self._fault in ("kill after", "reset")

    def _happens(self, what: str) -> int | None:
        if self._fault != what or self.running is None:
            return None
        self.running.process.kill()
        return 503


def story(lab: Lab, strategy: str, goal: str, fault: str, number: int) -> tuple[str, bool]:
    """The outcome, and whether the fault has happened: the release can have fewer requests."""
    with new_app(lab) as app, proxy(lab.where["cluster_url"]) as server, app.load():
        door = Door(server, fault, number)
        codes = [code for command in ("canary", goal) for code in ended(app, command, strategy, server.url, door)]
        expected = {"v2" if goal == "promote" else "v1": 2}
        right = app.healthy() == expected and app.runs() == expected
        return ("right" if right else f"WRONG {app.runs()}") + f" {codes}", door.count >= number


def ended(app: App, command: str, strategy: str, url: str, door: Door) -> Iterator[int]:
    for _ in range(MOST_TRIES):
        door.running = app.start(command, "v2", "--strategy", strategy, BGCI_CLUSTER_URL=url)
        door.running.process.communicate()
        code = door.running.process.returncode
        yield code
        if code == 0:
            return


@contextmanager
def sandbox() -> Iterator[Lab]:
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory) / "sandbox"
        lab = Lab(home, control.up(home, replicas=2, addresses=["127.0.9.11", "127.0.9.12"]))
        try:
            yield lab
        finally:
            control.down(home)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategy", default="", choices=["", "bluegreen", "rolling"])
    parser.add_argument("--fault", default="", choices=["", *FAULTS])
    given = parser.parse_args()
    wrong, played, began = 0, 0, time.monotonic()
    with sandbox() as lab:
        for strategy, goal, fault in itertools.product(("bluegreen", "rolling"), ("promote", "rollback"), FAULTS):
            if given.strategy not in ("", strategy) or given.fault not in ("", fault):
                continue
            for number in itertools.count():
                try:
                    how, happened = story(lab, strategy, goal, fault, number)
                except AssertionError as error:
                    how, happened = f"WRONG {str(error)[:300]}", True
                if not happened:
                    break
                played, wrong = played + 1, wrong + ("WRONG" in how)
                print(f"{strategy} {goal} {fault} at change {number}: {how}", flush=True)
    print(f"{played} played, {wrong} wrong, {time.monotonic() - began:.0f} s")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
