"""How alike two images look to a network: to one of the model's own, or by LPIPS where its weights are at hand.

Features are compared as in Zhang et al. 2018 (LPIPS, arXiv 1801.03924, equation 1): unit length over the channels at
every position, squared differences, mean over the positions, sum over the layers. The model's own networks need no
weights of another project and have no learnt weights of the channels.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cxredit_cli.errors import InputError
from cxredit_cli.storage.hub import hub_path
from cxredit_cli.storage.models import Model

Features = Callable[[Tensor], list[Tensor]]
Lpips = Literal["vgg", "alex", "squeeze"]
Judge = Literal["model"] | Lpips


def choose_features(model: Model, judge: Judge) -> Features:
    """Feature maps of images [N, 1, R, R] in [-1, 1] by `judge`: "model", or a network of LPIPS (see `find_lpips`)."""
    device = model.generator.mapping.w_avg.device
    return model_features(model) if judge == "model" else lpips_features(judge, device)


def model_features(model: Model) -> Features:
    """Feature maps by the model's discriminator, else by its encoder, finest first, of unit length.

    Raises InputError where the model has neither.
    """
    discriminator, encoder = model.discriminator, model.encoder
    if discriminator is not None:
        discriminator.precision = model.generator.synthesis.precision
        # Without the last: there each image sees its batch (minibatch standard deviation).
        return lambda images: [_unit(layer) for layer in discriminator.features(images)[:-1]]
    if encoder is not None:
        return lambda images: [_unit(layer) for layer in encoder(images, return_features=True)[1]]
    raise InputError(
        f"--perceptual-weight needs the discriminator or the encoder of the model, and {model.path} has neither; "
        "or --perceptual lpips."
    )


def lpips_weights() -> dict[Lpips, Path]:
    """Where torchvision keeps the weights of each network that LPIPS knows, once it has downloaded them."""
    from torchvision.models import AlexNet_Weights, SqueezeNet1_1_Weights, VGG16_Weights

    return {
        "vgg": hub_path(VGG16_Weights.DEFAULT.url),
        "alex": hub_path(AlexNet_Weights.DEFAULT.url),
        "squeeze": hub_path(SqueezeNet1_1_Weights.DEFAULT.url),
    }


def choose_judge(name: str, weight: float) -> Judge:
    """Whose features `choose_features` takes: "model", or for "lpips" the network of it that this machine has.

    Raises InputError for another name, and for LPIPS where it counts for nothing.
    """
    if name == "model":
        return "model"
    if name != "lpips":
        raise InputError(f"--perceptual must be model or lpips, but it is '{name}'.")
    if not weight:
        raise InputError("--perceptual lpips does nothing without --perceptual-weight, such as 0.02.")
    return find_lpips()


def find_lpips() -> Lpips:
    """The first of `lpips_weights` that is on this machine; nothing is downloaded. Raises InputError without any."""
    weights = lpips_weights()
    for name, path in weights.items():
        if path.is_file():
            return name
    names = ", ".join(path.name for path in weights.values())
    folder = next(iter(weights.values())).parent
    raise InputError(
        f"--perceptual lpips needs torchvision's weights of one of its networks in {folder}, one of {names}, and finds "
        "none; put one there, or use --perceptual model."
    )


@cache
def lpips_features(name: Lpips, device: torch.device | str = "cpu") -> Features:
    """Feature maps by a network of LPIPS, of unit length times the roots of its learnt weights of the channels.

    So `perceptual_distance` of two of them is LPIPS. Raises InputError where torchmetrics, which has those weights, is
    not installed or the network's own are damaged.
    """
    path = lpips_weights()[name]
    if not path.is_file():  # it would be downloaded
        raise InputError(f"LPIPS by {name} needs {path}, which is not there.")
    try:
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
    except ImportError:
        raise InputError("--perceptual lpips needs torchmetrics: pip install torchmetrics.") from None
    try:
        lpips: nn.Module = LearnedPerceptualImagePatchSimilarity(net_type=name).net.to(device)
    except Exception:  # whatever a damaged file makes torch raise
        raise InputError(f"{path} does not hold torchvision's weights; delete it or download it again.") from None
    weights = [head.model[-1].weight.sqrt() for head in cast(Iterable[Any], lpips.lins)]
    scale, network = lpips.get_submodule("scaling_layer"), lpips.get_submodule("net")

    def features(images: Tensor) -> list[Tensor]:
        with torch.autocast(images.device.type, enabled=False):
            layers = network(scale(images.float().expand(-1, 3, -1, -1)))
        return [_unit(layer) * weight for layer, weight in zip(layers, weights, strict=True)]

    return features


def perceptual_distance(features: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """The distance [N] of two lists of feature maps [N, C, H, W]; 0 for equal ones."""
    total = features[0].new_zeros(len(features[0]))
    for a, b in zip(features, others, strict=True):
        total = total + (a - b).square().sum(dim=1).mean(dim=(1, 2))
    return total


def _unit(layer: Tensor) -> Tensor:
    return F.normalize(layer.float(), dim=1)
