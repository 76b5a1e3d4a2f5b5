"""Pictures of a rollout as geometry in pixels, which the page draws as SVG. Pure.

Each picture is made for one width: a phone gets a picture of its own, with letters that are large enough.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import TypeVar

from bgci.reporting.timeline import Span

T = TypeVar("T")
Point = tuple[float, float]

TOP, BOTTOM, RIGHT = 22.0, 24.0, 14.0
LETTER = 6.4  # width of a letter of the labels, in pixels: a little more than the average one has
SHORTEST = 0.06  # of the width: a shorter span is drawn this long
LONGEST_GAP = 0.05  # of the watched time: a longer gap between two spans is drawn shortened
DRAWN = 150  # points of a line: more are not visible


@dataclass(frozen=True)
class Shape:
    """A path; ``style``: the hue and the kind, such as "blue area", "green line", "grid"."""

    style: str
    path: str
    title: str = ""


@dataclass(frozen=True)
class Label:
    x: float
    y: float
    text: str
    anchor: str = "start"
    style: str = "tick"


@dataclass(frozen=True)
class Chart:
    width: float
    height: float
    label: str  # the text alternative
    shapes: list[Shape] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)


class Axis:
    """Maps time (seconds since the epoch) to pixels: evenly within the spans, with the gaps between them shortened."""

    def __init__(self, spans: Sequence[Span], left: float, right: float) -> None:
        self.spans, self.left, self.right = spans, left, right
        watched = sum(span.end - span.start for span in spans) or 1.0
        lengths = [max(span.end - span.start, SHORTEST * watched) for span in spans]
        gaps = [min(after.start - before.end, LONGEST_GAP * watched) for before, after in pairwise(spans)]
        scale = (right - left) / (sum(lengths) + sum(gaps) or 1.0)
        self._stops: list[Point] = []
        at = left
        for span, length, gap in zip(spans, lengths, [*gaps, 0.0], strict=True):
            self._stops += [(span.start, at), (max(span.end, span.start + 1e-6), at + length * scale)]
            at += (length + gap) * scale
        self.scale = scale  # pixels a second, where the axis is even

    def x(self, at: float) -> float:
        if at <= self._stops[0][0]:
            return self.left
        for (before, x), (after, x_after) in pairwise(self._stops):
            if at <= after:
                return x + (x_after - x) * (at - before) / ((after - before) or 1.0)
        return self.right

    def breaks(self) -> Iterator[tuple[float, float, float]]:
        """(x, x, seconds) of each stretch between two spans that is drawn shortened."""
        for before, after in pairwise(self.spans):
            gap, left, right = after.start - before.end, self.x(before.end), self.x(after.start)
            if gap > 1.05 * LONGEST_GAP * sum(span.end - span.start for span in self.spans):
                yield left, right, gap

    def ticks(self, apart: float = 56.0) -> Iterator[tuple[float, str]]:
        """(x, time since the first look) of labels that do not touch."""
        step = next((s for s in _STEPS if s * self.scale >= apart), _STEPS[-1])
        begin, free = self.spans[0].start, -math.inf
        for span in self.spans:
            first = math.floor((span.start - begin) / step) + 1
            last = math.floor((span.end - begin) / step)
            for since in [span.start - begin, *(step * k for k in range(first, min(last, first + 200) + 1))]:
                text, x = elapsed(since, step), self.x(begin + since)
                half = len(text) * LETTER / 2
                # In the middle of its tick, but not beyond the picture.
                if x - half >= free + 8 and x + half <= self.right + RIGHT:
                    free = x + half
                    yield x, text


_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400, 604800)


def elapsed(seconds: float, step: float = 1.0) -> str:
    """``12 s``, ``2:05``, ``1:02:05``, ``2 d 3:00``."""
    if seconds < 60 and step < 1:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    days, rest = divmod(whole, 86400)
    clock = str(timedelta(seconds=rest)) if rest >= 3600 else f"{rest // 60}:{rest % 60:02d}"
    return f"{days} d {rest // 3600}:{rest % 3600 // 60:02d}" if days else clock


class Plot:
    """One chart: its frame and both axes."""

    def __init__(
        self, axis: Axis, height: float, label: str, ticks: Sequence[tuple[float, str]], *, names: bool
    ) -> None:
        self.axis, self.bottom = axis, height - BOTTOM
        self.top = max(value for value, _ in ticks) or 1.0
        self.chart = Chart(axis.right + RIGHT, height, label)
        self._ticks = ticks
        if names:
            self._names()

    def y(self, value: float) -> float:
        return self.bottom - (self.bottom - TOP) * min(max(value / self.top, 0.0), 1.0)

    def draw(self, style: str, path: str, title: str = "") -> None:
        if path:
            self.chart.shapes.append(Shape(style, path, title))

    def write(self, x: float, y: float, text: str, anchor: str = "start", style: str = "tick") -> None:
        self.chart.labels.append(Label(round(x, 1), round(y, 1), text, anchor, style))

    def finished(self) -> Chart:
        """With the axes, above the areas."""
        for left, right, gap in self.axis.breaks():
            title = f"{elapsed(gap)} between two stages, drawn shortened"
            self.draw("break", _box(left, TOP, right, self.bottom), title)
        for value, text in self._ticks:
            self.draw("grid" if value else "axis", f"M{_p((self.axis.left, self.y(value)))}H{_n(self.axis.right)}")
            self.write(self.axis.left - 6, self.y(value) + 4, text, "end")
        for x, text in self.axis.ticks():
            self.draw("axis", f"M{_p((x, self.bottom))}v4")
            half = len(text) * LETTER / 2
            self.write(max(x, half + 1), self.bottom + 17, text, "middle")
        return self.chart

    def _names(self) -> None:
        """The names of the stages above the chart, where there is room; the table of stages has them all."""
        starts = [self.axis.x(span.start) for span in self.axis.spans]
        for span, x, end in zip(self.axis.spans, starts, [*starts[1:], self.axis.right], strict=True):
            self.draw("stage", f"M{_p((x, TOP - 8))}V{_n(self.bottom)}")
            if len(span.name) * LETTER + 8 <= end - x:
                self.write(x + 4, TOP - 8, span.name, style="name")


# -- numbers and paths ------------------------------------------------------------------------------------------------


def thinned(points: Sequence[T]) -> list[T]:
    """Fewer points at even distances, the first and the last included."""
    if len(points) <= DRAWN:
        return list(points)
    return [points[round(i * (len(points) - 1) / (DRAWN - 1))] for i in range(DRAWN)]


def whole_ticks(most: int) -> list[int]:
    """0 and up to five more whole numbers, of which the last is at least ``most``."""
    step = next(s * 10**e for e in range(9) for s in (1, 2, 5) if s * 10**e * 5 >= max(most, 1))
    return [step * k for k in range(-(-max(most, 1) // step) + 1)]


def nice_ticks(highest: float) -> list[float]:
    """0 and up to four more, of which the last is at least ``highest``."""
    highest = highest if highest > 0 else 1e-3
    power = 10 ** math.floor(math.log10(highest))
    step = next(s * power for s in (0.25, 0.5, 1, 2, 2.5) if s * power * 4 >= highest * 0.999)
    return [float(f"{step * k:.6g}") for k in range(math.ceil(highest / step * 0.999) + 1)]


def line(points: Iterable[Point]) -> str:
    found = [_p(point) for point in points]
    return "M" + "L".join(found) if len(found) > 1 else ""


def steps(points: Sequence[Point], right: float) -> str:
    """A line that keeps each value until the next."""
    if not points:
        return ""
    path = f"M{_p(points[0])}" + "".join(f"H{_n(x)}V{_n(y)}" for x, y in points[1:])
    return f"{path}H{_n(right)}"


def polygon(points: Sequence[Point]) -> str:
    return "M" + "L".join(_p(point) for point in points) + "Z" if len(points) > 2 else ""


def dots(points: Iterable[Point]) -> str:
    return "".join(f"M{_p(point)}h0" for point in points)


def _box(left: float, top: float, right: float, bottom: float) -> str:
    return f"M{_p((left, top))}H{_n(right)}V{_n(bottom)}H{_n(left)}Z"


def _p(point: Point) -> str:
    return f"{_n(point[0])} {_n(point[1])}"


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
