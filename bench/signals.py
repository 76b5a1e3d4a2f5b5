"""Sends signals at random moments and counts lost signals, hung commands, and wrong exit codes.

    python bench/signals.py                  20,000 of the first two, and 200 of the third (some hours)
    python bench/signals.py --signals 0 --stages 2000 --commands 0

`--signals`, in one process: at a random moment of pauses, abandonable calls and garbage that is collected.
`--stages`: to shipped commands as separate processes on virtual time (tests/virtual/signalled.py): each stage,
both strategies, directly and by jobs, at a random moment of their work or of their waits, SIGTERM and SIGINT, two of
five with a second signal. Each eighth command is run again afterwards and must reach the goal. Each turn is a line of
the results file; the next run sends what is missing.
`--commands`: to `canary`, `promote` and `test` on a sandbox in real time, from their first moment on.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from abort import new_app  # type: ignore[import-not-found]
from e2e.lab import App, Lab, until
from e2e.test_signals import catches
from unit.test_interruption import MOMENT, send_soon, works_until_aborted
from virtual.signalled import Stage, stages, theatre

from bgci import early_signals, interruption
from bgci.sandbox import control

LONGEST = 3.0  # seconds of a command in which a signal comes
HANGS = 60.0  # seconds
FINISHED = 8  # after each so many-th signal the same command is run again


def in_one_process(count: int) -> Counter[str]:
    chance, found = random.Random(), Counter[str]()
    for _ in range(count):
        number = chance.choice(early_signals.NUMBERS)
        with interruption.noted_signals():
            sender = send_soon(number, chance.uniform(0, MOMENT))
            error = works_until_aborted(chance)
            sender.join()
        found["right" if error and error.exit_code == 128 + number else "lost"] += 1
    return found


def to_stages(count: int, home: Path, turn: int, every: int, file: Path) -> int:
    """Plays what is missing of so many signals, always ``turn`` to the stage with the fewest. Returns the number of
    wrong ends in all lines of the results file."""
    chance = random.Random()
    chosen = {str(stage): stage for stage in list(stages())[::every]}
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [line for line in map(json.loads, _lines(file)) if line["stage"] in chosen]
    met = Counter(dict.fromkeys(chosen, 0))
    for line in lines:
        met[line["stage"]] += line["met"]
    while met.total() < count:
        name = min(met, key=lambda stage: met[stage])
        line = one_turn(chosen[name], home, turn, chance)
        met[name] += line["met"]
        lines.append(line)
        with file.open("a") as results:
            results.write(json.dumps(line) + "\n")
        print(f"{line['met']} to {name}, {met.total()} in all", flush=True)
    for name, times in met.items():
        print(f"{times:6} {name}")
    wrong: int = sum(line["wrong"] for line in lines)
    second, slowest = sum(line["second"] for line in lines), max((line["slowest"] for line in lines), default=0.0)
    print(f"to stages: {met.total()} met a process, {second} of them with a second signal, {wrong} wrong,", end=" ")
    print(f"at most {slowest:.2f} virtual seconds to the end", flush=True)
    return wrong


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def one_turn(stage: Stage, home: Path, turn: int, chance: random.Random) -> dict[str, Any]:
    """A line of the results file: so many signals to one stage, and how many of them met a process."""
    met, wrong, slowest, second = 0, 0, 0.0, 0
    with theatre(stage, home, chance) as plays:
        for number in range(turn):
            story = plays.play(finish=number % FINISHED == 0)
            met += bool(story.sent)
            second += len(story.sent) > 1
            slowest = max(slowest, story.seconds if stage.on_abort == "leave" else 0.0)
            if story.problems:
                wrong += 1
                print("WRONG", story, flush=True)
    return {"stage": str(stage), "met": met, "second": second, "wrong": wrong, "slowest": slowest}


def to_commands(lab: Lab, count: int) -> tuple[Counter[str], float]:
    """The commands' outcomes, and the longest time from the signal to the end."""
    chance, found, longest = random.Random(), Counter[str](), 0.0
    with new_app(lab) as app:
        app.write("v2", env={"SANDBOX_HEALTH": "fail"})
        app.publish("v2")
        for _ in range(count):
            how, seconds = one_command(app, chance)
            found[how] += 1
            longest = max(longest, seconds)
    return found, longest


def one_command(app: App, chance: random.Random) -> tuple[str, float]:
    number = chance.choice((signal.SIGTERM, signal.SIGINT))
    command, via = chance.choice(("canary", "promote", "test")), chance.choice(("direct", "job"))
    options = ("--test-command", "sleep 100") if command == "test" else ()
    running = app.start(command, "v2", *options, **({} if command == "test" else {"BGCI_VIA": via}))
    until(lambda: catches(running))
    time.sleep(chance.uniform(0, LONGEST))
    sent, over = time.monotonic(), running.process.poll() is not None
    running.process.send_signal(number)
    try:
        ended = running.end(seconds=HANGS)
    except AssertionError:
        return "hung, or a traceback", HANGS
    seconds = time.monotonic() - sent
    right = over or ended.code == 128 + number or ended.code == ended.result.get("code")
    return ("right" if right else f"{command} {via} {number.name}: {ended.code}"), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signals", type=int, default=20_000)
    parser.add_argument("--stages", type=int, default=20_000)
    parser.add_argument("--turn", type=int, default=40, help="signals to one stage before the next")
    parser.add_argument("--every", type=int, default=1, help="only each n-th stage")
    parser.add_argument("--commands", type=int, default=200)
    parser.add_argument("--results", type=Path, default=Path("build/signals.jsonl"))
    given = parser.parse_args()
    print("in one process:", dict(in_one_process(given.signals)), flush=True)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as memory:
        wrong = to_stages(given.stages, Path(memory) / "world", given.turn, given.every, given.results)
    if not given.commands:
        sys.exit(bool(wrong))
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory) / "sandbox"
        lab = Lab(home, control.up(home, replicas=2, addresses=["127.0.9.1", "127.0.9.2"]))
        try:
            found, longest = to_commands(lab, given.commands)
        finally:
            control.down(home)
    print(f"to commands: {dict(found)}, at most {longest:.1f} s from the signal to the end")


if __name__ == "__main__":
    main()
