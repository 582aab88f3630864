"""Widening: carry on with more feature maps than a network was trained with (after Chen et al. 2016, "Net2Net").

A map is copied, and every weight that read it is handed to one of its copies, drawn at random: the sums stay what they
were and so does the weights' variance, but no two copies have the same gradient.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from cxredit_cli.networks.discriminator import Discriminator, DiscriminatorBlock, DiscriminatorConfig
from cxredit_cli.networks.generator import Generator, GeneratorConfig, SynthesisBlock, SynthesisLayer, ToRGB
from cxredit_cli.networks.layers import EqualizedConv2d, EqualizedLinear, block_resolutions, maps

STYLES_APART = 0.5  # of the styles' own spread


def can_widen(narrow: GeneratorConfig | DiscriminatorConfig, wide: GeneratorConfig | DiscriminatorConfig) -> bool:
    """Whether `wide` has at least the feature maps of `narrow` at each of the latter's resolutions."""
    return all(maps(wide, side) >= maps(narrow, side) for side in block_resolutions(narrow.resolution))


@torch.no_grad()
def widen_generator(
    narrow: Generator,
    channel_base: int,
    channel_max: int,
    channels: tuple[int, ...] | None = None,
    apart: float = STYLES_APART,
) -> Generator:
    """A generator with more feature maps, which makes nearly the pictures of `narrow`; with `apart` 0, the same ones.

    Copies of a map that have the same style for ever give W+ nothing new, so the styles of the copies are set apart, by
    `apart` times their standard deviation over W, around the mean code. Random numbers are torch's.
    """
    config = replace(narrow.config, channel_base=channel_base, channel_max=channel_max, channels=channels)
    wide = Generator(config)
    wide.mapping.load_state_dict(narrow.mapping.state_dict())
    mean, _ = narrow.w_statistics()
    before = torch.empty(0, dtype=torch.long)
    for name, block in wide.synthesis.blocks.items():
        old = narrow.synthesis.blocks[name]
        assert isinstance(block, SynthesisBlock)
        assert isinstance(old, SynthesisBlock)
        copied = copies(maps(narrow.config, block.resolution), maps(config, block.resolution))
        if block.const is not None and old.const is not None:
            block.const.copy_(old.const[copied])
        for new_layer, old_layer, read in ((block.conv0, old.conv0, before), (block.conv1, old.conv1, copied)):
            if new_layer is not None and old_layer is not None:
                widen_layer(new_layer, old_layer, read, copied)
                widen_styles(new_layer, old_layer, read, mean, apart)
        block.torgb.weight.copy_(share(old.torgb.weight, copied) * (old.torgb.weight_gain / block.torgb.weight_gain))
        assert block.torgb.bias is not None
        block.torgb.bias.copy_(old.torgb.bias)
        widen_styles(block.torgb, old.torgb, copied, mean, apart)
        before = copied
    wide.synthesis.precision = narrow.synthesis.precision
    return wide


def widen_layer(new: SynthesisLayer, old: SynthesisLayer, read: Tensor, written: Tensor) -> None:
    """Copy a modulated convolution; demodulation takes any scale out, so the weights need none."""
    new.weight.copy_(share(old.weight[written], read))
    new.bias.copy_(old.bias[written])
    new.noise_strength.copy_(old.noise_strength)
    new.noise_const.copy_(old.noise_const)


def widen_styles(
    new: SynthesisLayer | ToRGB, old: SynthesisLayer | ToRGB, read: Tensor, mean: Tensor, apart: float
) -> None:
    """Copy the styles of the maps that are read; all but the first copy of each get some of their own."""
    own = torch.randn(new.affine.weight.shape) * (old.affine.weight.std() * apart)
    own[: len(old.affine.bias)] = 0
    new.affine.weight.copy_(old.affine.weight[read] + own)
    new.affine.bias.copy_(old.affine.bias[read] - own @ mean * new.affine.weight_gain)


@torch.no_grad()
def widen_discriminator(
    narrow: Discriminator, channel_base: int, channel_max: int, channels: tuple[int, ...] | None = None
) -> Discriminator:
    """A discriminator with more feature maps and the logits of `narrow`."""
    config = replace(narrow.config, channel_base=channel_base, channel_max=channel_max, channels=channels)
    wide = Discriminator(config)
    sides = [*wide.resolutions, 4]
    copied = {side: copies(maps(narrow.config, side), maps(config, side)) for side in sides}
    grey = torch.arange(config.img_channels)
    widen_plain(wide.from_rgb, narrow.from_rgb, grey, copied[sides[0]])
    for side in wide.resolutions:
        new, old = wide.blocks[f"b{side}"], narrow.blocks[f"b{side}"]
        assert isinstance(new, DiscriminatorBlock)
        assert isinstance(old, DiscriminatorBlock)
        widen_plain(new.conv0, old.conv0, copied[side], copied[side])
        widen_plain(new.conv1, old.conv1, copied[side], copied[side // 2])
        widen_plain(new.skip, old.skip, copied[side], copied[side // 2])
    last = copied[4]
    deviation = torch.tensor([maps(narrow.config, 4)])  # the map of minibatch_std comes after the others
    widen_plain(wide.conv, narrow.conv, torch.cat([last, deviation]), last)
    widen_plain(wide.fc, narrow.fc, (last[:, None] * 16 + torch.arange(16)).flatten(), last)
    widen_plain(wide.out, narrow.out, last, torch.arange(1))
    wide.precision = narrow.precision
    return wide


def widen_plain(
    new: EqualizedConv2d | EqualizedLinear, old: EqualizedConv2d | EqualizedLinear, read: Tensor, written: Tensor
) -> None:
    """Copy a layer with equalised learning rate, whose run-time gain falls with what it reads."""
    new.weight.copy_(share(old.weight[written], read) * (old.weight_gain / new.weight_gain))
    if new.bias is not None and old.bias is not None:
        new.bias.copy_(old.bias[written])


def copies(narrow: int, wide: int) -> Tensor:
    """For each of `wide` maps the one of `narrow` maps that it copies, [wide]; all once, then all again."""
    return torch.arange(wide) % narrow


def share(weight: Tensor, read: Tensor) -> Tensor:
    """[out, in, ...] -> [out, len(read), ...]: each weight goes to one of the copies of its map, others get 0."""
    which = (F.one_hot(read).cumsum(dim=0) - 1).gather(1, read[:, None]).squeeze(1)  # 0 for a first copy, 1, ...
    shape = (1, -1, *[1] * (weight.ndim - 2))
    owner = (torch.rand(weight.shape) * read.bincount().reshape(shape)).long()
    return weight[:, read] * (owner[:, read] == which.reshape(shape))
