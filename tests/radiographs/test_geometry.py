"""Cropping, padding and exact areas."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxredit_cli.errors import InputError
from cxredit_cli.radiographs.geometry import fit_square


def image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).random((height, width), dtype=np.float32)


def area_reference(square: np.ndarray, count: int) -> np.ndarray:
    """The share of every pixel under every new pixel, one by one."""
    side = square.shape[0]
    weights = np.zeros((count, side))
    for new in range(count):
        low, high = new * side / count, (new + 1) * side / count
        for old in range(side):
            weights[new, old] = max(0.0, min(high, old + 1) - max(low, old)) / (high - low)
    return weights @ square @ weights.T


@settings(max_examples=40, deadline=None)
@given(side=st.integers(1, 70), count=st.integers(1, 70))
def test_down_sampling_averages_exact_areas(side, count):
    square = image(side, side)
    result = fit_square(square, count)
    assert result.shape == (count, count)
    assert result.dtype == np.float32
    if count <= side:
        np.testing.assert_allclose(result, area_reference(square, count), atol=2e-6)


def test_three_to_two_by_hand():
    # Each new pixel covers one and a half: (0.0 + 0.9 / 2) / 1.5 and (0.9 / 2 + 0.3) / 1.5.
    row = np.array([[0.0, 0.9, 0.3]] * 3, dtype=np.float32)
    np.testing.assert_allclose(fit_square(row, 2), [[0.3, 0.5]] * 2, atol=1e-6)


def test_the_same_size_is_the_same_picture():
    square = image(33, 33)
    np.testing.assert_array_equal(fit_square(square, 33), square)


def test_crop_takes_the_centre_and_pad_keeps_everything():
    wide = np.zeros((4, 8), dtype=np.float32)
    wide[:, 2:6] = 1
    np.testing.assert_array_equal(fit_square(wide, 4), np.ones((4, 4)))
    padded = fit_square(np.ones((4, 8), dtype=np.float32), 8, "pad")
    np.testing.assert_array_equal(padded[[0, 1, 6, 7]], 0)
    np.testing.assert_array_equal(padded[2:6], 1)
    tall = fit_square(np.ones((9, 4), dtype=np.float32), 9, "pad")
    assert tall.sum() == 36


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 60), width=st.integers(1, 60), count=st.integers(1, 60), fit=st.sampled_from(["crop", "pad"])
)
def test_a_constant_stays_constant_and_values_in_range(height, width, count, fit):
    result = fit_square(np.full((height, width), 0.7, dtype=np.float32), count, fit)
    assert result.min() >= 0
    assert result.max() <= 1
    if fit == "crop" or height == width:
        np.testing.assert_allclose(result, 0.7, atol=1e-6)


def test_fine_stripes_do_not_alias():
    # Every second line white: at a third of the size it must be grey, not a slow pattern of stripes.
    stripes = np.zeros((300, 300), dtype=np.float32)
    stripes[::2] = 1
    assert np.abs(fit_square(stripes, 75) - 0.5).max() < 1e-6
    assert np.abs(fit_square(stripes, 29) - 0.5).max() < 0.06


def test_up_sampling_is_smooth_and_centred():
    square = np.tile(np.linspace(0.2, 0.8, 16, dtype=np.float32), (16, 1))
    result = fit_square(square, 64)
    assert (np.diff(result[32]) >= -1e-6).all()
    np.testing.assert_allclose(result, 1 - result[:, ::-1], atol=1e-5)


def test_impossible_requests():
    with pytest.raises(InputError, match="at least 1"):
        fit_square(image(4, 4), 0)
    with pytest.raises(InputError, match="'crop' or 'pad'"):
        fit_square(image(4, 4), 4, "stretch")  # type: ignore[arg-type]
