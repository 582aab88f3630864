"""What every inversion returns, and the one place where reconstructions are made and measured."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from cxredit_cli.errors import InputError
from cxredit_cli.metrics.psnr_ssim import psnr, ssim
from cxredit_cli.networks.generator import Generator


@dataclass(frozen=True, slots=True)
class InversionResult:
    """Codes of a batch of images and what the generator makes of them; float32 tensors on the CPU."""

    w: Tensor  # [N, 1, w_dim] in W, [N, num_ws, w_dim] in W+
    psnr: Tensor  # [N] dB
    ssim: Tensor  # [N]
    reconstructions: Tensor  # [N, 1, R, R] in [-1, 1]
    noise: list[Tensor] | None = None  # fitted noise, one [N, 1, H, W] a noise layer; None: the generator's constants
    tuning: Tensor | None = None  # [N, K] float16, the deltas of the generator's weights; None: it was not tuned


@contextmanager
def full_precision(generator: Generator) -> Iterator[None]:
    """Let the synthesis compute in float32 inside the `with`."""
    precision, generator.synthesis.precision = generator.synthesis.precision, torch.float32
    try:
        yield
    finally:
        generator.synthesis.precision = precision


@torch.no_grad()
def measure(generator: Generator, images: Tensor, w: Tensor, noise: Sequence[Tensor] | None = None) -> InversionResult:
    """Synthesise codes in float32 and compare with `images` [N, 1, R, R] in [-1, 1], as a reader of the codes would."""
    with full_precision(generator):
        made = generator.synthesis(w, "const" if noise is None else list(noise)).clamp(-1, 1)
    return InversionResult(
        w=w.float().cpu(),
        psnr=psnr(images, made).cpu(),
        ssim=ssim(images, made).cpu(),
        reconstructions=made.cpu(),
        noise=None if noise is None else [layer.cpu() for layer in noise],
    )


def join(results: Sequence[InversionResult]) -> InversionResult:
    """One result of several batches."""
    layers = None if results[0].noise is None else [result.noise or [] for result in results]
    return InversionResult(
        w=torch.cat([result.w for result in results]),
        psnr=torch.cat([result.psnr for result in results]),
        ssim=torch.cat([result.ssim for result in results]),
        reconstructions=torch.cat([result.reconstructions for result in results]),
        noise=None if layers is None else [torch.cat(parts) for parts in zip(*layers, strict=True)],
    )


def check_images(generator: Generator, images: Tensor) -> None:
    """Raise InputError unless `images` are what the generator makes: [N, 1, R, R] with N > 0."""
    side = generator.resolution
    if images.ndim != 4 or images.shape[1:] != (1, side, side) or len(images) == 0:
        raise InputError(
            f"The model works on images of shape [N, 1, {side}, {side}], not {list(images.shape)}; resize them first."
        )
