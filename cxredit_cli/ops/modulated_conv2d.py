"""Modulated convolution (Karras et al. 2020, equations 1 to 3): a convolution whose weights depend on the style.

W'_{oikl} = s_i W_{oikl} and, demodulated, W''_{oikl} = W'_{oikl} / sqrt(sum_{ikl} W'^2_{oikl} + eps). Because s scales
input channels and the norm scales output channels, this is scale-in, one convolution shared by the batch, scale-out.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from cxredit_cli.ops.pointwise import pointwise_conv2d
from cxredit_cli.ops.upfirdn2d import upfirdn2d, upfirdn2d_reference

EPSILON = 1e-8


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    up: int = 1,
    kernel: Tensor | None = None,
    demodulate: bool = True,
    noise: Tensor | None = None,
) -> Tensor:
    """Convolve [N, I, H, W] with `weight` [O, I, k, k] modulated by `styles` [N, I]; "same" padding.

    `up` 2 doubles the resolution with the resampling `kernel`; `noise` [N or 1, 1, H, W] is added at the end. The
    convolution runs in x's dtype; the demodulation is computed in float32.
    """
    if demodulate and x.dtype == torch.float16:
        # Half precision overflows at 65504; demodulation undoes any scale of the weights and of the styles.
        fan_in = weight[0].numel()
        weight = weight / (weight.abs().amax(dim=(1, 2, 3), keepdim=True) * fan_in**0.5)
        styles = styles / styles.abs().amax(dim=1, keepdim=True)
    y = x * styles.to(x.dtype)[:, :, None, None]
    w = weight.to(x.dtype)
    padding = weight.shape[2] // 2
    if up == 1:
        y = F.conv2d(y, w, padding=padding) if padding else pointwise_conv2d(y, w)
    else:
        if kernel is None:
            raise ValueError(
                "An up-sampling convolution needs the resampling kernel; expected a tensor, received None."
            )
        y = upsampling_conv2d(y, w, kernel, up)
    if demodulate:
        y = y * demodulation(weight, styles).to(y.dtype)[:, :, None, None]
    return y if noise is None else y + noise.to(y.dtype)


def demodulation(weight: Tensor, styles: Tensor) -> Tensor:
    """The factors [N, O] that give each output channel of each sample unit expected variance."""
    energy = weight.float().square().sum(dim=(2, 3))
    return (styles.float().square() @ energy.t() + EPSILON).rsqrt()


def upsampling_conv2d(x: Tensor, weight: Tensor, kernel: Tensor, up: int) -> Tensor:
    """Convolve the `up` times enlarged x with `weight` [O, I, k, k]: transposed convolution, then the filter."""
    k = weight.shape[2]
    y = F.conv_transpose2d(x, weight.transpose(0, 1), stride=up)
    pads = []
    for taps in reversed(kernel.shape):
        pads += [k // 2 + (taps + up - 1) // 2 - (k - 1), k // 2 + (taps - up) // 2 - (k - up)]
    return upfirdn2d(y, kernel, padding=(pads[0], pads[1], pads[2], pads[3]), gain=up**2)


def modulated_conv2d_reference(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    up: int = 1,
    kernel: Tensor | None = None,
    demodulate: bool = True,
    noise: Tensor | None = None,
) -> Tensor:
    """The textbook form: every sample's own weights, one grouped convolution; the oracle for the fast path."""
    n, i, h, w = x.shape
    o, _, k, _ = weight.shape
    modulated = weight[None] * styles[:, None, :, None, None]
    if demodulate:
        modulated = modulated * (modulated.square().sum(dim=(2, 3, 4), keepdim=True) + EPSILON).rsqrt()
    modulated = modulated.to(x.dtype)
    if up == 1:
        y = F.conv2d(x.reshape(1, n * i, h, w), modulated.reshape(n * o, i, k, k), padding=k // 2, groups=n)
    else:
        if kernel is None:
            raise ValueError(
                "An up-sampling convolution needs the resampling kernel; expected a tensor, received None."
            )
        # Enlarge with room for the convolution's own border, then convolve: a true convolution, so the weights flip.
        taps = kernel.shape[0]
        before, after = k // 2 + (taps + up - 1) // 2, k // 2 + (taps - up) // 2
        y = upfirdn2d_reference(x, kernel, up=up, padding=(before, after, before, after), gain=up**2)
        y = F.conv2d(y.reshape(1, n * i, *y.shape[2:]), modulated.flip(3, 4).reshape(n * o, i, k, k), groups=n)
    y = y.reshape(n, o, *y.shape[2:])
    return y if noise is None else y + noise.to(y.dtype)
