"""The log of a run's task, read from a source that fails, has a new file, or belongs to another task."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from bgci.dcos.task_log import LogPart
from bgci.operations.context import RESULT_LINE
from bgci.operations.run_log import RunLog

SECOND = 1.0
RESULT = RESULT_LINE + json.dumps({"exit_code": 8, "message": "m"})


class Source:
    """Answers each read with the next of these parts, and the last one for ever."""

    def __init__(self, *parts: LogPart) -> None:
        self.parts = list(parts)
        self.asked: list[tuple[str, int]] = []

    def read(self, task_id: str, offset: int) -> LogPart:
        self.asked.append((task_id, offset))
        return self.parts.pop(0) if len(self.parts) > 1 else self.parts[0]


class Console:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def foreign(self, prefix: str, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.lines.append(f"warning: {text}")

    def info(self, text: str) -> None:
        self.lines.append(f"info: {text}")


def log_of(source: Source | None) -> tuple[RunLog, Console]:
    console = Console()
    context: Any = SimpleNamespace(console=console, cluster=SimpleNamespace(task_log=source))
    log = RunLog(context)
    log.follow("a")
    return log, console


def test_a_log_with_a_new_file_is_read_on_and_half_a_line_is_not_shown() -> None:
    source = Source(LogPart("one\nsecret-be", 13), LogPart("", 0, rotated=True), LogPart("gin\ntwo\n", 8))
    log, console = log_of(source)
    for _ in range(3):
        assert log.show(SECOND)
    assert source.asked == [("a", 0), ("a", 13), ("a", 0)]
    assert console.lines[0] == "one"
    assert "begun a new log file" in console.lines[1]
    assert console.lines[2:] == ["gin", "two"]


def test_a_log_that_the_account_may_not_read_is_asked_for_once_and_named() -> None:
    source = Source(LogPart("", 0, "Not permitted.", denied=True))
    log, console = log_of(source)
    for _ in range(3):
        assert not log.show(SECOND, at_once=True)
    log.show_rest()
    assert len(source.asked) == 1
    assert console.lines == ["warning: The job's log cannot be read. Not permitted."]
    assert log.problem == "Not permitted."


def test_a_log_that_fails_for_a_moment_loses_no_line_and_is_no_problem_afterwards() -> None:
    source = Source(LogPart("one\n", 4), LogPart("", 4, "No answer."), LogPart(f"two\n{RESULT}\n", 50))
    log, console = log_of(source)
    assert log.show(SECOND)
    assert not log.show(SECOND)
    assert log.problem == "No answer."
    assert not log.show(SECOND), "the next attempt comes later"
    log.show_rest()
    assert console.lines == ["one", "two"]
    assert log.problem == ""
    assert log.result is not None
    assert log.result.exit_code == 8


def test_the_result_of_an_earlier_task_is_not_that_of_the_next_one() -> None:
    source = Source(LogPart(f"{RESULT}\n", 50), LogPart("one\n", 4))
    log, _ = log_of(source)
    log.show_rest()
    assert log.result is not None
    log.follow("b")
    assert log.result is None
    assert log.show(SECOND)
    assert source.asked == [("a", 0), ("b", 0)]
    assert log.result is None


@pytest.mark.parametrize("within", [0.0, -1.0])
def test_without_time_nothing_is_read(within: float) -> None:
    source = Source(LogPart("one\n", 4))
    log, _ = log_of(source)
    assert not log.show(within)
    assert source.asked == []


def test_a_cluster_without_logs_is_named() -> None:
    log, console = log_of(None)
    log.show_rest()
    assert console.lines == ["warning: The job's log cannot be read. Without --cluster-url bgci cannot read logs."]
