"""Swaps apps under load on a sandbox, counts failed requests, and reports the cause of each failure.

    python bench/traffic.py                               100 swaps and 1,000,000 requests; a second call does the rest
    python bench/traffic.py --seconds 240                 as many as fit; the next call continues
    python bench/traffic.py --only bluegreen,4,2          one cell: strategy, instances, replicas
    python bench/traffic.py --table                       the results so far, as the table of docs/traffic.md

A swap is `canary` and `promote` of the next revision; before every third one there is a `canary` and a `rollback`. All
the while: short requests on new and on kept connections, and always some requests of 8 seconds, websockets and uploads.
--out gets a JSON line for each swap and each round (a separate app with up to three swaps).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from e2e.conftest import web
from e2e.lab import App, Lab, Ran, claim_port, until
from real_marathon_lb import RealMarathonLb  # type: ignore[import-not-found]
from traffic_evidence import Evidence, TaskLives, classify, evidence  # type: ignore[import-not-found]

from bgci.sandbox import control

Json = dict[str, Any]
GIVE_UP = 3  # rounds in a row that broke
PER_ROUND = 3  # swaps of one app
ADDRESSES = ["127.0.9.11", "127.0.9.12"]


@dataclass(frozen=True)
class Cell:
    """The varied parameters."""

    strategy: str
    instances: int
    replicas: int

    def __str__(self) -> str:
        return f"{self.strategy},{self.instances},{self.replicas}"

    @property
    def options(self) -> list[str]:
        wave = ["--wave", "4"] if self.strategy == "rolling" and self.instances == 10 else []
        return ["--strategy", self.strategy, *wave]


CELLS = [Cell(s, n, r) for n in (1, 2, 4, 10) for r in (1, 2) for s in ("bluegreen", "rolling")]


@dataclass
class Ledger:
    """The measurements of this and earlier calls, and the next cell."""

    path: Path
    lines: list[Json] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _under_way: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        if self.path.exists():
            self.lines = [json.loads(line) for line in self.path.read_text().splitlines()]

    def add(self, line: Json) -> None:
        with self._lock:
            self.lines.append(line)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def of(self, what: str, cell: Cell | None = None) -> list[Json]:
        return [line for line in self.lines if what in line and (cell is None or line["cell"] == str(cell))]

    def sent(self) -> int:
        return sum(sum(line["sent"].values()) for line in self.of("round"))

    def take(self, cells: list[Cell]) -> Cell:
        """The cell with the fewest swaps, counting those under way."""
        with self._lock:
            cell = min(cells, key=lambda one: len(self.of("swap", one)) + PER_ROUND * self._under_way[str(one)])
            self._under_way[str(cell)] += 1
            return cell

    def give_back(self, cell: Cell) -> None:
        with self._lock:
            self._under_way[str(cell)] -= 1


class Load:
    """The load generator, as a separate process."""

    def __init__(self, app: App, given: argparse.Namespace) -> None:
        self.file = app.directory / "load.jsonl"
        urls = [f"http://{address}:{app.port}" for address in app.lab.where["addresses"]]
        options = [f"--{kind}={getattr(given, kind)}" for kind in ("rate", "slow", "websocket", "upload")]
        script = Path(__file__).with_name("traffic_load.py")
        self.process = subprocess.Popen([sys.executable, str(script), *options, "--out", str(self.file), *urls])
        until(lambda: self.totals() and sum(self.totals()["sent"].values()) > 100)

    def lines(self) -> list[Json]:
        text = self.file.read_text() if self.file.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def totals(self) -> Json:
        return next((line for line in reversed(self.lines()) if "answered" in line), {})

    def failures(self) -> list[Json]:
        return [line for line in self.lines() if "error" in line]

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=90)


@contextmanager
def new_app(lab: Lab, cell: Cell) -> Iterator[App]:
    name = f"web-{uuid.uuid4().hex[:6]}"
    claims: list[tuple[int, socket.socket]] = [claim_port() for _ in range(2)]
    (port, _), (alternative, _) = claims
    directory = lab.home.parent / name
    directory.mkdir()
    where = {
        **lab.where,
        "marathon_lb_urls": lab.balancers[: cell.replicas],
        "addresses": lab.where["addresses"][: cell.replicas],
    }
    definition = web(f"/{name}", name, cell.instances, [port], [alternative])
    yield App(replace(lab, where=where), directory, f"/{name}", name, [port], definition)
    for running in lab.marathon.apps(name):
        lab.marathon.delete(running["id"])
    for _, claim in claims:
        claim.close()


class Bench:
    """Rounds on one sandbox until the target is reached or the time is over."""

    def __init__(self, lab: Lab, ledger: Ledger, given: argparse.Namespace) -> None:
        self.lab, self.ledger, self.given = lab, ledger, given
        self.cells = [cell for cell in CELLS if given.only in ("", str(cell))]
        self.deadline = time.monotonic() + given.seconds if given.seconds else None
        self.lives = TaskLives(lab.marathon_url)

    def over(self) -> bool:
        enough = len(self.ledger.of("swap")) >= self.given.swaps and self.ledger.sent() >= self.given.requests
        return enough or (self.deadline is not None and time.monotonic() > self.deadline)

    def work(self) -> None:
        broken = 0
        while not self.over() and broken < GIVE_UP:
            cell = self.ledger.take(self.cells)
            try:
                self.round(cell)
                broken = 0
            except Exception:
                broken += 1
                traceback.print_exc()
                self.ledger.add({"broken": traceback.format_exc()[-3000:], "cell": str(cell), "time": time.time()})
            finally:
                self.ledger.give_back(cell)

    def round(self, cell: Cell) -> None:
        with new_app(self.lab, cell) as app:
            self.command(app, cell, "promote", 1)
            load = Load(app, self.given)
            try:
                for number in range(PER_ROUND):
                    if not self.over() or number == 0:
                        self.swap(app, cell, load, number)
            finally:
                load.end()
                self.tell(app, cell, load)

    def command(self, app: App, cell: Cell, goal: str, number: int) -> Ran:
        options = ["--timeout", "5m", "--drain-timeout", "90s", *cell.options]
        return app.run(goal, f"v{number}", *options)

    def swap(self, app: App, cell: Cell, load: Load, number: int) -> None:
        before, timings = load.totals(), []
        back = number == 1
        if back:
            timings += [self.command(app, cell, goal, 9).result["timings"] for goal in ("canary", "rollback")]
        began = time.time()
        for goal in ("canary", "promote"):
            timings.append(self.command(app, cell, goal, number + 2).result["timings"])
        assert app.healthy() == {f"v{number + 2}": cell.instances}, app.healthy()
        after = load.totals()
        self.ledger.add(
            {
                "swap": number,
                "cell": str(cell),
                "time": began,
                "rollback": back,
                "seconds": sum(one["total_seconds"] for one in timings[-2:]),
                "limit": sum(one["limit_seconds"] for one in timings[-2:]),
                "sent": sum(after["sent"].values()) - sum(before["sent"].values()),
            }
        )
        print(time.strftime("%H:%M:%S"), json.dumps(self.ledger.lines[-1]), flush=True)

    def tell(self, app: App, cell: Cell, load: Load) -> None:
        """The round's line: totals, and each failure with its cause and evidence."""
        found = [self.evidence(app, failure) for failure in load.failures()]
        totals = load.totals()
        counted = {name: totals[name] for name in ("sent", "answered", "failed", "closed_idle", "served")}
        failures = [{"cause": classify(one), **asdict(one)} for one in found]
        self.ledger.add({"round": app.id, "cell": str(cell), "time": time.time(), **counted, "failures": failures})
        print(time.strftime("%H:%M:%S"), json.dumps(self.ledger.lines[-1])[:2000], flush=True)

    def evidence(self, app: App, failure: Json) -> Evidence:
        replica = ADDRESSES.index(failure["address"][0]) + 1
        home = self.lab.home
        log, journal = home / f"lb{replica}" / "requests.log", app.directory / "bgci-artifacts" / "journal.jsonl"
        return evidence(failure, log, self.lives, home / "sandboxes", journal)


