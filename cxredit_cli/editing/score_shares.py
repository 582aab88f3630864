"""Where in the picture the change of a classifier's score comes from: heart, lungs or elsewhere, and by squares."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxredit_cli.anatomy.outlines import around
from cxredit_cli.metrics.classification import score_pictures
from cxredit_cli.networks.anatomy import HEART
from cxredit_cli.networks.any_classifier import ClassifierScore

Floats = NDArray[np.float64]

REGIONS = ("heart", "lungs", "elsewhere")
TILES = 8  # a side, of the map


def organ_regions(masks: NDArray[np.uint8], side: int) -> dict[str, Tensor]:
    """REGIONS as pixels [side, side] that share none: what is an organ in any of the masks [M, S, S], and a margin.

    The heart's margin goes before the lungs', so that its border is the heart's.
    """
    heart = around((masks == HEART).any(0), side)
    lungs = around(((masks != HEART) & (masks > 0)).any(0), side) & ~heart
    return {"heart": heart, "lungs": lungs, "elsewhere": ~heart & ~lungs}


def score_by_region(
    score: ClassifierScore, before: Tensor, after: Tensor, regions: dict[str, Tensor]
) -> dict[str, float]:
    """The share of each region in the score's change from picture to picture [1, 1, R, R]; they sum to 1.

    Shapley values: the mean, over all orders in which the regions of `before` become those of `after`, of what each
    adds (Shapley 1953; Lundberg & Lee 2017, arXiv 1705.07874, equation 4). nan where the score does not change.
    """
    names = list(regions)
    count = len(names)
    sets = [[bool(index >> bit & 1) for bit in range(count)] for index in range(2**count)]
    mixed = []
    for chosen in sets:
        inside = torch.zeros_like(before, dtype=torch.bool)
        for name, taken in zip(names, chosen, strict=True):
            if taken:
                inside |= regions[name]
        mixed.append(torch.where(inside, after, before))
    values = score_pictures(score, torch.cat(mixed))
    total = values[-1] - values[0]
    factorial = [1, 1, 2, 6, 24]
    shares = dict.fromkeys(names, 0.0)
    for bit, name in enumerate(names):
        for index, chosen in enumerate(sets):
            if not chosen[bit]:
                others = sum(chosen)
                weight = factorial[others] * factorial[count - others - 1] / factorial[count]
                shares[name] += weight * float(values[index | 1 << bit] - values[index])
    return {name: value / total if total else np.nan for name, value in shares.items()}


def score_by_tile(score: ClassifierScore, before: Tensor, after: Tensor) -> Floats:
    """[TILES, TILES]: the share of each square of the picture in the score's change, near a sum of 1.

    Half of what the square alone adds to `before`, and half of what is lost when it alone is taken back from `after`.
    """
    side = before.shape[-1]
    edges = np.linspace(0, side, TILES + 1).round().astype(int)
    added, taken = [], []
    for row in range(TILES):
        for column in range(TILES):
            tile = (..., slice(edges[row], edges[row + 1]), slice(edges[column], edges[column + 1]))
            one, other = before.clone(), after.clone()
            one[tile], other[tile] = after[tile], before[tile]
            added.append(one)
            taken.append(other)
    values = score_pictures(score, torch.cat([before, after, *added, *taken]))
    first, last, alone, without = values[0], values[1], values[2 : 2 + TILES**2], values[2 + TILES**2 :]
    total = last - first
    if total == 0:
        return np.zeros((TILES, TILES))
    return np.asarray(((alone - first) + (last - without)) / (2 * total)).reshape(TILES, TILES)
