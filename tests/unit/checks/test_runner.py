"""Checks against real servers."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgci.checks import runner
from bgci.checks.model import Check, Expect, Share, Suite
from bgci.checks.runner import Place
from bgci.checks.test_result import Case, Outcome
from bgci.dcos.idle_probe import answers_ok, timed


def run(*checks: Check, timeout: float = 30.0, secrets: tuple[str, ...] = (), **places: Any) -> list[Case]:
    by_target = {name.replace("_", "-"): [one.place for one in found] for name, found in places.items()}
    return runner.run(Suite("web.canary.yaml", checks, secrets), by_target, timeout=timeout)


def check(path: str = "/", *, expect: Expect | None = None, **fields: Any) -> Check:
    return Check(fields.pop("name", path), path, expect or Expect(), **fields)


def test_a_check_goes_to_every_instance_of_its_target(serve: Callable[..., Any]) -> None:
    canaries, baseline, balancer = [serve(), serve()], [serve("v1")], [serve()]
    cases = run(
        check("/c"),
        check("/b", target="baseline"),
        check("/both", target="both"),
        check("/lb", target="load-balancer"),
        canary=canaries,
        baseline=baseline,
        load_balancer=balancer,
    )
    assert [(case.suite, case.name) for case in cases] == [
        ("canary", "/c"),
        ("canary", "/c"),
        ("baseline", "/b"),
        ("canary", "/both"),
        ("canary", "/both"),
        ("baseline", "/both"),
        ("load-balancer", "/lb"),
    ]
    assert {case.outcome for case in cases} == {Outcome.PASSED}
    assert [case.place for case in cases[:2]] == [server.place.name for server in canaries]
    for server in canaries:
        assert sorted(path for _, path, _, _ in server.seen) == ["/both", "/c"]


def test_method_headers_and_body_are_sent_as_written(serve: Callable[..., Any]) -> None:
    server = serve()
    run(check("/x", method="POST", headers={"Host": "shop.example.com", "X-A": "b"}, body=b'{"a":1}'), canary=[server])
    method, path, headers, body = server.seen[0]
    assert (method, path, body) == ("POST", "/x", b'{"a":1}')
    assert headers["Host"] == "shop.example.com"
    assert headers["X-A"] == "b"


def test_a_wrong_answer_fails_with_expected_and_actual(serve: Callable[..., Any]) -> None:
    (case,) = run(check("/?status=500", expect=Expect(status=("200",))), canary=[serve()])
    assert case.outcome is Outcome.FAILED
    assert case.message == "status: expected 200, got 500"
    assert "> GET http://127.0.0.1:" in case.output
    assert "< 500" in case.output


def test_an_instance_with_https_may_have_a_certificate_of_another_name(
    serve: Callable[..., Any], certificate: Path
) -> None:
    server = serve(certificate=certificate)
    suite = Suite("web.canary.yaml", (check("/a", scheme="https", verify=False), check("/b", scheme="https")))
    unverified, verified = runner.run(suite, {"canary": [server.place]}, timeout=30, verify=str(certificate))
    assert not unverified.bad
    assert f"> GET https://{server.place.name}/a" in unverified.output
    assert "the certificate is not trusted: IP address mismatch" in verified.message
    assert [path for _, path, _, _ in server.seen] == ["/a"]
    assert timed(f"https://{server.place.name}/c") is not None


def test_a_probe_ends_at_its_time_limit(serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bgci.dcos.idle_probe.LONGEST", 0.3)
    server = serve()
    assert timed(f"http://{server.place.name}/?trickle=1&bytes=100000") is None, "the body never ends"
    assert answers_ok(f"http://{server.place.name}/?trickle=1&bytes=100000"), "its body is not asked for"
    assert timed(f"http://{server.place.name}/?bytes=300000") is not None
    assert timed(f"http://{server.place.name}/?cut=1") is None


def test_a_redirect_is_an_answer_like_others(serve: Callable[..., Any]) -> None:
    (case,) = run(check("/?status=302", expect=Expect(status=("302",))), canary=[serve()])
    assert not case.bad


def test_repetitions_stay_within_the_checks_concurrency(serve: Callable[..., Any]) -> None:
    server = serve()
    (case,) = run(check("/?sleep=0.02", repeat=20, concurrency=4), canary=[server])
    assert not case.bad
    assert "20 of 20 requests succeeded" in case.output
    assert len(server.seen) == 20
    assert server.most_open <= 4


def test_the_share_of_the_canary_is_counted_by_its_marker(serve: Callable[..., Any]) -> None:
    half = Expect(share=Share(at_least=0.4, at_most=0.6, header=("X-Revision", "v2")))
    both = check("/", target="load-balancer", repeat=10, expect=half)
    wrong, right = run(both, load_balancer=[serve("v1"), serve("v2")])
    assert "expected 40% to 60%, got 0.0% (0 of 10 answers)" in wrong.message
    assert "got 100.0% (10 of 10 answers)" in right.message


def test_a_late_answer_counts_as_missing(serve: Callable[..., Any]) -> None:
    (case,) = run(check("/?sleep=5", timeout=0.2), canary=[serve()])
    assert case.message == "no answer within 0.2 s"


def test_a_body_that_arrives_slowly_is_cut_at_the_timeout(serve: Callable[..., Any]) -> None:
    (case,) = run(check("/?trickle=1&bytes=100000", timeout=0.3), canary=[serve()])
    assert case.message == "no answer within 0.3 s", "the body never ends"


def test_of_an_endless_body_only_the_first_part_is_read(serve: Callable[..., Any]) -> None:
    expect = Expect(body=("hello", "the end"))
    (case,) = run(check("/?bytes=3000000", expect=expect), canary=[serve()])
    assert "expected 'the end' in it" in case.message
    assert f"only the first {runner.MAX_BODY} bytes were read" in case.message
    assert len(case.output) < 10_000


def test_an_unreachable_instance_fails_and_is_soon_skipped() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        place = Place("gone", (f"http://127.0.0.1:{taken.getsockname()[1]}",))
        suite = Suite("f", (check("/", repeat=1000, concurrency=2),))
        (case,) = runner.run(suite, {"canary": [place]}, timeout=30)
    assert case.outcome is Outcome.FAILED
    assert "1000 of 1000 requests failed" in case.message
    assert case.message.endswith("; no answer: connection refused"), "not what was done about it"
    assert "not sent after 3 requests without an answer" in case.details


def test_an_instance_that_dies_during_the_test_gives_a_failed_case_and_the_others_pass(
    serve: Callable[..., Any],
) -> None:
    dying, well = serve(), serve()

    def die() -> None:
        while len(dying.seen) < 5:
            time.sleep(0.005)
        dying.end()

    thread = threading.Thread(target=die)
    thread.start()
    first, second = run(check("/?sleep=0.02", repeat=60), canary=[dying, well])
    thread.join()
    assert first.outcome is Outcome.FAILED
    assert "60 requests failed" in first.message
    assert not second.bad


def test_a_broken_connection_is_named(serve: Callable[..., Any]) -> None:
    (case,) = run(check("/?cut=1"), canary=[serve()])
    assert case.message == "no answer: the connection was closed"


def test_a_check_without_an_instance_is_skipped(serve: Callable[..., Any]) -> None:
    first, second = run(check("/", target="both"), canary=[serve()])
    assert not first.bad
    assert (second.suite, second.outcome) == ("baseline", Outcome.SKIPPED)


def test_a_port_that_the_app_does_not_have_fails(serve: Callable[..., Any]) -> None:
    (case,) = run(check("/", port=3), canary=[serve()])
    assert case.message == "the app has no port 3"


def test_an_unfinished_check_has_failed(serve: Callable[..., Any]) -> None:
    server = serve()
    quick, slow = run(check("/quick"), check("/?sleep=0.2", repeat=100), timeout=2.0, canary=[server])
    assert len(server.seen) < 20
    assert not quick.bad
    assert "not sent or answered within the suite's 2 s" in slow.details


def test_no_secret_is_in_the_results(serve: Callable[..., Any]) -> None:
    headers = {"Authorization": "Bearer abc", "X-Plain": "s3cret-value"}
    (case,) = run(check("/?status=500&body=s3cret-value", headers=headers), canary=[serve()], secrets=("s3cret-value",))
    assert case.bad
    text = f"{case}"
    assert "X-Plain: ***" in text
    for hidden in ("s3cret-value", "Bearer abc", "hush-hush"):
        assert hidden not in text


def test_a_header_that_cannot_be_sent_fails_without_showing_it(serve: Callable[..., Any]) -> None:
    (case,) = run(check("/", headers={"X-Token": "a\nb-hush"}), canary=[serve()])
    assert case.message.startswith("the request cannot be sent")
    assert "hush" not in f"{case}"


SERVERS = """
import asyncio, sys
wanted, checks = map(int, sys.argv[1:])  # requests at once; other checks than /slow, of each server
now = most = most_slow = 0
full = asyncio.Event()

