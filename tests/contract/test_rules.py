"""Pure decisions of the sandbox that are too slow or impossible to test on a whole cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgci.sandbox.logs import excerpt
from bgci.sandbox.marathon import definition, labels, plan
from bgci.sandbox.marathon.dialect import DIALECTS
from bgci.sandbox.marathon.model import App, Condition, Health, Instance, new_app
from bgci.sandbox.metronome.model import job_spec
from bgci.sandbox.web import ApiError
from contract.client import web_app

DIALECT = DIALECTS["1.11"]
AGENTS = {"127.0.0.1": {"hostname": "127.0.0.1"}}
SPEC = definition.create(web_app("web", 4), DIALECT)
APP = new_app(SPEC, "v1")


def instance(name: str, condition: Condition, age: float, app: App | None = None) -> Instance:
    """An instance that entered its condition ``age`` seconds ago."""
    made = Instance(name, app or new_app(SPEC, "v1"), condition=condition, since=-age)
    made.active_since = -age if condition.is_active else None
    return made


def test_scale_down_takes_unreachable_staging_starting_running_then_all_others() -> None:
    conditions = [
        Condition.KILLING, Condition.SCHEDULED, Condition.PROVISIONED, Condition.RUNNING, Condition.STARTING,
        Condition.STAGING, Condition.UNREACHABLE,
    ]  # fmt: skip
    instances = [instance(condition.value, condition, 10) for condition in conditions]
    order = [made.id for made in plan.kill_order(instances, "YOUNGEST_FIRST")]
    assert order[:4] == ["Unreachable", "Staging", "Starting", "Running"]
    assert set(order[4:]) == {"Killing", "Scheduled", "Provisioned"}


@pytest.mark.parametrize(("selection", "order"), [("YOUNGEST_FIRST", "cba"), ("OLDEST_FIRST", "abc")])
@pytest.mark.parametrize("condition", [Condition.RUNNING, Condition.STAGING, Condition.STARTING])
def test_scale_down_orders_equal_instances_by_age(selection: str, order: str, condition: Condition) -> None:
    instances = [instance("b", condition, 20), instance("a", condition, 30), instance("c", condition, 10)]
    assert [made.id for made in plan.kill_order(instances, selection)] == list(order)


def test_instances_marked_for_kill_are_all_killed_first() -> None:
    instances = [instance(name, Condition.RUNNING, age) for name, age in (("a", 30), ("b", 20), ("c", 10))]
    chosen = plan.scaling_proposition(instances, ["a", "b"], APP, 2, AGENTS)
    assert [made.id for made in chosen] == ["a", "b"]
    chosen = plan.scaling_proposition(instances, ["a"], APP, 1, AGENTS)
    assert [made.id for made in chosen] == ["a", "c"]


def test_instance_that_is_no_longer_wanted_does_not_count() -> None:
    instances = [instance(name, Condition.RUNNING, 10) for name in "ab"]
    instances[0].wanted = False
    assert plan.scaling_proposition(instances, [], APP, 1, AGENTS) == []


@pytest.mark.parametrize(
    ("least", "over", "expected"),
    [(1, 1, (0, 8)), (1, 0, (0, 5)), (0.5, 0, (2, 4)), (0, 0, (4, 4)), (0.9, 0.3, (0, 5))],
)
def test_restart_keeps_within_the_upgrade_strategy(least: float, over: float, expected: tuple[int, int]) -> None:
    strategy = {"minimumHealthCapacity": least, "maximumOverCapacity": over}
    app = new_app({**SPEC, "healthChecks": [], "upgradeStrategy": strategy}, "v2")
    running = [instance(str(number), Condition.RUNNING, 10, app) for number in range(4)]
    assert plan.restart_bounds(app, running) == expected


def test_health_is_alive_after_a_success_later_than_every_failure() -> None:
    fresh = Health()
    assert not fresh.alive
    passed = fresh.passed("1")
    assert passed.alive
    failed = passed.failed("2", "500").failed("3", "500")
    assert (failed.alive, failed.consecutive_failures, failed.last_failure_cause) == (False, 2, "500")
    again = failed.passed("4")
    assert (again.alive, again.consecutive_failures, again.first_success) == (True, 0, "1")


def test_service_ports_end_with_the_range() -> None:
    taken = set(plan.PORT_RANGE) - {20000}
    spec = plan.assign_service_ports(SPEC, None, taken)
    assert plan.service_ports(spec) == [20000]
    with pytest.raises(plan.PortsExhaustedError):
        plan.assign_service_ports(SPEC, None, plan.PORT_RANGE)


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ("", True), ("a", True), ("b", False), ("a==x", True), ("a == x", True), ("a!=x", False), ("b!=x", False),
        ("a in (x,y)", True), ("a notin (x, y)", False), ("a notin ()", True), ("a,b", False), (r"c\/d==e\,f", True),
    ],
)  # fmt: skip
def test_label_selector_selects_apps(selector: str, selected: bool) -> None:
    assert labels.parse(selector)({"a": "x", "c/d": "e,f"}) is selected


@pytest.mark.parametrize("selector", ["a=b", "a,", "a==", "(a)", "a in x", "a in (x", "a b", "a/b"])
def test_an_invalid_label_selector_is_refused(selector: str) -> None:
    with pytest.raises(labels.SelectorError):
        labels.parse(selector)


@pytest.mark.parametrize(
    ("cursor", "skip", "limit", "lines"),
    [
        ("BEG", 0, 0, "abc"), ("END", 0, 0, ""), ("END", -2, 0, "bc"), ("BEG", 1, 1, "b"), ("2", 0, 0, "bc"),
        ("END", -9, 2, "ab"), ("99", 0, 0, ""), ("BEG", 9, 0, ""),
    ],
)  # fmt: skip
def test_log_excerpt_follows_cursor_skip_and_limit(cursor: str, skip: int, limit: int, lines: str) -> None:
    assert excerpt(b"a\nb\nc\n", cursor, skip, limit) == "".join(f"{line}\n" for line in lines).encode()


def test_group_dependency_waits_for_every_app_in_it() -> None:
    def app(app_id: str, *dependencies: str) -> App:
        return new_app({**SPEC, "id": app_id, "dependencies": list(dependencies)}, "v1")

    apps = {a.id: a for a in (app("/web", "/data"), app("/data/a"), app("/data/b", "/data/a"), app("/c", "/c"))}
    ranks = {app_id: plan.dependency_rank(app_id, apps) for app_id in apps}
    assert ranks == {"/web": 3, "/data/a": 1, "/data/b": 2, "/c": 1}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.text("ab/", max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=2),
    max_leaves=4,
)
CONTAINER = {"docker": {"image": "x", "portMappings": [{"containerPort": 80}]}, "portMappings": [{}], "type": "MESOS"}


def create(body: Any) -> dict[str, Any]:
    return definition.create(body, DIALECT)


def accepted(read: Callable[[Any], dict[str, Any]], body: Any) -> dict[str, Any] | None:
    """The stored form of the body; None if it is refused with a status that Marathon or Metronome uses."""
    try:
        return read(body)
    except ApiError as refusal:
        if refusal.status not in (422, 500):
            raise
        return None


@given(st.dictionaries(st.sampled_from(sorted(DIALECT.app.fields)), JSON, max_size=4))
def test_any_definition_is_refused_or_unchanged_by_an_empty_update(changes: dict[str, Any]) -> None:
    spec = accepted(create, {"id": "/web", "cmd": "sleep 1", **changes})
    if spec is not None:
        # The first update can add a portIndex: only then there are ports that were not given (AppNormalization.scala).
        updated = definition.update({}, spec, DIALECT)
        assert updated.keys() == spec.keys() - {"resourceLimits", "executorResources"}
        assert definition.update({}, updated, DIALECT) == updated


@given(st.sampled_from(sorted(CONTAINER)), JSON)
def test_any_container_is_accepted_or_refused_but_never_a_crash(field: str, value: Any) -> None:
    container = {**CONTAINER, field: value}
    accepted(create, {"id": "/web", "container": container, "networks": [{"mode": "host"}]})


@given(st.dictionaries(st.sampled_from(["cmd", "env", "volumes", "secrets", "placement", "docker", "ucr"]), JSON))
def test_any_job_is_accepted_or_refused_but_never_a_crash(changes: dict[str, Any]) -> None:
    accepted(job_spec, {"id": "a", "run": {"cmd": "b", "cpus": 1, "mem": 32, "disk": 0, **changes}})
