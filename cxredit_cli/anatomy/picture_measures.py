"""The measures of a picture that directions are found, held and judged by: anatomy and tone."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxredit_cli.anatomy.measures import FIGURES, measure_images
from cxredit_cli.networks.anatomy import HEART, LEFT_LUNG, RIGHT_LUNG, AnatomyNetwork
from cxredit_cli.networks.preparation import normalise, resize

Floats = NDArray[np.float64]

TONES = {"grey_p10": 0.1, "grey_p50": 0.5, "grey_p90": 0.9}  # percentiles of the grey values, 0..1
MEASURES = (*FIGURES, *TONES)


def measure_pictures(
    network: AnatomyNetwork, images: Tensor, batch: int = 32
) -> tuple[dict[str, Floats], NDArray[np.bool_]]:
    """All MEASURES [N] of images [N, 1, R, R] in [-1, 1], and whose outlines are plausible."""
    anatomy = measure_images(network, images, batch)
    grey = ((images.float() + 1) / 2).clamp(0, 1).flatten(1)
    measures: dict[str, Floats] = {name: getattr(anatomy, name) for name in FIGURES}
    for name, share in TONES.items():
        measures[name] = torch.quantile(grey, share, dim=1).double().cpu().numpy()
    return measures, anatomy.plausible


def soft_measures(network: AnatomyNetwork, images: Tensor) -> dict[str, Tensor]:
    """The measures [N] of images [N, 1, R, R] in [-1, 1] with probabilities in place of outlines, so that they slope.

    A width is the mean over columns of the largest probability in each; the thorax is whatever is lung or heart.
    """
    scores = network(normalise(resize(images, network.config.resolution)))
    organs = scores.float().softmax(1)
    right, left, heart = organs[:, RIGHT_LUNG], organs[:, LEFT_LUNG], organs[:, HEART]
    measures = {
        "heart_width": heart.amax(1).mean(1),
        "thorax_width": (right + left + heart).amax(1).mean(1),
        "heart_area": heart.mean((1, 2)),
        "right_lung_area": right.mean((1, 2)),
        "left_lung_area": left.mean((1, 2)),
        "right_lung_height": right.amax(2).mean(1),
        "left_lung_height": left.amax(2).mean(1),
    }
    measures["ctr"] = measures["heart_width"] / measures["thorax_width"].clamp(min=1e-3)
    grey = ((images + 1) / 2).flatten(1)
    return measures | {name: torch.quantile(grey, share, dim=1) for name, share in TONES.items()}
