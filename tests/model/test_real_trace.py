"""A release on a real Marathon 1.11 with two real load balancers (tests/data, see tests/replay/test_real_release.py) is
one of the model: after each write both load balancers can show, in this order, what they showed there."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from cluster import HEALTHY, LEFTOVER, MAINT, PHASE, SHIFT, UP, Rules, State, app_of
from starts import release

Json = dict[str, Any]
Counts = tuple[int, int]  # servers that are UP, and in MAINT
RECORDING = Path(__file__).parents[1] / "data" / "real-marathon-1.11-release.json.gz"
RULES = Rules(4, 4, 2, label=4)


def recorded() -> tuple[Json, list[Json]]:
    with gzip.open(RECORDING, "rt") as file:
        before, *phases = json.load(file)
    return before, phases


def test_a_release_on_a_real_marathon_with_real_load_balancers_is_one_of_the_model() -> None:
    before, phases = recorded()
    assert [tuple(step) for step in before["rotation"]["lb-1"]] == [shown(release(RULES), 0)]
    assert unexplained(phases) is None


@pytest.mark.parametrize(("place", "steps"), [(1, [[4, 0], [4, 3]]), (4, [[4, 1], [3, 1], [4, 0]])])
def test_an_impossible_sequence_of_rotations_is_not_explained_by_the_model(place: int, steps: list[list[int]]) -> None:
    _, phases = recorded()
    phases[place]["rotation"] = {"lb-1": steps, "lb-2": steps}
    assert unexplained(phases) is not None


def unexplained(phases: Iterable[Json]) -> Json | None:
    """The first write after which the model cannot show what was recorded."""
    states = {release(RULES)}
    apps = ["/webapp-blue", ""]  # baseline and canary
    for phase in phases:
        write = phase["write"]
        if write["status"] < 400:
            states = {after for state in states for after in performed(state, write, apps)}
        steps = [[tuple(step) for step in phase["rotation"][name]] for name in ("lb-1", "lb-2")]
        states = followed(states, steps)  # type: ignore[arg-type]
        if not states:
            return write  # type: ignore[no-any-return]
        if write["method"] == "DELETE" and apps[0] in write["path"]:
            apps[:] = [apps[1], ""]
            states = {promoted(state) for state in states}
        elif write["method"] == "DELETE":
            apps[1] = ""
    return None


def performed(state: State, write: Json, apps: list[str]) -> Iterator[State]:
    """The states after the write, which came at any time after what was shown last."""
    sent, path = write["sent"] or {}, write["path"]
    number = 1 if apps[1] and apps[1] in path else 0
    if path == "/v2/apps":
        apps[1] = sent["id"]
        yield from RULES.create(state, sent["instances"])
    elif path.startswith("/v2/tasks/delete"):
        yield from killed(state, [sum(i.startswith(app[1:] + ".") for i in sent["ids"]) for app in apps])
    elif write["method"] == "PUT":
        yield from RULES.scale(state, number, sent["instances"]) or ()
    else:
        yield RULES.delete(state, number)


def killed(state: State, counts: list[int]) -> Iterator[State]:
    """After a kill of so many drained tasks of the baseline, and of so many of the canary that had not started."""
    choices = []
    for number, count in enumerate(counts):
        app = app_of(state, number)
        tasks = app[3] if app else ()
        found = [place for place, task in enumerate(tasks) if (drained(task) if number == 0 else not task & PHASE)]
        choices.append(list(combinations(found, count)))
    for baseline in choices[0]:
        for canary in choices[1]:
            yield from RULES.kill(state, (baseline, canary), force=True) or ()


def drained(task: int) -> bool:
    return task & PHASE == HEALTHY and all(task >> shift & 3 == MAINT for shift in SHIFT)


def followed(states: set[State], steps: list[list[Counts]]) -> set[State]:
    """All states to which the world can go while both load balancers show these steps, and nothing else."""
    first = {(state, 0, 0) for state in states}
    found, todo = set(first), list(first)
    for state, *places in todo:
        for _, after in RULES.moves(state):
            moved = [place_of(after, replica, places[replica], steps[replica]) for replica in (0, 1)]
            if None not in moved and (one := (sorted_ids(after), moved[0], moved[1])) not in found:
                found.add(one)  # type: ignore[arg-type]
                todo.append(one)  # type: ignore[arg-type]
    ends = [len(one) - 1 for one in steps]
    # A deleted app's servers are gone with the last step; the recording may end before.
    return {
        state
        for state, *places in found
        if places == ends and (ends == [0, 0] or not any(bits & LEFTOVER for bits in state[3]))
    }


def place_of(state: State, replica: int, place: int, steps: list[Counts]) -> int | None:
    """How far the load balancer has got in its steps; None where it shows something else."""
    if state[3][replica] & LEFTOVER:
        return place
    for following in (place, place + 1):
        if following < len(steps) and between(shown(state, replica), steps[place], steps[following]):
            return following if shown(state, replica) == steps[following] else place
    return None


def between(counts: Counts, one: Counts, other: Counts) -> bool:
    """The recording has a look every quarter of a second: what was there for a shorter time it does not show."""
    low, high = sorted((one[1], other[1]))
    return counts[0] == one[0] == other[0] and low <= counts[1] <= high


def shown(state: State, replica: int) -> Counts:
    servers = [task >> SHIFT[replica] & 3 for app in (state[0], state[1]) if app for task in app[3]]
    return servers.count(UP), servers.count(MAINT)


def sorted_ids(state: State) -> State:
    """Not ``canonical``: the two load balancers are told apart here."""
    return RULES._sorted(state)


def promoted(state: State) -> State:
    """The canary is the next release's baseline."""
    canary = state[1]
    assert canary
    return ((canary[0], canary[1], 4, canary[3]), None, False, state[3])
