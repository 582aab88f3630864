"""Training of the intake network: films laid and shown in every wrong way, and pictures that are no films."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cxredit_cli.networks.intake import ORIENTATIONS, SIGNS, IntakeNetwork, turned
from cxredit_cli.networks.preparation import normalise
from cxredit_cli.progress import Progress
from cxredit_cli.training.anatomy_augmentation import change_contrast, deform
from cxredit_cli.training.no_frontal_chest import Outliers
from cxredit_cli.training.supervised import train

UNKNOWN = -1.0  # a target that is left open
CUT_OFF_FROM, WHOLE_UP_TO = 0.25, 0.1  # shares of the lungs' area outside of the picture; between: left open
CHILD_UP_TO, GROWN_FROM = 6, 16  # years


@dataclass(frozen=True)
class IntakeTraining:
    """How the network is trained."""

    steps: int = 4000
    batch: int = 48
    lr: float = 2e-3  # peak, of AdamW; rises over `warmup` steps and falls as a cosine to 0
    warmup: int = 100
    weight_decay: float = 1e-2
    outliers: float = 0.3  # share of a batch that is no frontal chest
    children: float = 0.06  # share of a batch that is of small children
    negative: float = 0.3
    upright: float = 0.35  # shares of the films that lie as they should, and that are mirrored; the rest are turned
    mirrored: float = 0.3
    cropped: float = 0.35
    strength: float = 0.6  # of shapes and contrasts
    ema: float = 0.998
    seed: int = 0


@dataclass(frozen=True, slots=True)
class IntakeFilms:
    """Upright positive films of frontal chests: [M, R, R] uint8, where their lungs are, and ages in years (nan)."""

    films: Tensor
    lungs: Tensor  # [M, R, R] bool
    ages: Tensor  # [M]


def intake_loss(scores: Tensor, orientation: Tensor, signs: Tensor) -> Tensor:
    """Cross-entropy of the orientation plus that of each sign; targets below 0 are left open."""
    known = orientation >= 0
    loss = F.cross_entropy(scores[known, :ORIENTATIONS], orientation[known])
    for column in range(len(SIGNS)):
        told = signs[:, column] >= 0
        if told.any():
            found = scores[told, ORIENTATIONS + column]
            loss = loss + F.binary_cross_entropy_with_logits(found, signs[told, column])
    return loss


def training_batch(
    films: IntakeFilms, outliers: Outliers, options: IntakeTraining, step: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The images [B, 1, R, R] of one step, normalised, with orientations [B] and signs [B, 4] (UNKNOWN: left open)."""
    random = np.random.default_rng((options.seed, step))
    generator = torch.Generator().manual_seed(options.seed * 7_368_787 + step)
    of_films = options.batch - round(options.batch * options.outliers)
    chosen = random.integers(len(films.films), size=of_films)
    children = np.flatnonzero(films.ages.numpy() <= CHILD_UP_TO)
    if len(children):
        count = round(options.batch * options.children)
        chosen[:count] = random.choice(children, count)
    signs = torch.full((options.batch, len(SIGNS)), UNKNOWN)
    orientation = torch.full((options.batch,), -1, dtype=torch.long)
    images = torch.empty(options.batch, 1, *films.films.shape[1:])
    for place, index in enumerate(chosen):
        image, cut = _framed(films.films[index], films.lungs[index], options.cropped, random)
        images[place, 0] = image
        signs[place, 1] = 0
        signs[place, 2] = 1 if cut > CUT_OFF_FROM else 0 if cut < WHOLE_UP_TO else UNKNOWN
        age = float(films.ages[index])
        signs[place, 3] = 1 if age <= CHILD_UP_TO else 0 if age >= GROWN_FROM else UNKNOWN
    for place in range(of_films, options.batch):
        images[place, 0] = outliers.draw(random)
        signs[place, 1] = 1
    images = normalise(images)
    moved, _ = deform(images[:of_films], torch.ones_like(images[:of_films]), generator, options.strength)
    images = torch.cat([moved, images[of_films:]])
    half = torch.randperm(options.batch, generator=generator)[: options.batch // 2]  # the other half as it is
    images[half] = change_contrast(images[half], generator, 0.9)
    images = normalise(images)
    for place in range(options.batch):
        negative = random.random() < options.negative
        lie = _orientation(random, options)
        if negative:
            images[place] = 1 - images[place]
        images[place] = turned(images[place], lie)
        if place < of_films:
            signs[place, 0], orientation[place] = float(negative), lie
    return images, orientation, signs


def _framed(film: Tensor, lungs: Tensor, cropped: float, random: np.random.Generator) -> tuple[Tensor, float]:
    """A film [R, R] in 0..1, sometimes only a part of it, and the share of the lungs' area that was cut off."""
    picture = film.float() / 255
    if random.random() >= cropped or not lungs.any():
        return picture, 0.0
    side = film.shape[0]
    size = int(side * math.sqrt(random.uniform(0.2, 1)))
    top, left = (int(value) for value in random.integers(side - size + 1, size=2))
    frame = (slice(top, top + size), slice(left, left + size))
    part = F.interpolate(picture[frame][None, None], size=(side, side), mode="bilinear", align_corners=False)
    return part[0, 0], 1 - float(lungs[frame].sum() / lungs.sum())


def _orientation(random: np.random.Generator, options: IntakeTraining) -> int:
    """0 upright, 4 mirrored, else turned."""
    share = random.random()
    if share < options.upright:
        return 0
    if share < options.upright + options.mirrored:
        return ORIENTATIONS // 2
    return int(random.choice([1, 2, 3, 5, 6, 7]))


def train_intake(
    network: IntakeNetwork,
    films: IntakeFilms,
    outliers: Outliers,
    options: IntakeTraining,
    checkpoint: Path | None = None,
    check: Callable[[IntakeNetwork], Mapping[str, float]] | None = None,
    check_every: int = 500,
    progress: Progress | None = None,
) -> IntakeNetwork:
    """Train `network` and return its moving average; `supervised.train` says what the others are."""

    def loss_of(current: IntakeNetwork, step: int) -> Tensor:
        images, orientation, signs = training_batch(films, outliers, options, step)
        return intake_loss(current(images), orientation, signs)

    return train(network, options, loss_of, "Training the intake network", checkpoint, check, check_every, progress)
