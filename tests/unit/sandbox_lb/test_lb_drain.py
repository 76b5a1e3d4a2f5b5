"""The pair rules, as they were measured on the real marathon-lb (docs/platform.md, Pairs)."""

from __future__ import annotations

import copy
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from lb_world import CHECK, Json, a_task, colour

from bgci.sandbox.loadbalancer.drain import drain_count, merge_groups, parse_time


def tasks(prefix: str, count: int, healthy: int | None = None) -> list[Json]:
    healthy = count if healthy is None else healthy
    return [a_task(f"{prefix}{number}", alive=number < healthy) for number in range(count)]


def draining(*apps: Json) -> list[str]:
    """The ids of the draining tasks of the one group."""
    (merged,) = merge_groups(copy.deepcopy(apps))
    assert merged["id"] == "/web"
    return [task["id"] for task in merged["tasks"] if task.get("draining")]


def pair(old: int, new: int, *, target: int | None, healthy: int | None = None, **times: str) -> list[str]:
    return draining(
        colour("blue", *tasks("old", old), day=1, target=target, scaled=times.get("old_scaled", "10:00:00")),
        colour("green", *tasks("new", new, healthy), day=2, target=target, scaled=times.get("new_scaled", "11:00:00")),
    )


@pytest.mark.parametrize(
    ("situation", "expected"),
    [
        ({"old": 3, "new": 1, "target": 3}, ["old0"]),
        ({"old": 3, "new": 3, "target": 3, "healthy": 2}, ["old0", "old1"]),
        ({"old": 1, "new": 3, "target": 3, "old_scaled": "12:00:00"}, ["new0"]),
        ({"old": 1, "new": 3, "target": None, "old_scaled": "12:00:00"}, ["old0"]),
        ({"old": 8, "new": 2, "target": 10}, []),
        ({"old": 8, "new": 2, "target": 10, "old_scaled": "12:00:00"}, []),
        ({"old": 3, "new": 3, "target": 3, "old_scaled": "11:00:00"}, ["old0", "old1", "old2"]),
    ],
    ids=[
        "one new of three",
        "one of three new ones is not healthy yet",
        "after a kill with scale the old one is the last scaled: roles swapped",
        "the same without the label",
        "hybrid, new scaled last",
        "hybrid, old scaled last",
        "scaled at the same moment",
    ],
)
def test_draining_tasks_are_those_measured_on_the_real_marathon_lb(
    situation: dict[str, Any], expected: list[str]
) -> None:
    assert pair(**situation) == expected


def test_lowest_ids_drain_in_any_order_of_the_list() -> None:
    old = colour("blue", a_task("c"), a_task("a"), a_task("b"), day=1, target=3)
    new = colour("green", a_task("z"), day=2, target=3)
    assert draining(old, new) == draining(new, old) == ["a"]


def test_the_result_is_the_old_app_with_the_tasks_of_both() -> None:
    old, new = colour("blue", a_task("o"), day=1, target=1), colour("green", a_task("n"), day=2, target=1)
    (merged,) = merge_groups([new, old])
    assert [task["id"] for task in merged["tasks"]] == ["o", "n"]
    assert merged is old


def test_a_second_pass_over_the_same_apps_adds_the_new_tasks_again_and_drains_for_them() -> None:
    """marathon-lb's second pass after an invalid configuration (marathon_lb.py 1714-1722, 1902-1930)."""
    apps = [colour("blue", *tasks("old", 2), day=1, target=2), colour("green", *tasks("new", 2, 1), day=2, target=2)]
    for expected in (
        [("old0", True), ("old1", False), ("new0", False), ("new1", False)],
        [("new0", True), ("new1", False), ("old0", True), ("old1", False), ("new0", True), ("new1", False)],
    ):
        (merged,) = merge_groups(apps)
        assert [(task["id"], task.get("draining", False)) for task in merged["tasks"]] == expected


def test_a_dying_task_with_an_old_live_result_counts_as_healthy() -> None:
    dying = a_task("n1", state="TASK_KILLING")
    old = colour("blue", *tasks("old", 2), day=1, target=2)
    assert draining(old, colour("green", a_task("n0"), dying, day=2, target=2)) == ["old0", "old1"]


def test_without_health_checks_on_the_app_listed_last_instances_count_as_healthy() -> None:
    old = colour("blue", *tasks("old", 2), day=1, target=2)
    new = {**colour("green", a_task("n", alive=None), day=2, target=2, instances=2), "healthChecks": []}
    assert draining(old, new) == ["old0", "old1"]
    assert draining(new, old) == []


