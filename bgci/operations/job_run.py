"""Run a goal as its DC/OS Job and follow it to its end: its log, its exit code, its result."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from bgci.appdef.names import job_ids
from bgci.dcos.credentials import hide_credentials
from bgci.dcos.metronome import Job, JobRun, Metronome
from bgci.engine.decisions import Cause, Done, Fail, Kind, Wait
from bgci.engine.rollout import Rollout
from bgci.errors import (
    NAMES,
    AbortedError,
    BgciError,
    ConflictError,
    DeadlineError,
    DeniedError,
    UnhealthyError,
    from_code,
)
from bgci.operations.context import JOURNAL_LINE, RESULT_LINE, Context
from bgci.operations.job_login import TO_LOG_IN, has_login
from bgci.operations.publishing import needed_metronome
from bgci.operations.rendering import inner_timeout
from bgci.options import OnFailure, Settings, duration_text

FASTEST_POLL, SLOWEST_POLL = 0.1, 0.5  # seconds: right after something happened, and while nothing does
STOPPED = 2.0  # seconds that a stopped run may take to say its last word: a cancelled CI job has not much more left
LOG_TAIL = 5.0  # seconds that the last lines of a finished run may take to appear
# Options of ours that the job inside must hear of, when they are given at this stage.
PASSED = ("strategy", "wave", "drain_timeout", "on_drain_timeout", "timeout", "allow_no_health_check")


def follow(context: Context, kind: Kind) -> None:
    """Start the job's run, or join the one that runs already; end as it ends.

    Raises the error of the run's own exit code. After --timeout the run is stopped: UnhealthyError where the revision
    is not healthy by then, DeadlineError else.
    """
    metronome = needed_metronome(context)
    job_id = job_ids(context.app_id, context.revision)[kind.value]
    job = metronome.job(job_id)
    if job is None:
        raise ConflictError(f"there is no job {job_id}", remedy="publish this revision's jobs first: bgci publish")
    hide_credentials(job.env)  # its log may show them
    _refuse_others(context, metronome, job_id)
    watch = _Watch(context, metronome, job_id)
    try:
        watch.run_id = _joined(context, job) or _started(context, metronome, job, kind)
        context.result |= {"job": job_id, "run": watch.run_id}
        state = watch.to_the_end()
    except AbortedError:
        if kind is Kind.ROLLBACK and context.settings.on_abort is OnFailure.ROLLBACK:
            context.console.warn(f"the run of {job_id} goes on without being followed")
        else:
            _stop(watch)
        raise
    except DeadlineError as error:
        _stop(watch)
        raise _explained(context, kind, error) from None
    try:
        _conclude(context, kind, watch, state)
    except DeniedError as error:
        if not has_login(job):
            error.remedy = f"the job has no login: {TO_LOG_IN}"
        raise


def _refuse_others(context: Context, metronome: Metronome, job_id: str) -> None:
    """Raise ConflictError while a run of another job changes this app."""
    for other in metronome.jobs():
        if other.app == context.app_id and other.id != job_id and other.active_runs:
            raise ConflictError(
                f"job {other.id} is running for {context.app_id}: run {other.active_runs[0].id}",
                remedy="wait for it to end, or stop it",
            )


def _joined(context: Context, job: Job) -> str | None:
    if not job.active_runs:
        return None
    run_id = job.active_runs[0].id
    context.console.info(f"joining run {run_id} of {job.id}, which is under way")
    return run_id


def _started(context: Context, metronome: Metronome, job: Job, kind: Kind) -> str:
    changed = _with_options(job.spec, context.settings, kind)
    if changed != job.spec:
        metronome.update(changed)
    run = metronome.start(job.id)
    context.console.step(f"started {job.id}, run {run.id}")
    return run.id


def _with_options(job: Mapping[str, Any], settings: Settings, kind: Kind) -> dict[str, Any]:
    """The job with the options that this stage was given in other words than `publish` was."""
    env = dict(job["run"].get("env", {}))
    for name in PASSED:
        if name in settings.origins:
            env[f"BGCI_{name.upper()}"] = _text(name, getattr(settings, name))
    if kind is Kind.CANARY and {"instances", "percent"} & settings.origins.keys():
        env |= {"BGCI_INSTANCES": str(settings.instances), "BGCI_PERCENT": str(settings.percent)}
    return {**job, "run": {**job["run"], "env": env}}


def _text(name: str, value: Any) -> str:
    if name == "timeout":
        return duration_text(inner_timeout(value))
    if isinstance(value, bool):
        return str(value).lower()
    return duration_text(value) if isinstance(value, float) else str(getattr(value, "value", value))


def _stop(watch: _Watch) -> None:
    """Stop the run, and hear its last word: nothing that follows may find it at context."""
    console, metronome, job_id = watch.context.console, watch.metronome, watch.job_id
    try:
        # A signal may have come before the answer that has the run's id. None was active then but ours.
        for run_id in [watch.run_id] if watch.run_id else [run.id for run in metronome.active_runs(job_id)]:
            metronome.stop(job_id, run_id)
            console.warn(f"stopped run {run_id} of {job_id}")
        until = time.monotonic() + STOPPED
        while metronome.active_runs(job_id) and time.monotonic() < until:
            time.sleep(FASTEST_POLL)
        watch.to_the_last_word(until - time.monotonic())
        if watch.result and "state" in watch.result:
            watch.context.result["state"] = watch.result["state"]
    except BgciError as error:
        console.warn(f"the run of {job_id} could not be stopped: {error.message}")


class _Watch:
    """A run, watched. ``run_id``: empty until it is known. ``result``: its last word."""

    def __init__(self, context: Context, metronome: Metronome, job_id: str) -> None:
        self.context = context
        self.metronome = metronome
        self.job_id = job_id
        self.run_id = ""
        self.result: dict[str, Any] | None = None
        self.task_id = ""
        self._offset = 0
        self._partial = ""
        self._readable = context.cluster.task_log is not None

    def to_the_end(self) -> JobRun:
        deadline, pause = time.monotonic() + self.context.settings.timeout, FASTEST_POLL
        while True:
            state = self.metronome.run(self.job_id, self.run_id)
            self.task_id = state.task_ids[-1] if state.task_ids else self.task_id
            before = self._offset
            self._show()
            if state.finished:
                self.to_the_last_word(LOG_TAIL)
                return state
            if state.status == "UNKNOWN" and self.result is not None:
                # It has ended and said how; Metronome's history is to have it in a moment.
                return JobRun(self.run_id, "FAILED" if self.result.get("exit_code", 1) else "SUCCESS")
            if time.monotonic() > deadline:
                raise DeadlineError(
                    f"the time-out of {self.context.settings.timeout:.0f}s has passed; run {self.run_id} of "
                    f"{self.job_id} is {state.status}",
                    remedy="a run that stays STARTING gets no offer: look at the agents' resources",
                )
            if not self.task_id:
                self.context.console.wait(f"run {self.run_id} is {state.status}: no task yet")
            else:
                self.context.console.live(f"run {self.run_id} of {self.job_id} is {state.status}")
            pause = FASTEST_POLL if self._offset > before else min(SLOWEST_POLL, pause * 1.4)
            time.sleep(pause)

    def to_the_last_word(self, seconds: float) -> None:
        """The log may lag behind the run's end."""
        deadline = time.monotonic() + seconds
        while self._readable and self.task_id and self.result is None and time.monotonic() < deadline:
            time.sleep(FASTEST_POLL)
            self._show()

    def _show(self) -> None:
        log = self.context.cluster.task_log
        if log is None or not self._readable or not self.task_id:
            return
        got = log.read(self.task_id, self._offset)
        if got is None:
            self._readable = False
            self.context.console.warn("the job's log may not be read with these credentials; going on without it")
            return
        text, self._offset = got
        *lines, self._partial = (self._partial + text).split("\n")
        for line in lines:
            self._take(line)

    def _take(self, line: str) -> None:
        if line.startswith(JOURNAL_LINE):
            self.context.journal.copy(line[len(JOURNAL_LINE) :])
            return
        if not line.startswith(RESULT_LINE):
            self.context.console.foreign("job", line)
            return
        try:
            result = json.loads(line[len(RESULT_LINE) :])
        except ValueError:
            return
        if isinstance(result, dict):
            self.result = result


