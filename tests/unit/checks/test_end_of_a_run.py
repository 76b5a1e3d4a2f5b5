"""At the end of a run its threads stop waiting: for room for a large body, and for a pattern."""

from __future__ import annotations

import threading

import pytest
import requests
from e2e.lab import until
from hostile.answers import HOSTILE, endless
from hostile.cluster import Cluster

from bgci.checks import runner
from bgci.checks.model import Check, Expect, Suite
from bgci.checks.runner import Place

BEGINNING = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (runner.SMALL_BODY + 1)


def test_requests_that_wait_for_room_end_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "LARGE_BODIES", 1)
    before = set(threading.enumerate())
    check = Check("large", "/", Expect(), repeat=8, concurrency=8, timeout=600)
    with Cluster() as cluster:
        cluster.answering("instance", endless(BEGINNING, b"x", 0.1))

        def lanes() -> set[threading.Thread]:
            return {thread for thread in threading.enumerate() if thread not in before and "Pool" in thread.name}

        def poll() -> None:
            if cluster.asked.count("instance") == 8:
                raise TimeoutError

        with pytest.raises(TimeoutError):
            runner.run(Suite("f", (check,)), {"canary": [Place("i", (cluster.url,))]}, timeout=600, poll=poll)
        until(lambda: len(lanes()) <= 1)  # the request that has the room reads until its own timeout
    until(lambda: not lanes())


def test_endless_interim_answers_are_not_an_answer() -> None:
    with Cluster() as cluster, requests.Session() as session:
        cluster.answering("instance", HOSTILE["continue for ever"])
        check = Check("x", "/", Expect(), timeout=60)
        assert runner.send(session, check, cluster.url).problem == "no answer: more than 20 interim answers"
