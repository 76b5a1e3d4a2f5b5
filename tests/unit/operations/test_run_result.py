"""The result that a job's run reports: others can write its log."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bgci.engine.observation import App, Task
from bgci.operations.run_result import run_result
from bgci.reporting.rollout_record import encoded

APP = {
    "id": "/web-blue",
    "revision": "v1",
    "colour": None,
    "instances": 2,
    "tasks": 2,
    "healthy": 1,
    "urls": ["http://a:1"],
    "deployments": [],
    "serving": {"http://lb": {"up": 2}},
}
STATE = {"apps": [APP], "load_balancers": [{"url": "http://lb", "older_workers": [7], "problem": ""}]}
TIMINGS = {"total_seconds": 2.5, "limit_seconds": 1.0, "overhead": 1.5, "waited_seconds": {"drain": 0.5}}


def test_a_result_survives_writing_and_reading() -> None:
    given = {"exit_code": 8, "message": "m", "remedy": "r", "state": STATE, "timings": TIMINGS, "changed": True}
    found = run_result(json.dumps(given))
    assert found is not None
    assert (found.exit_code, found.message, found.remedy) == (8, "m", "r")
    assert (found.copied.state, found.copied.timings, found.copied.changed) == (STATE, TIMINGS, True)


def test_the_apps_as_the_run_has_left_them_are_read_as_they_were_written() -> None:
    apps = (App("/web-green", 2, (Task("a", None),), "v2", last_scaling_at=1.5, configured_at=7.0),)
    found = run_result(json.dumps({"exit_code": 0, "known": encoded(apps), "noticed": ["x", "y"]}))
    assert found is not None
    assert (found.known, found.noticed) == (apps, ("x", "y"))


@pytest.mark.parametrize("wrong", [7, [], [7], {"/web": 7}, {"/web": {}}, {"/web": {"instances": "2"}}])
def test_apps_and_changes_of_wrong_types_are_left_out(wrong: Any) -> None:
    found = run_result(json.dumps({"exit_code": 0, "known": wrong, "noticed": wrong}))
    assert found is not None
    assert (found.known, found.noticed) == ((), ())


@pytest.mark.parametrize("text", ["7", "[]", "null", "x", '"exit_code"', "[" * 5000])
def test_a_result_that_is_not_an_object_is_none(text: str) -> None:
    assert run_result(text) is None


@pytest.mark.parametrize("code", [None, True, "0", 99, -1, 1.5, 10**30, []])
def test_an_unknown_exit_code_is_none(code: Any) -> None:
    found = run_result(json.dumps({"exit_code": code}))
    assert found is not None
    assert found.exit_code is None


@pytest.mark.parametrize(
    "state",
    [
        7,
        {},
        {"apps": None},
        {"apps": {"a": 1}},
        {"apps": ["x"]},
        {"apps": [{**APP, "serving": {"http://lb": 7}}]},
        {"apps": [{**APP, "urls": "x"}]},
        {"apps": [{**APP, "healthy": "2"}]},
    ],
)
def test_a_state_of_wrong_types_is_left_out(state: Any) -> None:
    found = run_result(json.dumps({"exit_code": 0, "state": state, "timings": {"waited_seconds": 7}, "message": []}))
    assert found is not None
    assert (found.exit_code, found.message, found.copied.state, found.copied.timings) == (0, "", None, None)
