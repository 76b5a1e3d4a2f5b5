"""Stage ``release``: all stages in order, going back by itself when one fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from bgci.checks.test_result import Case
from bgci.engine.decisions import Kind
from bgci.errors import NAMES, BgciError, ConflictError, InconclusiveError, RolledBackError, UsageError, exit_code
from bgci.operations.canary_analysis import left, size_within_budget
from bgci.operations.canary_test import Planned, carry_out, planned
from bgci.operations.context import Context, stage
from bgci.operations.goal import as_job, asked, heeding_on_abort, reach
from bgci.operations.publishing import publish
from bgci.operations.rendering import render
from bgci.operations.topology import look
from bgci.options import OnFailure, OnInconclusive, Settings


def run(settings: Settings) -> None:
    """Render, publish, canary, test, promote. Raises RolledBackError when it failed and the earlier one is back."""
    with stage("release", settings) as context:
        steps = sizes(settings.steps)
        tests = planned(context, len(steps))  # a suite that is not valid is said before anything is touched
        with context.part("render"):
            _, jobs = render(context)
        if as_job(context):
            with context.part("publish"):
                publish(context, jobs)
        else:
            # A missing cluster or load balancer ends the command here, before there is anything to roll back.
            _ = context.cluster, context.balancers
        if tests.judgements and settings.max_failed_requests:
            context.settings = _sized(settings, steps[0])
            _within_budget(context, tests.judgements, 0.0)  # refused before anything is touched
            context.settings = settings
        try:
            with heeding_on_abort(context):
                _climb(context, steps, tests)
                context.settings = settings
                if not settings.dry_run:
                    _promote(context)
        except BgciError as cause:
            _go_back(context, cause)


def _climb(context: Context, steps: Sequence[str], tests: Planned) -> None:
    """The canary at each of its sizes, tested before the next."""
    settings, failed, stands = context.settings, 0.0, 0
    told: list[Case] = []
    for step in steps:
        context.settings = _sized(settings, step)
        if tests.judgements and settings.max_failed_requests:
            size = _within_budget(context, tests.judgements, failed)
            if size == stands:
                context.console.info(f"no larger canary than {stands}: --max-failed-requests is not enough for it")
                continue
            stands = size
        _keep_larger(context)
        told_as = _size(step) if len(steps) > 1 else ""
        with context.part("canary", told_as):
            reach(context, Kind.CANARY)
        if settings.dry_run:
            continue
        _test(context, tests, told_as, told)
        failed += context.result.get("judge", {}).get("failed_beyond_baseline", 0.0)


def _keep_larger(context: Context) -> None:
    """A canary may be larger than this step, and it only grows: an earlier release was stopped in its promotion."""
    _, goal = asked(context, Kind.CANARY)
    try:
        standing = look(context).canary.app.instances
    except ConflictError:  # it is no canary yet
        return
    if standing > goal.instances:
        context.console.info(f"going on with the {standing} canary instances that there are")
        context.settings = _sized(context.settings, str(standing))


def _promote(context: Context) -> None:
    """Where the canary was all there is to do, as in a first deployment, the release as a whole did it."""
    changed = context.result.get("changed", False)
    with context.part("promote"):
        reach(context, Kind.PROMOTE)
    if changed:
        context.result |= {"changed": True, "message": context.result["message"].removeprefix("Nothing to do. ")}


def sizes(steps: str) -> list[str]:
    """The canary's sizes one after the other; one empty text for the size of --instances or --percent.

    Raises UsageError unless each is a number of instances or a share, and they grow where they can be compared.
    """
    found = [size.strip() for size in steps.split(",")]
    for size in found if steps else ():
        number = size.removesuffix("%")
        if not number.isdecimal() or not 1 <= int(number) <= (100 if "%" in size else 10_000):
            raise UsageError(f"--steps: {size!r} is no size of a canary", remedy="write it as 1,25%,50%")
    for one, other in pairwise(found):
        if ("%" in one) == ("%" in other) and int(other.strip("%")) <= int(one.strip("%")):
            raise UsageError(f"--steps: {other} is no larger than {one}", remedy="write them as 1,25%,50%")
    return found


def _sized(settings: Settings, size: str) -> Settings:
    """The settings with this size of the canary, as if it had been given on the command line."""
    if not size:
        return settings
    number, share = int(size.removesuffix("%")), size.endswith("%")
    origins = settings.origins | {"instances": "COMMANDLINE", "percent": "COMMANDLINE"}
    return replace(settings, origins=origins, instances=1 if share else number, percent=number if share else 0)


def _size(step: str) -> str:
    """A step for people: ``25%``, ``1 instance``."""
    return step if step.endswith("%") else f"{step} instance{'s' * (step != '1')}"


def _within_budget(context: Context, judgements: int, failed: float) -> int:
    """Make the canary as large as what is left of --max-failed-requests allows; its size."""
    _, goal = asked(context, Kind.CANARY)
    context.settings = replace(context.settings, max_failed_requests=left(context.settings.max_failed_requests, failed))
    size = size_within_budget(context, goal.instances, goal.target, judgements)
    if size < goal.instances:
        context.console.warn(
            f"a canary of {size} instances instead of {goal.instances}: --max-failed-requests buys no more"
        )
        context.settings = _sized(context.settings, str(size))
    return size


def _test(context: Context, tests: Planned, step: str, told: list[Case]) -> None:
    """The tests that there are, at one step; their cases are added to ``told``."""
    if not tests:
        context.console.info("no tests: there is no suite and no --test-command")
        return
    try:
        with context.part("test", step):
            carry_out(context, tests, alone=True, step=step, told=told)
    except InconclusiveError as error:
        if context.settings.on_inconclusive is not OnInconclusive.PROMOTE:
            raise
        context.console.warn(f"{error.message}; going on, as --on-inconclusive says")


def _go_back(context: Context, cause: BgciError) -> None:
    """Roll back, and say what led to it; the cause itself when there is nothing to go back to."""
    code = exit_code(cause)
    context.result["cause"] = {"exit_code": code, "result": NAMES.get(code), "message": cause.message}
    inconclusive = isinstance(cause, InconclusiveError) and context.settings.on_inconclusive is OnInconclusive.LEAVE
    if context.settings.on_failure is OnFailure.LEAVE or inconclusive or context.settings.dry_run:
        raise cause
    context.console.error(cause)
    context.console.step(f"rolling back {context.revision}")
    try:
        with context.part("rollback"):
            reach(context, Kind.ROLLBACK)
    except BgciError as error:
        context.console.warn(f"no way back: {error.message}")
        raise cause from error
    # What to do then is not what it was before: there is nothing left to go on with or to go back from.
    remedy = "" if "rollback" in cause.remedy else cause.remedy
    raise RolledBackError(
        f"{context.revision} failed and was rolled back: {cause.message}",
        remedy=remedy or "correct what led to it and release it again",
    ) from cause
