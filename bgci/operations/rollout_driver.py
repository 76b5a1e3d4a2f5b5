"""The loop of a rollout: observe, ask the engine, perform one step, again. It decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bgci.dcos.marathon import Locked, Marathon
from bgci.engine.decisions import (
    Action,
    Cause,
    Create,
    Delete,
    Done,
    Ending,
    Fail,
    Goal,
    Kill,
    Policy,
    Release,
    Scale,
    Step,
    Wait,
)
from bgci.engine.observation import Observation
from bgci.engine.rollout import Rollout
from bgci.errors import BgciError, ConflictError, DeadlineError, UnavailableError, UnhealthyError
from bgci.operations.observer import Observer
from bgci.operations.stopwatch import Stopwatch
from bgci.reporting.journal import Journal
from bgci.reporting.rollout_log import told

# Seconds for which a load balancer can lag behind Marathon before all apps are compared with it, and between two looks.
DIAGNOSE_AFTER, DIAGNOSE_EVERY = 12.0, 15.0

ERRORS: dict[Ending, type[BgciError]] = {
    Ending.CONFLICT: ConflictError,
    Ending.UNHEALTHY: UnhealthyError,
    Ending.UNAVAILABLE: UnavailableError,
    Ending.TIMEOUT: DeadlineError,
}


class Reporter(Protocol):
    """Tells a person about the rollout (reporting.console)."""

    def step(self, text: str) -> None: ...
    def wait(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...


@dataclass(frozen=True)
class Outcome:
    message: str
    observation: Observation
    times: Stopwatch
    actions: int


class Driver:
    """Runs one goal. ``cancelled`` is called before each step and may raise."""

    def __init__(
        self,
        marathon: Marathon,
        observer: Observer,
        *,
        journal: Journal,
        reporter: Reporter,
        cancelled: Callable[[], None] = lambda: None,
    ) -> None:
        self.marathon = marathon
        self.observer = observer
        self.journal = journal
        self.reporter = reporter
        self.cancelled = cancelled
        self.last: Observation | None = None
        self._lags_since: float | None = None
        self._diagnosed = 0.0
        self._diagnosis = ""  # why a load balancer lags; empty while none does

    def run(self, release: Release, goal: Goal, policy: Policy) -> Outcome:
        """Reach the goal. Raises the error whose exit code says why not; the same command can finish the state."""
        rollout, watch, actions = Rollout(goal, policy), Stopwatch(), 0
        self.journal.goal(goal, policy)
        while True:
            self.cancelled()
            observation, step = self._observe(rollout, release)
            if isinstance(step, Action):
                actions += 1
                watch.note(step)
                step = self._perform(step, observation, rollout, release)
            match step:
                case Done(message):
                    watch.stop()
                    return Outcome(message, observation, watch, actions)
                case Fail(message, remedy, ending):
                    raise ERRORS[ending](f"{message} {self._diagnosis}".rstrip(), remedy=remedy)
                case Wait():
                    self._wait(step, watch)

    def _observe(self, rollout: Rollout, release: Release) -> tuple[Observation, Step | None]:
        """The newest observation, and the step that the engine decides after it."""
        try:
            self.last = self.observer.observe(release.group)
        except UnavailableError as error:
            if self.last is None:
                raise
            step = rollout.unreachable(now := self.observer.now(), error.message)
            self.journal.unobserved(now, step)
            return self.last, step
        step = rollout.decide(self.last)
        self.journal.observed(self.last, step)
        return self.last, step

    def _wait(self, step: Wait, watch: Stopwatch) -> None:
        watch.note(step)
        self._diagnose(step)
        self.reporter.wait(f"{step.reason} {self._diagnosis}".rstrip())
        if step.request_reload:
            self.observer.request_reload()
        watch.sleep()

    def _diagnose(self, step: Wait) -> None:
        """Compare all apps with the load balancers while the wait for these goes on."""
        if step.cause not in (Cause.LOAD_BALANCER, Cause.DRAIN):
            self._lags_since, self._diagnosis = None, ""
            return
        now = self.observer.now()
        self._lags_since = now if self._lags_since is None else self._lags_since
        if now - self._lags_since >= DIAGNOSE_AFTER and now - self._diagnosed >= DIAGNOSE_EVERY:
            self._diagnosis, self._diagnosed = self.observer.diagnosis(), now

    def _perform(self, step: Action, observation: Observation, rollout: Rollout, release: Release) -> Step | None:
        """Perform the step; the next step where that is known without another observation."""
        self.reporter.step(told(step, release))
        affected = rollout.needs_confirmation(step)
        if affected and not rollout.confirms(step, self.observer.apps(affected)):
            self.journal.refused("changed", self.observer.now())
            return None
        try:
            self._request(step, observation, release)
        except Locked as locked:
            self.journal.refused("lock", now := self.observer.now(), locked.message)
            return rollout.locked(now, locked.message)
        rollout.performed(step)
        return None

    def _request(self, step: Action, observation: Observation, release: Release) -> None:
        match step:
            case Create():
                self._create(step, observation, release)
            case Scale(app_id, instances):
                self.marathon.scale(app_id, instances)
            case Kill(task_ids, force):
                self.marathon.kill(task_ids, scale=True, force=force)
            case Delete(app_id):
                self.marathon.delete(app_id)

    def _create(self, step: Create, observation: Observation, release: Release) -> None:
        app = self.observer.new_app(step, observation, release)
        if observation.apps and not step.swappable:
            self.reporter.warn(
                f"{observation.apps[0].id} was not deployed by bgci: going back from this canary will cut its sessions."
            )
        try:
            self.marathon.create(app)
        except ConflictError:
            # Perhaps the app is ours, and only the answer to the first try was lost.
            if not any(mine.revision == release.revision for mine in self.observer.observe(release.group).apps):
                raise
