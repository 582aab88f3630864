"""The CUDA kernels of scale_in and scale_out and of their backward, run on the host, against the formulas."""

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxredit_cli.ops import formulas
from cxredit_cli.ops.bias_act import scale_out_reference
from cxredit_cli.ops.kernels import scaling, tensors

# How far a result may be off: float32 sums in another order, and one rounding to the element's type.
TOLERANCE = {
    torch.float32: {"atol": 3e-6, "rtol": 3e-6},
    torch.float16: {"atol": 5e-4, "rtol": 1e-3},
    torch.bfloat16: {"atol": 4e-3, "rtol": 8e-3},
}
DTYPES = list(TOLERANCE)
SHAPES = st.one_of(
    st.tuples(st.integers(1, 3), st.sampled_from([1, 2, 3, 8, 16, 20, 40]), st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 70), st.sampled_from([1, 5, 8, 64])),
    st.tuples(st.integers(1, 2), st.sampled_from([264, 300]), st.just(1), st.integers(1, 4)),
    st.tuples(st.integers(1, 2), st.integers(1, 3), st.just(33), st.just(32)),
)


def features(shape, dtype, channels_last, generator) -> torch.Tensor:
    x = torch.randn(shape, generator=generator).to(dtype)
    return x.contiguous(memory_format=torch.channels_last) if channels_last and len(shape) == 4 else x


def double(values):
    return None if values is None else values.double()


def close(got, expected, dtype) -> None:
    assert got.dtype == dtype
    torch.testing.assert_close(got.float(), expected.float(), **TOLERANCE[dtype])


def sums_close(got, expected, terms) -> None:
    """Sums of so many terms of about one, kept in float32."""
    torch.testing.assert_close(got.double(), expected.double(), atol=2e-6 * terms**0.5 + 2e-6, rtol=2e-5)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=SHAPES,
    types=st.sampled_from([(a, a) for a in DTYPES] + [(torch.float32, torch.float16), (torch.float32, torch.bfloat16)]),
    channels_last=st.booleans(),
    to_channels_last=st.booleans(),
    enough=st.sampled_from([1, 2**17]),
    seed=st.integers(0, 2**32 - 1),
)
def test_scale_in(in_both_orders, shape, types, channels_last, to_channels_last, enough, seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    dtype, target = types
    x = features(shape, dtype, channels_last, generator)
    scale = torch.randn(shape[:2], generator=generator)
    to_channels_last = to_channels_last and len(shape) == 4
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensors, "ENOUGH_THREADS", enough)
        got = in_both_orders(lambda: scaling.scale_in(x, scale, target, to_channels_last))
        close(got, formulas.scale_in(x, scale, target), target)
        assert not to_channels_last or got.is_contiguous(memory_format=torch.channels_last)

        grad = features(shape, target, not channels_last, generator)
        grad_x, grad_scale = in_both_orders(lambda: scaling.scale_in_backward(grad, x, scale, [True, True]))
        expected_x, expected_scale = formulas.scale_in_backward(grad.double(), x.double(), scale.double())
        close(grad_x, expected_x, dtype)
        sums_close(grad_scale, expected_scale, x[0, 0].numel())
        for wanted in ([True, False], [False, True]):
            found = scaling.scale_in_backward(grad, x, scale, wanted)
            for part, whole, wants in zip(found, (grad_x, grad_scale), wanted, strict=True):
                assert torch.equal(part, whole) if wants else part.numel() == 0


