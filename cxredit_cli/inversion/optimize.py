"""Inversion by optimisation: the code whose image is nearest to the given one, for a batch of images at once."""

import math

import torch
from torch import Tensor

from cxredit_cli.evaluation.reconstruction import ssim
from cxredit_cli.inversion.encode import Space, to_space
from cxredit_cli.inversion.noise import autocorrelation, normalise_
from cxredit_cli.inversion.result import InversionResult, check_images, join, measure
from cxredit_cli.networks.generator import Generator
from cxredit_cli.progress import Progress, SilentProgress

LEARNING_RATE = 0.2  # of codes in units of their spread, and of noise
RAMP_UP, RAMP_DOWN = 0.05, 0.4  # shares of the steps; the shape is that of StyleGAN2's projector (Karras et al. 2020)
SSIM_WEIGHT = 0.02  # of 1 - SSIM, against the mean squared error
CODE_WEIGHT = 1e-4  # of the mean squared distance to the mean code in units of the spread
NOISE_WEIGHT = 1.0  # of the autocorrelation of fitted noise
REPORT_EVERY = 25  # steps between progress reports, which alone wait for the device


def optimize(
    generator: Generator,
    images: Tensor,
    start: Tensor | None = None,
    space: Space = "w",
    steps: int = 500,
    batch: int = 16,
    learning_rate: float = LEARNING_RATE,
    fit_noise: bool = False,
    progress: Progress | None = None,
    done: float = 0,
) -> InversionResult:
    """Find codes of images [N, 1, R, R] in [-1, 1] by `steps` of Adam, `batch` images at a time.

    `start` [N, 1 or num_ws, w_dim] are the first codes; None is the mean code. An image's answer is the best code met
    (least squared error in the precision of the search), and does not depend on the other images. `fit_noise` fits the
    generator's noise maps too. `progress` counts images from `done` on; the caller starts and finishes it.
    """
    check_images(generator, images)
    progress = progress or SilentProgress()
    mean, spread = generator.w_statistics()
    if start is None:
        start = mean.expand(len(images), 1, -1)
    results = []
    for part, first in zip(torch.split(images.float(), batch), torch.split(start, batch), strict=True):
        part, first = part.to(mean.device), to_space(first.to(mean.device), space, generator.num_ws)
        delta = ((first - mean) / spread).clone().requires_grad_()  # in units of the spread all dimensions move alike
        consts = generator.synthesis.noise_consts() if fit_noise else []
        noise = [layer.repeat(len(part), 1, 1, 1).requires_grad_() for layer in consts]
        optimizer = torch.optim.Adam([delta, *noise], betas=(0.9, 0.99))
        best_error = torch.full((len(part),), math.inf, device=mean.device)
        best_delta, best_noise = delta.detach().clone(), [layer.detach().clone() for layer in noise]

        for step in range(steps + 1):
            reconstruction = generator.synthesis(mean + spread * delta, noise or "const")
            error = (reconstruction - part).square().mean(dim=(1, 2, 3))
            with torch.no_grad():
                better = error < best_error
                best_error = torch.where(better, error, best_error)
                for best, now in zip([best_delta, *best_noise], [delta, *noise], strict=True):
                    best.copy_(torch.where(better.view(-1, *[1] * (now.ndim - 1)), now, best))
            if step % REPORT_EVERY == 0 and step > 0:
                decibels = -10 * torch.log10(best_error.mean() / 4)
                progress.advance(done + len(part) * step / steps, psnr=decibels.item())
            if step == steps:
                break
            loss = error + SSIM_WEIGHT * (1 - ssim(reconstruction, part))
            loss = loss + CODE_WEIGHT * delta.square().mean(dim=(1, 2))
            if noise:
                loss = loss + NOISE_WEIGHT * autocorrelation(noise)
            optimizer.zero_grad()
            loss.sum().backward()  # a sum, not a mean: Adam works element by element, so no image sees another
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * ramp((step + 1) / (steps + 1))
            optimizer.step()
            normalise_(noise)

        done += len(part)
        results.append(measure(generator, part, mean + spread * best_delta, best_noise or None))
    return join(results)


def ramp(t: float) -> float:
    """The learning rate's factor at a share `t` of the way: linear up, constant, cosine down to 0."""
    down = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - t) / RAMP_DOWN))
    return down * min(1.0, t / RAMP_UP)
