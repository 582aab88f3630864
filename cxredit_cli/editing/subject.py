"""One image to edit, with its code: what `apply` moves along a direction."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxredit_cli.radiographs.sources import Source


@dataclass(frozen=True, slots=True)
class Subject:
    """One image to edit."""

    source: str
    stem: str  # of the names of its files
    identity: str  # stands for its name and pixels
    recipe: str  # stands for all else that decides the edits
    original: NDArray[np.uint8]  # [R, R]
    w: Tensor  # [L, D]
    noise: list[Tensor] | None  # one [1, H, W] a layer
    tuning: Tensor | None  # [K] deltas of the generator's weights
    psnr: float  # of the reconstruction, dB; nan where unknown
    ssim: float
    method: str
    film: Source | None = None  # the film itself, where it is at hand
    suspect: str = ""  # what is wrong with it, where it was taken all the same


def noise_of(subjects: Sequence[Subject]) -> list[Tensor] | None:
    """The fitted noise of some subjects, one [N, 1, H, W] a layer; None where none was fitted."""
    if subjects[0].noise is None:
        return None
    return [torch.stack(layer) for layer in zip(*(subject.noise or [] for subject in subjects), strict=True)]


def tuning_of(subjects: Sequence[Subject]) -> Tensor | None:
    """The deltas [N, K] of subjects whose generator was tuned for them."""
    deltas = [subject.tuning for subject in subjects if subject.tuning is not None]
    return torch.stack(deltas) if deltas else None
