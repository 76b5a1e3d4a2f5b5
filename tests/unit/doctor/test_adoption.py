"""The labels that an app of another tool needs as a baseline, and the cost of setting them."""

from __future__ import annotations

from typing import Any

import pytest

from bgci.dcos.json_answer import JsonAnswer
from bgci.dcos.running_app import RunningApp, running_app
from bgci.doctor.adoption import Adoption, adoption, counts_mesos_health, offer, rolling_strategy, update
from bgci.doctor.finding import Status
from bgci.errors import ConflictError

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
    return running_app(JsonAnswer({**raw, **fields}, "Marathon", "http://m"))


def test_a_manually_deployed_app_gets_all_labels() -> None:
    found = plan({})
    assert found.changes == ADOPTED
    assert found.vital == (GROUP,)


def test_an_adopted_app_needs_no_change() -> None:
    assert plan(ADOPTED).changes == {}


def test_an_app_of_zdd_keeps_its_labels() -> None:
    zdd = {**ADOPTED, STARTED: "2020-01-01T00:00:00.000000+02:00", "HAPROXY_APP_ID": "web", GROUP: "/web"}
    assert plan({**zdd, "HAPROXY_DEPLOYMENT_COLOUR": "green"}).changes == {}
    assert plan({**zdd, TARGET: "2"}).changes == {TARGET: "3"}
    assert plan({**zdd, TARGET: "2"}).vital == ()


def test_an_invalid_date_stops_marathon_lb_and_must_be_changed() -> None:
    found = plan({**ADOPTED, STARTED: "yesterday"})
    assert found.changes == {STARTED: NOW}
    assert found.vital == (STARTED,)


def test_the_colour_is_taken_from_the_id() -> None:
    assert plan({}, id="/web-green").changes["HAPROXY_DEPLOYMENT_COLOUR"] == "green"


def test_the_group_is_taken_from_the_template_then_the_app_then_its_name() -> None:
    assert plan({GROUP: "old"}).changes[GROUP] == "web"
    assert GROUP not in plan({GROUP: "old"}, definition=None).changes
    assert plan({}, definition=None).changes[GROUP] == "web"


def test_an_app_on_the_alternative_port_gets_the_label_of_the_first_port() -> None:
    found = plan(ADOPTED, portDefinitions=[{"port": 10102}])
    assert found.changes == {"HAPROXY_0_PORT": "10101"}
    assert found.vital == ("HAPROXY_0_PORT",)
    assert plan(ADOPTED, portDefinitions=[{"port": 9}]).changes == {}


