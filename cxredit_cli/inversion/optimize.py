"""Inversion by optimisation: the code whose image is nearest to the given one, for a batch of images at once."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cxredit_cli.inversion import STEPS
from cxredit_cli.inversion.curvature import Basis
from cxredit_cli.inversion.encode import Space, to_space
from cxredit_cli.inversion.fitted_noise import autocorrelation, normalised
from cxredit_cli.inversion.lbfgs import LBFGS
from cxredit_cli.inversion.perceptual import Features, Judge, perceptual_distance
from cxredit_cli.inversion.result import InversionResult, check_images, full_precision, join, measure
from cxredit_cli.metrics.psnr_ssim import ssim
from cxredit_cli.networks.generator import Generator
from cxredit_cli.progress import Progress, SilentProgress

CHECK_EVERY = 25  # steps; in between nothing waits for the device


@dataclass(frozen=True, slots=True)
class Settings:
    """What the search minimises, and when it is content; the weights are against the mean squared error of pixels."""

    ssim_weight: float = 0.02  # of 1 - SSIM
    perceptual_weight: float = 0.0  # of the distance of features
    perceptual: Judge = "model"  # whose features: the model's own, or the network of LPIPS that sees them
    code_weight: float = 1e-4  # of the mean squared distance to the mean code, in units of the spread of W
    layers_weight: float = 1e-3  # in W+: of the mean squared distance of the layers' codes to their mean, likewise
    noise_weight: float = 1.0  # of the autocorrelation of fitted noise
    target_psnr: float | None = None  # an image that reaches so many dB is done
    patience: int | None = 50  # steps without a gain of `min_gain` after which an image is done; None: all steps
    min_gain: float = 0.05  # dB


DEFAULT = Settings()


def optimize(
    generator: Generator,
    images: Tensor,
    start: Tensor | None = None,
    space: Space = "w",
    steps: int = STEPS,
    batch: int = 16,
    fit_noise: bool = False,
    progress: Progress | None = None,
    done: float = 0,
    settings: Settings = DEFAULT,
    features: Features | None = None,
    basis: Basis | None = None,
) -> InversionResult:
    """Find codes of images [N, 1, R, R] in [-1, 1] by at most `steps` of L-BFGS, `batch` images at a time.

    `start` [N, 1 or num_ws, w_dim] are the first codes; None is the mean code. An image's answer is the best code met
    (least squared error, checked in float32), and does not depend on the other images; one that is done leaves the
    batch. `fit_noise` fits the generator's noise maps too. `features` are needed for a perceptual weight; `basis` is
    that of the search (`curvature.search_basis`). `progress` counts images from `done` on; the caller starts and
    finishes it.
    """
    check_images(generator, images)
    progress = progress or SilentProgress()
    mean, spread = generator.w_statistics()
    if start is None:
        start = mean.expand(len(images), 1, -1)
    results = []
    for part, first in zip(torch.split(images.float(), batch), torch.split(start, batch), strict=True):
        first = to_space(first, space, generator.num_ws)
        search = Search(generator, part, first, mean, spread, fit_noise, settings, features, basis)
        for step in range(steps + 1):
            loss = search.look()
            if step % CHECK_EVERY == 0 or step == steps:
                search.check()
            if 0 < step < steps and step % CHECK_EVERY == 0:
                moving = search.moving * step / steps
                progress.advance(done + len(part) - search.moving + moving, psnr=search.mean_psnr())
            if step < steps:
                search.move(loss)
            if step % CHECK_EVERY == 0:
                search.dismiss()
                if search.moving == 0:
                    break
        done += len(part)
        progress.advance(done, psnr=search.mean_psnr())
        results.append(measure(generator, search.images, search.best_w(), search.best_noise or None))
    return join(results)


class Search:
    """The codes (and noise) of one batch of images on the move, and the best that each image has met."""

    def __init__(
        self,
        generator: Generator,
        images: Tensor,
        start: Tensor,
        mean: Tensor,
        spread: Tensor,
        fit_noise: bool = False,
        settings: Settings = DEFAULT,
        features: Features | None = None,
        basis: Basis | None = None,
    ) -> None:
        """Begin at the codes `start` [N, 1 or num_ws, w_dim]; `mean` and `spread` are `generator.w_statistics()`.

        What is searched for is `delta` with w = mean + spread * basis.distance(delta), of the same shape; None is the
        unit matrix.
        """
        self._generator, self._mean, self._spread, self._settings = generator, mean, spread, settings
        self.images = images.to(mean.device)
        self._basis = basis
        distance = (start.to(mean.device) - mean) / spread
        self.delta = (distance if basis is None else basis.delta(distance)).contiguous().requires_grad_()
        consts = generator.synthesis.noise_consts() if fit_noise else []
        self.noise = [layer.repeat(len(images), 1, 1, 1).requires_grad_() for layer in consts]
        self._lbfgs = LBFGS(_flat([self.delta, *self.noise]))
        self._rows = torch.arange(len(images), device=mean.device)  # that still move
        self._targets = self.images
        self._features = features if settings.perceptual_weight else None
        with torch.no_grad():
            self._target_features = [] if self._features is None else self._features(self.images)
        # The best since the last check, of the rows that move, by the precision of the search.
        self._recent_error = torch.full((len(images),), math.inf, device=mean.device)
        self._recent = [variable.detach().clone() for variable in (self.delta, *self.noise)]
        # The best of all rows, in float32.
        self.best_error = self._recent_error.clone()
        self._best = [variable.clone() for variable in self._recent]
        self._history: list[Tensor] = []

    @property
    def moving(self) -> int:
        """How many images are not done."""
        return len(self._rows)

    def look(self) -> Tensor:
        """Keep what is better than the best since the last check, and return the loss [images that move]."""
        noise = [normalised(layer) for layer in self.noise]
        distance = self._distance(self.delta)
        made = self._generator.synthesis(self._mean + self._spread * distance, noise or "const")
        with torch.no_grad():
            shown = (made.clamp(-1, 1) - self._targets).square().mean(dim=(1, 2, 3))
            better = shown < self._recent_error
            self._recent_error = torch.where(better, shown, self._recent_error)
            for best, now in zip(self._recent, [self.delta, *noise], strict=True):
                best.copy_(torch.where(better.view(-1, *[1] * (now.ndim - 1)), now, best))
        settings = self._settings
        loss: Tensor = (made - self._targets).square().mean(dim=(1, 2, 3))
        loss = loss + settings.ssim_weight * (1 - ssim(made, self._targets))
        loss = loss + settings.code_weight * distance.square().mean(dim=(1, 2))
        if distance.shape[1] > 1:
            between = distance - distance.mean(dim=1, keepdim=True)
            loss = loss + settings.layers_weight * between.square().mean(dim=(1, 2))
        if noise:
            loss = loss + settings.noise_weight * autocorrelation(noise)
        if self._features is not None:
            distance = perceptual_distance(self._features(made), self._target_features)
            loss = loss + settings.perceptual_weight * distance
        return loss

    def move(self, loss: Tensor, length: float = 1.0) -> None:
        """One step of L-BFGS on the `loss` of `look`; `length` 0 computes it and stays."""
        variables = [self.delta, *self.noise]
        for variable in variables:
            variable.grad = None
        torch.autograd.backward(loss.sum())  # a sum, not a mean: no image sees another
        self._lbfgs.advance(loss.detach(), _flat([v.grad for v in variables if v.grad is not None]), length)
        self._take_trial()

    @torch.no_grad()
    def check(self) -> None:
        """Measure the best since the last check in float32, as readers of the codes will, and keep it if it is."""
        with full_precision(self._generator):
            made = self._generator.synthesis(self._w(self._recent[0]), self._recent[1:] or "const")
        error = (made.clamp(-1, 1) - self._targets).square().mean(dim=(1, 2, 3))
        better = error < self.best_error[self._rows]
        rows = self._rows[better]
        self.best_error[rows] = error[better]
        for best, recent in zip(self._best, self._recent, strict=True):
            best[rows] = recent[better]
        self._recent_error.fill_(math.inf)
        self._history.append(self.best_error.clone())

    @torch.no_grad()
    def dismiss(self) -> None:
        """Leave the images behind that are done: their target is reached, or nothing was gained for long enough."""
        settings = self._settings
        decibels = -10 * torch.log10(self.best_error / 4)
        finished = torch.zeros_like(decibels, dtype=torch.bool)
        if settings.target_psnr is not None:
            finished |= decibels >= settings.target_psnr
        if settings.patience is not None:
            back = math.ceil(settings.patience / CHECK_EVERY)
            if len(self._history) > back:
                finished |= decibels + 10 * torch.log10(self._history[-1 - back] / 4) < settings.min_gain
        keep = ~finished[self._rows]
        if bool(keep.all()):
            return
        self._rows, self._targets = self._rows[keep], self._targets[keep]
        self._recent_error = self._recent_error[keep]
        self._recent = [variable[keep] for variable in self._recent]
        self._target_features = [layer[keep] for layer in self._target_features]
        self._lbfgs.keep(keep)
        self.delta, *self.noise = (v.detach()[keep].requires_grad_() for v in (self.delta, *self.noise))
        self._take_trial()

    def best_w(self) -> Tensor:
        """The best codes so far [N, 1 or num_ws, w_dim]."""
        return self._w(self._best[0])

    @property
    def best_noise(self) -> list[Tensor]:
        """The noise that goes with them, one [N, 1, H, W] a layer; empty where none is fitted."""
        return self._best[1:]

    def mean_psnr(self) -> float:
        """The mean PSNR in dB of the best so far."""
        return float((-10 * torch.log10(self.best_error / 4)).mean())

    def _w(self, delta: Tensor) -> Tensor:
        return self._mean + self._spread * self._distance(delta)

    def _distance(self, delta: Tensor) -> Tensor:
        return delta if self._basis is None else self._basis.distance(delta)

    @torch.no_grad()
    def _take_trial(self) -> None:
        variables = [self.delta, *self.noise]
        sizes = [variable.shape[1:].numel() for variable in variables]
        for variable, values in zip(variables, torch.split(self._lbfgs.trial, sizes, dim=1), strict=True):
            variable.copy_(values.view_as(variable))


def _flat(variables: list[Tensor]) -> Tensor:
    return torch.cat([variable.detach().flatten(1) for variable in variables], dim=1)
