"""The StyleGAN2 residual discriminator (Karras et al. 2020), with a top block that can fade in while growing."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cxredit_cli.networks.layers import EqualizedConv2d, EqualizedLinear, block_resolutions, maps, runs_in
from cxredit_cli.ops.upfirdn2d import downsample2d, setup_filter


@dataclass(frozen=True, slots=True)
class DiscriminatorConfig:
    """Architecture of a discriminator; plain values that go into model.json."""

    resolution: int
    channel_base: int = 16384
    channel_max: int = 512
    img_channels: int = 1
    mbstd_group_size: int = 4
    conv_clamp: float | None = None
    channels: tuple[int, ...] | None = None  # feature maps from 4x4 up, where they do not follow base and max


class DiscriminatorBlock(nn.Module):
    """Two 3x3 convolutions and a 1x1 skip, halving the resolution; the sum keeps unit variance."""

    def __init__(self, in_channels: int, out_channels: int, clamp: float | None) -> None:
        super().__init__()
        self.conv0 = EqualizedConv2d(in_channels, in_channels, 3, act="lrelu", clamp=clamp)
        self.conv1 = EqualizedConv2d(in_channels, out_channels, 3, act="lrelu", down=2, clamp=clamp)
        self.skip = EqualizedConv2d(in_channels, out_channels, 1, bias=False, down=2)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in, H, W] -> [N, out, H / 2, W / 2]."""
        y: Tensor = self.skip(x, gain=0.5**0.5)
        y = y + self.conv1(self.conv0(x), gain=0.5**0.5)
        return y


class Discriminator(nn.Module):
    """Image -> one logit, higher for real.

    While growing, `fade` is the weight of the top block against `fade_from_rgb` on the down-sampled image; a finished
    network has no `fade_from_rgb`.
    """

    resample_filter: Tensor

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        self.precision = torch.float32
        self.resolutions = block_resolutions(config.resolution)[:0:-1]
        channels = {r: maps(config, r) for r in [*self.resolutions, 4]}
        self.from_rgb = EqualizedConv2d(
            config.img_channels, channels[config.resolution], 1, act="lrelu", clamp=config.conv_clamp
        )
        self.fade_from_rgb: EqualizedConv2d | None = None
        self.blocks = nn.ModuleDict(
            {f"b{r}": DiscriminatorBlock(channels[r], channels[r // 2], config.conv_clamp) for r in self.resolutions}
        )
        self.conv = EqualizedConv2d(channels[4] + 1, channels[4], 3, act="lrelu", clamp=config.conv_clamp)
        self.fc = EqualizedLinear(channels[4] * 16, channels[4], act="lrelu")
        self.out = EqualizedLinear(channels[4], 1)
        self.register_buffer("resample_filter", setup_filter(), persistent=False)

    def forward(self, image: Tensor, fade: float = 1.0) -> Tensor:
        """[N, 1, R, R] in [-1, 1] -> logits [N], float32."""
        logits: Tensor = self.out(self.features(image, fade)[-1])
        return logits.float().squeeze(1)

    def features(self, image: Tensor, fade: float = 1.0) -> list[Tensor]:
        """The feature maps after each block from fine to coarse, and the last hidden layer [N, C]."""
        top = self.resolutions[0]
        x = self.from_rgb(image.to(runs_in(self.precision, top, top)))
        outputs: list[Tensor] = []
        for resolution in self.resolutions:
            x = self.blocks[f"b{resolution}"](x.to(runs_in(self.precision, resolution, top)))
            if resolution == top and self.fade_from_rgb is not None and fade < 1:
                smaller = downsample2d(image, self.resample_filter).to(x.dtype)
                x = torch.lerp(self.fade_from_rgb(smaller), x, fade)
            outputs.append(x)
        x = x.float()
        x = self.conv(torch.cat([x, minibatch_std(x, self.config.mbstd_group_size)], dim=1))
        return [*outputs, self.fc(x.flatten(1))]


def minibatch_std(x: Tensor, group_size: int) -> Tensor:
    """One map [N, 1, H, W] of the mean standard deviation within groups of samples (Karras et al. 2018, section 3)."""
    n, c, h, w = x.shape
    group = next(size for size in range(min(group_size, n), 0, -1) if n % size == 0)
    y = x.reshape(group, n // group, c, h, w)
    y = (y.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3))
    return y.repeat(group)[:, None, None, None].expand(n, 1, h, w)
