"""The judge on live traffic, through the command line: ``bgci test --judge-for`` and releases with it.

A task that fails a share of its requests fails them evenly (every 50th for 2 %): how many errors come in so many
requests is known to within one, so that the outcome does not depend on chance.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import requests

from e2e.lab import App, Json, Load, Ran, until

# Wald's expected number of canary requests until 2 % errors are told from 0.1 % (docs/judge.md, power 1).
WALD = 111
SHARES = """
checks:
  - name: no more than the half
    target: load-balancer
    path: /
    repeat: 24
    expect: {share: {header: {X-Revision: "${revision}"}, at_most: 30%}}
"""


@contextmanager
def traffic(app: App, per_second: float) -> Iterator[Load]:
    """Sends short requests, some of which may fail, from before the block begins."""
    load = Load(app, 0, 0, per_second - 4)
    try:
        until(lambda: load.count("sent") >= 10)
        yield load
    finally:
        load.stop()


def judge_case(ran: Ran) -> ET.Element:
    """The judge's verdict on the error rate in the JUnit report."""
    root = ET.parse(ran.artifacts / "junit" / "bgci.xml").getroot()
    (case,) = (case for case in root.iter("testcase") if case.get("name") == "error rate")
    return case


def stages(ran: Ran) -> list[tuple[str, int]]:
    return [(stage["command"], stage["code"]) for stage in ran.result["stages"]]


@pytest.fixture
def released(make_app: Callable[..., App]) -> Callable[..., App]:
    """An app with v1 and a canary v2 of one instance beside it."""

    def make(instances: int, **env: str) -> App:
        app = make_app(instances)
        app.promote("v1")
        app.write("v2", env=env)
        app.canary("v2")
        return app

    return make


def test_a_canary_with_two_percent_errors_is_rejected_within_twice_walds_number_of_requests(
    released: Callable[..., App],
) -> None:
    app = released(4, SANDBOX_ERROR_SHARE="0.02")
    with traffic(app, 50):
        done = app.run("test", "v2", "--judge-for", "60s", expect=7)
    judge = done.result["judge"]
    assert judge["outcome"] == "fail"
    assert judge["canary"]["requests"] <= 2 * WALD
    assert judge["baseline"]["errors"] == 0
    said = f"canary {judge['canary']['errors']} errors in {judge['canary']['requests']} requests, baseline 0 in "
    assert said in done.err
    failure = judge_case(done).find("failure")
    assert failure is not None
    assert str(failure.get("message")).startswith(said)
    assert app.runs() == {"v1": 4, "v2": 1}


def test_a_good_canary_passes_also_when_the_load_balancers_reload_meanwhile(released: Callable[..., App]) -> None:
    app = released(2)
    with traffic(app, 120):
        running = app.start("test", "v2", "--judge-for", "60s")
        samples = app.directory / "bgci-artifacts" / "journal.jsonl"
        until(lambda: samples.exists() and samples.read_text().count('"sample"') >= 3)
        for balancer in app.lab.balancers:
            assert requests.get(f"{balancer}/_mlb_signal/usr1", timeout=10).status_code == 200
        done = running.end()
    assert done.code == 0, done.text
    judge = done.result["judge"]
    assert judge["outcome"] == "pass"
    assert judge["counter_resets"] == len(app.lab.balancers)
    assert judge["canary"]["requests"] >= 600, "so many it takes to show less than 0.5 % errors"
    assert judge["canary"]["errors"] == judge["baseline"]["errors"] == 0
    assert judge["probes"] == 0
    case = judge_case(done)
    assert len(case) == 1
    assert "its error rate is below 0.5 %" in str(case.findtext("system-out"))


