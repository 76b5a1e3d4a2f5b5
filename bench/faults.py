"""Every fault at every request of a release, on virtual time: each must end in the goal, or be finished by the same
command.

    python bench/faults.py                        all of it, on all cores (make prove-faults)
    python bench/faults.py --case "rolling" --fault SIGKILL --workers 1
    python bench/faults.py --every 7              each seventh request, and all that change something

Canary and promote, canary and rollback; both strategies; directly and by jobs. tests/virtual is the cluster.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from virtual.scenario import Story, jobs_of, play_one

Task = tuple[str, str, int]


def tasks(case_words: str, fault_words: str, every: int) -> Iterator[Task]:
    for case, fault, numbers in jobs_of(home(), every):
        if case_words in case and fault_words in fault:
            yield from ((case, fault, number) for number in numbers)


def home() -> Path:
    base = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path("/tmp")
    return base / f"bgci-prove-faults-{os.environ.get('BENCH', os.getpid())}-{os.getpid()}"


def work(task: Task) -> Story:
    return play_one(*task, home())


def report(stories: Iterable[Story], verbose: bool) -> int:
    """The number of stories with a problem."""
    rows: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    wrong = []
    for story in stories:
        row = rows[str(story.case), story.fault]
        row["played"] += 1
        row["absorbed" if not any(story.codes) else "finished by the same command"] += 1
        if story.problems:
            row["WRONG"] += 1
            wrong.append(story)
            print("WRONG", story, flush=True)
        elif verbose and any(story.codes):
            print(story, flush=True)
    for (case, fault), row in rows.items():
        print(f"{case:60} {fault:30} " + ", ".join(f"{count} {name}" for name, count in row.items()))
    print(f"{sum(row['played'] for row in rows.values())} played, {len(wrong)} wrong")
    return len(wrong)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", default="", help="only cases with this in their name")
    parser.add_argument("--fault", default="", help="only faults with this in their name")
    parser.add_argument("--every", type=int, default=1, help="each n-th request that only reads")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--verbose", action="store_true", help="each story in which a command ended with another code")
    given = parser.parse_args()
    began = time.monotonic()
    os.environ["BENCH"] = str(os.getpid())
    chosen = list(tasks(given.case, given.fault, given.every))
    with multiprocessing.Pool(given.workers) as pool:
        wrong = report(pool.imap(work, chosen, chunksize=8), given.verbose)
    print(f"{time.monotonic() - began:.0f} s")
    for folder in home().parent.glob(f"bgci-prove-faults-{os.getpid()}-*"):
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
