"""Whether a recorded run is one that the model can take: each observation follows from the one before by its moves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from cluster import (
    ABORTED,
    ABSENT,
    BAD,
    DOWN,
    DYING,
    HEALTHY,
    LEFTOVER,
    MAINT,
    MARK,
    NONE,
    OLDER,
    PHASE,
    SHIFT,
    START,
    STARTING,
    STOP,
    STOP_BOTH,
    UP,
    App,
    Rules,
    State,
    app_of,
    with_app,
)

from bgci.engine import observation as seen
from bgci.engine.decisions import Action, Create, Delete, Goal, Kill, Restore, Scale, Step

SERVERS = {
    seen.Serving.ABSENT: ABSENT,
    seen.Serving.UP: UP,
    seen.Serving.DOWN: DOWN,
    seen.Serving.MAINT: MAINT,
}
MOST = 8_000  # states that are looked at between two observations, the nearest ones


@dataclass(frozen=True)
class Look:
    """One recorded observation in the model's terms: of baseline and canary, instances, whether a deployment runs, and
    its tasks as phase and servers, in the order of their ids."""

    apps: tuple[tuple[int, bool, tuple[int, ...]] | None, ...]
    swapped: bool
    older: tuple[bool, ...]
    ids: tuple[tuple[str, ...], ...]


def look(observation: seen.Observation, goal: Goal) -> Look:
    found: list[seen.App | None] = [None, None]
    for app in observation.apps:
        found[app.revision == goal.revision] = app
    baseline, canary = found
    ids = tuple(tuple(sorted(task.id for task in app.tasks)) if app else () for app in found)
    return Look(
        tuple((app.instances, bool(app.deployments), _tasks(observation, app)) if app else None for app in found),
        bool(baseline and canary and baseline.last_scaling_at > canary.last_scaling_at),
        tuple(bool(replica.older_workers) for replica in observation.replicas),
        ids,
    )


def _tasks(observation: seen.Observation, app: seen.App) -> tuple[int, ...]:
    return tuple(
        _phase(task)
        | sum(
            SERVERS[replica.server(task.id).serving] << shift
            for replica, shift in zip(observation.replicas, SHIFT, strict=False)
        )
        for task in sorted(app.tasks, key=lambda task: task.id)
    )


def _phase(task: seen.Task) -> int:
    if task.dying:
        return DYING if task.healthy else ABORTED
    return {None: STARTING, True: HEALTHY, False: BAD if task.ever_healthy else STARTING}[task.healthy]


class Follower:
    """The states in which the cluster can be, given all that was observed so far."""

    def __init__(self, rules: Rules) -> None:
        self.rules = replace(rules, delayed=True, other_apps=True)
        self.states: set[State] = set()
        self.failures = 0  # observations before which a task or a check must have failed

    def begin(self, first: Look, base: int) -> None:
        self.states = set(self._all(first, base))

    def follow(self, step: Step | None, last: Look, now: Look) -> bool:
        """Whether this look can follow, after this step, if it is one that was performed."""
        before = self.states
        for down, fails in ((False, False), (True, False), (True, True)):
            self.rules, self.states = replace(self.rules, down=down, fails=fails), before
            states: Iterable[State] = before
            if isinstance(step, Action):
                states = self._performed(step, last)
            self.states = self._looked(self._matching(states, now), now)
            if self.states:
                self.failures += down
                return True
        return False

    def _all(self, first: Look, base: int) -> Iterator[State]:
        empty: State = (None, None, first.swapped, tuple(OLDER if older else 0 for older in first.older))
        states = [empty]
        for number, app in enumerate(first.apps):
            if app:
                instances, deployed, tasks = app
                kinds = (START, STOP, STOP_BOTH) if deployed else (NONE,)
                states = [with_app(one, number, (instances, kind, base, tasks)) for one in states for kind in kinds]
        for state in states:
            yield state
            for bits in ((LEFTOVER, 0), (0, LEFTOVER), (LEFTOVER, LEFTOVER)):
                yield (*state[:3], tuple(one | bit for one, bit in zip(state[3], bits, strict=False)))

    def _closure(self, states: Iterable[State], stop: int = MOST) -> list[State]:
        """Everything that can come of these states without bgci, the nearest first."""
        found = dict.fromkeys(states)
        todo = list(found)
        for state in todo:
            for _, after in self.rules.moves(state):
                if after not in found and len(found) < stop:
                    found[after] = None
                    todo.append(after)
        return todo

    def _matching(self, states: Iterable[State], now: Look) -> list[State]:
        """Those in which Marathon is as it was seen."""
        return [state for state in self._closure(states) if self._marathon_is(state, now)]

    def _looked(self, states: Sequence[State], now: Look) -> set[State]:
        """Those in which every load balancer is as it was seen a moment later."""
        found = dict.fromkeys(states)
        todo = list(found)
        for state in todo:
            for replica in range(self.rules.replicas):
                for _, after in self.rules.balancer(state, replica):
                    if after not in found:
                        found[after] = None
                        todo.append(after)
        return {state for state in todo if self._balancers_are(state, now)}

    def _marathon_is(self, state: State, now: Look) -> bool:
        if bool(state[0] and state[1]) and state[2] != now.swapped:
            return False
        for number, want in enumerate(now.apps):
            app = app_of(state, number)
            if (app is None) != (want is None):
                return False
            if app and want:
                phases = [task & PHASE for task in app[3]], [task & PHASE for task in want[2]]
                if (app[0], bool(app[1])) != want[:2] or not self._same(state, number, *phases):
                    return False
        return True

    def _balancers_are(self, state: State, now: Look) -> bool:
        older = tuple(bool(bits & OLDER) for bits in state[3])
        return older == now.older and all(
            self._same(state, number, [_bare(task) for task in app[3]], list(want[2]))
            for number, want in enumerate(now.apps)
            if (app := app_of(state, number)) and want
        )

    def _same(self, state: State, number: int, one: list[int], other: list[int]) -> bool:
        return one == other if self.rules.ordered(state, number) else sorted(one) == sorted(other)

    def _performed(self, step: Action, last: Look) -> Iterator[State]:
        rules = self.rules
        states = {self._marked(state, step, last) for state in self.states} if isinstance(step, Kill) else self.states
        for state in self._closure(states, 1 if rules.down else MOST // 4):
            match step:
                case Create(instances):
                    if not state[1]:
                        yield from rules.create(state, instances)
                case Scale(app_id, instances):
                    yield from rules.scale(state, self._number(app_id), instances) or ()
                case Delete(app_id):
                    yield rules.delete(state, self._number(app_id))
                case Kill(_, force):
                    yield from self._killed(state, force)
                case Restore(_, instances):
                    yield from rules.restore(state, instances)

    def _marked(self, state: State, step: Kill, last: Look) -> State:
        for number, ids in enumerate(last.ids):
            app, was = app_of(state, number), last.apps[number]
            if app and was:
                places = self._places(app, was[2], [place for place, one in enumerate(ids) if one in step.task_ids])
                tasks = tuple(task | MARK if place in places else task for place, task in enumerate(app[3]))
                state = with_app(state, number, (*app[:3], tasks))
        return state

    @staticmethod
    def _places(app: App, seen_tasks: tuple[int, ...], chosen: list[int]) -> set[int]:
        """Where the chosen tasks are in this state. While their order is open, tasks that look alike are the same."""
        if [_bare(task) for task in app[3]] == list(seen_tasks):
            return set(chosen)
        places: set[int] = set()
        for place in chosen:
            alike = (one for one, task in enumerate(app[3]) if _bare(task) == seen_tasks[place] and one not in places)
            places.add(next(alike))
        return places

    def _killed(self, state: State, force: bool) -> list[State]:
        chosen = []
        for number in (0, 1):
            app = app_of(state, number)
            chosen.append(tuple(place for place, task in enumerate(app[3]) if task & MARK) if app else ())
            if app:
                state = with_app(state, number, (*app[:3], tuple(task & ~MARK for task in app[3])))
        return self.rules.kill(state, (chosen[0], chosen[1]), force=force) or []

    def _number(self, app_id: str) -> int:
        return self.names.index(app_id)

    names: tuple[str, str] = ("", "")


def _bare(task: int) -> int:
    """Without what a load balancer has read and not applied."""
    return task & ~(3 << SHIFT[0] + 2) & ~(3 << SHIFT[1] + 2) & ~MARK
