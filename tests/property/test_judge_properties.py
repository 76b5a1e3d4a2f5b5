"""Properties of the judge for any counts: above all, no e-process grows on average under its null hypothesis."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from bgci.analysis.e_process import Distribution, EProcess, binomial, hypergeometric
from bgci.analysis.haproxy_counters import CounterSums
from bgci.analysis.judge import Counts, Judge

requests = st.integers(0, 200)
strata = st.lists(st.tuples(requests, requests, st.integers(0, 30)), max_size=6)
UP, DOWN = (2.0, 5.0, 30.0), (0.5, 0.125)


def draw(data: st.DataObject, dist: Distribution) -> int:
    return data.draw(st.integers(dist.start, dist.end))


def expected(bet: EProcess, bet_on: Distribution, truth: Distribution) -> float:
    """The mean e_value after the next count."""
    return math.fsum(m * bet.see(bet_on, x).e_value for x, m in enumerate(truth.mass, truth.start))


@settings(max_examples=100)
@given(strata, st.sampled_from([UP, DOWN]), st.sampled_from([1.0, 2.0]), st.floats(1.5, 100), st.data())
def test_an_e_process_is_fair_after_any_history(
    past: list[tuple[int, int, int]], tilts: tuple[float, ...], odds: float, threshold: float, data: st.DataObject
) -> None:
    bet = EProcess(tilts, threshold)
    for canary, baseline, errors in past:
        dist = hypergeometric(canary, baseline, min(errors, canary + baseline), odds)
        if not bet.won:
            assert expected(bet, dist, dist) <= bet.e_value * (1 + 1e-9)
        bet = bet.see(dist, draw(data, dist))
        assert 0 <= bet.e_value <= threshold


@settings(max_examples=100)
@given(st.integers(1, 100), st.integers(1, 100), st.integers(1, 20), st.floats(0.05, 1.0), st.floats(1.5, 100))
def test_an_e_process_against_a_better_canary_is_unfavourable(
    canary: int, baseline: int, errors: int, odds: float, threshold: float
) -> None:
    errors = min(errors, canary + baseline)
    null, truth = hypergeometric(canary, baseline, errors), hypergeometric(canary, baseline, errors, odds)
    assert expected(EProcess(UP, threshold), null, truth) <= 1 + 1e-9
    limit, worse = hypergeometric(canary, baseline, errors, 2.0), hypergeometric(canary, baseline, errors, 2 / odds)
    assert expected(EProcess(DOWN, threshold), limit, worse) <= 1 + 1e-9


@settings(max_examples=60)
@given(st.integers(1, 400), st.floats(0.001, 0.5), st.floats(1.0, 1.9))
def test_an_e_process_for_a_rate_below_the_floor_is_unfavourable_above_it(
    trials: int, floor: float, times: float
) -> None:
    assert expected(EProcess(DOWN, 20), binomial(trials, floor), binomial(trials, floor * times)) <= 1 + 1e-9


@settings(max_examples=60)
@given(requests, requests, st.integers(0, 400), st.floats(0.01, 100))
def test_distributions_sum_to_one(canary: int, baseline: int, errors: int, odds: float) -> None:
    dist = hypergeometric(canary, baseline, min(errors, canary + baseline), odds)
    assert math.isclose(math.fsum(dist.mass), 1, rel_tol=1e-12)
    assert max(0, min(errors, canary + baseline) - baseline) <= dist.start <= dist.end <= min(canary, errors)


@settings(max_examples=60)
@given(st.lists(st.tuples(requests, requests, st.data()), max_size=5), st.booleans())
def test_polls_without_new_requests_change_nothing_and_numbers_are_finite(steps: list, over: bool) -> None:  # type: ignore[type-arg]
    bench, canary, baseline = Judge.under(), Counts(), Counts()
    for more, beside, data in steps:
        canary += Counts(more, data.draw(st.integers(0, more)))
        baseline += Counts(beside, data.draw(st.integers(0, beside)))
        bench = bench.see(canary, baseline)
        assert bench.see(canary, baseline) == bench
    verdict = bench.verdict(over=over)
    assert verdict.outcome != ("undecided" if over else "inconclusive")
    assert 0 <= verdict.p_value <= 1
    assert verdict.outcome != "pass" or canary.requests > 0


@settings(max_examples=60)
@given(st.integers(0, 5000), st.integers(0, 3))
def test_no_pass_without_the_canarys_own_requests(baseline: int, errors: int) -> None:
    assert Judge.under().see(Counts(), Counts(baseline + errors, errors)).verdict(over=True).outcome == "inconclusive"


@settings(max_examples=60)
@given(st.lists(st.lists(st.booleans(), max_size=30), min_size=1, max_size=5))
def test_counters_never_exceed_the_number_of_answers(workers: list[list[bool]]) -> None:
    """Each inner list: what one worker process answered (True: an error), read after every answer."""
    sums = CounterSums().fold("lb", 0, {"s": Counts()})
    for failed in workers:
        now = Counts()
        for error in failed:
            now += Counts(1, int(error))
            sums = sums.fold("lb", 0, {"s": now})
    total = sums.total({"s"})
    assert total.requests <= sum(map(len, workers))
    assert total.errors <= sum(map(sum, workers))
