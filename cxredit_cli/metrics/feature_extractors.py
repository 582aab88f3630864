"""Feature vectors of images, from networks that had no part in training a generator.

The generator's own discriminator is no judge: the generator was trained until it could not tell. The anatomy network
learnt to outline organs on real radiographs and never saw a generated one.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from cxredit_cli.errors import InputError
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.networks.preparation import normalise
from cxredit_cli.storage.hub import hub_path

INCEPTION_SIDE = 299
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Extractor = Callable[[Tensor], Tensor]


def anatomy_extractor(network: AnatomyNetwork) -> Extractor:
    """Images [N, 1, R, R] of any range -> [N, C]: the coarsest level's feature maps, each averaged over the image.

    That level sees shape and place of the organs, and so few numbers (192 of the bundled network) can have a
    covariance from a few hundred images. Contrast is normalised away before, and fine texture is hardly seen: the
    sliced Wasserstein distance sees both.
    """

    def extract(images: Tensor) -> Tensor:
        features: Tensor = network.features(_resize(normalise(images), network.config.resolution))[1]
        return features.mean((2, 3))

    return extract


def inception_weights() -> Path:
    """Where torchvision keeps the weights of its ImageNet Inception v3 once it has downloaded them."""
    from torchvision.models import Inception_V3_Weights

    return hub_path(Inception_V3_Weights.IMAGENET1K_V1.url)


def load_inception(path: Path, device: torch.device | str = "cpu") -> nn.Module:
    """torchvision's Inception v3 without its classifier, weights from `path`. Raises InputError where they do not fit.

    These weights are not those of the published Fréchet Inception distances (TensorFlow's of 2015): the figures may be
    compared with each other, not with the literature.
    """
    from torchvision.models import inception_v3

    network: nn.Module = inception_v3(weights=None, init_weights=False)
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception:  # whatever a damaged file makes torch raise
        raise InputError(f"{path} does not hold torchvision's Inception v3; delete it or download it again.") from None
    network.fc = nn.Identity()
    return network.to(device).eval().requires_grad_(False)


def inception_extractor(network: nn.Module) -> Extractor:
    """Images [N, 1, R, R] in 0..1 -> [N, 2048], the pooled features before the classifier."""

    def extract(images: Tensor) -> Tensor:
        mean, std = (images.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
        features: Tensor = network((_resize(images, INCEPTION_SIDE) - mean) / std)
        return features

    return extract


@torch.no_grad()
def feature_vectors(
    extract: Extractor,
    images: NDArray[np.uint8],
    device: torch.device | str = "cpu",
    batch: int = 32,
) -> NDArray[np.float64]:
    """Vectors [N, d] of grey images [N, R, R]."""
    vectors = []
    for start in range(0, len(images), batch):
        part = torch.from_numpy(np.ascontiguousarray(images[start : start + batch])).to(device).float()[:, None] / 255
        vectors.append(extract(part).double().cpu().numpy())
    return np.concatenate(vectors)


def _resize(images: Tensor, side: int) -> Tensor:
    if images.shape[-1] == side:
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", align_corners=False, antialias=True)
