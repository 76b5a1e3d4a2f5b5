"""One goal, ``canary``, ``promote`` or ``rollback``, in this process or as a DC/OS Job."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from bgci.engine.decisions import Kind, Release
from bgci.engine.lock import Way
from bgci.engine.outside_changes import completed
from bgci.errors import AbortedError, BgciError, UsageError, amended
from bgci.interruption import SLACK, signals, within
from bgci.operations.balancer_settings import require_servable
from bgci.operations.canary_size import CanarySize, size_of
from bgci.operations.context import Context, stage
from bgci.operations.dry_run import plan_goal
from bgci.operations.exclusion import take_lock
from bgci.operations.job_knowledge import known_in_job
from bgci.operations.job_run import follow
from bgci.operations.kept_baseline import keep_for_job
from bgci.operations.owned_apps import check_strangers, group_apps, require_owned, require_readable
from bgci.operations.planning import GoalRequest, driver_of, goal_request, release_to_undo
from bgci.operations.preview import preview, remove_previews
from bgci.operations.rendering import known_group, load, marathon_version
from bgci.operations.rollout_driver import RolloutResult
from bgci.operations.same_release import require_same_release
from bgci.options import Settings
from bgci.reporting.rollout_log import summary


def run_goal(kind: Kind, settings: Settings) -> None:
    """The commands ``canary``, ``promote`` and ``rollback``. Raises the error with the matching exit code."""
    with stage(kind.value, settings) as context:
        if kind is Kind.ROLLBACK:
            reach(context, kind)
            return
        with rollback_on_abort(context):
            reach(context, kind)


@contextmanager
def rollback_on_abort(context: Context) -> Iterator[None]:
    """On a signal: roll back with --on-abort rollback, then raise it.

    CI systems send a second signal some seconds after the first. It ends a rollback in this process; the same rollback
    run again finishes it. The job of a rollback continues in the cluster.
    """
    try:
        yield
        signals.check()  # one that came where nothing waited
    except AbortedError as aborted:
        if context.settings.on_abort != "rollback":
            raise
        context.console.warn("Aborted: rolling back (--on-abort rollback).")
        try:
            with context.part("rollback"):
                reach(context, Kind.ROLLBACK)
        except (BgciError, AbortedError) as error:
            context.console.warn(f"The rollback has not ended: {error.message}")
            raise aborted from error
        raise amended(aborted, more="bgci rolled back (--on-abort rollback).", remedy="") from None


def reach(
    context: Context,
    kind: Kind,
    release: Release | None = None,
    size: CanarySize | None = None,
    *,
    checked: bool = False,
) -> bool:
    """Reach the goal by job or directly. Returns whether that changed anything.

    release: as rendered by this command, None if it has not been read yet. A rollback needs none. size: of the canary;
    None: from the settings. checked: whether this command has checked the load balancers' settings.
    """
    size = size or size_of(context.settings)
    with within(context.settings.timeout + SLACK):
        by_job = as_job(context) and not context.settings.dry_run
        if not by_job and kind is not Kind.ROLLBACK:
            release = release or load(context)  # an error in the template is reported before that of a lock
        take_lock(context, Way.FOLLOW if by_job else Way.PROCESS)
        return _reached(context, kind, release, size, by_job=by_job, checked=checked)


def _reached(
    context: Context, kind: Kind, release: Release | None, size: CanarySize, *, by_job: bool, checked: bool
) -> bool:
    if by_job:
        require_owned(context, release.group if release else known_group(context))
        keep_for_job(context)
        known, context.known = context.known, ()
        return follow(context, kind, release, size, known)
    if kind.value == context.command:
        context.known = known_in_job(context)
    if kind is Kind.ROLLBACK:
        require_owned(context, known_group(context))
        if context.settings.cut:
            context.console.warn(
                "The canary is killed at once while the baseline is in rotation. Its open sessions are lost, and "
                "instances of the baseline that are out of rotation return after two checks of HAProxy."
            )
    found = release_to_undo(context) if kind is Kind.ROLLBACK else release or load(context)
    return _directly(context, goal_request(context, kind, found, size), checked=checked)


def as_job(context: Context) -> bool:
    """Whether goals run as DC/OS Jobs here. Raises UsageError for --via job without Metronome."""
    via = context.settings.via
    if via == "direct" or context.job:
        return False
    there = context.cluster.metronome is not None and context.cluster.metronome.available()
    if via == "job" and not there:
        raise UsageError("--via job needs Metronome; this cluster has none.", remedy="Use --via direct.")
    return there


def _directly(context: Context, request: GoalRequest, *, checked: bool) -> bool:
    """Run the engine in this process."""
    mine = require_owned(context, request.release.group)
    if request.release.definition is not None:
        require_same_release(mine.apps, request.release, marathon_version(context))
    check_strangers(context, request.release, mine)
    if not checked:
        require_servable(context, request.release, mine.apps)
    remove_previews(context)
    if request.goal.kind is not Kind.ROLLBACK and context.planned is None:
        with within(math.inf):  # it has its own deadlines
            preview(context, request.release, mine)
    if context.settings.dry_run:
        plan_goal(context, request)
        return False
    if request.goal.kind is not Kind.ROLLBACK:
        require_readable(context, mine, request.release.revision)
    driver = driver_of(context)
    kind, strategy = request.goal.kind.value, request.policy.strategy
    context.console.info(f"Goal: {kind} {request.release.revision} of {context.app_id} ({strategy}).")
    try:
        known, context.known = context.known or group_apps(mine), ()
        outcome = driver.run(request.release, request.goal, request.policy, known)
        context.known = outcome.observation.apps
        context.notice(outcome.noticed)
    except (BgciError, AbortedError):
        if driver.last:
            context.result = replace(context.result, state=summary(driver.last))
        raise
    _report(context, outcome)
    return outcome.actions > 0


def _report(context: Context, outcome: RolloutResult) -> None:
    """The outcome for the log and for ``result.json``."""
    times = outcome.times
    message = outcome.message if outcome.actions else f"Nothing to do. {outcome.message}"
    message = completed(message, context.noticed)
    context.result = replace(
        context.result,
        message=message,
        reached=outcome.message,
        changed=outcome.actions > 0,
        state=summary(outcome.observation),
        timings={
            "total_seconds": round(times.total, 3),
            "limit_seconds": round(times.limit, 3),
            "overhead": round(times.overhead, 3),
            "waited_seconds": {cause.value: round(spent, 3) for cause, spent in times.waited.items()},
        },
    )
    context.console.result(
        f"{message} ({times.total:.1f}s, physical limit {times.limit:.1f}s, overhead {times.overhead:.0%})."
    )
