"""The records of a stage for the report page, for each end of the stage."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace

import pytest

from bgci.engine.decisions import Done
from bgci.engine.observation import App, Observation, Replica, Server, Serving, Task
from bgci.errors import RejectedError, RolledBackError
from bgci.operations.context import stage
from bgci.options import Settings
from bgci.reporting import page

LOOK = Observation(
    0.0,
    (App("/web-blue", 2, (Task("t1", True), Task("t2", True)), "v1", "blue"),),
    (Replica("http://lb", {"t1": Server(Serving.UP), "t2": Server(Serving.UP)}),),
)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    for name in ("MESOS_TASK_ID", "GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL"):
        monkeypatch.delenv(name, raising=False)
    return replace(Settings(), app="web", revision="v2", artifacts=str(tmp_path / "artifacts"))


@pytest.fixture
def left(settings, tmp_path):
    """The names of the files that a stage left, and its results in the journal."""

    def look():
        directory = tmp_path / "artifacts"
        journal = directory / "journal.jsonl"
        lines = [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []
        names = {path.name for path in directory.iterdir()}
        return names, [line for line in lines if line["event"] == "result"]

    return look


def carried_out(command, settings, error=None):
    with stage(command, settings) as context:
        context.journal.observed(LOOK, Done("v1 serves alone."))
        context.result = replace(context.result, timings={"total_seconds": 2.0, "limit_seconds": 1.0})
        if error:
            raise error


def test_each_stage_is_on_the_page_of_the_last_one(settings, left, tmp_path):
    carried_out("canary", settings)
    with pytest.raises(RejectedError):
        carried_out("test", settings, RejectedError("2 % errors", remedy="roll back"))
    carried_out("rollback", settings)
    _, results = left()
    assert [(one["command"], one["code"], one["revision"]) for one in results] == [
        ("canary", 0, "v2"),
        ("test", 7, "v2"),
        ("rollback", 0, "v2"),
    ]
    html = (tmp_path / "artifacts" / page.NAME).read_text()
    assert "2 % errors" in html
    assert "2 s to the goal, physical limit 1 s: 100% above it" in html


def test_a_stage_without_observations_and_history_leaves_no_page(settings, left):
    with stage("render", settings):
        pass
    assert left() == ({"result.json"}, [])


def test_a_dry_run_and_a_status_leave_no_result_in_the_journal(settings, left):
    carried_out("canary", replace(settings, dry_run=True))
    carried_out("status", settings)
    names, results = left()
    assert page.NAME not in names
    assert results == []


def test_inside_a_job_no_result_and_no_page_are_written(settings, left, monkeypatch, capsys):
    monkeypatch.setenv("MESOS_TASK_ID", "web-v2.1")
    carried_out("canary", settings)
    names, results = left()
    assert page.NAME not in names
    assert results == []
    assert '"event": "result"' not in capsys.readouterr().out


def test_a_page_that_cannot_be_written_is_a_warning(settings, left, monkeypatch, capsys):
    def broken(artifacts):
        raise RuntimeError("no template")

    monkeypatch.setattr(page, "write", broken)
    carried_out("canary", settings)
    assert "bgci could not write report.html. RuntimeError: no template" in capsys.readouterr().out
    assert len(left()[1]) == 1


def test_each_stage_of_a_release_has_its_own_times_on_the_page(settings, left):
    def release():
        with stage("release", settings) as context:
            with context.part("canary"):
                context.journal.observed(LOOK, Done("v1 serves alone."))
                context.result = replace(context.result, timings={"total_seconds": 2.0, "limit_seconds": 1.0})
            with suppress(RejectedError), context.part("test"):
                raise RejectedError("2 % errors")
            with context.part("rollback"):
                context.result = replace(context.result, timings={"total_seconds": 3.0, "limit_seconds": 1.0})
            raise RolledBackError("v2 was rolled back: 2 % errors")

    with pytest.raises(RolledBackError):
        release()
    told = [(one["command"], one["code"], one.get("timings", {}).get("total_seconds")) for one in left()[1]]
    assert told == [("canary", 0, 2.0), ("test", 7, None), ("rollback", 0, 3.0), ("release", 10, None)]
