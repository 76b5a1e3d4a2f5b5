"""A run remembers: from each state of the model, runs of the whole `Rollout`, with memory and clock.

The exploration asks without memory, in every order of events. Here the order is drawn, once for each state and stage.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import pytest
from cluster import HEALTHY, MARK, PHASE, SHIFT, UP, Rules, State, app_of, left_over, with_app
from criteria import LAWFUL, not_reached, serves, stopped
from pilot import IDS, Stage, asked_for, observe, perform
from scopes import Scope

from bgci.engine.decisions import Action, Delete, Done, Fail, Kill, Kind, Scale, Step, Wait
from bgci.engine.hold import STEADY
from bgci.engine.observation import Observation
from bgci.engine.rollout import Rollout
from bgci.errors import RolledBackError

LOOKS = 400
SERIAL = MARK << 1


@dataclass(frozen=True)
class Named(Rules):
    """Each task has an id from its launch, so the order of ids is never open."""

    def ordered(self, state: State, number: int) -> bool:
        return True


class World:
    """One state of the model that goes on at random, with stable task ids and a clock."""

    def __init__(self, rules: Rules, state: State, random: Random) -> None:
        self.rules = Named(**vars(rules))
        self.random = random
        self.now = 1000.0
        self.serial = 0
        self.ids: dict[int, float] = {}  # by serial: what its id is sorted by
        self.state = self._named(state)

    def _named(self, state: State) -> State:
        """With a serial, and an id between those of its neighbours, for each task that has none."""
        for number in (0, 1):
            app = app_of(state, number)
            if not app:
                continue
            tasks = list(app[3])
            for place, task in enumerate(tasks):
                if task < SERIAL:
                    self.serial += 1
                    left = self.ids[tasks[place - 1] // SERIAL] if place else 0.0
                    right = next((self.ids[one // SERIAL] for one in tasks[place + 1 :] if one >= SERIAL), 1.0)
                    self.ids[self.serial] = (left + right) / 2
                    tasks[place] = task + self.serial * SERIAL
            state = with_app(state, number, (*app[:3], tuple(tasks)))
        return state

    def observe(self) -> Observation:
        """What the engine sees, with the ids of this world."""
        bare = self.state
        names: dict[str, str] = {}
        for number in (0, 1):
            app = app_of(self.state, number)
            if app:
                bare = with_app(bare, number, (*app[:3], tuple(task % SERIAL for task in app[3])))
                for place, task in enumerate(app[3]):
                    key = self.ids[task // SERIAL]
                    names[f"{IDS[number]}.{place:02}"] = f"{IDS[number]}.{key:.15f}.{task // SERIAL}"
        seen = observe(self.rules, bare)
        return replace(
            seen,
            now=self.now,
            apps=tuple(
                replace(app, tasks=tuple(replace(task, id=names[task.id]) for task in app.tasks)) for app in seen.apps
            ),
            replicas=tuple(
                replace(one, servers={names[task_id]: server for task_id, server in one.servers.items()})
                for one in seen.replicas
            ),
        )

    def placed(self, step: Action) -> Action:
        """The step with the model's names of the tasks."""
        places = {
            task // SERIAL: f"{IDS[number]}.{place:02}"
            for number in (0, 1)
            if (app := app_of(self.state, number))
            for place, task in enumerate(app[3])
        }
        if not hasattr(step, "task_ids"):
            return step
        return replace(step, task_ids=tuple(places[int(one.rsplit(".")[-1])] for one in step.task_ids))  # type: ignore[call-arg]

    def go_on(self) -> bool:
        """Whether there was anything that could happen."""
        self.now += 0.25
        moves = [after for _, after in self.rules.moves(self.state)]
        if moves:
            self.state = self._named(self.random.choice(moves))
        return bool(moves)

    def crash(self) -> bool:
        """A task of the canary that is in rotation ends by itself. False when there is none."""
        app = app_of(self.state, 1)
        up = [
            place
            for place, task in enumerate(app[3] if app else ())
            if task & PHASE == HEALTHY and any(task >> shift & 3 == UP for shift in SHIFT[: self.rules.replicas])
        ]
        if not app or not self.state[0] or not up:
            return False
        place = self.random.choice(up)
        left = (*app[3][:place], *app[3][place + 1 :])
        self.state = left_over(with_app(self.state, 1, (*app[:3], left)), (app[3][place],))
        self.now += 0.25
        return True

    def act(self, step: Action) -> bool:
        after = perform(self.rules, step, self.state)
        if after is None:
            return False
        self.state = self._named(self.random.choice(after))
        return True


