"""Every state that can follow from a set of states, and what must hold in all of them."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from cluster import BAD, HEALTHY, MARK, OLDER, PHASE, SHIFT, UP, Rules, State, app_of, with_app
from pilot import IDS, Pilot, Stage, perform, places

from bgci.engine.decisions import Delete, Done, Fail, Kill, Kind, Scale, Step, Wait

REFUSED, BEYOND = -1, -2
WAITS, DONE, FAILS, ACTS = range(4)


@dataclass
class Judgement:
    """``steps``: of bgci, at most, from any state to the end. ``dips``: how many steps, by depth, lead to one."""

    states: int
    transitions: int
    faults: list[str]
    steps: dict[str, int] = field(default_factory=dict)
    dips: Counter[int] = field(default_factory=Counter)


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
    moves: list[array[int]] = field(default_factory=list)
    acts: list[list[array[int]]] = field(default_factory=list)  # by stage
    verdicts: list[bytearray] = field(default_factory=list)  # by stage: WAITS, DONE, FAILS, ACTS
    fails: list[Counter[str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    beyond: int = 0
    transitions: int = 0

    def __post_init__(self) -> None:
        self.pilot = Pilot(self.rules, self.stages)
        self.acts = [[] for _ in self.stages]
        self.verdicts = [bytearray() for _ in self.stages]
        self.fails = [Counter() for _ in self.stages]

    def add(self, state: State) -> int:
        state = self.rules.canonical(state)
        found = self.number.get(state)
        if found is None:
            found = self.number[state] = len(self.states)
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
        follow = [after for _, after in self.rules.moves(state) if self._inside(after)]
        self.moves.append(array("i", sorted({self.add(after) for after in follow})))
        steps = self.pilot.decide(state)
        done: dict[Step, array[int]] = {}
        for stage, step in enumerate(steps):
            if isinstance(step, Wait | Done | Fail):
                self._verdict(stage, step, state)
                self.acts[stage].append(NOTHING)
                continue
            self.verdicts[stage].append(ACTS)
            if step not in done:
                done[step] = self._act(stage, step, state)
            self.acts[stage].append(done[step])
        self.transitions += len(self.moves[-1]) + sum(len(one) for one in done.values())

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

    def _act(self, stage: int, step: Step, state: State) -> array[int]:
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
        return array("i", sorted(found))

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
            before = _marked_phases(marked)
            for _, after in self.rules.moves(marked):
                if _marked_phases(after) == before:
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
            chosen = tuple(
                tuple(place for place, task in enumerate(app[3]) if task & MARK) if app else ()
                for app in (state[0], state[1])
            )
            if any(chosen):
                after = rules.kill(_unmarked(state), chosen, force=step.force)
            else:
                after = perform(rules, step, state)
        else:
            after = perform(rules, step, state)
        if after is None:
            return [REFUSED]
        self.beyond += sum(not self._inside(one) for one in after)
        return [self.add(one) if self._inside(one) else BEYOND for one in after]

    def fault(self, text: str, state: State, step: object = "") -> None:
        if len(self.faults) < 2000:
            self.faults.append(f"{text}\n    {shown(self.rules, state)}\n    {step}")

    # -- what must hold ----------------------------------------------------------------------------------------------

    def least(self) -> list[int]:
        """For each state: the fewest in rotation, whatever the world does from there without bgci."""
        least = [-1] * len(self.states)
        for root in range(len(self.states)):
            if least[root] >= 0:
                continue
            stack = [root]
            while stack:
                state = stack[-1]
                missing = [after for after in self.moves[state] if least[after] < 0]
                if missing:
                    if len(stack) > 10_000:
                        raise AssertionError("The world goes in circles.")
                    stack += missing
                    continue
                stack.pop()
                if least[state] < 0:
                    least[state] = min(
                        [self.rules.in_rotation(self.states[state]), *(least[after] for after in self.moves[state])]
                    )
        return least

    def dips(self, stage: int, least: Sequence[int], floor: int) -> dict[int, list[tuple[int, int]]]:
        """By its depth: the steps after which fewer can be in rotation than before, and fewer than the floor."""
        found: dict[int, list[tuple[int, int]]] = {}
        for state, follow in enumerate(self.acts[stage]):
            for after in follow:
                if after >= 0 and least[after] < min(floor, least[state]):
                    found.setdefault(min(floor, least[state]) - least[after], []).append((state, after))
        return found

    def judged(self) -> Judgement:
        """Everything that must hold, in all of these states."""
        floor = min(self.rules.before, self.rules.target)
        least = self.least()
        found = Judgement(len(self.states), self.transitions, faults=list(self.faults))
        for number, stage in enumerate(self.stages):
            circles, stuck, steps = self.ends(number)
            found.steps[stage.name] = steps
            found.faults += [f"{stage.name}: a circle\n    {self._lines(number, circle[:9])}" for circle in circles]
            for state in stuck:
                if not self._waits_for_sessions(self.states[state]):
                    found.faults.append(f"{stage.name}: nothing happens any more\n    {self._lines(number, [state])}")
            for depth, pairs in self.dips(number, least, floor).items():
                for state, after in pairs:
                    if self._bounded(self.states[state], depth, least[state]):
                        found.dips[depth] += 1
                    else:
                        text = self._lines(number, [state, after])
                        found.faults.append(
                            f"{stage.name}: {least[state]} in rotation, then {least[after]}\n    {text}"
                        )
        return found

    def _bounded(self, state: State, depth: int, least: int) -> bool:
        """Whether the dip is one of those that docs/engine.md states: of half of what serves, when an operator or a
        plain kill has swapped the roles; of a canary, when the baseline was scaled by hand."""
        canary = state[1]
        by_hand = self.rules.label != self.rules.before and canary is not None and depth <= canary[0]
        return by_hand or (state[2] and 2 * depth <= least)

    def _waits_for_sessions(self, state: State) -> bool:
        """A canary beside a baseline that is smaller than its TARGET cannot be drained (docs/engine.md): the run ends
        at ``--drain-timeout``."""
        baseline, canary = state[0], state[1]
        label = self.rules.label
        return bool(baseline and canary) and (label is None or label > max(canary[2] or 0, baseline[0]))

    def _lines(self, stage: int, states: Iterable[int]) -> str:
        return "\n    ".join(
            f"{shown(self.rules, self.states[state])}\n        {self.pilot.decide(self.states[state])[stage]}"
            for state in states
        )

    def ends(self, stage: int) -> tuple[list[list[int]], list[int], int]:
        """Circles of this stage (each a livelock), states in which nothing can happen any more and the goal is not
        reached, and the most steps of bgci from any state to the end."""
        acts, verdicts = self.acts[stage], self.verdicts[stage]
        color = bytearray(len(self.states))
        steps = array("i", [0]) * len(self.states)
        circles: list[list[int]] = []
        stuck: list[int] = []
        for root in range(len(self.states)):
            if color[root]:
                continue
            path = [(root, iter(self._follow(root, acts, verdicts)))]
            color[root] = 1
            while path:
                state, follow = path[-1]
                for after in follow:
                    if color[after] == 0:
                        color[after] = 1
                        path.append((after, iter(self._follow(after, acts, verdicts))))
                        break
                    if color[after] == 1 and len(circles) < 20:
                        names = [one for one, _ in path]
                        circles.append(names[names.index(after) :])
                else:
                    path.pop()
                    color[state] = 2
                    after_acts = [steps[after] + 1 for after in acts[state] if after >= 0]
                    ended = verdicts[state] in (DONE, FAILS)
                    steps[state] = 0 if ended else max([0, *after_acts, *(steps[after] for after in self.moves[state])])
                    if not self.moves[state] and not after_acts and not ended and BEYOND not in acts[state]:
                        stuck.append(state)
        return circles, stuck, max(steps, default=0)

    def _follow(self, state: int, acts: list[array[int]], verdicts: bytearray) -> list[int]:
        """After Done and Fail the run is over."""
        if verdicts[state] in (DONE, FAILS):
            return []
        return [*self.moves[state], *(after for after in acts[state] if after >= 0)]


NOTHING: array[int] = array("i")


def _stale(rules: Rules, stage: Stage, state: State) -> bool:
    """Whether the baseline's TARGET is not the number of instances that it had when the release began."""
    ran = state[1][2] if state[1] else state[0][0] if state[0] else None
    return rules.label is None or rules.label != ran


