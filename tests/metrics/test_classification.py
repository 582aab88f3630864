"""What a classifier says of pictures of any size and contrast."""

import numpy as np
import torch
from torch import Tensor, nn

from cxredit_cli.metrics.classification import classify, probability
from cxredit_cli.networks.classifier import ClassifierConfig


class SeesBrightness(nn.Module):
    """Instead of a trained one: the share of white, of a picture of 32x32."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.config = ClassifierConfig(32)

    def forward(self, images: Tensor) -> Tensor:
        assert images.shape[1:] == (1, 32, 32)
        assert 0 <= images.min() <= images.max() <= 1
        return images.mean((1, 2, 3))


def test_size_and_contrast_do_not_count() -> None:
    images = -torch.ones(3, 1, 64, 64)
    images[0, :, :16], images[1, :, :32], images[2, :, :48] = 1, 1, 1
    shares = [0.25, 0.5, 0.75]
    network = SeesBrightness()
    assert np.allclose(classify(network, images, batch=2), shares)  # type: ignore[arg-type]
    assert np.allclose(classify(network, images[:, :, ::4, ::4] * 0.1 + 5), shares)  # type: ignore[arg-type]
    assert classify(network, images[:0]).shape == (0,)  # type: ignore[arg-type]


def test_log_odds_are_probabilities() -> None:
    assert np.allclose(probability(np.array([-1000, 0, np.log(3), 1000.0])), [0, 0.5, 0.75, 1])
