"""The operators that have kernels, as registered with torch, on a CPU: gradients, second gradients, tracing."""

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.library import opcheck

from cxredit_cli.networks.discriminator import Discriminator, DiscriminatorConfig
from cxredit_cli.networks.generator import Generator, GeneratorConfig
from cxredit_cli.ops.bias_act import scale_out_reference
from cxredit_cli.ops.choice import Path, only
from cxredit_cli.ops.cuda import scale_in_kernels, scale_out_kernels, upfirdn2d_kernels
from cxredit_cli.ops.upfirdn2d import setup_filter, upfirdn2d_reference

OPS = torch.ops.cxredit


def leaf(*shape: int, dtype: torch.dtype = torch.float64, channels_last: bool = False) -> torch.Tensor:
    x = torch.randn(shape, dtype=dtype)
    x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    return x.requires_grad_()


def parts(n: int, c: int, h: int, w: int, dtype: torch.dtype = torch.float64, noises: int | None = None):
    """Scale, noise, strength, bias, next_scale."""
    shapes = [(n, c), (noises or n, 1, h, w), (), (c,), (n, c)]
    return [leaf(*shape, dtype=dtype) for shape in shapes]


@pytest.mark.parametrize("noises", [1, 2])
def test_scale_out_with_all_its_parts(noises: int) -> None:
    def fast(x, scale, noise, strength, bias, next_scale):
        return scale_out_kernels(x, bias, "lrelu", 0.7, 1.5, scale, noise, strength, next_scale)

    def slow(x, scale, noise, strength, bias, next_scale):
        return scale_out_reference(x, bias, "lrelu", 0.7, 1.5, scale, noise, strength, next_scale)

    inputs = [leaf(2, 3, 2, 3), *parts(2, 3, 2, 3, noises=noises)]
    torch.testing.assert_close(fast(*inputs), slow(*inputs))
    assert gradcheck(fast, inputs)
    assert gradgradcheck(fast, inputs)


@pytest.mark.parametrize("present", ["", "scale", "noise", "noise strength", "bias", "next_scale", "scale bias"])
def test_scale_out_with_some_of_its_parts(present: str) -> None:
    names = ["scale", "noise", "strength", "bias", "next_scale"]
    chosen = [name for name in names if name in present.split()]
    values = dict(zip(names, parts(2, 2, 3, 2), strict=True))

    def fast(x, *given):
        by_name = dict.fromkeys(names) | dict(zip(chosen, given, strict=True))
        scale, noise, strength, bias, next_scale = by_name.values()
        return scale_out_kernels(x, bias, "lrelu", 1.0, None, scale, noise, strength, next_scale)

    inputs = [leaf(2, 2, 3, 2), *(values[name] for name in chosen)]
    assert gradcheck(fast, inputs)
    assert gradgradcheck(fast, inputs)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 2, 2), (2, 2, 3)])
def test_bias_act_and_scale_in(shape: tuple[int, ...]) -> None:
    def bias_act(x, bias):
        return scale_out_kernels(x, bias, "lrelu", 1.0, None, None, None, None, None)

    x = leaf(*shape)
    for function, other in ((bias_act, leaf(shape[1])), (scale_in_kernels, leaf(*shape[:2]))):
        assert gradcheck(function, [x, other])
        assert gradgradcheck(function, [x, other])


