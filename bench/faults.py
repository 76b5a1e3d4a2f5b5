"""Every fault at every request of a release, on virtual time: each must reach the goal, or the same command
must finish the release.

    python bench/faults.py                        all cases without a result yet (make prove-faults)
    python bench/faults.py --part 0/2             the first half, for a second process
    python bench/faults.py --case rolling --fault SIGKILL
    python bench/faults.py --every 7              each seventh reading request, and all changing requests

Canary and promote, canary and rollback; both strategies; directly and by jobs. tests/virtual is the cluster. Each
release with one kind of fault is a line of the results file; a line without a wrong story is not played again.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import sys
import time
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from virtual.faults import Exchange
from virtual.scenario import ALL_CASES, parts, play, play_one, requests_of

STORIES = 25  # between two garbage collections: a story leaves reference cycles, that Python would always collect


def home() -> Path:
    base = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path("/tmp")
    return base / f"bgci-prove-faults-{os.getpid()}"


@cache
def exchanges_of(case: str) -> tuple[Exchange, ...]:
    """The requests of the release without an injected fault."""
    return tuple(play(ALL_CASES[case], home()).exchanges)


def played(case: str, fault: str, every: int, *, verbose: bool) -> dict[str, Any]:
    """One line of the results: all stories of this release with this fault."""
    began, counts, first = time.monotonic(), Counter[str](), []
    for number, at in enumerate(requests_of(fault, exchanges_of(case), every)):
        story = play_one(case, fault, at, home())
        counts["absorbed" if not any(story.codes) else "finished"] += 1
        if story.problems:
            first.append(str(story))
            print("WRONG", story, flush=True)
        elif verbose and any(story.codes):
            print(story, flush=True)
        if number % STORIES == 0:
            gc.collect()
    return {
        "case": case,
        "fault": fault,
        "every": every,
        "stories": counts.total(),
        "absorbed": counts["absorbed"],  # the command that met the fault reached its goal
        "finished": counts["finished"],  # by the same command again
        "wrong": len(first),
        "first": first[:3],
        "seconds": round(time.monotonic() - began, 1),
    }


def results(file: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The last line of each release and fault."""
    lines = file.read_text().splitlines() if file.exists() else []
    return {(line["case"], line["fault"]): line for line in map(json.loads, lines)}


def report(lines: list[dict[str, Any]], missing: int) -> int:
    """The number of wrong stories."""
    by_fault: dict[str, Counter[str]] = {}
    for line in lines:
        row = by_fault.setdefault(line["fault"], Counter())
        row.update({name: line[name] for name in ("stories", "absorbed", "finished", "wrong")})
    for fault, row in by_fault.items():
        print(f"{fault:36} " + "  ".join(f"{count:6} {name}" for name, count in row.items()))
    wrong: int = sum(line["wrong"] for line in lines)
    print(f"{sum(line['stories'] for line in lines)} stories, {wrong} wrong, {missing} parts are missing")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", default="", help="only cases with this in their name")
    parser.add_argument("--fault", default="", help="only faults with this in their name")
    parser.add_argument("--every", type=int, default=1, help="each n-th request that only reads")
    parser.add_argument("--part", default="0/1", help="I/K: each K-th release and fault only")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no other after so many minutes")
    parser.add_argument("--results", type=Path, default=Path("build/faults.jsonl"))
    parser.add_argument("--verbose", action="store_true", help="each story in which a command ended with another code")
    given = parser.parse_args()
    number, of = map(int, given.part.split("/"))
    chosen = [(c, f) for c, f in parts() if given.case in c and given.fault in f][number::of]
    until = time.monotonic() + 60 * given.minutes
    given.results.parent.mkdir(parents=True, exist_ok=True)
    gc.disable()
    for case, fault in chosen:
        line = results(given.results).get((case, fault))
        if (line and not line["wrong"] and line["every"] <= given.every) or time.monotonic() > until:
            continue
        line = played(case, fault, given.every, verbose=given.verbose)
        with given.results.open("a") as file:
            file.write(json.dumps(line) + "\n")
    shutil.rmtree(home(), ignore_errors=True)
    found = results(given.results)
    lines = [found[one] for one in chosen if one in found]
    sys.exit(bool(report(lines, len(chosen) - len(lines))))


if __name__ == "__main__":
    main()
