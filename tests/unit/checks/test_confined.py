"""A pattern of a suite that takes too long is ended, and the next one is evaluated normally."""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from e2e.lab import until

from bgci.bounded import UnusableJsonError
from bgci.checks import confined
from bgci.checks.confined import CHILDREN, Closed, Confined, TooCostly
from bgci.checks.json_path import problem


@pytest.fixture
def matcher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Confined]:
    monkeypatch.setattr(confined, "TRY_SECONDS", 0.5)
    made = Confined()
    yield made
    made.close()


def test_search_finds_the_same_as_pythons_re(matcher: Confined) -> None:
    assert matcher.search("^b", "a\nb") is False
    assert matcher.search("^b", "a\nb", 8) is True


@pytest.mark.parametrize("pattern", ["^(a+)+$", "(a|aa)+$", "(.*a){25}c"])
def test_catastrophic_pattern_is_too_costly_and_the_next_one_is_tried(matcher: Confined, pattern: str) -> None:
    with pytest.raises(TooCostly, match="longer than"):
        matcher.search(pattern, "a" * 45 + "b" * 3)
    assert matcher.search("b$", "ab")


def test_a_path_without_a_match_has_no_values(matcher: Confined) -> None:
    document = b'{"n": 1, "items": [{"price": 3}]}'
    assert matcher.values("$.items[*].price", document) == [3]
    assert matcher.values("$.nope", document) == []
    assert matcher.values("$.n[?@.x > 1]", document) == []


@pytest.mark.parametrize("path", ["$..*..*..*", "$..['a']..['a']..['a']"])
def test_path_that_multiplies_is_too_costly(matcher: Confined, path: str) -> None:
    deep: object = 1
    for _ in range(60):
        deep = {"a": deep, "b": [1, 2, 3]}
    with pytest.raises(TooCostly):
        matcher.values(path, json.dumps(deep).encode())
    assert matcher.values("$.a", b'{"a": 1}') == [1]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", ValueError),
        (b"{", ValueError),
        (b"\xff\xfe{", ValueError),
        (b"[NaN]", UnusableJsonError),
        (b"[" * 100_000, UnusableJsonError),
        (b"[" + b"{}," * 260_000 + b"{}]", UnusableJsonError),
    ],
)
def test_content_that_is_not_json_or_is_unusable_has_no_values(
    matcher: Confined, content: bytes, error: type[ValueError]
) -> None:
    with pytest.raises(error) as raised:
        matcher.values("$", content)
    assert raised.type is error
    assert matcher.values("$", b"[1]") == [[1]]


@pytest.mark.parametrize("text", ["\n", "é\r\n", "\U0001f600", "\ud800 alone", "a\x00b"])
def test_every_text_is_passed_unchanged(matcher: Confined, text: str) -> None:
    assert matcher.search(f"^{re.escape(text)}\\Z", text)
    assert matcher.values("$", json.dumps(text).encode()) == [text]


def test_a_child_process_without_cpu_time_for_a_while_still_answers(matcher: Confined) -> None:
    assert matcher.search("a", "a")
    child = matcher._idle[-1]
    assert child
    child._process.send_signal(signal.SIGSTOP)
    later = threading.Timer(2 * confined.TRY_SECONDS, child._process.send_signal, (signal.SIGCONT,))
    later.start()
    assert matcher.search("b", "b")
    later.join()
    assert child.answers


def test_a_call_after_the_end_has_no_result(matcher: Confined) -> None:
    assert matcher.search("a", "a")
    matcher.close()
    with pytest.raises(Closed):
        matcher.search("a", "a")


def test_the_end_of_a_run_wakes_every_waiting_call(matcher: Confined, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confined, "TRY_SECONDS", 3600.0)
    monkeypatch.setattr(confined, "HANG_SECONDS", 3600.0)
    with ThreadPoolExecutor(6) as pool:
        calls = [pool.submit(matcher.search, "^(a+)+$", "a" * 45 + "b") for _ in range(6)]
        until(lambda: len(matcher._children) == CHILDREN)
        matcher.close()
        assert all(isinstance(call.exception(60), Closed) for call in calls)
    assert all(child._process.returncode is not None for child in matcher._children)


def test_a_request_that_a_killed_child_did_not_read_ends(matcher: Confined) -> None:
    assert matcher.search("a", "a")
    child = matcher._idle[-1]
    assert child
    child._process.send_signal(signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(matcher.search, "a", "a" * 10_000_000)  # more than a pipe holds
        until(lambda: child not in matcher._idle)
        child.kill()
        assert isinstance(call.exception(60), TooCostly)
    assert matcher.search("a", "a")


def test_a_child_process_that_cannot_be_started_frees_its_slot(
    matcher: Confined, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("sys.executable", "/nonexistent")
        for _ in range(CHILDREN + 1):
            with pytest.raises(TooCostly, match="starts no process"):
                matcher.search("a", "a")
    assert matcher.search("a", "a")


def test_many_threads_share_the_children(matcher: Confined) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(lambda n: matcher.search(f"^{n}$", str(n)), range(100)))


@pytest.mark.parametrize("path", ["$[?length(@)>" + "9" * 500 + "]", "$." + "a" * 2000, "", "$[", "$..", "$[" * 500])
def test_an_invalid_path_has_a_reason_or_selects_nothing(matcher: Confined, path: str) -> None:
    if not problem(path):
        assert matcher.values(path, b"[1]") == []
