"""A radiograph with another size of heart, by a warp: the second picture of a pair (Saboo et al. 2020, Fig. 2C)."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cxredit_cli.anatomy.measures import measure_segmentation
from cxredit_cli.anatomy.outlines import Segmentation, clean, segment
from cxredit_cli.editing.heart_border import reach
from cxredit_cli.editing.polar_warp import Region, angles, ellipse, enlarge, least_reach, scales, smooth
from cxredit_cli.errors import InputError
from cxredit_cli.networks.anatomy import HEART, AnatomyNetwork
from cxredit_cli.radiographs.geometry import fit_square

SIDE = 512  # of the masks that outlines are taken from
SCALES = (0.7, 1.6)
VERTICAL = 0.4  # share of the enlargement up and down: hearts widen, and the diaphragm below stays about where it is
CENTRE = 0.4  # of the heart's width, from the image's left: near the spine, so that the left border moves most
ROOM = 0.28  # radii, beyond the new edge, that the surroundings have at least to give way
REACH = 0.95  # of the way to the outer edge of the lungs, which stays about where it is
ELLIPSE_ROOM = 0.5  # radii beyond the new edge, where the lungs are not known


@dataclass(frozen=True, slots=True)
class EditedHeart:
    """The new picture and what the anatomy network measures before and after; nan where it finds no chest."""

    pixels: NDArray[np.float32]  # [H, W] in 0..1
    ctr_before: float
    ctr_after: float
    by: str  # how the heart was found


def edit_heart(
    network: AnatomyNetwork,
    pixels: NDArray[np.float32],
    scale: float,
    ellipse_given: tuple[float, float, float, float] | None = None,
) -> EditedHeart:
    """Scale the heart of a radiograph [H, W] in 0..1 by `scale` in width, and by less in height.

    The heart is found by the network in the centre square, or is an ellipse (centre x, y and radii, in pixels). Raises
    InputError for a scale out of range, and where no plausible heart is found.
    """
    if not SCALES[0] <= scale <= SCALES[1]:
        raise InputError(f"--scale must be from {SCALES[0]} to {SCALES[1]}, but it is {scale:g}.")
    factors = scales(scale, VERTICAL)
    found = _segment(network, pixels)
    before = measure_segmentation(found)
    if ellipse_given is not None:
        region, by = (
            ellipse(*ellipse_given, reach=float(least_reach(factors).max()) + ELLIPSE_ROOM),
            "an ellipse given by hand",
        )
    elif before.problem[0]:
        raise InputError(
            f"No heart can be outlined here ({before.problem[0]}); say where it is with --ellipse CX,CY,RX,RY."
        )
    else:
        region, by = _heart_region(clean(found.masks)[0], pixels.shape, factors), "the anatomy network"
    edited = enlarge(pixels, region, factors)
    after = measure_segmentation(_segment(network, edited))
    ctr = [float("nan") if anatomy.problem[0] else float(anatomy.ctr[0]) for anatomy in (before, after)]
    return EditedHeart(edited, ctr[0], ctr[1], by)


def parse_ellipse(text: str, height: int, width: int) -> tuple[float, float, float, float]:
    """Read CX,CY,RX,RY in pixels, or as fractions of width and height where none is above 1; to pixels."""
    try:
        x, y, radius_x, radius_y = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--ellipse must be four numbers CX,CY,RX,RY, but it is '{text}'.") from None
    if max(x, y, radius_x, radius_y) <= 1:
        x, y, radius_x, radius_y = x * width, y * height, radius_x * width, radius_y * height
    if not (0 <= x < width and 0 <= y < height and 2 <= radius_x <= width and 2 <= radius_y <= height):
        raise InputError(
            f"--ellipse {text} is not within the picture of {width}x{height} pixels; give its centre and its radii, "
            "of at least 2 pixels."
        )
    return x, y, radius_x, radius_y


def _segment(network: AnatomyNetwork, pixels: NDArray[np.float32]) -> Segmentation:
    square = fit_square(pixels, network.config.resolution)
    return segment(network, torch.from_numpy(square)[None, None] * 2 - 1, SIDE, batch=1)


def _heart_region(mask: NDArray[np.uint8], shape: tuple[int, ...], factors: NDArray[np.float64]) -> Region:
    """The heart of a clean mask [S, S] of the centre square, in pixels of the picture, with room as far as the ribs."""
    heart = mask == HEART
    columns, rows = np.flatnonzero(heart.any(0)), np.nonzero(heart)[0]
    x = columns[0] + CENTRE * (columns[-1] + 1 - columns[0])
    y = float(rows.mean()) + 0.5
    edge = smooth(reach(heart, x, y))
    edge *= _width(heart) / _width_of(edge)  # smoothing draws the tips in
    chest = smooth(reach(mask > 0, x, y))
    room = edge * (least_reach(factors) + ROOM)
    outer = smooth(np.maximum(REACH * chest, room))
    pixel = min(shape) / len(mask)
    left, top = ((side - min(shape)) / 2 for side in (shape[1], shape[0]))
    return Region(x * pixel + left - 0.5, y * pixel + top - 0.5, edge * pixel, outer * pixel)


def _width(organ: NDArray[np.bool_]) -> float:
    columns = np.flatnonzero(organ.any(0))
    return float(columns[-1] + 1 - columns[0])


def _width_of(radii: NDArray[np.float64]) -> float:
    across = radii * np.cos(angles())
    return float(across.max() - across.min())
