"""Each command against each hostile answer of each endpoint that it asks: peak memory, seconds, exit code.

    python bench/hostile.py                          all of it (hours; make bench-hostile)
    python bench/hostile.py --part 30                every thirtieth run
    python bench/hostile.py --command test --answer large --endpoint instance
    python bench/hostile.py --term 1                 SIGTERM after a second; the seconds are those until the end
    python bench/hostile.py --table                  the table of build/hostile.jsonl, without a run

A run is one process of its own, with the patience that it has for users. Each is a line of build/hostile.jsonl and is
not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from hostile.answers import HOSTILE, LARGE, fits
from hostile.cluster import Answer, Cluster
from hostile.command import CODES
from hostile.commands import COMMANDS, PASSWORD, environment, prepared

TIMEOUT = 2.0  # seconds: --timeout of each command
LATE = 5.0  # seconds of its own that a command may take beyond its deadline, or after SIGTERM
MEBIBYTES = 150
RECORD = Path(__file__).resolve().parent.parent / "build" / "hostile.jsonl"
ANSWERS: dict[str, Answer] = {**HOSTILE, **LARGE}
# What a process has used at most: its parent's memory at the fork counts too, so a small one starts it.
# What all its processes use together is looked at several times a second; pages that they share count once.
LAUNCHER = """
import glob, json, os, subprocess, sys, threading, time
def kibibytes(pid):
    found = 0
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            found = next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        for name in glob.glob(f"/proc/{pid}/task/*/children"):
            with open(name) as file:
                found += sum(map(kibibytes, file.read().split()))
    except (OSError, StopIteration):
        pass
    return found
def starved(pid):
    with open(f"/proc/{pid}/schedstat") as file:
        return int(file.read().split()[1]) / 1e9
for line in sys.stdin:
    task = json.loads(line)
    began = time.monotonic()
    with open(task["output"], "wb") as output:
        process = subprocess.Popen(task["words"], cwd=task["home"], env=task["environ"], stdout=output, stderr=output)
    timer = threading.Timer(task["term"], os.kill, (process.pid, 15))
    if task["term"]:
        timer.start()
    together = ended = 0
    while not ended:
        together, waited = max(together, kibibytes(process.pid)), starved(process.pid)
        time.sleep(0.02)
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
    timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = max(0.0, time.monotonic() - began - task["term"])
    print(json.dumps([process.returncode, max(together, usage.ru_maxrss) / 1024, seconds, waited]), flush=True)
"""


@dataclass(frozen=True)
class Run:
    command: str
    endpoint: str
    answer: str
    code: int
    mebibytes: float
    seconds: float
    term: float
    starved: float  # seconds in which its main thread could have run and got no processor
    problem: str


class Bench:
    def __init__(self, home: Path, cluster: Cluster) -> None:
        self.home, self.cluster = home, cluster
        self.environ = {
            **environment(cluster),
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            **{f"BGCI_{name}_TIMEOUT": f"{TIMEOUT:g}s" for name in ("DRAIN", "PROGRESS")},
            "BGCI_TIMEOUT": f"{TIMEOUT:g}s",
        }
        self.launcher = subprocess.Popen(
            [sys.executable, "-S", "-c", LAUNCHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def endpoints(self, command: str) -> list[str]:
        """The endpoints that the command asks of a good cluster, in the order of the first request."""
        self.run(command, "", "")
        return list(dict.fromkeys(self.cluster.asked))

    def run(self, command: str, endpoint: str, answer: str, term: float = 0.0) -> Run:
        self.cluster.alone = command == "undo"
        self.cluster.answering(endpoint, ANSWERS.get(answer, self.cluster.answer))
        words = [sys.executable, "-m", "bgci", *COMMANDS[command]]
        output = self.home / "output"
        task = {"words": words, "home": str(self.home), "environ": self.environ, "output": str(output), "term": term}
        assert self.launcher.stdin
        assert self.launcher.stdout
        self.launcher.stdin.write(json.dumps(task).encode() + b"\n")
        self.launcher.stdin.flush()
        select.select([self.launcher.stdout], [], [])
        code, mebibytes, seconds, starved = json.loads(self.launcher.stdout.readline())
        text = output.read_text(errors="replace")
        problem = "; ".join(_problems(text, code, mebibytes, seconds - starved, term, command))
        return Run(
            command, endpoint, answer, code, round(mebibytes, 1), round(seconds, 2), term, round(starved, 2), problem
        )


def _problems(text: str, code: int, mebibytes: float, seconds: float, term: float, command: str) -> Iterator[str]:
    if code not in CODES or "Traceback" in text or "bug in bgci" in text:
        yield f"exit code {code}: {text[-300:]}"
    if PASSWORD in text:
        yield "shows the password"
    if mebibytes > MEBIBYTES:
        yield f"{mebibytes:.0f} MiB"
    if seconds > LATE + (0.0 if term else _deadline(command)):
        yield f"{seconds:.1f} s"


def _deadline(command: str) -> float:
    """Seconds of the command's own deadlines: --timeout, and that of each stage."""
    return {"release": 5 * TIMEOUT, "judge": TIMEOUT + 1, "status": 60.0, "status of all": 60.0}.get(command, TIMEOUT)


