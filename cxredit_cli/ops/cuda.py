"""The CUDA kernels as torch's paths call them, and the implementations of the operators: by kernels and by formulas.

What the kernels compute is in formulas.py, which is also the implementation where there are none, so that all but the
kernels themselves is tested on a CPU.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from cxredit_cli.ops import cuda_gradients as gradients
from cxredit_cli.ops import formulas
from cxredit_cli.ops.kernels import resample, scaling, state
from cxredit_cli.ops.kernels.compiler import KernelError
from cxredit_cli.ops.kernels.tensors import MOST_ELEMENTS, memory_format, within_limits
from cxredit_cli.ops.operators import SCALE_IN, SCALE_IN_BACKWARD, SCALE_OUT, SCALE_OUT_BACKWARD, UPFIRDN2D
from cxredit_cli.ops.torch_forms import ACTIVATION_GAIN, LEAKY_SLOPE, Activation, scale_out_torch, upfirdn2d_torch

Padding = tuple[int, int, int, int]
Wanted = list[bool]
Result = TypeVar("Result")


# What ops/upfirdn2d.py, bias_act.py and modulated_conv2d.py call: as the torch paths, which take what kernels do not.


def upfirdn2d_kernels(
    x: Tensor, kernel: Tensor, up: int, down: int, padding: Padding, flip_filter: bool, gain: float
) -> Tensor:
    """`upfirdn2d` by its kernels."""
    h, w = x.shape[2] * up + padding[2] + padding[3], x.shape[3] * up + padding[0] + padding[1]
    fits = h >= kernel.shape[0] and w >= kernel.shape[1] and h * w * x.shape[1] < MOST_ELEMENTS
    if not fits or not _takes(x) or kernel.requires_grad:
        return upfirdn2d_torch(x, kernel, up, down, padding, flip_filter, gain)
    y: Tensor = UPFIRDN2D(x, kernel, up, down, padding, flip_filter, gain)
    return y


def scale_in_kernels(x: Tensor, scale: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """x [N, C, ...] * scale [N, C] in `dtype` or x's; channels_last, which convolutions of many channels want."""
    dtype = x.dtype if dtype is None else dtype
    casts = dtype == x.dtype or (x.dtype == torch.float32 and dtype in (torch.float16, torch.bfloat16))
    if not _takes(x) or not casts:
        return x.to(dtype) * scale.view(*scale.shape, *[1] * (x.ndim - 2)).to(dtype)
    y: Tensor = SCALE_IN(x, _parameter(scale, x), dtype, x.ndim == 4)
    return y


