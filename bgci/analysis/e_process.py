"""Exact distributions of small counts, and e-processes (sequential tests) on them: the arithmetic of the judge.

Pure: no I/O, no clock. `docs/judge.md` explains the method in plain words and in formulae.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

# Counts with a smaller probability are omitted: far below any error probability in use.
NEGLIGIBLE = 1e-30


@dataclass(frozen=True)
class Distribution:
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

    def plus(self, other: Distribution) -> Distribution:
        """The distribution of the sum of two independent counts."""
        short, long = sorted((self.mass, other.mass), key=len)
        total = [0.0] * (len(short) + len(long) - 1)
        for shift, weight in enumerate(short):
            for index, mass in enumerate(long, shift):
                total[index] += weight * mass
        return _trimmed(self.start + other.start, total)


@lru_cache(maxsize=4096)
def binomial(trials: int, rate: float) -> Distribution:
    """The errors among ``trials`` requests that fail with probability ``rate`` each, 0 < rate < 1."""
    odds = rate / (1 - rate)
    mode = min(trials, int((trials + 1) * rate))
    return _from_ratios(mode, 0, trials, lambda x: (trials - x) / (x + 1) * odds)


@lru_cache(maxsize=4096)
def hypergeometric(canary: int, baseline: int, errors: int, odds: float = 1.0) -> Distribution:
    """The canary's share of ``errors`` that fell among ``canary`` + ``baseline`` requests.

    ``odds``: the canary's odds of an error over the baseline's; 1 is "both have the same rate" (Fisher's exact
    test), otherwise Fisher's noncentral distribution. Neither needs the rate itself.
    """
    low, high = max(0, errors - baseline), min(canary, errors)

    def ratio(x: int) -> float:
        return odds * (canary - x) * (errors - x) / ((x + 1) * (baseline - errors + x + 1))

    # The distribution rises while the ratio is at least 1, and the ratio falls all the way: its mode by bisection.
    below, above = low, high
    while below < above:
        middle = (below + above) // 2
        below, above = (middle + 1, above) if ratio(middle) >= 1 else (below, middle)
    return _from_ratios(below, low, high, ratio)


def _from_ratios(mode: int, low: int, high: int, ratio: Callable[[int], float]) -> Distribution:
    """A distribution from its mode and the falling ratio P(x + 1) / P(x), on both sides until it is negligible."""
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


def _trimmed(start: int, mass: list[float]) -> Distribution:
    total = math.fsum(mass)
    first, last = 0, len(mass)
    while mass[first] < NEGLIGIBLE * total:
        first += 1
    while mass[last - 1] < NEGLIGIBLE * total:
        last -= 1
    return Distribution(start + first, tuple(m / total for m in mass[first:last]))


@dataclass(frozen=True)
class EProcess:
    """An e-process: the evidence against one null hypothesis, over any number of polls. The e-value starts at 1.

    If the null hypothesis is true, the e-value ever reaches ``threshold`` with probability at most 1 / threshold, for
    any number of polls (Ville's inequality). Reaching it is therefore evidence against the null at that error
    probability.

    ``tilts``: the alternatives, as odds relative to the null: all above 1 (a larger count than under the null) or all
    below 1 (a smaller one). The e-value is their weighted mean likelihood ratio; the weights start equal.
    """

    tilts: tuple[float, ...]
    threshold: float
    e_value: float = 1.0
    log_weights: tuple[float, ...] = ()  # of each alternative: log of its likelihood ratio so far
    distribution: Distribution = Distribution()  # of the total count under the null
    total: int = 0

    @property
    def won(self) -> bool:
        """Whether the e-value has reached the threshold."""
        return self.e_value >= self.threshold * (1 - 1e-12)  # allow for rounding

    @property
    def p_value(self) -> float:
        """The exact one-sided probability, under the null, of a total at least this extreme (valid for one poll)."""
        return self.distribution.at_least(self.total) if self.tilts[0] > 1 else self.distribution.at_most(self.total)

    def see(self, distribution: Distribution, count: int) -> EProcess:
        """The e-process after one more count. ``distribution``: of that count under the null, given all earlier
        ones."""
        if distribution.start == distribution.end:  # a count with probability 1 is not evidence
            return replace(self, distribution=self.distribution.plus(distribution), total=self.total + count)
        # A count outside of the distribution counts as its nearest one.
        index = min(max(count, distribution.start), distribution.end) - distribution.start
        log_weights = self.log_weights or (0.0,) * len(self.tilts)
        scores = [_log_ratios(distribution, tilt) for tilt in self.tilts]
        weights = _normalised(log_weights)
        ratios = [
            sum(w * math.exp(min(score[i], 700.0)) for w, score in zip(weights, scores, strict=True))
            for i in range(len(distribution.mass))
        ]
        e_value = (
            self.threshold
            if self.won
            else min(self.threshold, self.e_value * _factors(distribution, ratios, self)[index])
        )
        return replace(
            self,
            e_value=max(NEGLIGIBLE, e_value),  # clamped above zero to avoid underflow
            log_weights=tuple(log + score[index] for log, score in zip(log_weights, scores, strict=True)),
            distribution=self.distribution.plus(distribution),
            total=self.total + count,
        )


def _log_ratios(distribution: Distribution, tilt: float) -> list[float]:
    """log of P(x under the alternative) / P(x under the null): the alternative is the null tilted by the odds."""
    step = math.log(tilt)
    logs = [i * step for i in range(len(distribution.mass))]
    top = max(logs)
    norm = top + math.log(
        math.fsum(m * math.exp(score - top) for m, score in zip(distribution.mass, logs, strict=True))
    )
    return [score - norm for score in logs]


def _normalised(logs: tuple[float, ...]) -> list[float]:
    top = max(logs)
    weights = [math.exp(score - top) for score in logs]
    return [weight / sum(weights) for weight in weights]


def _factors(distribution: Distribution, ratios: list[float], process: EProcess) -> list[float]:
    """The factor of the e-value for each count: its mean is 1 under the null, and it never exceeds the threshold.

    A part beyond the threshold would be useless, so it is moved to the other counts (Fischer & Ramdas, "Improving
    Wald's SPRT by avoiding overshoot"). Newton's method from below finds the root of a concave function.
    """
    cap = process.threshold / process.e_value
    boost = 1.0
    while True:
        capped = [boost * ratio >= cap for ratio in ratios]
        taken = cap * math.fsum(m for m, c in zip(distribution.mass, capped, strict=True) if c)
        rest = math.fsum(m * r for m, r, c in zip(distribution.mass, ratios, capped, strict=True) if not c)
        better = (1 - taken) / rest if rest > 0 else boost
        if better <= boost * (1 + 1e-12):
            return [min(cap, boost * ratio) for ratio in ratios]
        boost = better
