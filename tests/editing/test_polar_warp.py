"""The warp: where points go, that nothing folds, and that the rest of the picture is untouched."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxredit_cli.editing.polar_warp import (
    ANGLES,
    Region,
    angles,
    backward_map,
    ellipse,
    enlarge,
    jacobian,
    least_reach,
    scales,
    smooth,
)
from cxredit_cli.errors import InputError


def grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    return rows, columns


def test_the_edge_of_the_region_goes_where_the_scale_says() -> None:
    region = ellipse(100, 80, 40, 30, reach=2)
    for angle, radius in ((0, 40), (np.pi / 2, 30), (np.pi, 40)):
        place = np.array([[80 + 1.25 * radius * np.sin(angle)]]), np.array([[100 + 1.25 * radius * np.cos(angle)]])
        y, x = backward_map(*place, region, scales(1.25, vertical=1.0))
        assert np.hypot(y - 80, x - 100).item() == pytest.approx(radius, rel=1e-3)


def test_sideways_it_is_the_scale_and_upwards_its_share() -> None:
    found = scales(1.5, vertical=0.4)
    assert found[0] == pytest.approx(1.5)
    assert found[ANGLES // 4] == pytest.approx(1.2)


@settings(max_examples=15, deadline=None)
@given(
    st.floats(0.7, 1.6),
    st.floats(0, 1),
    st.floats(0.15, 1.0),
    st.integers(0, 1000),
)
def test_nothing_folds(scale: float, vertical: float, room: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    waves = sum(random.normal(0, 0.08 / k) * np.cos(k * angles() + random.uniform(0, 6)) for k in range(1, 6))
    edge = smooth(40 * np.exp(waves))
    factor = scales(scale, vertical)
    region = Region(128, 128, edge, edge * (least_reach(factor) + room))
    y, x = backward_map(*grid(256, 256), region, factor)
    assert jacobian(y, x).min() > 0


def test_beyond_the_reach_nothing_moves_and_within_it_nothing_jumps() -> None:
    region = ellipse(64, 64, 20, 20, reach=2)
    rows, columns = grid(128, 128)
    y, x = backward_map(rows, columns, region, scales(1.3, 0.5))
    outside = np.hypot(rows - 64, columns - 64) >= 40
    np.testing.assert_array_equal(y[outside], rows[outside])
    np.testing.assert_array_equal(x[outside], columns[outside])
    assert np.abs(np.diff(x, axis=1)).max() < 4
    pixels = np.random.default_rng(0).random((128, 128), dtype=np.float32)
    warped = enlarge(pixels, region, scales(1.3, 0.5))
    np.testing.assert_array_equal(warped[outside], pixels[outside])
    assert np.abs(warped - pixels)[~outside].max() > 0.1
    assert warped.min() >= 0
    assert warped.max() <= 1


def test_a_disc_grows_by_the_scale() -> None:
    rows, columns = grid(200, 240)
    disc = (np.hypot(rows - 100, columns - 120) < 40).astype(np.float32)
    warped = enlarge(disc, ellipse(120, 100, 40, 40, reach=1.8), scales(1.25, vertical=1.0))
    assert warped.sum() / disc.sum() == pytest.approx(1.25**2, rel=0.02)


def test_at_the_border_of_the_picture_too() -> None:
    pixels = np.random.default_rng(1).random((60, 50), dtype=np.float32)
    warped = enlarge(pixels, ellipse(5, 55, 20, 20, reach=1.8), scales(1.2, 1.0))
    assert warped.shape == pixels.shape
    assert np.isfinite(warped).all()


def test_a_region_without_room_is_refused() -> None:
    pixels = np.zeros((100, 100), np.float32)
    edge = np.full(ANGLES, 20.0)
    with pytest.raises(InputError, match="nearer 1"):
        enlarge(pixels, Region(50, 50, edge, edge * 1.3), np.full(ANGLES, 1.6))
    with pytest.raises(InputError, match="outside the picture"):
        enlarge(pixels, Region(500, 500, edge, edge * 2), np.full(ANGLES, 1.2))
