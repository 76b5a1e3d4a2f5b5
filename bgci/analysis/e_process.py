"""Exact laws of small counts, and betting against one of them: the arithmetic under the judge.

Pure: no I/O, no clock. The maths is told in words in `docs/judge.md`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

# What is rarer than this is left out of a law: far below any error probability that anyone asks for.
NEGLIGIBLE = 1e-30


@dataclass(frozen=True)
class Law:
    """The probabilities of the counts ``start``, ``start + 1``, ...; they add up to 1."""

    start: int = 0
    mass: tuple[float, ...] = (1.0,)

    @property
    def end(self) -> int:
        return self.start + len(self.mass) - 1

    def at_least(self, count: int) -> float:
        """The probability of ``count`` or more."""
        return 1.0 if count <= self.start else min(1.0, math.fsum(self.mass[count - self.start :]))

    def at_most(self, count: int) -> float:
        """The probability of ``count`` or fewer."""
        if count >= self.end:
            return 1.0
        return min(1.0, math.fsum(self.mass[: count - self.start + 1])) if count >= self.start else 0.0

    def plus(self, other: Law) -> Law:
        """The law of the sum of two independent counts."""
        short, long = sorted((self.mass, other.mass), key=len)
        total = [0.0] * (len(short) + len(long) - 1)
        for shift, weight in enumerate(short):
            for index, mass in enumerate(long, shift):
                total[index] += weight * mass
        return _trimmed(self.start + other.start, total)


@lru_cache(maxsize=4096)
def binomial(trials: int, rate: float) -> Law:
    """The errors among ``trials`` requests that fail with probability ``rate`` each, 0 < rate < 1."""
    odds = rate / (1 - rate)
    mode = min(trials, int((trials + 1) * rate))
    return _from_ratios(mode, 0, trials, lambda x: (trials - x) / (x + 1) * odds)


@lru_cache(maxsize=4096)
def hypergeometric(canary: int, baseline: int, errors: int, odds: float = 1.0) -> Law:
    """The canary's share of ``errors`` that fell among ``canary`` + ``baseline`` requests.

    ``odds``: the canary's odds of an error over the baseline's; 1 is "the same rate, whatever it is" (Fisher's exact
    law), otherwise Fisher's noncentral law. Neither needs the rate itself.
    """
    low, high = max(0, errors - baseline), min(canary, errors)

    def ratio(x: int) -> float:
        return odds * (canary - x) * (errors - x) / ((x + 1) * (baseline - errors + x + 1))

    # The law rises while the ratio is at least 1, and the ratio falls all the way: its mode by bisection.
    below, above = low, high
    while below < above:
        middle = (below + above) // 2
        below, above = (middle + 1, above) if ratio(middle) >= 1 else (below, middle)
    return _from_ratios(below, low, high, ratio)


def _from_ratios(mode: int, low: int, high: int, ratio: Callable[[int], float]) -> Law:
    """A law from its mode and P(x + 1) / P(x), which falls: both sides are followed until they no longer matter."""
    right, left = [1.0], []
    for x in range(mode, high):
        right.append(right[-1] * ratio(x))
        if right[-1] < NEGLIGIBLE:
            break
    mass = 1.0
    for x in range(mode - 1, low - 1, -1):
        mass /= ratio(x)
        left.append(mass)
        if mass < NEGLIGIBLE:
            break
    return _trimmed(mode - len(left), [*reversed(left), *right])


def _trimmed(start: int, mass: list[float]) -> Law:
    total = math.fsum(mass)
    first, last = 0, len(mass)
    while mass[first] < NEGLIGIBLE * total:
        first += 1
    while mass[last - 1] < NEGLIGIBLE * total:
        last -= 1
    return Law(start + first, tuple(m / total for m in mass[first:last]))


@dataclass(frozen=True)
class Bet:
    """A gambler who plays against one null hypothesis, at fair odds under it, with one coin to begin with.

    While the null is true the wealth reaches ``goal`` with probability at most 1 / goal, however long and however often
    one looks (Ville's inequality); so reaching it is proof against the null at that error probability.

    ``tilts``: the alternatives that the gambler believes in, as odds relative to the null: all above 1 (the count is
    larger than the null says) or all below 1 (smaller). All get the same share of the coin at the beginning.
    """

    tilts: tuple[float, ...]
    goal: float
    wealth: float = 1.0
    beliefs: tuple[float, ...] = ()  # log of the relative belief in each tilt
    law: Law = Law()  # of the total count under the null
    total: int = 0

    @property
    def won(self) -> bool:
        return self.wealth >= self.goal * (1 - 1e-12)  # but for rounding

    @property
    def p_value(self) -> float:
        """The exact one-sided probability, under the null, of a total at least this far out (for one look)."""
        return self.law.at_least(self.total) if self.tilts[0] > 1 else self.law.at_most(self.total)

    def see(self, law: Law, count: int) -> Bet:
        """One more count, whose law under the null is ``law`` given all that was seen before."""
        if law.start == law.end:  # nothing to bet on: the count was certain
            return replace(self, law=self.law.plus(law), total=self.total + count)
        # A count beyond what the law still lists is taken for the last one listed.
        index = min(max(count, law.start), law.end) - law.start
        beliefs = self.beliefs or (0.0,) * len(self.tilts)
        scores = [_log_ratios(law, tilt) for tilt in self.tilts]
        weights = _shares(beliefs)
        ratios = [
            sum(w * math.exp(min(score[i], 700.0)) for w, score in zip(weights, scores, strict=True))
            for i in range(len(law.mass))
        ]
        wealth = self.goal if self.won else min(self.goal, self.wealth * _payoffs(law, ratios, self)[index])
        return replace(
            self,
            wealth=max(NEGLIGIBLE, wealth),  # who lost everything keeps next to nothing: no number underflows
            beliefs=tuple(belief + score[index] for belief, score in zip(beliefs, scores, strict=True)),
            law=self.law.plus(law),
            total=self.total + count,
        )


def _log_ratios(law: Law, tilt: float) -> list[float]:
    """log of P(x under the alternative) / P(x under the null): the alternative is the null tilted by the odds."""
    step = math.log(tilt)
    logs = [i * step for i in range(len(law.mass))]
    top = max(logs)
    norm = top + math.log(math.fsum(m * math.exp(score - top) for m, score in zip(law.mass, logs, strict=True)))
    return [score - norm for score in logs]


def _shares(logs: tuple[float, ...]) -> list[float]:
    top = max(logs)
    weights = [math.exp(score - top) for score in logs]
    return [weight / sum(weights) for weight in weights]


def _payoffs(law: Law, ratios: list[float], bet: Bet) -> list[float]:
    """What each count multiplies the wealth by: fair under the null, and nothing is won beyond the goal.

    What would be won beyond the goal is of no use; it is paid out on the other counts instead (Fischer & Ramdas,
    "Improving Wald's SPRT by avoiding overshoot"). The root of a concave function, by Newton's steps from below.
    """
    cap = bet.goal / bet.wealth
    boost = 1.0
    while True:
        capped = [boost * ratio >= cap for ratio in ratios]
        taken = cap * math.fsum(m for m, c in zip(law.mass, capped, strict=True) if c)
        rest = math.fsum(m * r for m, r, c in zip(law.mass, ratios, capped, strict=True) if not c)
        better = (1 - taken) / rest if rest > 0 else boost
        if better <= boost * (1 + 1e-12):
            return [min(cap, boost * ratio) for ratio in ratios]
        boost = better
