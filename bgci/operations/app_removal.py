"""Removes an app: rolls a canary back, then deletes the jobs and the app.

marathon-lb drains a task only beside a second colour. So it cannot drain the last colour: new requests reach it until
Marathon kills its tasks, and an open request has the tasks' kill grace period (taskKillGracePeriodSeconds) to end.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from bgci.appdef.names import app_slug
from bgci.appdef.preview_app import PREVIEW_LABEL
from bgci.dcos.metronome import Job
from bgci.dcos.running_app import RunningApp, endpoints
from bgci.engine.decisions import Kind
from bgci.engine.lock import Way
from bgci.errors import BgciError, ConflictError, DeadlineError, DeniedError
from bgci.interruption import SLACK, pause, within
from bgci.operations.context import Context
from bgci.operations.exclusion import take_lock
from bgci.operations.goal import as_job, reach
from bgci.operations.job_run import command_in, run_once
from bgci.operations.publishing import jobs_of_app

PAUSE = 0.3  # seconds between two polls
GRACE_FIELD, GRACE_SECONDS = "taskKillGracePeriodSeconds", 3  # Marathon's own default (marathon: kill_grace_period)


def remove(context: Context) -> None:
    """Remove all apps and jobs of the app; it is a success if there are none. Raises the error of the rollback."""
    take_lock(context, Way.FOLLOW if as_job(context) else Way.PROCESS)
    apps, jobs = _apps(context), _jobs(context)
    if context.settings.dry_run:
        _plan(context, apps, jobs)
        return
    if not apps and not jobs:
        _conclude(context, "Nothing to do. No app and no job of that name exists.", changed=False)
        return
    _stop_runs(context, jobs)
    carrier = next((job for job in jobs if command_in(job)), None)
    if carrier and as_job(context):
        run_once(context, carrier, "remove --yes", f"{app_slug(context.app_id)}-remove")
    else:
        _remove_apps(context, apps)
    _remove_jobs(context)
    context.result = replace(context.result, removed=tuple([app.id for app in apps] + [job.id for job in jobs]))
    _conclude(context, f"{context.app_id} was removed: {len(apps)} apps, {len(jobs)} jobs.", changed=True)


def _remove_apps(context: Context, apps: Sequence[RunningApp]) -> None:
    """Remove the app in this process."""
    if _has_canary(apps) and apps[1].revision:
        context.console.step(f"Rolling back {apps[1].revision}, so that its sessions end.")
        context.go_on_with(revision=apps[1].revision)
        reach(context, Kind.ROLLBACK)
        context.go_on_with(revision="")
    for app in _apps(context):
        _warn_of_sessions(context, app)
        context.cluster.marathon.delete(app.id)
        context.console.step(f"Deleted {app.id}.")
    with within(context.settings.timeout + SLACK):
        _wait_until_gone(context)


def _conclude(context: Context, message: str, *, changed: bool) -> None:
    context.result = replace(context.result, message=message, changed=changed)
    context.console.result(message)


def _apps(context: Context) -> list[RunningApp]:
    """The app's colours, the oldest first, and then its previews. Raises ConflictError for a third colour."""
    marathon, app_id = context.cluster.marathon, context.app_id
    known = [app for app in marathon.members(app_id, "") if app.base_id == app_id]
    if len(known) > 2:
        named = ", ".join(app.id for app in known)
        raise ConflictError(
            f"{len(known)} apps belong to {app_id}: {named}; a release handles two.",
            remedy="Delete the apps that do not belong to it by hand, then run this again.",
        )
    return sorted(known, key=lambda app: app.app.started_at) + marathon.previews(app_id)


def _has_canary(apps: Sequence[RunningApp]) -> bool:
    return len(apps) > 1 and PREVIEW_LABEL not in apps[1].labels


def _jobs(context: Context) -> list[Job]:
    metronome = context.cluster.metronome
    if context.job or metronome is None:
        return []  # inside a job: the command that follows it removes the jobs
    try:
        return jobs_of_app(context) if metronome.available() else []
    except DeniedError as error:
        context.console.warn(f"Its jobs stay: {error.message}")
        return []


def _plan(context: Context, apps: Sequence[RunningApp], jobs: Sequence[Job]) -> None:
    if _has_canary(apps):
        context.plan(f"Drain and delete the canary {apps[1].id} ({apps[1].revision or 'unknown revision'}).")
    for job in jobs:
        context.plan(f"Delete the job {job.id}" + (", and stop its run." if job.active_runs else "."))
    for app in [*apps[:1], *apps[2 if _has_canary(apps) else 1 :]]:
        context.plan(f"Delete {app.id} ({app.revision or 'unknown revision'}, {app.app.instances} instances).")
    if not apps and not jobs:
        context.plan("Nothing to do. No app and no job of that name exists.")


def _stop_runs(context: Context, jobs: Sequence[Job]) -> None:
    """Stop the active runs: they would deploy the app again."""
    metronome = context.cluster.metronome
    for job_id, run_id in [(job.id, run.id) for job in jobs for run in job.active_runs]:
        if metronome and metronome.stop(job_id, run_id):
            context.console.warn(f"Stopped run {run_id} of {job_id}.")


def _remove_jobs(context: Context) -> None:
    for job in _jobs(context):
        if context.cluster.metronome:
            context.cluster.metronome.delete(job.id, stop_runs=True)
            context.console.step(f"Deleted the job {job.id}.")


def _warn_of_sessions(context: Context, app: RunningApp) -> None:
    """Warn with the number of open sessions, if a load balancer can be read."""
    grace = app.definition.get(GRACE_FIELD) or GRACE_SECONDS
    open_now = 0
    if context.settings.marathon_lb_url:
        with suppress(BgciError):
            wanted = endpoints([app], app.group)
            seen = [balancer.read(wanted) for balancer in context.balancers]
            open_now = sum(server.sessions for replica in seen for server in replica.servers.values())
    context.console.warn(
        f"No other app replaces {app.id}, so marathon-lb cannot drain it. {open_now or 'No'} sessions are "
        f"open now; each has {grace:g} s to end after SIGTERM ({GRACE_FIELD})."
    )


def _wait_until_gone(context: Context) -> None:
    """Until Marathon has ended all tasks. Raises DeadlineError after --timeout."""
    until = time.monotonic() + context.settings.timeout
    while left := _apps(context):
        if time.monotonic() > until:
            raise DeadlineError(
                f"Timed out after {context.settings.timeout:.0f} s (--timeout): {left[0].id} still exists.",
                remedy="Run the same command again.",
            )
        context.console.wait(f"{len(left[0].app.tasks)} tasks of {left[0].id} have not ended yet.")
        pause(PAUSE)
    for balancer in context.balancers if context.settings.marathon_lb_url else ():
        balancer.request_reload()  # a deletion alone causes no event (hazard 49)
