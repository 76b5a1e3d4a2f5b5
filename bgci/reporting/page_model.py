"""What stands on the page (``report.page``): a view model of the journal, the results and the tests. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from html import unescape
from typing import Any
from urllib.parse import quote

from bgci.checks.test_result import Case, Outcome
from bgci.reporting import figures
from bgci.reporting.chart import RIGHT, Axis, Chart, elapsed
from bgci.reporting.timeline import Arm, Note, Sample, Span, Stage, Story, ended, shown, tell

WIDE, NARROW = 960.0, 343.0  # pixels: of a picture on a desk and on a phone
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
FILES = {
    "result.json": "the last command's result",
    "manifest.json": "SHA-256 of what was made, image, CI run",
    "journal.jsonl": "every observation and every step",
    "traceback.txt": "for a report of a bug in bgci",
}
KINDS = {
    "-new-app-definition.json": "the app definition",
    "-deploy-single-canary.json": "the job that starts the canary",
    "-deploy-canary-completely.json": "the job that promotes it",
    "-rollback-single-canary.json": "the job that goes back",
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
    """A stage's time, in per cent of the longest one's: what the platform needs, what we took above it, the rest."""

    stage: Stage
    tone: str
    when: str
    limit: float
    above: float
    rest: float
    text: str


@dataclass(frozen=True)
class Check:
    """One check over all the instances it was made on."""

    target: str
    name: str
    outcome: str
    passed: int
    total: int
    seconds: float
    message: str


@dataclass(frozen=True)
class View:
    """All that the template draws."""

    title: str
    headline: str
    tone: str
    badge: str
    message: str
    cause: str
    remedy: str
    earlier: list[str]
    facts: list[tuple[str, str]]
    changes: tuple[tuple[str, str, str], ...]
    bars: list[Bar]
    bar_keys: list[Key]
    legend: list[Key]
    rollout: list[Figure]
    judged: list[Figure]
    arms: list[Key]
    verdict: str
    checks: list[Check]
    checks_left: int
    checks_text: str
    notes: list[tuple[str, Note]]
    files: list[tuple[str, str, str]]
    version: str
    plan: str  # of a dry run; empty for a command that was carried out


def view(
    lines: Iterable[str],
    result: Mapping[str, Any],
    *,
    manifest: Mapping[str, Any] | None = None,
    cases: Sequence[Case] = (),
    files: Sequence[str] = (),
) -> View:
    """The view model. ``lines``: the journal; ``result``: the last stage's; ``files``: paths in the artifacts."""
    app, revision = str(result.get("app") or ""), str(result.get("revision") or "")
    story = tell(lines, app=app, revision=revision)
    last = ended({"at": 0.0, **result}) if result else (story.stages[-1] if story.stages else None)
    checks = checked(cases)
    return View(
        title=shown(" ".join(part for part in (app.lstrip("/"), revision) if part) or "bgci"),
        headline=f"{_headline(last)}{' (dry run: nothing was changed)' if result.get('dry_run') else ''}",
        tone="warn" if not last or result.get("dry_run") else tone(last.code),
        badge=f"{last.name} · exit code {last.code}" if last else "no result",
        message=last.message if last else "",
        cause=last.cause if last else "",
        remedy=last.remedy if last and last.code else "",
        earlier=_earlier(story.stages),
        facts=_facts(story, manifest or {}, revision),
        changes=next((stage.changes for stage in [last, *reversed(story.stages)] if stage and stage.changes), ()),
        bars=bars(story.stages, story.spans),
        bar_keys=list(BAR_KEYS),
        legend=_legend(story),
        rollout=_rollout(story),
        judged=_judged(story),
        arms=_arms(story),
        verdict=next((stage.judged for stage in reversed(story.stages) if stage.judged), ""),
        checks=checks[:MAX_ROWS],
        checks_left=max(0, len(checks) - MAX_ROWS),
        checks_text=_counted(cases),
        notes=[(_since(note.at, story.spans), note) for note in story.notes[-MAX_NOTES:]],
        files=[(quote(name), shown(name), _kind(name)) for name in files],
        version=shown(result.get("bgci") or ""),
        plan=_plan(result),
    )


