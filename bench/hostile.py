"""Each command against each hostile answer of each endpoint that it requests: peak memory, seconds, exit code.

    python bench/hostile.py                          all of it (hours; make bench-hostile)
    python bench/hostile.py --part 30                every thirtieth run
    python bench/hostile.py --sample                 each endpoint: an answer that trickles, an endless, a large one,
                                                     and more where a request changes something or goes over TLS
    python bench/hostile.py --command test --answer large --endpoint instance
    python bench/hostile.py --term 1                 SIGTERM a second after the endpoint's request; seconds from there
    python bench/hostile.py --table                  the table of build/hostile.jsonl, without a run

A run is one separate process with the same timeouts as for users. Each run is a line of build/hostile.jsonl and is not
repeated.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from hostile.answers import HOSTILE, LARGE, body, fits
from hostile.cluster import Answer, Cluster
from hostile.command import CODES
from hostile.commands import PASSWORD, environment, prepared
from hostile.handshakes import HANDSHAKES
from hostile.situations import ALL, PROXY_PASSWORD
from hostile.tls import CERTIFICATES

TIMEOUT = 2.0  # seconds: --timeout of each command
LATE = 5.0  # extra seconds that a command can take beyond its deadline, or after SIGTERM
MEBIBYTES = 150
RECORD = Path(__file__).resolve().parent.parent / "build" / "hostile.jsonl"
ECHO = "the request itself"
ANSWERS: dict[str, Answer] = {**HOSTILE, **LARGE}
# Endpoints whose requests change something, or have a secret: the sample has more answers for them.
CHANGES = ("create", "change", "delete", "kill", "cancel", "start", "stop", "login", "secret", "permissions", "renew")
OF_CHANGES = (
    *("nothing", "half the answer", "a gzip bomb", "JSON null", "JSON list of null", "204 with a body", "JSON deep"),
    *("500", "503 after 99999999999999999999", "401 Unauthorized {}", "403 Forbidden x", "409 Conflict x"),
    *('422 [{"errors": null}]', "307 to itself", "a negative chunk", ECHO),
)
OF_HANDSHAKES = (
    *("silence", "a record that trickles", "requests for a hello without an end", "a certificate that trickles"),
    *("a certificate of 16 MB", "a certificate of 90 kB", "a certificate of 1 MB", "100000 session tickets", "nothing"),
    *("a certificate whose end is no date", "a certificate that ends in the year 0", "a certificate of another name"),
)
OF_PROXIES = (
    *("a head that trickles", "a head without an end", "a header line without an end", "continue for ever", "silence"),
    *("a body that trickles", "a body without an end", "nothing", "10000 headers", "403 Forbidden x", ECHO),
)
TRICKLES = "a body that trickles"
ENDLESS = (
    "continue for ever",
    "chunks without an end",
    "a head that trickles",
    "silence",
    "a header line without an end",
    "redirect to itself",
)
# Starts each command. Its own memory at the fork counts for the command's peak, so it is a small process.
# A line "term" sends SIGTERM: then the figures start there. Reads fifty times a second, for all processes of the
# command: their memory together (shared pages count once), and whether each of their threads waits.
LAUNCHER = """
import glob, json, os, select, subprocess, time

def looked(pid):
    kibibytes, waiting = 0, True
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            kibibytes = next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        for task in glob.glob(f"/proc/{pid}/task/*"):
            with open(f"{task}/stat") as file:
                waiting &= file.read().rpartition(")")[2].split()[0] != "R"
            with open(f"{task}/children") as file:
                for child in file.read().split():
                    more, idle = looked(child)
                    kibibytes, waiting = kibibytes + more, waiting and idle
    except (OSError, StopIteration):
        pass
    return kibibytes, waiting

def used(pid):
    with open(f"/proc/{pid}/stat") as file:
        return sum(map(int, file.read().rpartition(")")[2].split()[11:15])) / os.sysconf("SC_CLK_TCK")

