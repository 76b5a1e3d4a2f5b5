"""A cancelled pipeline: signals while a goal runs as a DC/OS Job, with --on-abort rollback."""

from __future__ import annotations

from e2e.lab import App, Running, until

JOB = {"BGCI_VIA": "job", "BGCI_ON_ABORT": "rollback"}


def under_way(app: App) -> Running:
    """A canary that never becomes healthy, being waited for."""
    app.promote("v1")
    app.write("v2", env={"SANDBOX_HEALTH": "fail"})
    app.publish("v2")
    running = app.start("canary", "v2", **JOB)
    until(lambda: len(app.apps()) == 2)
    return running


def active_runs(app: App, job: str) -> int:
    name = next(one for one in app.lab.jobs() if one.startswith(app.id.strip("/")) and one.endswith(job))
    return len(app.lab.job(name)["activeRuns"])


def test_a_signal_stops_the_run_and_the_rollbacks_run_goes_back(app: App) -> None:
    running = under_way(app)
    running.process.terminate()
    ended = running.end()
    assert ended.code == 143
    assert app.healthy() == {"v1": 2}
    assert "rolled back" in ended.result["message"]
    assert ended.result["outputs"]["state"] == "full"


def test_a_second_signal_leaves_the_rollback_going_in_the_cluster(app: App) -> None:
    running = under_way(app)
    running.process.terminate()
    until(lambda: active_runs(app, "rollback-single-canary"))
    running.process.terminate()
    ended = running.end(seconds=5)
    assert ended.code == 143
    assert ended.result["name"] == "aborted"
    until(lambda: app.healthy() == {"v1": 2})


def test_an_abort_of_a_first_deployment_says_that_there_is_no_way_back(app: App) -> None:
    app.write("v1", env={"SANDBOX_HEALTH": "fail"})
    app.publish("v1")
    running = app.start("canary", "v1", **JOB)
    until(lambda: len(app.apps()) == 1)
    running.process.terminate()
    ended = running.end()
    assert ended.code == 143
    assert "the way back has not ended" in ended.text
    assert "rolled back" not in ended.result["message"]
