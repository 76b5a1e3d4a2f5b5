"""Simulates releases to measure the judge: false alarms, wrong passes, and requests until detection.

    python bench/judge.py            the tables of docs/judge.md (about a quarter of an hour on one core)
    python bench/judge.py detection  one of them
    python bench/judge.py --quick    a tenth of the releases

Needs the extra `bench` (NumPy). False alarms and detection: one poll after every single error, the worst case,
as arrays; the same numbers come out of `bgci.analysis.judge` itself (checked on the way). Verdicts: the judge itself,
one poll for every 25 canary requests, 5,000 of them at most, with the exact tests at the end. The policy is that of
`bgci test`: the error rate's part of alpha. Wald's test has all of it.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from bgci.analysis.e_process import EProcess, hypergeometric
from bgci.analysis.judge import WORSE, Counts, Judge, JudgePolicy
from bgci.analysis.latency import Latency, LatencyPolicy
from bgci.operations.canary_analysis import ERRORS_PART

CASES = ((0.001, 0.01), (0.01, 0.02), (0.01, 0.05), (0.001, 0.02))
SHARES = (0.1, 0.25, 0.5)
STEPS = (0.1, 0.25, 0.5)  # the canary's shares in a release by steps
SEED = 20241123
ALPHA = JudgePolicy().alpha
POLICY = JudgePolicy().part(ERRORS_PART)


@dataclass(frozen=True)
class Runs:
    """By release: the number of the error at which the e-value reached its threshold (0: never)."""

    won_at: np.ndarray
    log_e_value: np.ndarray


def e_processes(
    share: float,
    mine: float,
    releases: int,
    errors: int,
    rng: np.random.Generator,
    policy: JudgePolicy = POLICY,
    alternatives: tuple[float, ...] = WORSE,
) -> Runs:
    """The judge's e-process "worse", one poll per error; an error is the canary's with probability ``mine``."""
    tilts = np.array(alternatives)
    theta = tilts * share / (tilts * share + 1 - share)
    gain = np.log(np.array([(1 - theta) / (1 - share), theta / share]))  # error of baseline, canary
    threshold = math.log(policy.fail_threshold)
    beliefs, e_value = np.zeros((releases, len(tilts))), np.zeros(releases)
    won_at, running = np.zeros(releases, int), np.arange(releases)
    for error in range(1, errors + 1):
        now = beliefs[running]
        weights = np.exp(now - now.max(axis=1, keepdims=True))
        hit = weights @ theta / weights.sum(axis=1) / share
        hit = np.minimum(hit, np.exp(threshold - e_value[running]))  # a gain beyond it goes to the miss
        miss = (1 - share * hit) / (1 - share)
        canary = rng.random(len(running)) < mine
        e_value[running] += np.log(np.where(canary, hit, miss))
        beliefs[running] = now + gain[canary.astype(int)]
        done = e_value[running] >= threshold - 1e-9
        won_at[running[done]] = error
        running = running[~done]
        if not len(running):
            break
    return Runs(won_at, e_value)


def check_against_the_judge(share: float, rng: np.random.Generator) -> None:
    """The arrays above and `bgci.analysis.e_process.EProcess` give the same e_value for the same errors."""
    parts = round(1 / share)
    for _ in range(50):
        seed = int(rng.integers(2**32))
        runs = e_processes(share, min(0.9, 2 * share), 1, 60, np.random.default_rng(seed))
        draws, process = np.random.default_rng(seed), EProcess(WORSE, POLICY.fail_threshold)
        won_at = 0
        for error in range(1, 61):
            count = int(draws.random(1)[0] < min(0.9, 2 * share))
            process = process.see(hypergeometric(10, 10 * parts - 10, 1), count)
            if process.won:
                won_at = error
                break
        assert math.isclose(math.log(process.e_value), runs.log_e_value[0], abs_tol=1e-6)
        assert runs.won_at[0] == won_at


def wald(p0: float, p1: float, beta: float) -> float:
    """Wald's expected number of canary requests at ``p1``, baseline rate known, his approximation (no overshoot)."""
    upper = (1 - beta) * math.log((1 - beta) / ALPHA)
    return (upper + (beta * math.log(beta / (1 - ALPHA)) if beta else 0.0)) / divergence(p1, p0)


def divergence(rate: float, other: float) -> float:
    """Kullback and Leibler's, in nats per request."""
    return rate * math.log(rate / other) + (1 - rate) * math.log((1 - rate) / (1 - other))


