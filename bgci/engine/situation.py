"""The one argument of rules and strategies: goal, policy, observation and memory, with what follows from them."""

from __future__ import annotations

from dataclasses import dataclass

from bgci.engine.decisions import Goal, Policy
from bgci.engine.memory import Memory
from bgci.engine.observation import App, Observation, Task
from bgci.engine.rotation import drained_by_rule, lowest_ids, roles_swapped


@dataclass(frozen=True)
class Situation:
    """``observation`` includes the facts that the memory adds to it."""

    goal: Goal
    policy: Policy
    observation: Observation
    memory: Memory

    def unused(self, app: App) -> tuple[Task, ...]:
        """Tasks that are neither healthy nor in rotation: marathon-lb does not count them, and they serve no request.

        A task that was healthy once must be drained first.
        """
        return tuple(
            task
            for task in app.tasks
            if not task.healthy
            and not task.dying
            and not self.observation.is_up(task)
            and (not task.ever_healthy or self.observation.is_drained(task))
        )

    def in_maint(self, app: App, count: int) -> tuple[Task, ...]:
        """Healthy tasks in MAINT at every load balancer, among the ``count`` that marathon-lb continues to drain."""
        drains = lowest_ids(app, count)
        return tuple(task for task in app.healthy if task.id in drains and self.observation.in_maint_everywhere(task))


@dataclass(frozen=True)
class Hybrid(Situation):
    """Both run: the baseline, and the goal's revision as the canary."""

    baseline: App
    canary: App

    @property
    def roles_swapped(self) -> bool:
        return roles_swapped(self.baseline, self.canary)

    @property
    def initial_instances(self) -> int:
        """How many instances the baseline had when the canary was created."""
        return self.canary.baseline_instances or self.baseline.target or self.baseline.instances

    @property
    def drainable(self) -> int:
        """How many tasks of the baseline marathon-lb takes out of rotation now, while the roles are not swapped."""
        target = self.canary.target or self.baseline.instances
        return drained_by_rule(self.baseline.instances, len(self.canary.healthy), target)

    def can_swap_roles(self, instances: int) -> bool:
        """Whether marathon-lb would drain the canary beside a baseline of this size.

        With the roles swapped the baseline's TARGET counts. Without that label marathon-lb stops on a KeyError, for
        the whole cluster; a TARGET above the baseline's size keeps the canary in rotation.
        """
        return self.canary.swappable and self.baseline.target is not None and self.baseline.target <= instances