def test_results_that_are_missing_count_as_not_healthy() -> None:
    silent = a_task("n0")
    del silent["healthCheckResults"]
    assert draining(colour("blue", a_task("o"), day=1), colour("green", silent, a_task("n1"), day=2)) == ["o"]
    assert draining(colour("blue", a_task("o"), day=1), colour("green", silent, day=2)) == []


def test_equal_dates_make_the_app_listed_first_the_new_one() -> None:
    first, second = colour("blue", a_task("b"), day=1), colour("green", a_task("g"), day=1)
    assert draining(first, second) == ["g"]
    assert draining(second, first) == ["b"]


def test_an_app_without_a_date_is_the_old_one() -> None:
    undated = colour("blue", a_task("b"), day=9)
    del undated["labels"]["HAPROXY_DEPLOYMENT_STARTED_AT"]
    assert draining(undated, colour("green", a_task("g"), day=1)) == ["b"]


def test_a_third_app_is_merged_into_the_result_of_the_first_two() -> None:
    apps = [colour(name, *tasks(name, 2), day=day) for day, name in enumerate(("blue", "green", "red"), start=1)]
    # blue drains for green; then, with its two and green's two tasks, for red: as many again.
    assert draining(*apps) == ["blue0", "blue1"]
    (merged,) = merge_groups(apps)
    assert len(merged["tasks"]) == 6


def test_apps_without_a_group_are_left_alone() -> None:
    lone = {"id": "/other", "labels": {}, "tasks": [a_task("x")], "healthChecks": [CHECK]}
    assert merge_groups([lone]) == [lone]


def test_groups_with_and_without_a_slash_are_the_same() -> None:
    old, new = colour("blue", a_task("o"), day=1), colour("green", a_task("n"), day=2)
    new["labels"]["HAPROXY_DEPLOYMENT_GROUP"] = "/web"
    assert draining(old, new) == ["o"]


def test_h09_a_missing_target_label_raises_key_error() -> None:
    old, new = colour("blue", a_task("o"), day=1), colour("green", a_task("n"), day=2, target=1)
    del new["labels"]["HAPROXY_DEPLOYMENT_TARGET_INSTANCES"]
    with pytest.raises(KeyError):
        merge_groups([old, new])


@pytest.mark.parametrize("other", ["2024-05-01T10:00:00.000000", None], ids=["naive", "missing"])
def test_h33_a_zoned_date_beside_a_naive_or_missing_one_raises_type_error(other: str | None) -> None:
    old, new = colour("blue", a_task("o"), day=1), colour("green", a_task("n"), day=2)
    new["labels"]["HAPROXY_DEPLOYMENT_STARTED_AT"] = "2024-05-02T10:00:00Z"
    old["labels"]["HAPROXY_DEPLOYMENT_STARTED_AT"] = other
    old["labels"] = {key: value for key, value in old["labels"].items() if value is not None}
    with pytest.raises(TypeError):
        merge_groups([old, new])


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [((4, 4, 1, 4), 1), ((4, 4, 4, 4), 4), ((4, 4, 4, 8), 0), ((2, 4, 4, 4), 2), ((0, 4, 4, 4), 0)],
)
def test_the_count_is_bounded_by_tasks_healthy_ones_and_the_surplus(
    numbers: tuple[int, int, int, int], expected: int
) -> None:
    listed, instances, healthy, target = numbers
    assert drain_count(tasks=listed, instances=instances, healthy_new=healthy, target=target) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-01T10:20:30.123456", datetime(2024, 5, 1, 10, 20, 30, 123456)),
        ("2024-05-01 10:20:30.5", datetime(2024, 5, 1, 10, 20, 30, 500000)),
        ("2024-05-01T10:20:30.1234567", datetime(2024, 5, 1, 10, 20, 30, 123456)),
        ("2024-05-01T10:20", datetime(2024, 5, 1, 10, 20)),
        ("2024-05-01", datetime(2024, 5, 1)),
        ("2024-05-01T10:20:30Z", datetime(2024, 5, 1, 10, 20, 30, tzinfo=timezone.utc)),
        ("2024-05-01T10:20:30.000z", datetime(2024, 5, 1, 10, 20, 30, tzinfo=timezone.utc)),
        ("2024-05-01T12:50:30+02:30", datetime(2024, 5, 1, 10, 20, 30, tzinfo=timezone.utc)),
        ("2024-05-01T08:20:30-02", datetime(2024, 5, 1, 10, 20, 30, tzinfo=timezone(timedelta(0)))),
    ],
)
def test_dates_are_read_as_written(text: str, expected: datetime) -> None:
    assert parse_time(text) == expected
    assert (parse_time(text).tzinfo is None) == (expected.tzinfo is None)


@pytest.mark.parametrize("text", ["", "yesterday", "2024-13-01", "2024-05-01T25:00:00", "2024-05-01T10:00:00 CEST"])
def test_an_invalid_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_time(text)
