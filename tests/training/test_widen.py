"""Widening keeps what was learnt and gives every copy something of its own."""

import pytest
import torch

from cxredit_cli.networks.discriminator import Discriminator, DiscriminatorConfig
from cxredit_cli.networks.generator import Generator, GeneratorConfig
from cxredit_cli.training.widen import can_widen, share, widen_discriminator, widen_generator

NARROW = GeneratorConfig(32, 8, 8, channel_base=128, channel_max=8)  # 8, 8, 8 and 4 maps
WIDER = [(256, 16), (128, 16), (320, 21), (128, 8)]  # all twice; the coarse ones; no multiples; none


@pytest.fixture
def narrow() -> Generator:
    torch.manual_seed(0)
    g = Generator(NARROW)
    with torch.no_grad():  # as after training: nothing is at the value that it starts with
        for parameter in g.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    return g


@pytest.mark.parametrize(("channel_base", "channel_max"), WIDER)
def test_a_wider_generator_makes_the_same_pictures(narrow: Generator, channel_base: int, channel_max: int) -> None:
    wide = widen_generator(narrow, channel_base, channel_max, apart=0.0)
    ws = torch.randn(3, narrow.num_ws, 8)  # of W+
    for noise in ("const", "none"):
        torch.testing.assert_close(wide.synthesis(ws, noise), narrow.synthesis(ws, noise), atol=1e-5, rtol=1e-5)
    assert wide.synthesis.blocks["b4"].conv1.weight.shape[0] == channel_max


def test_styles_apart_change_little_around_the_mean(narrow: Generator) -> None:
    wide = widen_generator(narrow, 256, 16)
    mean, deviation = narrow.w_statistics()
    far = mean + deviation * torch.randn(16, 1, 8)
    with torch.no_grad():
        at_mean = (wide.synthesis(mean[None, None], "none") - narrow.synthesis(mean[None, None], "none")).abs().max()
        change = (wide.synthesis(far, "none") - narrow.synthesis(far, "none")).square().mean().sqrt()
        spread = narrow.synthesis(far, "none").std(dim=0).mean()
    assert at_mean < 1e-4
    assert 0.02 * spread < change < 0.7 * spread


def test_no_two_copies_have_the_same_gradient(narrow: Generator) -> None:
    wide = widen_generator(narrow, 256, 16, apart=0.0)
    wide(torch.randn(2, 8)).square().mean().backward()
    for layer in wide.synthesis.noise_layers():
        assert layer.weight.grad is not None
        first, second = layer.weight.grad.chunk(2)
        assert not torch.allclose(first, second, rtol=0.1)


@pytest.mark.parametrize(("channel_base", "channel_max"), WIDER)
def test_a_wider_discriminator_has_the_same_opinion(channel_base: int, channel_max: int) -> None:
    torch.manual_seed(0)
    d = Discriminator(DiscriminatorConfig(32, channel_base=128, channel_max=8))
    with torch.no_grad():
        for parameter in d.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    wide = widen_discriminator(d, channel_base, channel_max)
    x = torch.randn(8, 1, 32, 32)
    # Where not every map has as many copies, the mean over maps of minibatch_std is a little another one.
    tolerance = 1e-5 if channel_max % 8 == 0 else 0.02
    torch.testing.assert_close(wide(x), d(x), atol=tolerance, rtol=tolerance)


def test_each_weight_goes_to_one_copy() -> None:
    weight = torch.arange(1.0, 25.0).reshape(4, 3, 2)
    read = torch.tensor([0, 1, 2, 0, 1, 0])
    shared = share(weight, read)
    assert shared.shape == (4, 6, 2)
    for source in range(3):
        of_it = shared[:, read == source]
        torch.testing.assert_close(of_it.sum(dim=1), weight[:, source])
        assert torch.all((of_it != 0).sum(dim=1) == 1)


def test_fewer_maps_are_refused() -> None:
    assert can_widen(NARROW, GeneratorConfig(64, 8, 8, channel_base=256, channel_max=8))
    assert not can_widen(NARROW, GeneratorConfig(32, 8, 8, channel_base=256, channel_max=7))
    assert not can_widen(NARROW, GeneratorConfig(32, 8, 8, channel_base=64, channel_max=64))
