"""The figures of the page: rotation, share of traffic, error rates and response times. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from statistics import NormalDist, median

from bgci.reporting.chart import (
    LETTER,
    Axis,
    Chart,
    Plot,
    Point,
    dots,
    line,
    nice_ticks,
    polygon,
    steps,
    thinned,
    whole_ticks,
)
from bgci.reporting.timeline import Arm, Look, Sample

WINDOW = 25  # response times that a median is taken of
LEVEL = 0.95  # of the intervals
HUES = {"blue": "blue", "green": "green"}


# -- rotation ---------------------------------------------------------------------------------------------------------


def rotation(looks: Sequence[Look], axis: Axis, height: float) -> Chart:
    """Instances in rotation, stacked by colour, and the number of all running instances."""
    most = max((sum(app.tasks for app in look.apps) for look in looks), default=0)
    ticks = [(float(value), f"{value}") for value in whole_ticks(most)]
    plot = Plot(axis, height, "Instances of each colour in rotation over time", ticks, names=True)
    _stack(plot, looks, lambda look, app_id: float(app.in_rotation) if (app := look.app(app_id)) else 0.0)
    running = [(axis.x(look.at), plot.y(sum(app.tasks for app in look.apps))) for look in looks]
    plot.draw("all line", steps(running, axis.right))
    return plot.finished()


def share(looks: Sequence[Look], judgements: Sequence[Sequence[Sample]], axis: Axis, height: float) -> Chart:
    """Each colour's share of new sessions by its servers in rotation, and the measured share of the requests."""
    ticks = [(0.0, "0 %"), (0.5, "50 %"), (1.0, "100 %")]
    plot = Plot(axis, height, "Share of the traffic of each colour over time", ticks, names=False)
    _stack(plot, looks, lambda look, app_id: app.share if (app := look.app(app_id)) else 0.0)
    for run in judgements:
        below = _lowest_is_canary(looks, run[0].at)
        parts = ((axis.x(at), part if below else 1 - part) for at, part in measured_share(run))
        plot.draw("measured line", line((x, plot.y(part)) for x, part in parts))
    return plot.finished()


def _lowest_is_canary(looks: Sequence[Look], at: float) -> bool:
    """Whether the canary of that time, which is the later one of two, lies below the baseline in the picture."""
    pairs = [look for look in looks if look.at <= at and len(look.apps) == 2]
    return bool(pairs) and pairs[-1].apps[1].id == app_ids(looks)[0]


def measured_share(run: Sequence[Sample], least: int = 50) -> Iterator[Point]:
    """(time, the canary's part of the live requests since the last such point), once ``least`` of them have come."""
    before = run[0]
    for now in run[1:]:
        canary = now.canary.live - before.canary.live
        total = canary + now.baseline.live - before.baseline.live
        if total >= least:
            before = now
            yield now.at, canary / total


def app_ids(looks: Iterable[Look]) -> list[str]:
    """The ids of all apps that ran, in the order in which they appeared."""
    return list(dict.fromkeys(app.id for look in looks for app in look.apps))


def hue(colour: str) -> str:
    return HUES.get(colour, "other")


def _stack(plot: Plot, looks: Sequence[Look], value: Callable[[Look, str], float]) -> None:
    ids = app_ids(looks)
    looks = _changed(looks, lambda look: [(app_id, look.app(app_id) is None, value(look, app_id)) for app_id in ids])
    below = [0.0] * len(looks)
    xs = [*(plot.axis.x(look.at) for look in looks), plot.axis.right]
    for app_id in ids:
        known = [look.app(app_id) for look in looks]
        style = hue(next(app.colour for app in known if app))
        above = [low + value(look, app_id) for low, look in zip(below, looks, strict=True)]
        for first, last in _runs([high > low for high, low in zip(above, below, strict=True)]):
            upper, lower = (
                [(x, plot.y(edge[i])) for i in range(first, last) for x in xs[i : i + 2]] for edge in (above, below)
            )
            plot.draw(f"{style} area", polygon([*upper, *reversed(lower)]))
            revision = next((app.revision for app in known[first:last] if app), "")
            _name_area(plot, style, revision, upper, lower)
        below = above


def _changed(looks: Sequence[Look], state: Callable[[Look], object]) -> list[Look]:
    """The items that differ from their predecessor."""
    return [look for i, look in enumerate(looks) if i == 0 or state(look) != state(looks[i - 1])]


