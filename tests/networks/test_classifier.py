"""What the classifier promises: a log-odds an image, none at the start, and no image that depends on another."""

import pytest
import torch

from cxredit_cli.errors import InputError
from cxredit_cli.networks.classifier import Classifier, ClassifierConfig


def tiny(resolution: int = 32) -> Classifier:
    torch.manual_seed(0)
    network = Classifier(ClassifierConfig(resolution, width=8))
    torch.nn.init.normal_(network.head.weight)
    return network


def test_untrained_it_knows_nothing() -> None:
    assert Classifier(ClassifierConfig(32, width=8))(torch.rand(3, 1, 32, 32)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("resolution", [32, 64, 128])
def test_an_image_is_judged_alone(resolution: int) -> None:
    network, images = tiny(resolution), torch.rand(3, 1, resolution, resolution)
    together = network(images)
    assert together.shape == (3,)
    assert together.unique().numel() == 3
    assert torch.allclose(network(images[1:2]), together[1:2], atol=1e-5)


def test_another_resolution_is_refused() -> None:
    with pytest.raises(InputError, match=r"\[N, 1, 32, 32\], not \[1, 1, 64, 64\]"):
        tiny()(torch.zeros(1, 1, 64, 64))
