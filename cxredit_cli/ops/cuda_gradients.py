"""Gradients and second gradients of the operators; each pair of functions is for one operator.

Gradients of R1 and of path lengths are differentiated again: upfirdn2d's gradient is upfirdn2d, and what belongs to a
backward operator is plain torch, which differentiates as often as one likes.
"""

from typing import Any

from torch import Tensor

from cxredit_cli.ops import formulas
from cxredit_cli.ops.operators import SCALE_IN_BACKWARD, SCALE_OUT_BACKWARD, UPFIRDN2D

Context = Any
MaybeTensor = Tensor | None


def save_upfirdn2d(ctx: Context, inputs: tuple[Any, ...], output: Tensor) -> None:
    """Keep what the gradient of `upfirdn2d` needs: not x, for the operation is linear."""
    x, kernel, *ctx.settings = inputs
    ctx.save_for_backward(kernel)
    ctx.sizes = (*x.shape[2:], *output.shape[2:])


def upfirdn2d_backward(ctx: Context, grad: Tensor) -> tuple[MaybeTensor, ...]:
    """The transposed resampling: up and down exchanged, the filter turned round, what was cropped padded."""
    (kernel,) = ctx.saved_tensors
    up, down, (left, _, top, _), flip_filter, gain = ctx.settings
    h, w, out_h, out_w = ctx.sizes
    kh, kw = kernel.shape
    right = w * up - out_w * down + left - up + 1
    bottom = h * up - out_h * down + top - up + 1
    padding = (kw - left - 1, right, kh - top - 1, bottom)
    grad_x = UPFIRDN2D(grad, kernel, down, up, padding, not flip_filter, gain)
    return grad_x, None, None, None, None, None, None


def save_scale_in(ctx: Context, inputs: tuple[Any, ...], output: Tensor) -> None:
    """Keep what the gradient of `scale_in` needs."""
    x, scale, _, _ = inputs
    ctx.save_for_backward(x, scale)


def scale_in_backward(ctx: Context, grad: Tensor) -> tuple[MaybeTensor, ...]:
    """By the fused operator."""
    x, scale = ctx.saved_tensors
    wanted = list(ctx.needs_input_grad[:2])
    of_x, of_scale = SCALE_IN_BACKWARD(grad, x, scale, wanted)
    return of_x if wanted[0] else None, of_scale if wanted[1] else None, None, None


def save_scale_in_backward(ctx: Context, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    """Keep what the gradient of `scale_in_backward` needs."""
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:3])
    ctx.wanted = inputs[3]


def scale_in_second(ctx: Context, of_x: MaybeTensor, of_scale: MaybeTensor) -> tuple[MaybeTensor, ...]:
    """The sum of of_x * grad * scale + of_scale * grad * x, differentiated."""
    grad, x, scale = ctx.saved_tensors
    of_x, of_scale = (each if wants else None for each, wants in zip((of_x, of_scale), ctx.wanted, strict=True))
    s = scale.view(*scale.shape, *[1] * (x.ndim - 2))
    for_grad = for_x = for_scale = None
    if of_x is not None:
        for_grad = of_x * s
        for_scale = (of_x * grad).to(scale.dtype).flatten(2).sum(dim=2) if x.ndim > 2 else of_x * grad
    if of_scale is not None:
        change = of_scale.view(s.shape)
        for_grad = x * change if for_grad is None else for_grad + x * change
        for_x = (grad * change).to(x.dtype)
    return None if for_grad is None else for_grad.to(grad.dtype), for_x, for_scale, None


def save_scale_out(ctx: Context, inputs: tuple[Any, ...], output: Tensor) -> None:
    """Keep what the gradient of `scale_out` needs."""
    ctx.save_for_backward(*inputs[:6])
    ctx.settings = inputs[6:]


def scale_out_backward(ctx: Context, grad: Tensor) -> tuple[MaybeTensor, ...]:
    """By the fused operator."""
    x, *parts = ctx.saved_tensors
    wanted = list(ctx.needs_input_grad[:6])
    found = SCALE_OUT_BACKWARD(grad, x, *parts, *ctx.settings, wanted)
    return (*(value if wants else None for value, wants in zip(found, wanted, strict=True)), None, None, None)


def save_scale_out_backward(ctx: Context, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    """Keep what the gradient of `scale_out_backward` needs."""
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:7])
    ctx.settings, ctx.wanted = inputs[7:10], inputs[10]


def scale_out_second(ctx: Context, *grads: MaybeTensor) -> tuple[MaybeTensor, ...]:
    """The gradient of R1 is one pass of the fused operator; everything else is `formulas.scale_out_second`."""
    grad, x, *parts = ctx.saved_tensors
    needs = ctx.needs_input_grad[:7]
    # What was not wanted is an empty tensor, which depends on nothing.
    grads = tuple(each if wants else None for each, wants in zip(grads, ctx.wanted, strict=True))
    scale, _, _, _, next_scale = parts
    only_of_x = grads[0] is not None and all(each is None for each in grads[1:])
    if only_of_x and scale is None and next_scale is None:
        # Nothing but grad enters linearly, and the operation is its own transpose.
        wanted = [True, *[False] * 5]
        for_grad = SCALE_OUT_BACKWARD(grads[0], x, *parts, *ctx.settings, wanted)[0]
        return (for_grad, *[None] * 10)
    if all(each is None for each in grads):
        return (None,) * 11
    found = formulas.scale_out_second(grads, grad, x, (*parts,), *ctx.settings)
    return (*(value if wants else None for value, wants in zip(found, needs, strict=True)), *[None] * 4)