def todo(bench: Bench, wanted: argparse.Namespace, known: set[tuple[Any, ...]]) -> Iterator[tuple[str, str, str]]:
    number = 0
    for command in COMMANDS:
        if wanted.command not in ("", command):
            continue
        for endpoint in bench.endpoints(command):
            large = wanted.answer == "large"
            for answer in LARGE if large else (one for one in ANSWERS if wanted.answer in one):
                if wanted.endpoint not in ("", endpoint) or (large and not fits(answer, endpoint)):
                    continue
                number += 1
                if number % wanted.part == 0 and (command, endpoint, answer, wanted.term) not in known:
                    yield command, endpoint, answer


def _own_seconds(run: dict[str, Any]) -> float:
    """Without those in which others had the processor."""
    return float(run["seconds"]) - float(run["starved"])


def recorded() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RECORD.read_text().splitlines()] if RECORD.exists() else []


def table(runs: list[dict[str, Any]]) -> None:
    """For each command: how many runs, the largest figures with the answers that made them, and what was wrong."""
    print(f"{'command':14} {'runs':>5} {'codes':24} {'MiB':>6} {'s':>6}  most memory by; longest by")
    for term in sorted({run["term"] > 0 for run in runs}):
        print("SIGTERM:" if term else "to the end:")
        for command in COMMANDS:
            own = [run for run in runs if run["command"] == command and (run["term"] > 0) == term]
            if not own:
                continue
            large, long = max(own, key=lambda run: run["mebibytes"]), max(own, key=_own_seconds)
            codes = ",".join(map(str, sorted({run["code"] for run in own})))
            why = "; ".join(f"{run['endpoint']}: {run['answer']}" for run in (large, long))
            print(f"{command:14} {len(own):5} {codes:24} {large['mebibytes']:6.0f} {_own_seconds(long):6.1f}  {why}")
    for run in runs:
        if run["problem"]:
            print("WRONG", *run.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("command", "endpoint", "answer"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--part", type=int, default=1)
    parser.add_argument("--term", type=float, default=0.0)
    parser.add_argument("--table", action="store_true")
    wanted = parser.parse_args()
    if not wanted.table:
        RECORD.parent.mkdir(exist_ok=True)
        known = {(one["command"], one["endpoint"], one["answer"], one["term"]) for one in recorded()}
        with tempfile.TemporaryDirectory() as directory, Cluster() as cluster, open(RECORD, "a") as record:
            bench = Bench(prepared(Path(directory), cluster), cluster)
            for command, endpoint, answer in todo(bench, wanted, known):
                run = bench.run(command, endpoint, answer, wanted.term)
                record.write(json.dumps(asdict(run)) + "\n")
                record.flush()
                if run.problem:
                    print("WRONG", *asdict(run).values(), flush=True)
            assert bench.launcher.stdin
            bench.launcher.stdin.close()
            bench.launcher.wait()
    found = recorded()
    table(found)
    return int(any(run["problem"] for run in found))


if __name__ == "__main__":
    sys.exit(main())
