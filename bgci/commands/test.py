"""Command ``test``."""

from __future__ import annotations

from bgci.appdef.names import suite_candidates
from bgci.errors import UsageError
from bgci.operations.canary_test import carry_out, planned
from bgci.operations.context import stage
from bgci.options import Settings


def run(settings: Settings) -> None:
    """Test the canary. Raises RejectedError with the first failures, ConflictError when there is no canary."""
    with stage("test", settings) as context:
        tests = planned(context)
        if not tests:
            names = ", ".join(suite_candidates(context.app_id, context.revision))
            raise UsageError(
                f"There is nothing to test with: no --command, no --judge-for, and in {settings.template_dir} "
                f"none of {names}.",
                remedy="Write a suite (docs/testing.md), or name one with --suite.",
            )
        carry_out(context, tests, alone=True)
