"""Runs a goal as its DC/OS Job and follows it to its end: its log, its exit code, its result."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any

from bgci.appdef.app_definition import group
from bgci.appdef.job_document import job_document
from bgci.appdef.metronome_rules import NEVER, without_restart
from bgci.appdef.names import job_ids
from bgci.dcos.credentials import hide_credentials
from bgci.dcos.metronome import Job, JobRun, Metronome
from bgci.dcos.task_log import TaskEnd
from bgci.engine.decisions import Cause, Done, Fail, Kind, Release, Wait
from bgci.engine.observation import App
from bgci.engine.outside_changes import completed
from bgci.errors import (
    ERRORS,
    NAMES,
    AbortedError,
    BgciError,
    ConflictError,
    DeadlineError,
    DeniedError,
    UnavailableError,
    UnhealthyError,
)
from bgci.interruption import SLACK, at_most, cleanup, pause, within
from bgci.operations.canary_size import CanarySize
from bgci.operations.context import Context
from bgci.operations.job_knowledge import informed
from bgci.operations.job_login import TO_LOG_IN, has_login
from bgci.operations.job_options import OptionChange, honoured
from bgci.operations.planning import GoalRequest, goal_request, next_step, observer_of, release_to_undo
from bgci.operations.publishing import needed_metronome
from bgci.operations.run_watch import FASTEST_POLL, RunWatch

STOPPED = 2.0  # seconds for a stopped run to report its end: a cancelled CI job has little more time
ENDING = 0.5  # seconds for requests after a deadline: to read the end of the run, to stop it, to explain it
LOOK_AT_THE_LOG = "Look at the job's log in DC/OS, then run the same command again"
NOT_FOUND = (126, 127)  # of a shell, for a command that it cannot run
# Of Mesos, for an image or an artifact that it cannot fetch (mesos: Slave::executorTerminated).
NO_CONTAINER = "Failed to launch container"
# Exit codes that bgci ends with itself. 1: also of a shell or an interpreter that found no bgci. 0: never of a failure.
CODES_OF_A_RUN = NAMES.keys() - {0, BgciError.code}
LOST_ANSWER = 1.0  # seconds from a request without an answer until its effect can be seen


def follow(
    context: Context, kind: Kind, release: Release | None, size: CanarySize, known: tuple[App, ...] = ()
) -> bool:
    """Start a run of the job, or join the active one, and end with its result. Returns whether it changed anything.

    known: the apps as an earlier stage of the same command has left or observed them.
    Raises the error of the run's own exit code. Stops the run after --timeout: UnhealthyError if the revision is not
    healthy by then, otherwise DeadlineError. Raises ConflictError if the options differ from those of the job.
    """
    metronome = needed_metronome(context)
    job_id = job_ids(context.app_id, context.revision)[kind.value]
    job = metronome.job(job_id)
    if job is None:
        raise ConflictError(
            f"The job {job_id} does not exist.",
            remedy="Publish this revision's jobs first with `bgci publish`, or give --via direct.",
        )
    hide_credentials(job.env)  # its log can show them
    if kind is Kind.ROLLBACK:
        _stop_own_runs(context, metronome, job_id)
    _refuse_others(context, metronome, job_id)
    request = partial(_request, context, kind, job, size)
    watch = RunWatch(context, metronome, job_id)
    with within(context.settings.timeout + SLACK):
        state = _followed(watch, kind, job, honoured(context, job, kind, release, size), known, request)
        _conclude(context, request, watch, state, job)
    return bool(context.result.changed)


def _followed(
    watch: RunWatch,
    kind: Kind,
    job: Job,
    wanted: tuple[dict[str, Any], list[OptionChange]],
    known: tuple[App, ...],
    request: Callable[[], GoalRequest],
) -> JobRun:
    """The run at its end. Stops it at a signal and at the deadline."""
    context, job_id = watch.context, watch.job_id
    try:
        with at_most(context.settings.timeout + ENDING):
            watch.run_id = _joined_or_started(context, watch.metronome, job, wanted, known)
            context.result = replace(context.result, job=job_id, run=watch.run_id)
            state = watch.to_the_end()
        if watch.repeated:
            _stop(watch)
        return state
    except AbortedError:
        if kind is Kind.ROLLBACK and context.settings.on_abort == "rollback":
            context.console.warn(f"The run of {job_id} continues in the cluster; bgci no longer follows it.")
        else:
            _stop(watch)
        raise
    except DeadlineError as error:
        _stop(watch)
        raise _explained(context, request, error) from None


def run_once(context: Context, carrier: Job, command: str, job_id: str) -> None:
    """Run another command of bgci like the goal of ``carrier``, in a temporary job, and end with its result."""
    metronome, goal = needed_metronome(context), command_in(carrier)
    hide_credentials(carrier.env)
    run = dict(without_restart(carrier.spec)["run"])
    run["cmd"] = str(run["cmd"]).replace(f" {goal} --via direct", f" {command} --via direct")
    metronome.delete(job_id)  # of a run that was killed
    metronome.create({**carrier.spec, "id": job_id, "description": f"bgci {command}", "run": run})
    watch = RunWatch(context, metronome, job_id)
    try:
        watch.run_id = metronome.start(job_id).id
        context.console.step(f"Started {job_id}, run {watch.run_id}.")
        with within(context.settings.timeout + SLACK):
            with at_most(context.settings.timeout + ENDING):
                state = watch.to_the_end()
            if watch.repeated:
                _stop(watch)
            _conclude(context, lambda: _request(context, Kind.ROLLBACK, carrier, CanarySize()), watch, state, carrier)
    except (AbortedError, DeadlineError):
        _stop(watch)
        raise
    finally:
        with cleanup():
            metronome.delete(job_id)


def command_in(job: Job) -> str:
    """The goal in a job's command; empty for a command of another form, such as from a job template."""
    goal, command = job.labels.get("BGCI_GOAL", ""), str(dict(job.spec.get("run", {})).get("cmd", ""))
    return goal if goal and command.endswith(f" {goal} --via direct") else ""


