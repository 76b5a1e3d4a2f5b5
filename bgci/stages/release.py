"""Stage ``release``: all stages in order, going back by itself when one fails."""

from __future__ import annotations

from bgci.config import OnFailure, Settings
from bgci.errors import NAMES, AbortedError, BgciError, RolledBackError, exit_code
from bgci.rollout.model import Kind
from bgci.stages.goal import as_job, reach
from bgci.stages.publish import publish
from bgci.stages.render import render
from bgci.stages.work import Work, stage


def run(settings: Settings) -> None:
    """Render, publish, canary, promote. Raises RolledBackError when it failed and the earlier revision is back."""
    with stage("release", settings) as work:
        _, jobs = render(work)
        if as_job(work):
            publish(work, jobs)
        try:
            reach(work, Kind.CANARY)
            if not settings.dry_run:
                reach(work, Kind.PROMOTE)
        except AbortedError:
            raise
        except BgciError as cause:
            _go_back(work, cause)


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
