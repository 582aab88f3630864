""" "Same" convolution with optional resampling by the FIR filter."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cxredit_cli.ops import winograd
from cxredit_cli.ops.choice import path_for
from cxredit_cli.ops.upfirdn2d import downsample2d, upfirdn2d, upsample2d


def conv2d(
    x: Tensor,
    weight: Tensor,
    up: int = 1,
    down: int = 1,
    kernel: Tensor | None = None,
    groups: int = 1,
    rows: Tensor | None = None,
) -> Tensor:
    """Convolve [N, groups * I, H, W] with `weight` [groups * O, I, k, k], k odd; "same" padding.

    The resolution changes by up / down, one of which must be 1; the other needs the resampling `kernel` [taps, taps].
    `rows`: the weight's `row_kernels`, if at hand.
    """
    if (up > 1 or down > 1) and kernel is None:
        raise ValueError("A resampling convolution needs the resampling kernel; expected a tensor, received None.")
    k = weight.shape[2]
    if kernel is None or up == down == 1:
        if k == 1:
            return pointwise_conv2d(x, weight, groups)
        if groups == 1 and path_for(x) == "torch" and winograd.pays(x, weight):
            return winograd.winograd_conv2d(x, weight, winograd.row_kernels(weight, x.dtype) if rows is None else rows)
        return F.conv2d(x, weight, padding=k // 2, groups=groups)
    if k == 1:
        y = pointwise_conv2d(downsample2d(x, kernel, down) if down > 1 else x, weight, groups)
        return upsample2d(y, kernel, up) if up > 1 else y
    if up > 1:
        return upsampling_conv2d(x, weight, kernel, up, groups)
    # Filter at full resolution with room for the convolution's own border, then a strided convolution.
    taps = kernel.shape[0]
    before, after = (taps - down + 1) // 2 + k // 2, (taps - down) // 2 + k // 2
    return F.conv2d(upfirdn2d(x, kernel, padding=(before, after, before, after)), weight, stride=down, groups=groups)


def upsampling_conv2d(x: Tensor, weight: Tensor, kernel: Tensor, up: int, groups: int) -> Tensor:
    """Convolve the enlarged x with `weight` [groups * O, I, k, k]: transposed convolution, then the filter."""
    k = weight.shape[2]
    outputs, inputs = weight.shape[:2]
    transposed = weight.view(groups, outputs // groups, inputs, k, k).transpose(1, 2).flatten(0, 1)
    y = F.conv_transpose2d(x, transposed, stride=up, groups=groups)
    pads = []
    for taps in reversed(kernel.shape):
        pads += [k // 2 + (taps + up - 1) // 2 - (k - 1), k // 2 + (taps - up) // 2 - (k - up)]
    return upfirdn2d(y, kernel, padding=(pads[0], pads[1], pads[2], pads[3]), gain=up**2)


def pointwise_conv2d(x: Tensor, weight: Tensor, groups: int = 1) -> Tensor:
    """Convolve [N, groups * I, H, W] with `weight` [groups * O, I, 1, 1], or [N, O, I, 1, 1] for each sample its own.

    A matrix product over pixels, and channels_last: on CPUs the library's own 1x1 convolution of few channels is far
    slower: 16 x 1 -> 32 channels at 128x128 in bfloat16 takes 33 ms on one core, this 1 ms.
    """
    if groups > 1 or path_for(x) == "reference":
        return F.conv2d(x, weight, groups=groups)
    matrix = weight.flatten(-3)
    pixels = x.permute(0, 2, 3, 1)
    if matrix.ndim == 3:
        y = torch.bmm(pixels.flatten(1, 2), matrix.mT).reshape(*pixels.shape[:3], -1)
    else:
        y = torch.matmul(pixels, matrix.t())
    return y.permute(0, 3, 1, 2)
