"""Command ``canary``."""

from __future__ import annotations

from bgci.engine.decisions import Kind
from bgci.operations.goal import run_goal
from bgci.options import Settings


def run(settings: Settings) -> None:
    """Put canary instances of the revision in rotation beside the baseline.

    Raises the error with the matching exit code.
    """
    run_goal(Kind.CANARY, settings)
