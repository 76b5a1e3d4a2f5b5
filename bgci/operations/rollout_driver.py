"""The loop of a rollout: observe, ask the engine, perform one step, repeat. Only the engine decides."""

from __future__ import annotations

from dataclasses import dataclass

from bgci.dcos.marathon import Locked, Marathon
from bgci.engine.decisions import Action, Cause, Done, Fail, Goal, Policy, Release, Step, Wait
from bgci.engine.memory import starting_memory
from bgci.engine.observation import App, Observation
from bgci.engine.rollout import Rollout
from bgci.errors import UnavailableError
from bgci.interruption import SLACK, left, within
from bgci.operations.diagnosis import Diagnosis
from bgci.operations.kept_baseline import KeptBaseline
from bgci.operations.observer import Observer
from bgci.operations.performer import Gone, Performer
from bgci.operations.stopwatch import Stopwatch
from bgci.reporting.console import Console
from bgci.reporting.journal import Journal
from bgci.reporting.rollout_log import step_text


@dataclass(frozen=True)
class RolloutResult:
    message: str
    observation: Observation
    times: Stopwatch
    actions: int
    noticed: tuple[str, ...] = ()  # the changes by others, as sentences


class Driver:
    """Runs one goal."""

    def __init__(
        self,
        marathon: Marathon,
        observer: Observer,
        *,
        journal: Journal,
        console: Console,
        baseline: KeptBaseline | None = None,
    ) -> None:
        self.observer = observer
        self.performer = Performer(marathon, observer, console)
        self.journal = journal
        self.console = console
        self.baseline = baseline
        self.last: Observation | None = None
        self._diagnosis = Diagnosis(observer)
        self._locked: Action | None = None  # the last step, where a deployment's lock has refused it

    def run(self, release: Release, goal: Goal, policy: Policy, known: tuple[App, ...] = ()) -> RolloutResult:
        """Reach the goal. Raises the error with the matching exit code; the same command can finish the goal.

        ``known``: the apps as this command has left them; empty if it has not observed them yet.
        """
        with within(policy.timeout + SLACK):
            kept = self.baseline.load() if self.baseline else None
            rollout, watch, actions = Rollout(goal, policy, starting_memory(kept, known)), Stopwatch(), 0
            self.journal.goal(goal, policy, kept, known)
            self.observer.drain_known_within = 0.0
            while True:
                observation, step = self._observe(rollout, release, quickly=watch.launches)
                if isinstance(step, Action):
                    actions += 1
                    watch.note(step)
                    step = self._perform(step, observation, rollout, release)
                match step:
                    case Done(message):
                        watch.stop()
                        noticed = tuple(rollout.memory.outside.texts())
                        return RolloutResult(message, observation, watch, actions, noticed)
                    case Fail(message, remedy, ending):
                        raise ending(f"{message} {self._diagnosis.text}".rstrip(), remedy=remedy)
                    case Wait():
                        self._wait(step, watch)

    def _observe(self, rollout: Rollout, release: Release, *, quickly: bool) -> tuple[Observation, Step | None]:
        """The newest observation, and the step that the engine decides after it."""
        try:
            self.last = self.observer.observe(release.group, quickly=quickly)
        except UnavailableError as error:
            if self.last is None or left() <= 0:
                raise
            step = rollout.unreachable(now := self.observer.now(), error.message)
            self.journal.unobserved(now, step)
            return self.last, step
        known, degraded = len(rollout.memory.outside.changes), rollout.memory.degraded
        step = rollout.decide(self.last)
        if rollout.memory.degraded != degraded:
            self.console.warn(f"{rollout.memory.degraded} bgci rolls back.")
        for change in rollout.memory.outside.changes[known:]:
            self.console.warn(str(change))
        draining = isinstance(step, Wait) and step.cause is Cause.DRAIN
        self.observer.drain_known_within = max(0.1, rollout.policy.drain_timeout / 4) if draining else 0.0
        self.journal.observed(self.last, step)
        if self.baseline:
            self.baseline.save(rollout.memory.kept)
        return self.last, step

    def _wait(self, step: Wait, watch: Stopwatch) -> None:
        watch.note(step)
        self._diagnosis.update(step)
        self.console.wait(f"{step.reason} {self._diagnosis.text}".rstrip())
        if step.request_reload:
            self.observer.request_reload()
        watch.sleep()

    def _perform(self, step: Action, observation: Observation, rollout: Rollout, release: Release) -> Step | None:
        """Perform the step. Returns the next step if it needs no observation."""
        tried, self._locked = step == self._locked, None
        affected = rollout.needs_confirmation(step)
        try:
            if affected and not rollout.confirms(step, self.observer.apps(affected)):
                self.journal.refused("changed", self.observer.now())
                return None
            if not tried:
                self.console.step(step_text(step, release.revision))
            created = self.performer.perform(step, observation, release)
        except Gone:
            self.journal.refused("changed", self.observer.now())
            return None
        except Locked as locked:
            self._locked = step
            self.journal.refused("lock", now := self.observer.now(), locked.message)
            return rollout.locked(now, locked.message)
        except UnavailableError as error:
            self.journal.refused("unanswered", now := self.observer.now(), error.message)
            return rollout.unanswered(now, error.message, step)
        if created:
            self.journal.created(created, self.observer.now())
        rollout.performed(step, created)
        return None
