"""How different the images of a set are from one another: MS-SSIM of random pairs."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cxredit_cli.metrics.psnr_ssim import K1, K2, WINDOW_SIZE, blur, check_shapes

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, section 3.2
BATCH = 64


def ms_ssim(images: Tensor, others: Tensor, data_range: float = 2.0) -> Tensor:
    """Multi-scale structural similarity [N] of two batches [N, C, H, W], 1 where they are equal (Wang et al. 2003).

    Contrast and structure at each scale, luminance at the coarsest. Five scales need 176 pixels a side; smaller images
    have as many as fit, with the weights of these made to sum to 1 (four at 128). A negative contrast term counts as 0.
    `data_range` is the distance from black to white, 2 for [-1, 1].
    """
    check_shapes(images, others)
    x, y = images.float(), others.float()
    count = min(len(SCALE_WEIGHTS), int(np.log2(min(x.shape[2:]) / WINDOW_SIZE)) + 1)
    weights = torch.tensor(SCALE_WEIGHTS[:count], device=x.device) / sum(SCALE_WEIGHTS[:count])
    similarity = torch.ones(len(x), device=x.device)
    for scale, weight in enumerate(weights):
        luminance, structure = _terms(x, y, data_range)
        term = luminance * structure if scale == count - 1 else structure
        similarity = similarity * term.mean((1, 2, 3)).clamp(min=0) ** weight
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return similarity


def pair_similarities(
    images: NDArray[np.uint8], groups: Sequence[str] | None, seed: int, device: torch.device | str = "cpu"
) -> NDArray[np.float64]:
    """MS-SSIM of about N random pairs of grey images [N, R, R], each image in two of them.

    Pairs of one group, such as two images of one patient, are left out.
    """
    order = np.random.default_rng(seed).permutation(len(images))
    pairs = [(i, j) for i, j in zip(order, np.roll(order, 1), strict=True) if not groups or groups[i] != groups[j]]
    values = [np.empty(0)]
    for start in range(0, len(pairs), BATCH):
        first, second = np.array(pairs[start : start + BATCH]).T
        x, y = (torch.from_numpy(images[rows]).to(device).float()[:, None] / 255 for rows in (first, second))
        values.append(ms_ssim(x, y, data_range=1.0).double().cpu().numpy())
    return np.concatenate(values)


def _terms(x: Tensor, y: Tensor, data_range: float) -> tuple[Tensor, Tensor]:
    """Maps of luminance and of contrast and structure (Wang et al. 2004, equations 6, 9 and 10, with C3 = C2 / 2)."""
    mean_x, mean_y, square_x, square_y, product = blur(torch.cat([x, y, x * x, y * y, x * y], 1)).chunk(5, 1)
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    covariance = product - mean_x * mean_y
    structure = (2 * covariance + c2) / (square_x - mean_x.square() + square_y - mean_y.square() + c2)
    return luminance, structure
