"""Tensors of a foreign network under the names that they have here."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from cxredit_cli.errors import InputError
from cxredit_cli.ops.upfirdn2d import setup_filter


@dataclass(frozen=True, slots=True)
class Renamed:
    """A generator and a discriminator as tensors; ToRGB and FromRGB still have the channels that they had."""

    origin: str  # whose
    generator: dict[str, Tensor]
    discriminator: dict[str, Tensor] = field(default_factory=dict)  # empty where there is none
    clamp: float | None = None
    group_size: int = 4  # of the minibatch standard deviation


def check_filter(kernel: Tensor, path: Path) -> None:
    """Raise InputError unless `kernel`, of any gain, is the filter of this tool: [1, 3, 3, 1] both ways."""
    expected = setup_filter()
    found = kernel.float() / kernel.float().sum()
    if found.shape != expected.shape or not torch.allclose(found, expected / expected.sum(), atol=1e-5):
        raise InputError(f"{path} was made with another filter than [1, 3, 3, 1], the only one that this tool has.")
