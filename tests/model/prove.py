"""Explores all scopes of the proof:  .venv/bin/python tests/model/prove.py [--minutes M] [--part I/K]

Each scope that was explored is a line of the results file; a scope that is there is not explored again. ``--part``:
every K-th scope only, for several processes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from judging import judged
from scopes import Scope

from_a_release = [
    Scope(before, target, 2, canaries=(1, target), waves=(1, 2), delayed=delayed, lists_running=running)
    for before, target in product(range(1, 5), range(1, 5))
    for delayed, running in ((False, False), (False, True), (True, False))
    if not delayed or max(before, target) <= 3
]
foreign = [
    Scope(before, before, 2, canaries=(1, before), waves=(1,), label=label, delayed=delayed)
    for before in range(1, 5)
    for label in (None, *range(1, 6))
    if label != before
    for delayed in (False, True)[: 1 + (before < 4)]
]
from_everywhere = [
    Scope(1, 1, 1, everywhere=9, dying=1),
    Scope(1, 1, 1, everywhere=9, dying=1, lists_running=True),
    Scope(1, 1, 2, everywhere=9, delayed=True),
    Scope(1, 2, 1, everywhere=9),
    Scope(2, 1, 1, everywhere=9),
    Scope(1, 1, 2, everywhere=9, dying=1),
    Scope(2, 2, 1, everywhere=9),
    Scope(2, 2, 1, everywhere=1, dying=1, lists_running=True),
    Scope(2, 2, 1, everywhere=1, delayed=True),
    Scope(2, 1, 2, everywhere=0),
    Scope(1, 2, 2, everywhere=0),
    Scope(2, 2, 2, everywhere=0),
    Scope(3, 3, 1, everywhere=0, waves=(1, 2)),
    Scope(3, 3, 1, everywhere=1),
    Scope(3, 3, 2, everywhere=0, more=0),
    Scope(4, 4, 1, everywhere=0, more=0),
    Scope(2, 2, 2, everywhere=1),
    Scope(4, 4, 1, everywhere=0),
    Scope(4, 4, 2, everywhere=0, more=0),
]
without_room = [
    *(Scope(n, n, 2, canaries=(1, n), waves=(1, 2), no_room=True) for n in range(1, 4)),
    *(Scope(before, target, 2, no_room=True) for before, target in ((1, 2), (2, 1), (2, 3), (3, 2))),
    Scope(4, 4, 1, canaries=(1, 4), waves=(1, 2), no_room=True),
    Scope(2, 2, 2, canaries=(1, 2), waves=(1, 2), no_room=True, lists_running=True),
    Scope(1, 1, 1, everywhere=9, dying=1, no_room=True, lists_running=True),
    Scope(1, 2, 1, everywhere=1, no_room=True),
    Scope(2, 1, 1, everywhere=1, no_room=True),
    Scope(2, 2, 1, everywhere=1, no_room=True),
]
of_one_size = [scope for scope in from_a_release if scope.before == scope.target]
of_two_sizes = [scope for scope in from_a_release if scope not in of_one_size]
SCOPES = [*of_one_size, *from_everywhere, *without_room, *of_two_sizes, *foreign]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1e6)
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--results", type=Path, default=Path("build/proof.jsonl"))
    arguments = parser.parse_args()
    part, parts = map(int, arguments.part.split("/"))
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    done = _done(arguments.results)
    until = time.monotonic() + 60 * arguments.minutes
    faults = 0
    for scope in SCOPES[part::parts]:
        if scope.name in done:
            continue
        began = time.monotonic()
        graph = scope.graph()
        if not graph.explore(scope.starts(), until):
            print(f"stopped in: {scope.name}, {len(graph.moves)} of {len(graph.states)} states")
            return 1
        judgement = judged(graph)
        line = {
            "scope": scope.name,
            "states": judgement.states,
            "transitions": judgement.transitions,
            "seconds": round(time.monotonic() - began, 1),
            "steps": judgement.steps,
            "dips": judgement.dips,
            "beyond": graph.beyond,
            "faults": len(judgement.faults),
            "first": judgement.faults[:3],
        }
        with arguments.results.open("a") as file:
            file.write(json.dumps(line) + "\n")
        faults += len(judgement.faults)
        print(f"{scope.name}: {judgement.states} states, {judgement.transitions} transitions, {line['seconds']} s")
        print("\n".join(judgement.faults[:3]), end="\n" if judgement.faults else "")
    return 1 if faults else 0


def _done(results: Path) -> set[str]:
    lines = results.read_text().splitlines() if results.exists() else []
    return {line["scope"] for line in map(json.loads, lines) if not line["faults"]}


if __name__ == "__main__":
    sys.exit(main())
