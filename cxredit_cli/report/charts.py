"""Line charts as places in an SVG drawing, for templates to draw."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 14, 38
MOST_TICKS = 7


@dataclass(frozen=True, slots=True)
class Line:
    """One curve."""

    name: str  # "" for none in the legend
    look: str  # a CSS class
    values: Sequence[float]
    spread: Sequence[float] | None = None  # to either side


@dataclass(slots=True)
class Chart:
    """Curves over common places."""

    title: str
    x_name: str
    xs: Sequence[float]
    lines: Sequence[Line]
    percent: bool = False
    within: tuple[float, float] | None = None  # lowest and highest value drawn; None: what the curves need
    paths: list[tuple[str, str]] = field(init=False)  # class and path; bands first
    x_ticks: list[tuple[str, float]] = field(init=False)
    y_ticks: list[tuple[str, float]] = field(init=False)

    def __post_init__(self) -> None:
        """Place everything; xs must rise."""
        values = [np.asarray(line.values, dtype=float) for line in self.lines]
        spreads = [np.zeros(len(self.xs)) if line.spread is None else np.asarray(line.spread) for line in self.lines]
        low = min(float((v - s).min()) for v, s in zip(values, spreads, strict=True))
        high = max(float((v + s).max()) for v, s in zip(values, spreads, strict=True))
        margin = 0.05 * (high - low) or 0.5
        low, high = (low - margin, high + margin) if self.within is None else self.within

        def points(ys: NDArray[np.float64], backwards: bool = False) -> str:
            pairs = list(zip(self.xs, ys, strict=True))
            placed = [f"{self._x(x):g} {_y(y, low, high):g}" for x, y in (reversed(pairs) if backwards else pairs)]
            return "L".join(placed)

        bands = [
            (f"band {line.look}", f"M{points(v - s)}L{points(v + s, backwards=True)}Z")
            for line, v, s in zip(self.lines, values, spreads, strict=True)
            if line.spread is not None
        ]
        curves = [(f"line {line.look}", f"M{points(v)}") for line, v in zip(self.lines, values, strict=True)]
        self.paths = bands + curves
        self.x_ticks = [(f"{x:g}", self._x(x)) for x in ticks(self.xs[0], self.xs[-1])]
        written = "{:.0%}" if self.percent else "{:g}"
        self.y_ticks = [(written.format(y), _y(y, low, high)) for y in ticks(low, high)]

    def _x(self, value: float) -> float:
        return round(LEFT + (value - self.xs[0]) / (self.xs[-1] - self.xs[0]) * (WIDTH - LEFT - RIGHT), 2)


def ticks(first: float, last: float) -> list[float]:
    """At most seven round numbers from `first` to `last`, which is larger."""
    steps = (multiple * 10.0**power for power in range(-9, 10) for multiple in (1, 2, 5))
    step = next(step for step in steps if (last - first) / step < MOST_TICKS)
    return [round(tick * step, 9) for tick in range(int(np.ceil(first / step)), int(np.floor(last / step)) + 1)]


def _y(value: float, low: float, high: float) -> float:
    return round(HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM), 2)
