"""scale_in and scale_out and their backward by their kernels.

How a tensor is cut into blocks is kept for each shape: on small images the work of Python takes longer than the GPU's.
"""

from functools import lru_cache

import torch
from torch import Tensor

from cxredit_cli.ops.kernels import launch as launching
from cxredit_cli.ops.kernels.tensors import (
    MOST_BLOCKS,
    SUFFIXES,
    Pass,
    address,
    ceil_div,
    memory_format,
    parameter,
    plan,
)

FORWARD_ROUNDS = 8
BACKWARD_ROUNDS = 16  # more, so that few partial sums are left over
Parts = tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None, Tensor | None]


def scale_in(x: Tensor, scale: Tensor, dtype: torch.dtype, channels_last: bool) -> Tensor:
    """x [N, C, ...] * scale [N, C] in `dtype`; channels_last where that is asked for, else in x's layout."""
    layout = memory_format(x)
    x = x.contiguous(memory_format=layout)
    factors = parameter(scale)
    target = torch.channels_last if channels_last else layout
    y = torch.empty(x.shape, dtype=dtype, device=x.device, memory_format=target)
    name = f"{SUFFIXES[x.dtype]}_{SUFFIXES[dtype]}"
    start = x.data_ptr()
    if layout != target and x.shape[1] > 1 and x.shape[2] * x.shape[3] > 1:
        samples, channels, h, w = x.shape
        grid = (ceil_div(h * w, 32), min(ceil_div(channels, 32), MOST_BLOCKS), min(samples, MOST_BLOCKS))
        arguments = (start, y.data_ptr(), address(factors), samples, channels, h * w)
        launching.launch(x.device, f"scale_in_transposed_{name}", grid, (32, 8, 1), *arguments)
        return y
    cut = _plan(x.shape, layout, 0 if start % 16 else 16 // x.element_size(), FORWARD_ROUNDS)
    kernel = f"scale_in_{cut.layout}_{cut.width}_{name}"
    launching.launch(x.device, kernel, cut.grid, cut.block, start, y.data_ptr(), address(factors), *cut.sizes)
    return y


def scale_in_backward(grad: Tensor, x: Tensor, scale: Tensor, wanted: list[bool]) -> tuple[Tensor, Tensor]:
    """Gradients of x and of scale [N, C] as `wanted`, an empty tensor for each that is not."""
    layout = memory_format(x)
    grad, x = grad.contiguous(memory_format=layout), x.contiguous(memory_format=layout)
    factors = parameter(scale)
    grad_x = torch.empty_like(x) if wanted[0] else x.new_empty(0)
    grad_scale = torch.empty(scale.shape if wanted[1] else 0, dtype=torch.float32, device=x.device)
    starts = (grad.data_ptr(), x.data_ptr())
    misaligned = starts[0] % 16 or starts[1] % 16
    cut = _plan(x.shape, layout, 0 if misaligned else 16 // x.element_size(), BACKWARD_ROUNDS)
    partials = torch.empty(cut.partials if wanted[1] else 0, dtype=torch.float32, device=x.device)
    name = f"{cut.layout}_{cut.width}_{SUFFIXES[x.dtype]}_{SUFFIXES[grad.dtype]}"
    tensors = (*starts, address(factors), _wanted(grad_x, wanted[0]), _wanted(partials, wanted[1]))
    launching.launch(x.device, f"scale_in_backward_{name}", cut.grid, cut.block, *tensors, *cut.sizes)
    if wanted[1]:
        _finish(x.device, cut, partials, scale=grad_scale)
    return grad_x, grad_scale


def scale_out(x: Tensor, parts: Parts, gain: float, slope: float, limit: float) -> Tensor:
    """`ops.formulas.scale_out` of x [N, C, ...], in x's layout."""
    layout = memory_format(x)
    x = x.contiguous(memory_format=layout)
    y = torch.empty_like(x)
    start = x.data_ptr()
    scale, noise, _, _, next_scale = small = [parameter(part) for part in parts]
    alike = scale is None and noise is None and next_scale is None
    cut = _plan(x.shape, layout, 0 if start % 16 else 16 // x.element_size(), FORWARD_ROUNDS, alike)
    noise_stride = 0 if noise is None or len(noise) == 1 else cut.pixels
    name = f"scale_out_{cut.layout}_{cut.width}_{SUFFIXES[x.dtype]}"
    tensors = (start, y.data_ptr(), *map(address, small))
    factors = (noise_stride, float(gain), float(slope), float(limit))
    launching.launch(x.device, name, cut.grid, cut.block, *tensors, *factors, *cut.sizes)
    return y


def scale_out_backward(
    grad: Tensor, x: Tensor, parts: Parts, gain: float, slope: float, limit: float, wanted: list[bool]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, scale, noise, strength, bias and next_scale as `wanted`, an empty tensor for each that is not."""
    want_x, want_scale, want_noise, want_strength, want_bias, want_next = wanted
    layout = memory_format(x)
    if want_noise and x.ndim == 4:
        layout = torch.channels_last  # a pixel's channels are added up where they lie side by side
    grad, x = grad.contiguous(memory_format=layout), x.contiguous(memory_format=layout)
    starts = (grad.data_ptr(), x.data_ptr())
    scale, noise, strength, _, next_scale = small = [parameter(part) for part in parts]
    alike = scale is None and noise is None and next_scale is None
    cut = _plan(x.shape, layout, 0 if starts[0] % 16 or starts[1] % 16 else 4, BACKWARD_ROUNDS, alike)

    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.float32, device=x.device)

    grad_x = torch.empty_like(x) if want_x else x.new_empty(0)
    of_scale, of_next = (empty(*x.shape[:2]) if wants else empty(0) for wants in (want_scale, want_next))
    of_bias = empty(x.shape[1]) if want_bias else empty(0)
    of_strength = empty(*strength.shape) if want_strength and strength is not None else empty(0)
    kinds = want_scale + want_bias + want_next
    partials, of_blocks = empty(kinds * cut.partials), empty(cut.blocks if want_strength else 0)
    of_noise = empty(cut.blocks_of_channels, cut.samples, cut.pixels) if want_noise else empty(0)
    name = f"scale_out_backward_{cut.layout}_{cut.width}_{SUFFIXES[x.dtype]}"
    results = (_wanted(grad_x, want_x), _wanted(partials, kinds > 0), _wanted(of_blocks, want_strength))
    kinds_wanted = want_scale + 2 * want_bias + 4 * want_next  # the bits of Wanted in scale_out.cu
    noise_stride = 0 if noise is None or len(noise) == 1 else cut.pixels
    factors = (noise_stride, float(gain), float(slope), float(limit))
    tensors = (*starts, *results, _wanted(of_noise, want_noise), kinds_wanted, *map(address, small))
    launching.launch(x.device, name, cut.grid, cut.block, *tensors, *factors, *cut.sizes)
    if kinds or want_strength:
        _finish(x.device, cut, partials, of_scale, of_bias, of_next, of_strength, of_blocks)
    if want_noise and noise is not None:
        per_sample = of_noise[0] if cut.blocks_of_channels == 1 else of_noise.sum(dim=0)
        per_sample = per_sample.view(len(x), 1, *x.shape[2:])
        of_noise = per_sample if len(noise) == len(x) else per_sample.sum(dim=0, keepdim=True)
    return grad_x, of_scale, of_noise, of_strength, of_bias, of_next


def _finish(
    device: torch.device,
    cut: Pass,
    partials: Tensor,
    scale: Tensor | None = None,
    bias: Tensor | None = None,
    next_scale: Tensor | None = None,
    strength: Tensor | None = None,
    of_blocks: Tensor | None = None,
) -> None:
    """Add up the partial sums of a backward kernel; an empty or absent tensor was not asked for."""
    results = (
        0 if each is None or each.numel() == 0 else each.data_ptr() for each in (scale, bias, next_scale, strength)
    )
    grid = (ceil_div(cut.channels, 32), 4, min(cut.samples, MOST_BLOCKS))
    sizes = (cut.samples, cut.chunks, cut.channels, cut.blocks)
    tensors = (partials.data_ptr(), address(of_blocks), *results)
    launching.launch(device, "finish_sums", grid, (32, 8, 1), *tensors, *sizes)


def _wanted(result: Tensor, wanted: bool) -> int:
    return result.data_ptr() if wanted else 0


@lru_cache(maxsize=4096)
def _plan(shape: torch.Size, layout: torch.memory_format, vector: int, rounds: int, alike: bool = False) -> Pass:
    """How a tensor is cut; `vector` 0: not aligned. `alike`: nothing tells the samples apart, so they may be one."""
    samples, channels = shape[:2]
    pixels = shape.numel() // (samples * channels)
    # Without pixels the channels are what lies side by side.
    order = "channels_last" if pixels == 1 or layout == torch.channels_last else "planes"
    if order == "channels_last" and alike:
        samples, pixels = 1, samples * pixels
    return plan(order, samples, channels, pixels, max(vector, 1), rounds)