def bound(p0: float, p1: float, share: float) -> float:
    """The factor over Wald's number (his formula) that every test needs without the baseline's rate.

    By Wald's own inequality, for any test of "the rates are equal" with these error probabilities, and for every rate q
    that the null allows: the mean number of requests is at least a number of the error probabilities alone, divided by
    the information of one request against q. The least information is at the mean of both rates.
    """
    q = share * p1 + (1 - share) * p0
    information = divergence(p1, q) + (1 - share) / share * divergence(p0, q)  # per canary request
    return divergence(p1, p0) / information


def wald_simulated(p0: float, p1: float, beta: float, releases: int, rng: np.random.Generator) -> float:
    """The same number, simulated: with the overshoot."""
    up, low = math.log((1 - beta) / ALPHA), math.log(beta / (1 - ALPHA)) if beta else -math.inf
    error, success = math.log(p1 / p0), math.log((1 - p1) / (1 - p0))
    level, requests, running = np.zeros(releases), np.zeros(releases), np.arange(releases)
    while len(running):
        gap = rng.geometric(p1, len(running))  # up to the next error
        to_low = np.ceil((level[running] - low) / -success)
        passed = to_low < gap
        requests[running] += np.where(passed, to_low, gap)
        level[running] += (gap - 1) * success + error
        running = running[~passed & (level[running] < up)]
    return float(requests.mean())


def fixed_size(p0: float, p1: float, share: float) -> int:
    """Canary requests of the fixed-size test of two rates with power 0.8 (normal approximation)."""
    other = share / (1 - share)  # canary requests per baseline request
    mean = p1 * share + p0 * (1 - share)
    spread = 1.645 * math.sqrt(mean * (1 - mean) * (1 + other))
    return math.ceil(((spread + 0.8416 * math.sqrt(p1 * (1 - p1) + p0 * (1 - p0) * other)) / (p1 - p0)) ** 2)


def detection(releases: int, rng: np.random.Generator) -> None:
    print(
        "\n| rates | share | Wald, power 0.8 | Wald, power 1 | judge | stopped | judge / Wald at power 1 "
        "| stopped / Wald at power 0.8 | known alternative | lower bound | fixed size |"
    )
    for p0, p1 in CASES:
        half, full = (wald_simulated(p0, p1, beta, releases, rng) for beta in (0.2, 0.0))
        known = f"{wald(p0, p1, 0.2):.0f} ({half:.0f}) | {wald(p0, p1, 0.0):.0f} ({full:.0f})"
        for share in SHARES:
            needed = requests_needed(p0, p1, share, releases, rng)
            oracle = requests_needed(p0, p1, share, releases, rng, policy=JudgePolicy(), alternatives=(p1 / p0,)).mean()
            stop = np.quantile(needed, 0.8)  # the deadline at which 8 of 10 are detected
            mean, stopped = needed.mean(), np.minimum(needed, stop).mean()
            row = f"{100 * p0:g} -> {100 * p1:g} % | {share:.0%} | {known} | {mean:.0f} | {stopped:.0f}"
            ratios = f"{mean / full:.2f} | {stopped / half:.2f} | {oracle / full:.2f} | {bound(p0, p1, share):.2f}"
            print(f"| {row} | {ratios} | {fixed_size(p0, p1, share)} |", flush=True)


def requests_needed(
    p0: float, p1: float, share: float, releases: int, rng: np.random.Generator, **more: Any
) -> np.ndarray:
    """Canary requests until detection, by release. ``more``: for ``e_processes``."""
    errors = p1 * share + p0 * (1 - share)
    won_at = e_processes(share, p1 * share / errors, releases, 20_000, rng, **more).won_at
    assert won_at.all()
    # The request at which the nth error comes.
    return (won_at + rng.negative_binomial(won_at, errors)) * share


def false_alarms(releases: int, rng: np.random.Generator) -> None:
    """10,000 good releases that never pass: one poll for each error in 20,000 canary requests."""
    print("\n| rate | share | errors | false alarms |")
    for rate in (0.0, 0.001, 0.01, 0.05):
        for share in SHARES:
            errors = round(20_000 / share * rate)
            runs = e_processes(share, share, releases, errors, rng)
            alarms = np.count_nonzero(runs.won_at) / releases
            print(f"| {100 * rate:g} % | {share:.0%} | {errors} | {100 * alarms:.2f} % |", flush=True)


