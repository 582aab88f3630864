"""scale_in and scale_out and their backward by their kernels."""

import torch
from torch import Tensor

from cxredit_cli.ops.kernels import launch as launching
from cxredit_cli.ops.kernels.tensors import (
    MOST_BLOCKS,
    SUFFIXES,
    Pass,
    address,
    aligned,
    ceil_div,
    extents,
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
    order, samples, channels, pixels = extents(x)
    if order == "planes" and target == torch.channels_last and channels > 1:
        grid = (ceil_div(pixels, 32), min(ceil_div(channels, 32), MOST_BLOCKS), min(samples, MOST_BLOCKS))
        arguments = (x.data_ptr(), y.data_ptr(), address(factors), samples, channels, pixels)
        launching.launch(x.device, f"scale_in_transposed_{name}", grid, (32, 8, 1), *arguments)
        return y
    cut = plan(order, samples, channels, pixels, _vector(x, x, y), FORWARD_ROUNDS)
    _launch(f"scale_in_{cut.layout}_{cut.width}_{name}", cut, x, y.data_ptr(), address(factors))
    return y


def scale_in_backward(grad: Tensor, x: Tensor, scale: Tensor, wanted: list[bool]) -> tuple[Tensor, Tensor]:
    """Gradients of x and of scale [N, C] as `wanted`, an empty tensor for each that is not."""
    layout = memory_format(x)
    grad, x = grad.contiguous(memory_format=layout), x.contiguous(memory_format=layout)
    grad_x = torch.empty_like(x) if wanted[0] else None
    order, samples, channels, pixels = extents(x)
    cut = plan(order, samples, channels, pixels, _vector(x, x, grad, grad_x), BACKWARD_ROUNDS)
    partials = _partials(cut, 1, x) if wanted[1] else None
    name = f"{cut.layout}_{cut.width}_{SUFFIXES[x.dtype]}_{SUFFIXES[grad.dtype]}"
    factors = parameter(scale)
    tensors = (x.data_ptr(), address(factors), address(grad_x), address(partials))
    _launch(f"scale_in_backward_{name}", cut, grad, *tensors)
    nothing = scale.new_empty(0)
    return x.new_empty(0) if grad_x is None else grad_x, nothing if partials is None else _total(partials)[0]


def scale_out(x: Tensor, parts: Parts, gain: float, slope: float, limit: float) -> Tensor:
    """`ops.formulas.scale_out` of x [N, C, ...], in x's layout."""
    x = x.contiguous(memory_format=memory_format(x))
    y = torch.empty_like(x)
    cut = _plan_out(x, parts, 16 // x.element_size(), FORWARD_ROUNDS, y)
    small, noise_stride = _parameters(parts, cut)
    name = f"scale_out_{cut.layout}_{cut.width}_{SUFFIXES[x.dtype]}"
    _launch(name, cut, x, y.data_ptr(), *map(address, small), noise_stride, float(gain), float(slope), float(limit))
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
    grad_x = torch.empty_like(x) if want_x else None
    cut = _plan_out(x, parts, 4, BACKWARD_ROUNDS, grad, grad_x, noise_grad=want_noise)
    small, noise_stride = _parameters(parts, cut)
    _, noise, strength, _, _ = parts
    # In the order of the kernel's slices of partial sums.
    sums = {"scale": want_scale, "bias": want_bias, "next": want_next, "strength": want_strength}
    names = [name for name, wants in sums.items() if wants]
    bits = sum(1 << bit for bit, wants in enumerate(sums.values()) if wants)
    partials = _partials(cut, len(names), x) if names else None
    of_noise = None
    if want_noise:
        of_noise = torch.empty((cut.blocks_of_channels, cut.samples, cut.pixels), dtype=torch.float32, device=x.device)
    tensors = (x.data_ptr(), address(grad_x), address(partials), address(of_noise), bits)
    factors = (noise_stride, float(gain), float(slope), float(limit))
    name = f"scale_out_backward_{cut.layout}_{cut.width}_{SUFFIXES[x.dtype]}"
    _launch(name, cut, grad, *tensors, *map(address, small), *factors)
    nothing = torch.empty(0, dtype=torch.float32, device=x.device)
    found = dict(zip(names, _total(partials), strict=True)) if partials is not None else {}
    grad_noise = nothing
    if of_noise is not None and noise is not None:
        per_sample = of_noise.sum(dim=0).view(len(x), 1, *x.shape[2:])
        grad_noise = per_sample if len(noise) == len(x) else per_sample.sum(dim=0, keepdim=True)
    return (
        x.new_empty(0) if grad_x is None else grad_x,
        found.get("scale", nothing),
        grad_noise,
        found["strength"].sum().view(() if strength is None else strength.shape) if want_strength else nothing,
        found["bias"].sum(dim=0) if want_bias else nothing,
        found.get("next", nothing),
    )


def _plan_out(
    x: Tensor, parts: Parts, vector: int, rounds: int, *others: Tensor | None, noise_grad: bool = False
) -> Pass:
    order, samples, channels, pixels = extents(x)
    if noise_grad:
        order = "channels_last"  # of one channel both layouts are the same
    scale, noise, _, _, next_scale = parts
    if order == "channels_last" and scale is None and noise is None and next_scale is None:
        samples, pixels = 1, samples * pixels  # nothing tells the samples apart
    return plan(order, samples, channels, pixels, vector if aligned(x, *others) else 1, rounds)


def _vector(smaller: Tensor, *tensors: Tensor | None) -> int:
    """Elements in 16 bytes of `smaller`, if all tensors are aligned for that."""
    return 16 // smaller.element_size() if aligned(*tensors) else 1


def _parameters(parts: Parts, cut: Pass) -> tuple[list[Tensor | None], int]:
    """The small tensors as the kernels take them, and the step from one sample's noise to the next."""
    small = [parameter(part) for part in parts]
    noise = small[1]
    return small, 0 if noise is None or len(noise) == 1 else cut.pixels


def _partials(cut: Pass, kinds: int, x: Tensor) -> Tensor:
    return torch.empty((kinds, cut.samples, cut.chunks, cut.channels), dtype=torch.float32, device=x.device)


def _total(partials: Tensor) -> Tensor:
    """Partial sums [kinds, samples, chunks, channels] -> sums [kinds, samples, channels], always in the same order."""
    return partials[:, :, 0] if partials.shape[2] == 1 else partials.sum(dim=2)


def _launch(name: str, cut: Pass, first: Tensor, *arguments: int | float) -> None:
    sizes = (cut.samples, cut.channels, cut.pixels, cut.blocks_of_channels, cut.pixels_of_block)
    launching.launch(first.device, name, cut.grid, cut.block, first.data_ptr(), *arguments, *sizes)
