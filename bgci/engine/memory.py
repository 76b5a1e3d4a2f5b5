"""What one run remembers between two observations. All of it can be lost: the next run starts without it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from bgci.engine.decisions import Cause, Kill, Step, Wait
from bgci.engine.observation import App, Observation, Task

# Seconds without a launch until a run takes the cluster to have no room for one more instance (see ``removal``).
ROOM_PATIENCE = 30.0


@dataclass(frozen=True)
class Memory:
    """``waiting`` since ``waiting_since``: the wait that goes on, over several observations."""

    began: float | None = None  # time of the first observation
    healthy_once: frozenset[str] = frozenset()  # ids of tasks that were healthy in this run
    killed: frozenset[str] = frozenset()  # ids of tasks that Marathon has accepted to kill
    complaints: Mapping[str, str] = field(default_factory=dict)  # by app id: its last failing health checks
    waiting: Cause | None = None
    waiting_since: float = 0.0
    reload_requested_at: float = 0.0
    no_room: bool = False  # for the whole run: the cluster did not launch one more instance in time

    def waited(self, cause: Cause, now: float) -> float:
        """Seconds for which the run has waited for this cause; 0 when it waits for something else."""
        return now - self.waiting_since if self.waiting is cause else 0.0

    # -- what changes it --------------------------------------------------------------------------------------------

    def observed(self, observation: Observation) -> Memory:
        return replace(
            self,
            began=observation.now if self.began is None else self.began,
            healthy_once=self.healthy_once | _healthy(observation.apps),
            complaints={**self.complaints, **{app.id: app.complaint for app in observation.apps if app.complaint}},
            no_room=self.no_room or self.waited(Cause.ROOM, observation.now) > ROOM_PATIENCE,
        )

    def decided(self, step: Step, now: float) -> Memory:
        if not isinstance(step, Wait):
            return replace(self, waiting=None)
        begins = step.cause is not self.waiting
        return replace(
            self,
            waiting=step.cause,
            waiting_since=now if begins else self.waiting_since,
            reload_requested_at=now if step.request_reload else self.reload_requested_at,
        )

    def performed(self, step: Step) -> Memory:
        return replace(self, killed=self.killed | set(step.task_ids)) if isinstance(step, Kill) else self

    # -- what it adds to an observation -----------------------------------------------------------------------------

    def recall(self, apps: Iterable[App]) -> tuple[App, ...]:
        """The apps with two facts that Marathon forgets.

        A new leader of Marathon does not know which tasks were healthy (hazard 39). And without Mesos' capability
        ``task_killing`` a killed task is listed as running until it has ended.
        """
        return tuple(replace(app, tasks=tuple(self._recalled(task) for task in app.tasks)) for app in apps)

    def _recalled(self, task: Task) -> Task:
        return replace(
            task,
            ever_healthy=task.ever_healthy or task.id in self.healthy_once,
            dying=task.dying or task.id in self.killed,
        )


def _healthy(apps: Iterable[App]) -> set[str]:
    return {task.id for app in apps for task in app.healthy}
