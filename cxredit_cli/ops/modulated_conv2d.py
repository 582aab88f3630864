"""Modulated convolution (Karras et al. 2020, equations 1 to 3): a convolution whose weights depend on the style.

W'_{oikl} = s_i W_{oikl} and, demodulated, W''_{oikl} = W'_{oikl} / sqrt(sum_{ikl} W'^2_{oikl} + eps). Because s scales
input channels and the norm scales output channels, this is scale-in, one convolution shared by the batch, scale-out;
noise, bias and activation go with the scale-out, and so may the scale-in of the layer that follows.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from cxredit_cli.ops.bias_act import scale_in, scale_out, scale_out_reference
from cxredit_cli.ops.choice import only, path_for
from cxredit_cli.ops.conv2d import conv2d, pointwise_conv2d
from cxredit_cli.ops.torch_forms import Activation, over_channels
from cxredit_cli.ops.winograd import row_kernels, suits

EPSILON = 1e-8


class PreparedWeight(NamedTuple):
    """What a modulated convolution needs of its weight, whatever the styles: worth keeping while the weight stays."""

    weight: Tensor  # [O, I, k, k] in the dtype of the convolution, laid out as the library wants it
    energy: Tensor | None  # [O, I]: sum over the taps of the squares; None without demodulation
    rows: Tensor | None  # `row_kernels`, where a processor may convolve by them


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    up: int = 1,
    down: int = 1,
    kernel: Tensor | None = None,
    demodulate: bool = True,
    noise: Tensor | None = None,
    noise_strength: Tensor | None = None,
    bias: Tensor | None = None,
    act: Activation = "linear",
    clamp: float | None = None,
    prepared: PreparedWeight | None = None,
    scaled: bool = False,
    next_styles: Tensor | None = None,
) -> Tensor:
    """Convolve [N, I, H, W] with `weight` [O, I, k, k] modulated by `styles` [N, I]; "same" padding.

    `up` or `down` of 2 changes the resolution with the resampling `kernel`. Then come `noise` [N or 1, 1, H, W] times
    `noise_strength` [], `bias` [O], `act` and `clamp` as in `scale_out`. The convolution runs in x's dtype, the
    demodulation in that of weight and styles. `prepared`: what `prepare_weight` makes for these arguments, if at hand.
    `scaled`: x was multiplied by these styles already, as `next_styles` [N, O] of the layer before does it.
    """
    path = path_for(x)
    if path in ("reference", "traced"):
        form = modulated_conv2d_reference if path == "reference" else modulated_conv2d_traced
        return form(x, weight, styles, up, down, kernel, demodulate, noise, noise_strength, bias, act, clamp)
    w, energy, rows = prepared or prepare_weight(weight, x.dtype, demodulate, up)
    scale = None
    if demodulate:
        styles = within_half_range(styles, x.dtype)
        assert energy is not None
        scale = (styles.square() @ energy.t() + EPSILON).rsqrt()
    if w.shape[2] == 1 and up == down == 1 and not scaled:
        # Few outputs: each sample's own matrix costs less than a pass over x.
        y = pointwise_conv2d(x, (w * styles[:, None, :, None, None]).to(x.dtype))
    else:
        y = conv2d(x if scaled else scale_in(x, styles), w, up, down, kernel, rows=rows)
    next_scale = None if next_styles is None else within_half_range(next_styles, x.dtype)
    return scale_out(y, bias, act, 1.0, clamp, scale, noise, noise_strength, next_scale)


def prepare_weight(weight: Tensor, dtype: torch.dtype, demodulate: bool, up: int = 1) -> PreparedWeight:
    """Cast `weight` [O, I, k, k], lay it out and take its energy; differentiable.

    A transposed convolution (`up` 2) takes the weight with its first two axes exchanged, and wants that channels_last.
    """
    if demodulate and dtype == torch.float16:
        # Half precision overflows at 65504; demodulation undoes any scale of the weights and of the styles.
        weight = weight / (weight.abs().amax(dim=(1, 2, 3), keepdim=True) * weight[0].numel() ** 0.5)
    energy = weight.square().sum(dim=(2, 3)) if demodulate else None
    if up > 1:
        cast = weight.transpose(0, 1).to(dtype, memory_format=torch.channels_last).transpose(0, 1)
    else:
        cast = weight.to(dtype, memory_format=torch.channels_last)
    # For one use it is cheaper to take them where they are used, which not all resolutions do.
    rows = row_kernels(weight, dtype) if up == 1 and not weight.requires_grad and suits(weight) else None
    return PreparedWeight(cast, energy, rows)


def within_half_range(styles: Tensor, dtype: torch.dtype) -> Tensor:
    """Styles [N, C] whose largest is 1 where `dtype` is float16; demodulation undoes it."""
    return styles / styles.abs().amax(dim=1, keepdim=True) if dtype == torch.float16 else styles


def modulated_conv2d_reference(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    up: int = 1,
    down: int = 1,
    kernel: Tensor | None = None,
    demodulate: bool = True,
    noise: Tensor | None = None,
    noise_strength: Tensor | None = None,
    bias: Tensor | None = None,
    act: Activation = "linear",
    clamp: float | None = None,
) -> Tensor:
    """The textbook form: every sample's own weights, one grouped convolution; the oracle for the fast path."""
    n, i, h, w = x.shape
    o, _, k, _ = weight.shape
    modulated = weight[None] * styles[:, None, :, None, None]
    if demodulate:
        modulated = modulated * (modulated.square().sum(dim=(2, 3, 4), keepdim=True) + EPSILON).rsqrt()
    modulated = modulated.to(x.dtype).reshape(n * o, i, k, k)
    with only("reference"):
        y = conv2d(x.reshape(1, n * i, h, w), modulated, up, down, kernel, groups=n)
    y = y.reshape(n, o, *y.shape[2:])
    return scale_out_reference(y, bias, act, 1.0, clamp, None, noise, noise_strength)


def modulated_conv2d_traced(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    up: int = 1,
    down: int = 1,
    kernel: Tensor | None = None,
    demodulate: bool = True,
    noise: Tensor | None = None,
    noise_strength: Tensor | None = None,
    bias: Tensor | None = None,
    act: Activation = "linear",
    clamp: float | None = None,
) -> Tensor:
    """Scale-in, one convolution, scale-out, for any size of batch: what an exporter can follow.

    The textbook form's groups are as many as there are samples, and ONNX has no such number that is free.
    """
    scale = None
    if demodulate:
        scale = (styles.square() @ weight.square().sum(dim=(2, 3)).t() + EPSILON).rsqrt()
    y = conv2d(x * over_channels(styles, x), weight, up, down, kernel)
    return scale_out_reference(y, bias, act, 1.0, clamp, scale, noise, noise_strength)
