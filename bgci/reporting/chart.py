"""A chart as geometry in pixels, which the page draws as SVG. Pure.

Each chart has one width; a phone gets another chart with larger letters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from bgci.reporting.timeline import Span

Point = tuple[float, float]

TOP, BOTTOM, RIGHT = 22.0, 24.0, 14.0
LETTER = 6.4  # pixels; width of a letter of the labels, a little above the average
TICKS_APART = 84.0  # pixels; wider than the label of any tick
STEPS = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600),
    *(900, 1800, 3600, 7200, 14400, 43200, 86400, 604800, 2592000),
)


@dataclass(frozen=True)
class Shape:
    """A path; ``style``: the hue and the kind, such as "blue area", "green line", "grid"."""

    style: str
    path: str


@dataclass(frozen=True)
class Caption:
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
    labels: list[Caption] = field(default_factory=list)


@dataclass(frozen=True)
class Axis:
    """Maps time (seconds since the epoch) to pixels. Only the time within the spans takes room."""

    spans: Sequence[Span]
    left: float
    right: float

    @property
    def seconds(self) -> float:
        return sum(span.end - span.start for span in self.spans)

    @property
    def scale(self) -> float:
        """Pixels a second."""
        return (self.right - self.left) / (self.seconds or 1.0)

    def x(self, at: float) -> float:
        return self.left + self.scale * sum(min(max(at, span.start), span.end) - span.start for span in self.spans)

    def ticks(self) -> Iterator[tuple[float, str]]:
        """(x, time since the beginning) at even distances."""
        step = next((step for step in STEPS if step * self.scale >= TICKS_APART), STEPS[-1])
        count = int((self.right + RIGHT - TICKS_APART / 2 - self.left) / (step * self.scale))
        return ((self.left + step * k * self.scale, duration(step * k)) for k in range(count + 1))


def duration(seconds: float) -> str:
    """``41 ms``, ``12.3 s``, ``2 min 05 s``, ``1 h 02 min``."""
    if 0 < seconds < 0.0995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if rest else f"{minutes} min"


class Plot:
    """One chart: its frame and both axes. ``ticks``: values and their labels, from 0 to the top."""

    def __init__(self, axis: Axis, height: float, label: str, ticks: Sequence[tuple[float, str]]) -> None:
        self.axis, self.bottom, self.top = axis, height - BOTTOM, ticks[-1][0]
        self.chart = Chart(axis.right + RIGHT, height, label)
        self._ticks = ticks

    def y(self, value: float) -> float:
        return self.bottom - (self.bottom - TOP) * min(max(value / self.top, 0.0), 1.0)

    def draw(self, style: str, path: str) -> None:
        if path:
            self.chart.shapes.append(Shape(style, path))

    def write(self, x: float, y: float, text: str, anchor: str = "start", style: str = "tick") -> None:
        self.chart.labels.append(Caption(round(x, 1), round(y, 1), text, anchor, style))

    def finished(self) -> Chart:
        """With the axes, above the areas."""
        for value, text in self._ticks:
            self.draw("grid" if value else "axis", f"M{_p((self.axis.left, self.y(value)))}H{_n(self.axis.right)}")
            self.write(self.axis.left - 6, self.y(value) + 4, text, "end")
        for x, text in self.axis.ticks():
            self.draw("axis", f"M{_p((x, self.bottom))}v4")
            self.write(x, self.bottom + 17, text, "middle")
        return self.chart

    def name_stages(self) -> None:
        """A line where each stage begins, with its name if there is room; the table of stages has them all."""
        starts = [self.axis.x(span.start) for span in self.axis.spans]
        for span, x, end in zip(self.axis.spans, starts, [*starts[1:], self.axis.right], strict=True):
            self.draw("stage", f"M{_p((x, TOP - 8))}V{_n(self.bottom)}")
            if len(span.name) * LETTER + 8 <= end - x:
                self.write(x + 4, TOP - 8, span.name, style="name")


# -- numbers and paths ------------------------------------------------------------------------------------------------


def even_ticks(highest: float, steps: Sequence[float] = (0.25, 0.5, 1, 2, 2.5)) -> list[float]:
    """0 and up to five more at even distances, of which the last is at least ``highest``."""
    highest = highest if highest > 0 else 1e-3
    power = 10 ** math.floor(math.log10(highest))
    step = next(s * power for s in steps if s * power * 4 >= highest * 0.999)
    return [float(f"{step * k:.6g}") for k in range(math.ceil(highest / step * 0.999) + 1)]


def line(points: Iterable[Point]) -> str:
    found = [_p(point) for point in points]
    return "M" + "L".join(found) if len(found) > 1 else ""


def steps(points: Sequence[Point], right: float) -> list[Point]:
    """The corners of a line that keeps each value until the next."""
    ends = [*(x for x, _ in points[1:]), right]
    return [corner for (x, y), end in zip(points, ends, strict=True) for corner in ((x, y), (end, y))]


def polygon(points: Sequence[Point]) -> str:
    return f"{line(points)}Z" if len(points) > 2 else ""


def dots(points: Iterable[Point]) -> str:
    return "".join(f"M{_p(point)}h0" for point in points)


def _p(point: Point) -> str:
    return f"{_n(point[0])} {_n(point[1])}"


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
