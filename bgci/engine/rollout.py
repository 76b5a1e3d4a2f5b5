"""One run of one goal, without I/O and without a clock: it takes observations and returns steps.

The driver performs each step, reports the outcome to this object, and observes again. The tests and the models drive
the same object.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from bgci.engine.decisions import Action, Cause, Delete, Done, Fail, Goal, Kill, Kind, Policy, Step, Wait
from bgci.engine.degradation import degradation
from bgci.engine.early_end import earlier, ends_early
from bgci.engine.memory import Memory
from bgci.engine.observation import App, Observation
from bgci.engine.rules import next_step
from bgci.engine.situation import Situation
from bgci.errors import ConflictError, DeadlineError, RolledBackError, UnavailableError, UnhealthyError

RELOAD_AFTER = 10.0  # seconds of a load balancer's lag behind Marathon before bgci asks it to reload
AGAIN_AFTER = 1.0  # seconds before an accepted step without a visible effect is repeated
UNANSWERED_LIMIT = 60.0  # seconds without an answer of Marathon to a step

AT_DEADLINE = {Cause.HEALTH: UnhealthyError, Cause.UNREACHABLE: UnavailableError, Cause.LOCK: ConflictError}


class Rollout:
    """Decides for one run. ``memory``: of an earlier part of the run; a new run starts without one."""

    def __init__(self, goal: Goal, policy: Policy, memory: Memory | None = None) -> None:
        self.goal = goal
        self.policy = policy
        self.memory = memory or Memory()
        self._observation: Observation | None = None  # the last one, completed by the memory

    def decide(self, observation: Observation) -> Step:
        """The next step after this observation."""
        self.memory = self.memory.observed(observation, self.goal)
        self._observation = replace(observation, apps=self.memory.recall(observation.apps))
        refused = None if self.memory.degraded else self.memory.outside.refusal(self.goal)
        step = refused or self._gives_up() or next_step(self._situation())
        if isinstance(step, Done) and self.memory.degraded and self.goal.kind is not Kind.ROLLBACK:
            step = Fail(
                f"{self.goal.revision} was rolled back. {self.memory.degraded} {step.message}",
                "Correct the revision and release it again.",
                RolledBackError,
            )
        if isinstance(step, Kill):
            step = replace(step, force=self._waits_for(step))
        if isinstance(step, Action) and self.memory.accepted_since(step, observation.now - AGAIN_AFTER):
            # Only a wait meets the deadline: otherwise a Marathon that accepts steps without an effect would be asked
            # for ever.
            step = Wait(Cause.UNREACHABLE, "Marathon has accepted the last step and does not show it yet.")
        return self._settle(step, observation.now)

    def _situation(self) -> Situation:
        """The view of the rules. The goal of a run that gives up is the rollback."""
        goal = replace(self.goal, kind=Kind.ROLLBACK) if self.memory.degraded else self.goal
        return Situation(goal, self.policy, self._observation or Observation(0.0, (), ()), self.memory)

    def _gives_up(self) -> Fail | None:
        """Decide whether the run rolls back from now on, or ends."""
        reason = "" if self.memory.degraded else degradation(self._situation())
        if not reason:
            return None
        if self.goal.kind is not Kind.ROLLBACK and (self.policy.leave_degraded or self.memory.kept is None):
            return Fail(reason, f"Run `bgci rollback` of {self.goal.revision}.", UnhealthyError)
        self.memory = replace(self.memory, degraded=reason)
        return None

    def unreachable(self, now: float, problem: str) -> Step:
        """The next step when Marathon did not answer."""
        return self._settle(Wait(Cause.UNREACHABLE, problem), now)

    def unanswered(self, now: float, problem: str, lost: Action) -> Step:
        """The next step when it is unknown whether Marathon has performed ``lost``: observe, and go on from there.

        A lost answer must not end a release. Marathon that never answers to a step, while it can be read, does.
        """
        since = self.memory.unanswered_since
        outside = self.memory.outside.asked(lost, self._observation, answered=False)
        self.memory = replace(self.memory, unanswered_since=now if since is None else since, outside=outside)
        if since is not None and now - since >= UNANSWERED_LIMIT:
            return self._settle(Fail(problem, "Run the same command again.", UnavailableError), now)
        return self._settle(Wait(Cause.UNREACHABLE, problem), now)

    def locked(self, now: float, problem: str) -> Step:
        """The next step when Marathon has refused the last one because a deployment holds the app's lock."""
        return self._settle(Wait(Cause.LOCK, problem), now)

    def performed(self, step: Action, created: App | None = None) -> None:
        """Marathon has accepted the step. ``created``: the new app, where it has confirmed that."""
        self.memory = self.memory.performed(step, self._observation, self.goal, created)

    def needs_confirmation(self, step: Action) -> tuple[str, ...]:
        """The ids of the apps that must be read again before the step is performed; mostly none. Before a deletion:
        all of them."""
        return tuple(app.id for app in self._apps() if self._stopped(step, [app]))

    def confirms(self, step: Action, apps: Iterable[App]) -> bool:
        """Whether the tasks that the step would stop are still in the state on which it was decided.

        A stale task id kills the current task of its instance (hazard 21), and a task that has become healthy since can
        have sessions.
        """
        return self._stopped(step, self.memory.recall(apps)) == self._stopped(step, self._apps())

    def _apps(self) -> tuple[App, ...]:
        return self._observation.apps if self._observation else ()

    @staticmethod
    def _stopped(step: Action, apps: Iterable[App]) -> set[tuple[str | float | bool | None, ...]]:
        """The tasks that the step would stop, with the facts on which its safety depends; the sizes of the apps."""
        match step:
            case Kill(task_ids):
                hit = [app for app in apps if any(task.id in task_ids for task in app.tasks)]
                sizes = {(app.id, app.instances, app.alive) for app in hit}
                return sizes | {
                    (task.id, task.healthy, task.dying) for app in hit for task in app.tasks if task.id in task_ids
                }
            case Delete(app_id):
                # The other app serves from then on. And a change by others that is undone with the deletion is named.
                kept = {(app.id, app.instances, len(app.healthy), app.configured_at) for app in apps}
                return kept | {
                    (task.id, task.healthy, task.dying) for app in apps if app.id == app_id for task in app.tasks
                }
            case _:
                return set()

    def _waits_for(self, kill: Kill) -> bool:
        """Whether a deployment of ours waits for the health of a task that is killed: it is cancelled."""
        return any(
            app.deployments and len(app.healthy) < app.instances
            for app in self._apps()
            if any(task.id in kill.task_ids for task in app.tasks)
        )

    def _settle(self, step: Step, now: float) -> Step:
        """Apply the deadline and the reload request, remember the step, and name the changes by others at an end."""
        step = self._in_time(step, now)
        if isinstance(step, Done | Fail):
            return replace(step, message=self.memory.outside.named(step.message))
        self.memory = self.memory.decided(step, now)
        return step

    def _in_time(self, step: Step, now: float) -> Step:
        """The step, or the end of a wait that has taken too long or cannot succeed."""
        memory = self.memory
        if isinstance(step, Wait):
            began = now if memory.began is None else memory.began
            if now - began >= self.policy.timeout:
                return self._timed_out(step)
            if ended := ends_early(step, self._situation(), now - began):
                return ended
            quiet = now - max(memory.waiting_since, memory.reload_requested_at)
            lags = step.cause is Cause.LOAD_BALANCER and memory.waiting is Cause.LOAD_BALANCER
            step = replace(step, request_reload=step.request_reload or (lags and quiet >= RELOAD_AFTER))
        return step

    def _timed_out(self, step: Wait) -> Fail:
        return Fail(
            f"Timed out after {self.policy.timeout:.0f} s (--timeout). {step.reason}{earlier(step, self._situation())}",
            "Run the same command again to continue, or `bgci rollback`.",
            AT_DEADLINE.get(step.cause, DeadlineError),
        )
