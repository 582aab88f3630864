"""Pivotal tuning (Roich et al. 2021, arXiv 2106.05744): the generator bends a little, so that a code shows its image.

The code stays (the pivot) and the 3x3 convolutions of the synthesis are fine-tuned for one image, by a delta of low
rank each (Hu et al. 2021, arXiv 2106.09685): dW = A B. The deltas of an image are one vector: for each layer from
coarse to fine A [out, rank], then B [rank, in * 9]. Codes around the pivot should look as they did, for that is where
edits go: the locality term holds the pictures of codes at a distance (their section 3.3).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from cxredit_cli.inversion.result import InversionResult, full_precision, join, measure
from cxredit_cli.metrics.psnr_ssim import ssim
from cxredit_cli.networks.generator import Generator
from cxredit_cli.progress import Progress

STORED = torch.float16


@dataclass(frozen=True, slots=True)
class TuneSettings:
    """How far the generator is bent."""

    steps: int = 100
    rank: int = 4
    learning_rate: float = 0.003  # of Adam; weights have a spread of about 1
    ssim_weight: float = 0.02
    locality_weight: float = 1.0  # of the squared error against the untuned generator at a code nearby
    radius: float = 10.0  # of that code from the pivot, in W: what edits move by


@torch.no_grad()
def tune(
    generator: Generator,
    images: Tensor,
    w: Tensor,
    noise: list[Tensor] | None,
    settings: TuneSettings,
    progress: Progress | None = None,
    done: float = 0,
) -> Tensor:
    """Deltas [N, K] (float16, CPU) for images [N, 1, R, R] at their codes w and fitted noise, one image after another.

    The best step of each image counts; zeros where none brought the image nearer. `progress` counts images from `done`
    on.
    """
    device = generator.mapping.w_avg.device
    rows = []
    for index in range(len(images)):
        one = slice(index, index + 1)
        fitted = None if noise is None else [layer[one].to(device) for layer in noise]
        rows.append(_tune_one(generator, images[one].to(device), w[one].to(device), fitted, settings))
        if progress is not None:
            progress.advance(done + index + 1)
    return torch.stack(rows)


def delta_size(generator: Generator, rank: int) -> int:
    """K, the numbers that one image's deltas have."""
    return rank * sum(len(weight) + weight[0].numel() for weight in _weights(generator).values())


@contextmanager
def tuned(generator: Generator, deltas: Tensor) -> Iterator[None]:
    """Let the generator have the weights of one image's `deltas` [K] inside the `with`."""
    rank = len(deltas) // delta_size(generator, 1)
    weights = _weights(generator)
    kept = {name: weight.detach().clone() for name, weight in weights.items()}
    factors = _unpack(generator, deltas.to(generator.mapping.w_avg.device).float(), rank)
    try:
        with torch.no_grad():
            for (name, weight), (a, b) in zip(weights.items(), factors, strict=True):
                weight.copy_(kept[name] + (a @ b).view_as(weight))
        yield
    finally:
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(kept[name])


@torch.no_grad()
def synthesize_tuned(generator: Generator, w: Tensor, noise: Sequence[Tensor] | None, deltas: Tensor) -> Tensor:
    """Images [N, 1, R, R] for codes w with fitted noise, each by the generator with its own row of `deltas` [N, K].

    Neighbours of equal deltas, such as the edits of one image, are made together.
    """
    made, start = [], 0
    for stop in range(1, len(w) + 1):
        if stop == len(w) or not torch.equal(deltas[stop], deltas[start]):
            part = slice(start, stop)
            with tuned(generator, deltas[start]):
                made.append(generator.synthesis(w[part], "const" if noise is None else [n[part] for n in noise]))
            start = stop
    return torch.cat(made)


@torch.no_grad()
def measure_tuned(generator: Generator, images: Tensor, found: InversionResult, deltas: Tensor) -> InversionResult:
    """What was found, with the pictures and figures that the tuned generator makes of it."""
    device = generator.mapping.w_avg.device
    results = []
    for index in range(len(images)):
        one = slice(index, index + 1)
        noise = None if found.noise is None else [layer[one].to(device) for layer in found.noise]
        with tuned(generator, deltas[index]):
            results.append(measure(generator, images[one].to(device), found.w[one].to(device), noise))
    return replace(join(results), tuning=deltas)


def _tune_one(
    generator: Generator, image: Tensor, w: Tensor, noise: list[Tensor] | None, settings: TuneSettings
) -> Tensor:
    synthesis, weights = generator.synthesis, _weights(generator)
    random = torch.Generator().manual_seed(0)  # the same for every image: none depends on the others
    factors = []
    for weight in weights.values():
        factors.append(torch.randn(len(weight), settings.rank, generator=random).to(image.device))
        factors.append(torch.zeros(settings.rank, weight[0].numel(), device=image.device))
    optimizer = torch.optim.Adam(factors, lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    for factor in factors:
        factor.requires_grad_()
    best, best_error = [factor.clone() for factor in factors], torch.inf
    both = "const" if noise is None else [torch.cat([layer, layer]) for layer in noise]
    for _ in range(settings.steps):
        z = torch.randn(1, generator.z_dim, generator=random).to(image.device)
        away = generator.mapping(z)[:, None] - w
        nearby = w + settings.radius * away / away.square().sum(dim=2, keepdim=True).sqrt()
        kept = synthesis(nearby, "const" if noise is None else noise)
        with torch.enable_grad():
            pairs = zip(weights.items(), factors[::2], factors[1::2], strict=True)
            moved = {name: weight + (a @ b).view_as(weight) for (name, weight), a, b in pairs}
            made, neighbour = functional_call(synthesis, moved, (torch.cat([w, nearby]), both)).split(1)
            error = F.mse_loss(made, image)
            loss = error + settings.ssim_weight * (1 - ssim(made, image).mean())
            loss = loss + settings.locality_weight * F.mse_loss(neighbour, kept)
            gradients = torch.autograd.grad(loss, factors)
        if (known := float(error)) < best_error:
            best_error = known
            for kept_factor, factor in zip(best, factors, strict=True):
                kept_factor.copy_(factor)
        for factor, gradient in zip(factors, gradients, strict=True):
            factor.grad = gradient
        optimizer.step()
        schedule.step()
    stored = torch.cat([factor.flatten() for factor in best]).to(STORED)
    with full_precision(generator):
        plain = _error(generator, image, w, noise)
        with tuned(generator, stored):
            better = _error(generator, image, w, noise) < plain
    return (stored if better else torch.zeros_like(stored)).cpu()


def _error(generator: Generator, image: Tensor, w: Tensor, noise: list[Tensor] | None) -> float:
    made = generator.synthesis(w, "const" if noise is None else noise).clamp(-1, 1)
    return float(F.mse_loss(made, image))


def _weights(generator: Generator) -> dict[str, Tensor]:
    """The weights [out, in, 3, 3] that are tuned, by their names in the synthesis, from coarse to fine."""
    named = generator.synthesis.named_parameters()
    return {name: weight for name, weight in named if weight.ndim == 4 and weight.shape[-1] == 3}


def _unpack(generator: Generator, deltas: Tensor, rank: int) -> list[tuple[Tensor, Tensor]]:
    sizes = [(len(weight) * rank, rank * weight[0].numel()) for weight in _weights(generator).values()]
    parts = iter(torch.split(deltas, [size for pair in sizes for size in pair]))
    return [(a.view(-1, rank), b.view(rank, -1)) for a, b in zip(parts, parts, strict=True)]