def scale_out_kernels(
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
    """`scale_out` by its kernels."""
    if not _takes(x):
        return scale_out_torch(x, bias, act, gain, clamp, scale, noise, noise_strength, next_scale)
    parts = (scale, noise, None if noise is None else noise_strength, bias, next_scale)
    slope = LEAKY_SLOPE if act == "lrelu" else 1.0
    limit = math.inf if clamp is None else clamp * gain
    small = (None if part is None else _parameter(part, x) for part in parts)
    y: Tensor = SCALE_OUT(x, *small, gain * ACTIVATION_GAIN[act], slope, limit)
    return y


def _takes(x: Tensor) -> bool:
    # Numbers of any type are for the gradient checks on a CPU.
    return within_limits(x) if x.is_cuda else x.numel() > 0


def _parameter(values: Tensor, x: Tensor) -> Tensor:
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    return values if values.dtype == dtype else values.to(dtype)


# Implementations: by kernels, and by formulas.


def _by_kernels(x: Tensor, run: Callable[[], Result], otherwise: Callable[[], Result]) -> Result:
    """`run`, or `otherwise` where the kernels failed before or fail now."""
    if x.dtype != torch.float64 and state.usable(x.device):
        try:
            return run()
        except KernelError as error:
            state.fail(x.device, error)
    return otherwise()


def _upfirdn2d_plain(
    x: Tensor, kernel: Tensor, up: int, down: int, padding: Padding, flip_filter: bool, gain: float
) -> Tensor:
    left, right, top, bottom = padding
    y = upfirdn2d_torch(x, kernel, up, down, (left, right, top, bottom), flip_filter, gain)
    return formulas.laid_out_as(y, x)


def _upfirdn2d_cuda(
    x: Tensor, kernel: Tensor, up: int, down: int, padding: Padding, flip_filter: bool, gain: float
) -> Tensor:
    arguments = (x, kernel, up, down, padding, flip_filter, gain)
    return _by_kernels(x, lambda: resample.upfirdn2d(*arguments), lambda: _upfirdn2d_plain(*arguments))


def _scale_in_plain(x: Tensor, scale: Tensor, dtype: torch.dtype, channels_last: bool) -> Tensor:
    return formulas.laid_out(formulas.scale_in(x, scale, dtype), _scale_in_layout(x, channels_last))


def _scale_in_layout(x: Tensor, channels_last: bool) -> torch.memory_format:
    return torch.channels_last if channels_last else memory_format(x)


def _scale_in_cuda(x: Tensor, scale: Tensor, dtype: torch.dtype, channels_last: bool) -> Tensor:
    arguments = (x, scale, dtype, channels_last)
    return _by_kernels(x, lambda: scaling.scale_in(*arguments), lambda: _scale_in_plain(*arguments))


def _scale_in_backward_plain(grad: Tensor, x: Tensor, scale: Tensor, wanted: Wanted) -> tuple[Tensor, Tensor]:
    grad_x, grad_scale = formulas.scale_in_backward(grad, x, scale)
    of_x = formulas.laid_out_as(grad_x, x) if wanted[0] else x.new_empty(0)
    return of_x, grad_scale if wanted[1] else scale.new_empty(0)


def _scale_in_backward_cuda(grad: Tensor, x: Tensor, scale: Tensor, wanted: Wanted) -> tuple[Tensor, Tensor]:
    arguments = (grad, x, scale, wanted)
    return _by_kernels(x, lambda: scaling.scale_in_backward(*arguments), lambda: _scale_in_backward_plain(*arguments))


def _scale_out_plain(x: Tensor, *rest: Any) -> Tensor:
    return formulas.laid_out_as(formulas.scale_out(x, rest[:5], *rest[5:]), x)


def _scale_out_cuda(x: Tensor, *rest: Any) -> Tensor:
    return _by_kernels(x, lambda: scaling.scale_out(x, rest[:5], *rest[5:]), lambda: _scale_out_plain(x, *rest))


def _scale_out_backward_plain(grad: Tensor, x: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    wanted = rest[8]
    found = formulas.scale_out_backward(grad, x, rest[:5], *rest[5:8])
    layout = _scale_out_backward_layout(x, wanted)
    empty = x.new_empty(0, dtype=torch.promote_types(x.dtype, torch.float32))
    of_x = x.new_empty(0) if not wanted[0] or found[0] is None else formulas.laid_out(found[0], layout)
    others = (
        empty.clone() if not wants or value is None else value.clone()
        for value, wants in zip(found[1:], wanted[1:], strict=True)
    )
    return (of_x, *others)


def _scale_out_backward_layout(x: Tensor, wanted: Wanted) -> torch.memory_format:
    # The noise's gradient adds up a pixel's channels, which the kernel does where they lie side by side.
    return torch.channels_last if wanted[2] and x.ndim == 4 else memory_format(x)


def _scale_out_backward_cuda(grad: Tensor, x: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    def run() -> tuple[Tensor, ...]:
        return scaling.scale_out_backward(grad, x, rest[:5], *rest[5:])

    return _by_kernels(x, run, lambda: _scale_out_backward_plain(grad, x, *rest))


# Shapes, types and layouts of the results, for tracing.


def _upfirdn2d_fake(
    x: Tensor, kernel: Tensor, up: int, down: int, padding: Padding, flip_filter: bool, gain: float
) -> Tensor:
    left, right, top, bottom = padding
    size = (
        *x.shape[:2],
        resample.output_size(x.shape[2], up, down, top, bottom, kernel.shape[0]),
        resample.output_size(x.shape[3], up, down, left, right, kernel.shape[1]),
    )
    return torch.empty(size, dtype=x.dtype, device=x.device, memory_format=memory_format(x))


def _scale_in_fake(x: Tensor, scale: Tensor, dtype: torch.dtype, channels_last: bool) -> Tensor:
    layout = _scale_in_layout(x, channels_last)
    return torch.empty(x.shape, dtype=dtype, device=x.device, memory_format=layout)


def _scale_in_backward_fake(grad: Tensor, x: Tensor, scale: Tensor, wanted: Wanted) -> tuple[Tensor, Tensor]:
    of_x = torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=memory_format(x))
    return of_x if wanted[0] else x.new_empty(0), scale.new_empty(scale.shape if wanted[1] else 0)


def _scale_out_fake(x: Tensor, *rest: Any) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=memory_format(x))


def _scale_out_backward_fake(grad: Tensor, x: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    wanted = rest[8]
    layout = _scale_out_backward_layout(x, wanted)
    of_x = torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=layout)
    dtype = torch.promote_types(x.dtype, torch.float32)
    others = (
        x.new_empty(part.shape if wants and part is not None else 0, dtype=dtype)
        for part, wants in zip(rest[:5], wanted[1:], strict=True)
    )
    return (of_x if wanted[0] else x.new_empty(0), *others)


UPFIRDN2D.implement(
    _upfirdn2d_plain, _upfirdn2d_cuda, _upfirdn2d_fake, gradients.save_upfirdn2d, gradients.upfirdn2d_backward
)
SCALE_IN.implement(
    _scale_in_plain, _scale_in_cuda, _scale_in_fake, gradients.save_scale_in, gradients.scale_in_backward
)
SCALE_IN_BACKWARD.implement(
    _scale_in_backward_plain,
    _scale_in_backward_cuda,
    _scale_in_backward_fake,
    gradients.save_scale_in_backward,
    gradients.scale_in_second,
)
SCALE_OUT.implement(
    _scale_out_plain, _scale_out_cuda, _scale_out_fake, gradients.save_scale_out, gradients.scale_out_backward
)
SCALE_OUT_BACKWARD.implement(
    _scale_out_backward_plain,
    _scale_out_backward_cuda,
    _scale_out_backward_fake,
    gradients.save_scale_out_backward,
    gradients.scale_out_second,
)
