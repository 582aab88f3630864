"""Random shapes and contrasts of radiographs for the anatomy network: another scanner, another patient's position.

Pictures are never mirrored (the heart would be on the wrong side) and never inverted.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def deform(images: Tensor, targets: Tensor, randomness: torch.Generator, strength: float = 1) -> tuple[Tensor, Tensor]:
    """Turn, scale, shift, shear, tilt and bend images [N, 1, R, R] in 0..1 and targets [N, C, R, R] alike.

    What comes in from outside is black or the border's continuation, and background (class 0). `strength` scales the
    ranges of all of it.
    """
    n, side = len(images), images.shape[-1]

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return (torch.rand(n, *shape, generator=randomness) * (high - low) + low) * strength

    angle = uniform(-1, 1) ** 3 * math.radians(25)  # mostly upright
    scale = torch.exp(uniform(-0.35, 0.3))
    aspect, shear = torch.exp(uniform(-0.12, 0.12)), uniform(-0.12, 0.12)
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = [
        torch.stack([cos * scale * aspect, (shear * cos - sin) * scale / aspect], dim=1),
        torch.stack([sin * scale * aspect, (shear * sin + cos) * scale / aspect], dim=1),
    ]
    matrix = torch.cat([torch.stack(rows, dim=1), uniform(-0.18, 0.18, 2, 1)], dim=2)
    grid = F.affine_grid(matrix, [n, 1, side, side], align_corners=False)
    tilt = (grid * uniform(-0.12, 0.12, 1, 1, 2)).sum(-1, keepdim=True)
    grid = grid / (1 + tilt)  # perspective
    knots = torch.rand(n, 2, 5, 5, generator=randomness) * 2 - 1
    bend = F.interpolate(knots, size=(side, side), mode="bicubic", align_corners=True)
    grid = grid + (bend * uniform(0, 0.07, 1, 1, 1)).movedim(1, -1)
    grid = grid.to(images.device)
    outside = "zeros" if torch.rand((), generator=randomness) < 0.5 else "border"
    moved = F.grid_sample(images, grid, mode="bilinear", padding_mode=outside, align_corners=False)
    shares = F.grid_sample(targets[:, 1:], grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return moved, torch.cat([1 - shares.sum(1, keepdim=True), shares], dim=1).clamp(0, 1)


def change_contrast(images: Tensor, randomness: torch.Generator, strength: float = 1) -> Tensor:
    """Gamma, window, local contrast, shading, blur, noise, collimator edges and bright marks on images in 0..1.

    Each happens to some of the images [N, 1, R, R]; the range of what is returned is about 0..1.
    `strength` is the share of the images that are changed at all.
    """
    n, side, device = len(images), images.shape[-1], images.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return (torch.rand(n, *(shape or (1, 1, 1)), generator=randomness) * (high - low) + low).to(device)

    def sometimes(probability: float, changed: Tensor, unchanged: Tensor) -> Tensor:
        return torch.where(uniform(0, 1) < probability, changed, unchanged)

    x = images
    blurred = _blur(x, side / 16)
    x = sometimes(0.4, x + uniform(-0.4, 1.5) * (x - blurred), x).clamp(0, 1)  # the scanner's local contrast
    x = sometimes(0.7, x.clamp(min=1e-4) ** torch.exp(uniform(-0.9, 0.9)), x)  # gamma
    low, high = uniform(0, 0.2), uniform(0.7, 1)
    x = sometimes(0.4, ((x - low) / (high - low)).clamp(0, 1), x)  # a narrower window
    steepness = uniform(2, 6)
    sigmoid = torch.sigmoid(steepness * (x - uniform(0.35, 0.65)))
    x = sometimes(0.2, sigmoid, x)
    field = F.interpolate(uniform(-1, 1, 1, 4, 4), size=(side, side), mode="bicubic", align_corners=True)
    x = sometimes(0.6, x + field * uniform(0, 0.2), x)  # shading; opacities of a lung
    x = _darker_edges(x, uniform(0, 1), uniform(0, 0.12, 4), uniform(0, 1) < 0.15)
    x = _marks(x, uniform(0, 1, 2, 6), uniform(0, 1) < 0.5)
    x = sometimes(0.35, _blur(x, 1.0), x)
    coarse = F.interpolate(F.avg_pool2d(x, 2), size=(side, side), mode="bilinear", align_corners=False)
    x = sometimes(0.25, coarse, x)
    noise = torch.randn(x.shape, generator=randomness).to(device)
    x = sometimes(0.5, x + noise * uniform(0, 0.05), x)
    return sometimes(strength, x, images)


def _blur(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur, by rows and columns."""
    reach = max(1, math.ceil(2 * sigma))
    offsets = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    x = F.conv2d(F.pad(x, (reach, reach, 0, 0), mode="replicate"), kernel)
    return F.conv2d(F.pad(x, (0, 0, reach, reach), mode="replicate"), kernel.transpose(2, 3))


def _darker_edges(x: Tensor, level: Tensor, depth: Tensor, chosen: Tensor) -> Tensor:
    """Strips along the four borders, as collimators and film holders leave them; `depth` [N, 4] of the side."""
    side = x.shape[-1]
    at = (torch.arange(side, device=x.device) + 0.5) / side
    left, right, top, bottom = depth.unbind(1)
    columns = (at < left[:, None]) | (at > 1 - right[:, None])
    rows = (at < top[:, None]) | (at > 1 - bottom[:, None])
    strips = columns[:, None, None, :] | rows[:, None, :, None]
    return torch.where(chosen & strips, level.round(), x)


def _marks(x: Tensor, places: Tensor, chosen: Tensor) -> Tensor:
    """Small rectangles: letters, electrodes, ports. `places` [N, 2, 6]: x, y, width, height, level, whether there."""
    side = x.shape[-1]
    at = (torch.arange(side, device=x.device) + 0.5) / side
    for left, top, width, height, level, there in (mark.unbind(1) for mark in places.unbind(1)):
        columns = (at > left[:, None]) & (at < (left + 0.02 + 0.08 * width)[:, None])
        rows = (at > top[:, None]) & (at < (top + 0.02 + 0.08 * height)[:, None])
        inside = columns[:, None, None, :] & rows[:, None, :, None] & (there < 0.7)[:, None, None, None]
        x = torch.where(chosen & inside, (level * 1.2 - 0.1)[:, None, None, None], x)
    return x
