"""A new revision that never becomes healthy: the timeout ends the wait, the rollback is quick, and no request fails."""

from __future__ import annotations

from typing import Any

from e2e.lab import App, Ran


def impatient(app: App) -> list[dict[str, Any]]:
    """The app's health check, failing from the first time on."""
    return [{**check, "gracePeriodSeconds": 0, "maxConsecutiveFailures": 1} for check in app.definition["healthChecks"]]


def waits(ran: Ran) -> str:
    return "\n".join(step["why"] for step in ran.decisions() if "wait" in step)


def test_h02_h03_a_canary_that_never_becomes_healthy_ends_with_8_and_is_rolled_back_quickly(app: App) -> None:
    app.promote("v1")
    app.write("v2", env={"SANDBOX_HEALTH": "fail"}, healthChecks=impatient(app))
    with app.load(), app.watched() as watch:
        failed = app.canary("v2", "--timeout", "5s", expect=8)
        assert failed.result["name"] == "unhealthy"
        assert "health check failing (500" in failed.err
        app.rollback("v2", "--timeout", "40s")
    assert watch.least == 2
    assert app.healthy() == {"v1": 2}


def test_a_crash_looping_canary_is_reported_with_its_last_task_failure(app: App) -> None:
    app.promote("v1")
    app.write("v2", env={"SANDBOX_CRASH_AFTER": "0.1"}, backoffSeconds=1, backoffFactor=1.1)
    failed = app.canary("v2", "--timeout", "5s", expect=8)
    assert "last task failure: TASK_FAILED Command exited with status 1" in failed.err
    app.rollback("v2")
    assert app.healthy() == {"v1": 2}


def test_a_canary_whose_image_cannot_be_pulled_ends_with_8_and_quotes_the_agent(app: App) -> None:
    app.promote("v1")
    app.write("v2", backoffSeconds=0)
    failed = app.canary("v2", "--image", "registry.invalid/web:v2", expect=8)
    assert "3 tasks of" in failed.err
    assert "Failed to run 'docker -H unix:///var/run/docker.sock pull registry.invalid/web:v2'" in failed.err
    app.rollback("v2")
    assert app.healthy() == {"v1": 2}


def test_a_canary_without_offers_is_reported_with_the_missing_resource(app: App) -> None:
    app.promote("v1")
    app.write("v2", cpus=1000)
    failed = app.canary("v2", "--timeout", "3s", expect=8)
    assert "InsufficientCpus" in failed.err
    app.rollback("v2")
    assert app.healthy() == {"v1": 2}


def test_h06_a_first_deployment_that_never_becomes_healthy_fails_and_another_revision_replaces_it(app: App) -> None:
    app.write("v1", env={"SANDBOX_HEALTH": "fail"})
    app.promote("v1", "--timeout", "3s", expect=8)
    app.promote("v2")
    assert app.healthy() == {"v2": 2}


def test_a_promote_that_stops_half_way_is_rolled_back_without_a_lost_request(app: App) -> None:
    """Healthy as a canary, but there is no room for all of it."""
    app.promote("v1")
    app.write("v2", cpus=40)
    with app.load():
        app.canary("v2")
        app.promote("v2", "--timeout", "4s", expect=8)
        app.rollback("v2")
    assert app.healthy() == {"v1": 2}
