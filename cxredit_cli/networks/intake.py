"""The network that looks at what comes in: is it a frontal chest radiograph, and does it lie as it should?"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cxredit_cli.errors import InputError

ORIENTATIONS = 8  # quarter turns anticlockwise 0 to 3 of the upright film, then of its mirror image
SIGNS = ("negative", "not_frontal_chest", "cut_off", "small_child")  # one score each, after those of the orientations
BLOCK = 2  # pixels of an image are folded into channels by blocks of 2x2


@dataclass(frozen=True, slots=True)
class IntakeConfig:
    """Its architecture."""

    resolution: int = 128  # of the images that it sees
    widths: tuple[int, ...] = (16, 32, 64, 96, 128)  # channels at half the resolution, a quarter, ...
    groups: int = 8  # of GroupNorm


class IntakeNetwork(nn.Module):
    """Normalised images to the scores of eight orientations and of four signs that something is wrong."""

    def __init__(self, config: IntakeConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or IntakeConfig()
        levels = []
        for index, (before, width) in enumerate(zip((BLOCK**2, *config.widths), config.widths, strict=False)):
            convolutions = 1 if index == 0 else 2
            levels.append(_level(before, width, config.groups, convolutions))
        self.levels = nn.ModuleList(levels)
        self.head = nn.Linear(2 * config.widths[-1], ORIENTATIONS + len(SIGNS))

    def forward(self, images: Tensor) -> Tensor:
        """[N, 1, R, R] normalised to 0..1 (see `anatomy.outlines.normalise`) -> scores [N, 8 + 4].

        The first eight are logits of one choice (softmax), the others log-odds, each by itself.
        """
        side = self.config.resolution
        if images.ndim != 4 or images.shape[1:] != (1, side, side):
            raise InputError(f"The intake network reads [N, 1, {side}, {side}], not {list(images.shape)}.")
        x = F.pixel_unshuffle(images * 2 - 1, BLOCK)
        for index, level in enumerate(self.levels):
            x = level(x if index == 0 else F.max_pool2d(x, 2))
        scores: Tensor = self.head(torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1))
        return scores


def _level(before: int, width: int, groups: int, convolutions: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (before, width)[:convolutions]:
        layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.GroupNorm(groups, width), nn.ReLU(True)]
    return nn.Sequential(*layers)


def turned(images: Tensor, orientation: int) -> Tensor:
    """Images [..., R, R] laid as orientation 0 to 7 says: mirrored left to right first (4 to 7), then turned."""
    mirrored = images.flip(-1) if orientation >= ORIENTATIONS // 2 else images
    return torch.rot90(mirrored, orientation % 4, (-2, -1))
