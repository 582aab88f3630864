"""The CUDA kernels of upfirdn2d, run on the host: every case, layout and type against the reference."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxredit_cli.ops.kernels import resample
from cxredit_cli.ops.upfirdn2d import RESAMPLE_TAPS, setup_filter, upfirdn2d_reference

# How far a result may be off: float32 sums in another order, and one rounding to the element's type.
TOLERANCE = {
    torch.float32: {"atol": 3e-6, "rtol": 3e-6},
    torch.float16: {"atol": 2e-4, "rtol": 1e-3},
    torch.bfloat16: {"atol": 2e-3, "rtol": 8e-3},
}
DTYPES = list(TOLERANCE)


def check(call, x, kernel, up, down, padding, flip) -> None:
    got = call(lambda: resample.upfirdn2d(x, kernel, up, down, padding, flip, 1.5))
    expected = upfirdn2d_reference(x.double(), kernel.double(), up, down, padding, flip, 1.5).float()
    assert got.shape == expected.shape
    assert got.dtype == x.dtype
    torch.testing.assert_close(got.float(), expected, **TOLERANCE[x.dtype])


def image(shape, dtype, channels_last, generator=None) -> torch.Tensor:
    x = torch.randn(shape, generator=generator).to(dtype)
    return x.contiguous(memory_format=torch.channels_last) if channels_last else x


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("shape", [(1, 16, 9, 10), (2, 24, 5, 13), (3, 3, 17, 8), (2, 1, 16, 16), (1, 8, 4, 4)])
def test_the_networks_filter(in_both_orders, emulator, dtype, channels_last, up, down, shape) -> None:
    x = image(shape, dtype, channels_last)
    for padding in [(2, 1, 2, 1), (1, 1, 1, 1), (1, 2, 1, 2)]:
        check(in_both_orders, x, setup_filter(), up, down, padding, flip=False)
    wide = channels_last and shape[1] % (16 // x.element_size()) == 0
    case = {(1, 1): "plain", (2, 1): "up2", (1, 2): "down2"}[up, down]
    assert all(name.startswith(f"upfirdn2d_{case}_{'wide' if wide else 'narrow'}") for name in emulator.launched)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(
        st.integers(1, 3), st.sampled_from([1, 2, 3, 4, 8, 12, 16]), st.integers(1, 19), st.integers(1, 19)
    ),
    up=st.integers(1, 4),
    down=st.integers(1, 4),
    padding=st.tuples(*[st.integers(-3, 9)] * 4),
    taps=st.one_of(st.just((4, 4)), st.just((4, 4)), st.tuples(st.integers(1, 7), st.integers(1, 7)), st.just((1, 32))),
    separable=st.booleans(),
    flip=st.booleans(),
    channels_last=st.booleans(),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_filter_and_padding(
    emulator, shape, up, down, padding, taps, separable, flip, channels_last, dtype, seed
) -> None:
    generator = torch.Generator().manual_seed(seed)
    if shape[2] * up + padding[2] + padding[3] < taps[0] or shape[3] * up + padding[0] + padding[1] < taps[1]:
        return
    for size, before, after in ((shape[3] * up, *padding[:2]), (shape[2] * up, *padding[2:])):
        if size + min(before, 0) + min(after, 0) < 1:
            return  # the reference cannot crop more than there is
    if separable:
        kernel = torch.outer(torch.randn(taps[0], generator=generator), torch.randn(taps[1], generator=generator))
    else:
        kernel = torch.randn(taps, generator=generator)
    x = image(shape, dtype, channels_last, generator)
    emulator.descending = bool(seed % 2)
    check(lambda function: function(), x, kernel / kernel.abs().sum(), up, down, padding, flip)
    emulator.launched.append("none was needed")


def test_filters_that_are_no_product_or_nearly_one(emulator) -> None:
    x = image((2, 8, 11, 7), torch.float32, channels_last=True)
    row = torch.tensor([1.0, -3.0, 3.0, -1.0])  # sums to zero
    nearly = torch.outer(torch.tensor(RESAMPLE_TAPS), torch.tensor(RESAMPLE_TAPS)) / 64
    nearly[1, 2] += 1e-3
    for kernel in (torch.outer(row, torch.tensor(RESAMPLE_TAPS)), torch.outer(row, row), nearly, torch.zeros(4, 4)):
        kernel = kernel / kernel.abs().sum().clamp(min=1)
        for up, down in [(1, 1), (2, 1), (1, 2)]:
            check(lambda function: function(), x, kernel, up, down, (2, 3, 1, 2), flip=False)


def test_long_strips_and_many_blocks(emulator, monkeypatch) -> None:
    for enough in (0, 2**30):  # the longest strips, and the shortest
        monkeypatch.setattr(resample, "ENOUGH_THREADS", enough)
        for up, down in [(1, 1), (2, 1), (1, 2)]:
            for shape in [(2, 32, 37, 41), (1, 2, 70, 66)]:
                x = image(shape, torch.float32, channels_last=shape[1] > 2)
                check(lambda function: function(), x, setup_filter(), up, down, (2, 1, 2, 1), flip=False)


def test_more_samples_than_blocks_may_lie_in_a_grid(emulator, monkeypatch) -> None:
    monkeypatch.setattr(resample, "MOST_BLOCKS", 2)
    for channels_last in (False, True):
        x = image((9, 8, 18, 17), torch.float32, channels_last)
        check(lambda function: function(), x, setup_filter(), 1, 1, (1, 1, 1, 1), flip=False)
        check(lambda function: function(), x, torch.randn(3, 3), 1, 1, (1, 1, 1, 1), flip=True)


def test_a_view_that_is_not_aligned(emulator) -> None:
    x = torch.randn(1 + 2 * 4 * 6 * 8)[1:].view(2, 6, 8, 4).permute(0, 3, 1, 2)
    assert x.data_ptr() % 16
    check(lambda function: function(), x, setup_filter(), 1, 1, (1, 1, 1, 1), flip=False)
    assert emulator.launched == ["upfirdn2d_plain_narrow_f32"]
