"""Counters of HAProxy's servers that start again at every reload."""

from __future__ import annotations

import pytest

from bgci.analysis.haproxy_counters import CounterSums, reading
from bgci.analysis.judge import Counts


def test_first_poll_counts_no_request_and_later_polls_the_difference() -> None:
    sums = CounterSums().fold("lb1", 0, {"a": Counts(100, 3)}).fold("lb1", 5, {"a": Counts(130, 4)})
    assert sums.total({"a"}) == Counts(30, 1)
    assert (sums.resets, sums.blind_seconds) == (0, 0.0)


@pytest.mark.parametrize("after", [Counts(20, 1), Counts(200, 2), Counts(104, 30)])
def test_reload_is_detected_by_any_counter_that_decreases(after: Counts) -> None:
    sums = CounterSums().fold("lb1", 0, {"a": Counts(), "b": Counts()})
    sums = sums.fold("lb1", 5, {"a": Counts(100, 3), "b": Counts(50, 0)})
    sums = sums.fold("lb1", 8, {"a": after, "b": Counts(60, 0)})
    assert sums.total({"a"}) == Counts(100, 3) + after
    assert sums.total({"b"}) == Counts(110, 0)  # the same process: b started again too
    assert (sums.resets, sums.blind_seconds) == (1, 3.0)


def test_server_that_appears_is_counted_in_full_and_one_that_leaves_is_kept() -> None:
    sums = CounterSums().fold("lb1", 0, {"old": Counts(70, 0)}).fold("lb1", 5, {"old": Counts(80, 0)})
    sums = sums.fold("lb1", 9, {"new": Counts(7, 1)}).fold("lb1", 12, {"new": Counts(9, 1), "old": Counts(4, 0)})
    assert sums.counted == {"old": Counts(14, 0), "new": Counts(9, 1)}


def test_replicas_are_counted_separately_and_summed() -> None:
    sums = CounterSums().fold("lb1", 0, {"a": Counts(100, 0)}).fold("lb2", 60, {"a": Counts(9000, 40)})
    sums = sums.fold("lb1", 65, {"a": Counts(110, 1)}).fold("lb2", 66, {"a": Counts(9005, 41)})
    assert sums.total({"a", "unknown"}) == Counts(15, 2)
    assert sums.total(set()) == Counts()


def test_answers_of_haproxy_for_a_failing_server_are_errors_of_that_server() -> None:
    row = {"svname": "s1", "stot": 12, "hrsp_2xx": 3, "hrsp_4xx": 1, "hrsp_5xx": 2, "eresp": 6, "econ": 1}
    assert reading(row) == Counts(13, 9)


def test_row_in_tcp_mode_counts_sessions() -> None:
    assert reading({"stot": 12, "econ": 2, "eresp": 1}) == Counts(12, 3)
    assert reading({"svname": "s1"}) == Counts()