def server():
    slow = answered = 0
    others = asyncio.Event()

    async def answer(reader, writer):
        nonlocal slow, answered
        global now, most, most_slow
        is_slow = (await reader.readuntil(b"\\r\\n\\r\\n")).split(b" ")[1] == b"/slow"
        now += 1
        slow += is_slow
        most, most_slow = max(most, now), max(most_slow, slow)
        if now == wanted:
            full.set()
        await full.wait()
        if is_slow:
            await others.wait()
        now -= 1  # before the answer: whoever has it may ask again at once
        slow -= is_slow
        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nhi")
        await writer.drain()
        writer.close()
        answered += not is_slow
        if answered == checks:
            others.set()

    return answer

async def main():
    servers = [await asyncio.start_server(server(), "127.0.0.1", 0, backlog=512) for _ in range(10)]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(most, most_slow, flush=True)

asyncio.run(main())
"""


def test_many_checks_on_many_instances_run_at_once_and_none_waits_for_a_slow_chain() -> None:
    """No server answers before 40 requests have come, nor to the chain's first request before all other checks."""
    at_once, others = 40, 199
    checks = [check(f"/{n}", timeout=60) for n in range(others)] + [check("/slow", repeat=15, timeout=60)]
    command = [sys.executable, "-c", SERVERS, f"{at_once}", f"{others}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as servers:
        assert servers.stdin is not None
        assert servers.stdout is not None
        ports = servers.stdout.readline().decode().split()
        places = {"canary": [Place(port, (f"http://127.0.0.1:{port}",)) for port in ports]}
        cases = runner.run(Suite("f", tuple(checks)), places, timeout=120)
        servers.stdin.close()
        most, most_slow = map(int, servers.stdout.read().split())
    assert len(cases) == 2000
    assert [case.message for case in cases if case.bad] == []
    assert most == at_once, "as many as MAX_CONNECTIONS lets ten instances have"
    assert most_slow == 1, "the chain's requests come one after the other"
