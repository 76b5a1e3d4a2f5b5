"""What an app by other means lacks to be a baseline, and what that costs."""

from __future__ import annotations

from typing import Any

import pytest

from bgci.dcos.answer import Answer
from bgci.dcos.running_app import RunningApp, running_app
from bgci.doctor.adoption import Adoption, adoption, update

NOW = "2026-01-01T00:00:00.000"
GROUP = "HAPROXY_DEPLOYMENT_GROUP"
STARTED, TARGET = "HAPROXY_DEPLOYMENT_STARTED_AT", "HAPROXY_DEPLOYMENT_TARGET_INSTANCES"
DEFINITION = {
    "id": "/web",
    "portDefinitions": [{"port": 10101}],
    "labels": {GROUP: "web", "HAPROXY_DEPLOYMENT_ALT_PORT": "10102"},
}
ADOPTED = {GROUP: "web", "HAPROXY_DEPLOYMENT_COLOUR": "blue", STARTED: NOW, TARGET: "3", "HAPROXY_APP_ID": "/web"}


def plan(labels: dict[str, str], definition: dict[str, Any] | None = DEFINITION, **fields: Any) -> Adoption:
    return adoption(app(labels, **fields), app_id="/web", definition=definition, now=NOW)


def app(labels: dict[str, str], **fields: Any) -> RunningApp:
    tasks = [{"id": str(n)} for n in range(3)]
    raw = {"id": "/web", "instances": 3, "tasks": tasks, "portDefinitions": [{"port": 10101}], "labels": labels}
    return running_app(Answer({**raw, **fields}, "Marathon", "http://m"))


def test_an_app_by_hand_gets_everything() -> None:
    found = plan({})
    assert found.changes == ADOPTED
    assert found.vital == (GROUP,)


def test_an_adopted_app_needs_nothing() -> None:
    assert plan(ADOPTED).changes == {}


def test_an_app_by_zdd_keeps_what_it_has() -> None:
    zdd = {**ADOPTED, STARTED: "2020-01-01T00:00:00.000000+02:00", "HAPROXY_APP_ID": "web", GROUP: "/web"}
    assert plan({**zdd, "HAPROXY_DEPLOYMENT_COLOUR": "green"}).changes == {}
    assert plan({**zdd, TARGET: "2"}).changes == {TARGET: "3"}
    assert plan({**zdd, TARGET: "2"}).vital == ()


def test_a_date_that_is_none_stops_marathon_lb_and_so_is_vital() -> None:
    found = plan({**ADOPTED, STARTED: "yesterday"})
    assert found.changes == {STARTED: NOW}
    assert found.vital == (STARTED,)


def test_the_colour_is_that_of_the_id() -> None:
    assert plan({}, id="/web-green").changes["HAPROXY_DEPLOYMENT_COLOUR"] == "green"


def test_the_templates_group_counts_then_the_apps_own_then_its_name() -> None:
    assert plan({GROUP: "old"}).changes[GROUP] == "web"
    assert GROUP not in plan({GROUP: "old"}, definition=None).changes
    assert plan({}, definition=None).changes[GROUP] == "web"


def test_an_app_on_the_second_colours_port_answers_on_the_first() -> None:
    found = plan(ADOPTED, portDefinitions=[{"port": 10102}])
    assert found.changes == {"HAPROXY_0_PORT": "10101"}
    assert found.vital == ("HAPROXY_0_PORT",)
    assert plan(ADOPTED, portDefinitions=[{"port": 9}]).changes == {}


@pytest.mark.parametrize(
    ("strategy", "least", "most"),
    [
        (None, 3, 6),
        ({"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0}, 2, 3),
        ({"minimumHealthCapacity": 1, "maximumOverCapacity": 0}, 3, 4),
    ],
)
def test_the_cost_says_how_many_tasks_are_replaced_and_how(strategy: Any, least: int, most: int) -> None:
    found = plan({}, upgradeStrategy=strategy)
    assert not found.free
    assert (found.least, found.most) == (least, most)
    for part in ("replaces 3 tasks", f"at least {least} of 3", f"at most {most}", "nothing is drained"):
        assert part in found.cost


def test_an_app_without_tasks_is_adopted_for_nothing() -> None:
    found = plan({}, instances=0, tasks=[])
    assert found.free
    assert "nothing" in found.cost


def test_the_update_sends_all_labels_and_what_marathon_would_clear() -> None:
    limited = app({"a": "1"}, resourceLimits={"cpus": 1}, env={"x": "y"})
    found = update(limited, adoption(limited, app_id="/web", definition=None, now=NOW))
    assert found == {"labels": {"a": "1", **ADOPTED}, "resourceLimits": {"cpus": 1}}


@pytest.mark.parametrize(
    ("checks", "over", "instances", "needed"),
    [
        (["HTTP"], 0, 3, True),
        (["TCP"], 0, 3, True),
        (["HTTP"], 0.5, 1, True),  # rounded down there is no room either
        (["HTTP"], 0.5, 3, False),
        (["HTTP"], None, 3, False),
        (["MESOS_HTTP"], 0, 3, False),
        (["HTTP", "COMMAND"], 0, 3, False),
        ([], 0, 3, False),
    ],
)
def test_a_change_that_marathon_would_never_end_gets_room(
    checks: list[str], over: float | None, instances: int, needed: bool
) -> None:
    strategy = {"minimumHealthCapacity": 0.5} | ({} if over is None else {"maximumOverCapacity": over})
    trapped = app(
        {}, healthChecks=[{"protocol": name} for name in checks], upgradeStrategy=strategy, instances=instances
    )
    found = adoption(trapped, app_id="/web", definition=None, now=NOW)
    assert found.needs_room is needed
    assert ("maximumOverCapacity 1" in found.cost) is needed
    sent = update(trapped, found).get("upgradeStrategy")
    assert sent == ({"minimumHealthCapacity": 0.5, "maximumOverCapacity": 1} if needed else None)
    assert found.most > instances or not needed