def _plan(result: Mapping[str, Any]) -> str:
    """The plan of a dry run as text: its lines are Markdown, in which signs are character references."""
    lines = result.get("plan") if result.get("dry_run") else None
    return "\n".join(unescape(str(line)) for line in lines) if isinstance(lines, list) else ""


def tone(code: int) -> str:
    return TONES.get(code, "bad")


def duration(seconds: float) -> str:
    """``41 ms``, ``12.3 s``, ``2 min 05 s``, ``1 h 02 min``."""
    if 0 < seconds < 0.0995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _headline(last: Stage | None) -> str:
    if last is None:
        return "no stage has ended yet"
    return DONE.get(last.command, f"{last.command} done") if last.code == 0 else f"{last.command}: {last.name}"


def _earlier(stages: Sequence[Stage]) -> list[str]:
    """The stages before the last one that did not go well, unless the last one says so itself."""
    bad = [stage for stage in stages[:-1] if stage.code and stage.message not in stages[-1].message][-3:]
    return [f"{stage.command} {stage.revision} ({stage.name}): {stage.cause or stage.message}" for stage in bad]


def _facts(story: Story, manifest: Mapping[str, Any], revision: str) -> list[tuple[str, str]]:
    facts = []
    if manifest.get("image") and manifest.get("revision") == revision:
        facts.append(("image", shown(manifest["image"])))
    if story.spans:
        facts.append(("watched from", _stamp(story.spans[0].start)))
        facts.append(("until", _stamp(story.spans[-1].end)))
    return facts


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def _since(at: float, spans: Sequence[Span]) -> str:
    return elapsed(max(0.0, at - spans[0].start), 0.1) if spans else _stamp(at)[11:19]


# -- stages -----------------------------------------------------------------------------------------------------------


def bars(stages: Sequence[Stage], spans: Sequence[Span] = ()) -> list[Bar]:
    """Each stage's time beside its physical limit."""
    longest = max((max(stage.seconds, stage.total) for stage in stages), default=0.0) or 1.0
    return [_bar(stage, 100 / longest, spans) for stage in stages]


def _bar(stage: Stage, scale: float, spans: Sequence[Span]) -> Bar:
    limit = min(stage.limit or 0.0, stage.total)
    rest = max(0.0, stage.seconds - stage.total)
    begin = _since(stage.at - stage.seconds, spans) if spans else ""
    return Bar(
        stage,
        tone(stage.code),
        begin,
        round(limit * scale, 2),
        round((stage.total - limit) * scale, 2),
        round(rest * scale, 2),
        _compared(stage),
    )


def _compared(stage: Stage) -> str:
    """The time to the goal beside the physical limit, in words."""
    if stage.limit is None:
        return ""
    if stage.limit == 0:
        return f"{duration(stage.total)} to the goal; there was nothing to wait for"
    parts = ", ".join(f"{cause} {duration(spent)}" for cause, spent in stage.waited.items() if spent >= 0.05)
    over = (stage.total - stage.limit) / stage.limit
    limit = f"physical limit {duration(stage.limit)}" + (f" ({parts})" if parts else "")
    return f"{duration(stage.total)} to the goal, {limit}: {over:.0%} above it"


# -- pictures ---------------------------------------------------------------------------------------------------------


def _rollout(story: Story) -> list[Figure]:
    if not story.looks:
        return []
    looks, judgements = story.looks, story.judgements()
    wide, narrow = _axes(story.spans)
    measured = " The line: where the requests that were counted divide." if story.samples else ""
    return [
        Figure(
            "Instances in rotation",
            ["At the load balancer that has fewest. The dashed line: all that run, in rotation or not."],
            figures.rotation(looks, wide, 210),
            figures.rotation(looks, narrow, 190),
        ),
        Figure(
            "Share of the traffic",
            [f"Of new sessions, as each instance in rotation gets as many of them.{measured}"],
            figures.share(looks, judgements, wide, 160),
            figures.share(looks, judgements, narrow, 150),
        ),
    ]


