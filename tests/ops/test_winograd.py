"""Winograd's convolution against the library's: values, gradients, second gradients, rounding, and when it runs."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from cxredit_cli.ops import winograd
from cxredit_cli.ops.choice import only
from cxredit_cli.ops.conv2d import conv2d
from cxredit_cli.ops.modulated_conv2d import modulated_conv2d, prepare_weight
from cxredit_cli.ops.winograd import pays, row_kernels, winograd_conv2d


@settings(deadline=None, max_examples=60)
@given(
    batch=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    size=st.tuples(st.integers(1, 6).map(lambda half: 2 * half), st.integers(1, 9)),
    channels_last=st.booleans(),
)
def test_it_is_the_same_convolution(batch, channels, size, channels_last) -> None:
    inputs, outputs = channels
    x, weight = torch.randn(batch, inputs, *size), torch.randn(outputs, inputs, 3, 3)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    got = winograd_conv2d(x, weight, row_kernels(weight, torch.float32))
    torch.testing.assert_close(got, F.conv2d(x, weight, padding=1), atol=1e-4, rtol=1e-4)
    assert got.is_contiguous(memory_format=torch.channels_last)


def test_gradients_and_second_gradients() -> None:
    x = torch.randn(2, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 2, 3, 3, dtype=torch.float64, requires_grad=True)

    def fast(x, weight):
        return winograd_conv2d(x, weight, row_kernels(weight, torch.float64))

    assert gradcheck(fast, [x, weight])
    assert gradgradcheck(fast, [x, weight])
    # Through both, as R1 takes them: a penalty on the gradient of the image, differentiated by the weight.
    seconds = []
    for convolve in (fast, lambda x, weight: F.conv2d(x, weight, padding=1)):
        (of_x,) = torch.autograd.grad(convolve(x, weight).square().sum(), x, create_graph=True)
        seconds.append(torch.autograd.grad(of_x.square().sum(), [x, weight]))
    for a, b in zip(*seconds, strict=True):
        torch.testing.assert_close(a, b)


def test_frozen_weights_are_not_asked_for_a_gradient() -> None:
    weight = torch.randn(3, 2, 3, 3)
    x = torch.randn(1, 2, 4, 4, requires_grad=True)
    y = winograd_conv2d(x, weight, row_kernels(weight, torch.float32))
    assert y.grad_fn.saved_tensors[0] is None
    (of_x,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(of_x, torch.autograd.grad(F.conv2d(x, weight, padding=1).sum(), x)[0])


@pytest.mark.parametrize("of", ["image", "gradient"])
def test_bfloat16_rounds_to_twice_the_plain_convolutions_error_at_most(of) -> None:
    x, weight = torch.randn(4, 128, 16, 16), torch.randn(128, 128, 3, 3)
    rounded, taps = x.bfloat16().contiguous(memory_format=torch.channels_last), weight.bfloat16()

    def error(convolve, dtype):
        features = rounded.to(dtype).requires_grad_()
        y = convolve(features)
        if of == "gradient":
            (y,) = torch.autograd.grad(y, features, torch.ones_like(y) * x.to(dtype))
        return y.double()

    kernels = row_kernels(weight, torch.bfloat16)
    exact = error(lambda x: F.conv2d(x, weight.double(), padding=1), torch.float64)
    plain = error(lambda x: F.conv2d(x, taps, padding=1), torch.bfloat16)
    fast = error(lambda x: winograd_conv2d(x, taps, kernels), torch.bfloat16)
    assert (fast - exact).norm() < 2 * (plain - exact).norm()
    assert (fast - exact).norm() < 6e-3 * exact.norm()


def test_it_runs_where_it_pays_and_nowhere_else(monkeypatch) -> None:
    x, weight = torch.randn(1, 128, 16, 16), torch.randn(128, 128, 3, 3)
    assert pays(x, weight) == torch.backends.mkldnn.is_available()
    assert not pays(x[:, :, :15], weight)  # rows in pairs
    assert not pays(x[:, :, :8], weight)  # few pixels
    assert not pays(x, weight[:64])
    assert not pays(x, weight[:, :, :1, :1])
    assert not pays(x.double(), weight.double())
    assert not pays(x.to("meta"), weight.to("meta"))

    monkeypatch.setattr(winograd, "cpu_has_bfloat16", lambda: True)
    for tiles in (False, True):
        monkeypatch.setattr(winograd, "cpu_has_matrix_tiles", lambda tiles=tiles: tiles)
        assert pays(x.bfloat16(), weight.bfloat16()) == (torch.backends.mkldnn.is_available() and not tiles)

    calls = []
    monkeypatch.setattr(winograd, "pays", lambda x, weight: True)
    monkeypatch.setattr(winograd, "convolve_rows", lambda x, kernels, transposed: calls.append(1) or x)
    conv2d(x, weight)
    assert len(calls) == 1
    with only("reference"):
        conv2d(x, weight)
    conv2d(torch.randn(1, 256, 16, 16), weight, groups=2)
    conv2d(x, weight[:, :, :1, :1])
    assert len(calls) == 1


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this processor's library has no oneDNN")
def test_a_modulated_convolution_keeps_the_kernels_of_frozen_weights(monkeypatch) -> None:
    x, weight, styles = torch.randn(2, 128, 16, 16), torch.randn(128, 128, 3, 3), torch.randn(2, 128)
    prepared = prepare_weight(weight, torch.float32, demodulate=True)
    assert prepared.rows is not None
    with only("reference"):
        expected = modulated_conv2d(x, weight, styles)
    torch.testing.assert_close(modulated_conv2d(x, weight, styles), expected, atol=1e-4, rtol=1e-4)
    monkeypatch.setattr(winograd, "row_kernels", None)
    torch.testing.assert_close(modulated_conv2d(x, weight, styles, prepared=prepared), expected, atol=1e-4, rtol=1e-4)
    assert prepare_weight(weight.requires_grad_(), torch.float32, demodulate=True).rows is None
    assert prepare_weight(weight.detach(), torch.float32, demodulate=True, up=2).rows is None
