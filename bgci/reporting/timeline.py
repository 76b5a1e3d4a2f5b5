"""The timeline of one revision, from the journal: observations, samples of the judge, steps, results. Pure.

``reporting.journal`` describes the events of a rollout. Two more are read:

``sample``
    One poll of the judge, of live or synthetic traffic::

        {"event": "sample", "canary": {"requests": 512, "errors": 14, "probes": 10, "ms": 12.5},
                            "baseline": {"requests": 1540, "errors": 3, "probes": 90, "ms": 11.0}}

    ``requests`` and ``errors``: totals since this judgement began (smaller ones begin another judgement). ``probes``:
    how many of the requests are synthetic traffic. ``ms``: the mean response time since the last sample that had one,
    in milliseconds; omitted without a measurement.
``result``
    The end of a stage, as in ``result.json``, which has only the last stage. After a judgement it has
    ``"judge": {"outcome": "fail", "reason": "canary 14 errors in 512 requests ..."}``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bgci.analysis.judge import Counts
from bgci.engine.decisions import Wait
from bgci.engine.observation import Observation, Serving
from bgci.redaction import without_credentials
from bgci.reporting.journal_reader import Entry, entries
from bgci.reporting.junit import clean
from bgci.reporting.rollout_log import step_text
from bgci.reporting.rollout_record import decode_step

MAX_TEXT = 600  # characters
DIRECTION = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Running:
    """One app at one moment.

    ``in_rotation``: instances that get new sessions, at the load balancer with the fewest of both apps together.
    Separate minima of the apps would show a dip when one load balancer only lags behind the other.
    ``share``: their part of new sessions, 0 to 1, over all load balancers, if all instances in rotation get the same
    share.
    """

    id: str
    colour: str
    revision: str
    tasks: int
    in_rotation: int
    share: float


@dataclass(frozen=True)
class Snapshot:
    at: float  # seconds since the epoch
    apps: tuple[Running, ...]

    def app(self, app_id: str) -> Running | None:
        return next((app for app in self.apps if app.id == app_id), None)


@dataclass(frozen=True)
class Variant(Counts):
    """Canary or baseline in one sample. ``ms``: None without a measurement."""

    ms: float | None = None
    probes: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 <= self.probes <= self.requests and 0 <= (self.ms or 0) < math.inf):
            raise ValueError(f"{self.probes} probes, {self.ms} ms")

    @property
    def live(self) -> int:
        return self.requests - self.probes


@dataclass(frozen=True)
class Sample:
    at: float
    canary: Variant
    baseline: Variant


@dataclass(frozen=True)
class Note:
    """A step, a wait or a result as a text."""

    at: float
    text: str
    kind: str  # step, wait, or result


@dataclass(frozen=True)
class StageResult:
    """The end of a stage. Times in seconds; ``limit`` is None if no goal was reached; ``judged``: the verdict;
    ``step``: the size of the canary, in a release by steps. ``changes``: settings of the load balancer that change with
    the promotion, each with its value before and after."""

    command: str
    revision: str
    code: int
    name: str
    message: str = ""
    remedy: str = ""
    cause: str = ""
    judged: str = ""
    seconds: float = 0.0
    total: float = 0.0
    limit: float | None = None
    waited: Mapping[str, float] = field(default_factory=dict)
    step: str = ""
    changes: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Span:
    """A time in which a stage watched the rollout; ``name``: the stage."""

    start: float
    end: float
    name: str = ""


@dataclass
class Timeline:
    snapshots: list[Snapshot] = field(default_factory=list)
    judgements: list[list[Sample]] = field(default_factory=list)  # the samples of each run of the judge
    notes: list[Note] = field(default_factory=list)
    stages: list[StageResult] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)


def timeline(lines: Iterable[str], *, app: str = "", revision: str = "") -> Timeline:
    """The stages of this app and revision; empty: of any. Ignores unreadable events."""
    found = Timeline()
    for stage in _stages(lines):
        if _is_about(stage[-1], app, revision):
            for entry in stage:
                try:
                    _add(found, entry)
                except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
                    continue
            found.spans += _spans(stage)
    found.snapshots.sort(key=lambda snapshot: snapshot.at)
    found.spans = _merged(found.spans)
    return found


def for_page(text: object, limit: int = MAX_TEXT) -> str:
    """The text without control characters and possible credentials, at most ``limit`` long."""
    return clean(without_credentials(DIRECTION.sub("", str(text))), limit)


def _add(found: Timeline, entry: Entry) -> None:
    at, event = entry.at, entry.event
    if entry.observation and (snapshot := snapshot_of(at, entry.observation)):
        found.snapshots.append(snapshot)
    if entry.decided:
        step = decode_step(entry.step)
        kind, text = ("wait", step.reason) if isinstance(step, Wait) else ("step", step_text(step, "the canary"))
        found.notes.append(Note(at, for_page(text), kind))
    if entry.kind == "sample":
        sample = Sample(at, Variant(**event["canary"]), Variant(**event["baseline"]))
        last = found.judgements[-1][-1] if found.judgements else None
        if last is None or _is_smaller(sample.canary, last.canary) or _is_smaller(sample.baseline, last.baseline):
            found.judgements.append([])
        found.judgements[-1].append(sample)
    if entry.kind == "result":
        stage = stage_result(event)
        found.stages.append(stage)
        found.notes.append(Note(at, f"{stage.command}: {stage.message or 'done'}", "result"))


def _is_smaller(new: Counts, old: Counts) -> bool:
    return new.requests < old.requests or new.errors < old.errors


def snapshot_of(at: float, observation: Observation) -> Snapshot | None:
    """The state at the readable load balancers; None without one."""
    replicas = [replica for replica in observation.replicas if not replica.problem]
    if observation.apps and not replicas:
        return None
    up = [
        [sum(replica.server(task.id).serving is Serving.UP for task in app.tasks) for app in observation.apps]
        for replica in replicas
    ]
    serving = [counts for counts in up if any(counts)]
    return Snapshot(
        at,
        tuple(
            Running(
                for_page(app.id),
                for_page(app.colour or ""),
                for_page(app.revision or ""),
                len(app.tasks),
                min(up, key=sum)[index],
                sum(counts[index] / sum(counts) for counts in serving) / (len(serving) or 1),
            )
            for index, app in enumerate(observation.apps)
        ),
    )


def stage_result(event: Mapping[str, Any]) -> StageResult:
    """The end of a stage from its ``result`` event, or from ``result.json``."""
    timings, judge, cause = (event.get(name) or {} for name in ("timings", "judge", "cause"))
    return StageResult(
        for_page(event.get("command") or "?"),
        for_page(event.get("revision") or ""),
        int(event["code"]),
        for_page(event.get("name") or ""),
        for_page(event.get("message") or ""),
        for_page(event.get("remedy") or ""),
        for_page(cause.get("message") or ""),
        for_page(f"{judge.get('outcome', '')}: {judge.get('reason', '')}") if judge else "",
        max(0.0, event.get("seconds", 0.0)),
        max(0.0, timings.get("total_seconds", 0.0)),
        max(0.0, timings.get("limit_seconds", 0.0)) if timings else None,
        {for_page(cause): 0.0 + spent for cause, spent in sorted((timings.get("waited_seconds") or {}).items())},
        for_page(event.get("step") or ""),
        tuple(
            (for_page(one["name"]), for_page(one.get("before") or "none"), for_page(one.get("after") or "none"))
            for one in event.get("balancer_changes") or ()
        ),
    )


# -- stages and the time in which they watched ------------------------------------------------------------------------


def _stages(lines: Iterable[str]) -> Iterator[list[Entry]]:
    """The entries of each stage, up to its result; a killed process writes no result."""
    stage: list[Entry] = []
    for entry in entries(lines):
        stage.append(entry)
        if entry.kind == "result":
            yield stage
            stage = []
    if stage:
        yield stage


def _is_about(last: Entry, app: str, revision: str) -> bool:
    """Whether a stage with this last event is about them; so is one without a result."""
    if last.kind != "result":
        return True
    same_app = not app or str(last.event.get("app", "")).strip("/") == app.strip("/")
    return same_app and (not revision or last.event.get("revision") == revision)


def _spans(stage: Sequence[Entry]) -> list[Span]:
    """The times in which one stage watched: a journal of a job begins again at offset 0."""
    last = stage[-1]
    name = for_page(last.event.get("command", "")) if last.kind == "result" else ""
    spans: list[Span] = []
    offset = math.inf
    for entry in stage:
        if entry.kind in ("observed", "unobserved", "sample"):
            start = spans.pop().start if entry.event.get("offset", 0.0) >= offset else entry.at
            spans.append(Span(start, max(start, entry.at), name))
            offset = entry.event.get("offset", 0.0)
    # Another machine's clock may have set these times: use the result's only if it is plausible.
    if spans and last.kind == "result" and 0 <= last.at - spans[-1].end <= last.event.get("seconds", 0.0):
        spans[-1] = Span(spans[-1].start, last.at, name)
    return spans


def _merged(spans: Iterable[Span]) -> list[Span]:
    """The spans in order of time; those that overlap become one."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, span.end)):
        if found and span.start < found[-1].end:
            span = Span(found[-1].start, max(found.pop().end, span.end), span.name)
        found.append(span)
    return found