@pytest.mark.parametrize(
    ("then", "code", "runs"),
    [("rollback", 10, {"v1": 2}), ("leave", 11, {"v1": 2, "v2": 1}), ("promote", 0, {"v2": 2})],
)
def test_a_judgement_without_traffic_is_inconclusive_and_the_release_follows_on_inconclusive(
    app: App, then: str, code: int, runs: dict[str, int]
) -> None:
    app.promote("v1")
    done = app.run("release", "v2", "--judge-for", "1s", "--on-inconclusive", then, expect=code)
    assert done.result["judge"]["reason"].startswith("insufficient traffic: 0 of ")
    assert app.runs() == runs
    skipped = judge_case(done).find("skipped")
    assert skipped is not None
    if then == "leave":
        again = app.run("test", "v2", "--judge-for", "1s", expect=11)
        assert "Give it more time (--judge-for) or traffic (--judge-traffic)" in again.err
    if then == "rollback":
        assert done.result["cause"]["result"] == "inconclusive"


def test_without_live_traffic_the_judge_sends_synthetic_traffic(released: Callable[..., App]) -> None:
    app = released(2, SANDBOX_ERROR_SHARE="0.1")
    done = app.run("test", "v2", "--judge-for", "60s", "--judge-traffic", "--judge-path", "/?bytes=10", expect=7)
    judge = done.result["judge"]
    assert judge["outcome"] == "fail"
    assert judge["probes"] == judge["canary"]["requests"] + judge["baseline"]["requests"]
    assert judge["baseline"] == {"requests": 9 * judge["canary"]["requests"], "errors": 0}
    assert judge["canary"]["requests"] <= 40


def test_max_failed_requests_refuses_a_canary_or_reduces_its_size(make_app: Callable[..., App]) -> None:
    app = make_app(4)
    app.promote("v1")
    options = ["--instances", "3", "--judge-for", "1s", "--on-inconclusive", "leave"]
    refused = app.run("release", "v2", *options, "--max-failed-requests", "2", expect=6)
    assert (
        "2 failed requests allow 40 requests to the canary, but about 62 are needed to distinguish 5 % errors"
        in refused.err
    )
    assert app.runs() == {"v1": 4}
    app.run("release", "v2", *options, "--max-failed-requests", "8", expect=11)
    assert app.runs() == {"v1": 4, "v2": 2}


@pytest.mark.parametrize(("strategy", "via"), [("bluegreen", "direct"), ("rolling", "direct"), ("bluegreen", "job")])
def test_a_release_by_steps_judges_each_step(make_app: Callable[..., App], strategy: str, via: str) -> None:
    app = make_app(4)
    app.promote("v1")
    options = ["--steps", "1,25%,50%", "--strategy", strategy, "--via", via, "--judge-for", "1s"]
    done = app.run("release", "v2", *options, "--on-inconclusive", "promote")
    steps = [("canary", 0), ("test", 11)] * 3
    published = [("publish", 0)] if via == "job" else []
    assert stages(done) == [("render", 0), *published, *steps, ("promote", 0)]
    assert [stage["step"] for stage in done.result["stages"] if "step" in stage][::2] == ["1 instance", "25%", "50%"]
    assert app.runs() == {"v2": 4}
    assert app.least_up() == 4
    root = ET.parse(done.artifacts / "junit" / "bgci.xml").getroot()
    judges = [suite.get("name") for suite in root if str(suite.get("name")).startswith("judge")]
    assert judges == ["judge at 1 instance", "judge at 25%", "judge at 50%"]


@pytest.mark.parametrize("strategy", ["bluegreen", "rolling"])
def test_a_failed_step_brings_the_baseline_back_in_full(make_app: Callable[..., App], strategy: str) -> None:
    app = make_app(4)
    app.promote("v1")
    (app.directory / f"{app.id.strip('/')}.canary.yaml").write_text(SHARES)
    done = app.run("release", "v2", "--steps", "1,50%", "--strategy", strategy, expect=10)
    assert [code for command, code in stages(done) if command == "test"] == [0, 7]
    assert "no more than the half" in done.result["cause"]["message"]
    assert app.runs() == {"v1": 4}
    assert app.least_up() == 4
    suites: list[Json] = [dict(suite.attrib) for suite in ET.parse(done.artifacts / "junit" / "bgci.xml").getroot()]
    failures = {suite["name"]: int(suite["failures"]) for suite in suites}
    assert failures == {
        "load-balancer at 1 instance": 0,
        "canary at 1 instance": 0,
        "load-balancer at 50%": 2,
        "canary at 50%": 0,
    }
