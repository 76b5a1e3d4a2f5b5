"""Baselines that bgci did not deploy: those of zdd, manual ones, with other labels, on other ports."""

from __future__ import annotations

from typing import Any

import pytest

from e2e.lab import App, Json, until


def foreign(app: App, instances: int = 2, **labels: str) -> Json:
    """An app of the group that bgci did not deploy: the test's definition under another id, with only these labels."""
    definition: Json = {key: value for key, value in app.definition.items() if key not in ("id", "labels", "instances")}
    definition["container"] = {**definition["container"], "docker": {"image": "old"}}
    definition["env"] = {}
    own = {"HAPROXY_GROUP": "external", "HAPROXY_DEPLOYMENT_GROUP": app.group, **labels}
    return {"id": app.id, "instances": instances, **definition, "labels": own}


def deployed(app: App, definition: dict[str, Any]) -> None:
    app.lab.marathon.create(definition)
    count = definition["instances"]
    until(lambda: app.lab.marathon.counts(definition["id"]) == (count, count, []))
    until(lambda: app.least_up() == count)


def by_zdd(app: App, started_at: str) -> dict[str, str]:
    return {
        "HAPROXY_DEPLOYMENT_ALT_PORT": app.definition["labels"]["HAPROXY_DEPLOYMENT_ALT_PORT"],
        "HAPROXY_DEPLOYMENT_COLOUR": "blue",
        "HAPROXY_DEPLOYMENT_STARTED_AT": started_at,
        "HAPROXY_DEPLOYMENT_TARGET_INSTANCES": "2",
        "HAPROXY_DEPLOYMENT_NEW_INSTANCES": "0",
        "HAPROXY_APP_ID": app.id.strip("/"),
        "HAPROXY_0_PORT": str(app.port),
    }


@pytest.mark.parametrize("started_at", ["2020-05-01T10:00:00.000000+02:00", "2020-05-01T10:00:00.000000"])
def test_h13_h33_a_baseline_of_zdd_is_replaced_whether_or_not_its_date_has_a_time_zone(
    app: App, started_at: str
) -> None:
    deployed(app, foreign(app, **by_zdd(app, started_at)))
    with app.load() as load:
        app.canary("v1")
        app.rollback("v1")
        app.promote("v1")
    assert app.healthy() == {"v1": 2}
    assert load.answered_by("v1") > 0


def test_h13_a_baseline_dated_in_the_future_is_replaced(app: App) -> None:
    deployed(app, foreign(app, **by_zdd(app, "2099-01-01T00:00:00.000000")))
    with app.load():
        app.canary("v1")
        app.promote("v1")
    assert app.healthy() == {"v1": 2}


def test_h33_a_baseline_with_an_invalid_date_is_a_conflict_before_any_change(app: App) -> None:
    deployed(app, foreign(app, **by_zdd(app, "yesterday")))
    before = app.state()
    refused = app.canary("v1", expect=6)
    assert "HAPROXY_DEPLOYMENT_STARTED_AT" in refused.err
    assert app.state() == before


def test_h09_a_baseline_deployed_by_another_tool_is_replaced_without_a_lost_request(app: App) -> None:
    deployed(app, foreign(app))
    with app.load(), app.watched() as watch:
        canary = app.canary("v1")
        assert "was not deployed by bgci" in canary.out
        app.promote("v1")
    assert watch.least == 2
    assert app.healthy() == {"v1": 2}


def test_h09_a_canary_beside_a_baseline_of_another_tool_is_rolled_back_by_force(app: App) -> None:
    """marathon-lb would stop on a swap of roles there, so nothing can drain the canary."""
    deployed(app, foreign(app))
    app.canary("v1")
    refused = app.rollback("v1", "--drain-timeout", "1s", expect=9)
    assert "--on-drain-timeout force" in refused.err
    app.rollback("v1", "--drain-timeout", "1s", "--on-drain-timeout", "force")
    assert app.healthy() == {"": 2}
    until(lambda: app.least_up() == 2)


def test_h14_a_baseline_deployed_by_another_tool_is_never_taken_for_the_revision(app: App) -> None:
    deployed(app, foreign(app))
    before = app.state()
    nothing = app.rollback("v1")
    assert "Nothing to do" in nothing.out
    assert app.state() == before


def test_h15_a_baseline_without_a_health_check_is_refused_unless_allowed(app: App) -> None:
    definition = foreign(app)
    definition["healthChecks"] = []
    app.lab.marathon.create(definition)
    until(lambda: app.lab.marathon.counts(definition["id"])[0] == 2)
    before = app.state()
    refused = app.canary("v1", expect=6)
    assert "health check" in refused.err
    assert app.state() == before
    app.canary("v1", "--allow-no-health-check")


def test_h33_two_indistinguishable_apps_are_a_conflict(app: App) -> None:
    deployed(app, foreign(app, 1))
    second = foreign(app, 1)
    second["id"] = f"{app.id}-blue"
    second["container"]["portMappings"] = [{**second["container"]["portMappings"][0], "servicePort": app.port + 5000}]
    app.lab.marathon.create(second)
    for goal in ("canary", "promote", "rollback"):
        refused = app.run(goal, "v1", expect=6)
        assert "cannot be told apart" in refused.err
