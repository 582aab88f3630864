"""The operations at the sizes of a generator's highest resolution, where most of the time goes."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from cxredit_cli.benchmarks.cases import Case, Outputs, Settings, Work
from cxredit_cli.networks.generator import SynthesisLayer, ToRGB
from cxredit_cli.ops.bias_act import bias_act
from cxredit_cli.ops.upfirdn2d import downsample2d, setup_filter, upfirdn2d, upsample2d

CLAMP = 256.0  # what training in fp16 needs
W_DIM = 512

Build = Callable[[torch.dtype], tuple[Callable[[Tensor], Tensor], Sequence[Tensor]]]
"""Gives the function of the features, and what else it is differentiated by."""


def operation_cases(settings: Settings) -> list[Case]:
    """Every operation: forward, forward and backward, and for convolutions with the gradients that training needs."""
    n, side = settings.batch, settings.resolution
    c, coarse = settings.channels(side), settings.channels(side // 2)
    device = settings.device
    clamp = CLAMP if settings.dtype == torch.float16 else None

    def resampling(function: Callable[[Tensor, Tensor], Tensor]) -> Build:
        kernel = setup_filter(device=device)
        return lambda dtype: (lambda x: function(x, kernel), [])

    def activation(dtype: torch.dtype) -> tuple[Callable[[Tensor], Tensor], Sequence[Tensor]]:
        bias = torch.randn(c, device=device)
        return (lambda x: bias_act(x, bias, clamp=clamp)), [bias]

    def layer(up: int, training: bool) -> Build:
        def build(dtype: torch.dtype) -> tuple[Callable[[Tensor], Tensor], Sequence[Tensor]]:
            inputs = c if up == 1 else coarse
            module = SynthesisLayer(inputs, c, W_DIM, side, up, clamp)
            nn.init.constant_(module.noise_strength, 0.1)
            nn.init.normal_(module.bias)
            module.to(device).requires_grad_(training)
            styles = torch.randn(n, inputs, device=device) + 1
            trained = [module.weight, module.bias, module.noise_strength] if training else []
            return (lambda x: module(x, styles, "const")), [styles, *trained]

        return build

    def torgb(training: bool) -> Build:
        def build(dtype: torch.dtype) -> tuple[Callable[[Tensor], Tensor], Sequence[Tensor]]:
            module = ToRGB(c, 1, W_DIM, clamp).to(device).requires_grad_(training)
            w = torch.randn(n, W_DIM, device=device)
            return (lambda x: module(x, w)), [w, *([module.weight, module.bias] if training else [])]

        return build

    def plain_filter(x: Tensor, kernel: Tensor) -> Tensor:
        return upfirdn2d(x, kernel, padding=(1, 1, 1, 1), gain=4.0)  # after a transposed convolution

    full, half, odd = (n, c, side, side), (n, c, side // 2, side // 2), (n, c, side + 1, side + 1)
    rows: list[tuple[str, tuple[int, ...], tuple[int, ...], int, Build, Build | None]] = [
        ("upfirdn2d_up2", half, full, 0, resampling(upsample2d), None),
        ("upfirdn2d_down2", full, half, 0, resampling(downsample2d), None),
        ("upfirdn2d_filter", odd, full, 0, resampling(plain_filter), None),
        ("bias_act", full, full, 0, activation, None),
        ("modulated_conv2d_plain", full, full, 9 * c * c, layer(1, False), layer(1, True)),
        (
            "modulated_conv2d_up2",
            (n, coarse, side // 2, side // 2),
            full,
            9 * c * coarse,
            layer(2, False),
            layer(2, True),
        ),
        ("modulated_conv2d_torgb", full, (n, 1, side, side), c, torgb(False), torgb(True)),
    ]
    cases = []
    for name, given, made, weights, frozen, trained in rows:
        once = math.prod(given) + math.prod(made) + weights
        cases.append(case(settings, name, given, once, frozen, backward=False))
        # Both of the features and both of their gradients, and the weights twice.
        cases.append(case(settings, f"{name}_forward_backward", given, 2 * once, frozen, backward=True))
        if trained is not None:
            cases.append(case(settings, f"{name}_training", given, 2 * once + weights, trained, backward=True))
    return cases


def case(settings: Settings, name: str, shape: tuple[int, ...], elements: int, build: Build, backward: bool) -> Case:
    """The case of one function of features of `shape`."""

    def prepare(dtype: torch.dtype, layout: torch.memory_format) -> list[Work]:
        torch.manual_seed(0)
        x = torch.randn(shape, device=settings.device).to(dtype, memory_format=layout)
        function, others = build(dtype)
        if not backward:
            return [lambda: forward(function, x)]
        leaves = [tensor.requires_grad_() for tensor in (x, *others)]
        y = function(x)
        gradient = torch.randn(y.shape, device=y.device).to(dtype, memory_format=layout)
        return [lambda: forward_backward(function, x, leaves, gradient)]

    return Case(name, shape, settings.dtype, prepare, elements, matrix=name.startswith("modulated"))


@torch.no_grad()
def forward(function: Callable[[Tensor], Tensor], x: Tensor) -> Outputs:
    """The value alone."""
    return Outputs([function(x)])


def forward_backward(
    function: Callable[[Tensor], Tensor], x: Tensor, leaves: Sequence[Tensor], gradient: Tensor
) -> Outputs:
    """The value, and the gradients of `leaves` for a `gradient` of the value."""
    y = function(x)
    return Outputs([y.detach()], [[one] for one in torch.autograd.grad(y, leaves, gradient)])
