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
        search = Search(generator, part, to_space(first, space, generator.num_ws), mean, spread, fit_noise)
        for step in range(steps + 1):
            loss = search.look()
            if step % REPORT_EVERY == 0 and step > 0:
                decibels = -10 * torch.log10(search.best_error.mean() / 4)
                progress.advance(done + len(part) * step / steps, psnr=decibels.item())
            if step < steps:
                search.move(loss, learning_rate * ramp((step + 1) / (steps + 1)))
        done += len(part)
        results.append(measure(generator, search.images, search.best_w(), search.best_noise or None))
    return join(results)


class Search:
    """The codes (and noise) of one batch of images on the move, and the best that each image has met."""

    def __init__(
        self, generator: Generator, images: Tensor, start: Tensor, mean: Tensor, spread: Tensor, fit_noise: bool = False
    ) -> None:
        """Begin at the codes `start` [N, 1 or num_ws, w_dim]; `mean` and `spread` are `generator.w_statistics()`."""
        self._generator, self._mean, self._spread = generator, mean, spread
        self.images = images.to(mean.device)
        # In units of the spread all dimensions move alike.
        self.delta = ((start.to(mean.device) - mean) / spread).clone().requires_grad_()
        consts = generator.synthesis.noise_consts() if fit_noise else []
        self.noise = [layer.repeat(len(images), 1, 1, 1).requires_grad_() for layer in consts]
        self._optimizer = torch.optim.Adam([self.delta, *self.noise], betas=(0.9, 0.99))
        self.best_error = torch.full((len(images),), math.inf, device=mean.device)
        self._best_delta = self.delta.detach().clone()
        self.best_noise = [layer.detach().clone() for layer in self.noise]

    def look(self) -> Tensor:
        """Keep what is better than the best so far, and return the loss [N]."""
        reconstruction = self._generator.synthesis(self._mean + self._spread * self.delta, self.noise or "const")
        error = (reconstruction - self.images).square().mean(dim=(1, 2, 3))
        with torch.no_grad():
            better = error < self.best_error
            self.best_error = torch.where(better, error, self.best_error)
            for best, now in zip([self._best_delta, *self.best_noise], [self.delta, *self.noise], strict=True):
                best.copy_(torch.where(better.view(-1, *[1] * (now.ndim - 1)), now, best))
        loss: Tensor = error + SSIM_WEIGHT * (1 - ssim(reconstruction, self.images))
        loss = loss + CODE_WEIGHT * self.delta.square().mean(dim=(1, 2))
        if self.noise:
            loss = loss + NOISE_WEIGHT * autocorrelation(self.noise)
        return loss

    def move(self, loss: Tensor, learning_rate: float) -> None:
        """One step of Adam on `loss` [N]."""
        self._optimizer.zero_grad()
        torch.autograd.backward(
            loss.sum()
        )  # a sum, not a mean: Adam works element by element, so no image sees another
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()
        normalise_(self.noise)

    def best_w(self) -> Tensor:
        """The best codes so far [N, 1 or num_ws, w_dim]."""
        return self._mean + self._spread * self._best_delta


def ramp(t: float) -> float:
    """The learning rate's factor at a share `t` of the way: linear up, constant, cosine down to 0."""
    down = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - t) / RAMP_DOWN))
    return down * min(1.0, t / RAMP_UP)
