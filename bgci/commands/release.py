"""Command ``release``: all stages in order, and a rollback when one fails."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from bgci.appdef.app_definition import instances
from bgci.checks.test_result import Case
from bgci.dcos.running_app import RunningApp
from bgci.engine.decisions import Goal, Kind, Release
from bgci.engine.lock import Way
from bgci.errors import (
    NAMES,
    BgciError,
    ConflictError,
    DeniedError,
    InconclusiveError,
    InvalidError,
    RejectedError,
    RolledBackError,
    UnavailableError,
    UsageError,
    amended,
    exit_code,
)
from bgci.operations.balancer_settings import require_servable
from bgci.operations.canary_analysis import left, size_within_budget
from bgci.operations.canary_size import CanarySize, size_of, step_sizes
from bgci.operations.canary_test import Planned, carry_out, planned
from bgci.operations.context import Context, stage
from bgci.operations.exclusion import take_lock
from bgci.operations.goal import as_job, reach, rollback_on_abort
from bgci.operations.outside_watch import OutsideWatch
from bgci.operations.owned_apps import require_owned
from bgci.operations.publishing import publish
from bgci.operations.rendering import render
from bgci.operations.topology import current_hybrid
from bgci.options import Settings
from bgci.reporting.journal_reader import served_on

# Failures whose remedy still applies after the rollback. The remedies of the others concern the canary.
LASTING = (UsageError, InvalidError, DeniedError, UnavailableError, RejectedError)


def run(settings: Settings) -> None:
    """Render, publish, canary, test, promote. Raises RolledBackError when a stage failed and the baseline is back."""
    with stage("release", settings) as context:
        steps = step_sizes(settings.steps) or [size_of(settings)]
        tests = planned(context, len(steps))  # an invalid suite ends the command before any change
        with context.part("render"):
            rendered = render(context)
        take_lock(context, Way.FOLLOW if as_job(context) else Way.PROCESS)
        mine = require_owned(context, rendered.release.group)
        _check_settings(context, rendered.release, mine.apps)
        if as_job(context):
            with context.part("publish"):
                publish(context, rendered)
        else:
            # A missing cluster or load balancer ends the command here, before any change.
            _ = context.cluster, context.balancers
        ran_before = any(app.revision == context.revision for app in mine.apps)
        _within_budget(context, rendered.release, steps[0], tests)  # refused before any change
        outside = OutsideWatch(context)
        try:
            with rollback_on_abort(context):
                changed = _climb(context, rendered.release, steps, tests, outside)
                _promote(context, rendered.release, changed, outside)
        except BgciError as error:
            cause = amended(error, message=outside.named(error.message))
            if isinstance(cause, ConflictError) and ran_before and _only_canary(context):
                raise cause from error  # an earlier release's canary, which this one has not touched
            _go_back(context, cause)


def _runs(context: Context, revision: str = "") -> bool:
    """Whether a colour of the app exists, or one of this revision; True if that cannot be read."""
    try:
        members = context.cluster.marathon.members(context.app_id, "")
    except (DeniedError, UnavailableError):
        return True
    return any(app.base_id == context.app_id and revision in ("", app.revision) for app in members)


def _only_canary(context: Context) -> bool:
    """Whether the release ended with its first canary."""
    rows = [str(row["command"]) for row in context.result.stages or ()]
    return rows.count("canary") == 1 and not {"test", "promote"} & set(rows)


def _check_settings(context: Context, release: Release, running: Sequence[RunningApp]) -> None:
    """Refuse a release that the load balancers cannot serve, before any change.

    The jobs repeat these checks, because they may reach load balancers that this process cannot reach.
    """
    if not as_job(context):
        require_servable(context, release, running)
    elif context.settings.marathon_lb_url:
        with suppress(DeniedError, UnavailableError):
            require_servable(context, release, running)


def _climb(
    context: Context, release: Release, steps: Sequence[CanarySize], tests: Planned, outside: OutsideWatch
) -> bool:
    """The canary at each of its sizes, tested before the next. Returns whether that changed anything."""
    failed, standing, changed = 0.0, 0, False
    cases: list[Case] = []
    for step in steps:
        tests = replace(tests, granted=left(context.settings.max_failed_requests, failed))
        size = _within_budget(context, release, step, tests)
        if tests.judgements and tests.granted:
            wanted = size.of(instances(release.definition or {}))
            if wanted == standing:
                context.console.info(f"The canary stays at {standing} instances: --max-failed-requests allows no more.")
                continue
            standing = wanted
        size = _at_least_standing(context, release, size)
        label = str(step) if len(steps) > 1 else ""
        outside.require_goal(Goal(Kind.CANARY, release.revision, target=instances(release.definition or {})))
        with context.part("canary", label):
            changed = reach(context, Kind.CANARY, release, size, checked=True) or changed
        outside.remember()
        if context.settings.dry_run:
            context.plan(
                f"Test the canary{f' at {label}' if label else ''}." if tests else "No tests: no suite was found."
            )
            continue
        _test(context, tests, label, cases, outside)
        failed += (context.result.judge or {}).get("failed_beyond_baseline", 0.0)
    return changed


def _at_least_standing(context: Context, release: Release, size: CanarySize) -> CanarySize:
    """The size, or that of the running canary if it is larger.

    A canary only grows, and an earlier release may have stopped during its promotion.
    """
    try:
        standing = current_hybrid(context).canary.app.instances
    except ConflictError:  # no canary yet
        return size
    if standing <= size.of(instances(release.definition or {})):
        return size
    context.console.info(f"The canary keeps its {standing} instances.")
    return CanarySize(standing)


def _promote(context: Context, release: Release, changed: bool, outside: OutsideWatch) -> None:
    """changed: whether the canary stage changed anything. In a first deployment it deploys the whole app."""
    outside.require_goal(Goal(Kind.PROMOTE, release.revision, target=instances(release.definition or {})))
    with context.part("promote"):
        promoted = reach(context, Kind.PROMOTE, release, checked=True)
    outside.poll()  # a job's end is known some seconds later
    if changed and not promoted:
        context.result = replace(context.result, changed=True, message=context.result.reached)
    context.result = replace(context.result, message=outside.named(context.result.message or ""))


def _within_budget(context: Context, release: Release, size: CanarySize, tests: Planned) -> CanarySize:
    """The size, limited by --max-failed-requests. Raises ConflictError when it allows no canary."""
    if not (tests.judgements and tests.granted):
        return size
    target = instances(release.definition or {})
    wanted = size.of(target)
    allowed = size_within_budget(context, wanted, target, tests.judgements, tests.granted)
    if allowed >= wanted:
        return size
    context.console.warn(f"A canary of {allowed} instances instead of {wanted}: --max-failed-requests allows no more.")
    return CanarySize(allowed)


def _test(context: Context, tests: Planned, step: str, cases: list[Case], outside: OutsideWatch) -> None:
    """Run the tests at one step; their cases are added to ``cases``."""
    if not tests:
        context.console.info("No tests: no suite was found, and --test-command is not given.")
        return
    try:
        with context.part("test", step):
            carry_out(context, tests, outside, step=step, earlier=cases)
    except InconclusiveError as error:
        if context.settings.on_inconclusive != "promote":
            raise
        context.console.warn(f"{error.message} The release goes on (--on-inconclusive promote).")


def _go_back(context: Context, cause: BgciError) -> None:
    """Roll back and raise RolledBackError; raise the cause itself without a rollback."""
    code = exit_code(cause)
    reported = {"exit_code": code, "result": NAMES.get(code), "message": cause.message}
    context.result = replace(context.result, cause=reported)
    inconclusive = isinstance(cause, InconclusiveError) and context.settings.on_inconclusive == "leave"
    if context.settings.on_failure == "leave" or inconclusive or context.settings.dry_run:
        raise cause
    if isinstance(cause, RolledBackError) or not _runs(context, context.revision):
        raise cause  # the promotion has rolled back by itself, or nothing was changed
    context.console.error(cause)
    context.console.step(f"Rolling back {context.revision}.")
    rejected_at = time.monotonic()
    if isinstance(cause, RejectedError) and context.settings.on_rejected == "cut":
        context.go_on_with(cut=True)
    try:
        with context.part("rollback"):
            reach(context, Kind.ROLLBACK)
    except BgciError as error:
        context.console.warn(f"The rollback failed: {error.message}")
        raise cause from error
    if not _runs(context):
        raise amended(cause, more=f"{context.revision} was removed: it is the first revision, and it never served.")
    served = _served_on(context, time.monotonic() - rejected_at) if isinstance(cause, RejectedError) else ""
    remedy = cause.remedy if isinstance(cause, LASTING) else ""
    raise RolledBackError(
        f"{context.revision} failed and was rolled back{served}: {cause.message}",
        remedy=remedy or "Correct the cause and release it again.",
    ) from cause


def _served_on(context: Context, since_verdict: float) -> str:
    """Report from the journal how long the rejected canary still served users. Returns a part of a sentence."""
    seconds = served_on(context.artifacts.directory / "journal.jsonl", context.revision, since_verdict)
    if seconds is None:
        return ""
    context.result = replace(
        context.result, cause={**(context.result.cause or {}), "served_on_seconds": round(seconds, 1)}
    )
    how = "cut" if context.settings.cut else "drained; --on-rejected cut is faster, but cuts its open sessions"
    context.console.info(f"The rejected canary received requests for {seconds:.1f} s after the verdict ({how}).")
    return f" (it received requests for {seconds:.1f} s after the verdict)"
