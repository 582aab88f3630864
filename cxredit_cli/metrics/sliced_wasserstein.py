"""How far the local texture of two sets of images is apart: sliced Wasserstein distance of patches, scale by scale."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

# Karras et al. 2018 (arXiv 1710.10196), section 5 and appendix A: 128 patches of 7x7 of each image and scale.
PATCHES, PATCH = 128, 7
COARSEST = 16
DIRECTIONS, CHUNK = 64, 32  # of the projections; so many at a time
BATCH = 256
KERNEL = (1.0, 4.0, 6.0, 4.0, 1.0)  # Burt and Adelson 1983

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Patches:
    """Patches of one scale."""

    side: int  # of the images at this scale
    values: NDArray[np.float32]  # [N, 128, 49]


def scales(resolution: int) -> list[int]:
    """Sides of the images at each scale, finest first: down to 16."""
    sides = [resolution]
    while sides[-1] // 2 >= COARSEST:
        sides.append(sides[-1] // 2)
    return sides


def laplacian_pyramid(images: Tensor) -> list[Tensor]:
    """Images [N, 1, R, R] -> what each scale adds to the next coarser one, finest first; the last is the coarse image.

    R is a power of two. Upsampled and summed from the last to the first, they give the images again.
    """
    levels = []
    for _ in scales(images.shape[-1])[1:]:
        coarse = _smooth(images)[..., ::2, ::2]
        levels.append(images - _upsample(coarse))
        images = coarse
    return [*levels, images]


def random_patches(images: NDArray[np.uint8], seed: int) -> list[Patches]:
    """128 patches of 7x7 at random places of each image [N, R, R] and scale, grey in 0..1."""
    random = np.random.default_rng(seed)
    sides = scales(images.shape[-1])
    # One draw for all scales and images, so that the patches do not depend on the batch.
    places = [random.integers(0, side - PATCH + 1, (2, len(images), PATCHES)) for side in sides]
    values = [np.empty((len(images), PATCHES, PATCH**2), np.float32) for _ in sides]
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        pyramid = laplacian_pyramid(torch.from_numpy(np.ascontiguousarray(images[part])).float()[:, None] / 255)
        for level, place, target in zip(pyramid, places, values, strict=True):
            windows = np.lib.stride_tricks.sliding_window_view(level[:, 0].numpy(), (PATCH, PATCH), (1, 2))
            rows, columns = place[:, part]
            target[part] = windows[np.arange(len(rows))[:, None], rows, columns].reshape(*rows.shape, -1)
    return [Patches(side, value) for side, value in zip(sides, values, strict=True)]


def sliced_wasserstein(
    patches: Sequence[NDArray[np.float32]], pairs: Sequence[tuple[tuple[int, Indices], tuple[int, Indices]]], seed: int
) -> list[float]:
    """Sliced Wasserstein distance of each pair of sets of images.

    `patches` are arrays [N, P, D] of one scale; each side of a pair is the index of an array and the images in it,
    equally many on both sides. Patches are projected on 64 random directions; on each the distance is the mean
    difference of the sorted values (Karras et al. 2018). All are first divided by the standard deviation of the first
    array's, which is to hold the real images. Karras et al. normalise each set by its own mean and deviation, which
    hides a loss of contrast; here it counts.
    """
    directions = np.random.default_rng(seed).standard_normal((patches[0].shape[-1], DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0) * max(float(patches[0].std()), 1e-8)
    totals = np.zeros(len(pairs))
    for start in range(0, DIRECTIONS, CHUNK):
        chunk = directions[:, start : start + CHUNK].astype(np.float32)
        projected = [np.moveaxis(each @ chunk, -1, 0) for each in patches]  # [chunk, N, P]
        for index, (one, other) in enumerate(pairs):
            x, y = (np.sort(projected[which][:, rows].reshape(len(chunk.T), -1)) for which, rows in (one, other))
            totals[index] += np.abs(x - y).mean(1, dtype=np.float64).sum()
    return [float(total / DIRECTIONS) for total in totals]


def _smooth(images: Tensor, gain: float = 1.0) -> Tensor:
    kernel = torch.tensor(KERNEL, device=images.device) / sum(KERNEL)
    padded = F.pad(images, (2, 2, 2, 2), mode="reflect")
    rows: Tensor = F.conv2d(padded, kernel.view(1, 1, 5, 1) * gain)
    return F.conv2d(rows, kernel.view(1, 1, 1, 5))


def _upsample(images: Tensor) -> Tensor:
    n, channels, height, width = images.shape
    spread = images.new_zeros(n, channels, 2 * height, 2 * width)
    spread[..., ::2, ::2] = images
    return _smooth(spread, gain=4.0)
