"""The loop: observe, decide, perform one step, again. It keeps no state that a restart would miss."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from bgci.dcos.marathon import Locked, Marathon
from bgci.engine.model import (
    Action,
    App,
    Cause,
    Create,
    Delete,
    Done,
    Fail,
    Goal,
    Kill,
    Observation,
    Policy,
    Release,
    Scale,
    Step,
    Task,
    Wait,
)
from bgci.engine.plan import decide
from bgci.errors import BgciError, ConflictError, DeadlineError, UnavailableError, UnhealthyError
from bgci.operations.observer import Observer
from bgci.reporting.journal import Journal
from bgci.reporting.rollout_log import described, summary, told

FASTEST_POLL = 0.1  # seconds: right after something happened
SLOWEST_POLL = 0.5
NUDGE_AFTER = 10.0  # seconds without a word from a load balancer that should have followed (hazard 38)

AT_DEADLINE: dict[Cause, type[BgciError]] = {
    Cause.HEALTH: UnhealthyError,
    Cause.UNREACHABLE: UnavailableError,
    Cause.LOCK: ConflictError,
}


class Reporter(Protocol):
    """What the driver tells a person (report.console)."""

    def step(self, text: str) -> None: ...
    def wait(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...


@dataclass
class Times:
    """Seconds. ``waited``: by cause, without the last look of each wait, which is ours, not the platform's."""

    total: float = 0.0
    waited: dict[Cause, float] = field(default_factory=dict)

    @property
    def limit(self) -> float:
        """The physical limit: start-up and health, load balancers, drains, ends of tasks."""
        return sum(self.waited.values())

    @property
    def overhead(self) -> float:
        """Overhead over the limit, as a share of it; 0 when nothing had to be waited for."""
        return (self.total - self.limit) / self.limit if self.limit else 0.0


@dataclass(frozen=True)
class Outcome:
    message: str
    seen: Observation
    times: Times
    actions: int


