"""Builders of situations: observations and memories, and the engine's step in them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bgci.engine.decisions import Cause, Goal, Kind, Policy, Step, Wait
from bgci.engine.memory import ROOM_LIMIT, Memory
from bgci.engine.observation import App, Observation, Replica, Server, Serving, Task
from bgci.engine.rollout import Rollout

STRATEGIES = [Policy("bluegreen"), Policy("rolling")]
both = pytest.mark.parametrize("policy", STRATEGIES, ids=lambda policy: policy.strategy)
BLUEGREEN, ROLLING = STRATEGIES
CANARY = Goal(Kind.CANARY, "v2", target=4, instances=1)
PROMOTE = Goal(Kind.PROMOTE, "v2", target=4)
ROLLBACK = Goal(Kind.ROLLBACK, "v2", target=4)


def tasks(app_id: str, count: int, **fields: object) -> tuple[Task, ...]:
    return tuple(Task(**{"id": f"{app_id}.{n}", "healthy": True, **fields}) for n in range(count))  # type: ignore[arg-type]


def baseline(count: int = 4, **fields: object) -> App:
    shown = App("blue", count, tasks("blue", count), "v1", "blue", 4, True, None, started_at=1.0, last_scaling_at=1.0)
    return replace(shown, **fields)  # type: ignore[arg-type]


def canary(count: int = 1, **fields: object) -> App:
    shown = App("green", count, tasks("green", count), "v2", "green", 4, True, 4, started_at=2.0, last_scaling_at=2.0)
    return replace(shown, **fields)  # type: ignore[arg-type]


def seen(*apps: App, out: tuple[str, ...] = (), workers: tuple[int, ...] = (), **fields: object) -> Observation:
    """All healthy tasks are up in two load balancers, but for those in MAINT."""
    servers = {
        task.id: Server(Serving.MAINT if task.id in out else Serving.UP)
        for app in apps
        for task in app.tasks
        if task.healthy or task.id in out
    }
    replicas = (Replica("lb0", servers), Replica("lb1", servers, older_workers=workers))
    return Observation(**{"now": 100.0, "apps": apps, "replicas": replicas, **fields})  # type: ignore[arg-type]


def decide(observation: Observation, goal: Goal, policy: Policy, memory: Memory | None = None) -> Step:
    return Rollout(goal, policy, memory).decide(observation)


DRAINING = Memory(waiting=Cause.DRAIN, waiting_since=0.0)
WITHOUT_ROOM = Memory(waiting=Cause.ROOM, waiting_since=100.0 - ROOM_LIMIT - 1)


def waits_for(step: Step, cause: Cause) -> bool:
    return isinstance(step, Wait) and step.cause is cause


# -- apps and load balancers as letters, one for each task -------------------------------------------------------------

STATES = {"U": Serving.UP, "d": Serving.DOWN, "M": Serving.MAINT, ".": Serving.ABSENT}


def app(number: int, instances: int, servers: str, target: int, *, last: float = 0.0, base: int | None = None) -> App:
    """An app with a healthy task for each letter of ``servers``; ``s``: one that has not started."""
    name, revision = (("blue", "v1"), ("green", "v2"))[number]
    tasks = tuple(
        Task(f"{name}.{place}", None, ever_healthy=False) if letter == "s" else Task(f"{name}.{place}", True)
        for place, letter in enumerate(servers)
    )
    scaled = last or float(number + 1)
    return App(name, instances, tasks, revision, name, target, True, base or target, float(number + 1), False, scaled)


def look(baseline: str, canary: str, *apps: App) -> Observation:
    servers = {
        f"{name}.{place}": Server(STATES[letter])
        for name, letters in (("blue", baseline), ("green", canary))
        for place, letter in enumerate(letters)
        if letter in STATES
    }
    return Observation(100.0, apps, (Replica("lb0", servers),))


def with_server(observation: Observation, task_id: str, server: Server, **fields: object) -> Observation:
    """The same, with this server of the task at the last load balancer. ``fields``: of that load balancer."""
    *others, last = observation.replicas
    changed = replace(last, servers={**last.servers, task_id: server}, **fields)  # type: ignore[arg-type]
    return replace(observation, replicas=(*others, changed))
