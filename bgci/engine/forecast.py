"""The whole plan of a goal, for --dry-run: the engine's own steps in a model of a cluster without failures. Pure.

In the model new tasks are healthy at the next observation, load balancers follow at once, and no session is open.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from bgci.engine.decisions import Action, Create, Done, Fail, Goal, Kill, Policy, Scale, Wait
from bgci.engine.observation import App, Observation, Replica, Server, Serving, Task
from bgci.engine.rollout import Rollout
from bgci.engine.rotation import drained_by_rule, lowest_ids, roles_swapped

MOST_STEPS = 400  # a longer plan is cut: 100 instances by waves of one need 300
SETTLED = 60.0  # seconds by which every awaited event has happened


@dataclass(frozen=True)
class Forecast:
    """``steps``: in their order, each with the apps before it. ``end``: None where the plan is cut."""

    steps: tuple[tuple[Action, tuple[App, ...]], ...]
    end: Done | Fail | None
    observation: Observation


def forecast(goal: Goal, policy: Policy, seen: Observation, new_id: str) -> Forecast:
    """The steps to the goal from this observation. new_id: of the app that would be created."""
    rollout = Rollout(goal, replace(policy, timeout=math.inf, drain_timeout=math.inf))
    world = _World(seen, new_id, goal)
    steps: list[tuple[Action, tuple[App, ...]]] = []
    for _ in range(MOST_STEPS):
        step = rollout.decide(world.observation)
        if isinstance(step, Done | Fail):
            return Forecast(tuple(steps), step, world.observation)
        if isinstance(step, Wait):
            world.settle()
            continue
        steps.append((step, world.observation.apps))
        world.perform(step)
        rollout.performed(step)
    return Forecast(tuple(steps), None, world.observation)


@dataclass
class _World:
    observation: Observation
    new_id: str
    goal: Goal
    born: int = field(default=0)

    def __post_init__(self) -> None:
        earlier = [task.id.rpartition("~")[2] for app in self.observation.apps for task in app.tasks if ".~" in task.id]
        self.born = max(map(int, earlier), default=-1) + 1  # this observation may be the end of another forecast
        self._observe(self.observation.apps, 1.0)

    def settle(self) -> None:
        """Let every awaited event happen."""
        apps = []
        for app in self.observation.apps:
            alive = [replace(task, healthy=True, ever_healthy=True) for task in app.tasks if not task.dying]
            alive += self._tasks(app.id, app.instances - len(alive), healthy=True)
            apps.append(replace(app, tasks=tuple(alive[: app.instances]), deployments=(), trouble="", complaint=""))
        self._observe(apps, SETTLED)

    def perform(self, step: Action) -> None:
        """Perform the step."""
        now, apps = self.observation.now, list(self.observation.apps)
        match step:
            case Create():
                apps.append(self._created(step, apps, now))
            case Scale(app_id, instances):
                apps = [self._scaled(app, instances, now) if app.id == app_id else app for app in apps]
            case Kill(task_ids):
                apps = [_killed(app, set(task_ids), now) for app in apps]
            case _:  # Delete; no plan restores a baseline, because nothing fails in this model
                apps = [app for app in apps if app.id != step.app_id]
        self._observe(apps, 1.0)

    def _created(self, step: Create, apps: list[App], now: float) -> App:
        return App(
            id=self.new_id,
            instances=step.instances,
            tasks=tuple(self._tasks(self.new_id, step.instances, healthy=None)),
            revision=apps[0].revision if step.stand_in else self.goal.revision,
            target=self.goal.target,
            swappable=step.swappable,
            stand_in=step.stand_in,
            baseline_instances=apps[0].instances if apps else None,
            started_at=max([now, *(app.started_at + 1 for app in apps)]),
            last_scaling_at=now,
        )

    def _scaled(self, app: App, instances: int, now: float) -> App:
        more = self._tasks(app.id, instances - len(app.tasks), healthy=None)
        return replace(app, instances=instances, tasks=(*app.tasks, *more)[:instances], last_scaling_at=now)

    def _tasks(self, app_id: str, count: int, *, healthy: bool | None) -> list[Task]:
        numbers = range(self.born, self.born + max(0, count))
        self.born += max(0, count)
        return [Task(f"{app_id}.~{number:06}", healthy, ever_healthy=bool(healthy)) for number in numbers]

    def _observe(self, apps: Iterable[App], seconds: float) -> None:
        found = tuple(sorted(apps, key=lambda app: app.started_at))
        out = _out_of_rotation(found)
        servers = {
            task.id: Server(Serving.MAINT if task.id in out else Serving.UP)
            for app in found
            for task in app.tasks
            if task.healthy and not task.dying
        }
        replicas = tuple(Replica(replica.url, servers=servers) for replica in self.observation.replicas)
        self.observation = Observation(self.observation.now + seconds, found, replicas)


def _killed(app: App, task_ids: set[str], now: float) -> App:
    left = tuple(task for task in app.tasks if task.id not in task_ids)
    fewer = len(app.tasks) - len(left)
    return replace(app, tasks=left, instances=app.instances - fewer, last_scaling_at=now) if fewer else app


def _out_of_rotation(apps: tuple[App, ...]) -> set[str]:
    """The tasks that marathon-lb drains."""
    if len(apps) != 2:
        return set()
    old, new = reversed(apps) if roles_swapped(*apps) else apps
    target = old.instances if new.target is None else new.target
    return lowest_ids(old, drained_by_rule(old.instances, len(new.healthy), target))