class Driver:
    """Runs one goal. ``timeout`` in seconds; ``cancelled`` is asked before each step and may raise."""

    def __init__(
        self,
        marathon: Marathon,
        observer: Observer,
        *,
        journal: Journal,
        reporter: Reporter,
        timeout: float,
        cancelled: Callable[[], None] = lambda: None,
    ) -> None:
        self.marathon = marathon
        self.observer = observer
        self.journal = journal
        self.reporter = reporter
        self.timeout = timeout
        self.cancelled = cancelled
        self.last: Observation | None = None
        self._times = Times()
        self._began = time.monotonic()
        self._seen_healthy: set[str] = set()
        self._killed: set[str] = set()
        self._short_since: float | None = None
        self._draining_since: float | None = None

    def run(self, release: Release, goal: Goal, policy: Policy) -> Outcome:
        """Reach the goal. Raises the error whose exit code says why not; the state it leaves can be finished."""
        waiting, actions, seen = _Waiting(), 0, None
        while True:
            self.cancelled()
            seen, step = self._look(release, goal, policy, seen)
            waiting = self._account(waiting, step)
            match step:
                case Done(message):
                    self._times.total = time.monotonic() - self._began
                    return Outcome(message, seen, self._times, actions)
                case Fail(message, remedy, overdue):
                    raise (DeadlineError if overdue else ConflictError)(message, remedy=remedy)
                case Wait():
                    self._wait(step, waiting, seen)
                case _:
                    actions += 1
                    try:
                        self._perform(step, seen, release)
                    except Locked as locked:
                        self._wait(Wait(Cause.LOCK, locked.message), waiting, seen)

    def _look(
        self, release: Release, goal: Goal, policy: Policy, before: Observation | None
    ) -> tuple[Observation, Step]:
        try:
            seen = self.observe(release.group)
        except UnavailableError as error:
            if before is None:
                raise
            return before, Wait(Cause.UNREACHABLE, error.message)
        self.journal.observed(summary(seen))
        return seen, decide(seen, goal, policy)

    def observe(self, group: str) -> Observation:
        """The group as it is now, with what this run remembers of it."""
        seen = self.observer.observe(group)
        self.last = replace(
            seen,
            apps=self._remembering(seen.apps),
            draining_since=self._draining_since,
            short_since=self._short_since,
        )
        return self.last

    # -- waiting --------------------------------------------------------------------------------------------------

    def _account(self, waiting: _Waiting, step: Step) -> _Waiting:
        """Book the wait that ended, begin the one that starts."""
        if isinstance(step, Wait) and step.cause is waiting.cause:
            return waiting
        if waiting.cause is not None:
            ended = max(0.0, time.monotonic() - waiting.since - waiting.pause)
            self._times.waited[waiting.cause] = self._times.waited.get(waiting.cause, 0.0) + ended
        if not (isinstance(step, Wait) and step.cause is Cause.DRAIN):
            self._draining_since = None
        if not (isinstance(step, Wait) and step.cause is Cause.TASKS):
            self._short_since = None
        if not isinstance(step, Wait):
            return _Waiting()
        self.journal.step({"wait": step.cause.value, "why": step.why})
        return _Waiting(step.cause, time.monotonic())

    def _wait(self, step: Wait, waiting: _Waiting, seen: Observation) -> None:
        self.reporter.wait(step.why)
        if step.cause is Cause.DRAIN and self._draining_since is None:
            self._draining_since = seen.now
        if step.cause is Cause.TASKS and self._short_since is None:
            self._short_since = seen.now
        left = self._began + self.timeout - time.monotonic()
        if left <= 0:
            raise AT_DEADLINE.get(step.cause, DeadlineError)(
                f"the time-out of {self.timeout:.0f}s has passed, still waiting: {step.why}{self._earlier(step, seen)}",
                remedy="nothing is lost: run the same command again to go on, or the rollback to go back",
            )
        if step.cause is Cause.LOAD_BALANCER and waiting.overdue():
            self.observer.request_reload()
        waiting.pause = min(SLOWEST_POLL, waiting.pause * 1.4)
        time.sleep(min(waiting.pause, left))

    def _earlier(self, step: Wait, seen: Observation) -> str:
        """Why it was unhealthy before: a task that has just been restarted for it shows no failing check."""
        said = [complaint for app in seen.apps if (complaint := self.observer.complaint(app.id))]
        return "".join(f"; {text}" for text in said if step.cause is Cause.HEALTH and text not in step.why)

    # -- acting ---------------------------------------------------------------------------------------------------

    def _perform(self, step: Action, seen: Observation, release: Release) -> None:
        self.journal.step(described(step))
        self.reporter.step(told(step, release))
        match step:
            case Create():
                self._create(step, seen, release)
            case Scale(app_id, instances):
                self.marathon.scale(app_id, instances)
            case Kill(task_ids):
                owners = [app for app in seen.apps if {task.id for task in app.tasks} & set(task_ids)]
                if self._unchanged(owners, task_ids):
                    # Our own deployment that waits for one of them is cancelled; another app's lock is respected.
                    ours = any(app.deployments and len(app.healthy) < app.instances for app in owners)
                    self.marathon.kill(task_ids, scale=True, force=ours)
                    self._killed |= set(task_ids)
            case Delete(app_id):
                owners = [app for app in seen.apps if app.id == app_id]
                if self._unchanged(owners, [task.id for app in owners for task in app.tasks]):
                    self.marathon.delete(app_id)

    def _create(self, step: Create, seen: Observation, release: Release) -> None:
        app = self.observer.new_app(step, seen, release)
        if seen.apps and not step.swappable:
            self.reporter.warn(
                f"{seen.apps[0].id} was not deployed by bgci: going back from this canary will cut its open sessions"
            )
        try:
            self.marathon.create(app)
        except ConflictError:
            # Perhaps it is ours, and only the answer to the first try was lost.
            if not any(mine.revision == release.revision for mine in self.observe(release.group).apps):
                raise

    def _unchanged(self, owners: Sequence[App], task_ids: Sequence[str]) -> bool:
        """Whether these tasks still are what was decided on: a stale id would take the task that runs in its place
        (hazard 21), and what has become healthy meanwhile may have sessions by now.
        """

        def state(apps: Iterable[App]) -> set[tuple[str, bool | None, bool]]:
            return {(task.id, task.healthy, task.dying) for app in apps for task in app.tasks if task.id in task_ids}

        now = self._remembering(self.observer.apps([app.id for app in owners]))
        return state(now) == state(owners)

    def _remembering(self, apps: tuple[App, ...]) -> tuple[App, ...]:
        """What Marathon does not say: who was healthy before it got a new leader (hazard 39), and whom we have had
        killed but is listed as running until Mesos says otherwise."""
        self._seen_healthy |= {task.id for app in apps for task in app.healthy}

        def remembered(task: Task) -> Task:
            return replace(
                task,
                ever_healthy=task.ever_healthy or task.id in self._seen_healthy,
                dying=task.dying or task.id in self._killed,
            )

        return tuple(replace(app, tasks=tuple(remembered(task) for task in app.tasks)) for app in apps)


@dataclass
class _Waiting:
    """The wait that is going on, over several looks."""

    cause: Cause | None = None
    since: float = 0.0
    pause: float = FASTEST_POLL
    nudged: float = 0.0

    def overdue(self) -> bool:
        """Whether a load balancer should be nudged now: not in the first seconds, and not at every look."""
        now = time.monotonic()
        if now - max(self.since, self.nudged) < NUDGE_AFTER:
            return False
        self.nudged = now
        return True