def _conclude(context: Context, kind: Kind, watch: _Watch, state: JobRun) -> None:
    """End as the run ended."""
    if watch.result is not None:
        for key in ("state", "timings", "changed", "message"):
            if key in watch.result:
                context.result[key] = watch.result[key]
        code = watch.result.get("exit_code", 1)
        if code == 0 and state.status == "SUCCESS":
            context.console.result(str(watch.result.get("message", "the job succeeded")))
            return
        raise from_code(int(code) or 1, str(watch.result.get("message")), remedy=str(watch.result.get("remedy", "")))
    if state.status == "SUCCESS":
        context.console.result("the job succeeded; its log cannot be read, so there is no more to say")
        return
    code = _code_of(context, watch)
    where = f"run {watch.run_id} of job {watch.job_id} failed"
    if code:
        raise from_code(code, f"{where} with exit code {code}", remedy="look at the job's log in DC/OS")
    _judge_by_group(context, kind, where)


def _code_of(context: Context, watch: _Watch) -> int | None:
    """The exit code in the task's status message ("Command exited with status 8")."""
    log = context.cluster.task_log
    message = log.exit_message(watch.task_id) if log and watch.task_id else None
    words = (message or "").rsplit("status ", 1)
    code = int(words[1]) if len(words) == 2 and words[1].isdecimal() else None
    return code if code in NAMES else None  # 124, 137: the run was ended from outside, and bgci has not said anything


def _explained(context: Context, kind: Kind, error: DeadlineError) -> BgciError:
    """What a run that was stopped at the time-out was waiting for, if that was the health of the revision."""
    from bgci.operations.goal import asked, observer_of, policy

    try:
        release, goal = asked(context, kind)
        step = Rollout(goal, policy(context.settings)).decide(observer_of(context).observe(release.group))
    except BgciError:
        return error
    if isinstance(step, Wait) and step.cause is Cause.HEALTH:
        return UnhealthyError(f"{error.message}: {step.reason}", remedy="look at the tasks of the new revision")
    return error


def _judge_by_group(context: Context, kind: Kind, where: str) -> None:
    """Neither log nor status may be read: say what the group looks like."""
    from bgci.operations.goal import asked, observer_of, policy

    release, goal = asked(context, kind)
    step = Rollout(goal, policy(context.settings)).decide(observer_of(context).observe(release.group))
    match step:
        case Done(message):
            context.console.warn(f"{where}, yet the goal is reached")
            context.result["message"] = message
        case Fail(message, remedy):
            raise ConflictError(f"{where}: {message}", remedy=remedy)
        case Wait(cause, reason) if cause is Cause.HEALTH:
            raise UnhealthyError(f"{where}: {reason}", remedy="look at the tasks of the new revision")
        case _:
            raise DeadlineError(f"{where} before the goal was reached", remedy="run the same command again")