def false_alarms_over_steps(releases: int, rng: np.random.Generator) -> None:
    """The same for releases by steps: failed at any of them, each step judged with its part of alpha."""
    policy = POLICY.part(1 / len(STEPS))
    print(f"\n| rate | false alarms at {', '.join(f'{share:.0%}' for share in STEPS)} | at any |")
    for rate in (0.001, 0.01, 0.05):
        alarms = [
            e_processes(share, share, releases, round(20_000 / share * rate), rng, policy).won_at > 0 for share in STEPS
        ]
        each = ", ".join(f"{100 * one.mean():.2f} %" for one in alarms)
        print(f"| {100 * rate:g} % | {each} | {100 * np.any(alarms, axis=0).mean():.2f} % |", flush=True)


def release(p0: float, p1: float, share: float, canary_requests: int, rng: np.random.Generator) -> tuple[str, int]:
    """One release under the judge itself, up to its verdict: the outcome and the number of canary requests."""
    judge, canary, baseline = Judge.under(POLICY), Counts(), Counts()
    beside = round(25 * (1 - share) / share)
    while canary.requests < canary_requests:
        canary += Counts(25, int(rng.binomial(25, p1)))
        baseline += Counts(beside, int(rng.binomial(beside, p0)))
        judge = judge.see(canary, baseline)
        if judge.settled:
            break
    return judge.verdict(over=True).outcome, canary.requests


def verdicts(releases: int, rng: np.random.Generator) -> None:
    print("\n| rates | share | pass | fail | inconclusive | canary requests (mean, 90 %) |")
    good = ((0.0, 0.0), (0.001, 0.001), (0.01, 0.01), (0.05, 0.05))
    edge = ((0.001, 0.005), (0.0025, 0.005), (0.01, 0.02))
    for p0, p1 in (*good, *edge, (0.001, 0.01), (0.001, 0.02), (0.01, 0.05)):
        count = releases // (5 if p0 == p1 else 10)  # false alarms need the higher precision
        for share in SHARES:
            ended = [release(p0, p1, share, 5000, rng) for _ in range(count)]
            outcomes = Counter(outcome for outcome, _ in ended)
            parts = " | ".join(f"{100 * outcomes[o] / count:.2f} %" for o in ("pass", "fail", "inconclusive"))
            taken = np.array([requests for _, requests in ended])
            row = f"{100 * p0:g} -> {100 * p1:g} % | {share:.0%} | {parts}"
            print(f"| {row} | {taken.mean():.0f}, {np.quantile(taken, 0.9):.0f} |", flush=True)


def response_times(releases: int, rng: np.random.Generator) -> None:
    """A tenth of the releases. Log-normal times: means of 1,000 requests spread by 5 %, single requests by 50 %."""
    releases //= 10
    print("\n| canary takes | means: pass, fail, pairs | synthetic: pass, fail, pairs |")
    policy, limits = JudgePolicy().part(1 - ERRORS_PART), LatencyPolicy(ratio=1.25, slack_ms=0.0)
    for times in (1.0, 1.25, 1.3, 1.5, 2.0):
        cells = []
        for spread in (0.05, 0.5):
            ended = [times_of_one(policy, limits, times, spread, rng) for _ in range(releases)]
            counts = Counter(outcome for outcome, _ in ended)
            shares = ", ".join(f"{100 * counts[outcome] / releases:.1f} %" for outcome in ("pass", "fail"))
            cells.append(f"{shares}, {np.mean([pairs for _, pairs in ended]):.0f}")
        print(f"| {times:g} | {' | '.join(cells)} |", flush=True)


def times_of_one(
    policy: JudgePolicy, limits: LatencyPolicy, times: float, spread: float, rng: np.random.Generator
) -> tuple[str, int]:
    """One release of 60 pairs at most: the outcome, and the number of pairs."""
    latency = Latency.under(policy, limits)
    for _ in range(60):
        canary, baseline = np.exp(rng.normal(0, spread, 2)) * (100 * times, 100)
        latency = latency.see(canary, baseline)
        if latency.slower.won or latency.fast_enough.won:
            break
    return latency.verdict(over=True).outcome, len(latency.pairs)


PARTS = {
    "false-alarms": false_alarms,
    "steps": false_alarms_over_steps,
    "detection": detection,
    "verdicts": verdicts,
    "times": response_times,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"one or more of: {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="a tenth of the releases")
    arguments = parser.parse_args()
    for share in SHARES:
        check_against_the_judge(share, np.random.default_rng(SEED))
    for part in arguments.parts or PARTS:
        PARTS[part](1000 if arguments.quick else 10_000, np.random.default_rng(SEED))


if __name__ == "__main__":
    main()