def table(ledger: Ledger, out: IO[str]) -> None:
    """In Markdown."""
    print("| strategy | N | replicas | swaps | requests | failed | seconds, median | longest | limit |", file=out)
    print("|---|---|---|---|---|---|---|---|---|", file=out)
    for cell in CELLS:
        rounds, swaps = ledger.of("round", cell), ledger.of("swap", cell)
        if swaps:
            sent = sum(sum(line["sent"].values()) for line in rounds)
            failed = sum(sum(line["failed"].values()) for line in rounds)
            seconds, limits = [s["seconds"] for s in swaps], [s["limit"] for s in swaps]
            figures = f"{statistics.median(seconds):.1f} | {max(seconds):.1f} | {statistics.median(limits):.1f}"
            name = f"{cell.strategy} | {cell.instances} | {cell.replicas}"
            print(f"| {name} | {len(swaps)} | {sent:,} | {failed} | {figures} |", file=out)
    kinds: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    causes: Counter[str] = Counter()
    for line in ledger.of("round"):
        kinds.update(line["sent"])
        lost.update(line["failed"])
        causes.update(failure["cause"] for failure in line["failures"])
    print(f"\n{len(ledger.of('swap'))} swaps, {ledger.sent():,} requests:", file=out)
    print(", ".join(f"{count:,} {kind} ({lost[kind]} failed)" for kind, count in kinds.items()), file=out)
    print(f"causes: {dict(causes) or 'none'}; rounds that broke: {len(ledger.of('broken'))}", file=out)


