"""The scopes of the exploration: the size of the world, its first states, and its stages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cluster import Rules, State
from explorer import Graph
from pilot import NEW, Stage
from starts import everywhere, nothing, release

from bgci.engine.decisions import Goal, Kind, Policy

NEVER = 1e9


def stages(target: int, canaries: tuple[int, ...], waves: tuple[int, ...]) -> list[Stage]:
    """Each goal by each strategy."""
    ways = [Policy(drain_timeout=NEVER)] + [Policy("rolling", wave, drain_timeout=NEVER) for wave in waves]
    back = [Stage(Goal(Kind.ROLLBACK, NEW, target), ways[0])]
    forward = [Stage(Goal(Kind.PROMOTE, NEW, target), way) for way in ways]
    return (
        back
        + forward
        + [Stage(Goal(Kind.CANARY, NEW, target, size), way) for way in ways for size in sorted(set(canaries))]
    )


@dataclass(frozen=True)
class Scope:
    """``everywhere``: beginning in every state of Marathon in which up to so many instances of an app are not healthy;
    None: beginning where a release begins. ``more``: instances beyond the wanted ones."""

    before: int
    target: int
    replicas: int
    everywhere: int | None = None
    dying: int = 0
    delayed: bool = False
    lists_running: bool = False
    no_room: bool = False
    label: int | None = -1
    canaries: tuple[int, ...] = (1,)
    waves: tuple[int, ...] = (1,)
    more: int = 1
    lag: bool = True

    @property
    def rules(self) -> Rules:
        label = self.before if self.label == -1 else self.label
        swappable = label is not None
        flags = (swappable, self.delayed, self.lists_running, self.no_room)
        return Rules(self.before, self.target, self.replicas, label, *flags)

    @property
    def name(self) -> str:
        parts = [f"{self.before} to {self.target} instances, {self.replicas} load balancers"]
        if self.everywhere is not None:
            parts.append(f"from everywhere ({self.everywhere} missing, {self.dying} ending)")
        parts += ["no instance more"] * (not self.more)
        parts += ["delayed reloads"] * self.delayed + ["killed tasks listed as running"] * self.lists_running
        parts += ["without room"] * self.no_room
        parts += [f"TARGET of the baseline {self.label}"] * (self.label != -1)
        parts += [f"canaries of {self.canaries}, waves of {self.waves}"]
        return ", ".join(parts)

    def graph(self) -> Graph:
        most = max(self.before, self.target) + self.more
        return Graph(self.rules, stages(self.target, self.canaries, self.waves), (most, most), most + 1, self.lag)

    def starts(self) -> Iterator[State]:
        yield release(self.rules)
        yield nothing(self.rules)
        if self.everywhere is not None:
            most = max(self.before, self.target) + self.more
            yield from everywhere(self.rules, (most, most), self.everywhere, self.dying)