def _request(context: Context, kind: Kind, job: Job, size: CanarySize) -> GoalRequest:
    """The goal of the run, from its job's document."""
    release = release_to_undo(context) if kind is Kind.ROLLBACK else carried_release(job)
    return goal_request(context, kind, release, size)


def carried_release(job: Job) -> Release:
    """The release in a job's document. Raises InvalidError for a job without a readable one."""
    document = job_document(job.spec)
    return Release(group(document.definition), document.revision, document.definition, document.image)


def _stop_own_runs(context: Context, metronome: Metronome, job_id: str) -> None:
    """Stop the runs of this revision's canary and promotion before its rollback.

    Such a run continues in the cluster when the CI agent that followed it is lost.
    """
    for own in job_ids(context.app_id, context.revision).values():
        job = metronome.job(own) if own != job_id else None
        if job and job.app == context.app_id and job.active_runs:
            _stop(RunWatch(context, metronome, own), at_most)


def _refuse_others(context: Context, metronome: Metronome, job_id: str) -> None:
    """Raise ConflictError while a run of another job changes this app. Warn about a job that a schedule starts."""
    for other in metronome.jobs():
        for schedule in other.schedules if other.app == context.app_id else ():
            context.console.warn(
                f"Job {other.id} has the schedule {schedule}: Metronome starts it by itself, and it changes "
                f"{other.app} then. Remove it with `dcos job schedule remove {other.id} {schedule}`."
            )
        if other.app == context.app_id and other.id != job_id and other.active_runs:
            raise ConflictError(
                f"Job {other.id} is running for {context.app_id}: run {other.active_runs[0].id}.",
                remedy="Wait for it to end, or stop it.",
            )


