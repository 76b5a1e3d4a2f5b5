"""Prevents two commands from changing one app at once: which command takes its lock, and which can work without."""

from __future__ import annotations

import os
import socket

from bgci.dcos.http_failure import HttpFailure
from bgci.engine.lock import Lock, Owner, Way
from bgci.engine.ownership import folder
from bgci.errors import DeniedError
from bgci.interruption import SLACK, left, within
from bgci.operations.app_lock import AppLock, clock_time, described
from bgci.operations.context import Context
from bgci.operations.process_identity import HasEnded, machine, process
from bgci.reporting.artifacts import ci_job

# Seconds for which a job waits for a command that is about to withdraw, or to follow its run.
JOB_WAIT_LIMIT = 15.0


def take_lock(context: Context, way: Way) -> None:
    """Hold the lock of the app until the command ends; nothing in a dry run, or if this command holds it already.

    An account without permission to create a lock works without one if it changes no app itself (its jobs do, and take
    locks), and at the root, where no permission can cover locks. Raises ConflictError, DeniedError.
    """
    if context.job:
        way = Way.JOB
    if context.settings.dry_run or (context.lock and context.lock.me.way is way):
        return
    if context.lock:
        context.lock.release()  # no change was made under it yet
    wait_limit = JOB_WAIT_LIMIT if way is Way.JOB else context.settings.lock_timeout
    with within(wait_limit + min(left(), context.settings.timeout + SLACK)):
        cluster = context.cluster
        gone = HasEnded(cluster.task_log)
        lock = AppLock(cluster.marathon, context.app_id, _me(context, way), wait_limit, context.console, gone)
        context.lock = lock
        try:
            lock.take()
        except DeniedError as error:
            if not _may_go_without(context, way, error):
                raise
            lock.release()
            lock.watch()
            what = (
                "bgci holds no lock from one job to the next."
                if way is Way.FOLLOW
                else "bgci works without a lock: at the root no permission can cover locks."
            )
            context.console.warn(f"{what} {error.message}")
            return
    for service in (cluster.marathon, cluster.metronome):
        if service:
            service.http.before_change = lock.require


def _may_go_without(context: Context, way: Way, error: DeniedError) -> bool:
    cause = error.__cause__
    refused = isinstance(cause, HttpFailure) and cause.status == 403
    return refused and (way is Way.FOLLOW or folder(context.app_id) == "/")


def other_locks(context: Context) -> list[Lock]:
    """The live locks of other commands. One whose owner has certainly ended is not among them."""
    return other_locks_now(context)[0]


def other_locks_now(context: Context) -> tuple[list[Lock], float]:
    """The same, and the time of the server in seconds; 0 if unknown."""
    listed, at = context.cluster.marathon.locks(context.app_id)
    gone = HasEnded(context.cluster.task_log)
    others = [lock for lock in listed if not (context.lock and context.lock.owns(lock.id))]
    live = [lock for lock in others if not (lock.owner and gone(lock.owner)) and not (at and at >= lock.ends)]
    return live, at


def lock_row(lock: Lock) -> dict[str, str]:
    """A lock in the answer of `bgci status`."""
    return {"id": lock.id, "owner": described(lock), "since": clock_time(lock.since), "until": clock_time(lock.ends)}


def warn_of_others(context: Context) -> None:
    """Warn about each other command that changes the app now."""
    for lock in other_locks(context):
        context.console.warn(
            f"{described(lock)} changes {context.app_id} since {clock_time(lock.since)}: it can remove the canary."
        )


def _me(context: Context, way: Way) -> Owner:
    key, title, url = ci_job(os.environ) if way is not Way.JOB else ("", "", "")
    task = os.environ.get("MESOS_TASK_ID", "")
    name = f"task {task}" if task else f"process {os.getpid()} on {socket.gethostname()}"
    return Owner(
        way,
        command=context.command,
        # A command without a revision that follows jobs admits the jobs of every revision.
        revision=context.job.revision if context.job else context.settings.revision,
        machine=machine(),
        process=process(os.getpid()),
        task=task,
        ci_job=key,
        name=", ".join(filter(None, (title, name))),
        url=url,
    )
