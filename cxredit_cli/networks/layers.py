"""What the generator and the discriminator share: feature maps by resolution, and layers with equalised learning rate
(Karras et al. 2018)."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cxredit_cli.ops.bias_act import bias_act
from cxredit_cli.ops.conv2d import conv2d
from cxredit_cli.ops.torch_forms import Activation
from cxredit_cli.ops.upfirdn2d import setup_filter


class EqualizedLinear(nn.Module):
    """Fully connected layer whose stored weights are N(0, 1) / lr_mul and are scaled at run time."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        act: Activation = "linear",
        lr_mul: float = 1.0,
        bias_init: float = 0.0,
    ) -> None:
        super().__init__()
        self.act: Activation = act
        self.lr_mul = lr_mul
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_mul)
        self.bias = nn.Parameter(torch.full((out_features,), bias_init / lr_mul))
        self.weight_gain = lr_mul / in_features**0.5

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_features] -> [N, out_features], in x's dtype."""
        y = F.linear(x * self.weight_gain, self.weight.to(x.dtype))  # the input is smaller than the weight
        return bias_act(y, self.bias * self.lr_mul, self.act)

    def extra_repr(self) -> str:
        """Shown by `print(module)`."""
        return f"{self.weight.shape[1]} -> {self.weight.shape[0]}, {self.act}, lr_mul={self.lr_mul:g}"


class EqualizedConv2d(nn.Module):
    """ "Same" convolution with run-time weight scale, optionally filtered and down-sampled by two."""

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        act: Activation = "linear",
        bias: bool = True,
        down: int = 1,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.act: Activation = act
        self.down = down
        self.clamp = clamp
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.weight_gain = 1 / (in_channels * kernel_size**2) ** 0.5
        self.register_buffer("resample_filter", setup_filter(), persistent=False)

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """[N, in, H, W] -> [N, out, H / down, W / down] in x's dtype, multiplied by `gain`."""
        w = (self.weight * self.weight_gain).to(x.dtype)
        y = conv2d(x, w, down=self.down, kernel=self.resample_filter)
        if self.bias is None:
            return y * gain
        return bias_act(y, self.bias, self.act, gain, self.clamp)

    def extra_repr(self) -> str:
        """Shown by `print(module)`."""
        out_channels, in_channels, k, _ = self.weight.shape
        return f"{in_channels} -> {out_channels}, {k}x{k}, {self.act}, down={self.down}"


def normalize_2nd_moment(x: Tensor) -> Tensor:
    """Scale each row of [N, C] to unit mean square."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


def channels_at(resolution: int, channel_base: int, channel_max: int) -> int:
    """Feature maps at a resolution: channel_base / resolution, at most channel_max."""
    return max(min(channel_base // resolution, channel_max), 1)


class Widths(Protocol):
    """How many feature maps a network has: by the law of `channels_at`, or as `channels` lists them from 4x4 up."""

    @property
    def channel_base(self) -> int: ...

    @property
    def channel_max(self) -> int: ...

    @property
    def channels(self) -> tuple[int, ...] | None: ...


def maps(config: Widths, resolution: int) -> int:
    """Feature maps of a network at a resolution. Raises ValueError where its list ends before."""
    if config.channels is None:
        return channels_at(resolution, config.channel_base, config.channel_max)
    level = resolution.bit_length() - 3
    if level >= len(config.channels):
        raise ValueError(f"channels lists {len(config.channels)} numbers, which end below {resolution}x{resolution}")
    return config.channels[level]


def architecture(fields: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """What is written of a configuration (for `asdict`): its fields, without a list of channels where there is none."""
    return {name: value for name, value in fields if name != "channels" or value is not None}


def block_resolutions(resolution: int) -> list[int]:
    """4, 8, ... up to `resolution`, which must be a power of two of at least 8."""
    if resolution < 8 or resolution & (resolution - 1):
        raise ValueError(f"The resolution must be a power of two of at least 8, but it is {resolution}.")
    return [2**i for i in range(2, resolution.bit_length())]


def runs_in(precision: torch.dtype, resolution: int, full_resolution: int) -> torch.dtype:
    """The dtype of a block: fp16 only in the four highest resolutions, where its range suffices; bf16 everywhere."""
    if precision == torch.float16 and resolution < max(full_resolution // 8, 8):
        return torch.float32
    return precision
