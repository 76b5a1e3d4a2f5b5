"""Command ``promote``."""

from __future__ import annotations

from bgci.engine.decisions import Kind
from bgci.operations.goal import run_goal
from bgci.options import Settings


def run(settings: Settings) -> None:
    """Promote the revision: it serves alone at its target. Raises the error with the matching exit code."""
    run_goal(Kind.PROMOTE, settings)