@settings(deadline=None, max_examples=160, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=SHAPES,
    dtype=st.sampled_from(DTYPES),
    channels_last=st.booleans(),
    present=st.tuples(*[st.booleans()] * 5),
    shared_noise=st.booleans(),
    slope=st.sampled_from([0.2, 1.0]),
    limit=st.sampled_from([math.inf, 0.8]),
    wanted=st.tuples(*[st.booleans()] * 6),
    enough=st.sampled_from([1, 2**17]),
    seed=st.integers(0, 2**32 - 1),
)
def test_scale_out(
    in_both_orders, shape, dtype, channels_last, present, shared_noise, slope, limit, wanted, enough, seed
) -> None:
    generator = torch.Generator().manual_seed(seed)
    n, c, *size = shape
    has_noise = present[1] and len(size) == 2
    shapes = [(n, c), (1 if shared_noise else n, 1, *size), (), (c,), (n, c)]
    there = [present[0], has_noise, has_noise and present[2], present[3], present[4]]
    parts = [
        torch.randn(shape, generator=generator) if is_there else None
        for shape, is_there in zip(shapes, there, strict=True)
    ]
    x = features(shape, dtype, channels_last, generator)
    settings = (1.3, slope, limit)
    doubles = tuple(map(double, parts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensors, "ENOUGH_THREADS", enough)
        got = in_both_orders(lambda: scaling.scale_out(x, tuple(parts), *settings))
        close(got, formulas.scale_out(x.double(), doubles, *settings), dtype)

        wanted = [wants and is_there for wants, is_there in zip(wanted, [True, *there], strict=True)]
        grad = features(shape, dtype, not channels_last, generator)
        found = in_both_orders(lambda: scaling.scale_out_backward(grad, x, tuple(parts), *settings, wanted))
    expected = formulas.scale_out_backward(grad.double(), x.double(), doubles, *settings)
    # Where z is next to a kink the float32 value may lie on its other side; such an element proves nothing.
    z = unclamped(x.double(), doubles)
    clear = (z.abs() > 1e-5) & ((z * torch.where(z > 0, 1.3, 1.3 * slope)).abs() - limit).abs().gt(1e-5)
    terms = [None, x[0, 0].numel(), n * c, x.numel(), n * x[0, 0].numel(), x[0, 0].numel()]
    for value, reference, wants, count in zip(found, expected, wanted, terms, strict=True):
        if not wants:
            assert value.numel() == 0
        elif count is None:
            close(torch.where(clear, value, 0), torch.where(clear, reference, 0), dtype)
        elif clear.all():
            assert value.shape == reference.shape
            sums_close(value, reference, count)


def unclamped(x, parts):
    z = formulas.scale_out(x, (*parts[:4], None), 1.0, 1.0, math.inf)
    return z


def test_the_public_references_formula(emulator) -> None:
    x, bias = torch.randn(2, 8, 5, 6), torch.randn(8)
    scale, next_scale, strength = torch.randn(2, 8), torch.randn(2, 8), torch.tensor(0.3)
    noise = torch.randn(2, 1, 5, 6)
    expected = scale_out_reference(x, bias, "lrelu", 0.7, 0.9, scale, noise, strength, next_scale)
    got = scaling.scale_out(x, (scale, noise, strength, bias, next_scale), 0.7 * 2**0.5, 0.2, 0.9 * 0.7)
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("channels_last", [False, True])
def test_infinities_and_nan_go_through_and_kinks_are_torchs(emulator, channels_last) -> None:
    values = torch.tensor([0.0, -0.0, 1.0, -1.0, 2.0, -10.0, math.inf, -math.inf, math.nan, 5.0, -5.0, 0.5])
    x = values.view(1, 4, 3, 1).contiguous(
        memory_format=torch.channels_last if channels_last else torch.preserve_format
    )
    parts = (None,) * 5
    got = scaling.scale_out(x, parts, 1.0, 0.2, 1.0)
    z = x.clone().requires_grad_()
    expected = scale_out_reference(z, None, "lrelu", 2**-0.5, 2**0.5)
    torch.testing.assert_close(got, expected.detach(), equal_nan=True)
    (expected_grad,) = torch.autograd.grad(expected.sum(), z)
    grad = scaling.scale_out_backward(torch.ones_like(x), x, parts, 1.0, 0.2, 1.0, [True, *[False] * 5])[0]
    finite = x.isfinite()
    # At 1, which is the limit, the reference's gain of 2**0.5 * 2**-0.5 is not quite 1.
    inner = finite & (x != 1.0) & (x != -5.0)
    torch.testing.assert_close(grad[inner], expected_grad[inner])
    assert grad[x == 1.0].item() == 1.0
    assert grad[x == 0.0].tolist() == pytest.approx([0.2, 0.2])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_emulations_conversions_are_torchs(emulator, dtype) -> None:
    bits = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(dtype)
    every_value = bits.view(1, 1, 256, 256)
    one = torch.ones(1, 1)
    back = scaling.scale_in(every_value, one, dtype, False)
    torch.testing.assert_close(back, every_value, equal_nan=True, atol=0, rtol=0)
    floats = torch.randint(-(2**31), 2**31, (1, 1, 256, 256), dtype=torch.int64).to(torch.int32).view(torch.float32)
    near = (every_value.float().view(torch.int32) + torch.randint(-(2**13), 2**13, (1, 1, 256, 256))).to(torch.int32)
    for values in (floats, near.view(torch.float32), every_value.float() * (1 + 2**-9)):
        torch.testing.assert_close(
            scaling.scale_in(values, one, dtype, False), values.to(dtype), equal_nan=True, atol=0, rtol=0
        )


def test_many_samples_and_large_images(emulator, monkeypatch) -> None:
    monkeypatch.setattr(tensors, "MOST_BLOCKS", 3)
    monkeypatch.setattr(scaling, "MOST_BLOCKS", 2)
    for shape in [(7, 16, 12, 12), (5, 40, 2, 2), (2, 2, 64, 64)]:
        x, scale, bias = torch.randn(shape), torch.randn(shape[:2]), torch.randn(shape[1])
        parts = (scale, torch.randn(shape[0], 1, *shape[2:]), torch.tensor(0.5), bias, torch.randn(shape[:2]))
        for layout in (torch.contiguous_format, torch.channels_last):
            y = x.contiguous(memory_format=layout)
            torch.testing.assert_close(scaling.scale_in(y, scale, y.dtype, True), x * scale[:, :, None, None])
            expected = formulas.scale_out(x, parts, 1.0, 0.2, 2.0)
            torch.testing.assert_close(scaling.scale_out(y, parts, 1.0, 0.2, 2.0), expected, atol=1e-6, rtol=1e-6)
            found = scaling.scale_out_backward(y, y, parts, 1.0, 0.2, 2.0, [True] * 6)
            for value, reference in zip(found, formulas.scale_out_backward(x, x, parts, 1.0, 0.2, 2.0), strict=True):
                torch.testing.assert_close(value, reference, atol=1e-3, rtol=1e-4)


def test_views_that_are_not_aligned(emulator) -> None:
    for shape, layout in [((2, 4, 4, 8), "planes"), ((6, 8), "channels_last")]:
        count = math.prod(shape)
        x = torch.randn(count + 1)[1:].view(shape)
        scale, next_scale = (torch.randn(2 * shape[0] * shape[1] + 1)[1::2].view(shape[:2]) for _ in range(2))
        parts = (scale, None, None, torch.randn(shape[1] + 1)[1:], next_scale)
        expected = formulas.scale_out(x, parts, 1.0, 0.2, 2.0)
        torch.testing.assert_close(scaling.scale_out(x, parts, 1.0, 0.2, 2.0), expected)
        # The tensor itself aligned, its small ones not.
        torch.testing.assert_close(scaling.scale_out(x.clone(), parts, 1.0, 0.2, 2.0), expected)
        assert emulator.launched[-2:] == [f"scale_out_{layout}_narrow_f32", f"scale_out_{layout}_wide_f32"]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("shape", [(2, 2, 33, 32), (1, 40, 9, 9), (3, 4, 16, 16)])
def test_all_sums_one_after_the_other(in_both_orders, shape, channels_last) -> None:
    x = features(shape, torch.float32, channels_last, None)
    n, c, *size = shape
    parts = (torch.randn(n, c), torch.randn(n, 1, *size), torch.tensor(0.5), torch.randn(c), torch.randn(n, c))
    for wants_noise in (False, True):  # which is for channels_last only
        wanted = [True, True, wants_noise, True, True, True]
        found = in_both_orders(lambda wanted=wanted: scaling.scale_out_backward(x, x, parts, 1.0, 0.2, 2.0, wanted))
        expected = formulas.scale_out_backward(x, x, parts, 1.0, 0.2, 2.0)
        for value, reference, wants in zip(found, expected, wanted, strict=True):
            if wants:
                torch.testing.assert_close(value, reference, atol=2e-4, rtol=1e-4)
