"""The strength at which a measure of a picture reaches a target, for many pictures at once, one round at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ROUNDS = 14  # of measurements, the first at strength 0
GROWTH = 2.5  # the next strength beyond what was tried is at most this much further
STEP = 0.01  # strengths are multiples of it, so that file names stay short
GAPS = 8  # parts of the limit: no wider gap is left untried where the target seems out of reach
EDGE = 32  # parts of the limit: the last plausible strength is sought this finely
FLAT = 1e-6  # a rise a unit of strength below which the sign says nothing


@dataclass(frozen=True, slots=True)
class Solution:
    """For each of N pictures the best strength that was tried."""

    strength: Floats  # [N]; nan where the measure at strength 0 is unknown
    value: Floats  # [N] of the measure there
    start: Floats  # [N] of the measure at strength 0
    reached: NDArray[np.bool_]  # [N] within the tolerance


def solve(
    measure: Callable[[Ints, Floats], Floats],
    targets: Floats,
    slope: float | None,
    limit: float,
    tolerance: float = 0.005,
    rounds: int = ROUNDS,
) -> Solution:
    """Find strengths in [-limit, limit] where the measure is within `tolerance` of `targets` [N].

    `measure(rows, strengths)` gives the measure of some pictures, nan where it cannot be trusted (no strength beyond
    such a one is tried). `slope` is the measure's rise a unit of strength by calibration, None where unknown. Each
    picture takes its first step by the slope, and stays on the side where by calibration the target lies; then secants
    from its own measurements, kept within the bracket of the two strengths nearest to the target on either side (regula
    falsi, halved where an end stays: the Illinois rule, Dowell and Jarratt 1971). Where no bracket is found up to the
    limit, the widest gaps between the strengths are tried; the nearest one that was tried is the answer.
    """
    count = len(targets)
    rows = np.arange(count)
    start = measure(rows, np.zeros(count))
    searches = [
        _Search(float(value), float(target), slope, limit, tolerance)
        for value, target in zip(start, targets, strict=True)
    ]
    for _ in range(rounds - 1):
        wanted = {row: strength for row, search in enumerate(searches) if (strength := search.next()) is not None}
        if not wanted:
            break
        chosen = np.array(list(wanted), dtype=np.int64)
        for row, value in zip(chosen, measure(chosen, np.array(list(wanted.values()))), strict=True):
            searches[row].add(wanted[int(row)], float(value))
    best = [search.best for search in searches]
    return Solution(
        strength=np.array([strength for strength, _ in best]),
        value=np.array([value for _, value in best]),
        start=start,
        reached=np.array([search.reached for search in searches], dtype=np.bool_),
    )


class _Search:
    """One picture: what was tried, and where to look next."""

    def __init__(self, start: float, target: float, slope: float | None, limit: float, tolerance: float) -> None:
        self.target, self.tolerance = target, tolerance
        self.slope = slope if slope is not None and abs(slope) > FLAT else None
        self.limit = limit
        self._forbidden = {-1.0: np.inf, 1.0: np.inf}  # by sign: the smallest size that cannot be measured
        self.tried: dict[float, float] = {0.0: start - target}
        self._weights: dict[float, float] = {}  # Illinois: an end of the bracket that stayed counts half
        self._history = [0.0]  # strengths in the order of their measurement

    @property
    def best(self) -> tuple[float, float]:
        """Strength and measure nearest to the target; the smaller strength where two are equal."""
        if np.isnan(self.tried[0.0]):
            return np.nan, np.nan
        strength = min(self.tried, key=lambda s: (round(abs(self.tried[s]), 9), abs(s)))
        return strength, self.tried[strength] + self.target

    @property
    def reached(self) -> bool:
        """Whether the best one is within the tolerance."""
        return bool(abs(self.best[1] - self.target) <= self.tolerance + 1e-12)

    def add(self, strength: float, value: float) -> None:
        """Record a measurement; nan makes everything beyond it forbidden."""
        if np.isnan(value):
            side = float(np.sign(strength))
            self._forbidden[side] = min(self._forbidden[side], abs(strength))
        else:
            self.tried[strength] = value - self.target
            self._history.append(strength)

    def next(self) -> float | None:
        """The strength to measure next; None where there is nothing left to try."""
        if np.isnan(self.tried[0.0]) or self.reached:
            return None
        bracket = self._bracket()
        guess = self._outwards() if bracket is None else self._within(*bracket)
        if guess is None and bracket is None:
            guess = self._in_a_gap()
        if guess is None:
            return None
        guess = round(round(float(np.clip(guess, -self._end(-1.0), self._end(1.0))) / STEP) * STEP, 6) or 0.0
        return None if guess in self.tried else guess

    def _bracket(self) -> tuple[float, float] | None:
        """The nearest two neighbouring strengths with the target between them."""
        ordered = sorted(self.tried)
        pairs = [(a, b) for a, b in pairwise(ordered) if self.tried[a] * self.tried[b] < 0]
        return min(pairs, key=lambda pair: max(abs(pair[0]), abs(pair[1]))) if pairs else None

    def _within(self, a: float, b: float) -> float | None:
        """Regula falsi between two strengths; an end that stays while the other moves counts half."""
        if b - a <= 2 * STEP:
            return None
        for end in (a, b):
            if end not in self._history[-2:]:
                self._weights[end] = self._weights.get(end, 1.0) / 2
        left, right = (self.tried[end] * self._weights.get(end, 1.0) for end in (a, b))
        edge = 0.1 * (b - a)  # noise of the measure must not hold the bracket as wide as it is
        return float(np.clip(a - left * (b - a) / (right - left), a + edge, b - edge))

    def _outwards(self) -> float | None:
        """Beyond what was tried, on the side where the target should be."""
        own = self._own_slope()
        slope = self.slope or own
        if slope is None:
            return self.limit / 4
        side = -float(np.sign(self.tried[0.0] / slope))
        end = max(self.tried) if side > 0 else min(self.tried)
        furthest = max(map(abs, self.tried))
        least, most = self.limit / 16, GROWTH * max(furthest, self.limit / 16)
        if own is None:  # the first step, as the calibration says
            step = abs(self.tried[end] / slope)
        elif own * slope > 0:
            step = float(np.clip(abs(self.tried[end] / own), least, most))
        else:  # so far the picture does the opposite
            step = most
        guess = end + side * step
        guess = float(np.clip(guess, -self._end(-1.0), self._end(1.0)))
        return None if abs(guess - end) < STEP else guess

    def _in_a_gap(self) -> float | None:
        """The middle of the widest gap between neighbouring strengths that were tried, where it is wide."""
        gaps = [(b - a, (a + b) / 2) for a, b in pairwise(sorted(self.tried))]
        width, middle = max(gaps, default=(0.0, 0.0))
        return middle if width > self.limit / GAPS else None

    def _end(self, side: float) -> float:
        """How far to go to one side: the limit, or halfway to what cannot be measured, until that is near."""
        forbidden = self._forbidden[side]
        if forbidden == np.inf:
            return self.limit
        inside = max((abs(s) for s in self.tried if s * side >= 0 and abs(s) < forbidden), default=0.0)
        return (inside + forbidden) / 2 if forbidden - inside > self.limit / EDGE else inside

    def _own_slope(self) -> float | None:
        """The secant over everything that was tried; None at first."""
        if len(self.tried) == 1:
            return None
        first, last = min(self.tried), max(self.tried)
        rise = (self.tried[last] - self.tried[first]) / (last - first)
        return rise if abs(rise) > FLAT else self.slope or FLAT
