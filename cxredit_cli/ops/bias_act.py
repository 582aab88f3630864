"""Bias, activation, gain and clamp, and round them what a modulated convolution leaves to its output.

    y = clamp(gain * act_gain * act(x * scale + noise * noise_strength + bias)) * next_scale

`bias_act` is this with the bias alone; `scale_out` is the whole.
"""

import torch
from torch import Tensor

from cxredit_cli.ops.choice import path_for
from cxredit_cli.ops.cuda import scale_in_kernels, scale_out_kernels
from cxredit_cli.ops.torch_forms import ACTIVATION_GAIN, LEAKY_SLOPE, Activation, over_channels, scale_out_torch


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
        return scale_out_kernels(*arguments)
    return scale_out_reference(*arguments) if path == "reference" else scale_out_torch(*arguments)


def scale_in(x: Tensor, scale: Tensor) -> Tensor:
    """x [N, C, ...] times scale [N, C], in x's dtype: what comes before a modulated convolution."""
    if path_for(x) == "kernels":
        return scale_in_kernels(x, scale)
    return x * over_channels(scale, x).to(x.dtype)


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
