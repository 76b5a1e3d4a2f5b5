"""The shipped engine on the states of the model: what it sees of a state, what it decides, and what that does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache

from cluster import (
    ABORTED,
    BAD,
    DYING,
    HEALTHY,
    LEFTOVER,
    OLDER,
    PHASE,
    READ,
    SHIFT,
    STARTING,
    App,
    Rules,
    State,
    app_of,
    with_app,
)

from bgci.engine import observation as seen
from bgci.engine.decisions import Action, Create, Delete, Goal, Kill, Kind, Policy, Scale, Step
from bgci.engine.memory import Memory
from bgci.engine.rollout import Rollout
from bgci.engine.rules import next_step

OLD, NEW = "old", "new"
APPLIED = ~sum(3 << shift + 2 for shift in SHIFT)
IDS = ("blue", "green")
NOW = 1000.0
SERVERS = [
    seen.Server(seen.Serving.ABSENT),
    seen.Server(seen.Serving.UP, 1),
    seen.Server(seen.Serving.DOWN),
    seen.Server(seen.Serving.MAINT),
]


@dataclass(frozen=True)
class Stage:
    """One goal with its policy."""

    goal: Goal
    policy: Policy

    @property
    def name(self) -> str:
        more = f" {self.goal.instances}" if self.goal.kind is Kind.CANARY else ""
        way = f" {self.policy.strategy} {self.policy.wave}" if self.goal.kind is not Kind.ROLLBACK else ""
        return f"{self.goal.kind.value}{more}{way}"


@cache
def _task(number: int, place: int, phase: int, running: bool) -> seen.Task:
    dying = phase in (DYING, ABORTED) and not running
    healthy = {STARTING: None, HEALTHY: True, DYING: True, ABORTED: None, BAD: False}[phase]
    return seen.Task(f"{IDS[number]}.{place:02}", healthy, dying=dying, ever_healthy=phase in (HEALTHY, DYING, BAD))


@lru_cache(maxsize=200_000)
def _app(rules: Rules, number: int, app: App, last: float) -> seen.App:
    instances, deployment, base, tasks = app
    return seen.App(
        id=IDS[number],
        instances=instances,
        tasks=tuple(_task(number, place, task & PHASE, rules.lists_running) for place, task in enumerate(tasks)),
        revision=(OLD, NEW)[number],
        colour=IDS[number],
        target=(rules.label, rules.target)[number],
        swappable=True if number == 0 else rules.swappable,
        baseline_instances=base,
        started_at=float(number + 1),
        last_scaling_at=last,
        deployments=("d",) if deployment else (),
        queued=max(0, instances - sum(task & PHASE not in (DYING, ABORTED) for task in tasks)),
    )


def observe(rules: Rules, state: State) -> seen.Observation:
    baseline, canary, swapped, replicas = state
    apps = []
    for number, app in ((0, baseline), (1, canary)):
        if app:
            plain = (*app[:3], tuple([task & PHASE for task in app[3]]))
            apps.append(_app(rules, number, plain, 2.0 if swapped == (number == 0) else 1.0))
    return seen.Observation(
        NOW,
        tuple(apps),
        tuple(
            seen.Replica(
                f"lb{replica}",
                {
                    f"{IDS[number]}.{place:02}": SERVERS[task >> SHIFT[replica] & 3]
                    for number, app in ((0, baseline), (1, canary))
                    if app
                    for place, task in enumerate(app[3])
                },
                older_workers=(1,) if bits & OLDER else (),
                worker=1,
                others=("gone",) if bits & LEFTOVER else (),
            )
            for replica, bits in enumerate(replicas)
        ),
    )


def decide(rules: Rules, stage: Stage, state: State) -> Step:
    """With no memory: the decision of a run that was killed after its last step and is run again."""
    return Rollout(stage.goal, stage.policy, Memory(no_room=rules.no_room)).decide(observe(rules, state))


class Pilot:
    """The decisions of several stages on the same states. Each is that of a run without memory (kill -9 after the last
    step): ``decide`` asks what ``Rollout.decide`` asks, with what all stages have in common worked out once."""

    def __init__(self, rules: Rules, stages: Sequence[Stage]) -> None:
        self.rules = rules
        self.runs = [Rollout(stage.goal, stage.policy) for stage in stages]
        self._seen = lru_cache(maxsize=200_000)(self._decide)

    def decide(self, state: State) -> list[Step]:
        return self._seen(_applied(state)) if self.rules.delayed else self._decide(state)

    def _decide(self, state: State) -> list[Step]:
        seen_now = observe(self.rules, state)
        memory = Memory(no_room=self.rules.no_room).observed(seen_now, self.runs[0].goal)
        return [self._one(run, seen_now, memory) for run in self.runs]

    @staticmethod
    def _one(run: Rollout, seen_now: seen.Observation, memory: Memory) -> Step:
        run.memory, run._observation = memory, seen_now
        step = next_step(run._situation())
        return replace(step, force=run._waits_for(step)) if isinstance(step, Kill) else step


def _applied(state: State) -> State:
    """Without the configurations that are not applied yet."""
    for number in (0, 1):
        app = app_of(state, number)
        if app:
            state = with_app(state, number, (*app[:3], tuple(task & APPLIED for task in app[3])))
    return (*state[:3], tuple(bits & ~READ for bits in state[3]))


def places(step: Kill) -> tuple[tuple[int, ...], tuple[int, ...]]:
    of = [task_id.split(".") for task_id in step.task_ids]
    return tuple(int(place) for app, place in of if app == IDS[0]), tuple(
        int(place) for app, place in of if app == IDS[1]
    )


def asked_for(step: Action, seen_before: seen.Observation) -> Action:
    """The step as ``perform`` carries it out: a stand-in removes the surplus at once."""
    if isinstance(step, Create) and step.stand_in:
        (app,) = seen_before.apps
        return Scale(app.id, app.instances - step.instances)
    return step


def perform(rules: Rules, step: Step, state: State) -> list[State] | None:
    """The states in which Marathon may be then; None when it refuses, because a deployment holds a lock."""
    match step:
        case Create(instances, stand_in=True):  # here the surplus goes at once: the property tests drain it
            number = 0 if state[0] else 1
            app = app_of(state, number)
            assert app
            return rules.scale(state, number, app[0] - instances)
        case Create(instances):
            assert state[1] is None
            return rules.create(state, instances)
        case Scale(app_id, instances):
            return rules.scale(state, IDS.index(app_id), instances)
        case Kill(_, force):
            return rules.kill(state, places(step), force=force)
        case Delete(app_id):
            return [rules.delete(state, IDS.index(app_id))]
    raise AssertionError(step)
