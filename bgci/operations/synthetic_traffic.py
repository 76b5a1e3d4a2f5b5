"""Synthetic traffic to the instances of canary and baseline, for thin live traffic."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bgci.analysis.judge import Counts
from bgci.dcos.idle_probe import timed

PAIRS = 10  # requests to the canary in each round, each paired with one to the baseline
BESIDE = 9  # requests to the baseline per request to the canary: they save requests to the canary (docs/judge.md)
WORKERS = 2 * PAIRS  # limit of simultaneous requests


@dataclass(frozen=True)
class Probed:
    """The result of one round. ``pairs``: (canary ms, baseline ms) where both instances answered."""

    canary: Counts = Counts()
    baseline: Counts = Counts()
    pairs: tuple[tuple[float, float], ...] = ()


def probe(canary: Sequence[str], baseline: Sequence[str], pool: ThreadPoolExecutor) -> Probed:
    """One round of requests to these URLs, one for each instance; none if canary or baseline has no instance.

    The two requests of a pair are sent at the same time, and no instance gets a second one meanwhile: an instance with
    several requests is slower, and the colours have different numbers of instances. The rest of the baseline's requests
    follows. A round always has the same number of requests: their outcome must not decide how many are counted.
    """
    if not canary or not baseline:
        return Probed()
    ours: list[float | None] = []
    theirs: list[float | None] = []
    lanes = min(len(canary), len(baseline))
    for start in range(0, PAIRS, lanes):
        sent = []
        for turn in range(start, min(start + lanes, PAIRS)):
            urls = {"ours": canary[turn % len(canary)], "theirs": baseline[turn % len(baseline)]}
            # In turns: the request that is sent first is a little slower.
            sent.append({side: pool.submit(timed, urls[side]) for side in sorted(urls, reverse=turn % 2 == 1)})
        ours += [pair["ours"].result() for pair in sent]
        theirs += [pair["theirs"].result() for pair in sent]
    rest = list(pool.map(timed, [baseline[turn % len(baseline)] for turn in range(PAIRS * (BESIDE - 1))]))
    pairs = zip(ours, theirs, strict=True)
    return Probed(
        _counted(ours),
        _counted([*theirs, *rest]),
        tuple((one, other) for one, other in pairs if one is not None and other is not None),
    )


def _counted(times: Sequence[float | None]) -> Counts:
    return Counts(len(times), sum(ms is None for ms in times))
