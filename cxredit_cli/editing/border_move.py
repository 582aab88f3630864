"""How the border of the heart moves: a map of the radius around its centre, the same for every part of a film."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cxredit_cli.editing.heart_border import Border, Floats, room, shift_at, turn

# Lengths as fractions of the side.
PROFILE = 14 / 1024  # on either side of the border, which moves as it is
NEIGHBOURHOOD = 0.12  # of the heart, as it was or as it becomes, beyond which no edit changes anything
BEYOND = 0.04  # beyond the moved border, where a growing edit ends
WIDE = 2.2  # shifts beyond the border, where a shrinking edit ends
DEEP = 0.35  # of the radius, within which nothing moves
RIGID = 0.4  # of the way to where nothing moves, that the border's surroundings are moved unchanged, at most


@dataclass(frozen=True, slots=True)
class Move:
    """A radial map: edge, with `rigid` on either side, comes to edge + shift; outside inside..outside nothing moves."""

    edge: Floats  # [ANGLES], or one for each of some pixels
    shift: Floats
    inside: Floats
    outside: Floats
    rigid: Floats

    def each(self, pick: Callable[[Floats], Floats]) -> "Move":
        """The same map elsewhere: `pick` takes each length from those of all angles to those of some places."""
        return Move(*map(pick, (self.edge, self.shift, self.inside, self.outside, self.rigid)))


def plan_move(border: Border, strength: float, gain: float, side: int) -> Move:
    """How the edit of a strength moves the border; `gain` scales its shift."""
    shift = shift_at(border, strength, gain)
    farther = border.edge + np.maximum(shift, 0)  # the old or the new border
    span = np.clip(np.where(shift < 0, -WIDE * shift, 0), BEYOND * side, 0.9 * NEIGHBOURHOOD * side)
    within = turn(np.minimum(farther + span, border.edge + room(border)), 3)
    # The neighbourhood is that of the heart as it is outlined; the film's own border may lie a little farther out.
    outlined = np.minimum(border.edge, border.outlined) + np.maximum(shift, 0)
    outside = np.clip(within, farther + 0.008 * side, outlined + 0.95 * NEIGHBOURHOOD * side)
    inside = border.edge * DEEP
    least = np.minimum(np.minimum(border.edge, border.edge + shift) - inside, outside - farther)
    return Move(border.edge, shift, inside, outside, np.minimum(PROFILE * side, RIGID * least))


def source_radius(radius: Floats, move: Move) -> Floats:
    """Where the new film's radius comes from: edge + shift from edge; itself within `inside` and beyond `outside`.

    Around the border, by `rigid`, it has a slope of 1 where there is room, so that the border stays as sharp as it was.
    Two cubics (Hermite) lead on, and rise: the slopes at the ends of each add up to less than three times its mean
    slope (Fritsch and Carlson 1980).
    """
    edge, inside, outside, rigid = move.edge, move.inside, move.outside, move.rigid
    new = edge + move.shift
    inner_mean = (edge - rigid - inside) / (new - rigid - inside)
    outer_mean = (outside - edge - rigid) / (outside - new - rigid)
    slope = np.clip(3 * np.minimum(inner_mean, outer_mean) - 0.3, 0.2, 1)
    start, stop = (np.clip(3 * mean - 0.1 - slope, 0.2, 1) for mean in (inner_mean, outer_mean))
    inner = hermite(radius, inside, new - rigid, inside, edge - slope * rigid, start, slope)
    outer = hermite(radius, new + rigid, outside, edge + slope * rigid, outside, slope, stop)
    still = (radius <= inside) | (radius >= outside)
    moved = np.where(np.abs(radius - new) < rigid, edge + slope * (radius - new), np.where(radius < new, inner, outer))
    return np.where(still, radius, moved)


def hermite(
    r: Floats, start: Floats, stop: Floats, at_start: Floats, at_stop: Floats, slope_start: Floats, slope_stop: Floats
) -> Floats:
    """The cubic with given values and slopes at both ends of an interval."""
    length = stop - start
    t = np.clip((r - start) / length, 0, 1)
    rise = (t**3 - 2 * t**2 + t) * length * slope_start + (t**3 - t**2) * length * slope_stop
    return np.asarray((2 * t**3 - 3 * t**2 + 1) * at_start + (3 * t**2 - 2 * t**3) * at_stop + rise)
