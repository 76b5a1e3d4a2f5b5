"""Command ``rollback``."""

from __future__ import annotations

from bgci.engine.decisions import Kind
from bgci.operations.goal import run_goal
from bgci.options import Settings


def run(settings: Settings) -> None:
    """Remove the canary; the baseline serves alone again. Raises the error with the matching exit code."""
    run_goal(Kind.ROLLBACK, settings)
