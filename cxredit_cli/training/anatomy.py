"""Training of the anatomy network: little data, so the augmentation does most of the work."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.networks.preparation import normalise
from cxredit_cli.progress import Progress
from cxredit_cli.training.anatomy_augmentation import change_contrast, deform
from cxredit_cli.training.supervised import draw, train


@dataclass(frozen=True)
class AnatomyTraining:
    """How the network is trained."""

    steps: int = 2000
    batch: int = 16
    lr: float = 2e-3  # peak, of AdamW; rises over `warmup` steps and falls as a cosine to 0
    warmup: int = 50
    weight_decay: float = 1e-3
    first_augmentation: float = 1.0  # strength, for a share of the steps:
    full_augmentation: float = 0.5
    last_augmentation: float = 0.35  # reached linearly at the end, so that the fine outlines come from plain pictures
    ema: float = 0.995  # of the weights that are kept, per step; shorter at the start
    seed: int = 0
    precision: str = "fp32"  # or bf16, where the processor or GPU has it


def anatomy_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy, plus 1 - Dice (Milletari et al. 2016, eq. 3), plus the error of the extents, of the organs.

    `scores` are logits [N, C, H, W], `targets` shares of each class in 0..1, so that an edge keeps its place within a
    pixel. Dice counts all images of the batch together.
    """
    probabilities = scores.softmax(1)[:, 1:]
    wanted = targets[:, 1:]
    both = (probabilities * wanted).sum((0, 2, 3))
    dice = (2 * both + 1) / (probabilities.square().sum((0, 2, 3)) + wanted.square().sum((0, 2, 3)) + 1)
    return F.cross_entropy(scores, targets) + (1 - dice).mean() + extent_error(probabilities, wanted)


def extent_error(probabilities: Tensor, wanted: Tensor) -> Tensor:
    """Mean absolute error of each organ's shadow on both axes, for [N, C, H, W] in 0..1.

    Widths and heights end at tips of few pixels, which cross-entropy and Dice hardly see.
    """
    columns = (probabilities.amax(2) - wanted.amax(2)).abs().mean()
    rows = (probabilities.amax(3) - wanted.amax(3)).abs().mean()
    return columns + rows


def train_anatomy(
    network: AnatomyNetwork,
    images: Tensor,
    targets: Tensor,
    options: AnatomyTraining,
    checkpoint: Path | None = None,
    check: Callable[[AnatomyNetwork], Mapping[str, float]] | None = None,
    check_every: int = 100,
    progress: Progress | None = None,
) -> AnatomyNetwork:
    """Train `network` on images [M, 1, R, R] (any range) and targets [M, 4, R, R] in 0..1; return its moving average.

    `supervised.train` says what the others are.
    """
    device = next(network.parameters()).device
    images, targets = images.to(device), targets.to(device)

    def loss_of(current: AnatomyNetwork, step: int) -> Tensor:
        strength = augmentation_strength(step, options)
        x, wanted = training_batch(images, targets, options.batch, options.seed, step, strength)
        with torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bf16"):
            scores = current(x)
        return anatomy_loss(scores.float(), wanted)

    return train(network, options, loss_of, "Training the anatomy network", checkpoint, check, check_every, progress)


def augmentation_strength(step: int, options: AnatomyTraining) -> float:
    """`first_augmentation`, then falling linearly to `last_augmentation` at the last step."""
    eased = (step / options.steps - options.full_augmentation) / (1 - options.full_augmentation)
    return options.first_augmentation + max(eased, 0.0) * (options.last_augmentation - options.first_augmentation)


def training_batch(
    images: Tensor, targets: Tensor, batch: int, seed: int, step: int, strength: float = 1
) -> tuple[Tensor, Tensor]:
    """The augmented batch of one step, the same for the same seed and step: inputs normalised to 0..1, and targets."""
    chosen = draw(len(images), step, batch, seed)
    randomness = torch.Generator().manual_seed((seed + 1) * 7_368_787 + step)
    x, wanted = deform(normalise(images[chosen]), targets[chosen], randomness, strength)
    return normalise(change_contrast(x, randomness, strength)), wanted
