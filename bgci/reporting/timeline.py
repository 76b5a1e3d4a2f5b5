"""The timeline of one revision, read from the journal: looks, samples, steps and the end of each stage. Pure.

It reads these events of the journal (one JSON object a line, each with ``time``, ``offset`` and ``event``):

``observed``, ``step``
    As ``reporting.journal`` writes them, in the plain form of ``journal_reader``.
``sample``
    One look of the judge at live or synthetic traffic::

        {"event": "sample", "canary": {"requests": 512, "errors": 14, "probes": 10, "ms": 12.5},
                            "baseline": {"requests": 1540, "errors": 3, "probes": 90, "ms": 11.0}}

    ``requests`` and ``errors``: totals since this judgement began (smaller ones begin another judgement). ``probes``:
    how many of the requests are synthetic traffic. ``ms``: the mean response time since the last sample that had one,
    in milliseconds; left out where none was measured.
``result``
    The end of a stage, with what ``result.json`` holds of it. That file is the last stage's; this keeps all. Of a stage
    that judged it has ``"judge": {"outcome": "fail", "reason": "canary 14 errors in 512 requests ..."}``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bgci.reporting.journal_reader import expanded
from bgci.reporting.junit import clean

Event = Mapping[str, Any]

MAX_TEXT = 600  # characters
HIDDEN = "(hidden)"
# bgci's own texts hold no secret, but a quoted answer of a server can.
SECRETS = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), HIDDEN),
    (re.compile(r"\beyJ[\w-]{6,}(?:\.[\w-]*){1,2}"), HIDDEN),
    (re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"), HIDDEN),
    (
        re.compile(
            r"\b([\w-]*(?:token|password|secret|passwd|api[-_]?key|authorization)[\"']?\s*[:=]\s*[\"']?)"
            r"(?:(?:bearer|basic|token=)\s*)?[^\s\"',;]+",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
)
DIRECTION = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Running:
    """One app of the group at one look.

    ``in_rotation``: instances that get new sessions, at the load balancer that has fewest of all apps in rotation: one
    load balancer follows before the other, and what is fewest of each app on its own would be a dip that there was not.
    ``share``: the part of new sessions that they get when each instance in rotation gets as many, 0 to 1, over all
    load balancers.
    """

    id: str
    colour: str
    revision: str
    tasks: int
    in_rotation: int
    share: float


@dataclass(frozen=True)
class Look:
    at: float  # seconds since the epoch
    apps: tuple[Running, ...]

    def app(self, app_id: str) -> Running | None:
        return next((app for app in self.apps if app.id == app_id), None)


@dataclass(frozen=True)
class Arm:
    """One side of a sample. ``ms`` is None where none was measured; ``probes``: how many are the judge's own."""

    requests: int
    errors: int
    ms: float | None = None
    probes: int = 0

    @property
    def live(self) -> int:
        return self.requests - self.probes


@dataclass(frozen=True)
class Sample:
    at: float
    canary: Arm
    baseline: Arm


@dataclass(frozen=True)
class Note:
    """A step or a wait, for people."""

    at: float
    text: str
    kind: str = "step"  # step, wait, or result


@dataclass(frozen=True)
class Stage:
    """How a stage ended. Times in seconds; ``limit`` is None where no goal was reached; ``judged``: the verdict;
    ``step``: the size of the canary, in a release by steps. ``changes``: settings of the load balancer that change with
    the promotion, each with its value before and after."""

    at: float
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
    """A stretch of time that was watched; ``name``: the stage that did."""

    start: float
    end: float
    name: str = ""


@dataclass(frozen=True)
class Story:
    looks: tuple[Look, ...] = ()
    samples: tuple[Sample, ...] = ()
    notes: tuple[Note, ...] = ()
    stages: tuple[Stage, ...] = ()
    spans: tuple[Span, ...] = ()

    def judgements(self) -> list[list[Sample]]:
        """The samples of each run of the judge."""
        runs: list[list[Sample]] = []
        for sample in self.samples:
            last = runs[-1][-1] if runs else None
            again = last and any(
                new.requests < old.requests or new.errors < old.errors
                for new, old in ((sample.canary, last.canary), (sample.baseline, last.baseline))
            )
            if last is None or again:
                runs.append([])
            runs[-1].append(sample)
        return runs


