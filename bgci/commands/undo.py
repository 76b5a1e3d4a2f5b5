"""Command ``undo``."""

from __future__ import annotations

from bgci.engine.decisions import Kind
from bgci.operations.context import stage
from bgci.operations.goal import reach, rollback_on_abort
from bgci.operations.previous_release import begun
from bgci.options import Settings


def run(settings: Settings) -> None:
    """Promote the revision that served before. Raises ConflictError when none is known or a canary runs."""
    with stage("undo", settings) as context:
        release = begun(context)
        with rollback_on_abort(context):
            reach(context, Kind.PROMOTE, release)
