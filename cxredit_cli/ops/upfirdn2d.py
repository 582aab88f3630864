"""Up-sample by zero-insertion, pad, filter with a small FIR kernel, down-sample: one operation.

Conventions (Karras et al. 2020, StyleGAN2): `padding` is (left, right, top, bottom) in pixels of the up-sampled image
and may be negative, which crops; the filter is convolved (flipped) unless `flip_filter`; the output size along an axis
is (size * up + pad_before + pad_after - taps) // down + 1.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cxredit_cli.ops.choice import path_for
from cxredit_cli.ops.cuda import upfirdn2d_kernels
from cxredit_cli.ops.torch_forms import upfirdn2d_torch

RESAMPLE_TAPS = (1.0, 3.0, 3.0, 1.0)


def setup_filter(taps: Sequence[float] = RESAMPLE_TAPS, device: torch.device | None = None) -> Tensor:
    """The separable 2-D filter [k, k] of `taps`, float32, that sums to one."""
    one_axis = torch.tensor(taps, dtype=torch.float32, device=device)
    kernel = torch.outer(one_axis, one_axis)
    return kernel / kernel.sum()


def upfirdn2d(
    x: Tensor,
    kernel: Tensor,
    up: int = 1,
    down: int = 1,
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """Resample [N, C, H, W] by up/down with `kernel` [kh, kw]; see the module for the conventions."""
    arguments = (x, kernel, up, down, padding, flip_filter, gain)
    path = path_for(x)
    if path == "kernels":
        return upfirdn2d_kernels(*arguments)
    return upfirdn2d_reference(*arguments) if path == "reference" else upfirdn2d_torch(*arguments)


def upfirdn2d_reference(
    x: Tensor,
    kernel: Tensor,
    up: int = 1,
    down: int = 1,
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """The same operation, step by step as its name says; the oracle for the fast path."""
    n, c, h, w = x.shape
    x = F.pad(x.reshape(n, c, h, 1, w, 1), (0, up - 1, 0, 0, 0, up - 1)).reshape(n, c, h * up, w * up)
    x = F.pad(x, padding)
    taps = (kernel if flip_filter else kernel.flip(0, 1)).to(x.dtype) * gain
    x = F.conv2d(x, taps[None, None].expand(c, 1, -1, -1), groups=c)
    return x[:, :, ::down, ::down]


def upsample2d(x: Tensor, kernel: Tensor, up: int = 2) -> Tensor:
    """Enlarge [N, C, H, W] `up` times; the mean grey value is kept."""
    kh, kw = kernel.shape
    padding = ((kw + up - 1) // 2, (kw - up) // 2, (kh + up - 1) // 2, (kh - up) // 2)
    return upfirdn2d(x, kernel, up=up, padding=padding, gain=up**2)


def downsample2d(x: Tensor, kernel: Tensor, down: int = 2) -> Tensor:
    """Shrink [N, C, H, W] `down` times."""
    kh, kw = kernel.shape
    padding = ((kw - down + 1) // 2, (kw - down) // 2, (kh - down + 1) // 2, (kh - down) // 2)
    return upfirdn2d(x, kernel, down=down, padding=padding)
