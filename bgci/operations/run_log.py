"""Reads the log of a run's task: shows its lines, copies its journal, and keeps the task's own report at its end."""

from __future__ import annotations

import time

from bgci.interruption import at_most, left, pause
from bgci.operations.context import JOURNAL_LINE, RESULT_LINE, Context
from bgci.operations.run_result import RunResult, run_result

PAUSE, PAUSE_OF_A_PROBLEM = 0.1, 0.5  # seconds between two reads at the end of a task
LAG = 5.0  # seconds without new text until the log of an ended task counts as complete
LONGEST_END = 60.0  # seconds for a long log of an ended task
FIRST_RETRY, LAST_RETRY = 0.25, 30.0  # seconds until the next attempt after a failed read, doubled each time
NAMED_AFTER = 4.0  # the same pause, from which a problem is worth a warning: Mesos lists a new task a moment later
LONGEST_LINE = 4 * 2**20  # characters; a result with the longest journal line is far shorter
OVERLONG = "(a line of more than 4 MiB is left out)"


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


class RunLog:
    """The log of one task after the other of a run.

    ``result``: the current task's report at its end. ``problem``: why the last read failed, in a sentence; empty after
    a successful one. ``position``: bytes read of the current task's log.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._source = context.cluster.task_log
        self._warned = False
        self.follow("")

    def follow(self, task_id: str) -> None:
        """Read the log of this task from now on."""
        self.task_id, self.position = task_id, 0
        self.result: RunResult | None = None
        self.problem, self._denied = "It was not read.", False
        self._lines = LogLines()
        self._retry, self._ask_at = FIRST_RETRY, 0.0

    def show(self, within: float, *, at_once: bool = False) -> bool:
        """Show the new lines. Returns whether there was new text.

        within: seconds, because a log service can hang. at_once: without a pause after a failed read.
        """
        if within <= 0 or not self.task_id or self._denied or (time.monotonic() < self._ask_at and not at_once):
            return False
        if self._source is None:
            self.problem, self._denied = "Without --cluster-url bgci cannot read logs.", True
            self._warn()
            return False
        with at_most(within):
            part = self._source.read(self.task_id, self.position)
        self.problem, self._denied = part.problem, part.denied
        if part.problem:
            self._ask_at, self._retry = time.monotonic() + self._retry, min(LAST_RETRY, 2 * self._retry)
            if part.denied or self._retry > NAMED_AFTER:
                self._warn()
            return False
        self._retry, self._ask_at = FIRST_RETRY, 0.0
        if part.rotated:
            self._lines = LogLines()
            self._context.console.info("The agent has begun a new log file of the job; lines can be missing here.")
        news, self.position = part.offset != self.position, part.offset
        for line in self._lines.complete(part.text):
            self._take(line)
        return news

    def show_rest(self, seconds: float = LAG, most: float = LONGEST_END) -> None:
        """Read until the task's result, because the log can lag behind its end. Give up after so many seconds without
        new text, or after ``most``."""
        last, until = time.monotonic() + min(most, left()), time.monotonic() + seconds
        while self.task_id and not self._denied and self.result is None and time.monotonic() < min(until, last):
            if self.show(max(PAUSE, min(until, last) - time.monotonic()), at_once=True):
                until = time.monotonic() + seconds
            else:
                pause(PAUSE_OF_A_PROBLEM if self.problem else PAUSE)
        if self.problem and self.task_id:
            self._warn()

    def _warn(self) -> None:
        if not self._warned:
            self._context.console.warn(f"The job's log cannot be read. {self.problem}")
        self._warned = True

    def _take(self, line: str) -> None:
        if line.startswith(JOURNAL_LINE):
            self._context.journal.copy(line[len(JOURNAL_LINE) :])
        elif line.startswith(RESULT_LINE):
            self.result = run_result(line[len(RESULT_LINE) :]) or self.result
        else:
            self._context.console.foreign("job", line)
