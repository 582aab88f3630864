"""upfirdn2d by its kernels: which one, and how the output is cut into threads.

Which and how is kept for each shape: on small images the work of Python takes longer than the GPU's.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from cxredit_cli.ops.kernels import launch as launching
from cxredit_cli.ops.kernels.catalogue import MARCHES
from cxredit_cli.ops.kernels.launch import Size
from cxredit_cli.ops.kernels.tensors import (
    ENOUGH_THREADS,
    MOST_BLOCKS,
    SUFFIXES,
    THREADS,
    ceil_div,
    memory_format,
    parameter,
    power_of_two,
)

CASES = {case: name for name, case in MARCHES.items()}
# Rows of a strip, or pairs of rows for up2: a multiple of the kernel's steps (March::STEPS), the longest first.
STRIPS = {"plain": (16, 8, 4), "up2": (12, 6, 3), "down2": (16, 8, 4)}
Padding = tuple[int, int, int, int]


class Resampling(NamedTuple):
    """A resampling of tensors of one shape and layout."""

    shape: tuple[int, int, int, int]  # of the output
    kernel: str
    grid: Size
    block: Size
    sizes: tuple[int | float, ...]  # the kernel's arguments behind the tensors


def output_size(size: int, up: int, down: int, before: int, after: int, taps: int) -> int:
    """Of the output along an axis; see ops/upfirdn2d.py."""
    return (size * up + before + after - taps) // down + 1


def upfirdn2d(
    x: Tensor, kernel: Tensor, up: int, down: int, padding: Padding, flip_filter: bool, gain: float
) -> Tensor:
    """`ops.upfirdn2d.upfirdn2d` of x [N, C, H, W], in x's layout."""
    layout = memory_format(x)
    x = x.contiguous(memory_format=layout)
    taps = parameter(kernel)
    assert taps is not None
    start = x.data_ptr()
    wide = layout == torch.channels_last and start % 16 == 0
    settings = (up, down, (*padding,), flip_filter, float(gain))
    chosen = plan(x.shape, taps.shape, x.dtype, layout == torch.channels_last, wide, *settings)
    y = torch.empty(chosen.shape, dtype=x.dtype, device=x.device, memory_format=layout)
    tensors = (start, y.data_ptr(), taps.data_ptr())
    launching.launch(x.device, chosen.kernel, chosen.grid, chosen.block, *tensors, *chosen.sizes)
    return y


@lru_cache(maxsize=4096)
def plan(
    shape: torch.Size,
    taps: torch.Size,
    dtype: torch.dtype,
    channels_last: bool,
    wide: bool,
    up: int,
    down: int,
    padding: Padding,
    flip_filter: bool,
    gain: float,
) -> Resampling:
    """Choose the kernel for x of a shape, type and layout; `wide`, if 16 bytes at once can be moved from its start."""
    n, c, h, w = shape
    (kh, kw), (left, right, top, bottom) = taps, padding
    out_h, out_w = output_size(h, up, down, top, bottom, kh), output_size(w, up, down, left, right, kw)
    # Planes are samples of one channel.
    samples, channels = (n, c) if channels_last else (n * c, 1)
    vector = 16 // dtype.itemsize
    wide = wide and channels % vector == 0
    vectors = channels // vector if wide else channels
    lanes = min(vectors & -vectors, 16)  # the largest power of two in it
    case = CASES.get((up, down)) if (kh, kw) == (4, 4) else None
    sizes: tuple[int | float, ...]
    sizes = (samples, h, w, channels, out_h, out_w, up, down, left, top, kh, kw, int(flip_filter), gain, lanes)
    if case is None:
        in_sample = out_h * out_w * vectors
    else:
        # A pair of output pixels stands round each pixel of a doubled image; with odd padding the first begins outside.
        (in_x, out_x), (in_y, out_y) = _origin(left, up), _origin(top, up)
        columns = ceil_div(out_w - out_x, up * (1 if wide else 2))
        rows = ceil_div(out_h - out_y, up)
        threads = samples * vectors * columns
        strips = STRIPS[case]
        strip = next((s for s in strips if threads * ceil_div(rows, s) >= ENOUGH_THREADS), strips[-1])
        in_sample = columns * vectors * ceil_div(rows, strip)
        sizes = (*sizes, in_x, in_y, out_x, out_y, strip)
    across = power_of_two(in_sample, THREADS)  # what is left of a block takes further samples
    grid = (ceil_div(in_sample, across), min(ceil_div(samples, THREADS // across), MOST_BLOCKS), 1)
    name = f"upfirdn2d_{case or 'general'}_{'wide' if wide else 'narrow'}_{SUFFIXES[dtype]}"
    return Resampling((n, c, out_h, out_w), name, grid, (across, THREADS // across, 1), sizes)


def _origin(before: int, up: int) -> tuple[int, int]:
    """The input and the output pixel that the first thread starts with, along an axis."""
    if up == 1:
        return -before, 0
    first = -((before + 1) // 2)
    return first, 2 * first + before
