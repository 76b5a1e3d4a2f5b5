"""Distinguishes a frozen load balancer from one that leaves out a single app."""

from __future__ import annotations

from typing import Any

from bgci.dcos.balancer_state import Condition, balancer_state, every_endpoint, freezing_labels
from bgci.dcos.json_answer import JsonAnswer
from bgci.dcos.marathon_lb import Census
from bgci.dcos.running_app import RunningApp, running_app

NOW = 1_800_000_000.0
LB = "http://lb:9090"


def app(app_id: str, *healthy_at: int, ports: int = 1, port: int = 10102, **labels: str) -> RunningApp:
    """An app whose tasks became healthy so many seconds before NOW (which is 08:00:00)."""
    tasks = [
        {
            "id": f"{app_id}.{index}",
            "host": "10.0.0.1",
            "ports": [31000 + index],
            "state": "TASK_RUNNING",
            "startedAt": "2027-01-15T07:00:00.000Z",
            "healthCheckResults": [
                {"alive": True, "firstSuccess": f"2027-01-15T07:{59 - ago // 60:02}:{60 - ago % 60:02}.000Z"}
            ],
        }
        for index, ago in enumerate(healthy_at)
    ]
    raw: dict[str, Any] = {
        "id": app_id,
        "instances": len(tasks),
        "labels": {"HAPROXY_GROUP": "external", **labels},
        "networks": [{"mode": "container/bridge"}],
        "container": {"portMappings": [{"containerPort": 80, "servicePort": port + index} for index in range(ports)]},
        "healthChecks": [{"protocol": "HTTP", "portIndex": 0}],
        "tasks": tasks,
    }
    return running_app(JsonAnswer(raw, "Marathon", "http://m"))


def state(apps: list[RunningApp], *present: str, duplicates: tuple[str, ...] = ()) -> tuple[Condition, str]:
    """Of /web, where the load balancer has these tasks."""
    found = balancer_state(apps, Census(LB, frozenset(present), duplicates), "/web", NOW)
    return found.condition, found.text


def test_a_load_balancer_with_all_tasks_is_current() -> None:
    assert state([app("/web", 50), app("/other", 40)], "/web.0", "/other.0") == (Condition.CURRENT, "")


def test_task_that_became_healthy_recently_is_not_reported_yet() -> None:
    assert state([app("/web", 50, 2), app("/other", 40)], "/web.0", "/other.0")[0] is Condition.CURRENT


def test_a_load_balancer_without_new_tasks_of_any_app_is_frozen() -> None:
    condition, text = state([app("/web", 50, 20), app("/other", 40, 30)], "/web.0", "/other.0")
    assert condition is Condition.FROZEN
    assert f"marathon-lb at {LB} is frozen for every app" in text


def test_h42_a_load_balancer_frozen_by_a_label_is_reported_with_app_and_label() -> None:
    bad = app("/team/bad", HAPROXY_0_BACKEND_WEIGHT="high")
    condition, text = state([app("/web", 20), app("/other", 40), bad], "/other.0")
    assert condition is Condition.FROZEN
    assert "/team/bad: the label HAPROXY_0_BACKEND_WEIGHT is 'high'" in text
    assert "delete the app" in text


def test_h44_our_app_alone_missing_beside_a_later_one_is_left_out() -> None:
    condition, text = state([app("/web", 30), app("/other", 40, 10)], "/other.0", "/other.1")
    assert condition is Condition.LEFT_OUT
    assert "leaves out only /web" in text


def test_a_later_change_that_was_applied_disproves_a_frozen_load_balancer() -> None:
    bad = app("/bad", HAPROXY_0_BACKEND_HEAD="{")
    assert state([app("/web", 30), app("/other", 10), bad], "/other.0")[0] is Condition.LEFT_OUT


def test_our_app_alone_missing_without_a_later_change_is_unclear() -> None:
    condition, text = state([app("/web", 30), app("/other", 40)], "/other.0")
    assert condition is Condition.UNCLEAR
    assert "The log of marathon-lb has the reason" in text


def test_canary_that_is_missing_beside_its_baseline_is_frozen() -> None:
    group = {"HAPROXY_DEPLOYMENT_GROUP": "web", "HAPROXY_APP_ID": "/web"}
    pair = [app("/web-blue", 500, **group), app("/web-green", 30, port=10129, HAPROXY_0_PORT="10102", **group)]
    assert state([*pair, app("/other", 40)], "/web-blue.0", "/other.0")[0] is Condition.FROZEN


def test_app_of_another_load_balancer_is_not_evidence() -> None:
    internal = app("/internal", 20, HAPROXY_GROUP="internal")
    assert state([app("/web", 30), app("/other", 40), internal], "/other.0")[0] is Condition.UNCLEAR


def test_h47_server_that_is_listed_twice_is_named() -> None:
    condition, text = state([app("/web", 50)], "/web.0", duplicates=("web_10102/10_0_0_1_31000",))
    assert condition is Condition.CURRENT
    assert "lists servers more than once, such as web_10102/10_0_0_1_31000" in text


def test_endpoints_of_all_apps_are_found_by_group_or_id() -> None:
    found = every_endpoint([app("/team/web", 1), app("/blue", 1, HAPROXY_DEPLOYMENT_GROUP="/g/x")])
    assert [end.backend for ends in found.values() for end in ends] == ["team_web_10102", "g_x_10102"]


def test_every_label_that_freezes_is_listed() -> None:
    group = {"HAPROXY_DEPLOYMENT_GROUP": "pair"}
    apps = [
        app("/fine", HAPROXY_0_VHOST="a.example.com"),
        app("/number", HAPROXY_0_PORT="x"),
        app("/group", HAPROXY_DEPLOYMENT_GROUP=""),
        app("/date", HAPROXY_DEPLOYMENT_STARTED_AT="yesterday"),
        app("/target", HAPROXY_DEPLOYMENT_NEW_INSTANCES="1"),
        app("/one", ports=2, HAPROXY_0_BACKEND_HEALTHCHECK_PORT_INDEX="1", **group),
        app("/two", **group),
    ]
    assert [one.app_id for one in freezing_labels(apps)] == ["/number", "/group", "/date", "/target", "/one and /two"]
