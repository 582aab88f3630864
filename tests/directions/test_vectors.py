"""The direction of a pair: the formula, and when it says that there is none."""

import numpy as np
import pytest

from cxredit_cli.directions.vectors import pair_direction
from cxredit_cli.errors import InputError

SPREAD = np.full(4, 0.5, dtype=np.float32)


def test_formula_by_hand() -> None:
    original = np.array([[1, 1, 1, 1]], dtype=np.float32)
    edited = np.array([[1, 4, 1, 5]], dtype=np.float32)
    direction, statistics = pair_direction(original, edited, SPREAD)
    np.testing.assert_allclose(direction, [[0, 0.6, 0, 0.8]])
    assert statistics.length == 5
    np.testing.assert_allclose(statistics.relative_distance, 5 / np.sqrt(2 * 4 * 0.25))
    np.testing.assert_allclose(statistics.deviations, np.sqrt((36 + 64) / 4))
    assert statistics.largest_deviation == 8
    assert statistics.warning() is None
    np.testing.assert_allclose(original + statistics.length * direction, edited, rtol=1e-6)


def test_the_measure_is_one_for_random_codes_in_w_and_in_w_plus() -> None:
    rng = np.random.default_rng(0)
    w = rng.standard_normal((2, 1, 512)).astype(np.float32)
    spread = np.ones(512, dtype=np.float32)
    assert pair_direction(w[0], w[1], spread)[1].relative_distance == pytest.approx(1, abs=0.1)
    wide = w.repeat(12, axis=1)
    assert pair_direction(wide[0], wide[1], spread)[1].relative_distance == pytest.approx(1, abs=0.1)
    assert np.linalg.norm(pair_direction(wide[0], wide[1], spread)[0]) == pytest.approx(1)


def test_a_faint_pair_is_named() -> None:
    rng = np.random.default_rng(1)
    w = rng.standard_normal((1, 64)).astype(np.float32)
    spread = np.ones(64, dtype=np.float32)
    _, faint = pair_direction(w, w + 0.001, spread)
    assert "hardly any direction" in (faint.warning() or "")
    near, far = w + np.float32(0.3), w.copy()
    far[0, :8] += 0.5
    _, chance = pair_direction(w, near, spread, repeat=far)
    assert chance.against_repeat == pytest.approx(0.3 * 8 / (0.5 * 8**0.5), rel=1e-5)
    assert "mostly chance" in (chance.warning() or "")


def test_equal_codes_are_refused() -> None:
    w = np.ones((1, 4), dtype=np.float32)
    with pytest.raises(InputError, match="same code"):
        pair_direction(w, w.copy(), SPREAD)
