"""A release in a world that changes as a test says: for the runs whose new revision turns bad."""

from __future__ import annotations

from dataclasses import replace

from bgci.engine.decisions import Goal, Kind, Policy, Step
from bgci.engine.early_end import LAUNCH_TIME
from bgci.engine.hold import STEADY
from bgci.engine.observation import App, Observation, Replica, Server, Serving, Task
from bgci.engine.rollout import Rollout

UP, DOWN, MAINT, ABSENT = Serving.UP, Serving.DOWN, Serving.MAINT, Serving.ABSENT
N = 4
HEALTH_TIME = 30.0
LIMIT = LAUNCH_TIME + HEALTH_TIME + STEADY
ROLLING = Policy("rolling", wave=1)


class World:
    """N instances of v1 beside some of v2, at one load balancer; ``canary`` and ``servers`` change as a test says."""

    def __init__(
        self, policy: Policy, canaries: int, *, kind: Kind = Kind.PROMOTE, baseline: int = 0, drained: int = 0
    ) -> None:
        baseline = baseline or (N - canaries if policy.strategy == "rolling" else N)
        self.rollout = Rollout(Goal(kind, "v2", N, canaries), policy)
        self.now, self.started = 1000.0, 10
        self.baseline = app("blue", "v1", 1.0, baseline)
        self.canary = app("green", "v2", 2.0, canaries)
        self.servers = {task.id: UP for task in self.canary.tasks}
        self.servers |= {task.id: MAINT if n < drained else UP for n, task in enumerate(self.baseline.tasks)}
        self.rollout.memory = replace(self.rollout.memory, kept=app("blue", "v1", 1.0, N))

    def look(self, seconds: float = 0.0) -> Step:
        """The engine's step so many seconds later."""
        self.now += seconds
        servers = {task_id: Server(serving) for task_id, serving in self.servers.items()}
        replica = Replica("http://lb", servers, worker=7, worker_started=1.0)
        return self.rollout.decide(Observation(self.now, (self.baseline, self.canary), (replica,)))

    def crash(self, number: int) -> None:
        """A task of the canary ends by itself, and its server is removed."""
        self.servers.pop(self.canary.tasks[number].id, None)
        self.canary = replace(self.canary, tasks=self.canary.tasks[:number] + self.canary.tasks[number + 1 :])

    def restart(self) -> None:
        """Marathon has started a task in the place of the one that ended: it is healthy and in rotation."""
        self.started += 1
        task = Task(f"green.{self.started}", True)
        self.servers[task.id] = UP
        self.canary = replace(self.canary, tasks=(*self.canary.tasks, task))

    def blip(self, number: int = 0) -> Step:
        """A crash, and two seconds later all is as before. Returns the last step."""
        self.crash(number)
        self.look(0.5)
        self.restart()
        return self.look(2.0)

    @property
    def degraded(self) -> str:
        return self.rollout.memory.degraded


def app(colour: str, revision: str, started_at: float, count: int) -> App:
    tasks = tuple(Task(f"{colour}.{n}", True) for n in range(count))
    shown = App(f"/web-{colour}", count, tasks, revision, colour, N, True, N, started_at, False, started_at)
    return replace(shown, health_time=HEALTH_TIME, configured_at=1.0)
