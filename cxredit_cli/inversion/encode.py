"""Inversion by the encoder: one pass of E for each image, or as many as it was trained for."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cxredit_cli.inversion.result import InversionResult, check_images, join, measure
from cxredit_cli.networks.encoder import Encoder, EncoderConfig
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
        w = encoder(images, made=seen_again(encoder.config, generator, w), start=w)
    return w


def seen_again(config: EncoderConfig, generator: Generator, w: Tensor) -> Tensor:
    """What an encoder sees of its answer w on the next pass: [N, 1, R, R] in [-1, 1]."""
    side = config.seen_side
    if side is None or side >= config.resolution:
        made: Tensor = generator.synthesis(w).clamp(-1, 1)
        return made
    return enlarged(generator.synthesis.coarse(w, side), config.resolution)


def enlarged(running: Tensor, side: int) -> Tensor:
    """A generator's running picture [N, 1, r, r] as an encoder sees it: [N, 1, side, side] in [-1, 1]."""
    return F.interpolate(running.clamp(-1, 1), size=(side, side), mode="nearest")


def to_space(w: Tensor, space: Space | None, num_ws: int) -> Tensor:
    """Bring codes [N, 1 or num_ws, w_dim] into a space: W+ repeats the one code, W is the mean over the layers."""
    if space == "w+":
        return w.expand(-1, num_ws, -1)
    return w.mean(dim=1, keepdim=True) if space == "w" else w
