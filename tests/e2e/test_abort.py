"""A cancelled pipeline: signals while a goal is under way, as a DC/OS Job and in this process."""

from __future__ import annotations

import signal
import time

import pytest

from e2e.lab import App, Running, until

ROLLBACK = {"BGCI_ON_ABORT": "rollback"}
BOTH_WAYS = pytest.mark.parametrize("via", ["job", "direct"])


def under_way(app: App, via: str, **environment: str) -> Running:
    """A running command that waits for a canary that never becomes healthy."""
    app.promote("v1")
    app.write("v2", env={"SANDBOX_HEALTH": "fail"})
    if via == "job":
        app.publish("v2")
    running = app.start("canary", "v2", BGCI_VIA=via, **environment)
    until(lambda: len(app.apps()) == 2)
    return running


def half_way(app: App, via: str, **environment: str) -> Running:
    """A running promotion that waits for its second instance; it has already removed one instance of the baseline."""
    app.promote("v1")
    app.write("v2")
    if via == "job":
        app.publish("v2")
    app.canary("v2")
    running = app.start("promote", "v2", BGCI_VIA=via, **environment)
    until(lambda: app.runs().get("v2") == 2)
    return running


def active_runs(app: App, job: str) -> int:
    name = next(one for one in app.lab.jobs() if one.startswith(app.id.strip("/")) and one.endswith(job))
    return len(app.lab.job(name)["activeRuns"])


@BOTH_WAYS
def test_a_signal_ends_the_canary_which_is_rolled_back_as_on_abort_says(app: App, via: str) -> None:
    running = under_way(app, via, **ROLLBACK)
    running.process.terminate()
    ended = running.end()
    assert ended.code == 143
    assert app.healthy() == {"v1": 2}
    assert "rolled back" in ended.result["message"]
    assert ended.result["outputs"]["state"] == "full"


@BOTH_WAYS
def test_an_aborted_promote_rolls_back(app: App, via: str) -> None:
    running = half_way(app, via, **ROLLBACK)
    running.process.send_signal(signal.SIGINT)
    ended = running.end()
    assert ended.code == 130
    assert app.healthy() == {"v1": 2}
    assert app.answers() == {"v1": 20}


@BOTH_WAYS
def test_an_aborted_promote_that_left_a_hybrid_is_finished_by_the_same_command(app: App, via: str) -> None:
    running = half_way(app, via)
    running.process.terminate()
    ended = running.end()
    assert ended.code == 143
    assert ended.result["outputs"]["state"] == "hybrid"
    if via == "job":
        assert not active_runs(app, "deploy-canary-completely")
    app.promote("v2", BGCI_VIA=via)
    assert app.healthy() == {"v2": 2}


@BOTH_WAYS
@pytest.mark.parametrize("environment", [ROLLBACK, {}], ids=["rollback", "leave"])
def test_the_same_signal_from_several_senders_is_one(app: App, via: str, environment: dict[str, str]) -> None:
    running = under_way(app, via, **environment)
    for _ in range(3):
        running.process.terminate()
        time.sleep(0.03)
    ended = running.end()
    assert ended.code == 143
    assert ended.result["name"] == "aborted"
    assert app.runs() == ({"v1": 2} if environment else {"v1": 2, "v2": 1})


def test_a_later_signal_ends_the_command_and_the_rollback_job_continues(app: App) -> None:
    app.write("v1", env={"SANDBOX_START_SECONDS": "5"})
    running = half_way(app, "job", **ROLLBACK)
    running.process.terminate()
    until(lambda: active_runs(app, "rollback-single-canary"))
    time.sleep(2)  # until then it would be the same signal
    running.process.terminate()
    ended = running.end()
    assert ended.code == 143
    assert ended.result["name"] == "aborted"
    assert "bgci no longer follows it" in ended.text
    until(lambda: app.healthy() == {"v1": 2})


def test_a_release_that_is_aborted_in_its_tests_rolls_back(app: App) -> None:
    app.promote("v1")
    running = app.start("release", "v2", "--test-command", "echo began > began; exec sleep 100", **ROLLBACK)
    until((app.directory / "began").exists)
    running.process.terminate()
    ended = running.end()
    assert ended.code == 143
    assert app.healthy() == {"v1": 2}
    ends = [(stage["command"], stage["name"]) for stage in ended.result["stages"]]
    assert ends == [("render", "ok"), ("canary", "ok"), ("test", "aborted"), ("rollback", "ok")]


@BOTH_WAYS
def test_a_release_that_is_aborted_in_its_promotion_is_finished_by_the_same_command(app: App, via: str) -> None:
    app.promote("v1")
    running = app.start("release", "v2", BGCI_VIA=via)
    until(lambda: app.runs().get("v2") == 2)
    running.process.terminate()
    ended = running.end()
    assert (ended.code, ended.result["stages"][-1]["name"]) == (143, "aborted")
    again = app.run("release", "v2", BGCI_VIA=via)
    assert "The canary keeps its 2 instances." in again.text
    assert app.healthy() == {"v2": 2}


def test_an_abort_of_a_first_deployment_that_never_served_removes_it(app: App) -> None:
    app.write("v1", env={"SANDBOX_HEALTH": "fail"})
    app.publish("v1")
    running = app.start("canary", "v1", BGCI_VIA="job", **ROLLBACK)
    until(lambda: len(app.apps()) == 1)
    running.process.terminate()
    ended = running.end()
    assert ended.code == 143
    assert app.apps() == []
    assert "rolled back" in ended.result["message"]
