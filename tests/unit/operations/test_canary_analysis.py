"""The judge with a load balancer and a clock of the test."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import count
from threading import Barrier, Lock
from types import SimpleNamespace
from typing import Any

import pytest

from bgci.analysis.judge import Counts, JudgePolicy
from bgci.dcos.marathon_lb import ServerRow
from bgci.dcos.running_app import Address, RunningApp
from bgci.engine.observation import App, Serving, Task
from bgci.errors import ConflictError
from bgci.operations import canary_analysis, synthetic_traffic
from bgci.operations.synthetic_traffic import PAIRS, Probed
from bgci.operations.topology import RunningPair
from bgci.options import Settings

COLOURS = ("canary", "baseline")


def running(app_id: str, *tasks: str) -> RunningApp:
    app = App(app_id, len(tasks), tuple(Task(name, healthy=True) for name in tasks))
    definition = {"id": app_id, "portDefinitions": [{"port": 80}]}
    return RunningApp(app, definition, addresses={name: (Address(name, (), 80),) for name in tasks})


HYBRID = RunningPair(running("/canary", "canary"), running("/baseline", "baseline"))


@dataclass
class World:
    """Each second brings so many live requests and errors of each colour."""

    rates: Callable[[int], dict[str, Counts]]
    second: int = 0
    seen: dict[str, Counts] = field(default_factory=lambda: {colour: Counts() for colour in COLOURS})
    said: list[str] = field(default_factory=list)
    url: str = "http://lb"

    def rows(self, wanted: Any) -> dict[str, list[ServerRow]]:
        return {colour: [ServerRow(Serving.UP, counts)] for colour, counts in self.seen.items()}

    def monotonic(self) -> float:
        return float(self.second)

    def sleep(self, seconds: float) -> None:
        self.second += 1
        self.seen = {colour: self.seen[colour] + self.rates(self.second)[colour] for colour in COLOURS}

    def context(self, **settings: Any) -> Any:
        def say(text: str) -> None:
            self.said.append(text)

        nothing = SimpleNamespace(sample=lambda values: None)
        cluster = SimpleNamespace(marathon=SimpleNamespace(group_apps=lambda group: [HYBRID.baseline]))
        return SimpleNamespace(
            settings=replace(Settings(), **settings),
            balancers=[self],
            journal=nothing,
            cluster=cluster,
            console=SimpleNamespace(step=say, info=say, wait=lambda text: None),
        )


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Callable[..., World]:
    def make(rates: Callable[[int], dict[str, Counts]]) -> World:
        made = World(rates)
        monkeypatch.setattr(canary_analysis, "time", made)
        monkeypatch.setattr(canary_analysis, "pause", made.sleep)
        monkeypatch.setattr(canary_analysis, "current_hybrid", lambda context: HYBRID)
        monkeypatch.setattr(canary_analysis, "group_of", lambda context: "web")
        return made

    return make


def steady(canary: tuple[int, int], baseline: tuple[int, int]) -> Callable[[int], dict[str, Counts]]:
    return lambda second: {"canary": Counts(*canary), "baseline": Counts(*baseline)}


def test_live_and_synthetic_traffic_are_compared_separately(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What probes ask for fails at both, half of the time, and live traffic is well. The canary gets a tenth of the
    # probes and a hundredth of the traffic: all in one, 45 % of its requests would fail and 24 % of the baseline's.
    made = world(steady((1, 0), (99, 0)))
    monkeypatch.setattr(canary_analysis, "probe", _half_fails)
    context = made.context(judge_for=300.0, judge_traffic=True)
    verdicts, evidence = canary_analysis.watch(
        context, JudgePolicy(floor=1e-6, ratio=1.05), context.settings.max_failed_requests
    )
    assert verdicts.outcome == "inconclusive", verdicts.reason
    assert evidence.totals()[0].rate > 1.8 * evidence.totals()[1].rate
    assert evidence.live("canary").errors == 0
    assert evidence.probed["canary"].rate == evidence.probed["baseline"].rate == 0.5


def _half_fails(*about: Any) -> Probed:
    return Probed(Counts(10, 5), Counts(90, 45))


def test_no_synthetic_traffic_is_sent_where_live_traffic_is_sufficient(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(synthetic_traffic, "timed", lambda url: asked.append(url) or 1.0)
    made = world(steady((PAIRS, 0), (30, 0)))
    verdicts, _ = canary_analysis.watch(made.context(judge_for=100.0, judge_traffic=True), JudgePolicy(), 0)
    assert verdicts.outcome == "pass"
    assert len(asked) == PAIRS * (1 + synthetic_traffic.BESIDE), "only at the first look, when it is not known yet"
    assert sum(url.startswith("http://canary:80/") for url in asked) == PAIRS


def test_more_failed_requests_than_allowed_fail_the_canary(world: Callable[..., World]) -> None:
    made = world(steady((2, 1), (2, 0)))
    context = made.context(judge_for=600.0, max_failed_requests=3)
    verdicts, evidence = canary_analysis.watch(context, JudgePolicy(alpha=1e-6), 3)
    assert verdicts.outcome == "fail"
    assert verdicts.reason.startswith("--max-failed-requests 3 is used up: insufficient traffic: 6 of ")
    assert evidence.live("canary").errors == 3


def test_the_duration_of_the_judgement_follows_from_the_allowed_failures(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = world(steady((25, 0), (25, 0)))
    with pytest.raises(ConflictError, match="3 failed requests allow 60 requests to the canary"):
        canary_analysis.watch(made.context(judge_for=600.0, max_failed_requests=3), JudgePolicy(floor=1e-5), 3)
    monkeypatch.setattr(canary_analysis, "refusal", lambda *about: "")  # with so small an alpha it would be refused
    # 4 requests a second to the canary, of which 5 % fail as is feared: 6 failed ones in 30 seconds.
    made = world(lambda second: {"canary": Counts(4, int(second % 5 == 0)), "baseline": Counts(12, 0)})
    verdicts, evidence = canary_analysis.watch(
        made.context(judge_for=600.0, max_failed_requests=6), JudgePolicy(alpha=1e-9), 6
    )
    assert verdicts.reason.startswith("--max-failed-requests 6 is used up: ")
    assert (made.second, evidence.live("canary").errors) == (30, 6)


def test_a_good_canary_may_run_until_it_has_passed(world: Callable[..., World]) -> None:
    made = world(steady((5, 0), (45, 0)))
    verdicts, evidence = canary_analysis.watch(made.context(judge_for=600.0, max_failed_requests=5), JudgePolicy(), 5)
    assert verdicts.outcome == "pass"
    assert evidence.live("canary").requests > 600, "100 would have been enough to cost 5, if 5 % of them failed"


def test_the_size_of_a_planned_canary_follows_from_the_allowed_failures(world: Callable[..., World]) -> None:
    made = world(steady((0, 0), (0, 0)))
    sizes = {granted: canary_analysis.size_within_budget(made.context(), 3, 4, 1, granted) for granted in (4, 8, 20)}
    assert sizes == {4: 1, 8: 2, 20: 3}
    with pytest.raises(ConflictError, match="2 failed requests allow 40 requests to the canary, but about 62"):
        canary_analysis.size_within_budget(made.context(), 3, 4, 1, 2)
    with pytest.raises(ConflictError, match="the only instance gets all of the traffic"):
        canary_analysis.size_within_budget(made.context(), 1, 1, 1, 20)
    # Each of several judgements needs more proof, and a baseline that fails itself needs more as well.
    with pytest.raises(ConflictError):
        canary_analysis.size_within_budget(made.context(), 1, 4, 5, 4)
    made.seen["baseline"] = Counts(1000, 30)
    with pytest.raises(ConflictError, match="to distinguish 6 % errors from 3 % at 25 % of the traffic"):
        canary_analysis.size_within_budget(made.context(), 1, 4, 1, 4)


def test_the_remainder_of_an_error_budget_is_never_unlimited() -> None:
    assert [canary_analysis.left(10, failed) for failed in (-2.0, 0.0, 2.5, 10.0, 30.0)] == [10, 10, 7, 1, 1]
    assert canary_analysis.left(0, 5.0) == 0, "0 is no limit, and stays that"


def test_synthetic_traffic_goes_only_to_instances_in_rotation() -> None:
    both = running("/web", "a", "b")
    rows = {"a": [ServerRow(Serving.MAINT)], "b": [ServerRow(Serving.UP)]}
    assert canary_analysis._in_rotation(both, rows, "/x") == ["http://b:80/x"]
    assert canary_analysis._in_rotation(both, {}, "/x") == ["http://a:80/x", "http://b:80/x"]


def test_a_pair_of_requests_is_sent_at_once_and_no_instance_gets_two_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    busy, lock, calls = set[str](), Lock(), count()
    rounds: list[int] = []
    barrier = Barrier(4, action=lambda: rounds.append(4))

    def timed(url: str) -> float | None:
        if next(calls) < 2 * PAIRS:
            with lock:
                assert url not in busy
                busy.add(url)
            barrier.wait(10)
            with lock:
                busy.remove(url)
        return None if url == "c2" else 5.0

    canary, baseline = ["c1", "c2"], ["b1", "b2", "b3"]
    monkeypatch.setattr(synthetic_traffic, "timed", timed)
    with ThreadPoolExecutor(synthetic_traffic.WORKERS) as pool:
        got = synthetic_traffic.probe(canary, baseline, pool)
    assert rounds == [4] * 5, "two pairs at a time"
    assert (got.canary, got.baseline) == (Counts(10, 5), Counts(90, 0))
    assert got.pairs == ((5.0, 5.0),) * 5
    assert synthetic_traffic.probe([], baseline, pool) == Probed()