def tell(lines: Iterable[str], *, app: str = "", revision: str = "") -> Story:
    """The story of the stages that were about this app and revision; empty: of any. Lines that cannot be read, such as
    one that was cut, are left out."""
    told = [events for events in _stages(lines) if _about(events[-1], app, revision)]
    kept = [event for events in told for event in events]
    looks = sorted((found for event in kept if (found := look(event))), key=_at)
    samples = sorted((taken for event in kept if (taken := sample(event))), key=_at)
    return Story(
        tuple(looks),
        tuple(samples),
        tuple(said for event in kept if (said := note(event))),
        tuple(ended(event) for event in kept if event["event"] == "result"),
        tuple(_joined(span for events in told for span in _spans(events))),
    )


def shown(text: object, limit: int = MAX_TEXT) -> str:
    """A text for the page: no control characters, nothing that looks like a secret, not too long."""
    plain = DIRECTION.sub("", str(text))
    for secret, instead in SECRETS:
        plain = secret.sub(instead, plain)
    return clean(plain, limit)


# -- single events ----------------------------------------------------------------------------------------------------


def look(event: Event) -> Look | None:
    """An observation; None where no load balancer could be read, or nothing is said of any."""
    if event["event"] != "observed":
        return None
    apps = [app for app in _list(event.get("apps")) if isinstance(app, Mapping)]
    deaf = {str(one.get("url")) for one in _list(event.get("load_balancers")) if _map(one).get("problem")}
    up = {str(app.get("id")): _up(app, deaf) for app in apps}
    replicas = sorted({url for counts in up.values() for url in counts})
    if apps and not replicas:
        return None
    totals = {url: sum(counts.get(url, 0) for counts in up.values()) for url in replicas}
    fewest = min(replicas, key=lambda url: totals[url], default="")
    serving = [url for url in replicas if totals[url]]
    return Look(
        event["at"],
        tuple(
            Running(
                shown(app_id := str(app.get("id"))),
                shown(app.get("colour") or ""),
                shown(app.get("revision") or ""),
                int(number(app.get("tasks"))),
                up[app_id].get(fewest, 0),
                sum(up[app_id].get(url, 0) / totals[url] for url in serving) / len(serving) if serving else 0.0,
            )
            for app in apps
        ),
    )


def _up(app: Event, deaf: set[str]) -> dict[str, int]:
    return {
        str(url): int(number(_map(counts).get("up")))
        for url, counts in _map(app.get("serving")).items()
        if str(url) not in deaf
    }


def sample(event: Event) -> Sample | None:
    if event["event"] != "sample":
        return None
    return Sample(event["at"], _arm(event.get("canary")), _arm(event.get("baseline")))


def _arm(value: object) -> Arm:
    said = _map(value)
    requests = max(0, int(number(said.get("requests"))))
    errors = min(requests, max(0, int(number(said.get("errors")))))
    probes = min(requests, max(0, int(number(said.get("probes")))))
    return Arm(requests, errors, number(said["ms"]) if said.get("ms") is not None else None, probes)


def note(event: Event) -> Note | None:
    if event["event"] == "result":
        return Note(event["at"], f"{shown(event.get('command'))}: {shown(event.get('message') or 'done')}", "result")
    if event["event"] != "step":
        return None
    if "wait" in event:
        return Note(event["at"], shown(event.get("why") or event["wait"]), "wait")
    count = int(number(event.get("instances")))
    tasks = len(_list(event.get("task_ids")))
    app_id = event.get("app_id", "")
    texts = {
        "create": f"Create the canary with {_many(count, 'instance')}.",
        "scale": f"Scale {app_id} to {_many(count, 'instance')}.",
        "kill": f"Remove {_many(tasks, 'drained or unused task')}.",
        "delete": f"Delete {app_id}.",
    }
    return Note(event["at"], shown(texts.get(str(event.get("do")), event.get("do", "?"))))


