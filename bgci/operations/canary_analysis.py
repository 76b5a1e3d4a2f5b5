"""Canary analysis: the judge compares canary and baseline on live traffic, by the load balancers' counters, and on
synthetic traffic."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import ceil
from statistics import fmean

from bgci.analysis.error_budget import affordable, lasts, refusal
from bgci.analysis.haproxy_counters import CounterSums
from bgci.analysis.judge import Counts, Judge, JudgePolicy, Verdict, wilson
from bgci.analysis.latency import Latency, Timing, Windows, mean_time
from bgci.checks.test_result import Case, Outcome
from bgci.dcos.marathon_lb import ServerRow
from bgci.dcos.running_app import RunningApp, endpoints
from bgci.engine.observation import Serving
from bgci.errors import ConflictError, UnavailableError
from bgci.interruption import SLACK, call, pause, within
from bgci.operations.context import Context
from bgci.operations.synthetic_traffic import PAIRS, WORKERS, Probed, probe
from bgci.operations.topology import RunningPair, current_hybrid, group_of, places_of

SUITE = "judge"
PAUSE = 1.0  # seconds between two polls
ROUND = 300.0  # seconds; limit of a round of synthetic traffic; each of its requests has a shorter limit
REPORT_EVERY = 5.0  # seconds between two lines of the log
ERRORS_PART = 0.9  # of alpha; the rest is for response times, where stronger evidence costs only two pairs
WORST_CASE = 0.05  # the error rate of a worst-case canary, for --max-failed-requests
HIGHEST = 0.499  # of a baseline's error rate, so that the worst-case rate can be higher
SIZING = 10.0  # seconds of live traffic before the judge computes the time limit for the granted failures


@dataclass(frozen=True)
class Verdicts:
    """The verdicts on error rates and on response times. ``slow``: None without pairs of response times."""

    errors: Verdict
    slow: Verdict | None

    @property
    def outcome(self) -> str:
        """Fail when either failed. Only the error rate can be inconclusive, because times need far more traffic."""
        if self.slow and self.slow.outcome == "fail":
            return "fail"
        return self.errors.outcome

    @property
    def reason(self) -> str:
        failed = self.slow if self.slow and self.slow.outcome == "fail" else self.errors
        return failed.reason


@dataclass
class Evidence:
    """The counts and times so far, and the e-processes on them."""

    judge: Judge
    latency: Latency
    granted: int = 0  # --max-failed-requests, less the failures of earlier steps; 0: no limit
    sums: CounterSums = field(default_factory=CounterSums)
    windows: Windows = field(default_factory=Windows)
    probed: dict[str, Counts] = field(default_factory=lambda: {"canary": Counts(), "baseline": Counts()})
    colours: dict[str, set[str]] = field(default_factory=lambda: {"canary": set(), "baseline": set()})

    def live(self, colour: str) -> Counts:
        return self.sums.total(self.colours[colour])

    def totals(self) -> tuple[Counts, Counts]:
        """Live and synthetic traffic together, of the canary and of the baseline."""
        return self.live("canary") + self.probed["canary"], self.live("baseline") + self.probed["baseline"]


def judged(
    context: Context, hybrid: RunningPair, judgements: int, granted: int, on_poll: Callable[[], None]
) -> Iterator[Case]:
    """The test cases of the canary analysis; none without a baseline to compare with.

    ``judgements``: number of verdicts on this canary until its promotion; 0: none. Each can fail the canary, so each
    gets its part of alpha. granted: number of requests that the canary can fail beyond the baseline; 0: no limit.
    ``on_poll`` is called at each poll; its exception ends the analysis.
    """
    if not judgements or hybrid.baseline is None:
        return
    verdicts, evidence = watch(context, JudgePolicy().part(1 / judgements), granted, on_poll)
    report = {
        "outcome": verdicts.outcome,
        "reason": verdicts.reason,
        "canary": vars(verdicts.errors.canary),
        "baseline": vars(verdicts.errors.baseline),
        "p_value": verdicts.errors.p_value,
        "probes": evidence.probed["canary"].requests + evidence.probed["baseline"].requests,
        "counter_resets": evidence.sums.resets,
        "blind_seconds": round(evidence.sums.blind_seconds, 1),
        "failed_beyond_baseline": round(_excess(evidence), 1),
    }
    context.result = replace(context.result, judge=report)
    yield _case("error rate", verdicts.errors)
    if verdicts.slow:
        yield _case("response time", verdicts.slow)


def _case(name: str, verdict: Verdict) -> Case:
    outcome = {"pass": Outcome.PASSED, "fail": Outcome.FAILED}.get(verdict.outcome, Outcome.SKIPPED)
    message = verdict.reason if outcome is not Outcome.PASSED else ""
    return Case(SUITE, name, outcome=outcome, message=message, details=message, output=verdict.reason)


def watch(
    context: Context, policy: JudgePolicy, granted: int, on_poll: Callable[[], None] = lambda: None
) -> tuple[Verdicts, Evidence]:
    """Poll until the judge decides, and at most for --judge-for.

    Raises UnavailableError when no load balancer can be read, ConflictError when --max-failed-requests allows too few
    requests for a verdict.
    """
    errors = policy.part(ERRORS_PART)
    evidence = Evidence(Judge.under(errors), Latency.under(policy.part(1 - ERRORS_PART)), granted)
    began = reported = time.monotonic()
    until, sized = began + context.settings.judge_for, False
    context.console.step(f"Judging the canary against the baseline for at most {context.settings.judge_for:.0f}s.")
    with _pool() as pool, within(context.settings.judge_for + SLACK):
        while True:
            next_look = time.monotonic() + PAUSE
            on_poll()
            _poll(context, evidence, current_hybrid(context), pool)
            if granted and time.monotonic() - began > SIZING and _compared(evidence):
                if not sized:
                    _require_enough(evidence)
                until, sized = min(began + context.settings.judge_for, _affordable_until(evidence, began)), True
            over = time.monotonic() >= until
            verdicts = Verdicts(
                evidence.judge.verdict(over=over),
                evidence.latency.verdict(over=over) if evidence.latency.pairs else None,
            )
            if verdicts.outcome not in ("pass", "fail") and _spent(evidence):
                return _too_costly(evidence, verdicts), evidence
            if verdicts.outcome != "undecided":
                return verdicts, evidence
            if time.monotonic() >= reported + REPORT_EVERY:
                reported = time.monotonic()
                context.console.wait(f"The judge: {evidence.judge.verdict().reason}")
            pause(max(0.0, min(next_look, until) - time.monotonic()))


@contextmanager
def _pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for synthetic traffic. The command does not wait for them at its end."""
    pool = ThreadPoolExecutor(max_workers=WORKERS)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


