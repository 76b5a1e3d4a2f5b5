"""Response times in pairs: from probes, or from HAProxy's moving means."""

from __future__ import annotations

import math
import random

import pytest
from scipy import stats

from bgci.analysis.judge import JudgePolicy
from bgci.analysis.latency import Latency, Timing, Windows, mean_time, ratio_interval


def seen(*pairs: tuple[float, float], policy: JudgePolicy | None = None) -> Latency:
    latency = Latency.under(policy)
    for canary, baseline in pairs:
        latency = latency.see(canary, baseline)
    return latency


def test_equal_times_pass_and_twice_the_time_fails() -> None:
    good = seen(*[(100 + i % 3, 100) for i in range(20)]).verdict()
    assert good.outcome == "pass"
    assert good.reason.startswith(
        "canary above 1.25 times the baseline's response time + 5 ms in 0 of 20 pairs, ratio 1.01"
    )
    assert seen(*[(200 + i % 3, 100) for i in range(20)]).verdict().outcome == "fail"


def test_difference_of_few_milliseconds_does_not_fail() -> None:
    assert seen(*[(4, 1)] * 10).verdict().outcome == "pass"


def test_no_pair_is_inconclusive_at_the_end() -> None:
    assert seen().verdict().outcome == "undecided"
    verdict = seen().verdict(over=True)
    assert verdict.outcome == "inconclusive"
    assert verdict.reason.endswith("in 0 of 0 pairs")


def test_four_pairs_are_enough_to_pass_and_six_to_fail() -> None:
    assert [seen(*[(100, 100)] * n).verdict().outcome for n in (3, 4)] == ["undecided", "pass"]
    assert [seen(*[(300, 100)] * n).verdict().outcome for n in (5, 6)] == ["undecided", "fail"]


def test_pairs_after_the_decision_are_reported_and_do_not_change_it() -> None:
    verdict = seen(*[(100, 100)] * 4, *[(300, 100)] * 16).verdict()
    assert verdict.outcome == "pass"
    assert "in 16 of 20 pairs, ratio 3.00" in verdict.reason
    assert verdict.p_value == pytest.approx(1, abs=0.01)


def test_exact_sign_test_decides_at_the_end() -> None:
    policy = JudgePolicy(alpha=0.05, beta=0.3, end_share=0.9)
    slow = seen(*[(300, 100)] * 5, policy=policy)
    assert slow.verdict().outcome == "undecided"
    assert slow.verdict(over=True).outcome == "fail"
    assert slow.verdict(over=True).p_value == pytest.approx(1 / 32)


def test_estimate_and_interval_are_wilcoxons() -> None:
    rng = random.Random(7)
    pairs = [(120 * math.exp(rng.gauss(0, 0.3)), 100 * math.exp(rng.gauss(0, 0.3))) for _ in range(12)]
    middle, low, high = ratio_interval(pairs)
    logs = [math.log(c / b) for c, b in pairs]
    walsh = sorted((x + y) / 2 for i, x in enumerate(logs) for y in logs[i:])
    assert math.log(middle) == pytest.approx((walsh[38] + walsh[39]) / 2)
    assert low < middle < high
    # At an end of the interval the test is just not significant; beyond it, it is.
    for edge, side, sign in ((low, "greater", 1), (high, "less", -1)):
        inside = stats.wilcoxon([x - math.log(edge) - sign * 1e-9 for x in logs], alternative=side, method="exact")
        beyond = stats.wilcoxon([x - math.log(edge) + sign * 1e-9 for x in logs], alternative=side, method="exact")
        assert inside.pvalue > 0.05 >= beyond.pvalue or inside.pvalue >= 0.05 > beyond.pvalue


def test_too_few_pairs_have_no_interval() -> None:
    assert ratio_interval([(2, 1), (2, 1)]) == pytest.approx((2, 0.0, math.inf))


def test_time_that_haproxy_rounds_to_zero_has_a_ratio() -> None:
    assert ratio_interval([(0, 0)]) == (1.0, 0.0, math.inf)


def test_window_is_complete_when_every_server_answered_its_number_of_requests() -> None:
    state, pair = Windows().see(Timing(1024, 1, 30.0), Timing(3071, 3, 20.0))
    assert pair is None
    state, pair = state.see(Timing(1100, 1, 31.0), Timing(3072, 3, 21.0))
    assert pair == (31.0, 21.0)
    assert state.see(Timing(2123, 1, 30.0), Timing(9000, 3, 20.0)) == (state, None)
    assert state.see(Timing(9000, 0, 30.0), Timing(9000, 3, 20.0)) == (state, None)


def test_mean_over_servers_is_weighted_by_requests() -> None:
    assert mean_time([(300, 10.0), (100, 50.0)]) == 20.0
    assert mean_time([]) == 0.0
