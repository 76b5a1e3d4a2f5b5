"""The strategies: one file and one row of ``STRATEGIES`` each. ``back`` is the rollback that all of them share.

Start with ``bluegreen``, the shorter one. May import: the rest of the engine, except ``rules`` and ``rollout``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bgci.engine.decisions import Step
from bgci.engine.observation import App
from bgci.engine.situation import Hybrid, Situation
from bgci.engine.strategies import bluegreen, rolling


@dataclass(frozen=True)
class Strategy:
    """``summary``: for the help of --strategy. ``begin``: the first step beside a baseline that serves alone.

    ``canary`` and ``promote``: the next step towards these goals while both run. ``has_placeholder``: whether the
    canary's last instance is a placeholder.
    """

    summary: str
    begin: Callable[[Situation, App], Step]
    canary: Callable[[Hybrid], Step]
    promote: Callable[[Hybrid], Step]
    has_placeholder: Callable[[Hybrid], bool] = lambda hybrid: False


STRATEGIES: Mapping[str, Strategy] = {
    "bluegreen": Strategy(
        "the baseline keeps all its instances until the end", bluegreen.begin, bluegreen.canary, bluegreen.promote
    ),
    "rolling": Strategy(
        "one for one, in waves", rolling.begin, rolling.canary, rolling.promote, rolling.has_placeholder
    ),
}
