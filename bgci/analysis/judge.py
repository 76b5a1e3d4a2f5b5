"""Decides from error counts whether the canary is worse than the baseline, as soon as the counts allow.

Pure: no I/O, no clock. `docs/judge.md` explains the method, with measurements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bgci.analysis.e_process import EProcess, binomial, hypergeometric

Ruling = Literal["pass", "fail", "inconclusive", "undecided"]

# The alternatives for a bad canary: its odds of an error are 2, 7 or 25 times the baseline's. Of all
# examined sets this one detects fastest, at the rates and shares of docs/judge.md.
WORSE = (2.0, 7.0, 25.0)
# The alternatives for a good canary: its odds of an error are a half, a quarter, a twentieth of those at the floor.
UNDER_FLOOR = (0.5, 0.25, 0.05)


@dataclass(frozen=True)
class Counts:
    """Requests answered so far, and how many of them were errors."""

    requests: int = 0
    errors: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.errors <= self.requests:
            raise ValueError(f"{self.errors} errors in {self.requests} requests")

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.requests + other.requests, self.errors + other.errors)

    def __sub__(self, other: Counts) -> Counts:
        return Counts(self.requests - other.requests, self.errors - other.errors)

    def __str__(self) -> str:
        return f"{self.errors:,} error{'' if self.errors == 1 else 's'} in {self.requests:,} requests"

    @property
    def rate(self) -> float:
        return self.errors / self.requests if self.requests else 0.0


def wilson(counts: Counts) -> tuple[float, float]:
    """Wilson's 95 % interval of the error rate, valid for one poll; 0 and 1 before the first request."""
    n, z2 = counts.requests, 1.96**2
    if not n:
        return 0.0, 1.0
    half = math.sqrt(z2 * (counts.errors * (1 - counts.rate) + z2 / 4))
    return max(0.0, counts.errors + z2 / 2 - half) / (n + z2), min(1.0, (counts.errors + z2 / 2 + half) / (n + z2))


@dataclass(frozen=True)
class JudgePolicy:
    """The judge's error probabilities, and the allowed error rate.

    ``alpha``: the probability that the judge fails a good canary, over the whole run, for any number of polls.
    ``beta``: the probability that the judge passes a canary whose error rate is above the allowed one.
    The allowed rate is the larger of ``ratio`` times the baseline's rate and ``floor``.
    ``end_share``: the part of both probabilities that is kept for the exact test at the end of the time.
    """

    alpha: float = 0.05
    beta: float = 0.2
    ratio: float = 2.0
    floor: float = 0.005
    end_share: float = 0.05

    def part(self, share: float) -> JudgePolicy:
        """The policy with this part of ``alpha``, for one of several verdicts that can fail the canary: a good canary
        fails with probability ``alpha`` at most, for any dependence between them (Bonferroni)."""
        return replace(self, alpha=self.alpha * share)

    def allowed(self, baseline_rate: float) -> float:
        """The allowed error rate: a canary passes only below it."""
        return max(self.ratio * baseline_rate, self.floor)

    @property
    def fail_threshold(self) -> float:
        """The threshold of the e-process against "not worse"."""
        return 1 / (self.alpha * (1 - self.end_share))

    @property
    def pass_threshold(self) -> float:
        """The threshold of each of the two e-processes against "at or above the allowed rate"."""
        return 2 / (self.beta * (1 - self.end_share))

    def requests_to_detect(self, baseline_rate: float, canary_rate: float, share: float) -> int:
        """About how many canary requests show that ``canary_rate`` is worse than ``baseline_rate``, on average.

        ``share``: the canary's part of the traffic, between 0 and 1. 0 < ``canary_rate``; raises ValueError unless it
        is above ``baseline_rate``.
        """
        if canary_rate <= baseline_rate:
            raise ValueError("the canary is not worse")
        errors = canary_rate * share + baseline_rate * (1 - share)  # per request of the whole traffic
        mine = canary_rate * share / errors
        # An error of the canary multiplies the e-value by at most 1 / share: there is a minimum number of them.
        least = math.ceil(math.log(self.fail_threshold) / math.log(1 / share))
        information = errors / share * _divergence(mine, share)  # per canary request
        return math.ceil(max(math.log(self.fail_threshold * len(WORSE)) / information, least / canary_rate))

    def requests_to_pass(self, baseline_rate: float, share: float) -> int:
        """About how many canary requests a canary as good as the baseline needs to pass; 0 when it never can."""
        found = []
        if baseline_rate < self.floor:
            information = _divergence(baseline_rate, self.floor)
            found.append(math.log(self.pass_threshold * len(UNDER_FLOOR)) / information)
        if 0 < share < 1 and baseline_rate > 0:
            at_limit = self.ratio * share / (self.ratio * share + 1 - share)
            information = baseline_rate / share * _divergence(share, at_limit)
            found.append(math.log(self.pass_threshold * 2) / information)
        return math.ceil(min(found, default=0))


def _divergence(rate: float, other: float) -> float:
    """The Kullback-Leibler divergence of two error rates, in nats per request."""
    return math.fsum(p * math.log(p / q) for p, q in ((rate, other), (1 - rate, 1 - other)) if p > 0)


