"""The fast paths against the step-by-step references: values, gradients and second gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from cxredit_cli.ops.bias_act import bias_act, scale_out_reference
from cxredit_cli.ops.conv2d import pointwise_conv2d
from cxredit_cli.ops.modulated_conv2d import modulated_conv2d, modulated_conv2d_reference
from cxredit_cli.ops.upfirdn2d import downsample2d, setup_filter, upfirdn2d, upfirdn2d_reference, upsample2d


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    up=st.integers(1, 3),
    down=st.integers(1, 3),
    padding=st.tuples(*[st.integers(-1, 4)] * 4),
    taps=st.sampled_from([(1.0, 3.0, 3.0, 1.0), (1.0, 2.0, 1.0), (1.0,), (1.0, 4.0, 2.0, 0.5, 3.0)]),
    flip=st.booleans(),
    channels_last=st.booleans(),
)
def test_upfirdn2d_equals_its_reference(size, up, down, padding, taps, flip, channels_last) -> None:
    kernel = setup_filter(taps)
    height = size[0] * up + padding[2] + padding[3]
    width = size[1] * up + padding[0] + padding[1]
    if height < len(taps) or width < len(taps):
        return
    x = torch.randn(2, 3, *size)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    got = upfirdn2d(x, kernel, up, down, padding, flip, gain=1.5)
    expected = upfirdn2d_reference(x, kernel, up, down, padding, flip, gain=1.5)
    assert got.shape == expected.shape
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_upsampling_and_downsampling_keep_a_constant_picture_inside() -> None:
    picture = torch.full((1, 1, 16, 16), 0.7)
    kernel = setup_filter()
    larger, smaller = upsample2d(picture, kernel), downsample2d(picture, kernel)
    assert larger.shape[-1] == 32
    assert smaller.shape[-1] == 8
    torch.testing.assert_close(larger[..., 2:-2, 2:-2], torch.full((1, 1, 28, 28), 0.7))
    torch.testing.assert_close(smaller[..., 1:-1, 1:-1], torch.full((1, 1, 6, 6), 0.7))


def test_upsampling_of_one_pixel_is_the_filter() -> None:
    picture = torch.zeros(1, 1, 4, 4)
    picture[0, 0, 2, 2] = 1
    larger = upsample2d(picture, setup_filter())
    row = torch.tensor([0.0, 0, 0, 1, 3, 3, 1, 0]) / 4
    torch.testing.assert_close(larger[0, 0], torch.outer(row, row))


@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("batch", [1, 3])
def test_modulated_conv2d_equals_its_reference(up, demodulate, k, batch) -> None:
    x, weight, styles = torch.randn(batch, 5, 6, 7), torch.randn(4, 5, k, k), torch.randn(batch, 5)
    noise = torch.randn(batch, 1, 6 * up, 7 * up)
    args = (x, weight, styles, up, 1, setup_filter(), demodulate, noise)
    torch.testing.assert_close(modulated_conv2d(*args), modulated_conv2d_reference(*args), atol=1e-4, rtol=1e-4)


def test_modulated_conv2d_by_hand() -> None:
    x = torch.tensor([[[[2.0]], [[3.0]]]])
    weight = torch.tensor([[[[1.0]], [[2.0]]]])
    styles = torch.tensor([[4.0, 0.5]])
    assert modulated_conv2d(x, weight, styles, demodulate=False).item() == pytest.approx(2 * 4 + 3 * 0.5 * 2)
    assert modulated_conv2d(x, weight, styles).item() == pytest.approx(11 / (16 + 1) ** 0.5, rel=1e-6)


@pytest.mark.parametrize("act", ["linear", "lrelu"])
@pytest.mark.parametrize("clamp", [None, 0.5])
def test_bias_act_equals_its_reference(act, clamp) -> None:
    x, bias = torch.randn(3, 4, 5, 6), torch.randn(4)
    torch.testing.assert_close(
        bias_act(x, bias, act, gain=0.7, clamp=clamp), scale_out_reference(x, bias, act, gain=0.7, clamp=clamp)
    )


@pytest.mark.parametrize("up", [1, 2])
def test_modulated_conv2d_gradients(up) -> None:
    def f(x, weight, styles):
        return modulated_conv2d(x, weight, styles, up, 1, setup_filter().double())

    # The demodulation is float32 by design, so the numerical differences are coarse.
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in [(2, 2, 3, 3), (2, 2, 3, 3), (2, 2)]]

    def undemodulated(x, weight, styles):
        return modulated_conv2d(x, weight, styles, up, 1, setup_filter().double(), demodulate=False)

    assert gradcheck(undemodulated, inputs)
    assert gradgradcheck(undemodulated, inputs)
    fast = torch.autograd.grad(f(*inputs).square().sum(), inputs, create_graph=True)
    slow_out = modulated_conv2d_reference(*inputs, up, 1, setup_filter().double())
    slow = torch.autograd.grad(slow_out.square().sum(), inputs, create_graph=True)
    for a, b in zip(fast, slow, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    second_fast = torch.autograd.grad(sum(g.square().sum() for g in fast), inputs)
    second_slow = torch.autograd.grad(sum(g.square().sum() for g in slow), inputs)
    for a, b in zip(second_fast, second_slow, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


def test_upfirdn2d_and_bias_act_gradients() -> None:
    x = torch.randn(1, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(2, dtype=torch.float64, requires_grad=True)
    kernel = setup_filter((1.0, 2.0, 4.0)).double()
    for up, down in [(1, 1), (2, 1), (1, 2)]:
        assert gradcheck(lambda x, u=up, d=down: upfirdn2d(x, kernel, u, d, (2, 1, 0, 2)), [x])
        assert gradgradcheck(lambda x, u=up, d=down: upfirdn2d(x, kernel, u, d, (2, 1, 0, 2)), [x])
    assert gradcheck(bias_act, [x, bias])
    assert gradgradcheck(bias_act, [x, bias])


def test_pointwise_conv2d_is_a_convolution() -> None:
    x = torch.randn(2, 5, 4, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(7, 5, 1, 1, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(pointwise_conv2d(x, weight), torch.nn.functional.conv2d(x, weight))
    assert pointwise_conv2d(x, weight).is_contiguous(memory_format=torch.channels_last)
    assert gradcheck(pointwise_conv2d, [x, weight])
    assert gradgradcheck(pointwise_conv2d, [x, weight])
