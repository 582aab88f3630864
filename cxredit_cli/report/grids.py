"""Many network images in one picture."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def image_grid(images: Tensor, columns: int) -> NDArray[np.float32]:
    """Lay [N, 1, H, W] in [-1, 1] out in rows of `columns`: [rows * H, columns * W] in 0..1, black where none is."""
    n, _, h, w = images.shape
    rows = -(-n // columns)
    grid = torch.full((rows * columns, h, w), -1.0)
    grid[:n] = images[:, 0].detach().float().cpu()
    grid = grid.view(rows, columns, h, w).permute(0, 2, 1, 3).reshape(rows * h, columns * w)
    pixels: NDArray[np.float32] = ((grid + 1) / 2).clamp(0, 1).numpy()
    return pixels