def started(home: Path, given: argparse.Namespace, stack: contextlib.ExitStack) -> Lab:
    """A sandbox with two replicas of the sandbox's load balancer, or of the real marathon-lb; the stack ends them."""
    offers = ["--offer-delay", "0.1"]
    stack.callback(control.down, home)
    if not given.marathon_lb:
        options = ["--log-requests"]
        return Lab(home, control.up(home, addresses=ADDRESSES, server_options=offers, balancer_options=options))
    where = control.up(home, replicas=0, server_options=offers)
    replicas = []
    for number, address in enumerate(ADDRESSES, start=1):
        place = home / f"lb{number}"
        replica = RealMarathonLb(given.marathon_lb.resolve(), place, address, where["marathon_url"], given.default)
        stack.callback(replica.stop)
        threading.Thread(target=write_log, args=(place / "requests.sock", place / "requests.log"), daemon=True).start()
        replicas.append(replica)
    for replica in replicas:
        replica.wait()
    return Lab(home, {**where, "addresses": ADDRESSES, "marathon_lb_urls": [replica.url for replica in replicas]})


def write_log(path: Path, log: Path) -> None:
    """Writes HAProxy's log lines from that socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver, log.open("w", buffering=1) as file:
        receiver.bind(str(path))
        while True:
            text = receiver.recv(65536).decode(errors="replace").strip()
            file.write(f"{time.time():.3f} {text}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("bench-traffic.jsonl"))
    parser.add_argument("--swaps", type=int, default=100)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=0.0, help="begin no swap after that")
    parser.add_argument("--parallel", type=int, default=2, help="apps that are swapped at the same time")
    parser.add_argument("--only", default="", help="one cell, such as rolling,4,2")
    parser.add_argument("--table", action="store_true", help="print the table alone")
    parser.add_argument("--rate", type=float, default=400.0, help="short requests a second to each app")
    for kind, count in (("slow", 6), ("websocket", 4), ("upload", 4)):
        parser.add_argument(f"--{kind}", type=int, default=count, help="of these always in flight, to each app")
    parser.add_argument("--marathon-lb", type=Path, help="a checkout of the real one, with its venv")
    parser.add_argument("--default", action="append", default=[], help="a further line of its HAProxy's defaults")
    given = parser.parse_args()
    ledger = Ledger(given.out)
    if not given.table:
        with tempfile.TemporaryDirectory() as directory:
            home = Path(os.environ.get("TRAFFIC_HOME", directory)) / "sandbox"
            with contextlib.ExitStack() as stack:
                bench = Bench(started(home, given, stack), ledger, given)
                workers = [threading.Thread(target=bench.work) for _ in range(given.parallel)]
                for worker in workers:
                    worker.start()
                for worker in workers:
                    worker.join()
    table(ledger, sys.stdout)


if __name__ == "__main__":
    main()