# -- polling ----------------------------------------------------------------------------------------------------------


def _poll(context: Context, evidence: Evidence, hybrid: RunningPair, pool: ThreadPoolExecutor) -> None:
    """One poll of all load balancers, and one round of synthetic traffic if live traffic was too thin.

    Live and synthetic traffic request different paths in different proportions, so they are separate strata.
    """
    assert hybrid.baseline is not None  # noqa: S101 - ``current_hybrid`` guarantees it
    sides = {"canary": hybrid.canary, "baseline": hybrid.baseline}
    for colour, side in sides.items():
        evidence.colours[colour] |= {task.id for task in side.app.tasks}
    before = evidence.live("canary").requests
    rows_by_task = _read(context, evidence, list(sides.values()))
    canary, baseline = (_timing(evidence, colour, rows_by_task) for colour in sides)
    evidence.windows, pair = evidence.windows.see(canary, baseline)
    pairs = [pair] if pair else []
    evidence.judge = evidence.judge.see(*evidence.totals())
    if context.settings.judge_traffic and canary.requests - before < PAIRS:
        path = "/" + context.settings.judge_path.lstrip("/")
        ours, theirs = (_in_rotation(side, rows_by_task, path) for side in sides.values())
        try:
            got = call(lambda: probe(ours, theirs, pool), ROUND)
        except TimeoutError:  # --judge-for has ended: only complete rounds count
            got = Probed()
        evidence.probed["canary"] += got.canary
        evidence.probed["baseline"] += got.baseline
        evidence.judge = evidence.judge.see(*evidence.totals())
        pairs += got.pairs
    for canary_ms, baseline_ms in pairs:
        evidence.latency = evidence.latency.see(canary_ms, baseline_ms)
    times = [round(fmean(both), 3) for both in zip(*pairs, strict=True)]
    context.journal.sample(
        {
            colour: {
                **vars(total),
                "probes": evidence.probed[colour].requests,
                **({"ms": times[index]} if times else {}),
            }
            for index, (colour, total) in enumerate(zip(sides, evidence.totals(), strict=True))
        }
    )


def _read(context: Context, evidence: Evidence, apps: Sequence[RunningApp]) -> dict[str, list[ServerRow]]:
    """Add every replica's counters to the sums. Returns the rows of each task."""
    wanted = endpoints(apps, group_of(context))
    rows_by_task: dict[str, list[ServerRow]] = {}
    problems = []
    for balancer in context.balancers:
        try:
            found = balancer.rows(wanted)
        except UnavailableError as error:
            problems.append(error.message)
            continue
        counts = {task: sum((row.counts for row in rows), Counts()) for task, rows in found.items()}
        evidence.sums = evidence.sums.fold(balancer.url, time.monotonic(), counts)
        for task, rows in found.items():
            rows_by_task.setdefault(task, []).extend(rows)
    if len(problems) == len(context.balancers):
        raise UnavailableError(f"No load balancer can be read: {problems[0]}", remedy="Check --marathon-lb-url.")
    return rows_by_task


