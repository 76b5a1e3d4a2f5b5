"""The judge's decisions, and its exact formulae beside SciPy's."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
from scipy import stats

from bgci.analysis.e_process import Distribution, EProcess, binomial, hypergeometric
from bgci.analysis.error_budget import affordable, lasts, refusal
from bgci.analysis.judge import Counts, Judge, JudgePolicy, Verdict, p_text, wilson


def judge(history: Iterable[tuple[Counts, Counts]], policy: JudgePolicy | None = None, *, over: bool = True) -> Verdict:
    """The verdict on a run of (canary, baseline) totals, oldest first. ``over``: the time is up."""
    bench = Judge.under(policy)
    for canary, baseline in history:
        bench = bench.see(canary, baseline)
    return bench.verdict(over=over)


def masses(dist: Distribution) -> dict[int, float]:
    return dict(enumerate(dist.mass, dist.start))


@pytest.mark.parametrize(
    ("canary", "baseline", "errors"), [(500, 1500, 40), (3, 5, 7), (10, 2, 4), (20000, 60000, 900)]
)
def test_fishers_distribution_equals_scipys(canary: int, baseline: int, errors: int) -> None:
    dist = hypergeometric(canary, baseline, errors)
    expected = stats.hypergeom(canary + baseline, canary, errors)
    assert masses(dist) == pytest.approx({x: expected.pmf(x) for x in masses(dist)}, rel=1e-9, abs=1e-15)
    middle = (dist.start + dist.end) // 2
    assert dist.at_least(middle) == pytest.approx(expected.sf(middle - 1), rel=1e-9)
    assert dist.at_most(middle) == pytest.approx(expected.cdf(middle), rel=1e-9)


@pytest.mark.parametrize("odds", [0.3, 2.0, 10.0])
def test_fishers_noncentral_distribution_equals_scipys(odds: float) -> None:
    dist = hypergeometric(500, 1500, 40, odds)
    expected = stats.nchypergeom_fisher(2000, 500, 40, odds)
    assert masses(dist) == pytest.approx({x: expected.pmf(x) for x in masses(dist)}, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(("trials", "rate"), [(1, 0.5), (800, 0.005), (100_000, 0.01), (7, 0.999)])
def test_binomial_distribution_equals_scipys(trials: int, rate: float) -> None:
    dist = binomial(trials, rate)
    expected = stats.binom(trials, rate)
    assert masses(dist) == pytest.approx({x: expected.pmf(x) for x in masses(dist)}, rel=1e-8, abs=1e-15)


@pytest.mark.parametrize(
    ("dist", "only"),
    [
        (hypergeometric(5, 5, 10), 5),
        (hypergeometric(0, 5, 3), 0),
        (hypergeometric(5, 0, 2), 2),
        (hypergeometric(9, 9, 0), 0),
        (binomial(0, 0.5), 0),
    ],
)
def test_a_certain_count_is_certain(dist: Distribution, only: int) -> None:
    assert dist == Distribution(only, (1.0,))


def test_sum_of_strata_is_the_convolution_of_their_distributions() -> None:
    total = binomial(30, 0.2).plus(binomial(50, 0.2))
    assert masses(total) == pytest.approx(masses(binomial(80, 0.2)), rel=1e-9, abs=1e-25)


def test_p_value_of_one_poll_is_fishers() -> None:
    verdict = judge([(Counts(512, 14), Counts(1540, 3))])
    expected = stats.fisher_exact([[14, 498], [3, 1537]], alternative="greater").pvalue
    assert verdict.outcome == "fail"
    assert verdict.p_value == pytest.approx(expected, rel=1e-9)
    assert verdict.reason == "canary 14 errors in 512 requests, baseline 3 in 1,540; p = 0.00000099"


def test_e_process_stops_at_its_threshold_and_keeps_its_value() -> None:
    bet = EProcess((2.0, 5.0, 30.0), 20.0)
    e_value = []
    for count in (1, 1, 1, 0, 0, 0):
        bet = bet.see(hypergeometric(10, 30, 1), count)
        e_value.append(bet.e_value)
    assert e_value[1] < 20
    assert e_value[2:] == [20.0] * 4


def test_e_value_stays_finite_after_a_million_requests_against_it() -> None:
    bet = EProcess((0.5, 0.25, 0.05), 10.0)
    for _ in range(40):
        bet = bet.see(binomial(25_000, 0.005), 1250)
    assert 0 < bet.e_value < 1e-20
    assert bet.p_value == 1.0


@pytest.mark.parametrize("count", [0, 400])
def test_count_far_outside_its_distribution_does_not_overflow(count: int) -> None:
    bet = EProcess((2.0, 30.0), 20.0).see(hypergeometric(5000, 5000, 400), count)
    assert bet.e_value == (20.0 if count else pytest.approx(0.0, abs=1e-6))


def test_too_few_requests_are_insufficient_and_never_a_pass() -> None:
    for history in ([], [(Counts(), Counts(100_000, 10))], [(Counts(112, 0), Counts(340, 0))]):
        verdict = judge(history)
        assert verdict.outcome == "inconclusive"
        assert verdict.reason.startswith(f"insufficient traffic: {verdict.canary.requests} of ")
        assert verdict.canary.requests < 689
    assert Judge.under().needed == 689


def test_time_not_over_is_undecided() -> None:
    assert judge([(Counts(112, 0), Counts(340, 0))], over=False).outcome == "undecided"


def test_good_canary_passes_below_the_floor() -> None:
    verdict = judge([(Counts(1200, 1), Counts(3600, 4))])
    assert verdict.outcome == "pass"
    assert verdict.reason.endswith("its error rate is below 0.5 %; p = 0.017")


def test_good_canary_of_a_bad_baseline_passes_by_ratio() -> None:
    verdict = judge([(Counts(3000, 60), Counts(9000, 180))])
    assert verdict.outcome == "pass"
    assert "below 2 times the baseline's" in verdict.reason


def test_rate_between_the_baseline_and_the_limit_is_inconclusive() -> None:
    verdict = judge([(Counts(3600, 23), Counts(10800, 48))])
    assert verdict.outcome == "inconclusive"
    assert verdict.reason.startswith("neither shown worse than the baseline nor shown below 0.889 %: canary 23 errors")


def test_dead_canary_is_failed_after_three_errors() -> None:
    history = [(Counts(n, n), Counts(3 * n, 0)) for n in range(1, 10)]
    outcomes = [judge(history[:n], over=False).outcome for n in range(1, 10)]
    assert outcomes == ["undecided", "undecided", *["fail"] * 7]


def test_first_decision_is_final() -> None:
    history = [(Counts(1200, 0), Counts(3600, 4)), (Counts(1300, 100), Counts(3900, 4))]
    assert judge(history).outcome == "pass"


def test_rates_and_shares_that_change_together_do_not_fail_the_canary() -> None:
    # At night: 10 % to the canary, no errors. In an outage of the database: half to the canary, 20 % errors for both.
    history = [(Counts(1000, 0), Counts(9000, 0)), (Counts(2000, 200), Counts(10000, 200))]
    bad_in_total = stats.fisher_exact([[200, 1800], [200, 9800]], alternative="greater").pvalue
    verdict = judge(history[1:], JudgePolicy(floor=0.001))
    assert bad_in_total < 1e-9
    assert verdict.outcome == "fail"
    assert judge(history, JudgePolicy(floor=1e-5)).outcome != "fail"


def test_exact_test_at_the_end_decides_with_the_reserved_share_of_alpha() -> None:
    policy = JudgePolicy(alpha=0.05, end_share=0.9)
    history = [(Counts(100, 5), Counts(300, 1))]
    assert judge(history, policy, over=False).outcome == "undecided"
    assert judge(history, policy).outcome == "fail"
    good = [(Counts(900, 1), Counts(2700, 1))]
    assert judge(good, JudgePolicy(beta=0.3, end_share=0.9), over=False).outcome == "undecided"
    assert judge(good, JudgePolicy(beta=0.3, end_share=0.9)).outcome == "pass"


def test_each_of_several_verdicts_needs_more_evidence() -> None:
    history = [(Counts(3, 3), Counts(9, 0))]
    assert judge(history).outcome == "fail"
    assert judge(history, JudgePolicy().part(1 / 4)).outcome != "fail"


def test_totals_that_decrease_are_an_error() -> None:
    with pytest.raises(ValueError, match="requests"):
        Judge.under().see(Counts(10, 1), Counts()).see(Counts(9, 0), Counts())


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.0000213, "0.000021"), (0.5, "0.50"), (1.0, "1.00"), (0.017, "0.017"), (1e-12, "less than 0.000000001")],
)
def test_p_is_written_in_plain_digits(p: float, text: str) -> None:
    assert p_text(p) == text


def test_expected_requests_agree_with_the_simulation() -> None:
    # docs/judge.md; within a fifth is enough for sizing.
    policy = JudgePolicy()
    assert policy.requests_to_detect(0.001, 0.01, 0.25) == pytest.approx(460, rel=0.2)
    assert policy.requests_to_detect(0.01, 0.02, 0.1) == pytest.approx(1100, rel=0.2)
    assert policy.requests_to_detect(0.0, 0.01, 0.25) == 300
    with pytest.raises(ValueError, match="not worse"):
        policy.requests_to_detect(0.01, 0.01, 0.25)


def test_duration_is_the_allowed_failures_over_the_failures_per_second() -> None:
    asked = {"rate_per_second": 50, "share": 0.25, "p0": 0.001, "p1": 0.021}
    assert lasts(10, **asked) == pytest.approx(40)
    assert lasts(-1, **asked) == 0
    assert lasts(10, **{**asked, "p1": 0.001}) == lasts(10, **{**asked, "rate_per_second": 0}) == math.inf


def test_interval_of_an_error_rate_is_wilsons_interval() -> None:
    for errors, requests in ((0, 60), (3, 200), (14, 512), (40, 40)):
        expected = stats.binomtest(errors, requests).proportion_ci(0.95, method="wilson")
        assert wilson(Counts(requests, errors)) == pytest.approx(tuple(expected), rel=1e-4, abs=1e-12)
    assert wilson(Counts()) == (0.0, 1.0)


def test_error_budget_too_small_for_a_decision_is_refused() -> None:
    refused = refusal(1, 0.25, 0.001, 0.021)
    assert refused.startswith("1 failed requests allow 50 requests to the canary, but about ")
    assert refusal(20, 0.25, 0.001, 0.021) == ""


def test_the_affordable_canary_grows_with_the_allowed_failures() -> None:
    sizes = [affordable(granted, 3, 4, 0.0, 0.05) for granted in (2, 4, 8, 20)]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (0, 3)
    assert affordable(1000, 4, 4, 0.0, 0.05) == 3, "beside all of the traffic there is nothing to compare with"
