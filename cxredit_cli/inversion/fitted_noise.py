"""Keeping fitted noise noise: it may carry texture, not the picture (Karras et al. 2020, appendix D)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SMALLEST_SIDE = 8


def autocorrelation(noise: Sequence[Tensor]) -> Tensor:
    """Sum [N] over maps [N, 1, H, W], scales and both axes of squared correlations of neighbours; 0 for white noise."""
    total = torch.zeros(len(noise[0]), device=noise[0].device)
    for layer in noise:
        while True:
            for axis in (2, 3):
                total = total + (layer * layer.roll(1, dims=axis)).mean(dim=(1, 2, 3)).square()
            if layer.shape[2] <= SMALLEST_SIDE:
                break
            layer = F.avg_pool2d(layer, 2)
    return total


def normalised(layer: Tensor) -> Tensor:
    """A map of [N, 1, H, W] with zero mean and unit power."""
    centred = layer - layer.mean(dim=(2, 3), keepdim=True)
    return centred * centred.square().mean(dim=(2, 3), keepdim=True).add(1e-12).rsqrt()
