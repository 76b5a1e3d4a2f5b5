"""Answers compared with their expectations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from requests.structures import CaseInsensitiveDict

from bgci.checks.assertions import EXCERPT, Response, ResponseSums, mismatches, percentile, same
from bgci.checks.confined import Confined
from bgci.checks.model import Check, Expect, Suite
from bgci.checks.test_result import LEFT_OUT, Case, Folding, Outcome, require_some


def answer(body: str | bytes = "hello", status: int = 200, **more: Any) -> Response:
    content = body if isinstance(body, bytes) else body.encode()
    headers = CaseInsensitiveDict(more.pop("headers", {"Content-Type": "text/plain"}))
    return Response(status, "", headers, content, **more)


MATCHER = Confined()


@pytest.fixture(scope="module", autouse=True)
def _ended() -> Iterator[None]:
    yield
    MATCHER.close()


def wrong(expect: Expect, given: Response) -> list[str]:
    return list(mismatches(expect, given, MATCHER))


DOCUMENT = json.dumps({"ok": True, "n": 1, "items": [{"price": 3}, {"price": 7}]})


@pytest.mark.parametrize(
    ("expect", "given", "said"),
    [
        (Expect(), answer(status=204), ""),
        (Expect(), answer(status=404), "status: expected 2xx or 3xx, got 404"),
        (Expect(status=("201", "4xx")), answer(status=418), ""),
        (Expect(headers={"x-a": "b"}), answer(headers={"X-A": "b"}), ""),
        (Expect(headers={"X-A": "b"}), answer(headers={"X-A": "c"}), "header X-A: expected 'b', got 'c'"),
        (Expect(headers={"X-A": "b"}), answer(), "header X-A: expected 'b', got none"),
        (Expect(headers={"Set-Cookie": "b"}), answer(headers={"Set-Cookie": "hush"}), "got ***"),
        (Expect(header_regex={"Content-Type": "^text/"}), answer(), ""),
        (Expect(header_regex={"Content-Type": "html"}), answer(), "expected a match of 'html', got 'text/plain'"),
        (Expect(body=("ell",), body_regex=("^hello$",)), answer(), ""),
        (Expect(body=("bye",)), answer(), "body: expected 'bye' in it, got 'hello'"),
        (Expect(body_regex=("^x",)), answer(), "body: expected a match of '^x', got 'hello'"),
        (Expect(json={"$.ok": True, "$.n": 1.0}), answer(DOCUMENT), ""),
        (Expect(json={"$.ok": 1}), answer(DOCUMENT), "$.ok: expected 1, got 'true'"),
        (Expect(json={"$.items[*].price": 3}), answer(DOCUMENT), "expected 3, got '3', '7'"),
        (Expect(json={"$.nope": 3}), answer(DOCUMENT), "$.nope: expected 3, got nothing there"),
        (Expect(json={"$.n": 1}), answer("<html>"), "body: expected JSON, got '<html>'"),
        (Expect(json_has=("$.items[?@.price > 5]",)), answer(DOCUMENT), ""),
        (Expect(json_has=("$.items[?@.price > 9]",)), answer(DOCUMENT), "expected a value, got nothing"),
        (Expect(json={"$.n": 1}), answer("[" * 100_000), "body: expected JSON"),
        (Expect(body=("é",)), answer("é".encode("latin-1"), headers={"Content-Type": "a; charset=latin-1"}), ""),
        (Expect(body=("a",)), answer("a", headers={"Content-Type": "a; charset=nonsense"}), ""),
        (Expect(), Response(problem="no answer: connection refused"), "no answer: connection refused"),
    ],
)
def test_an_answer_is_compared_with_each_expectation(expect: Expect, given: Response, said: str) -> None:
    found = wrong(expect, given)
    assert len(found) == bool(said), found
    assert said in "".join(found)


def test_json_values_are_compared_by_json_equality() -> None:
    assert same({"a": [1, {"b": None}]}, {"a": [1.0, {"b": None}]})
    assert not same(1, True)
    assert not same([1], [1, 2])
    assert not same({"a": 0}, {"a": False})
    assert not same("1", 1)


def test_a_percentile_is_the_nearest_rank() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, percent) for percent in (0, 50, 95, 99.9, 100)] == [1, 50, 95, 100, 100]
    assert percentile([3.0], 50) == 3.0


def tally(expect: Expect, *answers: Response) -> ResponseSums:
    found = ResponseSums(Check("home", "/", expect, repeat=len(answers)))
    for one in answers:
        found.add(one, wrong(expect, one))
    return found


def test_the_success_rate_decides_over_single_answers() -> None:
    answers = [answer() for _ in range(19)] + [answer(status=500)]
    assert tally(Expect(success_rate=0.95), *answers).findings() == []
    assert tally(Expect(success_rate=0.96), *answers).findings() == [
        "1 of 20 requests failed: 95.0% succeeded, expected 96.0%; status: expected 2xx or 3xx, got 500"
    ]


def test_a_latency_limit_holds_at_its_percentile() -> None:
    answers = [answer(seconds=n / 100) for n in range(1, 21)]
    assert tally(Expect(latency=((95.0, 0.19), (50.0, 0.1))), *answers).findings() == []
    assert tally(Expect(latency=((95.0, 0.18),)), *answers).findings() == [
        "latency p95: expected 180 ms at most, got 190 ms"
    ]


def test_a_check_without_any_answer_never_passes() -> None:
    nothing = tally(Expect(latency=((50.0, 1.0),), success_rate=0.0), Response(problem="no answer: gone"))
    assert nothing.findings() == ["latency p50: expected 1000 ms at most, got no answer"]
    assert tally(Expect()).findings() == ["no request was sent"]


def test_the_first_bad_exchange_is_shown_and_long_ones_are_cut() -> None:
    answers = [answer("fine"), answer("bad " + "x" * 10_000, status=500), answer("worse", status=502)]
    case = tally(Expect(), *answers).case("canary", "10.0.0.5:31000", "http://10.0.0.5:31000/")
    assert case.outcome is Outcome.FAILED
    assert "< 500" in case.output
    assert "worse" not in case.output
    assert "more characters)" in case.output
    assert len(case.output) < 2 * EXCERPT


def test_a_secret_of_the_suite_is_hidden_in_each_of_its_forms() -> None:
    suite = Suite("web.canary.yaml", (), ('a"b\\c', "abcd", "abcdef"))
    secret = suite.secrets[0]
    assert suite.redact(f"{secret} {json.dumps(secret)} {secret!r}") == "*** \"***\" '***'"
    assert suite.redact("abcdef abcd") == "*** ***"


def test_a_run_without_an_executed_test_is_a_failure() -> None:
    skipped = Case("baseline", "home", outcome=Outcome.SKIPPED)
    assert [case.bad for case in require_some([])] == [True]
    assert [case.bad for case in require_some([skipped])] == [False, True]
    assert require_some([skipped, Case("canary", "home")])[-1].name == "home"


def test_many_passed_cases_are_summarised_and_every_failed_one_is_kept() -> None:
    cases = [Case("s", str(n), outcome=Outcome.FAILED if n % 100 == 99 else Outcome.PASSED) for n in range(1000)]
    found = folded(cases)
    assert [case.name for case in found if case.bad] == [str(n) for n in range(99, 1000, 100)]
    assert [case.name for case in found[-1:]] == ["980 more tests: passed"]
    assert folded(cases[:5]) == cases[:5]


def folded(cases: list[Case]) -> list[Case]:
    folding = Folding(most=20)
    for case in cases:
        folding.add(case)
    return folding.cases()


def test_texts_of_cases_beyond_the_limit_are_omitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bgci.checks.test_result.MOST_TEXT", 15)
    found = folded([Case("s", str(n), details="d" * 5, output="o" * 5) for n in range(3)])
    assert [case.output for case in found] == ["ooooo", LEFT_OUT, LEFT_OUT]


def test_pattern_that_takes_too_long_is_a_mismatch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bgci.checks.confined.TRY_SECONDS", 0.3)
    bad = answer("{}", headers={"X-Revision": "a" * 45 + "b"})
    assert "no result: it takes longer" in wrong(Expect(header_regex={"X-Revision": "^(a+)+$"}), bad)[0]
