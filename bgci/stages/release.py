"""Stage ``release``: all stages in order, going back by itself when one fails."""

from __future__ import annotations

from bgci.config import OnFailure, Settings
from bgci.errors import NAMES, AbortedError, BgciError, RolledBackError, exit_code
from bgci.rollout.model import Kind
from bgci.stages.goal import as_job, reach
from bgci.stages.publish import publish
from bgci.stages.render import render
from bgci.stages.test import Planned, carry_out, planned
from bgci.stages.work import Work, stage


def run(settings: Settings) -> None:
    """Render, publish, canary, test, promote. Raises RolledBackError when it failed and the earlier one is back."""
    with stage("release", settings) as work:
        tests = planned(work)  # a suite that is not valid is said before anything is touched
        _, jobs = render(work)
        if as_job(work):
            publish(work, jobs)
        try:
            reach(work, Kind.CANARY)
            if not settings.dry_run:
                _test(work, tests)
                reach(work, Kind.PROMOTE)
        except AbortedError:
            raise
        except BgciError as cause:
            _go_back(work, cause)


def _test(work: Work, tests: Planned) -> None:
    """The tests that there are; on a signal --on-abort is carried out before it is raised."""
    if not tests:
        work.console.info("no tests: there is no suite and no --test-command")
        return
    try:
        carry_out(work, tests, alone=True)
    except AbortedError:
        if work.settings.on_abort is OnFailure.ROLLBACK:
            work.console.warn("aborted: rolling back, as --on-abort says")
            reach(work, Kind.ROLLBACK)
        raise


def _go_back(work: Work, cause: BgciError) -> None:
    """Roll back, and say what led to it; the cause itself when there is nothing to go back to."""
    code = exit_code(cause)
    work.result["cause"] = {"exit_code": code, "result": NAMES.get(code), "message": cause.message}
    if work.settings.on_failure is OnFailure.LEAVE:
        raise cause
    work.console.error(cause)
    work.console.step(f"rolling back {work.revision}")
    try:
        reach(work, Kind.ROLLBACK)
    except AbortedError:
        raise
    except BgciError as error:
        work.console.warn(f"no way back: {error.message}")
        raise cause from error
    raise RolledBackError(
        f"{work.revision} failed and was rolled back: {cause.message}",
        remedy=cause.remedy or "see the cause in result.json",
    ) from cause
