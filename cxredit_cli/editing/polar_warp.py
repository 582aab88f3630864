"""Enlarging one region of a picture smoothly: everything keeps its direction from a centre and changes its distance.

In polar coordinates around the centre the region is what lies within `inner(angle)`. Along every ray the region is
scaled by `scale(angle)`, what lies between it and `outer(angle)` gives way, and beyond that nothing moves. The rays
stay where they are, so the map folds nowhere exactly if it increases along each of them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, map_coordinates

from cxredit_cli.errors import InputError

ANGLES = 720
SPLINE_ORDER = 3
SMOOTHING = np.deg2rad(9.0)  # of the radii along the angle: a dent of the outline must not become a crease
MIN_JACOBIAN = 0.05  # smaller is a crease in print, whatever the mathematics say


@dataclass(frozen=True, slots=True)
class Region:
    """A star-shaped region in polar coordinates; lengths in pixels, one value for each of ANGLES angles from 0 on.

    Angles run from +x (right) to +y (down).
    """

    x: float
    y: float
    inner: NDArray[np.float64]  # [ANGLES], the edge of the region
    outer: NDArray[np.float64]  # [ANGLES], from where on nothing moves


def angles() -> NDArray[np.float64]:
    """The ANGLES angles, in radians."""
    return np.asarray(np.arange(ANGLES) * (2 * np.pi / ANGLES), dtype=np.float64)


def ellipse(x: float, y: float, radius_x: float, radius_y: float, reach: float) -> Region:
    """An ellipse around (x, y), and a fall-off that ends at `reach` (> 1) times its size."""
    edge = 1 / np.hypot(np.cos(angles()) / radius_x, np.sin(angles()) / radius_y)
    return Region(x, y, edge, edge * reach)


def smooth(radii: NDArray[np.floating]) -> NDArray[np.float64]:
    """Radii [ANGLES] without what changes within a few degrees."""
    filtered: NDArray[np.float64] = gaussian_filter1d(
        np.asarray(radii, dtype=np.float64), SMOOTHING / (2 * np.pi / ANGLES), mode="wrap"
    )
    return filtered


def scales(scale: float, vertical: float) -> NDArray[np.float64]:
    """The factor for each angle: `scale` sideways; up and down only the share `vertical` of its excess over 1."""
    share = np.cos(angles()) ** 2 + vertical * np.sin(angles()) ** 2
    return np.asarray(1 + (scale - 1) * share, dtype=np.float64)


def least_reach(scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """The outer radius, in units of the edge, beyond which `backward_map` rises along every ray.

    A cubic rises if the slopes at its ends, 1 / s and 1, add up to no more than three times its mean slope (Fritsch &
    Carlson 1980). Surroundings that are compressed always do; those that are stretched need room.
    """
    mean_slope = np.minimum((1 / scale + 1) / 3, 0.99)
    return np.asarray(np.where(scale < 1, (1 - mean_slope * scale) / (1 - mean_slope), scale), dtype=np.float64)


def enlarge(pixels: NDArray[np.float32], region: Region, scale: NDArray[np.float64]) -> NDArray[np.float32]:
    """`pixels` [H, W] with `region` scaled by `scale` [ANGLES]; beyond its outer radius not a value changes.

    Raises InputError where the surroundings have no room for it, so that the map would fold.
    """
    height, width = pixels.shape
    far = float(region.outer.max())
    top, bottom = max(int(region.y - far), 0), min(int(region.y + far) + 2, height)
    left, right = max(int(region.x - far), 0), min(int(region.x + far) + 2, width)
    if top >= bottom or left >= right:
        raise InputError("The region lies outside the picture; give --ellipse as CX,CY,RX,RY within it.")
    folds = bool((region.outer <= region.inner * least_reach(scale)).any())
    rows, columns = np.mgrid[top:bottom, left:right].astype(np.float64)
    source_y, source_x = backward_map(rows, columns, region, scale)
    if folds or jacobian(source_y, source_x).min() < MIN_JACOBIAN:
        raise InputError(
            "The region cannot be scaled by so much without folding its surroundings; use a --scale nearer 1."
        )
    part = map_coordinates(pixels, [source_y, source_x], order=SPLINE_ORDER, mode="nearest")
    moved = (source_y != rows) | (source_x != columns)
    result = pixels.copy()
    target = result[top:bottom, left:right]
    target[moved] = np.clip(part[moved], 0, 1)
    return result


def backward_map(
    rows: NDArray[np.float64], columns: NDArray[np.float64], region: Region, scale: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the new picture's pixels (rows, columns) come from in the old one.

    Along a ray, in units of the region's edge: rho -> rho / s up to the new edge s, the identity from the outer radius
    k on, and between them the cubic with the same values and slopes (Hermite), which rises throughout.
    """
    y, x = rows - region.y, columns - region.x
    radius = np.hypot(y, x)
    position = np.mod(np.arctan2(y, x), 2 * np.pi) * (ANGLES / (2 * np.pi))
    edge, outer, s = (_at(values, position) for values in (region.inner, region.outer, scale))
    k = outer / edge
    rho = radius / edge
    t = np.clip((rho - s) / (k - s), 0, 1)
    span = k - s
    between = (
        (2 * t**3 - 3 * t**2 + 1) + (t**3 - 2 * t**2 + t) * span / s + (-2 * t**3 + 3 * t**2) * k + (t**3 - t**2) * span
    )
    origin = np.where(rho <= s, rho / s, np.where(rho >= k, rho, between))
    factor = np.where((rho > 0) & (rho < k), origin / np.where(rho > 0, rho, 1), 1.0)
    return (
        np.where(factor == 1, rows, region.y + y * factor),
        np.where(factor == 1, columns, region.x + x * factor),
    )


def jacobian(source_y: NDArray[np.float64], source_x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The determinant of a map given on a grid, by central differences: how much area one pixel is taken from."""
    (y_y, y_x), (x_y, x_x) = np.gradient(source_y), np.gradient(source_x)
    return np.asarray(y_y * x_x - y_x * x_y)


def _at(values: NDArray[np.float64], position: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values [ANGLES] at fractional angles, linear between neighbours."""
    return np.asarray(np.interp(position, np.arange(ANGLES + 1), np.append(values, values[0])), dtype=np.float64)
