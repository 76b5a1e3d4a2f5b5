"""The faults of one state: a goal that is not reached, a task that is stopped while it serves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cluster import BAD, HEALTHY, MARK, OLDER, PHASE, SHIFT, UP, Rules, State, app_of, tasks_of
from pilot import IDS, Stage, places

from bgci.engine.decisions import Delete, Kill, Kind, Scale, Step


def _stale(rules: Rules, stage: Stage, state: State) -> bool:
    """Whether the baseline's TARGET is not the number of instances that it had when the release began."""
    ran = state[1][2] if state[1] else state[0][0] if state[0] else None
    return rules.label is None or rules.label != ran


# The ends that are not faults, by their message and condition.
LAWFUL: dict[str, Callable[[Rules, Stage, State], bool]] = {
    "a canary only grows": lambda rules, stage, state: bool(state[1] and state[1][0] > stage.goal.instances),
    "Use --strategy bluegreen": _stale,
    "is the only revision that runs": lambda rules, stage, state: state[0] is None,
    "is the first revision of this app": lambda rules, stage, state: state[0] is None,
}


def stopped(step: Step, state: State) -> Iterator[tuple[int, int]]:
    """The tasks that the step stops: app and place."""
    if isinstance(step, Kill):
        marked = [(n, p) for n, app in enumerate((state[0], state[1])) if app for p, t in enumerate(app[3]) if t & MARK]
        yield from marked or [(number, place) for number, chosen in enumerate(places(step)) for place in chosen]
    elif isinstance(step, Delete):
        number = IDS.index(step.app_id)
        yield from ((number, place) for place in range(len(tasks_of(state, number))))
    elif isinstance(step, Scale) and state[0] and state[1]:
        app = app_of(state, IDS.index(step.app_id))
        assert app is None or app[0] <= step.instances, "scaled down while both run"


def serves(rules: Rules, state: State, number: int, place: int) -> str:
    """How the task serves or may have a session; empty when it cannot."""
    task = tasks_of(state, number)[place]
    if is_up(rules, state, number, place):
        return "in rotation"
    served = task & PHASE in (HEALTHY, BAD) and any(task >> shift & 3 for shift in SHIFT[: rules.replicas])
    if served and any(bits & OLDER for bits in state[3]):
        return "with a session in an older worker"
    return ""


def is_up(rules: Rules, state: State, number: int, place: int) -> bool:
    """Whether the task is healthy and gets new sessions."""
    task = tasks_of(state, number)[place]
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
