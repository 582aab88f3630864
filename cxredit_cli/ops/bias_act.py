"""Bias, activation, gain and clamp, and round them what a modulated convolution leaves to its output.

    y = clamp(gain * act_gain * act(x * scale + noise * noise_strength + bias)) * next_scale

`bias_act` is this with the bias alone; `scale_out` is the whole.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cxredit_cli.ops.choice import path_for

LEAKY_SLOPE = 0.2
Activation = Literal["linear", "lrelu"]
# Restores unit variance after the activation (Karras et al. 2018, equalised learning rate).
ACTIVATION_GAIN: dict[str, float] = {"linear": 1.0, "lrelu": 2.0**0.5}


def bias_act(
    x: Tensor, bias: Tensor, act: Activation = "lrelu", gain: float = 1.0, clamp: float | None = None
) -> Tensor:
    """clamp(gain * act_gain * act(x + bias)) for x [N, C, ...] and bias [C]; `gain` must be positive.

    `clamp` is the limit before `gain`: the result stays within +-clamp * gain.
    """
    return scale_out(x, bias, act, gain, clamp)


def scale_out(
    x: Tensor,
    bias: Tensor | None,
    act: Activation = "lrelu",
    gain: float = 1.0,
    clamp: float | None = None,
    scale: Tensor | None = None,
    noise: Tensor | None = None,
    noise_strength: Tensor | None = None,
    next_scale: Tensor | None = None,
) -> Tensor:
    """The formula of the module for x [N, C, ...], in x's dtype; what is None is left out.

    `bias` [C], `scale` and `next_scale` [N, C], `noise` [N or 1, 1, H, W] with its `noise_strength` [] or, without one,
    as it is. `gain` must be positive.
    """
    arguments = (x, bias, act, gain, clamp, scale, noise, noise_strength, next_scale)
    path = path_for(x)
    if path == "kernels":
        from cxredit_cli.ops.cuda import scale_out_kernels

        return scale_out_kernels(*arguments)
    return scale_out_reference(*arguments) if path == "reference" else scale_out_torch(*arguments)


def scale_in(x: Tensor, scale: Tensor) -> Tensor:
    """x [N, C, ...] times scale [N, C], in x's dtype: what comes before a modulated convolution."""
    if path_for(x) == "kernels":
        from cxredit_cli.ops.cuda import scale_in_kernels

        return scale_in_kernels(x, scale)
    return x * over_channels(scale, x).to(x.dtype)


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


def scale_out_reference(
    x: Tensor,
    bias: Tensor | None,
    act: Activation = "lrelu",
    gain: float = 1.0,
    clamp: float | None = None,
    scale: Tensor | None = None,
    noise: Tensor | None = None,
    noise_strength: Tensor | None = None,
    next_scale: Tensor | None = None,
) -> Tensor:
    """The same operation, step by step; the oracle for the fast paths."""
    y = x
    if scale is not None:
        y = y * over_channels(scale, x).to(x.dtype)
    if noise is not None:
        y = y + (noise if noise_strength is None else noise * noise_strength).to(x.dtype)
    if bias is not None:
        y = y + over_channels(bias, x).to(x.dtype)
    if act == "lrelu":
        y = torch.where(y > 0, y, y * LEAKY_SLOPE)
    y = y * (ACTIVATION_GAIN[act] * gain)
    if clamp is not None:
        y = y.clamp(-clamp * gain, clamp * gain)
    return y if next_scale is None else y * over_channels(next_scale, x).to(x.dtype)


def over_channels(values: Tensor, x: Tensor) -> Tensor:
    """`values` [C] or [N, C] in the shape that broadcasts over x [N, C, ...]."""
    return values.reshape(*([1] * (2 - values.ndim)), *values.shape, *([1] * (x.ndim - 2)))