def _joined_or_started(
    context: Context,
    metronome: Metronome,
    job: Job,
    wanted: tuple[dict[str, Any], list[OptionChange]],
    known: tuple[App, ...],
) -> str:
    """The id of the run. wanted: the job's definition for it, and what changes with that."""
    given, changes = wanted
    spec = without_restart(given)
    if job.active_runs:
        run_id = job.active_runs[0].id
        if changes:
            raise ConflictError(
                f"Run {run_id} of {job.id} is active with other options: {'; '.join(map(str, changes))}.",
                remedy="Wait for its end, stop it, or give the same options.",
            )
        context.console.info(f"Joining run {run_id} of {job.id}, which is active.")
        return run_id
    if spec != given:
        context.console.warn(
            f"The restart policy of {job.id} is {NEVER} now: otherwise Metronome repeats a goal that has failed, for "
            "example after its rollback."
        )
    with informed(context, metronome, job.spec, spec, known):
        if changes:
            context.console.info(f"Updated {job.id}: {'; '.join(map(str, changes))}")
        run = _started(metronome, job.id)
    if run is None:  # a run whose start was not answered can have ended: the apps may be as it has left them
        with informed(context, metronome, spec, spec, ()):
            run = metronome.start(job.id)
    context.console.step(f"Started {job.id}, run {run.id}.")
    return run.id


def _started(metronome: Metronome, job_id: str) -> JobRun | None:
    """A new run. After a lost answer it is the active one, because no run was active before; None if none is."""
    try:
        return metronome.start(job_id)
    except UnavailableError:
        pause(LOST_ANSWER)
        found = metronome.active_runs(job_id)
        return found[0] if found else None


def _stop(watch: RunWatch, limited: Callable[[float], AbstractContextManager[None]] = within) -> None:
    """Stop the run, wait for its end, and read its result, if need be after the deadline of the command."""
    try:
        with limited(STOPPED + ENDING):
            _stop_and_read(watch)
    except BgciError as error:
        watch.context.console.warn(f"The run of {watch.job_id} could not be stopped: {error.message}")


def _stop_and_read(watch: RunWatch) -> None:
    metronome, job_id = watch.metronome, watch.job_id
    # A signal can come before the answer with the run's id. Then the only active run is ours.
    for run_id in [watch.run_id] if watch.run_id else [run.id for run in metronome.active_runs(job_id)]:
        if metronome.stop(job_id, run_id):
            watch.context.console.warn(f"Stopped run {run_id} of {job_id}.")
    until = time.monotonic() + STOPPED
    while metronome.active_runs(job_id) and time.monotonic() < until:
        pause(FASTEST_POLL)
    watch.log.show_rest(until - time.monotonic())
    if watch.result and watch.result.copied.state:
        watch.context.result = replace(watch.context.result, state=watch.result.copied.state)


def _conclude(context: Context, request: Callable[[], GoalRequest], watch: RunWatch, state: JobRun, job: Job) -> None:
    """End with the run's result."""
    logs_in = has_login(job)
    where = f"Run {watch.run_id} of job {watch.job_id}"
    if watch.result is not None:
        context.result = context.result.followed_by(watch.result.copied)
        code, message = watch.result.exit_code, watch.result.message
        if code == 0 and state.status == "SUCCESS":
            context.known = watch.result.known
            context.notice(watch.result.noticed)
            message = completed(message or "The job succeeded.", context.noticed)
            context.result = replace(context.result, message=message)
            context.console.result(message)
            return
        if code:
            message = message or f"{where} failed with exit code {code}."
            raise _error_of(code, message, watch.result.remedy, where, logs_in, repeated=watch.repeated)
    end, why = watch.end(), _why_unknown(watch)
    failed = state.status != "SUCCESS"
    if failed and (not watch.started or end.state == "TASK_KILLED"):
        before = "" if watch.started else " before it started"
        raise ConflictError(
            f"{where} was stopped in the cluster{before}: its job was replaced, or an operator stopped it.",
            remedy="Check the state with `bgci status`, then run the same command again.",
        )
    if command_in(job):  # another command can end with an exit code that is none of bgci's
        if not failed:
            context.console.result("The job succeeded; its log cannot be read.")
            return
        if end.exit_code in CODES_OF_A_RUN:
            message = f"{where} failed with exit code {end.exit_code}. {why}"
            raise _error_of(end.exit_code, message, LOOK_AT_THE_LOG, where, logs_in, repeated=watch.repeated)
    if failed:
        watch.require_own_end()
    ended = f"{where} {'failed' if failed else 'reports success'}. {why} {end}{_hint(end)}"
    lost = bool(end.state) and (end.exit_code is None or end.exit_code in NOT_FOUND)
    _judge_by_group(context, request, ended.rstrip(), failed=failed, lost=lost)