def _timing(evidence: Evidence, colour: str, rows_by_task: Mapping[str, Sequence[ServerRow]]) -> Timing:
    rows = [row for task in evidence.colours[colour] for row in rows_by_task.get(task, ())]
    weighed = [(row.counts.requests, row.response_ms) for row in rows]
    return Timing(evidence.live(colour).requests, len(rows), mean_time(weighed))


def _in_rotation(side: RunningApp, rows_by_task: Mapping[str, Sequence[ServerRow]], path: str) -> list[str]:
    """URLs for synthetic traffic: of instances in rotation, because an idle instance answers faster; without any of
    all."""
    places = places_of(side)
    states = {task: {row.serving for row in rows_by_task.get(task, ())} for task in places}
    up = [task for task in places if Serving.UP in states[task]]
    return [places[task].urls[0] + path for task in up or places if places[task].urls]


# -- the error budget -------------------------------------------------------------------------------------------------


def _excess(evidence: Evidence) -> float:
    """Failed requests of live traffic beyond what the baseline would have failed in the canary's place."""
    canary, baseline = evidence.live("canary"), evidence.live("baseline")
    return canary.errors - canary.requests * baseline.rate


def _spent(evidence: Evidence) -> bool:
    return 0 < evidence.granted <= _excess(evidence)


def _too_costly(evidence: Evidence, verdicts: Verdicts) -> Verdicts:
    """The verdict "fail" for a canary that used up its failed requests before the judge could decide."""
    why = f"--max-failed-requests {evidence.granted} is used up: {evidence.judge.verdict().reason}"
    failed = Verdict("fail", why, 1.0, evidence.judge.canary, evidence.judge.baseline)
    return Verdicts(failed, verdicts.slow)


def _compared(evidence: Evidence) -> bool:
    return all(evidence.live(colour).requests for colour in evidence.colours)


def _affordable_until(evidence: Evidence, began: float) -> float:
    """Until when the canary can run with the remaining failed requests.

    Assumes the worst-case rate, or the worst rate that the data do not exclude: a better canary can run longer.
    """
    canary, baseline = evidence.live("canary"), evidence.live("baseline")
    now = time.monotonic()
    total = canary.requests + baseline.requests
    worst = min(worst_case_rate(baseline.rate), wilson(canary)[1])
    left_over = evidence.granted - max(0.0, _excess(evidence))
    return now + lasts(left_over, total / (now - began), canary.requests / total, baseline.rate, worst)


def _require_enough(evidence: Evidence) -> None:
    """Raises ConflictError when the granted failures allow too few requests for a verdict."""
    canary, baseline = evidence.live("canary"), evidence.live("baseline")
    rate, share = min(baseline.rate, HIGHEST), canary.requests / (canary.requests + baseline.requests)
    refused = refusal(evidence.granted, share, rate, worst_case_rate(rate), evidence.judge.policy)
    if refused:
        raise _refused(refused)


def worst_case_rate(baseline_rate: float) -> float:
    """The worst-case error rate of a canary."""
    return min(1.0, max(WORST_CASE, 2 * baseline_rate))


def size_within_budget(context: Context, instances: int, target: int, judgements: int, granted: int) -> int:
    """The largest canary of up to ``instances`` for --max-failed-requests, before its creation.

    Raises ConflictError when even one instance would fail more requests before a verdict.
    """
    group = group_of(context)
    apps = context.cluster.marathon.group_apps(group) if group else []
    if not apps:
        return instances  # a first deployment
    if target < 2:
        raise _refused("the only instance gets all of the traffic, so there is no baseline to compare with")
    rate = min(_rate_of(context, apps, group), HIGHEST)
    policy = JudgePolicy().part(1 / judgements).part(ERRORS_PART)
    size = affordable(granted, instances, target, rate, worst_case_rate(rate), policy)
    if not size:
        raise _refused(refusal(granted, 1 / target, rate, worst_case_rate(rate), policy))
    return size


def _rate_of(context: Context, apps: Sequence[RunningApp], group: str) -> float:
    """The error rate of the running app since the load balancers' last reload; 0 if unknown."""
    wanted = endpoints(apps, group)
    found = [rows for balancer in context.balancers for rows in balancer.rows(wanted).values()]
    return sum((row.counts for rows in found for row in rows), Counts()).rate


def _refused(why: str) -> ConflictError:
    return ConflictError(
        f"The canary is refused: {why}.",
        remedy="Increase --max-failed-requests, or judge the canary with --judge-traffic alone.",
    )


def left(granted: int, failed: float) -> int:
    """The rest of --max-failed-requests for later steps, at least 1; 0 (no limit) stays 0."""
    return max(1, granted - max(0, ceil(failed))) if granted else 0
