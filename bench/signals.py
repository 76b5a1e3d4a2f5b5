"""Sends signals at random moments and counts those that were lost, that hung, or that ended with a wrong code.

    python bench/signals.py                  20,000 in one process, and 200 to whole commands (about an hour)
    python bench/signals.py --signals 2000 --commands 20

In one process: a signal at a random moment of pauses, abandonable calls and garbage that is collected. Whole commands:
`canary`, `promote` and `test` on a sandbox, directly and as a job, SIGTERM and SIGINT, from their first moment on.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from abort import new_app  # type: ignore[import-not-found]
from e2e.lab import App, Lab, until
from e2e.test_signals import catches
from unit.test_interruption import MOMENT, send_soon, works_until_aborted

from bgci import early_signals, interruption
from bgci.sandbox import control

LONGEST = 3.0  # seconds of a command in which a signal comes
HANGS = 60.0  # seconds


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


def to_commands(lab: Lab, count: int) -> tuple[Counter[str], float]:
    """How they ended, and the longest time from the signal to the end."""
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
    parser.add_argument("--commands", type=int, default=200)
    given = parser.parse_args()
    print("in one process:", dict(in_one_process(given.signals)), flush=True)
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
