"""The whole plan of a goal, as a dry run shows it."""

from __future__ import annotations

import pytest

from bgci.engine.decisions import Create, Delete, Done, Fail, Goal, Kind, Policy
from bgci.engine.forecast import Forecast, forecast
from bgci.engine.observation import App, Observation, Replica, Serving, Task

BASELINE, CANARY = "/web-blue", "/web-green"


def alone(instances: int) -> Observation:
    tasks = tuple(Task(f"b{number}", True) for number in range(instances))
    app = App(BASELINE, instances, tasks, "v1", target=instances, swappable=True, started_at=10.0, last_scaling_at=10.0)
    return Observation(100.0, (app,), (Replica("http://lb"),))


def planned(kind: Kind, seen: Observation, target: int, strategy: str) -> Forecast:
    return forecast(Goal(kind, "v2", target), Policy(strategy=strategy), seen, CANARY)


def shape(plan: Forecast) -> list[str]:
    return [type(step).__name__ for step, _ in plan.steps]


@pytest.mark.parametrize("strategy", ["bluegreen", "rolling"])
@pytest.mark.parametrize(("instances", "target"), [(1, 1), (4, 4), (6, 4), (2, 5), (20, 20)])
def test_a_plan_reaches_its_goal_and_the_goal_after_it(strategy: str, instances: int, target: int) -> None:
    canary = planned(Kind.CANARY, alone(instances), target, strategy)
    assert isinstance(canary.end, Done)
    assert shape(canary)[0] == "Create"
    promoted = planned(Kind.PROMOTE, canary.observation, target, strategy)
    assert isinstance(promoted.end, Done)
    assert promoted.steps[-1][0] == Delete(BASELINE)
    assert [(app.id, app.instances, app.revision) for app in promoted.observation.apps] == [(CANARY, target, "v2")]
    back = planned(Kind.ROLLBACK, canary.observation, 0, strategy)
    assert isinstance(back.end, Done)
    assert back.steps[-1][0] == Delete(CANARY)
    assert [app.revision for app in back.observation.apps] == ["v1"]


@pytest.mark.parametrize("strategy", ["bluegreen", "rolling"])
def test_a_task_serves_at_each_moment_of_a_plan(strategy: str) -> None:
    plan = planned(Kind.PROMOTE, alone(4), 4, strategy)
    (replica,) = plan.observation.replicas
    assert [server.serving for server in replica.servers.values()] == [Serving.UP] * 4


def test_a_plan_without_apps_creates_all_instances() -> None:
    plan = forecast(Goal(Kind.CANARY, "v1", 3), Policy(), Observation(1.0, (), (Replica("http://lb"),)), BASELINE)
    assert [step for step, _ in plan.steps] == [Create(3, swappable=True)]
    assert isinstance(plan.end, Done)


def test_a_goal_that_is_refused_has_no_steps() -> None:
    plan = planned(Kind.ROLLBACK, replace_revision(alone(2)), 2, "bluegreen")
    assert isinstance(plan.end, Fail)
    assert plan.steps == ()


def test_a_plan_drains_a_surplus_beside_a_stand_in_of_the_same_revision() -> None:
    (app,) = replace_revision(alone(5)).apps
    larger = Observation(100.0, (App(**{**vars(app), "target": 4}),), (Replica("http://lb"),))
    plan = planned(Kind.PROMOTE, larger, 4, "bluegreen")
    assert shape(plan) == ["Create", "Kill", "Delete"]
    assert isinstance(plan.end, Done)
    assert [app.instances for app in plan.observation.apps] == [4]


def replace_revision(seen: Observation) -> Observation:
    (app,) = seen.apps
    return Observation(seen.now, (App(**{**vars(app), "revision": "v2"}),), seen.replicas)
