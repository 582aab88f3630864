"""Inversion by the encoder: one pass of E for each image, or as many as it was trained for."""

from typing import Literal

import torch
from torch import Tensor

from cxredit_cli.inversion.result import InversionResult, check_images, join, measure
from cxredit_cli.networks.encoder import Encoder
from cxredit_cli.networks.generator import Generator

Space = Literal["w", "w+"]


@torch.no_grad()
def encode(
    generator: Generator, encoder: Encoder, images: Tensor, batch: int = 32, space: Space | None = None
) -> InversionResult:
    """Invert images [N, 1, R, R] in [-1, 1] by E; `space` None means the one that E was trained for."""
    check_images(generator, images)
    device = encoder.w_avg.device
    results = []
    for part in torch.split(images.float(), batch):
        part = part.to(device)
        results.append(
            measure(generator, part, to_space(all_passes(encoder, generator, part), space, generator.num_ws))
        )
    return join(results)


def all_passes(encoder: Encoder, generator: Generator, images: Tensor) -> Tensor:
    """The codes [N, num_outputs, w_dim] of images after all passes of E."""
    w: Tensor = encoder(images)
    for _ in range(encoder.config.passes - 1):
        w = encoder(images, made=generator.synthesis(w).clamp(-1, 1), start=w)
    return w


def to_space(w: Tensor, space: Space | None, num_ws: int) -> Tensor:
    """Bring codes [N, 1 or num_ws, w_dim] into a space: W+ repeats the one code, W is the mean over the layers."""
    if space == "w+":
        return w.expand(-1, num_ws, -1)
    return w.mean(dim=1, keepdim=True) if space == "w" else w
