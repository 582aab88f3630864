"""How alike two images look to a network of the model's own: no weights of another project are needed.

Features are compared as in Zhang et al. 2018 (LPIPS, equation 1), without its learnt weights: unit length over the
channels at every position, squared differences, mean over the positions, sum over the layers.
"""

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor

from cxredit_cli.errors import InputError
from cxredit_cli.storage.models import Model

Features = Callable[[Tensor], list[Tensor]]


def model_features(model: Model) -> Features:
    """Feature maps of images [N, 1, R, R] by the model's discriminator, else by its encoder, finest first.

    Raises InputError where the model has neither.
    """
    discriminator, encoder = model.discriminator, model.encoder
    if discriminator is not None:
        discriminator.precision = model.generator.synthesis.precision
        # Without the last: there each image sees its batch (minibatch standard deviation).
        return lambda images: discriminator.features(images)[:-1]
    if encoder is not None:
        return lambda images: encoder(images, return_features=True)[1]
    raise InputError(
        f"--perceptual-weight needs the discriminator or the encoder of the model, and {model.path} has neither."
    )


def perceptual_distance(features: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """The distance [N] of two lists of feature maps [N, C, H, W]; 0 for equal ones."""
    total = F.normalize(features[0].float(), dim=1).new_zeros(len(features[0]))
    for a, b in zip(features, others, strict=True):
        difference = F.normalize(a.float(), dim=1) - F.normalize(b.float(), dim=1)
        total = total + difference.square().sum(dim=1).mean(dim=(1, 2))
    return total
