"""The discriminator, its minibatch statistics and its fade-in."""

import torch

from cxredit_cli.networks.discriminator import Discriminator, DiscriminatorConfig, minibatch_std


def test_minibatch_std_by_hand() -> None:
    # Two groups of two: samples 0 and 2 differ by 2 (deviation 1), samples 1 and 3 are the same.
    x = torch.tensor([0.0, 5.0, 2.0, 5.0])[:, None, None, None].expand(4, 3, 2, 2)
    expected = torch.tensor([1.0, 0.0, 1.0, 0.0])[:, None, None, None].expand(4, 1, 2, 2)
    torch.testing.assert_close(minibatch_std(x, 2), expected, atol=1e-3, rtol=0)


def test_minibatch_std_takes_any_batch() -> None:
    for n in (1, 3, 5, 6, 8):
        assert minibatch_std(torch.randn(n, 2, 4, 4), 4).shape == (n, 1, 4, 4)


def test_fade_moves_from_the_old_layer_to_the_new_block() -> None:
    torch.manual_seed(0)
    d = Discriminator(DiscriminatorConfig(32, channel_base=256, channel_max=16))
    smaller = Discriminator(DiscriminatorConfig(16, channel_base=256, channel_max=16))
    x = torch.randn(2, 1, 32, 32)
    new_only = d(x)
    d.fade_from_rgb = smaller.from_rgb
    torch.testing.assert_close(d(x, fade=1.0), new_only)
    halfway, start = d(x, fade=0.5), d(x, fade=0.0)
    assert not torch.allclose(start, new_only)
    assert not torch.allclose(halfway, start)
    # At fade 0 the new block is not heard at all.
    with torch.no_grad():
        for parameter in d.blocks["b32"].parameters():
            parameter.mul_(3)
    torch.testing.assert_close(d(x, fade=0.0), start)


def test_logits_do_not_depend_on_memory_format() -> None:
    d = Discriminator(DiscriminatorConfig(16, channel_base=256, channel_max=16))
    x = torch.randn(4, 1, 16, 16)
    torch.testing.assert_close(d(x), d(x.contiguous(memory_format=torch.channels_last)))
