"""Changes of the load balancer by a new revision."""

from __future__ import annotations

from typing import Any

from definition_samples import BRIDGE, CHECK, changed, with_labels, with_ports

from bgci.appdef.app_definition import normalise
from bgci.appdef.balancer_changes import balancer_changes, freezing_change, lost_ports
from bgci.appdef.colour import coloured

TWO = with_ports(BRIDGE, 10102, 10103, alt="10112,10113")
INDEX = "HAPROXY_0_BACKEND_HEALTHCHECK_PORT_INDEX"


def running(definition: dict[str, Any], baseline: dict[str, Any] | None = None) -> dict[str, Any]:
    """The app as it runs: with a colour, its labels, and maybe on the alternative port."""
    return coloured(
        normalise(definition),
        revision="v1",
        image="x",
        baseline=baseline,
        instances=1,
        started_at="2026-01-01T00:00:00.000",
        swappable=True,
    )


def told(baseline: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return [str(change) for change in balancer_changes(running(baseline), normalise(new))]


def test_same_definition_has_no_changes_whatever_port_the_colour_runs_on() -> None:
    green = running(BRIDGE, baseline=running(BRIDGE))
    assert balancer_changes(green, normalise(BRIDGE)) == []
    assert lost_ports(green, normalise(BRIDGE)) == []


def test_labels_that_are_new_removed_and_changed_are_listed() -> None:
    before = with_labels(BRIDGE, HAPROXY_0_STICKY="true", HAPROXY_0_BALANCE="source")
    after = with_labels(BRIDGE, HAPROXY_0_BALANCE="leastconn", HAPROXY_0_VHOST="a.example.com")
    assert told(before, after) == [
        "HAPROXY_0_BALANCE: 'source' becomes 'leastconn'",
        "HAPROXY_0_STICKY is removed: 'true'",
        "HAPROXY_0_VHOST is new: 'a.example.com'",
    ]


def test_another_spelling_of_the_same_value_is_not_a_change() -> None:
    before = with_labels(BRIDGE, HAPROXY_0_STICKY="true", HAPROXY_0_MODE="HTTP", HAPROXY_0_BACKEND_WEIGHT="1")
    after = with_labels(BRIDGE, HAPROXY_0_STICKY="Yes", HAPROXY_0_MODE="http", HAPROXY_0_BACKEND_WEIGHT=" 01")
    assert told(before, after) == []


def test_password_is_not_shown() -> None:
    before, after = (with_labels(BRIDGE, HAPROXY_0_VHOST="a", HAPROXY_0_AUTH=f"realm:me:{word}") for word in "xy")
    assert told(before, after) == ["HAPROXY_0_AUTH: (not shown) becomes (not shown)"]


def test_health_check_and_the_mode_that_follows_from_it_are_listed() -> None:
    after = changed(BRIDGE, healthChecks=[{**CHECK, "protocol": "TCP", "intervalSeconds": 9}])
    assert told(BRIDGE, after) == [
        "mode 0: http becomes tcp",
        "health check 0: protocol HTTP, intervalSeconds 3 becomes protocol TCP, intervalSeconds 9",
    ]


def test_h54_service_port_that_is_gone_is_listed_and_lost() -> None:
    after = with_ports(BRIDGE, 10999, alt="10998")
    assert told(BRIDGE, after) == ["service port 0: 10102 becomes 10999"]
    assert lost_ports(running(BRIDGE), after) == [10102]
    assert lost_ports(running(TWO), BRIDGE) == [10103]
    assert lost_ports(running(BRIDGE), TWO) == []


def test_port_that_is_no_longer_enabled_is_listed_as_lost() -> None:
    assert lost_ports(running(TWO), with_labels(TWO, HAPROXY_1_ENABLED="no")) == [10103]


def test_index_of_a_port_that_only_one_revision_has_freezes_marathon_lb() -> None:
    indexed = with_labels(TWO, **{INDEX: "1"})
    assert freezing_change(running(indexed), BRIDGE) == INDEX
    assert freezing_change(running(BRIDGE), indexed) == INDEX
    assert freezing_change(running(indexed), TWO) == ""
    assert freezing_change(running(TWO), BRIDGE) == ""
