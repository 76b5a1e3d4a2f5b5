"""Watches one run of a job: its state, its tasks and their logs, and its result."""

from __future__ import annotations

import time

from bgci.dcos.metronome import JobRun, Metronome
from bgci.dcos.task_log import TaskEnd
from bgci.durations import duration_text
from bgci.errors import NAMES, ConflictError, DeadlineError, UnavailableError
from bgci.interruption import pause
from bgci.operations.context import Context
from bgci.operations.run_log import RunLog
from bgci.operations.run_result import RunResult

FASTEST_POLL, SLOWEST_POLL = 0.1, 0.5  # seconds: right after a change, and without changes
REPLACED_WITHIN = 1.0  # seconds from the end of a run until the deletion of its replaced job, with its history
DECIDED_WITHIN = 1.0  # seconds to read the end of a task after which Metronome has started another one
LAST_POLL = 1.0  # seconds before the timeout in which the run is polled, but its log is not read any more
GONE_AFTER = 5.0  # seconds without the run in any list until it counts as gone: its end takes milliseconds (hazard 36)


class RunWatch:
    """The watched run. ``run_id``: empty until it is known.

    ``repeated``: whether Metronome has started another process after one with a result, and the run has not ended:
    `to_the_end` ends then, and the result is that of the first process.
    """

    def __init__(self, context: Context, metronome: Metronome, job_id: str) -> None:
        self.context = context
        self.metronome = metronome
        self.job_id = job_id
        self.run_id = ""
        self.repeated = False
        self.log = RunLog(context)
        self._tasks: list[str] = []  # of the run, in the order in which Metronome has started them
        self._deadline = time.monotonic() + context.settings.timeout

    @property
    def result(self) -> RunResult | None:
        """The run's own report at its end; None until then, and if its log is not readable."""
        return self.log.result

    @property
    def started(self) -> bool:
        """Whether a task of the run was launched."""
        return bool(self._tasks)

    def end(self) -> TaskEnd:
        """What Mesos reports about the end of the current task."""
        source = self.context.cluster.task_log
        return source.end(self.log.task_id) if source and self.log.task_id else TaskEnd()

    def to_the_end(self) -> JobRun:
        """The run's last state. Raises DeadlineError, and ConflictError when the run disappears without a result."""
        state, interval, unknown_since = JobRun(self.run_id, "INITIAL"), FASTEST_POLL, 0.0
        while True:
            state = self._poll(state)
            for task_id in state.task_ids:
                if task_id not in self._tasks:
                    if self._is_repetition(state):
                        return state
                    self._tasks.append(task_id)
                    self.log.follow(task_id)
            news = self.log.show(self._deadline - LAST_POLL - time.monotonic())
            if state.finished:
                self.log.show_rest()
                return state
            if state.status == "UNKNOWN":
                if self.result is not None:  # the run has reported its end; Metronome's history will have it soon
                    return JobRun(self.run_id, "SUCCESS" if self.result.exit_code == 0 else "FAILED")
                unknown_since = unknown_since or time.monotonic()
                if time.monotonic() - unknown_since > GONE_AFTER:
                    raise self._gone()
            else:
                unknown_since = 0.0
            self._require_time(state)
            self._report(state)
            interval = FASTEST_POLL if news else min(SLOWEST_POLL, interval * 1.4)
            pause(interval)

    def _is_repetition(self, state: JobRun) -> bool:
        """Whether a further task of the run repeats a goal that has ended, and not only a process that was lost.

        Metronome starts one with the restart policy ON_FAILURE, and with every policy when it starts itself again and
        has lost the end of the task (metronome: JobRunExecutorActor.initializing).
        """
        if not self._tasks:
            return False
        self.log.show_rest(DECIDED_WITHIN, 2 * DECIDED_WITHIN)
        ended = self.result.exit_code if self.result else self.end().exit_code
        if ended in NAMES and ended and not state.finished:
            self.repeated = True
            return True
        how = "ended without a result" if ended is None else f"ended with {ended}"
        self.context.console.warn(f"Metronome has started run {self.run_id} again: its process {how}.")
        return False

    def _poll(self, before: JobRun) -> JobRun:
        """The run's state; the last known one while Metronome does not answer, because the run continues without it."""
        try:
            return self.metronome.run(self.job_id, self.run_id)
        except UnavailableError as error:
            if time.monotonic() > self._deadline:
                raise
            self.context.console.wait(f"Metronome does not answer: {error.message}")
            return before

    def require_own_end(self) -> None:
        """Raises ConflictError for a run that ended because its job was replaced, which also deletes its history.

        Publishing stops the run first and then deletes its job, so the history exists for a moment.
        """
        until = time.monotonic() + REPLACED_WITHIN
        while time.monotonic() < until:
            if self.metronome.run(self.job_id, self.run_id).status == "UNKNOWN":
                raise self._gone()
            pause(FASTEST_POLL)

    def _gone(self) -> ConflictError:
        return ConflictError(
            f"Metronome no longer lists run {self.run_id} of {self.job_id}, neither as active nor as finished: its job "
            "was replaced, which stopped the run, or Metronome has lost it.",
            remedy="Check the state with `bgci status`, then run the same command again.",
        )

    def _require_time(self, state: JobRun) -> None:
        if time.monotonic() <= self._deadline:
            return
        remedy = "Look at the job's log in DC/OS."
        if state.status == "INITIAL":
            remedy = "A run that stays INITIAL waits for an offer: check the agents' resources."
        raise DeadlineError(
            f"Timed out after {duration_text(self.context.settings.timeout)}: run {self.run_id} of {self.job_id} is "
            f"{state.status}.",
            remedy=remedy,
        )

    def _report(self, state: JobRun) -> None:
        if self.started:
            self.context.console.live(f"run {self.run_id} of {self.job_id} is {state.status}")
        else:
            why = "it waits for an offer" if state.status == "INITIAL" else "it has no task yet"
            self.context.console.wait(f"Run {self.run_id} is {state.status}: {why}")