@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2), (3, 2)])
@pytest.mark.parametrize("padding", [(2, 1, 2, 1), (-1, 3, 2, -2)])
def test_upfirdn2d(up: int, down: int, padding: tuple[int, int, int, int]) -> None:
    kernel = torch.randn(3, 4, dtype=torch.float64)
    x = leaf(1, 2, 5, 6)
    for flip in (False, True):
        arguments = (kernel, up, down, padding, flip, 1.5)
        torch.testing.assert_close(upfirdn2d_kernels(x, *arguments), upfirdn2d_reference(x, *arguments))
        assert gradcheck(lambda x, arguments=arguments: upfirdn2d_kernels(x, *arguments), [x])
        assert gradgradcheck(lambda x, arguments=arguments: upfirdn2d_kernels(x, *arguments), [x])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_registrations_hold(dtype: torch.dtype, channels_last: bool) -> None:
    def new() -> torch.Tensor:
        return leaf(2, 4, 3, 5, dtype=dtype, channels_last=channels_last)

    small = parts(2, 4, 3, 5, torch.float32, noises=1)
    activation = (1.2, 0.2, 0.9)
    loose = {"atol": 3e-2, "rtol": 3e-2} if dtype != torch.float32 else {}
    opcheck(OPS.upfirdn2d.default, (new(), setup_filter(), 2, 1, [1, 2, -1, 3], False, 1.0), **loose)
    opcheck(OPS.scale_in.default, (new(), small[0], dtype, True), **loose)
    opcheck(OPS.scale_in_backward.default, (new(), new(), small[0], [True, True]), **loose)
    opcheck(OPS.scale_out.default, (new(), *small, *activation), **loose)
    opcheck(OPS.scale_out.default, (new(), None, None, None, small[3], None, 1.0, 1.0, math.inf), **loose)
    opcheck(OPS.scale_out_backward.default, (new(), new(), *small, *activation, [True] * 6), **loose)
    some = [True, False, False, False, True, False]
    opcheck(OPS.scale_out_backward.default, (new(), new(), *small, *activation, some), **loose)


def test_a_cast_from_float32() -> None:
    x, scale = leaf(2, 3, 4, 5, dtype=torch.float32), leaf(2, 3, dtype=torch.float32)
    y = scale_in_kernels(x, scale, torch.bfloat16)
    assert y.dtype == torch.bfloat16
    assert y.is_contiguous(memory_format=torch.channels_last)
    grads = torch.autograd.grad(y.float().sum(), (x, scale))
    assert [grad.dtype for grad in grads] == [torch.float32] * 2
    torch.testing.assert_close(grads[1], x.sum(dim=(2, 3)).detach(), atol=1e-5, rtol=1e-5)


def second_gradients(path: Path) -> list[torch.Tensor]:
    """Of what path length regularisation and R1 differentiate, through whole networks."""
    torch.manual_seed(0)
    generator = Generator(GeneratorConfig(resolution=16, z_dim=8, w_dim=8, channel_base=128, channel_max=8))
    discriminator = Discriminator(DiscriminatorConfig(resolution=16, channel_base=128, channel_max=8))
    for layer in generator.synthesis.noise_layers():
        layer.noise_strength.data.fill_(0.3)
    w = torch.randn(4, generator.num_ws, 8, requires_grad=True)
    images = torch.rand(4, 1, 16, 16, requires_grad=True)
    with only(path):
        made = generator.synthesis(w)
        (of_w,) = torch.autograd.grad((made * torch.randn_like(made)).sum(), w, create_graph=True)
        of_w.square().sum().backward()
        (of_images,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
        of_images.square().sum().backward()
    parameters = [*generator.synthesis.parameters(), *discriminator.parameters()]
    # What does not depend on a parameter may leave it without a gradient or with one of zeros.
    gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
    return [made.detach(), of_w.detach(), of_images.detach(), *gradients]


def test_path_length_and_r1_are_those_of_the_reference() -> None:
    for got, expected in zip(second_gradients("kernels"), second_gradients("reference"), strict=True):
        scale = expected.abs().max().clamp(min=1e-3)  # R1 gives biases what rounding leaves of differences
        torch.testing.assert_close(got / scale, expected / scale, atol=1e-4, rtol=1e-4)


def test_the_registered_operators_have_the_same_gradients() -> None:
    x, small = leaf(2, 2, 2, 3), parts(2, 2, 2, 3)

    def scale_out(x, *small):
        return OPS.scale_out(x, *small, 1.2, 0.2, 0.9)

    assert gradcheck(scale_out, [x, *small])
    assert gradgradcheck(scale_out, [x, *small])
    kernel = torch.randn(3, 3, dtype=torch.float64)
    assert gradgradcheck(lambda x: OPS.upfirdn2d(x, kernel, 2, 1, [1, 2, 0, 1], False, 1.0), [x])
    assert gradgradcheck(lambda x, scale: OPS.scale_in(x, scale, torch.float64, True), [x, small[0]])
