"""The log of a task, from both sources."""

from __future__ import annotations

import pytest

from bgci.dcos.credentials import Token
from bgci.dcos.http import Http
from bgci.dcos.login import PlainLogin
from bgci.dcos.task_log import TaskEnd, TaskLog

TASK = "team_web_r1.uuid"
LOGS = f"/system/v1/logs/v2/task/{TASK}/file/stdout"
ON_AGENT = "/system/v1/agent/S2/logs/v2/task/frameworks/F/executors/E/runs/C/stdout"
FILES = "/agent/S2/files/read"
FOLDER = f"/var/lib/mesos/slave/slaves/S2/frameworks/F/executors/{TASK}/runs/C/stdout"
NO_TASK = "unable to get canonical task ID: no task found"


@pytest.fixture
def log(stub):
    return TaskLog(Http(stub.url, auth=PlainLogin(Token("t")), backoff=0.01, retries=0))


@pytest.fixture
def dcos_log(stub, answer):
    """``dcos_log(text)`` makes the task's agent serve that text through the master's redirect."""
    stub.tell("GET", LOGS, answer(303, headers={"Location": ON_AGENT}))

    def tell(text):
        content = text if isinstance(text, bytes) else text.encode()
        stub.tell("GET", ON_AGENT, answer(200 if content else 204, content, "text/plain"))

    return tell


def state(completed=True, **more):
    status = {"state": "TASK_FINISHED", "container_status": {"container_id": {"value": "C"}}, **more}
    task = {"id": TASK, "executor_id": "", "slave_id": "S2", "framework_id": "F", "statuses": [status]}
    return {"frameworks": [{"tasks": [], "completed_tasks": [task] if completed else []}]}


def text_of(log, offset):
    """The new text of a read without a problem, and the next offset."""
    part = log.read(TASK, offset)
    assert not part.problem
    return part.text, part.offset


def test_each_read_returns_only_new_text(log, dcos_log, stub):
    dcos_log("one\n")
    assert text_of(log, 0) == ("one\n", 4)
    dcos_log("one\ntwo\nthree\n")
    assert text_of(log, 4) == ("two\nthree\n", 14)
    assert text_of(log, 14) == ("", 14)
    assert {asked.headers["authorization"] for asked in stub.asked} == {"Bearer t"}


def test_an_empty_log_has_no_new_text(log, dcos_log):
    dcos_log("")
    assert text_of(log, 0) == ("", 0)


def test_a_cut_character_waits_for_its_rest(log, dcos_log):
    dcos_log("grün".encode()[:3])
    assert text_of(log, 0) == ("gr", 2)
    dcos_log("grün")
    assert text_of(log, 2) == ("ün", 5)


def test_a_task_that_mesos_does_not_list_has_no_log_and_the_account_may_read_it(log, stub, answer):
    stub.tell("GET", LOGS, answer(500, NO_TASK, "text/plain"))
    stub.json("/mesos/master/state", state(completed=False))
    part = log.read(TASK, 0)
    assert (part.text, part.offset, part.denied) == ("", 0, False)
    assert TASK in part.problem


@pytest.mark.parametrize("status", [401, 403, 404])
def test_without_dcos_log_the_files_of_mesos_are_read(log, stub, answer, status):
    stub.tell("GET", LOGS, answer(status, "<html>no</html>", "text/html"))
    stub.json("/mesos/master/state", state())
    stub.tell("GET", FILES, answer(200, {"data": "one\n\n", "offset": 0}), answer(200, {"data": "", "offset": 5}))
    assert text_of(log, 0) == ("one\n\n", 5)
    assert text_of(log, 5) == ("", 5)
    reads = [dict(asked.query) for asked in stub.asked if asked.path == FILES]
    assert [(read["path"], read["offset"]) for read in reads] == [(FOLDER, "0"), (FOLDER, "5")]
    assert len([asked for asked in stub.asked if asked.path == "/mesos/master/state"]) == 1


def test_a_line_that_is_being_written_is_left_for_the_next_call(log, stub, answer):
    stub.tell("GET", LOGS, answer(403))
    stub.json("/mesos/master/state", state())
    stub.tell("GET", FILES, answer(200, {"data": "one\ntw", "offset": 0}), answer(200, {"data": "two", "offset": 4}))
    assert text_of(log, 0) == ("one\n", 4)
    assert text_of(log, 4) == ("two", 7)


def test_invalid_bytes_do_not_break_the_files_of_mesos(log, stub, answer):
    stub.tell("GET", LOGS, answer(403))
    stub.json("/mesos/master/state", state())
    stub.tell("GET", FILES, answer(200, b'{"data": "a\xffb\\u00fc\xc3", "offset": 0}'))
    assert text_of(log, 0) == ("a\ufffdbü", 5)


def test_a_log_that_no_source_may_show_is_denied_with_the_reason(log, stub, answer):
    stub.tell("GET", LOGS, answer(403))
    stub.tell("GET", "/mesos/master/state", answer(403))
    part = log.read(TASK, 0)
    assert part.denied
    assert LOGS in part.problem


