"""Every state that can follow from a set of states."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from cluster import ABORTED, BAD, DYING, HEALTHY, MARK, PHASE, STARTING, App, Rules, State, app_of, tasks_of, with_app
from criteria import LAWFUL, is_up, not_reached, serves, shown, stopped
from pilot import IDS, Pilot, Stage, perform, places

from bgci.engine.decisions import Delete, Done, Fail, Kill, Step, Wait

REFUSED, BEYOND = -1, -2
WAITS, DONE, FAILS, ACTS = range(4)


class Rows:
    """Rows of numbers, in two arrays: a state of a large world has some bytes for each."""

    def __init__(self) -> None:
        self.ends = array("q", [0])
        self.flat = array("i")

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, row: int) -> array[int]:
        return self.flat[self.ends[row] : self.ends[row + 1]]

    def append(self, numbers: Iterable[int]) -> int:
        """The number of the new row."""
        self.flat.extend(numbers)
        self.ends.append(len(self.flat))
        return len(self.ends) - 2


@dataclass
class Graph:
    """The states by number, in the order in which they were found, and what can follow each."""

    rules: Rules
    stages: Sequence[Stage]
    most: tuple[int, int]  # instances of baseline and canary; what goes beyond is not followed
    listed: int = 99  # tasks that Marathon lists of one app; a world beyond is not followed
    lag: bool = True  # the world can move once between a look and the step that it led to
    number: dict[State, int] = field(default_factory=dict)
    states: list[State] = field(default_factory=list)
    parts: dict[App | None, App | None] = field(default_factory=dict)  # equal parts of states are kept once
    replicas: dict[tuple[int, ...], tuple[int, ...]] = field(default_factory=dict)
    moves: Rows = field(default_factory=Rows)
    performed: Rows = field(default_factory=Rows)  # what a step can lead to; row 0: no step
    acts: list[array[int]] = field(default_factory=list)  # by stage: the row of each state
    verdicts: list[bytearray] = field(default_factory=list)  # by stage: WAITS, DONE, FAILS, ACTS
    fails: list[Counter[str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    beyond: int = 0
    transitions: int = 0

    def __post_init__(self) -> None:
        self.pilot = Pilot(self.rules, self.stages)
        self.performed.append(())
        self.acts = [array("I") for _ in self.stages]
        self.verdicts = [bytearray() for _ in self.stages]
        self.fails = [Counter() for _ in self.stages]

    def add(self, state: State) -> int:
        state = self.rules.canonical(state)
        found = self.number.get(state)
        if found is None:
            found = len(self.states)
            one, other, swapped, replicas = state
            parts = self.parts.setdefault(one, one), self.parts.setdefault(other, other)
            state = (*parts, swapped, self.replicas.setdefault(replicas, replicas))
            self.number[state] = found
            self.states.append(state)
        return found

    def explore(self, starts: Iterable[State], until: float = float("inf")) -> bool:
        """Whether everything was explored by then."""
        for state in starts:
            if self._inside(state):
                self.add(state)
        while len(self.moves) < len(self.states):
            if not len(self.moves) % 256 and time.monotonic() > until:
                return False
            self._expand(self.states[len(self.moves)])
        return True

    def _inside(self, state: State) -> bool:
        return all(
            app is None or (app[0] <= most and len(app[3]) <= self.listed)
            for app, most in zip((state[0], state[1]), self.most, strict=True)
        )

    def _expand(self, state: State) -> None:
        follow = {self.add(after) for _, after in self.rules.moves(state) if self._inside(after)}
        self.moves.append(sorted(follow))
        self.transitions += len(follow)
        rows: dict[Step, int] = {}
        for stage, step in enumerate(self.pilot.decide(state)):
            if isinstance(step, Wait | Done | Fail):
                self._verdict(stage, step, state)
                self.acts[stage].append(0)
                continue
            self.verdicts[stage].append(ACTS)
            if step not in rows:
                after = self._act(stage, step, state)
                rows[step] = self.performed.append(sorted(after))
                self.transitions += len(after)
            self.acts[stage].append(rows[step])

    def _verdict(self, stage: int, step: Step, state: State) -> None:
        if isinstance(step, Done):
            self.verdicts[stage].append(DONE)
            if why := not_reached(self.rules, self.stages[stage], state):
                self.fault(f"{self.stages[stage].name}: done, but {why}", state, step)
        elif isinstance(step, Fail):
            self.verdicts[stage].append(FAILS)
            reason = next((name for name, lawful in LAWFUL.items() if name in step.message + step.remedy), "")
            self.fails[stage][reason] += 1
            if not reason or not LAWFUL[reason](self.rules, self.stages[stage], state):
                self.fault(f"{self.stages[stage].name}: fails", state, step)
        else:
            self.verdicts[stage].append(WAITS)

    def _act(self, stage: int, step: Step, state: State) -> set[int]:
        for number, place in stopped(step, state):
            if why := serves(self.rules, state, number, place):
                self.fault(f"{self.stages[stage].name}: {type(step).__name__} stops a task {why}", state, step)
        found = set(self._performed(step, state))
        if self.lag:
            for after in self._later(step, state):
                if self._inside(after):
                    for number, place in stopped(step, after):
                        if is_up(self.rules, after, number, place):
                            self.fault(f"{self.stages[stage].name}: a late {type(step).__name__} stops", after, step)
                    found |= {one for one in self._performed(step, after) if one != REFUSED}
        return found

    def _later(self, step: Step, state: State) -> Iterator[State]:
        """The states in which the step can be performed after one move of the world; a kill or delete that is not
        confirmed by then is not performed."""
        if isinstance(step, Kill):
            marked = state
            for number, chosen in enumerate(places(step)):
                app = app_of(state, number)
                if app and chosen:
                    tasks = tuple(task | MARK if place in chosen else task for place, task in enumerate(app[3]))
                    marked = with_app(marked, number, (*app[:3], tasks))
            before = _confirmed(self.rules, marked)
            for _, after in self.rules.moves(marked):
                if _confirmed(self.rules, after) == before:
                    yield after
            return
        for _, after in self.rules.moves(state):
            if isinstance(step, Delete):
                number = IDS.index(step.app_id)
                if _phases(state, number) != _phases(after, number):
                    continue
            yield after

    def _performed(self, step: Step, state: State) -> list[int]:
        rules = self.rules
        if isinstance(step, Kill):
            baseline, canary = _marked(state, 0), _marked(state, 1)
            chosen = (baseline, canary) if baseline or canary else places(step)
            state = _unmarked(state)
            after = rules.kill(state, chosen, force=step.force)
            alive = _alive(state)
            for number in (0, 1):
                tasks = tasks_of(state, number)
                alive -= sum(tasks[place] & PHASE not in (DYING, ABORTED) for place in chosen[number])
            if after and _alive(after[0]) < alive:
                self.fault("a kill of tasks that were killed before: Marathon stops others", state, step)
        else:
            after = perform(rules, step, state)
        if after is None:
            return [REFUSED]
        self.beyond += sum(not self._inside(one) for one in after)
        return [self.add(one) if self._inside(one) else BEYOND for one in after]

    def fault(self, text: str, state: State, step: object = "") -> None:
        if len(self.faults) < 2000:
            self.faults.append(f"{text}\n    {shown(self.rules, state)}\n    {step}")


def _phases(state: State, number: int) -> tuple[int, ...]:
    app = app_of(state, number)
    return tuple(task & PHASE for task in app[3]) if app else ()


def _confirmed(rules: Rules, state: State) -> list[object]:
    """What the driver compares just before a kill: phases of the tasks, sizes of their apps."""
    listed = (STARTING, HEALTHY, DYING, ABORTED, BAD) if rules.lists_running else (STARTING, HEALTHY, BAD)
    hit = [app for app in (state[0], state[1]) if app and any(task & MARK for task in app[3])]
    return [
        (app[0], sum(task & PHASE in listed for task in app[3]), sorted(task & PHASE for task in app[3] if task & MARK))
        for app in hit
    ]


def _marked(state: State, number: int) -> tuple[int, ...]:
    """The places of the tasks that the kill means."""
    return tuple(place for place, task in enumerate(tasks_of(state, number)) if task & MARK)


def _alive(state: State) -> int:
    return sum(task & PHASE not in (DYING, ABORTED) for app in (state[0], state[1]) if app for task in app[3])


def _unmarked(state: State) -> State:
    for number in (0, 1):
        app = app_of(state, number)
        if app:
            state = with_app(state, number, (*app[:3], tuple(task & ~MARK for task in app[3])))
    return state
