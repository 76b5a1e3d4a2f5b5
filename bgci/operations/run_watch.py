"""Watches one run of a job: its state, its log, and its result."""

from __future__ import annotations

import time

from bgci.dcos.metronome import JobRun, Metronome
from bgci.durations import duration_text
from bgci.errors import ConflictError, DeadlineError, UnavailableError
from bgci.interruption import left, pause
from bgci.operations.context import JOURNAL_LINE, RESULT_LINE, Context
from bgci.operations.run_result import RunResult, run_result

FASTEST_POLL, SLOWEST_POLL = 0.1, 0.5  # seconds: right after a change, and without changes
LOG_TAIL = 5.0  # seconds for the last lines of a finished run to appear
REPLACED_WITHIN = 1.0  # seconds from the end of a run until the deletion of its replaced job, with its history
LONGEST_LINE = 4 * 2**20  # characters; a result with the longest journal line is far shorter
OVERLONG = "(a line of more than 4 MiB is left out)"
GONE_AFTER = 5.0  # seconds without the run in any list until it counts as gone: its end takes milliseconds (hazard 36)


class LogLines:
    """The lines of a log that is read in parts. Leaves out lines longer than ``LONGEST_LINE``: a part of one could
    contain a part of a secret, which redaction cannot recognise."""

    def __init__(self) -> None:
        self._begun, self._too_long = "", False

    def complete(self, text: str) -> list[str]:
        """The lines that end in this part of the log."""
        *lines, self._begun = (self._begun + text).split("\n")
        if lines and self._too_long:
            lines[0], self._too_long = OVERLONG, False
        if len(self._begun) > LONGEST_LINE:
            self._begun, self._too_long = "", True
        return [OVERLONG if len(line) > LONGEST_LINE else line for line in lines]


class RunWatch:
    """The watched run. ``run_id``: empty until it is known. ``result``: the run's own report at its end."""

    def __init__(self, context: Context, metronome: Metronome, job_id: str) -> None:
        self.context = context
        self.metronome = metronome
        self.job_id = job_id
        self.run_id = ""
        self.result: RunResult | None = None
        self.task_id = ""
        self.started = False  # whether a task of the run was launched, or its log was read
        self._offset = 0
        self._lines = LogLines()
        self._readable = context.cluster.task_log is not None
        self._deadline = time.monotonic() + context.settings.timeout

    def to_the_end(self) -> JobRun:
        """The run's last state. Raises DeadlineError, and ConflictError when the run disappears without a result."""
        state, interval, unknown_since = JobRun(self.run_id, "INITIAL"), FASTEST_POLL, 0.0
        while True:
            state = self._poll(state)
            self.task_id = state.task_ids[-1] if state.task_ids else self.task_id
            before = self._offset
            self._show()
            if state.finished:
                self.read_rest(LOG_TAIL)
                return state
            self.started = self.started or state.status not in ("INITIAL", "UNKNOWN")
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
            interval = FASTEST_POLL if self._offset > before else min(SLOWEST_POLL, interval * 1.4)
            pause(interval)

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
            f"Run {self.run_id} of {self.job_id} no longer exists: its job was replaced, which stopped the run.",
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
        if self.task_id:
            self.context.console.live(f"run {self.run_id} of {self.job_id} is {state.status}")
        else:
            why = "it waits for an offer" if state.status == "INITIAL" else "it has no task yet"
            self.context.console.wait(f"Run {self.run_id} is {state.status}: {why}")

    @property
    def readable(self) -> bool:
        """Whether the log of the run has been read."""
        return self._readable and bool(self.task_id)

    def read_rest(self, seconds: float) -> None:
        """Read the log until it has the run's result, because the log can lag behind the run's end."""
        deadline = time.monotonic() + min(seconds, left())
        while self._readable and self.task_id and self.result is None and time.monotonic() < deadline:
            pause(FASTEST_POLL)
            self._show()

    def _show(self) -> None:
        log = self.context.cluster.task_log
        if log is None or not self._readable or not self.task_id:
            return
        got = log.read(self.task_id, self._offset)
        if got is None:
            self._readable = False
            self.context.console.warn("The job's log is not readable with these credentials; bgci goes on without it.")
            return
        text, self._offset = got
        self.started = self.started or self._offset > 0
        for line in self._lines.complete(text):
            self._take(line)

    def _take(self, line: str) -> None:
        if line.startswith(JOURNAL_LINE):
            self.context.journal.copy(line[len(JOURNAL_LINE) :])
            return
        if not line.startswith(RESULT_LINE):
            self.context.console.foreign("job", line)
            return
        self.result = run_result(line[len(RESULT_LINE) :]) or self.result
