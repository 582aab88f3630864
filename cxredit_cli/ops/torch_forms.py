"""The operations by library calls, arranged so that they are fast on every device."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

LEAKY_SLOPE = 0.2
Activation = Literal["linear", "lrelu"]
# Restores unit variance after the activation (Karras et al. 2018, equalised learning rate).
ACTIVATION_GAIN: dict[str, float] = {"linear": 1.0, "lrelu": 2.0**0.5}


def scale_out_torch(
    x: Tensor,
    bias: Tensor | None,
    act: Activation,
    gain: float,
    clamp: float | None,
    scale: Tensor | None,
    noise: Tensor | None,
    noise_strength: Tensor | None,
    next_scale: Tensor | None,
) -> Tensor:
    """`scale_out` in as few passes over memory as library calls allow.

    A leaky ReLU is positively homogeneous, so the gain goes into the small tensors before it.
    """
    total_gain = gain * ACTIVATION_GAIN[act]
    offset = None if bias is None else over_channels(bias * total_gain, x)
    if noise is not None:
        if noise_strength is not None:
            noise = noise * noise_strength
        noise = noise * total_gain
        if bias is not None and len(noise) == 1 < len(x):
            # One small tensor for the whole batch, not a pass of its own; built as channels_last, like the features.
            pixels = noise.permute(0, 2, 3, 1) + bias * total_gain
            offset, noise = pixels.permute(0, 3, 1, 2), None
    if scale is None:
        y = x * total_gain if offset is None else torch.add(offset.to(x.dtype), x, alpha=total_gain)
    else:
        factor = over_channels(scale * total_gain, x).to(x.dtype)
        if offset is None:
            y = x * factor
        elif torch.is_grad_enabled():
            y = (x * factor).add_(offset.to(x.dtype))  # addcmul's gradient takes a pass more than theirs
        else:
            y = torch.addcmul(offset.to(x.dtype), x, factor)
    if noise is not None:
        y = y.add_(noise.to(x.dtype))
    if act == "lrelu":
        y = F.leaky_relu_(y, LEAKY_SLOPE)
    if clamp is not None:
        y = y.clamp(-clamp * gain, clamp * gain)
    return y if next_scale is None else y * over_channels(next_scale, x).to(x.dtype)


def over_channels(values: Tensor, x: Tensor) -> Tensor:
    """`values` [C] or [N, C] in the shape that broadcasts over x [N, C, ...]."""
    return values.reshape(*([1] * (2 - values.ndim)), *values.shape, *([1] * (x.ndim - 2)))


def upfirdn2d_torch(
    x: Tensor,
    kernel: Tensor,
    up: int,
    down: int,
    padding: tuple[int, int, int, int],
    flip_filter: bool,
    gain: float,
) -> Tensor:
    """`upfirdn2d` by library calls.

    The zeros that `up` inserts are never multiplied: a transposed convolution skips them. Decimation takes every
    `down`-th pixel of a plain depthwise convolution; the backward of a strided one is many times slower on CPUs.
    """
    channels = x.shape[1]
    kh, kw = kernel.shape
    left, right, top, bottom = padding
    dtype = x.dtype
    if up > 1 and dtype == torch.bfloat16 and not x.is_cuda:
        x = x.float()  # oneDNN's transposed depthwise convolution takes ten times as long in bfloat16
    taps = (kernel * gain).to(x.dtype)
    if up > 1:
        weight = taps.flip(0, 1) if flip_filter else taps
        weight = weight[None, None].expand(channels, 1, kh, kw).contiguous()
        x = F.conv_transpose2d(x, weight, stride=up, groups=channels)
        x = F.pad(x.to(dtype), (left - kw + 1, right - kw + up, top - kh + 1, bottom - kh + up))
    else:
        weight = taps if flip_filter else taps.flip(0, 1)
        weight = weight[None, None].expand(channels, 1, kh, kw).contiguous()
        if left == right >= 0 and top == bottom >= 0:
            x = F.conv2d(x, weight, padding=(top, left), groups=channels)
        else:
            x = F.conv2d(F.pad(x, padding), weight, groups=channels)
    return x[:, :, ::down, ::down] if down > 1 else x
