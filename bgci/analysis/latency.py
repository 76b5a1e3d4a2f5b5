"""Decides whether the canary answers as fast as the baseline, from pairs of response times. Pure.

A pair is one synthetic request to each variant, or the two mean response times of one window of live traffic.
`docs/judge.md` explains the limits of HAProxy's averages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bgci.analysis.e_process import EProcess, binomial
from bgci.analysis.judge import JudgePolicy, Ruling, Verdict, p_text, ruling

# HAProxy's rtime is a mean "over the 1024 last requests" of a server (management guide, 9.1).
WINDOW = 1024
# Pairs in the shown interval: more would only take time (their number enters squared).
SHOWN = 200
# The alternatives: two thirds of all pairs, or nearly all, are slower than allowed (or faster).
SLOWER = (2.0, 50.0)
FASTER = (0.5, 0.02)


@dataclass(frozen=True)
class LatencyPolicy:
    """``ratio``: the canary is allowed this many times the baseline's time, plus ``slack_ms``: too little to see."""

    ratio: float = 1.25
    slack_ms: float = 5.0

    def allowed(self, baseline_ms: float) -> float:
        return self.ratio * baseline_ms + self.slack_ms


@dataclass(frozen=True)
class Latency:
    """The pairs, and two e-processes on how many of them are slower than allowed: against "at most half" and against
    "at least half". Only the number of slower pairs counts, not by how much they are slower: one outlier cannot decide.
    """

    policy: JudgePolicy
    limits: LatencyPolicy
    slower: EProcess
    fast_enough: EProcess
    pairs: tuple[tuple[float, float], ...] = ()

    @classmethod
    def under(cls, policy: JudgePolicy | None = None, limits: LatencyPolicy | None = None) -> Latency:
        policy = policy or JudgePolicy()
        # Only one e-process can pass the canary (the error rate has two), so half the threshold is enough.
        return cls(
            policy,
            limits or LatencyPolicy(),
            EProcess(SLOWER, policy.fail_threshold),
            EProcess(FASTER, policy.pass_threshold / 2),
        )

    def see(self, canary_ms: float, baseline_ms: float) -> Latency:
        """The next state after one more pair, in milliseconds."""
        judged = replace(self, pairs=(*self.pairs, (canary_ms, baseline_ms)))
        if self.slower.won or self.fast_enough.won:
            return judged
        late, even = int(canary_ms > self.limits.allowed(baseline_ms)), binomial(1, 0.5)
        return replace(judged, slower=self.slower.see(even, late), fast_enough=self.fast_enough.see(even, late))

    def verdict(self, *, over: bool = False) -> Verdict:
        """The verdict now. ``over``: the time is up, so the exact sign test is made once, with the kept part of
        alpha."""
        return self._verdict(*ruling(self.policy, self.slower, (self.fast_enough,), over=over))

    def _verdict(self, outcome: Ruling, process: EProcess) -> Verdict:
        # The e-processes end at the first threshold. The reason is about all pairs, later ones included.
        late, pairs = sum(ours > self.limits.allowed(theirs) for ours, theirs in self.pairs), len(self.pairs)
        distribution = binomial(pairs, 0.5)
        p_value = distribution.at_least(late) if process is self.slower else distribution.at_most(late)
        limit = f"{self.limits.ratio:g} times the baseline's response time + {self.limits.slack_ms:g} ms"
        reason = f"canary above {limit} in {late:,} of {pairs:,} pairs"
        if self.pairs:
            middle, low, high = ratio_interval(self.pairs)
            reason += f", ratio {middle:.2f} ({low:.2f} to {high:.2f})"
        if outcome in ("pass", "fail"):
            reason += f"; p = {p_text(p_value)}"
        return Verdict(outcome, reason, p_value)


def ratio_interval(pairs: Sequence[tuple[float, float]], level: float = 0.9) -> tuple[float, float, float]:
    """How many times as long the canary takes: Hodges and Lehmann's estimate with its exact interval.

    Of the last 200 pairs; (estimate, low, high) with 0 and infinity where there are too few pairs for an end. The
    interval is Wilcoxon's: exact for the log ratios' centre when they lie symmetrically about it; for one poll.
    """
    logs = [math.log(max(c, 0.5) / max(b, 0.5)) for c, b in pairs[-SHOWN:]]  # HAProxy rounds to milliseconds
    walsh = sorted((logs[i] + logs[j]) / 2 for i in range(len(logs)) for j in range(i, len(logs)))
    half = len(walsh) // 2
    middle = walsh[half] if len(walsh) % 2 else (walsh[half - 1] + walsh[half]) / 2
    cut = _signed_rank_cut(len(logs), (1 - level) / 2)
    if cut == 0:
        return math.exp(middle), 0.0, math.inf
    return math.exp(middle), math.exp(walsh[cut - 1]), math.exp(walsh[-cut])


def _signed_rank_cut(n: int, tail: float) -> int:
    """The largest k with P(W <= k - 1) <= ``tail`` for the signed-rank sum W of n pairs; 0 if none."""
    ways = [1.0]
    for rank in range(1, n + 1):  # each rank counts or does not, with probability 1/2
        longer = [w / 2 for w in ways] + [0.0] * rank
        for total, w in enumerate(ways):
            longer[total + rank] += w / 2
        ways = longer
    cut, below = 0, 0.0
    while below + ways[cut] <= tail:
        below += ways[cut]
        cut += 1
    return cut


@dataclass(frozen=True)
class Timing:
    """One variant at one poll: requests answered since the beginning, the number of servers, and the mean of rtime."""

    requests: int
    servers: int
    mean_ms: float


def mean_time(rows: Sequence[tuple[int, float]]) -> float:
    """The mean over servers of (requests in the window, rtime in ms), weighted by requests."""
    total = sum(requests for requests, _ in rows)
    return sum(requests * ms for requests, ms in rows) / total if total else 0.0


@dataclass(frozen=True)
class Windows:
    """Cuts live traffic into windows so long that HAProxy's moving means of two windows share no request."""

    canary: int = 0
    baseline: int = 0

    def see(self, canary: Timing, baseline: Timing) -> tuple[Windows, tuple[float, float] | None]:
        """The next state, and a pair (canary ms, baseline ms) whenever a window is complete for both variants."""
        full = all(
            timing.servers > 0 and timing.requests - start >= WINDOW * timing.servers
            for timing, start in ((canary, self.canary), (baseline, self.baseline))
        )
        if not full:
            return self, None
        return Windows(canary.requests, baseline.requests), (canary.mean_ms, baseline.mean_ms)
