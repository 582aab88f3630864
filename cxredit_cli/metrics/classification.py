"""What a classifier that was trained on labels says of radiographs."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxredit_cli.networks.any_classifier import ClassifierScore
from cxredit_cli.networks.classifier import Classifier, PreparedClassifier


@torch.no_grad()
def classify(network: Classifier, images: Tensor, batch: int = 32) -> NDArray[np.float64]:
    """The log-odds [N] of images [N, 1, R, R] of any range and resolution; their contrast is made alike first."""
    device, prepared = next(network.parameters()).device, PreparedClassifier(network)
    parts = torch.split(images, batch) if len(images) else ()
    found = [prepared(part.to(device))[:, 0].cpu() for part in parts]
    return np.asarray(torch.cat([torch.empty(0), *found]).numpy(), dtype=np.float64)


@torch.no_grad()
def score_pictures(score: ClassifierScore, images: Tensor, batch: int = 32) -> NDArray[np.float64]:
    """The log-odds [N] of pictures [N, 1, R, R] in [-1, 1] by somebody's classifier, which takes them as they are."""
    parts = torch.split(images, batch) if len(images) else ()
    found = [score.log_odds(part).cpu() for part in parts]
    return np.asarray(torch.cat([torch.empty(0), *found]).numpy(), dtype=np.float64)


@torch.no_grad()
def score_classes(score: ClassifierScore, images: Tensor, batch: int = 32) -> NDArray[np.float64]:
    """The same of every class, [N, classes]."""
    parts = torch.split(images, batch) if len(images) else ()
    found = [score.log_odds_of(part, score.classes).cpu() for part in parts]
    return np.asarray(torch.cat([torch.empty(0, len(score.classes)), *found]).numpy(), dtype=np.float64)


def probability(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-log-odds)): of the positive class, where both classes are equally common."""
    return np.asarray(0.5 + 0.5 * np.tanh(log_odds / 2))
