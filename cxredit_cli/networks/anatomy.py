"""The network that outlines heart and lungs: a compact U-Net (Ronneberger et al. 2015, arXiv 1505.04597) at 128x128."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = ("background", "right lung", "left lung", "heart")  # the patient's right, at the left of the image
RIGHT_LUNG, LEFT_LUNG, HEART = 1, 2, 3


@dataclass(frozen=True, slots=True)
class AnatomyConfig:
    """Its architecture."""

    resolution: int = 128  # of the images that it sees
    widths: tuple[int, ...] = (24, 48, 96, 128)  # channels, from the finest level (half the resolution) to the coarsest
    groups: int = 8  # of GroupNorm: no statistics of a batch, so an image's masks do not depend on its neighbours


BLOCK = 2  # pixels of an image are folded into channels by blocks of 2x2 and scores unfolded: four times less work


class AnatomyNetwork(nn.Module):
    """Normalised radiographs to the scores of four classes."""

    def __init__(self, config: AnatomyConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or AnatomyConfig()
        widths, groups = config.widths, config.groups
        self.down = nn.ModuleList(
            _level(before, width, groups) for before, width in zip((BLOCK**2, *widths[:-1]), widths, strict=True)
        )
        self.up = nn.ModuleList(
            _level(coarse + fine, fine, groups) for coarse, fine in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], len(CLASSES) * BLOCK**2, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """[N, 1, R, R] normalised to 0..1 (see `evaluation.anatomy.normalise`) -> scores (logits) [N, 4, R, R].

        R may be any multiple of 2^levels, but the weights are made for the configured resolution.
        """
        return self.features(images)[0]

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The scores [N, 4, R, R], and the coarsest level's features [N, widths[-1], r, r]."""
        x, skips = F.pixel_unshuffle(images * 2 - 1, BLOCK), []
        for index, level in enumerate(self.down):
            x = level(x if index == 0 else F.max_pool2d(x, 2))
            skips.append(x)
        coarsest = skips.pop()
        for level in self.up:
            skip = skips.pop()
            x = level(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skip], dim=1))
        scores = F.pixel_shuffle(self.head(x), BLOCK)
        return scores, coarsest


def _level(before: int, width: int, groups: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (before, width):
        layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.GroupNorm(groups, width), nn.ReLU(True)]
    return nn.Sequential(*layers)
