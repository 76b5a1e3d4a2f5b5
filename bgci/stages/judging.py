"""The judge at work: canary against baseline on live traffic, from the load balancers' own counters, and on probes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from bgci.canary.budget import budget
from bgci.canary.case import Case, Outcome
from bgci.canary.judge import Counts, Judge, Policy, Verdict
from bgci.canary.latency import Latency, Stretches, Timing, mean_time
from bgci.canary.tally import Tally, reading
from bgci.errors import ConflictError, UnavailableError
from bgci.platform.probe import timed
from bgci.rollout.observe import endpoints
from bgci.stages.hybrid import Hybrid, Side, look
from bgci.stages.status import group_of
from bgci.stages.work import Work

SUITE = "judge"
PAUSE = 1.0  # seconds between two looks
PAIRS = 10  # probes sent to each colour at every look, with --judge-traffic
FEARED = 0.05  # the error rate of a canary as bad as is feared: what --max-failed-requests is reckoned with
SIZING = 10.0  # seconds of traffic before it is

Rows = Mapping[str, int | str]


@dataclass(frozen=True)
class Verdicts:
    """How the judge ended. ``slow``: on response times; None where none could be compared."""

    errors: Verdict
    slow: Verdict | None

    @property
    def outcome(self) -> str:
        """Failed when either failed; the error rate alone can be inconclusive, for times need far more traffic."""
        if self.slow and self.slow.outcome == "fail":
            return "fail"
        return self.errors.outcome

    @property
    def reason(self) -> str:
        failed = self.slow if self.slow and self.slow.outcome == "fail" else self.errors
        return failed.reason


@dataclass
class Bench:
    """What has been seen so far."""

    judge: Judge
    latency: Latency
    tally: Tally = field(default_factory=Tally)
    stretches: Stretches = field(default_factory=Stretches)
    probed: dict[str, Counts] = field(default_factory=lambda: {"canary": Counts(), "baseline": Counts()})
    colours: dict[str, set[str]] = field(default_factory=lambda: {"canary": set(), "baseline": set()})

    def live(self, colour: str) -> Counts:
        return self.tally.total(self.colours[colour])


def judged(work: Work, hybrid: Hybrid) -> Iterator[Case]:
    """The judge's cases; none without --judge-for, or without a baseline to compare with."""
    if work.settings.judge_for <= 0 or hybrid.baseline is None:
        return
    verdicts = watch(work)
    work.result["judge"] = {
        "outcome": verdicts.outcome,
        "reason": verdicts.reason,
        "canary": vars(verdicts.errors.canary),
        "baseline": vars(verdicts.errors.baseline),
        "p_value": verdicts.errors.p_value,
    }
    yield _case("error rate", verdicts.errors)
    if verdicts.slow:
        yield _case("response time", verdicts.slow)


def _case(name: str, verdict: Verdict) -> Case:
    outcome = {"pass": Outcome.PASSED, "fail": Outcome.FAILED}.get(verdict.outcome, Outcome.SKIPPED)
    message = verdict.reason if outcome is not Outcome.PASSED else ""
    return Case(SUITE, name, outcome=outcome, message=message, details=message, output=verdict.reason)


def watch(work: Work) -> Verdicts:
    """Look until the judge can say, and at most for --judge-for. Raises UnavailableError when nothing can be read."""
    policy = Policy(metrics=2)
    bench = Bench(Judge.under(policy), Latency.under(policy))
    began = time.monotonic()
    until = began + work.settings.judge_for
    sized = False
    work.console.step(f"judging the canary beside the baseline for at most {work.settings.judge_for:.0f}s")
    with ThreadPoolExecutor(max_workers=2 * PAIRS) as pool:
        while True:
            hybrid = look(work)
            _see(work, bench, hybrid, pool)
            over = time.monotonic() >= until
            verdicts = Verdicts(
                bench.judge.verdict(over=over), bench.latency.verdict(over=over) if _timed(bench) else None
            )
            if verdicts.outcome != "undecided" or _spent(work, bench):
                return verdicts if verdicts.outcome != "undecided" else _too_costly(work, bench, verdicts)
            if work.settings.max_failed_requests and not sized and time.monotonic() - began > SIZING:
                until, sized = _within_budget(work, bench, began, until), True
            work.console.wait(f"the judge: {bench.judge.verdict().reason}")
            time.sleep(max(0.0, min(PAUSE, until - time.monotonic())))


def _timed(bench: Bench) -> bool:
    return bool(bench.latency.pairs)


# -- looking ----------------------------------------------------------------------------------------------------------


