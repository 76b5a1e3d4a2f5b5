"""What a canary may cost, in failed requests: how large and how long it may be, or that it must not be. Pure.

``p0``, ``p1`` everywhere: the error rates of the baseline and of a canary as bad as is feared.
"""

from __future__ import annotations

from dataclasses import dataclass

from bgci.canary.judge import Policy


@dataclass(frozen=True)
class Budget:
    """``failed``: requests that fail beyond the baseline's, if the canary is as bad as feared and stays to the end.

    ``share`` of the traffic and ``seconds`` are what is granted, at most what was asked for. ``refused`` says why
    nothing is granted; empty when something is.
    """

    share: float
    seconds: float
    failed: float
    refused: str = ""


def budget(
    max_failed: float,
    rate_per_second: float,
    share: float,
    seconds: float,
    p0: float,
    p1: float,
    policy: Policy | None = None,
) -> Budget:
    """The canary that costs at most ``max_failed``: share * rate * seconds * (p1 - p0) <= max_failed.

    ``rate_per_second``: requests a second of the whole app. The share stays as it is and the time is shortened, unless
    what is left is too few canary requests to detect such a canary: then it is refused. Raises ValueError when a
    number is out of range.
    """
    if not (0 < share < 1 and seconds > 0 and rate_per_second >= 0 and max_failed >= 0 and 0 <= p0 < p1 <= 1):
        raise ValueError("share in (0, 1), seconds > 0, rate >= 0, max_failed >= 0 and 0 <= p0 < p1 <= 1 are needed")
    cost = share * rate_per_second * (p1 - p0)  # a second
    granted = min(seconds, max_failed / cost) if cost else seconds
    refused = refusal(max_failed, share, p0, p1, policy)
    return Budget(0.0, 0.0, 0.0, refused) if refused else Budget(share, granted, granted * cost)


def refusal(max_failed: float, share: float, p0: float, p1: float, policy: Policy | None = None) -> str:
    """Why such a canary is not worth its cost; empty when the requests that ``max_failed`` buys tell enough."""
    requests = int(max_failed / (p1 - p0))
    needed = (policy or Policy()).requests_to_detect(p0, p1, share)
    if requests >= needed:
        return ""
    why = f"{max_failed:g} failed requests buy {requests:,} requests to the canary, and about {needed:,} are needed"
    return f"{why} to tell {100 * p1:.3g} % errors from {100 * p0:.3g} % at {100 * share:.3g} % of the traffic"


def affordable(
    max_failed: float, instances: int, target: int, p0: float, p1: float, policy: Policy | None = None
) -> int:
    """The largest canary of up to ``instances`` of ``target`` that ``max_failed`` is enough for; 0 when none is.

    A smaller canary is compared with more of the baseline, so that fewer of its requests tell as much.
    """
    fewer = range(min(instances, target - 1), 0, -1)  # all of the traffic could be compared with nothing
    return next((n for n in fewer if not refusal(max_failed, n / target, p0, p1, policy)), 0)
