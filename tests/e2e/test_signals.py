"""Signals at random moments of whole commands: none is lost, none hangs, the code is right (hazard 62)."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from e2e.lab import App, Running, until

TIMES = 6  # for each way; bench/signals.py sends as many as one likes
LONGEST = 2.0  # seconds in which a signal comes
HANGS = 30.0  # seconds: other work may run beside


def catches(running: Running) -> bool:
    """Whether the command has installed its handler of SIGTERM; before, the signal ends the process directly."""
    caught = next(
        line for line in Path(f"/proc/{running.process.pid}/status").read_text().splitlines() if "SigCgt" in line
    )
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize(("via", "number"), [("job", signal.SIGTERM), ("direct", signal.SIGINT)])
def test_h62_signals_at_random_moments_of_a_command_are_never_lost(app: App, via: str, number: signal.Signals) -> None:
    app.promote("v1")
    app.write("v2", env={"SANDBOX_HEALTH": "fail"})
    app.publish("v2")
    chance = random.Random(f"{via} {number}")
    for _ in range(TIMES):
        running = app.start("canary", "v2", BGCI_VIA=via)
        until(lambda running=running: catches(running))
        time.sleep(chance.uniform(0, LONGEST))
        running.process.send_signal(number)
        ended = running.end(seconds=HANGS)
        assert ended.code == 128 + number
        assert f"Aborted by {number.name}" in ended.text