def _see(work: Work, bench: Bench, hybrid: Hybrid, pool: ThreadPoolExecutor) -> None:
    """One look at all load balancers, and one round of probes."""
    assert hybrid.baseline is not None  # noqa: S101 - `look` has seen to it
    sides = {"canary": hybrid.canary, "baseline": hybrid.baseline}
    for colour, side in sides.items():
        bench.colours[colour] |= {str(task["id"]) for task in side.raw.get("tasks", ())}
    speeds = _read(work, bench, [side.raw for side in sides.values()])
    canary, baseline = (Timing(bench.live(colour).requests, *speeds[colour]) for colour in sides)
    bench.stretches, pair = bench.stretches.see(canary, baseline)
    pairs = [pair] if pair else []
    if work.settings.judge_traffic:
        pairs += _probe(work, bench, sides, pool)
    for ours, theirs in pairs:
        bench.latency = bench.latency.see(ours, theirs)
    totals = {colour: bench.live(colour) + bench.probed[colour] for colour in sides}
    bench.judge = bench.judge.see(totals["canary"], totals["baseline"])
    times = dict(zip(sides, pairs[-1], strict=True)) if pairs else {}
    work.journal.sample(
        {
            colour: {**vars(totals[colour]), **({"ms": round(times[colour], 3)} if colour in times else {})}
            for colour in sides
        }
    )


def _read(work: Work, bench: Bench, raws: Sequence[Mapping[str, object]]) -> dict[str, tuple[int, float]]:
    """Fold every replica's counters in; servers and mean response time in ms, by colour."""
    wanted = endpoints(raws, group_of(work))
    rows_by_task: dict[str, list[Rows]] = {}
    problems = []
    for balancer in work.balancers:
        try:
            found = balancer.rows(wanted)
        except UnavailableError as error:
            problems.append(error.message)
            continue
        counts = {task: sum((reading(row) for row in rows), Counts()) for task, rows in found.items()}
        bench.tally = bench.tally.fold(balancer.url, time.monotonic(), counts)
        for task, rows in found.items():
            rows_by_task.setdefault(task, []).extend(rows)
    if len(problems) == len(work.balancers):
        raise UnavailableError(f"no load balancer can be read: {problems[0]}", remedy="check --marathon-lb-url")
    return {colour: _speed(rows_by_task, tasks) for colour, tasks in bench.colours.items()}


def _speed(rows_by_task: Mapping[str, Sequence[Rows]], tasks: set[str]) -> tuple[int, float]:
    rows = [row for task in tasks for row in rows_by_task.get(task, ())]
    weighed = [(reading(row).requests, float(row.get("rtime", 0) or 0)) for row in rows]
    return len(rows), mean_time(weighed)


def _probe(work: Work, bench: Bench, sides: Mapping[str, Side], pool: ThreadPoolExecutor) -> list[tuple[float, float]]:
    """Requests of our own, to both colours at the same time; the pairs of times of those that both answered."""
    urls = {colour: [place.urls[0] for place in side.places().values() if place.urls] for colour, side in sides.items()}
    if not all(urls.values()):
        return []
    path = "/" + work.settings.judge_path.lstrip("/")
    sent = {
        colour: [pool.submit(timed, found[number % len(found)] + path) for number in range(PAIRS)]
        for colour, found in urls.items()
    }
    answers = {colour: [future.result() for future in futures] for colour, futures in sent.items()}
    for colour, got in answers.items():
        bench.probed[colour] += Counts(len(got), sum(ms is None for ms in got))
    both = zip(answers["canary"], answers["baseline"], strict=True)
    return [(ours, theirs) for ours, theirs in both if ours is not None and theirs is not None]


# -- what it may cost -------------------------------------------------------------------------------------------------


def _excess(bench: Bench) -> float:
    """Failed requests of live traffic beyond what the baseline would have failed in the canary's place."""
    canary, baseline = bench.live("canary"), bench.live("baseline")
    return canary.errors - canary.requests * baseline.rate


def _spent(work: Work, bench: Bench) -> bool:
    granted = work.settings.max_failed_requests
    return granted > 0 and _excess(bench) >= granted


def _too_costly(work: Work, bench: Bench, verdicts: Verdicts) -> Verdicts:
    """The budget is used up before the judge could say: that is a no."""
    why = f"--max-failed-requests {work.settings.max_failed_requests} is used up: {bench.judge.verdict().reason}"
    failed = Verdict("fail", why, 1.0, 1.0, canary=bench.judge.canary, baseline=bench.judge.baseline)
    return Verdicts(failed, verdicts.slow)


def _within_budget(work: Work, bench: Bench, began: float, until: float) -> float:
    """How long the canary may stand for the failed requests that are granted. Raises ConflictError when too short."""
    canary, baseline = bench.live("canary"), bench.live("baseline")
    total = canary.requests + baseline.requests
    if not canary.requests or not baseline.requests:
        return until
    seconds = time.monotonic() - began
    share = canary.requests / total
    feared = max(FEARED, 2 * baseline.rate)
    granted = budget(
        work.settings.max_failed_requests, total / seconds, share, until - began, baseline.rate, min(1.0, feared)
    )
    if granted.refused:
        raise ConflictError(
            f"the canary is refused: {granted.refused}",
            remedy="grant more --max-failed-requests, or judge it with --judge-traffic alone",
        )
    return min(until, began + granted.seconds)
