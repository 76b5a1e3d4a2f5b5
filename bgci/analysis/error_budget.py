"""The error budget of a canary: how large and how long it can be for a number of failed requests. Pure.

``p0``, ``p1`` everywhere: the error rate of the baseline, and the worst-case rate of the canary. ``max_failed``: how
many requests can fail beyond the baseline's.
"""

from __future__ import annotations

import math

from bgci.analysis.judge import JudgePolicy


def lasts(max_failed: float, rate_per_second: float, share: float, p0: float, p1: float) -> float:
    """The seconds with share * rate * seconds * (p1 - p0) = max_failed. Infinite if p1 is not above p0.

    ``rate_per_second``: requests of the whole app; ``share``: the canary's part of them.
    """
    cost = share * rate_per_second * (p1 - p0)  # a second
    return max(0.0, max_failed) / cost if cost > 0 else math.inf


def refusal(max_failed: float, share: float, p0: float, p1: float, policy: JudgePolicy | None = None) -> str:
    """Why ``max_failed`` allows too few requests for a verdict on such a canary; empty if it allows enough."""
    requests = int(max_failed / (p1 - p0))
    needed = (policy or JudgePolicy()).requests_to_detect(p0, p1, share)
    if requests >= needed:
        return ""
    why = f"{max_failed:g} failed requests allow {requests:,} requests to the canary, but about {needed:,} are needed"
    return f"{why} to distinguish {100 * p1:.3g} % errors from {100 * p0:.3g} % at {100 * share:.3g} % of the traffic"


def affordable(
    max_failed: float, instances: int, target: int, p0: float, p1: float, policy: JudgePolicy | None = None
) -> int:
    """The largest canary of up to ``instances`` of ``target`` for which ``max_failed`` is enough; 0 without one.

    A smaller canary is compared with more of the baseline, so it needs fewer requests.
    """
    fewer = range(min(instances, target - 1), 0, -1)  # a complete canary has no baseline to compare with
    return next((n for n in fewer if not refusal(max_failed, n / target, p0, p1, policy)), 0)
