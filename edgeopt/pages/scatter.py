"""A picture of points with whiskers and the frontier of those that no other beats: its geometry, without a library.

It is drawn as SVG by the page's template, so that it takes the page's colours in the light, in the dark and in print,
and its texts stay texts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 540, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 18, 52
_MARGIN = 0.08  # of the extent, on both sides
_WIDE = 20  # where the largest value is so many times the smallest, the axis is logarithmic
_LETTER, _LINE = 7.0, 14.0  # width of a letter and height of a line of a label, in pixels
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Point:
    """A point as it was measured; less of `x` is better.

    Attributes:
        name: What it is called.
        x: Its cost, above 0.
        y: Its merit.
        x_ends: Interval of `x`; None where it is exact or unknown.
        y_ends: Interval of `y`.
        counts: Whether its cost is a measurement that counts.
    """

    name: str
    x: float
    y: float
    x_ends: tuple[float, float] | None = None
    y_ends: tuple[float, float] | None = None
    counts: bool = True


@dataclass(frozen=True)
class Drawn:
    """A point in the picture: pixels from the upper left; `label_x` is the left end of its label."""

    point: Point
    x: float
    y: float
    x_ends: tuple[float, float] | None
    y_ends: tuple[float, float] | None
    label_x: float
    label_y: float
    best: bool


@dataclass(frozen=True)
class Tick:
    """A mark at an axis: its pixel, and what it says."""

    at: float
    text: str


@dataclass(frozen=True)
class Scatter:
    """The picture.

    Attributes:
        title: What it shows, as a phrase.
        x_name: What its horizontal axis is.
        y_name: What its vertical axis is.
        points: All points.
        frontier: The line through those that no other beats, as SVG has its points.
    """

    title: str
    x_name: str
    y_name: str
    points: tuple[Drawn, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    frontier: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM

    @property
    def spoken(self) -> str:
        """The picture in words, for those who do not see it."""
        best = [drawn.point.name for drawn in self.points if drawn.best]
        return f"{len(self.points)} points; not beaten in both by any other: {', '.join(best)}."


def scatter(title: str, axes: tuple[str, str], points: Sequence[Point], *, higher: bool = True) -> Scatter:
    """Return the picture of some points.

    Args:
        title: What it shows.
        axes: Names of the horizontal and of the vertical axis.
        points: At least one.
        higher: Whether more of `y` is better.

    Example:
        >>> scatter("", ("ms", "accuracy"), [Point("a", 1.0, 0.9), Point("b", 2.0, 0.8)]).points[1].best
        False
    """
    across = _Axis.over([end for p in points for end in (p.x, *(p.x_ends or ()))], _LEFT, WIDTH - _RIGHT, positive=True)
    up = _Axis.over([end for p in points for end in (p.y, *(p.y_ends or ()))], HEIGHT - _BOTTOM, _TOP)
    best = unbeaten(points, higher=higher)
    taken: list[tuple[float, float, float, float]] = [
        (across.at(p.x) - 5, up.at(p.y) - 5, across.at(p.x) + 5, up.at(p.y) + 5) for p in points
    ]
    drawn = []
    for number, point in enumerate(points):
        x, y = across.at(point.x), up.at(point.y)
        label = _label_place(point.name, x, y, taken)
        drawn.append(
            Drawn(
                point,
                x,
                y,
                None if point.x_ends is None else (across.at(point.x_ends[0]), across.at(point.x_ends[1])),
                None if point.y_ends is None else (up.at(point.y_ends[0]), up.at(point.y_ends[1])),
                *label,
                best=number in best,
            )
        )
    line = sorted((item for item in drawn if item.best), key=lambda item: item.x)
    frontier = " ".join(f"{item.x:.1f},{item.y:.1f}" for item in line)
    return Scatter(title, *axes, tuple(drawn), across.ticks(), up.ticks(), frontier)


def unbeaten(points: Sequence[Point], *, higher: bool = True) -> set[int]:
    """Return the numbers of the points that none beats: costs no more, is no worse, and differs in one of the two."""
    sign = 1 if higher else -1

    def beats(one: Point, other: Point) -> bool:
        no_worse = one.x <= other.x and sign * one.y >= sign * other.y
        return no_worse and (one.x < other.x or sign * one.y > sign * other.y)

    return {number for number, point in enumerate(points) if not any(beats(other, point) for other in points)}


@dataclass(frozen=True)
class _Axis:
    """From values to pixels."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float, *, positive: bool = False) -> _Axis:
        low, high = min(values), max(values)
        if positive and low > 0 and high / low >= _WIDE:
            margin = (high / low) ** _MARGIN
            return cls(low / margin, high * margin, start, end, True)
        margin = _MARGIN * ((high - low) or abs(high) or 1.0)
        bottom = max(0.0, low - margin) if low >= 0 else low - margin
        return cls(bottom, high + margin, start, end, False)

    def at(self, value: float) -> float:
        share = (
            math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
            if self.logarithmic
            else (value - self.low) / (self.high - self.low)
        )
        return self.start + share * (self.end - self.start)

    def ticks(self) -> tuple[Tick, ...]:
        if self.logarithmic:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            values = [step * 10.0**power for power in powers for step in (1, 2, 5)]
        else:
            step = _step((self.high - self.low) / 7)
            values = [step * number for number in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        return tuple(Tick(self.at(value), f"{value:.6g}") for value in values if self.low <= value <= self.high)


def _step(least: float) -> float:
    """Return the smallest round number of at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in _STEPS if step * power >= least * 0.999)


def _label_place(name: str, x: float, y: float, taken: list[tuple[float, float, float, float]]) -> tuple[float, float]:
    """Return where a label goes, beside its point, over or under it, where there is room; the place is then taken."""
    width = _LETTER * len(name)
    places = [(x + 9, y - 8), (x + 9, y + 16), (x - 9 - width, y - 8), (x - 9 - width, y + 16)]
    places += [(x - width / 2, y - 14 - _LINE * n) for n in range(6)] + [(x + 9, y + 16 + _LINE * n) for n in range(6)]
    boxes = [(left, base - _LINE + 3, left + width, base + 3) for left, base in places]
    free = [
        number
        for number, box in enumerate(boxes)
        if box[0] >= _LEFT and box[2] <= WIDTH and box[1] >= 0 and not any(_overlap(box, other) for other in taken)
    ]
    chosen = free[0] if free else 0
    taken.append(boxes[chosen])
    return places[chosen]


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
