"""3x3 convolution with two thirds of the multiplications: Winograd's F(2, 3) down the columns, for processors.

Two neighbouring rows y0, y1 of the output need four rows d0 to d3 of the input. For a kernel with the rows g0, g1, g2

    y0 = m0 + m1 + m2                        y1 = m1 - m2 - m3
    m0 = (d0 - d2) * g0                      m1 = (d1 + d2) * (g0 + g1 + g2) / 2
    m2 = (d2 - d1) * (g0 - g1 + g2) / 2      m3 = (d1 - d3) * g2

where * convolves along the row: four products instead of six (Lavin and Gray 2016, arXiv 1509.09308, section 4.1). The
sums are passes over memory, so this pays with many channels. In both axes at once it would take fewer products still,
but more memory, and in bfloat16 three times the rounding of a plain convolution; this has twice.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_weight

from cxredit_cli.processor import cpu_has_bfloat16, cpu_has_matrix_tiles

MIN_CHANNELS = 128  # measured: 64 gain little, and fewer lose
MIN_PIXELS = 256  # of the batch: with fewer, reading the weights is what takes the time


def pays(x: Tensor, weight: Tensor) -> bool:
    """Whether this is faster than the library's own convolution of x [N, I, H, W] with `weight` [O, I, k, k]."""
    n, _, h, w = x.shape
    if not suits(weight) or h % 2 or n * h * w < MIN_PIXELS:
        return False
    # Arithmetic must be what takes the time; where bfloat16 is multiplied by tiles, it is memory.
    fast_bfloat16 = cpu_has_bfloat16() and not cpu_has_matrix_tiles()
    return x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and fast_bfloat16)


def suits(weight: Tensor) -> bool:
    """Whether the weight [O, I, k, k] is one for which this may pay."""
    outputs, inputs, k, _ = weight.shape
    on_processor = weight.device.type == "cpu" and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return on_processor and k == 3 and min(outputs, inputs) >= MIN_CHANNELS


def row_kernels(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """The kernels [4, O, I, 1, 3] of m0 to m3 for `weight` [O, I, 3, 3], each channels_last; without gradient."""
    g0, g1, g2 = weight.detach().permute(2, 0, 3, 1).unbind()
    outer, inner = (g0 + g2) / 2, g1 / 2
    return torch.stack([g0, outer + inner, outer - inner, g2]).to(dtype)[:, :, None].permute(0, 1, 4, 2, 3)


def winograd_conv2d(x: Tensor, weight: Tensor, kernels: Tensor) -> Tensor:
    """Convolve [N, I, H, W], H even, with `weight` [O, I, 3, 3], whose `row_kernels` are given; "same" padding.

    The result is channels_last. Differentiable twice, and by `weight` too.
    """
    return _Winograd.apply(x, weight, kernels, False)  # type: ignore[no-any-return]


class _Winograd(torch.autograd.Function):
    """The convolution, or transposed, which is its gradient by x and takes the same kernels in another order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, kernels: Tensor, transposed: bool) -> Tensor:
        """[N, I, H, W] -> [N, O, H, W], or transposed [N, O, H, W] -> [N, I, H, W]."""
        ctx.save_for_backward(x if weight.requires_grad else None, weight, kernels)
        ctx.transposed = transposed
        return convolve_rows(x, kernels, transposed)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Gradients of x and of the weight."""
        x, weight, kernels = ctx.saved_tensors
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = _Winograd.apply(gradient, weight, kernels, not ctx.transposed)
        if ctx.needs_input_grad[1]:
            inputs, outputs = (gradient, x) if ctx.transposed else (x, gradient)
            of_weight = conv2d_weight(inputs, weight.shape, outputs, padding=1)  # type: ignore[no-untyped-call]
        return of_x, of_weight, None, None


def convolve_rows(x: Tensor, kernels: Tensor, transposed: bool) -> Tensor:
    """The equations of the module; `transposed` flips the kernels' rows and columns and exchanges their channels."""
    n, c, h, w = x.shape
    padded = x.new_empty(n, h + 2, w, c)
    padded[:, 0], padded[:, -1] = 0, 0
    padded[:, 1:-1] = x.permute(0, 2, 3, 1)
    d0, d1, d2, d3 = (padded[:, row : row + h - 1 : 2] for row in range(4))

    def product(rows: Tensor, number: int) -> Tensor:
        images, kernel = rows.permute(0, 3, 1, 2), kernels[number]
        convolve = F.conv_transpose2d if transposed else F.conv2d
        return convolve(images, kernel, padding=(0, 1)).permute(0, 2, 3, 1)

    # Of the flipped kernel the first and the last row change places, and m2 keeps its sign.
    first, last = (3, 0) if transposed else (0, 3)
    m0, m1 = product(d0 - d2, first), product(d1 + d2, 1)
    m2, m3 = product(d2 - d1, 2), product(d1 - d3, last)
    y = x.new_empty(n, h // 2, 2, w, m0.shape[3])
    both = m1 + m2
    torch.add(m0, both, out=y[:, :, 0])
    torch.sub(torch.sub(m1, m2, out=both), m3, out=y[:, :, 1])
    return y.flatten(1, 2).permute(0, 3, 1, 2)
