"""The time limit of a command for its requests."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from bgci.interruption import SLACK, left
from bgci.operations.context import LIMITS, stage
from bgci.options import Settings


@pytest.mark.parametrize("command", ["status", "prune", "publish", "remove", "undo", "release", "doctor"])
def test_a_command_has_its_own_limit_or_that_of_its_timeout(tmp_path: Path, command: str) -> None:
    settings = replace(Settings(), artifacts=str(tmp_path), timeout=100.0)
    with stage(command, settings):
        limit = left()
    assert LIMITS.get(command, 100 + SLACK) - 5 < limit <= LIMITS.get(command, 100 + SLACK)
    assert left() == math.inf
