"""Finds the processes that a pipeline has started."""

from __future__ import annotations

import os
from pathlib import Path


def pids_with(home: Path, words: str) -> list[int]:
    """The ids of processes that run below the directory and have these words in their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().decode(errors="replace")
            below = Path(os.readlink(entry / "cwd")).is_relative_to(home)
        except OSError:
            continue
        if below and words in command:
            found.append(int(entry.name))
    return found
