"""What one of two load balancers shows counts, whichever of them it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bgci.engine.decisions import Cause, Delete, Done, Goal, Kill, Kind, Policy, Wait
from bgci.engine.memory import Memory
from bgci.engine.observation import App, Observation, Replica, Server, Serving, Task
from bgci.engine.rollout import Rollout

PROMOTE = Goal(Kind.PROMOTE, "v2", target=2)
TASK = Task("green.0", healthy=True)
each = pytest.mark.parametrize("other", [0, 1], ids=["the first", "the second"])


def app(app_id: str, count: int, **fields: object) -> App:
    tasks = tuple(Task(f"{app_id}.{n}", healthy=True) for n in range(count))
    shown = {"blue": App("blue", count, tasks, "v1", "blue", 2, True, None, 1.0, last_scaling_at=1.0)}
    shown["green"] = App("green", count, tasks, "v2", "green", 2, True, 2, 2.0, last_scaling_at=2.0)
    return replace(shown[app_id], **fields)  # type: ignore[arg-type]


def seen(
    *apps: App, other: int, there: dict[str, Serving], everywhere: dict[str, Serving] | None = None
) -> Observation:
    """All tasks are UP, but for those ``everywhere``; at the load balancer of number ``other`` also those ``there``."""
    up = {task.id: Serving.UP for one in apps for task in one.tasks} | (everywhere or {})
    servers = [up | there if number == other else up for number in (0, 1)]
    replicas = [
        Replica(f"lb{number}", {task_id: Server(serving) for task_id, serving in shown.items()})
        for number, shown in enumerate(servers)
    ]
    return Observation(100.0, apps, tuple(replicas))


def one(serving: Serving, rest: Serving, other: int) -> Observation:
    return seen(app("green", 1), other=other, there={TASK.id: serving}, everywhere={TASK.id: rest})


@each
def test_a_task_in_rotation_at_one_load_balancer_is_up(other: int) -> None:
    assert one(Serving.UP, Serving.MAINT, other).is_up(TASK)
    assert not one(Serving.DOWN, Serving.MAINT, other).is_up(TASK)


@each
def test_a_task_at_one_load_balancer_is_configured(other: int) -> None:
    assert one(Serving.DOWN, Serving.ABSENT, other).is_configured(TASK)
    assert not one(Serving.ABSENT, Serving.ABSENT, other).is_configured(TASK)


@each
@pytest.mark.parametrize("serving", [Serving.UP, Serving.DOWN, Serving.ABSENT])
def test_a_task_that_one_load_balancer_does_not_have_in_maint_is_not_in_maint_everywhere(
    other: int, serving: Serving
) -> None:
    assert not one(serving, Serving.MAINT, other).in_maint_everywhere(TASK)
    assert one(Serving.MAINT, Serving.MAINT, other).in_maint_everywhere(TASK)


@each
@pytest.mark.parametrize("busy", [Server(Serving.UP), Server(Serving.MAINT, sessions=1), Server(Serving.ABSENT)])
def test_h18_a_task_that_one_load_balancer_has_not_drained_is_not_drained(other: int, busy: Server) -> None:
    drained = one(Serving.MAINT, Serving.MAINT, other)
    assert drained.is_drained(TASK)
    replicas = list(drained.replicas)
    replicas[other] = replace(replicas[other], servers={TASK.id: busy})
    assert not replace(drained, replicas=tuple(replicas)).is_drained(TASK)


@each
def test_h18_an_older_worker_of_one_load_balancer_can_hold_sessions(other: int) -> None:
    drained = one(Serving.MAINT, Serving.MAINT, other)
    replicas = list(drained.replicas)
    replicas[other] = replace(replicas[other], older_workers=(7,))
    assert not replace(drained, replicas=tuple(replicas)).is_drained(TASK)


@each
def test_the_load_balancer_with_the_fewest_tasks_in_rotation_counts(other: int) -> None:
    assert seen(app("green", 2), other=other, there={"green.0": Serving.DOWN}).least_in_rotation == 1


@each
def test_a_promotion_is_not_done_while_one_load_balancer_does_not_serve_a_task(other: int) -> None:
    missing = seen(app("green", 2), other=other, there={"green.1": Serving.ABSENT})
    step = Rollout(PROMOTE, Policy()).decide(missing)
    assert isinstance(step, Wait)
    assert step.cause is Cause.LOAD_BALANCER
    assert f"at lb{other}" in step.reason
    assert isinstance(Rollout(PROMOTE, Policy()).decide(seen(app("green", 2), other=other, there={})), Done)


@each
def test_h18_the_baseline_is_not_deleted_while_one_load_balancer_serves_a_task_of_it(other: int) -> None:
    both = app("blue", 2), app("green", 2)
    maint = {"blue.0": Serving.MAINT, "blue.1": Serving.MAINT}
    assert Rollout(PROMOTE, Policy()).decide(seen(*both, other=other, there={}, everywhere=maint)) == Delete("blue")
    held = seen(*both, other=other, there={"blue.1": Serving.UP}, everywhere=maint)
    step = Rollout(PROMOTE, Policy()).decide(held)
    assert isinstance(step, Wait)
    assert step.cause is Cause.DRAIN


@each
def test_a_failed_task_that_one_load_balancer_serves_is_not_removed_as_unused(other: int) -> None:
    failed = Task("green.2", healthy=False, ever_healthy=False)
    surplus = app("green", 3, tasks=(*app("green", 2).tasks, failed))
    unused = seen(surplus, other=other, there={}, everywhere={failed.id: Serving.ABSENT})
    assert Rollout(PROMOTE, Policy()).decide(unused) == Kill((failed.id,))
    served = seen(surplus, other=other, there={failed.id: Serving.UP}, everywhere={failed.id: Serving.ABSENT})
    assert not isinstance(Rollout(PROMOTE, Policy()).decide(served), Kill)


@each
def test_a_canary_is_not_cut_while_one_load_balancer_has_no_task_of_the_baseline_in_rotation(other: int) -> None:
    rollback, cut = Goal(Kind.ROLLBACK, "v2", target=2), Policy(cut=True)
    both = app("blue", 2), app("green", 2)
    out = {"blue.0": Serving.MAINT, "blue.1": Serving.MAINT}
    assert Rollout(rollback, cut).decide(seen(*both, other=other, there={})) == Delete("green")
    assert Rollout(rollback, cut).decide(seen(*both, other=other, there=out)) != Delete("green")


@each
def test_one_load_balancer_without_a_task_in_rotation_is_an_outage(other: int) -> None:
    down = {"green.0": Serving.DOWN, "green.1": Serving.DOWN}
    assert Memory().observed(seen(app("green", 2), other=other, there=down), PROMOTE).outage_since == 100.0
    assert Memory().observed(seen(app("green", 2), other=other, there={}), PROMOTE).outage_since is None


@each
def test_a_task_of_the_canary_that_fell_at_one_load_balancer_has_turned_bad(other: int) -> None:
    both = app("blue", 2), app("green", 2)
    memory = Memory().observed(seen(*both, other=other, there={}), PROMOTE)
    fallen = memory.observed(seen(*both, other=other, there={"green.1": Serving.DOWN}), PROMOTE)
    assert fallen.turned_bad == {"green.1"}
