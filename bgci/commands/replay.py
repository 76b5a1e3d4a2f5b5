"""Command ``replay``: the rollouts of a journal in this version's engine."""

from __future__ import annotations

from pathlib import Path

from bgci.bounded import file_bytes, reason
from bgci.errors import UsageError
from bgci.reporting.console import plain
from bgci.reporting.journal_reader import MOST_OF_A_JOURNAL
from bgci.reporting.journal_replay import replay, run_lines


def run(journal: str) -> None:
    """Print each observation, the recorded decision and its reason, and where this version would decide otherwise.

    Raises UsageError for a file that is unreadable or has no rollout.
    """
    try:
        lines = file_bytes(Path(journal), MOST_OF_A_JOURNAL).decode("utf-8", "replace").splitlines()
    except OSError as error:
        raise UsageError(
            f"{journal} cannot be read: {reason(error)}.", remedy="Name the journal.jsonl of an artifacts directory."
        ) from None
    runs = list(replay(lines))
    if not runs:
        raise UsageError(
            f"{journal} has no rollout to replay.",
            remedy="Record one with this version: each canary, promote and rollback writes its decisions there.",
        )
    for number, rollout in enumerate(runs, 1):
        print(f"Run {number} of {len(runs)}:")
        for line in run_lines(rollout):
            print(f"  {plain(line)}")
