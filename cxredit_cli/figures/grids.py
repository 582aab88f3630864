"""Many network images in one picture, and a bounded number of such pictures in a run's folder."""

from pathlib import Path

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


def pairs_grid(upper: Tensor, lower: Tensor, columns: int = 8) -> NDArray[np.float32]:
    """Rows of `upper` [N, 1, H, W], each above the row of what belongs to it in `lower`; fewer columns for fewer."""
    columns = min(columns, len(upper))
    rows = zip(torch.split(upper, columns), torch.split(lower, columns), strict=True)
    return np.concatenate([image_grid(part, columns) for row in rows for part in row])


def thin(folder: Path, pattern: str, most: int = 100) -> None:
    """Delete every second of the files that match `pattern`, by name, once there are more than `most`.

    A run of any length keeps a record of itself, sparser the older it is; the first and the last file stay.
    """
    files = sorted(folder.glob(pattern))
    if len(files) > most:
        for path in files[1:-1:2]:
            path.unlink()
