"""Judges the explored states and the paths between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from cluster import State
from criteria import shown
from explorer import BEYOND, DONE, FAILS, Graph, Rows
from numpy.typing import NDArray

Numbers = NDArray[np.int32]


@dataclass
class Judgement:
    """``steps``: of bgci, at most, from any state to the end. ``dips``: how many steps, by depth, lead to one."""

    states: int
    transitions: int
    faults: list[str]
    steps: dict[str, int] = field(default_factory=dict)
    dips: Counter[int] = field(default_factory=Counter)


@dataclass
class Edges:
    """From each state to those that follow it, in two arrays of the same length."""

    states: int
    source: Numbers
    target: Numbers

    def joined(self, other: Edges) -> Edges:
        return Edges(
            self.states,
            np.concatenate((self.source, other.source)),
            np.concatenate((self.target, other.target)),
        )

    def where(self, holds: NDArray[np.bool_]) -> Edges:
        return Edges(self.states, self.source[holds], self.target[holds])

    def backwards(self) -> Iterator[tuple[NDArray[np.int64], Numbers]]:
        """From the ends of all ways back to their beginnings: edges by number, with their sources, each once all that
        follows its target was given. Edges that lead into a circle are not given."""
        order = np.argsort(self.target, kind="stable")
        first = np.searchsorted(self.target[order], np.arange(self.states + 1))
        left = np.bincount(self.source, minlength=self.states)
        ready = np.flatnonzero(left == 0)
        while ready.size:
            counts = first[ready + 1] - first[ready]
            begins = np.repeat(first[ready] - np.concatenate(([0], np.cumsum(counts)[:-1])), counts)
            edges = order[begins + np.arange(counts.sum())]
            sources = self.source[edges]
            yield edges, sources
            np.subtract.at(left, sources, 1)
            touched = np.unique(sources)
            ready = touched[left[touched] == 0]


def judged(graph: Graph) -> Judgement:
    return _Judge(graph).judged()


class _Judge:
    def __init__(self, graph: Graph) -> None:
        self.graph, self.rules = graph, graph.rules
        self.count = len(graph.states)
        self.moves = self._edges(graph.moves, np.arange(self.count))

    def judged(self) -> Judgement:
        graph = self.graph
        floor = min(self.rules.before, self.rules.target)
        least = self.least()
        found = Judgement(self.count, graph.transitions, faults=list(graph.faults))
        for number, stage in enumerate(graph.stages):
            acts = self._edges(graph.performed, np.frombuffer(graph.acts[number], dtype=np.uint32))
            circles, stuck, found.steps[stage.name] = self.ends(number, acts)
            found.faults += [f"{stage.name}: a circle\n    {self._lines(number, circle[:9])}" for circle in circles]
            for state in stuck:
                if not self._waits_for_sessions(graph.states[state]):
                    found.faults.append(f"{stage.name}: nothing happens any more\n    {self._lines(number, [state])}")
            acts = acts.where(acts.target >= 0)
            deep = np.minimum(floor, least[acts.source]) - least[acts.target]
            for place in np.flatnonzero(deep > 0).tolist():
                state, after, depth = int(acts.source[place]), int(acts.target[place]), int(deep[place])
                if self._bounded(graph.states[state], depth, int(least[state])):
                    found.dips[depth] += 1
                elif len(found.faults) < 2000:
                    text = self._lines(number, [state, after])
                    found.faults.append(f"{stage.name}: {least[state]} in rotation, then {least[after]}\n    {text}")
        return found

    def _edges(self, rows: Rows, of: NDArray[np.integer]) -> Edges:
        """An edge for each number of the row of each state."""
        ends = np.frombuffer(rows.ends, dtype=np.int64)
        begins, counts = ends[of], ends[of + 1] - ends[of]
        source = np.repeat(np.arange(self.count, dtype=np.int32), counts)
        shift = np.repeat(begins - np.concatenate(([0], np.cumsum(counts)[:-1])), counts)
        flat = np.frombuffer(rows.flat, dtype=np.int32) if rows.flat else np.zeros(0, dtype=np.int32)
        return Edges(self.count, source, flat[shift + np.arange(source.size)])

    def least(self) -> Numbers:
        """For each state: the fewest in rotation, whatever the world does from there without bgci."""
        least = np.fromiter(map(self.rules.in_rotation, self.graph.states), dtype=np.int32, count=self.count)
        given = 0
        for edges, sources in self.moves.backwards():
            np.minimum.at(least, sources, least[self.moves.target[edges]])
            given += edges.size
        assert given == self.moves.source.size, "The world goes in circles."
        return least

    def ends(self, stage: int, acts: Edges) -> tuple[list[list[int]], list[int], int]:
        """Circles of this stage (each a livelock), states in which nothing can happen any more and the goal is not
        reached, and the most steps of bgci from any state to the end. After Done and Fail the run is over."""
        verdicts = np.frombuffer(self.graph.verdicts[stage], dtype=np.uint8)
        ended = (verdicts == DONE) | (verdicts == FAILS)
        leaves = np.zeros(self.count, dtype=bool)
        leaves[acts.source[acts.target == BEYOND]] = True
        acts = acts.where(acts.target >= 0)
        follow = self.moves.joined(acts)
        costs = np.zeros(follow.source.size, dtype=np.int32)
        costs[self.moves.source.size :] = 1
        goes_on = ~ended[follow.source]
        follow, costs = follow.where(goes_on), costs[goes_on]
        steps = np.zeros(self.count, dtype=np.int32)
        given = np.zeros(follow.source.size, dtype=bool)
        for edges, sources in follow.backwards():
            given[edges] = True
            np.maximum.at(steps, sources, steps[follow.target[edges]] + costs[edges])
        stays = np.ones(self.count, dtype=bool)
        stays[follow.source] = False
        stuck = np.flatnonzero(stays & ~ended & ~leaves)
        return list(_circles(follow.where(~given))), stuck.tolist(), int(steps.max(initial=0))

    def _bounded(self, state: State, depth: int, least: int) -> bool:
        """Whether the dip is one of those that docs/engine.md states: of half of what serves, when an operator or a
        plain kill has swapped the roles; of half, rounded up, but not of all, by a plain kill without room; of a
        canary, when the baseline was scaled by hand."""
        canary = state[1]
        if self.rules.no_room and depth < least and 2 * depth <= least + 1:
            return True
        by_hand = self.rules.label != self.rules.before and canary is not None and depth <= canary[0]
        return by_hand or (state[2] and 2 * depth <= least)

    def _waits_for_sessions(self, state: State) -> bool:
        """A canary beside a baseline that is smaller than its TARGET cannot be drained (docs/engine.md): the run ends
        at ``--drain-timeout``."""
        baseline, canary = state[0], state[1]
        label = self.rules.label
        return bool(baseline and canary) and (label is None or label > max(canary[2] or 0, baseline[0]))

    def _lines(self, stage: int, states: Iterable[int]) -> str:
        found = self.graph.states
        return "\n    ".join(
            f"{shown(self.rules, found[state])}\n        {self.graph.pilot.decide(found[state])[stage]}"
            for state in states
        )


def _circles(left: Edges) -> Iterator[list[int]]:
    """Some of the circles to which these edges lead."""
    follow = dict(zip(left.source.tolist(), left.target.tolist(), strict=True))
    known: set[int] = set()
    for root in follow:
        way: dict[int, None] = {}
        while root in follow and root not in known:
            known.add(root)
            way[root] = None
            root = follow[root]
        if root in way:
            names = list(way)
            yield names[names.index(root) :]
