"""The health of a canary's tasks during the tests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bgci.checks.canary_health import UNHEALTHY_LIMIT, CanaryHealth
from bgci.engine.observation import App, Task

ONE, TWO = Task("web.1", healthy=True), Task("web.2", healthy=True)
CANARY = App("/web-green", 2, (ONE, TWO))
BEGAN = 1_700_000_000.0  # 22:13:20 UTC


def seen(*apps: App | None, every: float = 1.0) -> CanaryHealth:
    """The health after observations that follow each other after so many seconds."""
    health = CanaryHealth(CANARY)
    for number, app in enumerate(apps):
        health = health.see(app, BEGAN + number * every)
    return health


def with_tasks(*tasks: Task, instances: int = 2) -> App:
    return replace(CANARY, tasks=tasks, instances=instances)


def test_a_canary_that_stays_healthy_has_no_finding() -> None:
    health = seen(CANARY, CANARY).ended(CANARY, BEGAN + 9)
    assert [health.trouble(task.id) for task in CANARY.tasks] == ["", ""]
    assert not health.all_lost


@pytest.mark.parametrize(
    ("after", "what"),
    [
        (None, "disappeared: /web-green was deleted"),
        (with_tasks(replace(ONE, dying=True), TWO), "is being killed"),
        (with_tasks(TWO), "disappeared"),
        (with_tasks(TWO, Task("web.3", healthy=True)), "was replaced by another one"),
        (with_tasks(TWO, instances=1), "disappeared: /web-green was scaled from 2 to 1 instances"),
        (
            replace(with_tasks(TWO, Task("web.1._app.2", None)), failure="last task failure: TASK_FAILED exit 1"),
            "was replaced by another one (last task failure: TASK_FAILED exit 1)",
        ),
    ],
)
def test_a_lost_task_is_named_with_event_and_time(after: App | None, what: str) -> None:
    assert seen(CANARY, after).trouble("web.1") == f"task web.1 {what}, noticed at 22:13:21 UTC"


def test_a_killed_task_is_reported_as_lost_since_its_first_absence_with_its_replacement() -> None:
    killed, replaced = with_tasks(replace(ONE, dying=True), TWO), with_tasks(TWO, Task("web.3", healthy=True))
    health = seen(CANARY, killed, replaced, replaced).ended(replaced, BEGAN + 60)
    assert health.trouble("web.1").endswith("replaced by another one, noticed at 22:13:21 UTC")
    assert health.trouble("web.2") == ""
    assert not health.all_lost


def test_all_lost_is_true_only_when_no_tested_task_runs_despite_replacements() -> None:
    assert not seen(with_tasks(TWO, Task("web.3", healthy=True))).all_lost
    assert seen(with_tasks(Task("web.4", healthy=True), Task("web.3", healthy=True))).all_lost


def test_one_missed_health_check_is_tolerated_and_a_lasting_failure_is_not() -> None:
    sick = replace(with_tasks(replace(ONE, healthy=False), TWO), complaint="health check failing (503)")
    assert seen(CANARY, sick, sick, CANARY).trouble("web.1") == ""
    assert seen(sick, CANARY, sick, every=UNHEALTHY_LIMIT - 1).trouble("web.1") == "", "it was healthy in between"
    lasting = seen(CANARY, sick, sick, CANARY, every=UNHEALTHY_LIMIT)
    assert lasting.trouble("web.1") == (
        "task web.1 was unhealthy (health check failing (503)), noticed at 22:13:25 UTC"
    ), "that it recovered does not undo it"


def test_at_the_end_a_failing_task_is_not_tolerated() -> None:
    sick = with_tasks(replace(ONE, healthy=False), TWO)
    assert seen(CANARY).ended(sick, BEGAN + 1).trouble("web.1").startswith("task web.1 was unhealthy")


def test_missing_health_results_are_tolerated_until_the_end() -> None:
    blank = with_tasks(replace(ONE, healthy=None), TWO)
    health = seen(CANARY, blank, blank, every=60)
    assert health.trouble("web.1") == ""
    assert health.without_result(blank)
    assert not health.without_result(CANARY)
    assert "has no health result" in health.ended(blank, BEGAN).trouble("web.1")


def test_a_larger_canary_is_tolerated() -> None:
    larger = replace(CANARY, instances=3, tasks=(*CANARY.tasks, Task("web.3", None)))
    health = seen(larger).ended(larger, BEGAN)
    assert not health.lost
    assert not health.without_result(larger), "the third one is not tested"
