"""Command ``doctor``: checks the preconditions of a release one by one, each finding with its remedy."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace

from bgci.doctor.adopt import adopt
from bgci.doctor.examination import Examination
from bgci.doctor.finding import counts_text, table, verdict
from bgci.interruption import within
from bgci.operations.context import stage
from bgci.options import Settings

LOG_WIDTH = 120  # columns without a terminal


def run(settings: Settings) -> None:
    """Print the table. Raises the error of the worst failure; a warning is not a failure."""
    with stage("doctor", settings) as context:
        examination = Examination(context)
        with within(settings.timeout):  # an address that does not answer is asked in several looks
            checks = examination.run()
        if settings.adopt:
            adopted = adopt(context, examination)
            if context.result.changed:
                checks = Examination(context).run()
            checks.append(adopted)
        summary, rows = counts_text(checks), [check.row() for check in checks]
        context.result = replace(context.result, summary=summary, checks=tuple(rows))
        width = shutil.get_terminal_size((LOG_WIDTH, 24)).columns
        context.answer({"summary": summary, "checks": rows}, [*table(checks, width), "", summary])
        sys.stdout.flush()
        worst = verdict(checks)
        if worst:
            raise worst
        context.result = replace(context.result, message=summary)
