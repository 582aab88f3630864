"""The border of the heart on a film, in polar coordinates around the heart, and how far an edit moves it.

Lengths are in pixels of the square that they were measured on; ANGLES angles run from +x (right) to +y (down).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cxredit_cli.editing.polar_warp import ANGLES, angles, smooth
from cxredit_cli.networks.anatomy import HEART, LEFT_LUNG, RIGHT_LUNG

Floats = NDArray[np.floating]

CENTRE = 0.4  # of the heart's width, from the image's left: near the spine, where hearts grow from
LOW = 0.66  # of the heart's height from its top: rays to the apex run along the diaphragm, not across it
SNAP = 24 / 1024  # of the side: how far the network's border may be from the film's own
FINE = 5 / 1024  # how far it then follows the border's own small bends, which belong to the heart and move with it
MISFIT = 3.0  # degrees over which it is then found to parts of a pixel
STIFFNESS = 0.3  # of the snapped border, in units of its mean gradient a step sideways
LUNG_SHARE = 0.4  # of lung just outside the border, from which on the border moves in full
# Degrees from the top at which the move fades in, at the patient's right and left: great vessels stay where they are.
FADE_IN = ((15.0, 65.0), (0.0, 40.0))
SPREAD = 10  # degrees by which the moved part of the border reaches beyond where lung lies
BENDS = 5.0  # degrees over which a border that moved far is even: bends that are vessels beside it would be teeth
BENT = 0.1  # of the mean radius, by which it has moved far
EVEN = 8.0  # degrees over which a shift is evened out, or a heart that grows shows lobes
LEAST, MOST = -0.42, 0.6  # of the radius, that the border may move
ROOM = 0.85  # of the way to the outer edge of the lungs, that the border may move


@dataclass(frozen=True, slots=True)
class Border:
    """The border of the heart on a square of N pixels, and the shift of it a unit and a squared unit of strength."""

    x: float  # of the centre, pixel centres at whole numbers
    y: float
    edge: NDArray[np.float64]  # [ANGLES] radius, snapped to the film
    outlined: NDArray[np.float64]  # [ANGLES] radius by the network
    shift: NDArray[np.float64]  # [2, ANGLES]
    lung: NDArray[np.float64]  # [ANGLES] 0..1: how much of what lies just outside is lung
    chest: NDArray[np.float64]  # [ANGLES] radius of the outermost lung
    step: NDArray[np.float64]  # [ANGLES] how much brighter the film is just inside than just outside, of the grey range

    def scaled(self, factor: float) -> "Border":
        """The same border on a square that is `factor` times as large."""
        lengths = {name: getattr(self, name) * factor for name in ("edge", "outlined", "shift", "chest")}
        return replace(self, x=(self.x + 0.5) * factor - 0.5, y=(self.y + 0.5) * factor - 0.5, **lengths)


def find_border(film: NDArray[np.float32], masks: NDArray[np.uint8], strengths: Sequence[float]) -> Border:
    """The border of the heart on `film` [N, N], by cleaned masks [1 + S, M, M] of the film and of the edits' pictures.

    The pictures are of `strengths` [S], 0 among them. What an edit does to the outline of its reconstruction is fitted
    by r(theta, s) - r(theta, 0) = a(theta) s + b(theta) s^2: nothing at strength 0.
    """
    side = masks.shape[-1]
    heart = masks[0] == HEART
    columns = np.flatnonzero(heart.any(axis=0))
    x = float(columns[0] + CENTRE * (columns[-1] + 1 - columns[0]))
    rows = np.flatnonzero(heart.any(axis=1))
    y = float(rows[0] + LOW * (rows[-1] + 1 - rows[0]))
    radii = np.stack([turn(reach(mask == HEART, x, y), 2) for mask in masks])
    s = np.asarray(strengths, dtype=np.float64)
    basis = np.stack([s, s**2], axis=1)
    moved = radii[1:] - radii[1 + int(np.argmin(np.abs(s)))]
    shift = turn(np.linalg.lstsq(basis, moved, rcond=None)[0].T, 5).T
    lungs = ndimage.gaussian_filter(((masks[0] == RIGHT_LUNG) | (masks[0] == LEFT_LUNG)).astype(np.float32), 1.5)
    beside = rays(lungs, x - 0.5, y - 0.5, radii[0][:, None] + np.linspace(3, 15, 7) * (side / 512)).mean(axis=1)
    share = turn(np.clip(turn(beside, 2) / LUNG_SHARE, 0, 1), 3)
    chest = smooth(reach(masks[0] > 0, x, y))
    scale = film.shape[0] / side
    x, y = x * scale - 0.5, y * scale - 0.5
    outlined = turn(radii[0], 3) * scale
    blurred = ndimage.gaussian_filter(film, film.shape[0] / 512, mode="nearest", truncate=3.0)
    edge = snap(blurred, x, y, outlined, max(round(film.shape[0] * SNAP), 2))
    edge = follow(film, x, y, edge)
    away = film.shape[0] * np.array([-0.012, 0.012])
    inside, outside = rays(blurred, x, y, edge[:, None] + away).T
    return Border(x, y, edge, outlined, shift * scale, smoothstep(share), chest * scale, turn(inside - outside, 3))


def shift_at(border: Border, strength: float, gain: float = 1.0) -> NDArray[np.float64]:
    """How far an edit moves the border outward [ANGLES]: where it meets lung, fading in from the top.

    The great vessels above stay; down to the diaphragm the border moves in full, or a notch would be left there.
    Where it moves far it loses its small bends.
    """
    wide = ndimage.maximum_filter1d(border.lung, int(SPREAD * 2 * ANGLES / 360) | 1, mode="wrap")
    from_top = np.abs(np.rad2deg(np.mod(angles() + 1.5 * np.pi, 2 * np.pi) - np.pi))
    begin, end = np.array(FADE_IN)[(np.cos(angles()) > 0).astype(int)].T
    where = turn(wide, 5) * smoothstep(np.clip((from_top - begin) / (end - begin), 0, 1))
    wanted = turn((border.shift[0] * strength + border.shift[1] * strength**2) * where, EVEN) * gain
    limited = np.clip(wanted, LEAST * border.edge, MOST * border.edge)
    far = smoothstep(np.clip(np.abs(limited) / (BENT * border.edge.mean()), 0, 1))
    even = limited + far * (turn(border.edge, BENDS) - border.edge)
    return np.asarray(np.minimum(even, turn(ROOM * room(border), 2)), dtype=np.float64)


def room(border: Border) -> NDArray[np.float64]:
    """How far it is from the border to the outer edge of the lungs [ANGLES]."""
    return np.asarray(np.maximum(0.97 * border.chest - border.edge, 0.02 * border.edge.mean()), dtype=np.float64)


def follow(film: NDArray[np.float32], x: float, y: float, edge: NDArray[np.float64]) -> NDArray[np.float64]:
    """The border [ANGLES] with the small bends that `film` [N, N] has of it."""
    side = film.shape[0]
    blurred = ndimage.gaussian_filter(film, side / 1024, mode="nearest", truncate=3.0)
    followed = snap(blurred, x, y, edge, max(round(side * FINE), 1), even=0.5)
    half = max(side * FINE, 2.0)
    offsets = np.linspace(-half, half, 41)
    steps = -np.gradient(turn(rays(film, x, y, followed[:, None] + offsets, order=3), MISFIT), axis=1)
    steepest = np.maximum(steps.max(axis=1), 0) ** 2 + 1e-12
    return np.asarray(followed + turn(offsets[steps.argmax(axis=1)] * steepest, MISFIT) / turn(steepest, MISFIT))


def snap(
    picture: NDArray[np.float32], x: float, y: float, radius: NDArray[np.float64], half: int, even: float = 1.5
) -> NDArray[np.float64]:
    """Move the closed curve `radius` [ANGLES] onto the strongest step from bright to dark within `half` pixels.

    Dynamic programming over the angle (as in live-wire and in the snakes of Amini et al. 1990), two turns of which the
    middle is kept, so that the curve closes.
    """
    offsets = np.arange(-half, half + 1.0)
    gradient = turn(-np.gradient(rays(picture, x, y, radius[:, None] + offsets), axis=1), even)
    once = -gradient / (np.abs(gradient).mean() + 1e-9) + 0.3 * (offsets / half) ** 2
    cost = np.tile(once, (2, 1))
    best, came = cost[0], np.zeros(cost.shape, dtype=np.int64)
    for row in range(1, len(cost)):
        padded = np.pad(best, 1, constant_values=1e9)
        three = np.stack([padded[k : k + len(offsets)] + STIFFNESS * abs(k - 1) for k in range(3)])
        k = three.argmin(axis=0)
        came[row] = np.arange(len(offsets)) + k - 1
        best = cost[row] + three.min(axis=0)
    path = np.empty(len(cost), dtype=np.int64)
    path[-1] = best.argmin()
    for row in range(len(cost) - 1, 0, -1):
        path[row - 1] = came[row][path[row]]
    middle = np.concatenate([path[ANGLES : ANGLES + ANGLES // 2], path[ANGLES // 2 : ANGLES]])
    return np.asarray(radius + turn(offsets[middle], even), dtype=np.float64)


def reach(organ: NDArray[np.bool_], x: float, y: float) -> NDArray[np.float64]:
    """How far from (x, y) the organ [M, M] reaches in each direction [ANGLES]; at least 2 pixels."""
    side = len(organ)
    distances = np.arange(2.0, 1.5 * side, 0.5)
    columns = (x + np.cos(angles())[:, None] * distances).astype(int)
    rows = (y + np.sin(angles())[:, None] * distances).astype(int)
    inside = (columns >= 0) & (columns < side) & (rows >= 0) & (rows < side)
    hit = inside & organ[rows.clip(0, side - 1), columns.clip(0, side - 1)]
    return np.asarray(np.where(hit, distances, 2.0).max(axis=1), dtype=np.float64)


def rays(picture: NDArray[np.float32], x: float, y: float, radius: Floats, order: int = 1) -> NDArray[np.float32]:
    """`picture` [N, N] at radii [ANGLES, K] around (x, y), by a spline of `order` between pixels."""
    columns, rows = x + np.cos(angles())[:, None] * radius, y + np.sin(angles())[:, None] * radius
    return np.asarray(ndimage.map_coordinates(picture, [rows, columns], order=order, mode="nearest"), dtype=np.float32)


def turn(values: Floats, degrees: float) -> NDArray[np.float64]:
    """Values [ANGLES, ...] smoothed around the circle by a Gaussian of so many degrees."""
    filtered = ndimage.gaussian_filter1d(np.asarray(values, np.float64), degrees * ANGLES / 360, axis=0, mode="wrap")
    return np.asarray(filtered, dtype=np.float64)


def smoothstep(t: Floats) -> NDArray[np.float64]:
    """3 t^2 - 2 t^3 for t in 0..1."""
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float64)
