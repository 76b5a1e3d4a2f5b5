"""Releases under load, with slow requests in flight all the time: no request is lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from e2e.lab import App, Lab


def one_replica(lab: Lab) -> Lab:
    """The same cluster, of which bgci and the test use only the first load balancer."""
    where: Mapping[str, Any] = {
        **lab.where,
        "marathon_lb_urls": lab.balancers[:1],
        "addresses": lab.where["addresses"][:1],
    }
    return replace(lab, where=where)


@pytest.mark.parametrize(
    ("strategy", "instances", "replicas"),
    [
        ("bluegreen", 1, 2),
        ("bluegreen", 2, 1),
        ("bluegreen", 4, 2),
        ("rolling", 1, 2),
        ("rolling", 2, 1),
        ("rolling", 4, 2),
    ],
)
def test_h01_h18_canary_promote_and_rollback_lose_no_request(
    make_app: Callable[..., App], strategy: str, instances: int, replicas: int
) -> None:
    app = make_app(instances)
    app.lab = app.lab if replicas == 2 else one_replica(app.lab)
    how = ("--strategy", strategy)
    app.promote("v1", *how)
    with app.load(slow_seconds=4.5) as load:
        with app.watched() as forward:
            app.canary("v2", *how)
            app.promote("v2", *how)
        assert app.healthy() == {"v2": instances}
        app.canary("v3", *how)
        app.rollback("v3", *how)
        assert app.healthy() == {"v2": instances}
    assert load.answered_by("v3") > 0
    assert forward.least >= (instances if strategy == "bluegreen" else instances - 1)


def test_rolling_in_waves_of_two_needs_room_for_two_more_instances_and_one_placeholder(
    make_app: Callable[..., App],
) -> None:
    app = make_app(4)
    app.promote("v1")
    with app.load():
        done = app.promote("v2", "--strategy", "rolling", "--wave", "2")
    assert app.healthy() == {"v2": 4}
    assert max(done.instances()) <= 4 + 2 + 1, "a wave, and the one that makes the canary the last scaled app"


@pytest.mark.parametrize("strategy", ["bluegreen", "rolling"])
def test_h07_a_release_with_more_instances_loses_no_request(app: App, strategy: str) -> None:
    app.promote("v1")
    app.write("v2", instances=3)
    with app.load(), app.watched() as watch:
        app.canary("v2", "--strategy", strategy)
        app.promote("v2", "--strategy", strategy)
    assert app.healthy() == {"v2": 3}
    assert watch.least >= (2 if strategy == "bluegreen" else 1)


@pytest.mark.parametrize("strategy", ["bluegreen", "rolling"])
def test_h07_a_release_with_fewer_instances_loses_no_request(make_app: Callable[..., App], strategy: str) -> None:
    app = make_app(3)
    app.promote("v1")
    app.write("v2", instances=2)
    with app.load(), app.watched() as watch:
        app.canary("v2", "--strategy", strategy)
        app.promote("v2", "--strategy", strategy)
    assert app.healthy() == {"v2": 2}
    assert watch.least >= (2 if strategy == "bluegreen" else 1)


def test_h08_a_baseline_resized_before_the_canary_is_replaced_without_a_lost_request(app: App) -> None:
    """The label says 2, 3 run: a stale TARGET."""
    app.promote("v1")
    app.lab.marathon.scale(app.id_of("v1"), 3)
    with app.load(), app.watched() as watch:
        app.canary("v2")
        app.rollback("v2")
        assert app.healthy() == {"v1": 3}
        app.canary("v2")
        app.promote("v2")
    assert app.healthy() == {"v2": 2}
    assert watch.least >= 2


def test_h08_rolling_refuses_a_baseline_whose_size_differs_from_its_label(app: App) -> None:
    app.promote("v1")
    app.lab.marathon.scale(app.id_of("v1"), 3)
    before = app.state()
    refused = app.canary("v2", "--strategy", "rolling", expect=6)
    assert "--strategy bluegreen" in refused.err
    assert app.state() == before


def test_h08_a_baseline_resized_between_canary_and_promote_is_replaced_without_a_lost_request(app: App) -> None:
    app.promote("v1")
    with app.load(), app.watched() as watch:
        app.canary("v2")
        app.lab.marathon.scale(app.id_of("v1"), 3)
        app.promote("v2")
    assert app.healthy() == {"v2": 2}
    # The manual scaling itself swaps the roles: servers in MAINT return after two checks (hazard 40).
    assert watch.least >= 1


def test_h08_a_baseline_resized_between_canary_and_rollback_comes_back_without_a_lost_request(app: App) -> None:
    app.promote("v1")
    with app.load():
        app.canary("v2")
        app.lab.marathon.scale(app.id_of("v1"), 3)
        app.rollback("v2")
    assert app.healthy() in ({"v1": 2}, {"v1": 3})


def test_a_canary_resized_before_promote_is_promoted_without_a_lost_request(make_app: Callable[..., App]) -> None:
    app = make_app(3)
    app.promote("v1")
    with app.load():
        app.canary("v2")
        app.lab.marathon.scale(app.id_of("v2"), 2)
        app.promote("v2")
    assert app.healthy() == {"v2": 3}


@pytest.mark.parametrize("instances", [2, 4])
def test_h40_a_rollback_after_the_whole_baseline_was_drained_keeps_the_stated_capacity(
    make_app: Callable[..., App], instances: int
) -> None:
    app = make_app(instances)
    app.promote("v1")
    with app.load(), app.watched() as watch:
        app.canary("v2", "--instances", str(instances))
        assert app.answers() == {"v2": 20}, "all of the baseline is in MAINT"
        app.rollback("v2")
    assert app.healthy() == {"v1": instances}
    assert watch.least >= instances - 1


def test_h10_an_app_with_two_service_ports_is_released_without_a_lost_request(make_app: Callable[..., App]) -> None:
    app = make_app(2, ports=2)
    app.promote("v1")
    with app.load(), app.watched() as watch:
        app.canary("v2")
        assert set(app.answers(port=app.ports[1])) == {"v1", "v2"}
        app.promote("v2")
        assert watch.least == 2
        app.canary("v3", "--strategy", "rolling")
        app.rollback("v3", "--strategy", "rolling")
    assert app.healthy() == {"v2": 2}


def test_h11_an_app_and_a_group_in_a_folder_are_released_without_a_lost_request(make_app: Callable[..., App]) -> None:
    app = make_app(2, name="/team-{}/web", group="team-{}/web")
    app.promote("v1")
    with app.load():
        app.canary("v2")
        app.rollback("v2")
        app.promote("v2", "--strategy", "rolling")
    assert app.healthy() == {"v2": 2}
    assert app.id_of("v2") == f"{app.id}-green"


def test_h12_an_app_with_host_networking_is_released_without_a_lost_request(make_app: Callable[..., App]) -> None:
    app = make_app(2)
    app.definition |= {"networks": [{"mode": "host"}], "portDefinitions": [{"port": app.port, "protocol": "tcp"}]}
    app.definition["container"].pop("portMappings")
    app.promote("v1")
    with app.load():
        app.canary("v2")
        app.rollback("v2")
        app.promote("v2")
    assert app.healthy() == {"v2": 2}


def test_an_app_with_container_networking_is_released_without_a_lost_request(make_app: Callable[..., App]) -> None:
    app = make_app(2)
    app.definition |= {"networks": [{"mode": "container", "name": "dcos"}]}
    app.promote("v1")
    with app.load():
        app.canary("v2")
        app.rollback("v2")
        app.promote("v2")
    assert app.healthy() == {"v2": 2}


def test_a_bg_deploy_template_works_unchanged(make_app: Callable[..., App]) -> None:
    """Its placeholder, its nulls, its legacy port mappings and network."""
    app = make_app(2)
    docker = {
        "image": "ThisIsAUniqueKey",
        "network": "BRIDGE",
        "portMappings": [{"containerPort": 80, "hostPort": 0, "servicePort": app.port, "protocol": "tcp"}],
        "privileged": False,
    }
    app.definition |= {"container": {"type": "DOCKER", "volumes": [], "docker": docker}, "cmd": None, "args": None}
    app.definition.pop("networks")
    app.promote("v1")
    app.promote("v2")
    assert app.apps()[0]["container"]["docker"]["image"] == "image:v2"
    assert app.answers() == {"v2": 20}