@pytest.mark.parametrize(
    ("strategy", "least", "most"),
    [
        (None, 3, 6),
        ({"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0}, 3, 4),
        ({"minimumHealthCapacity": 1, "maximumOverCapacity": 0}, 3, 4),
        ({"minimumHealthCapacity": 0, "maximumOverCapacity": 0.7}, 3, 5),
    ],
)
def test_the_cost_lists_how_many_tasks_are_replaced_and_how(strategy: Any, least: int, most: int) -> None:
    found = plan({}, upgradeStrategy=strategy)
    assert not found.free
    assert found.bounds == (least, most)
    for part in ("replaces 3 tasks", f"at least {least} of 3", f"at most {most}", "no task is drained"):
        assert part in found.cost


def test_an_app_without_tasks_is_adopted_without_a_restart() -> None:
    found = plan({}, instances=0, tasks=[])
    assert found.free
    assert "nothing" in found.cost


def test_the_update_sends_all_labels_and_what_marathon_would_clear() -> None:
    limited = app({"a": "1"}, resourceLimits={"cpus": 1}, env={"x": "y"})
    found = update(limited, adoption(limited, app_id="/web", definition=None, now=NOW))
    assert found == {"labels": {"a": "1", **ADOPTED}, "resourceLimits": {"cpus": 1}}


@pytest.mark.parametrize(
    ("checks", "over", "instances", "fixed", "hangs"),
    [
        (["HTTP"], 0, 3, True, True),
        (["TCP"], 0, 1, True, True),
        (["MESOS_HTTP"], 0, 3, True, False),
        (["HTTP", "COMMAND"], 0, 3, True, False),
        ([], 0, 3, True, False),
        (["HTTP"], 0, 3, False, False),
        (["HTTP"], 0.5, 1, False, False),  # Marathon rounds down, so that there is no room either
    ],
)
def test_h57_an_app_without_possible_over_capacity_is_distinguished_from_one_that_gets_it(
    checks: list[str], over: float, instances: int, fixed: bool, hangs: bool
) -> None:
    strategy = {"minimumHealthCapacity": 0, "maximumOverCapacity": over}
    labels = {"MARATHON_SINGLE_INSTANCE_APP": "true"} if fixed else {}
    fields = {"healthChecks": [{"protocol": name} for name in checks], "upgradeStrategy": strategy}
    found = plan(labels, instances=instances, **fields)
    assert found.hangs is hangs
    assert ("upgradeStrategy" in update(app(labels, instances=instances, **fields), found)) is not fixed


def test_h57_an_app_with_a_persistent_volume_keeps_its_strategy() -> None:
    volume = {"containerPath": "data", "mode": "RW", "persistent": {"size": 10}}
    strategy = {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0}
    found = plan({}, container={"type": "MESOS", "volumes": [volume]}, upgradeStrategy=strategy)
    assert (found.strategy, found.bounds[0]) == (None, 2)


def test_h57_the_strategy_of_the_restart_has_room_for_one_more_task() -> None:
    strategy = {"minimumHealthCapacity": 1, "maximumOverCapacity": 0}
    for instances in range(1, 1200):
        found = rolling_strategy(app({}, instances=instances, upgradeStrategy=strategy))
        assert int(instances * (1 + found["maximumOverCapacity"])) == instances + 1
        assert 0 < found["maximumOverCapacity"] <= 1


@pytest.mark.parametrize(
    ("version", "has"),
    [("1.11.24", True), ("1.10.5", True), ("1.10.4", False), ("1.7.202", False), ("2.0", True), ("", True)],
)
def test_h57_the_versions_of_marathon_with_the_hazard_are_recognised(version: str, has: bool) -> None:
    assert counts_mesos_health(version) is has


# -- what is offered --------------------------------------------------------------------------------------------------

RELEASE = "bgci release --app /web --strategy bluegreen"
RESTART = "bgci doctor --app /web --adopt --adopt-restart"


def test_a_member_of_the_group_is_adopted_by_the_next_release() -> None:
    check = offer(plan({GROUP: "web"}), "/web", RELEASE)
    assert (check.status, check.command) == (Status.WARNING, RELEASE)
    assert f"`{RESTART}`" in check.remedy


def test_an_app_in_another_group_needs_only_another_template() -> None:
    check = offer(plan({GROUP: "old"}), "/web", RELEASE)
    assert check.error is ConflictError
    assert check.remedy.startswith("Write HAPROXY_DEPLOYMENT_GROUP=old in the template")
    assert f"`{RESTART}`" in check.remedy


def test_an_app_without_a_group_needs_a_restart_and_the_finding_names_it() -> None:
    check = offer(plan({}), "/web", RELEASE)
    assert (check.error, check.command) == (ConflictError, RESTART)
    assert "at least 3 of 3 stay healthy" in check.found


def test_h51_for_an_app_under_another_name_a_move_and_a_restart_are_suggested() -> None:
    found = plan({GROUP: "web"}, id="/legacy-blue")
    assert found.changes["HAPROXY_APP_ID"] == "/web"
    check = offer(found, "/web", RELEASE)
    assert (check.error, check.command) == (ConflictError, f"{RELEASE} --replaces /legacy")
    assert f"`{RESTART} --replaces /legacy`" in check.remedy


def test_h51_an_app_of_another_folder_is_never_adopted_in_place() -> None:
    check = offer(plan({GROUP: "web"}, id="/team/web"), "/web", RELEASE)
    assert check.command == f"{RELEASE} --replaces /team/web"
    assert RESTART not in check.remedy


@pytest.mark.parametrize("labels", [{}, {GROUP: "web"}, {GROUP: "old"}])
def test_h57_a_restart_that_would_never_end_is_not_suggested(labels: dict[str, str]) -> None:
    strategy = {"minimumHealthCapacity": 0, "maximumOverCapacity": 0}
    fields = {"healthChecks": [{"protocol": "HTTP"}], "upgradeStrategy": strategy}
    check = offer(plan({**labels, "MARATHON_SINGLE_INSTANCE_APP": "true"}, **fields), "/web", RELEASE)
    assert RESTART not in f"{check.remedy} {check.command}"
    assert "never ends" in check.remedy
