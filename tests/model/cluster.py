"""A finite model of Marathon, marathon-lb and HAProxy for one app: its states, and each move that one of them can make.

It shares no code with the engine. The rules come from `marathon_lb.py: get_apps` and Marathon's sources
(docs/platform.md), HAProxy's from what was measured (docs/hazards.md).

A state is a tuple of tuples, so that states can be counted and compared:

    (baseline, canary, swapped, replicas)

An app is None or (instances, deployment, instances of the baseline at its creation, tasks). ``tasks``: the tasks that
Marathon lists, in the order of their ids, one number each: three bits for the phase, then for each replica two bits for
its server and two for the configuration that this replica has read and not applied yet. ``swapped``: the baseline is
the app scaled last. A replica is a number of three bits: an older worker is left, a server without a task is left, a
configuration was read and is not applied yet.

What is left out of a state: an UP server always has a session, and an older worker may hold one with any task. So the
model needs no sessions of its own: nobody can hope for none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

App = tuple[int, int, "int | None", tuple[int, ...]]
State = tuple["App | None", "App | None", bool, tuple[int, ...]]

# Phases of a task.
STARTING, HEALTHY, DYING, ABORTED, BAD = range(5)
"""``DYING``: killed when healthy. ``ABORTED``: killed before it was healthy. ``BAD``: its checks fail."""
PHASE = 7

# Servers of a replica.
ABSENT, UP, DOWN, MAINT = range(4)
# What a replica has read about a task.
UNREAD, SERVE, DISABLE = range(3)
SHIFT = (3, 7)  # of a replica's four bits

# Deployments: until all instances are healthy; until the killed tasks of this app have ended; of both apps.
NONE, START, STOP, STOP_BOTH = range(4)

OLDER, LEFTOVER, READ = 1, 2, 4  # bits of a replica

MARK = 1 << 11  # follows one task through the moves of one transition


class Stops(Exception):
    """marathon-lb stops for the whole cluster (KeyError: no TARGET)."""


@dataclass(frozen=True)
class Rules:
    """What does not change within one model. ``delayed``: a replica applies a configuration some time after it has read
    Marathon. ``lists_running``: Marathon shows a killed task as running until it has ended. ``no_room``: each run has
    found no room for one more instance, although the cluster may have it by now."""

    before: int
    target: int
    replicas: int = 2
    label: int | None = None  # TARGET_INSTANCES of the baseline
    swappable: bool = True
    delayed: bool = False
    lists_running: bool = False
    no_room: bool = False
    fails: bool = False  # tasks fail checks of Marathon or HAProxy, end by themselves, and are launched again
    down: bool = False  # HAProxy's checks of a healthy task fail
    other_apps: bool = False  # a load balancer reloads for other apps, too

    def wanted(self, state: State) -> list[tuple[int, ...]]:
        """For baseline and canary: SERVE, DISABLE or UNREAD for each task. marathon_lb.py: get_apps."""
        baseline, canary, swapped, _ = state
        apps = (baseline, canary)
        drained = [0, 0]
        if baseline and canary:
            new = 0 if swapped and self.swappable else 1
            old = 1 - new
            target: int | None = 1
            if self.swappable:
                target = self.label if new == 0 else self.target
            if target is None:
                raise Stops
            instances, _, _, listed = (baseline, canary)[old]
            healthy = sum(task & PHASE in (HEALTHY, DYING) for task in (baseline, canary)[new][3])
            drained[old] = min(len(listed), healthy, max(0, healthy + instances - target))
        serves = (HEALTHY, DYING) if self.lists_running else (HEALTHY,)
        return [
            tuple(
                (DISABLE if place < drained[number] else SERVE) if task & PHASE in serves else UNREAD
                for place, task in enumerate(app[3])
            )
            if app
            else ()
            for number, app in enumerate(apps)
        ]

    # -- moves of the world -----------------------------------------------------------------------------------------

    def moves(self, state: State) -> Iterator[tuple[str, State]]:
        """Every single thing that can happen next without bgci, with its name."""
        for number in (0, 1):
            app = app_of(state, number)
            if app:
                yield from self._marathon(state, number, app)
        for replica in range(self.replicas):
            yield from self.balancer(state, replica)

    def _marathon(self, state: State, number: int, app: App) -> Iterator[tuple[str, State]]:
        instances, deployment, base, tasks = app
        active = sum(task & PHASE not in (DYING, ABORTED) for task in tasks)
        if active < instances:
            for place in self._places(state, number, tasks):
                yield (
                    "launch",
                    with_app(state, number, (instances, deployment, base, (*tasks[:place], 0, *tasks[place:]))),
                )
        seen = set()
        for place, task in enumerate(tasks):
            phase = task & PHASE
            if phase == STARTING and task not in seen:
                yield (
                    "healthy",
                    with_app(state, number, (instances, deployment, base, _put(tasks, place, task | HEALTHY))),
                )
            elif (phase in (DYING, ABORTED) or self.fails) and task not in seen:
                left = (*tasks[:place], *tasks[place + 1 :])
                yield "ended", left_over(with_app(state, number, (instances, deployment, base, left)), (task,))
            if self.fails and phase in (HEALTHY, BAD) and task not in seen:
                after = task & ~PHASE | (BAD if phase == HEALTHY else HEALTHY)
                yield "check", with_app(state, number, (instances, deployment, base, _put(tasks, place, after)))
            seen.add(task)
        if deployment == START and sum(task & PHASE == HEALTHY for task in tasks) >= instances:
            yield "deployed", with_app(state, number, (instances, NONE, base, tasks))
        elif deployment >= STOP and not _ending(tasks):
            other = app_of(state, 1 - number)
            if deployment == STOP_BOTH and other and other[1] == STOP_BOTH:
                if not _ending(other[3]):
                    done = with_app(state, number, (instances, NONE, base, tasks))
                    yield "deployed", with_app(done, 1 - number, (other[0], NONE, *other[2:]))
            else:
                yield "deployed", with_app(state, number, (instances, NONE, base, tasks))

    def balancer(self, state: State, replica: int) -> Iterator[tuple[str, State]]:
        bits, shift = state[3][replica], SHIFT[replica]
        if bits & READ:
            yield f"reload {replica}", self._reload(state, replica)
        elif self._differs(state, replica):
            yield f"read {replica}", self._read(state, replica)
        if self.other_apps and not bits & OLDER:
            yield f"other reload {replica}", _replica(state, replica, bits | OLDER)
        if bits & OLDER:
            yield f"worker ended {replica}", _replica(state, replica, bits & ~OLDER)
        for number in (0, 1):
            app = app_of(state, number)
            for place, task in enumerate(app[3] if app else ()):
                server = task >> shift & 3
                if server == DOWN and task & PHASE == HEALTHY:
                    yield f"up {replica}", _task(state, number, place, task & ~(3 << shift) | UP << shift)
                elif server == UP and (self.fails or self.down or task & PHASE in (DYING, BAD)):
                    yield f"down {replica}", _task(state, number, place, task & ~(3 << shift) | DOWN << shift)

    def _differs(self, state: State, replica: int) -> bool:
        if state[3][replica] & LEFTOVER:
            return True
        shift = SHIFT[replica]
        for app, wanted in zip(state[:2], self.wanted(state), strict=True):
            for task, want in zip(app[3] if app else (), wanted, strict=True):
                server = task >> shift & 3
                if (server == ABSENT) != (want == UNREAD) or (server == MAINT) != (want == DISABLE):
                    return True
        return False

    def _read(self, state: State, replica: int) -> State:
        shift = SHIFT[replica] + 2
        apps: list[App | None] = []
        for app, wanted in zip(state[:2], self.wanted(state), strict=True):
            if app:
                read = tuple(task | want << shift for task, want in zip(app[3], wanted, strict=True))
                apps.append((*app[:3], read))
            else:
                apps.append(None)
        state = _replica((apps[0], apps[1], *state[2:]), replica, state[3][replica] | READ)
        return state if self.delayed else self._reload(state, replica)

    def _reload(self, state: State, replica: int) -> State:
        shift = SHIFT[replica]
        apps: list[App | None] = []
        for app in state[:2]:
            if app:
                tasks = []
                for task in app[3]:
                    server, want = task >> shift & 3, task >> shift + 2 & 3
                    tasks.append(task & ~(15 << shift) | RELOADED[want][server] << shift)
                app = (*app[:3], tuple(tasks))
            apps.append(app)
        return _replica((apps[0], apps[1], *state[2:]), replica, OLDER)

    def _places(self, state: State, number: int, tasks: tuple[int, ...]) -> Iterable[int]:
        if not self.ordered(state, number):
            return (0,)
        return [place for place in range(len(tasks) + 1) if place == 0 or tasks[place - 1] != 0]

    # -- what bgci asks Marathon to do -------------------------------------------------------------------------------

    def create(self, state: State, instances: int) -> list[State]:
        baseline = state[0]
        return self._reordered(
            state, (baseline, (instances, START, baseline[0] if baseline else None, ()), False, state[3])
        )

    def restore(self, state: State, instances: int) -> list[State]:
        """The baseline again, with its labels as they were: it is the older app, and now the one scaled last."""
        return self._reordered(state, ((instances, START, self.before, ()), state[1], True, state[3]))

    def scale(self, state: State, number: int, instances: int) -> list[State] | None:
        """None when the app is locked."""
        app = app_of(state, number)
        assert app
        if instances == app[0]:
            return [state]
        if app[1]:
            return None
        active = [place for place, task in enumerate(app[3]) if task & PHASE not in (DYING, ABORTED)]
        surplus = max(0, len(active) - instances)
        order = sorted(active, key=lambda place: app[3][place] & PHASE != STARTING)
        tasks = _killed(app[3], order[:surplus])
        scaled = with_app(state, number, (instances, STOP if surplus else START, app[2], tasks))
        return self._reordered(state, (*scaled[:2], number == 0, state[3]))

    def kill(self, state: State, places: tuple[tuple[int, ...], tuple[int, ...]], *, force: bool) -> list[State] | None:
        """marathon: TaskKiller.killAndScale, one deployment and one moment for both apps. None when one is locked."""
        owners = [number for number in (0, 1) if places[number]]
        if not force and any(app[1] for number in owners if (app := app_of(state, number))):
            return None
        killed = state
        for number in (0, 1):
            app = app_of(killed, number)
            if not app:
                continue
            if number in owners:
                deployment = STOP_BOTH if len(owners) == 2 else STOP
                killed = with_app(killed, number, self._shrunk(app, places[number], deployment))
            elif app[1] == STOP_BOTH and owners and force:
                killed = with_app(killed, number, (app[0], NONE, *app[2:]))
        return self._reordered(state, (*killed[:2], owners == [0], state[3]))

    def _shrunk(self, app: App, chosen: tuple[int, ...], deployment: int) -> App:
        """Without the chosen tasks. Marathon counts one that it lists as running again, though it was killed before;
        then it stops others to have as many as it counted (ScalingProposition: instances without a task come last)."""
        tasks = app[3]
        again = sum(tasks[place] & PHASE in (DYING, ABORTED) for place in chosen)
        fewer = len(chosen) if self.lists_running else len(chosen) - again
        kept = [place for place, task in enumerate(tasks) if task & PHASE not in (DYING, ABORTED)]
        wanted = max(len(kept), app[0]) - (len(chosen) - again)
        order = sorted((place for place in kept if place not in chosen), key=lambda place: tasks[place] & PHASE)
        more = order[: max(0, wanted - max(0, app[0] - fewer))]
        return (max(0, app[0] - fewer), deployment, app[2], _killed(tasks, (*chosen, *more)))

    def delete(self, state: State, number: int) -> State:
        """Forced: a deployment of this app is cancelled, for the other app too."""
        app, other = app_of(state, number), app_of(state, 1 - number)
        assert app
        if other and app[1] == other[1] == STOP_BOTH:
            state = with_app(state, 1 - number, (other[0], NONE, *other[2:]))
        gone = (None, state[1]) if number == 0 else (state[0], None)
        return left_over((*gone, False, state[3]), app[3])

    # -- order of ids ------------------------------------------------------------------------------------------------

    def ordered(self, state: State, number: int) -> bool:
        """Whether the order of the app's ids can matter: to marathon-lb only, for the app that it drains.

        Otherwise it is left open until it matters, and then every order is tried.
        """
        app = app_of(state, number)
        if not (state[0] and state[1] and app):
            return False
        return state[2] == (number == 1) or any(
            task >> shift & 3 == MAINT or task >> shift + 2 & 3 == DISABLE
            for task in app[3]
            for shift in SHIFT[: self.replicas]
        )

    def _reordered(self, before: State, after: State) -> list[State]:
        """After a request: with every order of ids that was left open and matters now."""
        states = [after]
        for number in (0, 1):
            app = app_of(after, number)
            if app and self.ordered(after, number) and not self.ordered(before, number) and len(set(app[3])) > 1:
                states = [
                    with_app(state, number, (*app[:3], tasks))
                    for state in states
                    for tasks in sorted(set(permutations(app[3])))
                ]
        return states

    def canonical(self, state: State) -> State:
        """The same for all states that differ only in names: of replicas, and of tasks whose order is left open."""
        one = self._sorted(state)
        if self.replicas == 1:
            return one
        other = self._sorted(_mirrored(state))
        return min(one, other, key=_key)

    def _sorted(self, state: State) -> State:
        for number in (0, 1):
            app = app_of(state, number)
            if app and len(app[3]) > 1 and not self.ordered(state, number):
                state = with_app(state, number, _in_order(app))
        return state

    # -- measures ----------------------------------------------------------------------------------------------------

    def in_rotation(self, state: State) -> int:
        """Fewest healthy tasks that are UP, over the replicas."""
        return min(
            sum(task & PHASE == HEALTHY and task >> shift & 3 == UP for app in state[:2] if app for task in app[3])
            for shift in SHIFT[: self.replicas]
        )


# Server after a reload: by what the configuration says, then by what it was.
RELOADED = (
    (ABSENT, ABSENT, ABSENT, ABSENT),
    (UP, UP, DOWN, DOWN),  # a fresh server is UP at once, one that leaves MAINT is DOWN for two checks
    (MAINT, MAINT, MAINT, MAINT),
)


def _key(state: State) -> tuple[object, ...]:
    return (state[0] or (), state[1] or (), state[3])


def _ending(tasks: tuple[int, ...]) -> bool:
    return any(task & PHASE in (DYING, ABORTED) for task in tasks)


def app_of(state: State, number: int) -> App | None:
    return state[1] if number else state[0]


def tasks_of(state: State, number: int) -> tuple[int, ...]:
    app = state[1] if number else state[0]
    return app[3] if app else ()


def with_app(state: State, number: int, app: App) -> State:
    return (app, *state[1:]) if number == 0 else (state[0], app, *state[2:])


def _put(tasks: tuple[int, ...], place: int, task: int) -> tuple[int, ...]:
    return (*tasks[:place], task, *tasks[place + 1 :])


def _task(state: State, number: int, place: int, task: int) -> State:
    app = app_of(state, number)
    assert app
    return with_app(state, number, (*app[:3], _put(app[3], place, task)))


def _replica(state: State, replica: int, bits: int) -> State:
    return (*state[:3], (*state[3][:replica], bits, *state[3][replica + 1 :]))


def _killed(tasks: tuple[int, ...], places: Iterable[int]) -> tuple[int, ...]:
    ending = {STARTING: ABORTED, HEALTHY: DYING, BAD: ABORTED, DYING: DYING, ABORTED: ABORTED}
    chosen = set(places)
    return tuple(task & ~PHASE | ending[task & PHASE] if place in chosen else task for place, task in enumerate(tasks))


def left_over(state: State, gone: tuple[int, ...]) -> State:
    """A replica still has the servers of tasks that are gone."""
    replicas = tuple(
        bits | LEFTOVER if any(task >> SHIFT[replica] & 3 for task in gone) else bits
        for replica, bits in enumerate(state[3])
    )
    return (*state[:3], replicas)


def _mirrored(state: State) -> State:
    """With the two replicas exchanged."""
    baseline, canary = state[0], state[1]
    return (
        baseline and _mirrored_app(baseline),
        canary and _mirrored_app(canary),
        state[2],
        (state[3][1], state[3][0]),
    )


@lru_cache(maxsize=200_000)
def _mirrored_app(app: App) -> App:
    tasks = (task & 0b100000000111 | (task >> 4 & 0b1111000) | (task & 0b1111000) << 4 for task in app[3])
    return (*app[:3], tuple(tasks))


@lru_cache(maxsize=200_000)
def _in_order(app: App) -> App:
    return (*app[:3], tuple(sorted(app[3])))