commands = os.fdopen(0, "rb", 0)
for line in commands:
    if line.strip() == b"term":  # the command has ended before it
        continue
    task = json.loads(line)
    with open(task["output"], "wb") as output:
        process = subprocess.Popen(task["words"], cwd=task["home"], env=task["environ"], stdout=output, stderr=output)
    began = before = time.monotonic()
    together = ended = idle = earlier = terminated = 0
    while not ended:
        kibibytes, waiting = looked(process.pid)
        together, now = max(together, kibibytes), time.monotonic()
        idle, before = idle + waiting * (now - before), now
        if select.select([commands], [], [], 0.02)[0]:
            commands.readline()
            began, idle, earlier, terminated = now, 0, used(process.pid), 1
            os.kill(process.pid, 15)
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
    process.returncode = os.waitstatus_to_exitcode(status)
    work = usage.ru_utime + usage.ru_stime - earlier
    peak = max(together, usage.ru_maxrss) / 1024
    print(json.dumps([process.returncode, peak, time.monotonic() - began, idle + work, terminated]), flush=True)
"""


@dataclass(frozen=True)
class Run:
    command: str
    endpoint: str
    answer: str
    code: int
    mebibytes: float
    seconds: float
    own: float  # those in which it waited, and those of processor time: without those in which others had the processor
    term: float  # seconds from the endpoint's request until SIGTERM; negative: the command ended before
    problem: str


class Bench:
    def __init__(self, home: Path, cluster: Cluster) -> None:
        self.home, self.cluster = home, cluster
        self.answers = {
            **ANSWERS,
            **HANDSHAKES,
            ECHO: lambda send, good, over: body(json.dumps({"message": cluster.heard.decode("latin-1")}), "400 Bad")(
                send, good, over
            ),
        }
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
        """The endpoints for which the command is played: those of its situation, else all that it requests on a good
        cluster, in the order of the first request."""
        if not ALL[command].ends:
            self.run(command, "", "")
        return list(ALL[command].ends or dict.fromkeys(self.cluster.asked))

    def run(self, command: str, endpoint: str, answer: str, term: float = 0.0) -> Run:
        situation = ALL[command]
        self.cluster.state = situation.state
        shown = CERTIFICATES[answer]() if answer in CERTIFICATES else self.answers.get(answer, self.cluster.answer)
        self.cluster.answering(endpoint, shown)
        words = [sys.executable, "-m", "bgci", *situation.words]
        output = self.home / "output"
        environ = {**self.environ, **situation.environment(self.cluster)}
        task = {"words": words, "home": str(self.home), "environ": environ, "output": str(output)}
        self._tell(json.dumps(task))
        if term:
            self._terminate(endpoint, term)
        assert self.launcher.stdout
        code, mebibytes, seconds, own, terminated = json.loads(self.launcher.stdout.readline())
        text = output.read_text(errors="replace")
        problem = "; ".join(_problems(text, code, mebibytes, own, 0.0 if terminated else _deadline(command)))
        seconds, own = round(seconds, 2), round(own, 2)
        term = term if terminated or not term else -term
        return Run(command, endpoint, answer, code, round(mebibytes, 1), seconds, own, term, problem)

    def _tell(self, line: str) -> None:
        assert self.launcher.stdin
        self.launcher.stdin.write(line.encode() + b"\n")
        self.launcher.stdin.flush()

    def _terminate(self, endpoint: str, after: float) -> None:
        """Send SIGTERM so many seconds after the endpoint's request, if the command has not ended before."""
        assert self.launcher.stdout
        at = math.inf
        while not select.select([self.launcher.stdout], [], [], 0.01)[0]:
            if at == math.inf and endpoint in self.cluster.asked:
                at = time.monotonic() + after
            if time.monotonic() >= at:
                self._tell("term")
                return


def _problems(text: str, code: int, mebibytes: float, own: float, deadline: float) -> Iterator[str]:
    if code not in CODES or "Traceback" in text or "bug in bgci" in text:
        yield f"exit code {code}: {text[-300:]}"
    if PASSWORD in text or PROXY_PASSWORD in text or "e30.e30" in text:
        yield "shows a secret"
    if mebibytes > MEBIBYTES:
        yield f"{mebibytes:.0f} MiB"
    if own > deadline + LATE:
        yield f"{own:.1f} s"


