"""The fast paths against the step-by-step references: values, gradients and second gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from cxredit_cli.ops.bias_act import bias_act, scale_out, scale_out_reference
from cxredit_cli.ops.choice import only
from cxredit_cli.ops.conv2d import conv2d, pointwise_conv2d
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


@settings(deadline=None, max_examples=100)
@given(
    size=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    batch=st.integers(1, 3),
    k=st.sampled_from([1, 3]),
    resampling=st.sampled_from([(1, 1), (2, 1), (1, 2)]),
    taps=st.sampled_from([(1.0, 3.0, 3.0, 1.0), (1.0, 2.0, 4.0)]),
    demodulate=st.booleans(),
    noise=st.sampled_from(["none", "one", "each"]),
    strength=st.booleans(),
    bias=st.booleans(),
    act=st.sampled_from(["linear", "lrelu"]),
    clamp=st.sampled_from([None, 0.8]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    channels_last=st.booleans(),
)
def test_modulated_conv2d_equals_its_reference(
    size, batch, k, resampling, taps, demodulate, noise, strength, bias, act, clamp, dtype, channels_last
) -> None:
    up, down = resampling
    x, weight, styles = torch.randn(batch, 5, *size), torch.randn(4, 5, k, k), torch.randn(batch, 5)
    x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    kernel = setup_filter(taps)
    plain = modulated_conv2d_reference(x, weight, styles, up, down, kernel, demodulate)
    options = {
        "noise": None if noise == "none" else torch.randn(batch if noise == "each" else 1, 1, *plain.shape[2:]),
        "noise_strength": torch.tensor(0.7) if strength else None,
        "bias": torch.randn(4) if bias else None,
        "act": act,
        "clamp": clamp,
    }
    got = modulated_conv2d(x.to(dtype), weight, styles, up, down, kernel, demodulate, **options)
    expected = modulated_conv2d_reference(x, weight, styles, up, down, kernel, demodulate, **options)
    assert got.dtype == dtype
    assert got.shape == expected.shape
    tolerance = {torch.float32: 1e-4, torch.bfloat16: 4e-2, torch.float16: 6e-3}[dtype] * max(plain.abs().max(), 1)
    torch.testing.assert_close(got.float(), expected, atol=float(tolerance), rtol=0)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("resampling", [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("demodulate", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_traced_form_equals_the_reference(k, resampling, demodulate, batch) -> None:
    x, weight, styles = torch.randn(batch, 5, 6, 8), torch.randn(4, 5, k, k), torch.randn(batch, 5)
    arguments = (x, weight, styles, *resampling, setup_filter(), demodulate)
    noise = torch.randn(1, 1, *modulated_conv2d_reference(*arguments).shape[2:])
    after = {"noise": noise, "noise_strength": torch.tensor(0.7), "bias": torch.randn(4), "act": "lrelu", "clamp": 4.0}
    expected = modulated_conv2d_reference(*arguments, **after)
    with only("traced"):
        got = modulated_conv2d(*arguments, **after)
    torch.testing.assert_close(got, expected, atol=1e-5 * max(float(expected.abs().max()), 1), rtol=0)


@pytest.mark.parametrize("taps", [(1.0, 3.0, 3.0, 1.0), (1.0, 2.0, 4.0), (1.0, 2.0, 3.0, 2.0, 1.0)])
def test_an_upsampling_convolution_convolves_the_enlarged_picture(taps) -> None:
    x, weight, kernel = torch.randn(2, 3, 5, 7), torch.randn(4, 3, 3, 3), setup_filter(taps)
    # A true convolution, where F.conv2d correlates: the weights flip. Room for its border is left by the filter.
    before, after = 1 + (len(taps) + 1) // 2, 1 + (len(taps) - 2) // 2
    enlarged = upfirdn2d_reference(x, kernel, up=2, padding=(before, after, before, after), gain=4)
    expected = torch.nn.functional.conv2d(enlarged, weight.flip(2, 3))
    torch.testing.assert_close(conv2d(x, weight, up=2, kernel=kernel), expected, atol=1e-4, rtol=1e-4)


def test_the_next_layers_styles_ride_on_the_output() -> None:
    x, weight, styles = torch.randn(3, 5, 8, 8), torch.randn(4, 5, 3, 3), torch.randn(3, 5)
    second, second_styles = torch.randn(6, 4, 3, 3), torch.randn(3, 4)
    first = modulated_conv2d(x, weight, styles, act="lrelu", next_styles=second_styles)
    got = modulated_conv2d(first, second, second_styles, act="lrelu", scaled=True)
    expected = modulated_conv2d_reference(x, weight, styles, act="lrelu")
    expected = modulated_conv2d_reference(expected, second, second_styles, act="lrelu")
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("noise", [1, 3])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_layout_of_the_features_is_kept(batch, noise) -> None:
    x = torch.randn(batch, 4, 6, 5)
    values = torch.randn(min(noise, batch), 1, 6, 5)
    for layout in (torch.contiguous_format, torch.channels_last):
        features = x.contiguous(memory_format=layout)
        y = scale_out(features, torch.randn(4), scale=torch.randn(batch, 4), noise=values)
        assert y.stride() == features.stride() or layout == torch.contiguous_format


def test_a_resampling_convolution_without_its_kernel_says_so() -> None:
    x, weight = torch.randn(1, 2, 4, 4), torch.randn(2, 2, 3, 3)
    with pytest.raises(ValueError, match="expected a tensor, received None"):
        conv2d(x, weight, up=2)
    with pytest.raises(ValueError, match="expected a tensor, received None"):
        modulated_conv2d_reference(x, weight, torch.ones(1, 2), down=2)


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


@pytest.mark.parametrize("resampling", [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("k", [1, 3])
def test_modulated_conv2d_gradients(resampling, k) -> None:
    kernel = setup_filter().double()
    shapes = [(2, 2, 4, 3), (2, 2, k, k), (2, 2), (2,), ()]
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    with torch.no_grad():
        side = modulated_conv2d_reference(*inputs[:3], *resampling, kernel).shape[2:]
    noise = torch.randn(1, 1, *side, dtype=torch.float64)

    def layer(function, demodulate=True):
        def run(x, weight, styles, bias, strength):
            options = {"noise": noise, "noise_strength": strength, "bias": bias, "act": "lrelu"}
            return function(x, weight, styles, *resampling, kernel, demodulate, **options)

        return run

    for demodulate in (False, True):
        assert gradcheck(layer(modulated_conv2d, demodulate), inputs)
        assert gradgradcheck(layer(modulated_conv2d, demodulate), inputs)
    fast, slow = (
        torch.autograd.grad(layer(function)(*inputs).square().sum(), inputs, create_graph=True)
        for function in (modulated_conv2d, modulated_conv2d_reference)
    )
    second_fast, second_slow = (
        torch.autograd.grad(sum(g.square().sum() for g in each), inputs) for each in (fast, slow)
    )
    for a, b in zip((*fast, *second_fast), (*slow, *second_slow), strict=True):
        torch.testing.assert_close(a, b)


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


def test_only_the_reference_runs_where_it_is_asked_for(monkeypatch) -> None:
    x = torch.randn(1, 2, 8, 8)
    expected = upfirdn2d(x, setup_filter())
    monkeypatch.setattr("cxredit_cli.ops.upfirdn2d.upfirdn2d_torch", None)
    with only("reference"):
        torch.testing.assert_close(upfirdn2d(x, setup_filter()), expected)
    with pytest.raises(TypeError):
        upfirdn2d(x, setup_filter())
