"""The log of a task, from both sources."""

from __future__ import annotations

import pytest

from bgci.dcos.credentials import Token
from bgci.dcos.http import Http
from bgci.dcos.login import PlainLogin
from bgci.dcos.task_log import TaskLog

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


def test_each_read_returns_only_new_text(log, dcos_log, stub):
    dcos_log("one\n")
    assert log.read(TASK, 0) == ("one\n", 4)
    dcos_log("one\ntwo\nthree\n")
    assert log.read(TASK, 4) == ("two\nthree\n", 14)
    assert log.read(TASK, 14) == ("", 14)
    assert {asked.headers["authorization"] for asked in stub.asked} == {"Bearer t"}


def test_an_empty_log_has_no_new_text(log, dcos_log):
    dcos_log("")
    assert log.read(TASK, 0) == ("", 0)


def test_a_cut_character_waits_for_its_rest(log, dcos_log):
    dcos_log("grün".encode()[:3])
    assert log.read(TASK, 0) == ("gr", 2)
    dcos_log("grün")
    assert log.read(TASK, 2) == ("ün", 5)


def test_a_task_that_is_not_known_yet_has_no_new_text(log, stub, answer):
    stub.tell("GET", LOGS, answer(500, NO_TASK, "text/plain"))
    assert log.read(TASK, 0) == ("", 0)
    stub.json("/mesos/master/state", state(completed=False))
    assert log.read(TASK, 0) == ("", 0)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_without_dcos_log_the_files_of_mesos_are_read(log, stub, answer, status):
    stub.tell("GET", LOGS, answer(status, "<html>no</html>", "text/html"))
    stub.json("/mesos/master/state", state())
    stub.tell("GET", FILES, answer(200, {"data": "one\n\n", "offset": 0}), answer(200, {"data": "", "offset": 5}))
    assert log.read(TASK, 0) == ("one\n\n", 5)
    assert log.read(TASK, 5) == ("", 5)
    reads = [dict(asked.query) for asked in stub.asked if asked.path == FILES]
    assert [(read["path"], read["offset"]) for read in reads] == [(FOLDER, "0"), (FOLDER, "5")]
    assert len([asked for asked in stub.asked if asked.path == "/mesos/master/state"]) == 1


def test_a_line_that_is_being_written_is_left_for_the_next_call(log, stub, answer):
    stub.tell("GET", LOGS, answer(403))
    stub.json("/mesos/master/state", state())
    stub.tell("GET", FILES, answer(200, {"data": "one\ntw", "offset": 0}), answer(200, {"data": "two", "offset": 4}))
    assert log.read(TASK, 0) == ("one\n", 4)
    assert log.read(TASK, 4) == ("two", 7)


def test_invalid_bytes_do_not_break_the_files_of_mesos(log, stub, answer):
    stub.tell("GET", LOGS, answer(403))
    stub.json("/mesos/master/state", state())
    stub.tell("GET", FILES, answer(200, b'{"data": "a\xffb\\u00fc\xc3", "offset": 0}'))
    assert log.read(TASK, 0) == ("a\ufffdbü", 5)


def test_a_log_that_is_not_readable_from_any_source_is_none(log, stub, answer):
    stub.tell("GET", LOGS, answer(403))
    stub.tell("GET", "/mesos/master/state", answer(403))
    assert log.read(TASK, 0) is None


def test_a_temporary_fault_gives_no_new_text(log, dcos_log, stub, answer):
    dcos_log("one\n")
    assert log.read(TASK, 0) == ("one\n", 4)
    stub.tell("GET", ON_AGENT, answer(500, "agent is gone", "text/plain"))
    assert log.read(TASK, 4) == ("", 4)


def test_an_html_page_is_not_taken_for_a_log(log, stub, answer):
    stub.tell("GET", LOGS, answer(200, "<html>", "text/html"))
    assert log.read(TASK, 0) is None


def test_the_exit_message_is_read_from_the_state_of_mesos(log, stub):
    stub.json("/mesos/master/state", state(message="Command exited with status 8"))
    assert log.exit_message(TASK) == "Command exited with status 8"


def test_the_exit_message_is_read_from_the_operator_api(log, stub):
    stub.json("/mesos/master/state", state())
    statuses = [{"state": "TASK_RUNNING"}, {"state": "TASK_FAILED", "message": "Command exited with status 6"}]
    task = {"task_id": {"value": TASK}, "statuses": statuses}
    stub.json("/mesos/api/v1", {"get_tasks": {"tasks": [], "completed_tasks": [task]}}, method="POST")
    assert log.exit_message(TASK) == "Command exited with status 6"


def test_without_readable_state_there_is_no_exit_message(log):
    assert log.exit_message(TASK) is None


def test_a_task_that_was_killed_through_mesos_was_stopped_and_an_exited_one_was_not(log, stub):
    assert not log.was_stopped(TASK)
    for ended, stopped in (("TASK_KILLED", True), ("TASK_FAILED", False)):
        statuses = [{"state": "TASK_RUNNING"}, {"state": ended}]
        task = {"task_id": {"value": TASK}, "statuses": statuses}
        stub.json("/mesos/api/v1", {"get_tasks": {"tasks": [], "completed_tasks": [task]}}, method="POST")
        assert log.was_stopped(TASK) is stopped


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
    assert log.read(TASK, 0) == ("grün", 5)
    assert log.read(TASK, 5) == ("\nblau", 10)
    assert log.read(TASK, 10) == ("\n", 11)


def test_a_file_longer_than_the_requested_part_is_not_read(log, stub, answer, monkeypatch):
    monkeypatch.setattr("bgci.dcos.task_log.MOST", 50)
    stub.tell("GET", LOGS, answer(404, "<html>no</html>", "text/html"))
    stub.json("/mesos/master/state", state())
    stub.tell("GET", FILES, answer(200, {"data": "x" * 60 + "\n", "offset": 0}))
    assert log.read(TASK, 0) is None
