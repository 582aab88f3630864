"""What the encoder promises: shapes, the mean code at the start, independence of images, and both branches in use."""

import pytest
import torch

from cxredit_cli.errors import InputError
from cxredit_cli.networks.encoder import DenormalisingMerge, Encoder, EncoderConfig


def tiny(num_outputs: int = 1, depth: int = 18, resolution: int = 32) -> Encoder:
    torch.manual_seed(0)
    return Encoder(EncoderConfig(resolution=resolution, w_dim=24, num_outputs=num_outputs, depth=depth, width=8))


def awake(encoder: Encoder) -> Encoder:
    """Give the zero-initialised output layer random weights, as training does."""
    torch.nn.init.normal_(encoder.to_delta.weight, std=0.1)
    return encoder


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
def test_every_depth_encodes_to_w_and_w_plus(depth: int) -> None:
    images = torch.rand(2, 1, 32, 32) * 2 - 1
    assert tiny(1, depth)(images).shape == (2, 1, 24)
    codes, features = tiny(8, depth)(images, return_features=True)
    assert codes.shape == (2, 8, 24)
    assert [f.shape[2] for f in features] == [32, 16, 8, 4]
    expansion = 1 if depth < 50 else 4
    assert [f.shape[1] for f in features] == [8 * expansion, 16 * expansion, 32 * expansion, 64 * expansion]


@pytest.mark.parametrize("resolution", [32, 64, 128, 256])
def test_the_last_stage_keeps_at_least_4x4(resolution: int) -> None:
    _, features = tiny(resolution=resolution)(torch.zeros(1, 1, resolution, resolution), return_features=True)
    assert features[-1].shape[2] == max(4, resolution // 32)


def test_the_default_is_the_papers_resnet_101() -> None:
    config = EncoderConfig(resolution=128, w_dim=512)
    assert (config.depth, config.width, config.num_outputs) == (101, 64, 1)
    with torch.device("meta"):
        encoder = Encoder(config)
    # ResNet-101 without its classifier has 42.5 million weights (He et al. 2016); 1-channel stems save 2 x 6,272 each.
    assert sum(p.numel() for p in encoder.content.parameters()) == 42_500_160 - 2 * 64 * 49


def test_an_untrained_encoder_answers_with_the_mean_code() -> None:
    encoder = tiny(3)
    mean, std = torch.randn(24), torch.rand(24)
    encoder.set_code_statistics(mean, std)
    torch.testing.assert_close(encoder(torch.rand(2, 1, 32, 32)), mean.expand(2, 3, 24))
    assert {"w_avg", "w_std"} <= set(encoder.state_dict())


def test_the_output_scales_with_the_spread_of_codes() -> None:
    encoder, images = awake(tiny()), torch.rand(2, 1, 32, 32)
    unit = encoder(images)
    encoder.set_code_statistics(torch.zeros(24), torch.full((24,), 3.0))
    torch.testing.assert_close(encoder(images), 3 * unit)


def test_an_image_does_not_depend_on_its_batch() -> None:
    encoder, images = awake(tiny()).train(), torch.rand(3, 1, 32, 32)
    torch.testing.assert_close(encoder(images)[1:2], encoder(images[1:2]), atol=1e-5, rtol=1e-4)


def test_both_branches_and_every_merge_learn() -> None:
    encoder = awake(tiny())
    encoder(torch.rand(2, 1, 32, 32)).square().sum().backward()
    silent = [name for name, p in encoder.named_parameters() if p.grad is None or p.grad.abs().sum() == 0]
    assert silent == []


def test_the_merge_is_spatially_adaptive_denormalisation() -> None:
    merge = DenormalisingMerge(channels=16, hidden=8)
    content, guide = torch.randn(1, 16, 6, 6) * 5 + 2, torch.randn(1, 16, 6, 6)
    gamma, beta = merge.scale_and_shift(merge.shared(guide).relu()).chunk(2, dim=1)
    normalised = (content - content.mean()) / (content.var(unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(merge(content, guide), normalised * (1 + gamma) + beta, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(merge(content * 7 - 3, guide), merge(content, guide), atol=1e-4, rtol=1e-3)


def test_impossible_configurations_and_images_are_refused() -> None:
    with pytest.raises(InputError, match="18, 34, 50 or 101"):
        EncoderConfig(resolution=32, w_dim=8, depth=20)
    with pytest.raises(InputError, match="power of two"):
        EncoderConfig(resolution=100, w_dim=8)
    with pytest.raises(InputError, match="multiple of 8"):
        EncoderConfig(resolution=32, w_dim=8, width=12)
    with pytest.raises(InputError, match=r"\[N, 1, 32, 32\], not \[1, 3, 32, 32\]"):
        tiny()(torch.zeros(1, 3, 32, 32))
