"""Images small enough to be compared in great numbers."""

import torch.nn.functional as F
from torch import Tensor

LARGEST_SIDE = 64  # what is finer says little about which chest is alike


def small(images: Tensor) -> Tensor:
    """Images [N, 1, R, R], averaged down to at most LARGEST_SIDE, as rows [N, pixels]."""
    factor = max(images.shape[-1] // LARGEST_SIDE, 1)
    rows: Tensor = F.avg_pool2d(images, factor).flatten(1)
    return rows