def goes_forward(step: Step, seen: Observation) -> bool:
    """Whether the step scales the canary up, removes a task of the baseline, or ends the run with success."""
    match step:
        case Scale(app_id, instances):
            return any(app.id == app_id and app.instances < instances for app in seen.apps if app.id == IDS[1])
        case Kill(task_ids):
            return any(task_id.startswith(IDS[0]) for task_id in task_ids)
        case Delete(app_id):
            return app_id == IDS[0]
    return isinstance(step, Done)


def play(world: World, stage: Stage, crash_at: int = LOOKS) -> str:
    """Why the run is a fault; empty when it is none. ``crash_at``: the look from which on a canary crashes, once."""
    rollout, rules, crashed = Rollout(stage.goal, stage.policy), world.rules, 0.0
    for look in range(LOOKS):
        seen = world.observe()
        step = rollout.decide(seen)
        if crashed and world.now - crashed < STEADY and not rollout.memory.degraded and goes_forward(step, seen):
            return f"{step} {world.now - crashed:.2f} s after a failure"
        if isinstance(step, Done):
            return not_reached(rules, stage, world.state)
        if isinstance(step, Fail):
            lawful = any(name in step.message + step.remedy for name in LAWFUL) or step.ending is RolledBackError
            return "" if lawful else step.message
        if isinstance(step, Wait):
            if look >= crash_at and not crashed and world.crash():
                crashed = world.now
            elif not world.go_on():
                world.now += 5.0
            continue
        placed = world.placed(step)
        harm = [
            why for number, place in stopped(placed, world.state) if (why := serves(rules, world.state, number, place))
        ]
        if harm and not rollout.memory.degraded:
            return f"{step} stops a task {harm[0]}"
        if world.act(placed):
            rollout.performed(asked_for(step, seen))
        else:
            rollout.locked(world.now, "a deployment")
            world.go_on()
    return f"no end: {step}"


@pytest.mark.parametrize("scope", [Scope(2, 2, 2), Scope(2, 1, 1), Scope(2, 2, 1, lists_running=True)], ids=str)
def test_a_run_with_memory_reaches_its_goal_from_each_state(scope: Scope) -> None:
    graph = scope.graph()
    graph.explore(scope.starts())
    for number, state in enumerate(graph.states):
        stage = graph.stages[number % len(graph.stages)]
        why = play(World(scope.rules, state, Random(number)), stage)
        assert not why, f"{stage.name} from {number}: {state}: {why}"


@pytest.mark.parametrize("scope", [Scope(2, 2, 2), Scope(3, 3, 1, waves=(1, 2), canaries=(1, 2))], ids=str)
def test_a_run_takes_no_step_forward_after_a_crash_and_reaches_its_goal_or_rolls_back(scope: Scope) -> None:
    graph = scope.graph()
    graph.explore(scope.starts())
    stages = [stage for stage in graph.stages if stage.goal.kind is not Kind.ROLLBACK]
    for number, state in enumerate(graph.states):
        stage = stages[number % len(stages)]
        why = play(World(scope.rules, state, Random(number)), stage, crash_at=number % 40)
        assert not why, f"{stage.name} from {number}: {state}: {why}"