def _hint(end: TaskEnd) -> str:
    if end.message.startswith(NO_CONTAINER):
        return " bgci has not run: check --job-image and --job-artifact, and publish again."
    return " Its shell found no bgci: check --job-image." if end.exit_code in NOT_FOUND else ""


def _why_unknown(watch: RunWatch) -> str:
    """Why the result of the run is not known, in a sentence."""
    if watch.result is not None:
        return "bgci had reported success before."
    return f"Its log cannot be read. {watch.log.problem}" if watch.log.problem else "Its log has no result of bgci."


def _error_of(code: int, message: str, remedy: str, where: str, logs_in: bool, *, repeated: bool) -> BgciError:
    """repeated: whether Metronome has started another process of the run."""
    if repeated:
        message += " Metronome has started its process again, and bgci has stopped that one."
        remedy = f"Check with `bgci status` what that one has changed. {remedy}"
    if code in (130, 143):  # a signal to the run, not to this command
        return ConflictError(
            f"{where} was stopped in the cluster: {message}", remedy="Run the same command again to go on."
        )
    if code == DeniedError.code and not logs_in:
        remedy = f"The job has no login: {TO_LOG_IN}."
    return ERRORS.get(code, BgciError)(message, remedy=remedy)


def _explained(context: Context, request: Callable[[], GoalRequest], error: DeadlineError) -> BgciError:
    """UnhealthyError if the run waited for the health of the revision at its timeout; otherwise the timeout itself."""
    try:
        with within(ENDING):
            _, step = next_step(observer_of(context), request())
    except BgciError:
        return error
    if isinstance(step, Wait) and step.cause is Cause.HEALTH:
        return UnhealthyError(f"{error.message} {step.reason}", remedy="Look at the tasks of the new revision.")
    return error


def _judge_by_group(
    context: Context, request: Callable[[], GoalRequest], ended: str, *, failed: bool, lost: bool
) -> None:
    """End according to the state of the group, because the run's result is not known.

    ended: how the run has ended, and why its result is not known, in sentences. lost: Mesos reports an end that is not
    bgci's own, such as a killed process: what the run would wait for now is not why it has ended.
    """
    try:
        _, step = next_step(observer_of(context), request())
    except BgciError as error:
        raise UnavailableError(f"{ended} {error.message}", remedy=LOOK_AT_THE_LOG) from error
    match step:
        case Done(message):
            if failed:
                context.console.warn(f"{ended} But the goal is reached.")
            context.result = replace(context.result, message=message)
            context.console.result(message)
        case Fail(message, remedy, ending):
            raise ending(f"{ended} {message}", remedy=remedy)
        case Wait(cause, reason) if cause is Cause.HEALTH and not lost:
            raise UnhealthyError(f"{ended} {reason}", remedy="Look at the tasks of the new revision.")
        case Wait(_, reason) if not lost:
            raise DeadlineError(f"{ended} {reason}", remedy="Run the same command again.")
        case _:
            raise UnavailableError(f"{ended} The goal is not reached.", remedy=LOOK_AT_THE_LOG)
