"""Command ``test``."""

from __future__ import annotations

from bgci.appdef.names import suite_candidates
from bgci.errors import UsageError
from bgci.interruption import SLACK, within
from bgci.operations.canary_test import carry_out, planned
from bgci.operations.context import stage
from bgci.operations.exclusion import warn_of_others
from bgci.operations.outside_watch import OutsideWatch
from bgci.options import Settings


def run(settings: Settings) -> None:
    """Test the canary. Raises RejectedError with the first failures, ConflictError without a canary."""
    with stage("test", settings) as context:
        tests = planned(context)
        if not tests:
            names = ", ".join(suite_candidates(context.app_id, context.revision))
            raise UsageError(
                f"No tests are given: --test-command and --judge-for are not given, and {settings.template_dir} has "
                f"none of {names}.",
                remedy="Write a suite (docs/testing.md), or give one with --suite.",
            )
        outside = OutsideWatch(context)
        with within(settings.timeout + SLACK):
            warn_of_others(context)
            outside.remember()
        carry_out(context, tests, outside)