def _deadline(command: str) -> float:
    """Seconds of the command's deadlines: --timeout, and the timeout of each stage."""
    of_words = {"release": 5 * TIMEOUT, "status": 60.0, "prune": 60.0}
    return ALL[command].limit or (TIMEOUT + 1 if command == "judge" else of_words.get(ALL[command].words[0], TIMEOUT))


def todo(bench: Bench, wanted: argparse.Namespace, known: set[tuple[Any, ...]]) -> Iterator[tuple[str, str, str]]:
    number = 0
    for at, command in enumerate(ALL):
        if wanted.command not in ("", command):
            continue
        for pair, endpoint in enumerate(bench.endpoints(command), 7 * at):
            for answer in _answers(wanted, endpoint, pair) if wanted.endpoint in ("", endpoint) else ():
                number += 1
                if number % wanted.part == 0 and (command, endpoint, answer, wanted.term) not in known:
                    yield command, endpoint, answer


def _answers(wanted: argparse.Namespace, endpoint: str, pair: int) -> list[str]:
    """The answers for the pair of this number, of a command and an endpoint."""
    shaken = endpoint == "handshake"
    every = [*HANDSHAKES, *CERTIFICATES] if shaken else [*ANSWERS, ECHO]
    large = [answer for answer in LARGE if fits(answer, endpoint) and not shaken]
    if not wanted.sample:
        return large if wanted.answer == "large" else [answer for answer in every if wanted.answer in answer]
    if shaken:
        return list(OF_HANDSHAKES[: 4 if wanted.term else None])
    slow = [TRICKLES, ENDLESS[pair % len(ENDLESS)]]
    if wanted.term:  # a large one is read before the signal
        return slow
    further = OF_CHANGES if endpoint.startswith(CHANGES) else OF_PROXIES if endpoint == "proxy" else ()
    return list(dict.fromkeys([*slow, large[pair % len(large)], *further]))


def recorded() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RECORD.read_text().splitlines()] if RECORD.exists() else []


def table(runs: list[dict[str, Any]]) -> None:
    """By command and by endpoint, in Markdown: the largest figures and their answers; then the faults."""
    for name, other in (("command", "endpoint"), ("endpoint", "command")):
        print(f"| {name} | runs, with SIGTERM | most memory | limit exceeded by | end after SIGTERM |")
        print("|---|---|---|---|---|")
        for value in dict.fromkeys(run[name] for run in runs):
            print(_row(value, other, [run for run in runs if run[name] == value and run["term"] >= 0]))
        print()
    for run in runs:
        if run["problem"]:
            print("WRONG", *run.values())


def _row(value: str, other: str, runs: list[dict[str, Any]]) -> str:
    ended, signalled = ([run for run in runs if (run["term"] > 0) is term] for term in (False, True))
    late = [{**run, "late": run["own"] - _deadline(run["command"])} for run in ended]

    def worst(found: list[dict[str, Any]], figure: str, unit: str) -> str:
        run = max(found, key=lambda one: one[figure], default={figure: 0.0})
        value = round(run[figure], 1 if unit == "s" else None)
        return f"{value} {unit}: {run[other]}, {run['answer']}" if value > 0 else "-"

    figures = (worst(runs, "mebibytes", "MiB"), worst(late, "late", "s"), worst(signalled, "own", "s"))
    return f"| `{value}` | {len(ended)}, {len(signalled)} | {' | '.join(figures)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("command", "endpoint", "answer"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--sample", action="store_true")
    parser.add_argument("--part", type=int, default=1)
    parser.add_argument("--term", type=float, default=0.0)
    parser.add_argument("--table", action="store_true")
    wanted = parser.parse_args()
    if not wanted.table:
        RECORD.parent.mkdir(exist_ok=True)
        known = {(one["command"], one["endpoint"], one["answer"], abs(one["term"])) for one in recorded()}
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