# The ends that are no fault, by what they say, and when.
LAWFUL: dict[str, Callable[[Rules, Stage, State], bool]] = {
    "a canary only grows": lambda rules, stage, state: bool(state[1] and state[1][0] > stage.goal.instances),
    "Use --strategy bluegreen": _stale,
    "is the only revision that runs": lambda rules, stage, state: state[0] is None,
    "is the first revision of this app": lambda rules, stage, state: state[0] is None,
}


def _phases(state: State, number: int) -> tuple[int, ...]:
    app = app_of(state, number)
    return tuple(task & PHASE for task in app[3]) if app else ()


def _marked_phases(state: State) -> list[int]:
    return sorted(task & PHASE for app in (state[0], state[1]) if app for task in app[3] if task & MARK)


def _unmarked(state: State) -> State:
    for number in (0, 1):
        app = app_of(state, number)
        if app:
            state = with_app(state, number, (*app[:3], tuple(task & ~MARK for task in app[3])))
    return state


def stopped(step: Step, state: State) -> Iterator[tuple[int, int]]:
    """The tasks that the step stops: app and place."""
    if isinstance(step, Kill):
        marked = [(n, p) for n, app in enumerate((state[0], state[1])) if app for p, t in enumerate(app[3]) if t & MARK]
        yield from marked or [(number, place) for number, chosen in enumerate(places(step)) for place in chosen]
    elif isinstance(step, Delete):
        number = IDS.index(step.app_id)
        app = app_of(state, number)
        yield from ((number, place) for place in range(len(app[3]) if app else 0))
    elif isinstance(step, Scale) and state[IDS.index(step.app_id)][0] > step.instances and state[0] and state[1]:
        raise AssertionError("scaled down while both run")


