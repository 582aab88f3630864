"""From any rectangle to the network's square, without aliasing and without distortion."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxredit_cli.errors import InputError, known_word

Fit = Literal["crop", "pad"]


def check_fit(word: str) -> Fit:
    """Raise InputError unless the word of an option `--fit` is one of Fit."""
    known: Fit = known_word(word, Fit, "--fit")
    return known


def fit_square(pixels: NDArray[np.float32], resolution: int, fit: Fit = "crop") -> NDArray[np.float32]:
    """Return `pixels` [H, W] in 0..1 as [resolution, resolution] in 0..1, the chest's proportions kept.

    `crop` keeps the centre square; `pad` keeps everything and adds black. Down-sampling averages the exact area
    under each new pixel; up-sampling is bicubic. Raises InputError for an unknown `fit` or a resolution below 1.
    """
    if resolution < 1:
        raise InputError(f"The resolution must be at least 1, not {resolution}.")
    square = whole_square(pixels, fit)
    side = square.shape[0]
    if side == resolution:
        return np.ascontiguousarray(square, dtype=np.float32)
    if side < resolution:
        return enlarge(square, resolution)
    shrunk = _shrink(square, resolution)
    return np.ascontiguousarray(np.clip(shrunk, 0, 1), dtype=np.float32)


def enlarge(square: NDArray[np.float32], resolution: int) -> NDArray[np.float32]:
    """`square` [N, N] in 0..1 at a larger resolution, bicubic."""
    image = Image.fromarray(np.ascontiguousarray(square, dtype=np.float32))
    enlarged = np.asarray(image.resize((resolution, resolution), Image.Resampling.BICUBIC), dtype=np.float32)
    return np.clip(enlarged, 0, 1)


def _shrink(square: NDArray[np.float32], resolution: int) -> NDArray[np.floating]:
    share, left = divmod(square.shape[0], resolution)
    if left == 0:  # whole pixels: the common case, an order of magnitude faster
        blocks = square.reshape(resolution, share, resolution, share)
        averaged: NDArray[np.floating] = blocks.mean(axis=3).mean(axis=1)
        return averaged
    return _average(_average(square, resolution).T, resolution).T


def whole_square(pixels: NDArray[np.float32], fit: Fit) -> NDArray[np.float32]:
    """The square [N, N] of `pixels` [H, W] at their own resolution: the centre (crop), or all with black (pad)."""
    square = np.zeros((square_side(pixels, fit),) * 2, dtype=np.float32)
    inside, of_film = overlap(pixels, fit)
    square[inside] = pixels[of_film]
    return square


def square_side(pixels: NDArray[np.float32], fit: Fit) -> int:
    """The side N of the square. Raises InputError for an unknown `fit`."""
    if fit not in get_args(Fit):
        raise InputError(f"The fit must be 'crop' or 'pad', not '{fit}'.")
    return int(min(pixels.shape) if fit == "crop" else max(pixels.shape))


def overlap(pixels: NDArray[np.float32], fit: Fit) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where the square holds part of `pixels` [H, W], and which part: rows and columns of each."""
    side = square_side(pixels, fit)
    inside, of_film = [], []
    for length in pixels.shape:
        margin, offset = max((side - length) // 2, 0), max((length - side) // 2, 0)
        count = min(side, length)
        inside.append(slice(margin, margin + count))
        of_film.append(slice(offset, offset + count))
    return (inside[0], inside[1]), (of_film[0], of_film[1])


def _average(values: NDArray[np.floating], count: int) -> NDArray[np.float64]:
    """Average axis 0 over `count` equal intervals, a pixel on an edge counted by the share that lies inside.

    The integral up to an edge is a cumulative sum plus a share of the next pixel; differences are the areas.
    """
    length = values.shape[0]
    integral = np.zeros((length + 1, values.shape[1]))
    np.cumsum(values, axis=0, dtype=np.float64, out=integral[1:])
    edges = np.arange(count + 1) * length / count
    whole = np.minimum(edges.astype(np.int64), length - 1)
    at_edges = integral[whole] + (edges - whole)[:, None] * values[whole]
    return np.asarray(np.diff(at_edges, axis=0) * (count / length))
