"""Strengths for targets: known curves, limits, noise, and measures that fail."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxredit_cli.editing.solve_target import solve


def solve_curve(curve, targets, slope=0.01, limit=20.0, **options):
    calls = []

    def measure(rows, strengths):
        calls.append(len(rows))
        return np.array([curve(int(row), float(strength)) for row, strength in zip(rows, strengths, strict=True)])

    return solve(measure, np.asarray(targets, dtype=float), slope, limit, **options), calls


def test_a_line_with_the_calibrated_slope_takes_one_step() -> None:
    found, calls = solve_curve(lambda row, s: 0.45 + 0.01 * s, [0.55, 0.40, 0.45])
    np.testing.assert_allclose(found.strength, [10, -5, 0])
    np.testing.assert_allclose(found.value, [0.55, 0.40, 0.45])
    assert found.reached.all()
    assert calls == [3, 2]  # the third is there already


@settings(max_examples=60, deadline=None)
@given(
    start=st.floats(0.35, 0.55),
    rise=st.floats(0.05, 0.3),
    width=st.floats(3, 30),
    guessed=st.sampled_from([0.002, 0.01, 0.05, None]),
    target=st.floats(0.3, 0.7),
)
def test_any_rising_curve_is_solved_whatever_the_calibration_says(start, rise, width, guessed, target) -> None:
    def curve(row: int, strength: float) -> float:
        return start + rise * np.tanh(strength / width)

    found, _ = solve_curve(curve, [target], slope=guessed, limit=20, tolerance=0.004)
    lowest, highest = curve(0, -20), curve(0, 20)
    if lowest <= target <= highest:
        assert found.reached[0], (found.strength, found.value)
    else:  # as near as the limit allows
        assert found.value[0] == pytest.approx(lowest if target < lowest else highest, abs=0.004)
        assert found.reached[0] == (abs(found.value[0] - target) <= 0.004)
    assert abs(found.strength[0]) <= 20


def test_a_falling_measure_is_solved_too() -> None:
    found, _ = solve_curve(lambda row, s: 0.5 - 0.02 * s - 0.0005 * s * abs(s), [0.6, 0.35], slope=-0.02)
    assert found.reached.all()
    assert found.strength[0] < 0 < found.strength[1]


def test_steps_of_a_coarse_measure_end() -> None:
    found, calls = solve_curve(lambda row, s: np.round((0.45 + 0.006 * s) / 0.02) * 0.02, [0.53], slope=0.006)
    assert len(calls) <= 14
    assert abs(found.value[0] - 0.53) == pytest.approx(0.01)
    assert not found.reached[0]


def test_no_strength_beyond_an_implausible_picture() -> None:
    def curve(row: int, strength: float) -> float:
        return np.nan if strength > 6 else 0.45 + 0.01 * strength

    found, _ = solve_curve(curve, [0.55, 0.50])
    assert found.reached.tolist() == [False, True]
    assert 5 < found.strength[0] <= 6
    assert found.strength[1] == pytest.approx(5, abs=0.5)


def test_a_picture_that_cannot_be_measured_has_no_strength() -> None:
    found, calls = solve_curve(lambda row, s: np.nan if row == 0 else 0.45 + 0.01 * s, [0.5, 0.5])
    assert np.isnan(found.strength[0])
    assert found.reached.tolist() == [False, True]
    assert calls == [2, 1]


def test_a_direction_that_does_nothing_ends_at_the_nearest_strength() -> None:
    found, calls = solve_curve(lambda row, s: 0.45, [0.55], slope=0.01)
    assert found.strength[0] == 0
    assert not found.reached[0]
    assert len(calls) <= 14


def test_a_picture_that_does_the_opposite_is_not_turned_round() -> None:
    found, _ = solve_curve(lambda row, s: 0.45 - 0.01 * s, [0.55], slope=0.01)
    assert found.strength[0] == 0  # a smaller heart at positive strength does not make negative strength the disease
    assert not found.reached[0]


def test_gaps_are_searched_where_a_curve_turns_back() -> None:
    found, _ = solve_curve(lambda row, s: 0.45 + 0.06 * np.sin(max(s, 0) * np.pi / 20), [0.52], slope=0.001)
    assert found.strength[0] == pytest.approx(10, abs=1.5)
    assert found.value[0] == pytest.approx(0.51, abs=0.003)


def test_without_a_calibration_either_side_is_tried() -> None:
    found, _ = solve_curve(lambda row, s: 0.45 - 0.01 * s, [0.55], slope=None)
    assert found.reached[0]
    assert found.strength[0] == pytest.approx(-10, abs=0.5)
