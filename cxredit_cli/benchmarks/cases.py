"""What is measured: named pieces of work, built anew for each dtype and layout."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from cxredit_cli.networks.layers import channels_at


class Outputs(NamedTuple):
    """What a work computed, to be compared: values, and gradients in groups that are compared as one vector each."""

    values: Sequence[Tensor]
    gradients: Sequence[Sequence[Tensor]] = ()


Work = Callable[[], Outputs]
Prepare = Callable[[torch.dtype, torch.memory_format], list[Work]]
"""Builds the works of a case, always from the same random numbers, for features in this dtype and layout."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The size of the work; `dtype` is that of the fast path's features."""

    resolution: int
    batch: int
    channel_base: int
    channel_max: int
    device: torch.device
    dtype: torch.dtype
    pl_weight: float

    def channels(self, resolution: int) -> int:
        """Feature maps at a resolution."""
        return channels_at(resolution, self.channel_base, self.channel_max)


@dataclass(frozen=True, slots=True)
class Case:
    """One name of the table.

    Works of which one does not occur as often as the other have `shares`; the time of the case is then their weighted
    mean, and `parts` names them. `elements` counts the values that must be read and written at least, if that is known;
    `matrix` says whether matrix products are most of the work.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    prepare: Prepare
    elements: int | None = None
    matrix: bool = True
    shares: tuple[float, ...] = (1.0,)
    parts: tuple[str, ...] = ("",)
