"""The first states of an exploration: those of a release, and every state of Marathon beside load balancers that lag
behind it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations_with_replacement, permutations

from cluster import (
    ABORTED,
    ABSENT,
    DISABLE,
    DYING,
    HEALTHY,
    MAINT,
    NONE,
    SERVE,
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


def release(rules: Rules) -> State:
    """The baseline serves alone, in full."""
    up = HEALTHY | sum(UP << shift for shift in SHIFT[: rules.replicas])
    return ((rules.before, NONE, rules.before, (up,) * rules.before), None, False, (0,) * rules.replicas)


def nothing(rules: Rules) -> State:
    return (None, None, False, (0,) * rules.replicas)


def everywhere(rules: Rules, most: tuple[int, int], missing: int = 9, dying: int = 1) -> Iterator[State]:
    """Every state of Marathon of up to ``most`` instances, with up to ``missing`` of an app not healthy and up to
    ``dying`` of its tasks ending; beside every combination of load balancers that know nothing yet, that have just
    followed, or that followed before the roles were swapped."""
    baselines = [None, *_apps(rules, most[0], missing, dying)]
    canaries = [None, *_apps(rules, most[1], missing, dying)]
    empty = (0,) * rules.replicas
    for baseline in baselines:
        for canary in canaries:
            for swapped in (False, True) if baseline and canary else (False,):
                both = baseline and canary and baseline[1] == canary[1] == STOP
                yield from _orders(rules, (baseline, canary, swapped, empty))
                if both and not swapped:
                    pair = [(app[0], STOP_BOTH, *app[2:]) for app in (baseline, canary) if app]
                    yield from _orders(rules, (pair[0], pair[1], False, empty))


def _apps(rules: Rules, most: int, missing: int, dying: int) -> Iterator[App]:
    """Without what nobody can see: a killed task that is listed as running while no deployment waits for its end."""
    for instances in range(most + 1):
        for healthy in range(instances + 1):
            if instances - healthy > missing:
                continue
            for starting in range(instances - healthy + 1):
                for ending in range(dying + 1):
                    for phases in combinations_with_replacement((DYING, ABORTED), ending):
                        tasks = (STARTING,) * starting + (HEALTHY,) * healthy + phases
                        kinds = ((STOP,) if rules.lists_running else (NONE, STOP)) if phases else (NONE, START)
                        for deployment in kinds:
                            yield (instances, deployment, rules.before, tasks)


def _orders(rules: Rules, state: State) -> Iterator[State]:
    """With every order of ids, as far as it matters to one of the roles."""
    both = state[0] and state[1]
    orders = [
        sorted(set(permutations(app[3]))) if app and both else [app[3] if app else ()] for app in (state[0], state[1])
    ]
    for baseline in orders[0]:
        for canary in orders[1]:
            ordered = state
            for number, tasks in ((0, baseline), (1, canary)):
                app = app_of(state, number)
                if app:
                    ordered = with_app(ordered, number, (*app[:3], tasks))
            yield from _balancers(rules, ordered)


def _balancers(rules: Rules, state: State) -> Iterator[State]:
    flipped = (state[0], state[1], not state[2], state[3])
    views = [_nothing_known(state), rules.wanted(state)]
    if state[0] and state[1] and rules.swappable and rules.label is not None:
        views.append(rules.wanted(flipped))
    distinct = [view for place, view in enumerate(views) if view not in views[:place]]
    for chosen in combinations_with_replacement(distinct, rules.replicas):
        after = state
        for number in (0, 1):
            app = app_of(state, number)
            if app:
                tasks = tuple(
                    task
                    | sum(SERVERS[view[number][place]] << shift for view, shift in zip(chosen, SHIFT, strict=False))
                    for place, task in enumerate(app[3])
                )
                after = with_app(after, number, (*app[:3], tasks))
        yield after


SERVERS = {0: ABSENT, SERVE: UP, DISABLE: MAINT}


def _nothing_known(state: State) -> list[tuple[int, ...]]:
    return [(0,) * len(app[3]) if app else () for app in (state[0], state[1])]
