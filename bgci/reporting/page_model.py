"""The content of ``report.html`` (``report.page``), from the journal, the results and the tests. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from html import unescape
from typing import Any
from urllib.parse import quote

from bgci.analysis.judge import Counts, wilson
from bgci.checks.test_result import Case, Outcome
from bgci.reporting import figures
from bgci.reporting.chart import RIGHT, Axis, Chart, duration
from bgci.reporting.timeline import Sample, Span, StageResult, Timeline, for_page, stage_result, timeline

WIDE, NARROW = 960.0, 343.0  # pixels: of a chart on a desk and on a phone
MAX_ROWS = 300  # of the checks' table
MAX_NOTES = 200

DONE = {
    "render": "rendered",
    "publish": "published",
    "canary": "canary is up",
    "test": "passed its tests",
    "promote": "promoted",
    "rollback": "rolled back",
    "release": "released",
}
TONES = {0: "good", 10: "warn", 11: "warn", 130: "warn", 143: "warn"}
KINDS = {  # by the end of a file's name
    "result.json": "the last command's result",
    "manifest.json": "SHA-256 of each file, image, CI run",
    "journal.jsonl": "every observation and every step",
    "traceback.txt": "for the report of a bug in bgci",
    "-new-app-definition.json": "the app definition",
    "-deploy-single-canary.json": "the job that starts the canary",
    "-deploy-canary-completely.json": "the job that promotes it",
    "-rollback-single-canary.json": "the job that rolls back",
    ".xml": "test results as JUnit",
}


@dataclass(frozen=True)
class Figure:
    """One subject in two sizes; ``notes``: sentences below it."""

    title: str
    notes: list[str]
    wide: Chart
    narrow: Chart


@dataclass(frozen=True)
class Key:
    """An entry of a legend."""

    style: str
    text: str


BAR_KEYS = (
    Key("limit area", "physical limit: start, health, load balancers, drains"),
    Key("above area", "above it"),
    Key("rest area", "starting up, and stages without a goal"),
)


@dataclass(frozen=True)
class Bar:
    """A stage's time, in per cent of the longest one's: the physical limit, the overhead, the rest."""

    stage: StageResult
    tone: str
    limit: float
    above: float
    rest: float
    text: str


@dataclass(frozen=True)
class CheckRow:
    """One check over all the instances it was made on."""

    target: str
    name: str
    outcome: str
    passed: int
    total: int
    seconds: float
    message: str


def page_model(
    lines: Iterable[str],
    result: Mapping[str, Any],
    *,
    manifest: Mapping[str, Any] | None = None,
    cases: Sequence[Case] = (),
    files: Sequence[str] = (),
) -> dict[str, Any]:
    """The values of the template, by name.

    ``lines``: the journal; ``result``: the last stage's; ``files``: paths in the artifacts.
    """
    app, revision = str(result.get("app") or ""), str(result.get("revision") or "")
    read = timeline(lines, app=app, revision=revision)
    last = stage_result({"code": 1, **result}) if result else (read.stages[-1] if read.stages else None)
    dry = bool(result.get("dry_run"))
    checks = checked(cases)
    judged = [run for run in read.judgements if len(run) > 1]
    hues = _hues(read)
    return {
        "title": for_page(" ".join(filter(None, (app.lstrip("/"), revision))) or "bgci"),
        "headline": _headline(last) + (" (dry run: nothing was changed)" if dry else ""),
        "tone": "warn" if not last or dry else tone(last.code),
        "badge": f"{last.name} · exit code {last.code}" if last else "no result",
        "last": last,
        "earlier": _earlier(read.stages),
        "facts": _facts(read.spans, manifest or {}, revision),
        "changes": next((stage.changes for stage in [last, *reversed(read.stages)] if stage and stage.changes), ()),
        "bars": bars(read.stages),
        "bar_keys": BAR_KEYS,
        "legend": _legend(read),
        "rollout": _rollout(read) if read.snapshots else [],
        "judged": _judged(judged, hues) if judged else [],
        "variants": [Key(f"{hue} area", role) for hue, role in zip(hues, figures.ROLES, strict=True)],
        "verdict": next((stage.judged for stage in reversed(read.stages) if stage.judged), ""),
        "checks": checks[:MAX_ROWS],
        "checks_left": max(0, len(checks) - MAX_ROWS),
        "checks_text": _counted(cases),
        "notes": [(_stamp(note.at)[11:19], note) for note in read.notes[-MAX_NOTES:]],
        "files": [(quote(name), for_page(name), _kind(name)) for name in files],
        "version": for_page(result.get("bgci") or ""),
        # The lines of a plan are Markdown, in which signs are character references.
        "plan": "\n".join(unescape(str(line)) for line in result.get("plan") or ()) if dry else "",
    }


def tone(code: int) -> str:
    return TONES.get(code, "bad")


def _headline(last: StageResult | None) -> str:
    if last is None:
        return "no stage has ended yet"
    return DONE.get(last.command, f"{last.command} done") if last.code == 0 else f"{last.command}: {last.name}"


def _earlier(stages: Sequence[StageResult]) -> list[str]:
    """The failed stages before the last one, unless the last one's message names them itself."""
    bad = [stage for stage in stages[:-1] if stage.code and stage.message not in stages[-1].message][-3:]
    return [f"{stage.command} {stage.revision} ({stage.name}): {stage.cause or stage.message}" for stage in bad]