def ended(event: Event) -> Stage:
    timings, judge = _map(event.get("timings")), _map(event.get("judge"))
    return Stage(
        event["at"],
        shown(event.get("command", "?")),
        shown(event.get("revision") or ""),
        int(number(event.get("code"), 1)),
        shown(event.get("name", "")),
        shown(event.get("message") or ""),
        shown(event.get("remedy") or ""),
        shown(_map(event.get("cause")).get("message") or ""),
        shown(f"{judge.get('outcome', '')}: {judge.get('reason', '')}") if judge else "",
        max(0.0, number(event.get("seconds"))),
        max(0.0, number(timings.get("total_seconds"))),
        max(0.0, number(timings.get("limit_seconds"))) if timings else None,
        {shown(cause): number(spent) for cause, spent in sorted(_map(timings.get("waited_seconds")).items())},
        shown(event.get("step") or ""),
        _changes(event.get("balancer_changes")),
    )


def _changes(value: object) -> tuple[tuple[str, str, str], ...]:
    rows = [_map(one) for one in value] if isinstance(value, (list, tuple)) else []
    return tuple(
        (shown(one.get("name") or ""), shown(one.get("before") or "none"), shown(one.get("after") or "none"))
        for one in rows
    )


def number(value: object, default: float = 0.0) -> float:
    """The value when it is a finite number."""
    fine = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if fine else default  # type: ignore[arg-type]


def _at(moment: Look | Sample) -> float:
    return moment.at


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


# -- stages and stretches of time -------------------------------------------------------------------------------------


def _stages(lines: Iterable[str]) -> Iterator[list[Event]]:
    """The events of each stage: those up to its result, which a killed process does not leave."""
    events: list[Event] = []
    for event in expanded(_events(lines)):
        events.append(event)
        if event["event"] == "result":
            yield events
            events = []
    if events:
        yield events


def _events(lines: Iterable[str]) -> Iterator[Event]:
    for line in lines:
        try:
            event = json.loads(line)
            at = datetime.fromisoformat(str(event["time"]).replace("Z", "+00:00")).timestamp()
            yield {**event, "event": str(event["event"]), "at": at}
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            continue


def _about(last: Event, app: str, revision: str) -> bool:
    """Whether a stage whose last event this is was about them; one without a result is taken for it."""
    if last["event"] != "result":
        return True
    same_app = not app or str(last.get("app", "")).strip("/") == app.strip("/")
    return same_app and (not revision or last.get("revision") == revision)


def _spans(events: Sequence[Event]) -> Iterator[Span]:
    """The stretches that one stage watched: a job's journal begins again, at offset 0."""
    last = events[-1]
    ended_by = last if last["event"] == "result" else {}
    name = shown(ended_by.get("command", ""))
    watched = [event for event in events if event["event"] in ("observed", "step", "sample")]
    start = 0
    for i in range(1, len(watched) + 1):
        if i == len(watched) or number(watched[i].get("offset")) < number(watched[i - 1].get("offset")):
            end = watched[i - 1]["at"]
            # Another machine's clock may have set these times: believe the end only where it can be true.
            if i == len(watched) and ended_by and 0 <= ended_by["at"] - end <= number(ended_by.get("seconds")):
                end = ended_by["at"]
            yield Span(watched[start]["at"], max(end, watched[start]["at"]), name)
            start = i


def _joined(spans: Iterable[Span]) -> Iterator[Span]:
    """In order of time, and none within another."""
    last: Span | None = None
    for span in sorted(spans, key=lambda span: (span.start, span.end)):
        if last is None or span.start >= last.end:
            if last:
                yield last
            last = span
        else:
            last = Span(last.start, max(last.end, span.end), last.name)
    if last:
        yield last
