"""The figures of the page: rotation, share of traffic, error rates and response times. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from statistics import median
from typing import TypeVar

from bgci.analysis.judge import wilson
from bgci.reporting.chart import Axis, Chart, Plot, Point, dots, even_ticks, line, polygon, steps
from bgci.reporting.timeline import Running, Sample, Snapshot, Variant

T = TypeVar("T")
WINDOW = 25  # response times that a median is taken of
DRAWN = 150  # points of a line: more are not visible
ROLES = ("baseline", "canary")


# -- rotation ---------------------------------------------------------------------------------------------------------


def rotation(snapshots: Sequence[Snapshot], axis: Axis, height: float) -> Chart:
    """Instances in rotation, stacked by colour, and the number of all running instances."""
    most = max((sum(app.tasks for app in snapshot.apps) for snapshot in snapshots), default=0)
    ticks = [(value, f"{value:g}") for value in even_ticks(max(most, 1), (1, 2, 5))]
    plot = Plot(axis, height, "Instances of each colour in rotation over time", ticks)
    _stack(plot, snapshots, lambda app: app.in_rotation)
    running = [(axis.x(snapshot.at), plot.y(sum(app.tasks for app in snapshot.apps))) for snapshot in snapshots]
    plot.draw("all line", line(steps(running, axis.right)))
    plot.name_stages()
    return plot.finished()


def share(snapshots: Sequence[Snapshot], judgements: Sequence[Sequence[Sample]], axis: Axis, height: float) -> Chart:
    """Each colour's share of new sessions by its servers in rotation, and the measured share of the requests."""
    plot = Plot(axis, height, "Share of the traffic of each colour over time", _percents((0.0, 0.5, 1.0)))
    _stack(plot, snapshots, lambda app: app.share)
    for run in judgements:
        below = _canary_is_lowest(snapshots, run[0].at)
        parts = ((at, part if below else 1 - part) for at, part in measured_share(run))
        plot.draw("measured line", line((axis.x(at), plot.y(part)) for at, part in parts))
    return plot.finished()


def _canary_is_lowest(snapshots: Sequence[Snapshot], at: float) -> bool:
    """Whether the canary of that time, the later one of two, is below the baseline in the chart."""
    pairs = [snapshot for snapshot in snapshots if snapshot.at <= at and len(snapshot.apps) == 2]
    return bool(pairs) and pairs[-1].apps[1].id == app_ids(snapshots)[0]


def measured_share(run: Sequence[Sample], least: int = 50) -> Iterator[Point]:
    """(time, the canary's part of the live requests since the last point), one point per ``least`` requests."""
    before = run[0]
    for now in run[1:]:
        canary = now.canary.live - before.canary.live
        total = canary + now.baseline.live - before.baseline.live
        if total >= least:
            before = now
            yield now.at, canary / total


def app_ids(snapshots: Iterable[Snapshot]) -> list[str]:
    """The ids of all apps that ran, in the order in which they appeared."""
    return list(dict.fromkeys(app.id for snapshot in snapshots for app in snapshot.apps))


def hue(colour: str) -> str:
    return colour if colour in ("blue", "green") else "other"


def _stack(plot: Plot, snapshots: Sequence[Snapshot], value: Callable[[Running], float]) -> None:
    """One area for each app, each above the one before."""
    snapshots = [next(group) for _, group in groupby(snapshots, key=lambda snapshot: snapshot.apps)]
    xs = [plot.axis.x(snapshot.at) for snapshot in snapshots]
    below = [0.0] * len(snapshots)
    for app_id in app_ids(snapshots):
        apps = [snapshot.app(app_id) for snapshot in snapshots]
        above = [low + (value(app) if app else 0.0) for low, app in zip(below, apps, strict=True)]
        upper, lower = (
            steps([(x, plot.y(height)) for x, height in zip(xs, edge, strict=True)], plot.axis.right)
            for edge in (above, below)
        )
        colour = next(app.colour for app in apps if app)
        plot.draw(f"{hue(colour)} area", polygon([*upper, *reversed(lower)]))
        below = above


# -- error rate and response time -------------------------------------------------------------------------------------


def error_rate(judgements: Sequence[Sequence[Sample]], hues: tuple[str, str], axis: Axis, height: float) -> Chart:
    """The share of errors of canary and baseline since each judgement began, with Wilson's interval."""
    runs = [_thinned(run) for run in judgements]
    settled = [sample for run in runs for sample in run[len(run) // 3 :]]  # the first intervals are as wide as the page
    highest = max(wilson(variant)[1] for sample in settled for variant in (sample.canary, sample.baseline))
    plot = Plot(
        axis, height, "Error rate of canary and baseline over time", _percents(even_ticks(min(1.15 * highest, 1.0)))
    )
    for style, role in zip(hues, ROLES, strict=True):
        for run in runs:
            points = [(axis.x(sample.at), variant) for sample in run if (variant := _variant(sample, role)).requests]
            low, high = ([(x, plot.y(wilson(variant)[end])) for x, variant in points] for end in (0, 1))
            plot.draw(f"{style} band", polygon([*high, *reversed(low)]))
            plot.draw(f"{style} {role} line", line((x, plot.y(variant.rate)) for x, variant in points))
    return plot.finished()


def response_time(judgements: Sequence[Sequence[Sample]], hues: tuple[str, str], axis: Axis, height: float) -> Chart:
    """Each response time of canary and baseline, and the median of the last ones."""
    series = {role: [_thinned(times(run, role)) for run in judgements] for role in ROLES}
    medians = {role: [moving_median(run) for run in runs] for role, runs in series.items()}
    highest = max(ms for runs in medians.values() for run in runs for _, ms in run)
    ticks = [(value, f"{value:g} ms") for value in even_ticks(1.3 * highest)]
    plot = Plot(axis, height, "Response time of canary and baseline over time", ticks)
    for style, role in zip(hues, ROLES, strict=True):
        for run, middle in zip(series[role], medians[role], strict=True):
            plot.draw(f"{style} dots", dots((axis.x(at), plot.y(ms)) for at, ms in run))
            plot.draw(f"{style} {role} line", line((axis.x(at), plot.y(ms)) for at, ms in middle))
    return plot.finished()


def times(run: Sequence[Sample], role: str) -> list[Point]:
    """(time, milliseconds) of the samples that have a response time."""
    return [(sample.at, ms) for sample in run if (ms := _variant(sample, role).ms) is not None]


def moving_median(points: Sequence[Point]) -> list[Point]:
    """(time, the median of the last values)."""
    return [(at, median(ms for _, ms in points[max(0, i + 1 - WINDOW) : i + 1])) for i, (at, _) in enumerate(points)]


def _variant(sample: Sample, role: str) -> Variant:
    return sample.canary if role == "canary" else sample.baseline


def _percents(values: Iterable[float]) -> list[tuple[float, str]]:
    return [(value, f"{100 * value:g} %") for value in values]


def _thinned(points: Sequence[T]) -> Sequence[T]:
    """Fewer points at even distances, the first and the last included."""
    if len(points) <= DRAWN:
        return points
    return [points[round(i * (len(points) - 1) / (DRAWN - 1))] for i in range(DRAWN)]