def _facts(spans: Sequence[Span], manifest: Mapping[str, Any], revision: str) -> list[tuple[str, str]]:
    facts = []
    if manifest.get("image") and manifest.get("revision") == revision:
        facts.append(("image", for_page(manifest["image"])))
    if spans:
        facts += [("watched from", _stamp(spans[0].start)), ("until", _stamp(spans[-1].end))]
    return facts


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


# -- stages -----------------------------------------------------------------------------------------------------------


def bars(stages: Sequence[StageResult]) -> list[Bar]:
    """Each stage's time beside its physical limit."""
    longest = max((max(stage.seconds, stage.total) for stage in stages), default=0.0) or 1.0
    return [_bar(stage, 100 / longest) for stage in stages]


def _bar(stage: StageResult, scale: float) -> Bar:
    limit = min(stage.limit or 0.0, stage.total)
    parts = (limit, stage.total - limit, max(0.0, stage.seconds - stage.total))
    needed, above, rest = (round(part * scale, 2) for part in parts)
    return Bar(stage, tone(stage.code), needed, above, rest, _compared(stage))


def _compared(stage: StageResult) -> str:
    """The time to the goal beside the physical limit, as a text."""
    if stage.limit is None:
        return ""
    if stage.limit == 0:
        return f"{duration(stage.total)} to the goal, without any wait"
    parts = ", ".join(f"{cause} {duration(spent)}" for cause, spent in stage.waited.items() if spent >= 0.05)
    over = (stage.total - stage.limit) / stage.limit
    limit = f"physical limit {duration(stage.limit)}" + (f" ({parts})" if parts else "")
    return f"{duration(stage.total)} to the goal, {limit}: {over:.0%} above it"


# -- figures ----------------------------------------------------------------------------------------------------------


def _figure(
    title: str, notes: list[str], spans: Sequence[Span], height: float, draw: Callable[[Axis, float], Chart]
) -> Figure:
    return Figure(title, notes, *(draw(Axis(spans, 58.0, width - RIGHT), height) for width in (WIDE, NARROW)))


def _rollout(read: Timeline) -> list[Figure]:
    measured = " The line: the measured share of the requests." if read.judgements else ""
    apart = ["The time between the stages is not shown."] if len(read.spans) > 1 else []
    return [
        _figure(
            "Instances in rotation",
            ["At the load balancer with the fewest. The dashed line: all running instances.", *apart],
            read.spans,
            200,
            partial(figures.rotation, read.snapshots),
        ),
        _figure(
            "Share of the traffic",
            [f"Of new sessions, if all instances in rotation get the same share.{measured}"],
            read.spans,
            160,
            partial(figures.share, read.snapshots, read.judgements),
        ),
    ]


def _legend(read: Timeline) -> list[Key]:
    keys = []
    for app_id in figures.app_ids(read.snapshots):
        apps = [app for snapshot in read.snapshots if (app := snapshot.app(app_id))]
        revisions = ", ".join(dict.fromkeys(app.revision or "unknown revision" for app in apps))
        colour = apps[0].colour
        keys.append(Key(f"{figures.hue(colour)} area", f"{colour or 'no colour'} {app_id}: {revisions}"))
    return keys


def _judged(runs: Sequence[Sequence[Sample]], hues: tuple[str, str]) -> list[Figure]:
    spans, end = [Span(run[0].at, run[-1].at) for run in runs], runs[-1][-1]
    errors = f"In the end: canary {_rate(end.canary)}; baseline {_rate(end.baseline)}."
    made = [_figure("Error rate", [errors], spans, 190, partial(figures.error_rate, runs, hues))]
    if any(figures.times(run, role) for run in runs for role in figures.ROLES):
        note = f"Dots: each sample's mean. Lines: the median of the last {figures.WINDOW} dots."
        made.append(_figure("Response time", [note], spans, 190, partial(figures.response_time, runs, hues)))
    return made


def _rate(counts: Counts) -> str:
    low, high = wilson(counts)
    return f"{counts}, {counts.rate:.2%} ({low:.2%} to {high:.2%})" if counts.requests else "no request"


def _hues(read: Timeline) -> tuple[str, str]:
    """The colours of baseline and canary: of the two apps that ran during the judge's comparison."""
    first = read.judgements[0][0].at if read.judgements else 0.0
    before = [snapshot for snapshot in read.snapshots if snapshot.at <= first and len(snapshot.apps) == 2]
    baseline, canary = (figures.hue(app.colour) for app in before[-1].apps) if before else ("blue", "green")
    return (baseline, canary) if baseline != canary else ("blue", "green")


# -- checks and files -------------------------------------------------------------------------------------------------


def checked(cases: Sequence[Case]) -> list[CheckRow]:
    """One row for each check, bad ones first, then in the order of the cases."""
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.suite, case.name), []).append(case)
    rows = [_row(target, name, members) for (target, name), members in groups.items()]
    rank = {"failed": 0, "error": 0, "skipped": 2}
    return sorted(rows, key=lambda row: rank.get(row.outcome, 1))


def _row(target: str, name: str, cases: Sequence[Case]) -> CheckRow:
    worst = max(cases, key=lambda case: (case.bad, case.executed))
    return CheckRow(
        for_page(target),
        for_page(name),
        worst.outcome.value,
        sum(case.outcome is Outcome.PASSED for case in cases),
        len(cases),
        max(case.seconds for case in cases),
        for_page(f"{worst.place}: {worst.message}" if worst.place and worst.message else worst.message),
    )


def _counted(cases: Sequence[Case]) -> str:
    counts = Counter(case.outcome for case in cases)
    return ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome if counts[outcome])


def _kind(name: str) -> str:
    return next((kind for end, kind in KINDS.items() if name.endswith(end)), "")
