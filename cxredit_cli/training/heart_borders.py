"""Weights of pixels by which an encoder learns where the heart ends: those near its border.

The heart's size is read off a border that is few of a film's pixels; a mean over all of them hardly sees it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from cxredit_cli.networks.anatomy import HEART, AnatomyNetwork
from cxredit_cli.networks.preparation import normalise, resize

REACH = 1 / 32  # of the image's side: how far from the border pixels count more


class HeartBorders:
    """The heart borders of the films of a run, found when a film is first seen and kept as one byte a pixel."""

    def __init__(self, network: AnatomyNetwork, films: int, side: int, weight: float) -> None:
        """Room for `films`; maps are [side, side], and pixels near a border count 1 + `weight`."""
        device = next(network.parameters()).device
        self._network, self._weight = network, weight
        self._near = torch.zeros(films, 1, side, side, dtype=torch.uint8, device=device)
        self._known = torch.zeros(films, dtype=torch.bool)

    def weights(self, films: Tensor, images: Tensor) -> Tensor:
        """Weights of pixels [N, 1, side, side], of mean 1 for each image [N, 1, R, R]; `films` [N] say which."""
        new = ~self._known[films]
        if new.any():
            near = near_heart_border(self._network, images[new.to(images.device)], self._near.shape[-1])
            self._near[films[new].to(self._near.device)] = (near * 255).round().byte()
            self._known[films[new]] = True
        weights = 1 + self._weight / 255 * self._near[films.to(self._near.device)].float()
        return weights / weights.mean(dim=(2, 3), keepdim=True)


@torch.no_grad()
def near_heart_border(network: AnatomyNetwork, images: Tensor, side: int) -> Tensor:
    """The share [N, 1, side, side] of each pixel of images [N, 1, R, R] that lies near the heart's border."""
    classes = network(normalise(resize(images, network.config.resolution))).argmax(dim=1, keepdim=True)
    heart = (classes == HEART).float()
    window = 2 * round(REACH * heart.shape[-1]) + 1
    largest, smallest = (sign * F.max_pool2d(sign * heart, window, 1, window // 2) for sign in (1, -1))
    return resize(largest - smallest, side)