@pytest.mark.parametrize("status", [403, 404, 410, 500])
def test_a_log_that_can_no_longer_be_read_has_the_reason_and_keeps_its_place(log, dcos_log, stub, answer, status):
    dcos_log("one\n")
    assert text_of(log, 0) == ("one\n", 4)
    stub.tell("GET", ON_AGENT, answer(status, "agent is gone", "text/plain"))
    part = log.read(TASK, 4)
    assert (part.text, part.offset, part.denied) == ("", 4, status == 403)
    assert part.problem
    dcos_log("one\ntwo\n")
    assert text_of(log, 4) == ("two\n", 8)


def test_a_new_file_of_the_agent_is_read_from_its_start(log, dcos_log, stub, answer):
    dcos_log("one\ntwo\n")
    assert text_of(log, 0) == ("one\ntwo\n", 8)
    dcos_log("3\n")
    part = log.read(TASK, 8)
    assert (part.offset, part.rotated, part.problem) == (0, True, "")
    assert text_of(log, part.offset) == ("3\n", 2)


def test_a_new_file_of_the_agent_is_read_by_mesos_too_from_its_start(log, stub, answer):
    stub.tell("GET", LOGS, answer(403))
    stub.json("/mesos/master/state", state())
    stub.tell("GET", FILES, answer(200, {"data": "one\n", "offset": 0}), answer(200, {"data": "", "offset": 2}))
    assert text_of(log, 0) == ("one\n", 4)
    assert log.read(TASK, 4).rotated


def test_an_html_page_is_not_taken_for_a_log(log, stub, answer):
    stub.tell("GET", LOGS, answer(200, "<html>", "text/html"))
    assert log.read(TASK, 0).problem


def operator_state(stub, *statuses):
    """The task in Mesos' operator API, with these states and messages."""
    found = [dict(zip(("state", "message"), status, strict=False)) for status in statuses]
    task = {"task_id": {"value": TASK}, "statuses": found}
    stub.json("/mesos/api/v1", {"get_tasks": {"tasks": [], "completed_tasks": [task]}}, method="POST")


def test_the_end_of_a_task_is_read_from_the_state_of_mesos(log, stub):
    stub.json("/mesos/master/state", state(message="Command exited with status 8"))
    assert log.end(TASK) == TaskEnd("TASK_FINISHED", "Command exited with status 8")
    assert log.end(TASK).exit_code == 8


def test_the_end_of_a_task_is_read_from_the_operator_api(log, stub):
    stub.json("/mesos/master/state", state())
    operator_state(stub, ("TASK_RUNNING",), ("TASK_FAILED", "Command exited with status 6"))
    assert log.end(TASK) == TaskEnd("TASK_FAILED", "Command exited with status 6")


def test_without_readable_state_nothing_is_known_about_the_end_of_a_task(log, stub):
    assert log.end(TASK) == TaskEnd()
    assert (str(TaskEnd()), TaskEnd().exit_code) == ("", None)
    stub.json("/mesos/master/state", state())
    assert log.end(TASK) == TaskEnd("TASK_FINISHED")


@pytest.mark.parametrize(
    ("end", "text", "code"),
    [
        (TaskEnd("TASK_FAILED", "Command exited with status 127"), "TASK_FAILED: Command exited with status 127.", 127),
        (TaskEnd("TASK_FAILED", "Command terminated with signal Killed"), "with signal Killed.", None),
        (TaskEnd("TASK_KILLED"), "TASK_KILLED.", None),
        (TaskEnd("TASK_UNREACHABLE"), "TASK_UNREACHABLE. Its process can still run.", None),
    ],
)
def test_the_end_of_a_task_says_whether_its_process_can_still_run(end, text, code):
    assert str(end).endswith(text)
    assert end.exit_code == code


@pytest.mark.parametrize(
    ("found", "ended"),
    [
        ("TASK_FAILED", True),
        ("TASK_KILLED", True),
        ("TASK_FINISHED", True),
        ("TASK_RUNNING", False),
        ("TASK_KILLING", False),
        ("TASK_LOST", False),
        ("TASK_UNREACHABLE", False),
    ],
)
def test_a_task_has_ended_only_when_its_executor_reported_it(log, stub, found, ended):
    stub.json("/mesos/master/state", {"frameworks": [{"tasks": [{"id": TASK, "state": found}]}]})
    assert log.has_ended(TASK) is ended
    assert log.has_ended("another") is False


def test_a_task_without_a_readable_state_counts_as_running(log, stub, answer):
    stub.tell("GET", "/mesos/master/state", answer(403))
    assert log.has_ended(TASK) is False


def test_a_long_log_is_read_in_parts(log, dcos_log, monkeypatch):
    monkeypatch.setattr("bgci.dcos.task_log.MOST", 5)
    dcos_log("grün\nblau\n")
    assert text_of(log, 0) == ("grün", 5)
    assert text_of(log, 5) == ("\nblau", 10)
    assert text_of(log, 10) == ("\n", 11)


def test_a_file_longer_than_the_requested_part_is_not_read(log, stub, answer, monkeypatch):
    monkeypatch.setattr("bgci.dcos.task_log.MOST", 50)
    stub.tell("GET", LOGS, answer(404, "<html>no</html>", "text/html"))
    stub.json("/mesos/master/state", state())
    stub.tell("GET", FILES, answer(200, {"data": "x" * 60 + "\n", "offset": 0}))
    assert "longer" in log.read(TASK, 0).problem
