"""No signal at a random moment of a shipped stage is lost or hangs; the same command finishes (hazard 62)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench/signals.py"
SIGNALS, TURN, EVERY = 60, 6, 4  # to each fourth stage; the bench sends as many as one likes


def test_h62_a_stage_ended_by_a_signal_at_a_random_moment_is_finished_by_the_same_command(
    tmp_path: Path,
) -> None:
    """Real signals to real processes on virtual time, forked from a process without threads."""
    words = [f"--stages={SIGNALS}", f"--turn={TURN}", f"--every={EVERY}", "--signals=0", "--commands=0"]
    words += ["--results", str(tmp_path / "signals.jsonl")]
    done = subprocess.run([sys.executable, BENCH, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 wrong" in done.stdout
