"""Command ``replay``: the rollouts of a journal in this version's engine."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from pathlib import Path

from bgci.bounded import file_bytes, reason
from bgci.errors import UsageError
from bgci.reporting.console import plain
from bgci.reporting.journal_reader import MOST_OF_A_JOURNAL, lines_of
from bgci.reporting.journal_replay import replay, run_lines


def run(journal: str) -> None:
    """Print each observation, the recorded decision and its reason, and where this version would decide otherwise.

    Raises UsageError for a file that is unreadable or has no rollout.
    """
    try:
        lines = lines_of(file_bytes(Path(journal), MOST_OF_A_JOURNAL))
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
            print(_folded(f"  {plain(line)}"))


def _folded(line: str) -> str:
    """The line, folded to the width of the terminal; unchanged if the output is not a terminal."""
    if not sys.stdout.isatty():
        return line
    start = re.match(r" *([0-9.]+s +|[-!]. )?", line)
    whole = re.sub(r"\[[^\]]*\]", lambda found: found[0].replace(" ", "\xa0"), line)  # the servers of one app
    text = textwrap.fill(
        whole,
        max(60, shutil.get_terminal_size().columns),
        subsequent_indent=" " * (len(start[0]) if start else 0),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return text.replace("\xa0", " ")
