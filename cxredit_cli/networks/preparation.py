"""How radiographs are put before small networks: at their resolution, and with their contrast made alike."""

import torch
import torch.nn.functional as F
from torch import Tensor

PERCENTILES = (0.01, 0.99)  # of an image's pixels, which become 0 and 1


def normalise(images: Tensor) -> Tensor:
    """Images [N, 1, R, R] of any range to 0..1: each image's 1st and 99th percentile become 0 and 1, clipped.

    A linear change of an image's contrast changes nothing; an image of one grey becomes 0.
    """
    flat = images.float().flatten(1)
    low, high = torch.quantile(flat, torch.tensor(PERCENTILES, device=flat.device), dim=1)
    span = high - low
    scaled = (flat - low[:, None]) / torch.where(span > 0, span, torch.ones_like(span))[:, None]
    normalised: Tensor = scaled.clamp(0, 1).view_as(images)
    return normalised


def resize(images: Tensor, side: int) -> Tensor:
    """Images [N, 1, R, R] to [N, 1, side, side]: smaller by averaging, larger by interpolation."""
    if images.shape[-1] == side:
        return images
    if images.shape[-1] > side:
        return F.interpolate(images, size=(side, side), mode="area")
    return F.interpolate(images, size=(side, side), mode="bilinear", align_corners=False)