def _runs(flags: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """(first, one past the last) of each run of true values."""
    start: int | None = None
    for i, flag in enumerate([*flags, False]):
        if flag and start is None:
            start = i
        elif not flag and start is not None:
            yield start, i
            start = None


def _name_area(plot: Plot, style: str, name: str, upper: list[Point], lower: list[Point]) -> None:
    """The revision in the widest even piece of its area that has room for it, beside what is drawn shortened."""
    edges = [edge for left, right, _ in plot.axis.breaks() for edge in (left, right)]
    pieces = []
    for (left, top), (right, _), (_, bottom) in zip(upper[::2], upper[1::2], lower[::2], strict=True):
        if bottom - top >= 16:
            cuts = [left, *(edge for edge in edges if left < edge < right), right]
            watched = (pair for pair in pairwise(cuts) if not any(a <= sum(pair) / 2 <= b for a, b in _pairs(edges)))
            pieces += [(end - begin, (begin + end) / 2, (top + bottom) / 2) for begin, end in watched]
    width, x, y = max(pieces, default=(0.0, 0.0, 0.0))
    if name and len(name) * (LETTER + 0.8) + 8 <= width:
        plot.write(x, y + 4, name, "middle", f"{style} inside")


def _pairs(edges: Sequence[float]) -> Iterator[Point]:
    return zip(edges[::2], edges[1::2], strict=True)


# -- error rate and response time -------------------------------------------------------------------------------------


def error_rate(judgements: Sequence[Sequence[Sample]], hues: tuple[str, str], axis: Axis, height: float) -> Chart:
    """The share of errors of canary and baseline since each judgement began, with Wilson's interval."""
    runs = [thinned(run) for run in judgements]
    settled = [sample for run in runs for sample in run[len(run) // 3 :]]  # the first intervals are as wide as the page
    highest = max((wilson(arm)[1] for sample in settled for arm in (sample.canary, sample.baseline)), default=0.0)
    ticks = [(value, f"{100 * value:g} %") for value in nice_ticks(min(1.15 * highest, 1.0))]
    plot = Plot(axis, height, "Error rate of canary and baseline over time", ticks, names=False)
    for style, side in zip(hues, ("baseline", "canary"), strict=True):
        for run in runs:
            arms = [(axis.x(sample.at), _side(sample, side)) for sample in run]
            arms = [(x, arm) for x, arm in arms if arm.requests]
            low = [(x, plot.y(wilson(arm)[0])) for x, arm in arms]
            high = [(x, plot.y(wilson(arm)[1])) for x, arm in arms]
            plot.draw(f"{style} band", polygon([*high, *reversed(low)]))
            plot.draw(f"{style} {side} line", line((x, plot.y(arm.errors / arm.requests)) for x, arm in arms))
    return plot.finished()


def response_time(judgements: Sequence[Sequence[Sample]], hues: tuple[str, str], axis: Axis, height: float) -> Chart:
    """The median of the last response times of canary and baseline, with its exact interval, and each time."""
    series = {
        side: [moving_median(timed) for run in judgements if (timed := times(run, side))]
        for side in ("baseline", "canary")
    }
    middles = [point for runs in series.values() for run in runs for point in run]
    highest = max((high or middle for _, _, middle, _, high in middles), default=0.0)
    ticks = [(value, f"{value:g} ms") for value in nice_ticks(1.15 * highest)]
    plot = Plot(axis, height, "Response time of canary and baseline over time", ticks, names=False)
    for style, (side, runs) in zip(hues, series.items(), strict=True):
        for run in runs:
            drawn = thinned(run)
            plot.draw(f"{style} dots", dots((axis.x(at), plot.y(ms)) for at, ms, *_ in drawn))
            sure = [(axis.x(at), plot.y(low), plot.y(high)) for at, _, _, low, high in drawn if low and high]
            plot.draw(
                f"{style} band",
                polygon([*((x, high) for x, _, high in sure), *((x, low) for x, low, _ in reversed(sure))]),
            )
            plot.draw(f"{style} {side} line", line((axis.x(at), plot.y(middle)) for at, _, middle, _, _ in drawn))
    return plot.finished()


def times(run: Sequence[Sample], side: str) -> list[Point]:
    """(time, milliseconds) of the samples that have a response time."""
    return [(sample.at, ms) for sample in run if (ms := _side(sample, side).ms) is not None]


def moving_median(points: Sequence[Point]) -> list[tuple[float, float, float, float | None, float | None]]:
    """(time, value, median of the last ones, low, high); low and high are None where too few have come."""
    found = []
    for i, (at, value) in enumerate(points):
        last = sorted(v for _, v in points[max(0, i + 1 - WINDOW) : i + 1])
        rank = _median_rank(len(last))
        low, high = (last[rank], last[-1 - rank]) if rank is not None else (None, None)
        found.append((at, value, median(last), low, high))
    return found


def _median_rank(n: int) -> int | None:
    """The largest k so that the median lies between the (k+1)-th least and the (k+1)-th largest of n values with
    probability ``LEVEL``: the sign test's interval, whatever the distribution."""
    below, rank = 0.0, None
    for k in range(n // 2):
        below += math.comb(n, k) / 2**n
        if 2 * below > 1 - LEVEL:
            break
        rank = k
    return rank


def wilson(arm: Arm) -> Point:
    """Wilson's interval of the error rate, for one look."""
    if not arm.requests:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    n, rate = arm.requests, arm.errors / arm.requests
    middle = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def _side(sample: Sample, side: str) -> Arm:
    return sample.canary if side == "canary" else sample.baseline
