"""How close a reconstruction comes to its image: PSNR and SSIM, batched and differentiable."""

import torch
from torch import Tensor

from cxredit_cli.errors import InputError

WINDOW_SIZE, WINDOW_SIGMA = 11, 1.5  # Wang et al. 2004, section III-C
K1, K2 = 0.01, 0.03


def psnr(images: Tensor, reconstructions: Tensor, data_range: float = 2.0) -> Tensor:
    """Peak signal-to-noise ratio [N] in dB of two batches [N, C, H, W]; infinite where they are equal.

    `data_range` is the distance from black to white, 2 for images in [-1, 1].
    """
    check_shapes(images, reconstructions)
    mean_squared_error = (images.float() - reconstructions.float()).square().mean(dim=(1, 2, 3))
    return 10 * torch.log10(data_range**2 / mean_squared_error)


def ssim(images: Tensor, reconstructions: Tensor, data_range: float = 2.0) -> Tensor:
    """Structural similarity [N] of two batches [N, C, H, W], 1 where they are equal; differentiable.

    The Gaussian window of Wang et al. 2004 (11x11, sigma 1.5), population covariances, and the mean over the positions
    where the window lies wholly inside the image. `data_range` is the distance from black to white, 2 for [-1, 1].
    """
    check_shapes(images, reconstructions)
    x, y = images.float(), reconstructions.float()
    # One pass of the window over the five moments; equation 13 from them.
    with torch.autocast(x.device.type, enabled=False):  # differences of squares do not survive half precision
        moments = blur(torch.cat([x, y, x * x, y * y, x * y], dim=1))
    mean_x, mean_y, square_x, square_y, product = moments.chunk(5, dim=1)
    variance_x, variance_y = square_x - mean_x.square(), square_y - mean_y.square()
    covariance = product - mean_x * mean_y
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    contrast_structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    similarity: Tensor = (luminance * contrast_structure).mean(dim=(1, 2, 3))
    return similarity


def blur(maps: Tensor) -> Tensor:
    """Filter [N, C, H, W] with the Gaussian window, without padding: the side shrinks by 10.

    Each axis is a product with a banded matrix: at 128x128 that is ten times as fast on a processor as convolving
    single channels.
    """
    return band(maps.shape[2], maps) @ maps @ band(maps.shape[3], maps).t()


def band(side: int, like: Tensor) -> Tensor:
    """The matrix [side - 10, side] that filters one axis; each row holds the Gaussian window, one pixel further on."""
    offsets = torch.arange(WINDOW_SIZE, dtype=like.dtype, device=like.device) - WINDOW_SIZE // 2
    window = torch.exp(-offsets.square() / (2 * WINDOW_SIGMA**2))
    rows = torch.zeros(side - WINDOW_SIZE + 1, side, dtype=like.dtype, device=like.device)
    for k, weight in enumerate(window / window.sum()):
        rows.diagonal(k).fill_(weight)
    return rows


def check_shapes(images: Tensor, reconstructions: Tensor) -> None:
    """Raise InputError unless both are batches of the same shape on which the window fits."""
    if images.ndim != 4 or images.shape != reconstructions.shape:
        raise InputError(
            "Two batches of images of one shape [N, C, H, W] can be compared, "
            f"not {list(images.shape)} with {list(reconstructions.shape)}."
        )
    if min(images.shape[2:]) < WINDOW_SIZE:
        raise InputError(f"Images from {WINDOW_SIZE} pixels a side on can be compared, not {list(images.shape[2:])}.")
