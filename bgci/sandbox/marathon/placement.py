"""Constraints: the agents allowed for an app's next instance, and the instances to kill first when it is scaled down
(marathon: src/main/scala/mesosphere/mesos/Constraints.scala)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Attributes = Mapping[str, str]
"""The attributes of one agent: ``hostname``, and those that its operator set."""


def value_of(field: str, agent: Attributes) -> str | None:
    """An agent's value for the field of a constraint; None without such an attribute."""
    return agent.get({"@hostname": "hostname", "@region": "region", "@zone": "zone"}.get(field, field))


@dataclass(frozen=True)
class Situation:
    """Input of a placement. ``agents``: all agents; ``placed``: the agents of the app's instances; ``wanted``: the
    target number of instances."""

    agents: Sequence[Attributes]
    placed: Sequence[Attributes]
    wanted: int


def fits(constraints: Iterable[Sequence[str]], agent: Attributes, now: Situation) -> bool:
    """Whether an agent meets all constraints."""
    return all(_meets(constraint, agent, now) for constraint in constraints)


def _meets(constraint: Sequence[str], agent: Attributes, now: Situation) -> bool:
    field, operator, *rest = constraint
    offered, argument = value_of(field, agent), rest[0] if rest else ""
    if offered is None:
        return operator == "UNLIKE"
    taken = [value_of(field, other) for other in now.placed]
    if operator == "UNIQUE":
        return offered not in taken
    if operator == "CLUSTER":
        return offered == argument if argument else not taken or taken[0] == offered
    if operator == "GROUP_BY":
        # Without a number, Marathon counts the values seen in offers; the sandbox counts the values of all agents.
        groups = int(argument or 0) or len({value_of(field, other) for other in now.agents} - {None})
        return _spreads(offered, Counter(taken), now.wanted, groups)
    if operator == "MAX_PER":
        return taken.count(offered) < int(argument)
    if operator == "IS":
        return _scalar(offered) == _scalar(argument)
    return (re.fullmatch(argument, offered) is not None) == (operator == "LIKE")


def _spreads(offered: str, counts: Mapping[str | None, int], wanted: int, groups: int) -> bool:
    if offered not in counts:
        return len(counts) < groups
    each, remainder = divmod(wanted, groups)
    unused = remainder - sum(max(0, count - each) for count in counts.values())
    return counts[offered] < each or (counts[offered] == each and unused > 0)


def _scalar(text: str) -> str:
    """Numbers by value, to three places; everything else as it is."""
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return text
    return f"{float(text):.3f}".rstrip("0").rstrip(".")


def crowded(constraints: Iterable[Sequence[str]], running: Mapping[str, Attributes], count: int) -> list[str]:
    """Up to ``count`` of the running instances whose end keeps a GROUP_BY even: one after another from the largest
    group (marathon: Constraints.selectInstancesToKill)."""
    fields = [constraint[0] for constraint in constraints if constraint[1] == "GROUP_BY"]
    left = dict(running)
    chosen: list[str] = []
    while fields and left and len(chosen) < count:
        groups = Counter(value_of(fields[0], agent) for agent in left.values())
        largest = max(groups.values())
        if largest == min(groups.values()):
            break
        chosen.append(next(one for one, agent in left.items() if groups[value_of(fields[0], agent)] == largest))
        del left[chosen[-1]]
    return chosen