def serves(rules: Rules, state: State, number: int, place: int) -> str:
    """How the task serves or may have a session; empty when it cannot."""
    task = app_of(state, number)[3][place]
    if is_up(rules, state, number, place):
        return "in rotation"
    served = task & PHASE in (HEALTHY, BAD) and any(task >> shift & 3 for shift in SHIFT[: rules.replicas])
    if served and any(bits & OLDER for bits in state[3]):
        return "with a session in an older worker"
    return ""


def is_up(rules: Rules, state: State, number: int, place: int) -> bool:
    """Whether the task is healthy and gets new sessions."""
    task = app_of(state, number)[3][place]
    return task & PHASE == HEALTHY and any(task >> shift & 3 == UP for shift in SHIFT[: rules.replicas])


def not_reached(rules: Rules, stage: Stage, state: State) -> str:
    """Why the stage's goal is not reached in this state; empty when it is."""
    baseline, canary, _, _ = state
    goal = stage.goal

    def up(number: int) -> int:
        app = app_of(state, number)
        return min(
            sum(task & PHASE == HEALTHY and task >> shift & 3 == UP for task in app[3]) if app else 0
            for shift in SHIFT[: rules.replicas]
        )

    match goal.kind:
        case Kind.PROMOTE:
            if baseline or not canary:
                return "the baseline is there"
            return "" if canary[0] == up(1) == goal.target else f"{up(1)} of {canary[0]} serve"
        case Kind.CANARY if baseline is None:
            return "" if canary and up(1) >= goal.target else f"{up(1)} serve alone"
        case Kind.CANARY:
            return "" if canary and up(1) >= goal.instances else f"{up(1)} canaries serve"
        case _:
            if canary or not baseline:
                return "the canary is there" if canary else ""
            return (
                ""
                if up(0) >= min(baseline[0], sum(task & PHASE == HEALTHY for task in baseline[3]))
                else f"{up(0)} serve"
            )


DEPLOYMENTS = ("", " starting", " stopping", " stopping both")


def shown(rules: Rules, state: State) -> str:
    """One line for a person."""
    names, servers = "sHDABX", ".UdM"
    parts = []
    for number, app in enumerate((state[0], state[1])):
        if app:
            tasks = " ".join(
                names[task & PHASE]
                + "".join(
                    servers[task >> shift & 3]
                    + ("" if not task >> shift + 2 & 3 else "+-"[(task >> shift + 2 & 3) - 1])
                    for shift in SHIFT[: rules.replicas]
                )
                for task in app[3]
            )
            parts.append(f"{IDS[number]} {app[0]}{DEPLOYMENTS[app[1]]} [{tasks}] of {app[2]}")
    return f"{' | '.join(parts)}{' swapped' if state[2] else ''} {state[3]}"
