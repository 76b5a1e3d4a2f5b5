"""Command ``remove``."""

from __future__ import annotations

import os
import sys

from bgci.errors import UsageError
from bgci.interruption import call, within
from bgci.operations.app_removal import remove
from bgci.operations.context import Context, stage
from bgci.options import Settings

ANSWER_SECONDS = 300.0  # for the confirmation


def run(settings: Settings) -> None:
    """Remove the app and its jobs. Raises UsageError without a confirmation."""
    with stage("remove", settings) as context:
        if not (settings.yes or settings.dry_run):
            _require_confirmed(context)
        remove(context)


def _require_confirmed(context: Context) -> None:
    """Ask on a terminal. Raises UsageError without one, or when the answer is not the app's id.

    This is the only question of bgci. A terminal in a CI system has no user, so --yes is required there.
    """
    app_id = context.app_id
    if os.environ.get("CI") or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"`bgci remove` deletes {app_id} and its jobs, and needs a confirmation: without a terminal, --yes.",
            remedy=f"Give --yes: bgci remove --app {app_id} --yes.",
        )
    sys.stderr.write(f"This deletes {app_id} and its jobs; users then get errors. Type {app_id} to confirm: ")
    sys.stderr.flush()
    try:
        with within(ANSWER_SECONDS):
            answer = call(sys.stdin.readline, ANSWER_SECONDS)  # a signal ends it
    except TimeoutError:
        answer = ""
    if answer.strip() not in (app_id, app_id.lstrip("/")):
        raise UsageError(
            "The answer is not the app's id; nothing was removed.", remedy="Run the command again, or give --yes."
        )
