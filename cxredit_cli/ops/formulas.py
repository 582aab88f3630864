"""The mathematics of the operators that have kernels, in plain torch: scale-in and scale-out, their gradients, and the
gradients of those.

    z = x * scale + noise * strength + bias,   a = clamp(gain * act(z), +-limit),   y = a * next_scale

`act` is z above zero and slope * z below: linear with slope 1. Everything is computed in float32, or in float64 if x
is. These run where the kernels do not: on a CPU, in the tests, and on a GPU whose kernels failed.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from cxredit_cli.ops.kernels.tensors import memory_format

Parts = tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None, Tensor | None]
Gradients = tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None, Tensor | None, Tensor | None]


def scale_in(x: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """x [N, C, ...] times scale [N, C], in `dtype`."""
    return (_wide(x) * _over_pixels(scale, x)).to(dtype)


def scale_in_backward(grad: Tensor, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of x, in its dtype, and of scale [N, C]."""
    grad, wide = _wide(grad), _wide(x)
    return (grad * _over_pixels(scale, x)).to(x.dtype), _sum_pixels(grad * wide).to(scale.dtype)


def scale_out(x: Tensor, parts: Parts, gain: float, slope: float, limit: float) -> Tensor:
    """y of the module; parts: scale [N, C], noise [N or 1, 1, ...], strength [], bias [C], next_scale [N, C]."""
    a, _ = _activated(x, parts, gain, slope, limit)
    next_scale = parts[4]
    return (a if next_scale is None else a * _over_pixels(next_scale, x)).to(x.dtype)


def scale_out_backward(grad: Tensor, x: Tensor, parts: Parts, gain: float, slope: float, limit: float) -> Gradients:
    """Gradients of x and of each part; None for a part that is absent."""
    scale, noise, strength, bias, next_scale = parts
    a, derivative = _activated(x, parts, gain, slope, limit)
    grad = _wide(grad)
    t = grad * derivative
    if next_scale is not None:
        t = t * _over_pixels(next_scale, x)
    return (
        (t if scale is None else t * _over_pixels(scale, x)).to(x.dtype),
        None if scale is None else _sum_pixels(t * _wide(x)),
        None if noise is None else _sum_channels(t if strength is None else t * strength, noise),
        None if noise is None or strength is None else (t * noise).sum().view(strength.shape),
        None if bias is None else _sum_pixels(t).sum(dim=0),
        None if next_scale is None else _sum_pixels(grad * a),
    )


def scale_out_second(
    grads: Sequence[Tensor | None], grad: Tensor, x: Tensor, parts: Parts, gain: float, slope: float, limit: float
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of the sum of each result of `scale_out_backward` times its entry in `grads`: of grad, x and the parts.

    That sum is the change of y along `grads`, times grad: with z' = the change of z along them,
    L = sum grad * (next_scale * derivative * z' + next_scale' * a). The derivative is constant but for single points.
    """
    scale, noise, strength, bias, next_scale = parts
    of_x, of_scale, of_noise, of_strength, of_bias, of_next = grads
    a, derivative = _activated(x, parts, gain, slope, limit)
    wide, grad_wide = _wide(x), _wide(grad)
    zero = torch.zeros((), dtype=wide.dtype, device=x.device)
    one = torch.ones_like(zero)
    d = one if scale is None else _over_pixels(scale, x)
    n = zero if noise is None else noise
    sigma = one if strength is None else strength
    q = one if next_scale is None else _over_pixels(next_scale, x)
    q_change = zero if of_next is None else _over_pixels(of_next, x)

    change = zero
    if of_x is not None:
        change = change + _wide(of_x) * d
    if of_scale is not None:
        change = change + wide * _over_pixels(of_scale, x)
    if of_noise is not None:
        change = change + of_noise * sigma
    if of_strength is not None:
        change = change + n * of_strength
    if of_bias is not None:
        change = change + of_bias.view(-1, *[1] * (x.ndim - 2))
    inner = derivative * change
    t, u = grad_wide * q * derivative, grad_wide * q_change * derivative  # L / z', and L / z through a

    for_x = u * d if of_scale is None else u * d + t * _over_pixels(of_scale, x)
    for_scale = for_noise = for_strength = for_bias = for_next = None
    if scale is not None:
        for_scale = _sum_pixels(u * wide if of_x is None else u * wide + t * _wide(of_x))
    if noise is not None:
        for_noise = _sum_channels(u * sigma if of_strength is None else u * sigma + t * of_strength, noise)
        if strength is not None:
            for_strength = (u * n if of_noise is None else u * n + t * of_noise).sum().view(strength.shape)
    if bias is not None:
        for_bias = _sum_pixels(u).sum(dim=0)
    if next_scale is not None:
        for_next = _sum_pixels((grad_wide * inner).expand_as(x))
    for_grad = (q * inner + q_change * a).expand_as(x)
    return for_grad.to(grad.dtype), for_x.to(x.dtype), for_scale, for_noise, for_strength, for_bias, for_next


def laid_out(y: Tensor, layout: torch.memory_format) -> Tensor:
    """A new tensor with the values of y in this layout, as an operator promises."""
    return torch.empty(y.shape, dtype=y.dtype, device=y.device, memory_format=layout).copy_(y)


def laid_out_as(y: Tensor, x: Tensor) -> Tensor:
    """A new tensor with the values of y, in the layout that results for x get."""
    return laid_out(y, memory_format(x))


def _activated(x: Tensor, parts: Parts, gain: float, slope: float, limit: float) -> tuple[Tensor, Tensor]:
    """a and its derivative, which torch takes as the slope below zero at zero, and as that within at the limit."""
    scale, noise, strength, bias, _ = parts
    z = _wide(x)
    if scale is not None:
        z = z * _over_pixels(scale, x)
    if noise is not None:
        z = z + (noise if strength is None else noise * strength)
    if bias is not None:
        z = z + bias.view(-1, *[1] * (x.ndim - 2))
    # Full tensors, because torch.where rounds numbers to float32.
    above, below = (torch.full((), value, dtype=z.dtype, device=z.device) for value in (gain, gain * slope))
    derivative = torch.where(z > 0, above, below)
    a = z * derivative
    return a.clamp(-limit, limit), derivative * (a.detach().abs() <= limit)


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _over_pixels(values: Tensor, x: Tensor) -> Tensor:
    return values.view(*values.shape, *[1] * (x.ndim - 2))


def _sum_pixels(values: Tensor) -> Tensor:
    """[N, C, ...] -> [N, C]."""
    return values.flatten(2).sum(dim=2) if values.ndim > 2 else values


def _sum_channels(values: Tensor, noise: Tensor) -> Tensor:
    """[N, C, H, W] -> the shape of the noise."""
    return values.sum(dim=1, keepdim=True).sum_to_size(noise.shape)