def _axes(spans: Sequence[Span], left: float = 50.0) -> tuple[Axis, Axis]:
    return Axis(spans, left, WIDE - RIGHT), Axis(spans, left, NARROW - RIGHT)


def _legend(story: Story) -> list[Key]:
    keys = []
    for app_id in figures.app_ids(story.looks):
        seen = [app for look in story.looks if (app := look.app(app_id))]
        revisions = ", ".join(dict.fromkeys(app.revision or "unknown revision" for app in seen))
        keys.append(
            Key(f"{figures.hue(seen[0].colour)} area", f"{seen[0].colour or 'no colour'} {app_id}: {revisions}")
        )
    return keys


def _judged(story: Story) -> list[Figure]:
    judgements = [run for run in story.judgements() if len(run) > 1]
    if not judgements:
        return []
    wide, narrow = _axes([Span(run[0].at, run[-1].at) for run in judgements], 58.0)
    hues = _hues(story)
    made = [
        Figure(
            "Error rate",
            [_errors(run[-1]) for run in judgements[-1:]],
            figures.error_rate(judgements, hues, wide, 190),
            figures.error_rate(judgements, hues, narrow, 190),
        )
    ]
    if any(figures.times(run, side) for run in judgements for side in ("canary", "baseline")):
        made.append(
            Figure(
                "Response time",
                [
                    f"Dots: each sample's mean. Lines: the median of the last {figures.WINDOW} of them; "
                    "bands: its interval."
                ],
                figures.response_time(judgements, hues, wide, 190),
                figures.response_time(judgements, hues, narrow, 190),
            )
        )
    return made


def _errors(sample: Sample) -> str:
    return f"In the end: canary {_rate(sample.canary)}; baseline {_rate(sample.baseline)}."


def _rate(arm: Arm) -> str:
    if not arm.requests:
        return "no request"
    low, high = figures.wilson(arm)
    rate, few = arm.errors / arm.requests, "error" if arm.errors == 1 else "errors"
    return f"{arm.errors:,} {few} in {arm.requests:,} requests, {rate:.2%} ({low:.2%} to {high:.2%})"


def _hues(story: Story) -> tuple[str, str]:
    """The baseline's and the canary's: those of the two apps that ran while it was judged."""
    first = story.samples[0].at
    before = [look for look in story.looks if look.at <= first and len(look.apps) == 2]
    if not before:
        return "blue", "green"
    baseline, canary = (figures.hue(app.colour) for app in before[-1].apps)
    return (baseline, canary) if baseline != canary else ("blue", "green")


def _arms(story: Story) -> list[Key]:
    """The legend of the judge's pictures."""
    if not story.samples:
        return []
    baseline, canary = _hues(story)
    return [Key(f"{baseline} area", "baseline"), Key(f"{canary} area", "canary")]


# -- checks and files -------------------------------------------------------------------------------------------------


def checked(cases: Sequence[Case]) -> list[Check]:
    """One row for each check, bad ones first, then in the order of the cases."""
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.suite, case.name), []).append(case)
    rows = [_check(target, name, members) for (target, name), members in groups.items()]
    rank = {"failed": 0, "error": 0, "skipped": 2}
    return sorted(rows, key=lambda row: rank.get(row.outcome, 1))


def _check(target: str, name: str, cases: Sequence[Case]) -> Check:
    worst = next((case for case in cases if case.bad), None) or next(
        (case for case in cases if case.executed), cases[0]
    )
    return Check(
        shown(target),
        shown(name),
        worst.outcome.value,
        sum(case.outcome is Outcome.PASSED for case in cases),
        len(cases),
        max(case.seconds for case in cases),
        shown(f"{worst.place}: {worst.message}" if worst.place and worst.message else worst.message),
    )


def _counted(cases: Sequence[Case]) -> str:
    if not cases:
        return ""
    counts = {outcome: sum(case.outcome is outcome for case in cases) for outcome in Outcome}
    return ", ".join(f"{count} {outcome.value}" for outcome, count in counts.items() if count)


def _kind(name: str) -> str:
    return FILES.get(name) or next((kind for end, kind in KINDS.items() if name.endswith(end)), "")