@dataclass(frozen=True)
class Verdict:
    """The decision, its reason, and its numbers.

    ``p_value``: of the exact test in ``reason``, on all counts, valid for a single poll.
    """

    outcome: Ruling
    reason: str
    p_value: float
    canary: Counts = Counts()
    baseline: Counts = Counts()


@dataclass(frozen=True)
class Judge:
    """All counts so far, and three e-processes; ``see`` returns the next judge. The first to reach its threshold ends
    all.

    ``worse``: against "the canary's error rate is not higher"; at its threshold the canary fails.
    ``within_ratio``, ``under_floor``: against "it is at least ``ratio`` times the baseline's" and "it is at least
    ``floor``"; at either threshold the canary passes.
    """

    policy: JudgePolicy
    worse: EProcess
    within_ratio: EProcess
    under_floor: EProcess
    canary: Counts = Counts()
    baseline: Counts = Counts()

    @classmethod
    def under(cls, policy: JudgePolicy | None = None) -> Judge:
        """A judge without counts."""
        policy = policy or JudgePolicy()
        even, better = 1 / policy.ratio, 0.25 / policy.ratio  # the canary's odds are the baseline's, or a quarter
        return cls(
            policy,
            worse=EProcess(WORSE, policy.fail_threshold),
            within_ratio=EProcess((even, better), policy.pass_threshold),
            under_floor=EProcess(UNDER_FLOOR, policy.pass_threshold),
        )

    def see(self, canary: Counts, baseline: Counts) -> Judge:
        """The judge after one more poll. Both counts are totals since the beginning; a smaller one is a ValueError.

        The requests since the last poll are one stratum. They are compared with each other only, so that rates and
        shares of traffic can change.
        """
        new, old = canary - self.canary, baseline - self.baseline
        judge = replace(self, canary=canary, baseline=baseline)
        if self.settled or not new.requests:
            return judge
        errors = new.errors + old.errors
        odds = self.policy.ratio
        return replace(
            judge,
            worse=self.worse.see(hypergeometric(new.requests, old.requests, errors), new.errors),
            within_ratio=self.within_ratio.see(hypergeometric(new.requests, old.requests, errors, odds), new.errors),
            under_floor=self.under_floor.see(binomial(new.requests, self.policy.floor), new.errors),
        )

    @property
    def settled(self) -> bool:
        """Whether an e-process has reached its threshold: more polls change nothing."""
        return self.worse.won or self.within_ratio.won or self.under_floor.won

    def verdict(self, *, over: bool = False) -> Verdict:
        """The verdict now. ``over``: the time is up, so that the verdict cannot be "undecided"."""
        outcome, process = ruling(self.policy, self.worse, (self.within_ratio, self.under_floor), over=over)
        return Verdict(outcome, self._reason(outcome, process), process.p_value, self.canary, self.baseline)

    @property
    def needed(self) -> int:
        """About how many canary requests a good canary needs to pass."""
        requests = self.canary.requests + self.baseline.requests
        share = self.canary.requests / requests if requests else 0.5
        return self.policy.requests_to_pass(self.baseline.rate, share)

    def _reason(self, outcome: Ruling, process: EProcess) -> str:
        counts = f"canary {self.canary}, baseline {self.baseline.errors:,} in {self.baseline.requests:,}"
        if outcome == "fail":
            return f"{counts}; p = {p_text(process.p_value)}"
        if outcome == "pass":
            below = (
                f"{self.policy.ratio:g} times the baseline's"
                if process is self.within_ratio
                else percent(self.policy.floor)
            )
            return f"{counts}: its error rate is below {below}; p = {p_text(process.p_value)}"
        if self.canary.requests < self.needed:
            return f"insufficient traffic: {self.canary.requests:,} of {self.needed:,} requests; {counts}"
        allowed = percent(self.policy.allowed(self.baseline.rate))
        return f"neither shown worse than the baseline nor shown below {allowed}: {counts}"


def ruling(policy: JudgePolicy, bad: EProcess, good: Sequence[EProcess], *, over: bool) -> tuple[Ruling, EProcess]:
    """The ruling and the e-process that decides it. ``bad`` fails the canary, each of ``good`` passes it.

    ``over``: the time is up; then their exact tests are made once, with the part of alpha and beta that was kept.
    """
    rulings: list[tuple[Ruling, EProcess, float]] = [("fail", bad, policy.alpha)]
    rulings += [("pass", process, policy.beta / len(good)) for process in good]
    for found, process, _ in rulings:
        if process.won:
            return found, process
    for found, process, level in rulings:
        if over and process.p_value <= level * policy.end_share:
            return found, process
    return "inconclusive" if over else "undecided", bad


def p_text(p_value: float) -> str:
    """Two significant digits, never in scientific notation: 0.000021; below a thousand-millionth "less than" it."""
    if p_value < 1e-9:
        return "less than 0.000000001"
    digits = max(2, 1 - math.floor(math.log10(p_value)))
    return f"{p_value:.{digits}f}"


def percent(rate: float) -> str:
    return f"{100 * rate:.3g} %"
