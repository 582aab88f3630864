"""Separability: what a planted direction, and what nothing, looks like."""

import numpy as np
import pytest

from cxredit_cli.errors import InputError
from cxredit_cli.separability.folds import assign_folds
from cxredit_cli.separability.lda import lda, separation


def test_separation_by_hand() -> None:
    projections = np.array([0.0, 2, 10, 14])  # means 1 and 12, sample deviations sqrt 2 and sqrt 8
    positive = np.array([False, False, True, True])
    np.testing.assert_allclose(separation(projections, positive), 11 / ((2**0.5 + 8**0.5) / 2))
    np.testing.assert_allclose(separation(-projections, positive), -11 / ((2**0.5 + 8**0.5) / 2))


def test_random_labels_separate_in_sample_and_not_held_out() -> None:
    rng = np.random.default_rng(0)
    codes, positive = rng.standard_normal((350, 512)), np.arange(350) % 350 < 100
    found = lda(codes, positive, [str(i) for i in range(350)], permutations=100)
    assert 2.8 < found.in_sample < 5.7  # the range that proves nothing
    assert abs(found.held_out) < 0.35
    assert found.auc_interval[0] < 0.5 < found.auc_interval[1]
    assert found.p_value > 0.05
    assert abs(found.in_sample_null.mean() - found.in_sample) < 0.6
    assert abs(found.auc_null.mean() - 0.5) < 0.02


@pytest.mark.parametrize(("n", "shape"), [(200, (1, 32)), (150, (4, 64))])
def test_a_planted_direction_is_recovered(n: int, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    planted = rng.standard_normal(shape)
    planted /= np.linalg.norm(planted)
    positive = rng.random(n) < 0.4
    codes = rng.standard_normal((n, *shape)) + 5 * positive[:, None, None] * planted
    found = lda(codes.astype(np.float32), positive, [str(i) for i in range(n)], permutations=99)
    assert found.axis @ planted.ravel() > 0.8  # oriented: the positive class lies at the positive end
    np.testing.assert_allclose(np.linalg.norm(found.axis), 1)
    assert found.auc > 0.97
    assert found.held_out > 2.5
    assert found.p_value == 0.01
    assert found.class_gap > 3
    swapped = lda(codes, ~positive, [str(i) for i in range(n)], permutations=1)
    assert swapped.axis @ planted.ravel() < -0.8


def test_what_identifies_a_patient_is_not_taken_for_the_disease() -> None:
    """Codes that only say who the patient is separate random patient labels in ungrouped folds, never in grouped."""
    rng = np.random.default_rng(2)
    patients = np.repeat(np.arange(40), 5)
    codes = rng.standard_normal((40, 64))[patients] + 0.1 * rng.standard_normal((200, 64))
    positive = (rng.random(40) < 0.5)[patients]
    grouped = lda(codes, positive, [f"p{p}" for p in patients], permutations=99)
    assert grouped.p_value > 0.05
    ungrouped = lda(codes, positive, [str(i) for i in range(200)], permutations=9)
    assert ungrouped.auc > 0.95


def test_p_values_are_uniform_without_signal() -> None:
    rng, values = np.random.default_rng(3), []
    for seed in range(60):
        sizes = rng.integers(1, 4, 30)
        patients = np.repeat(np.arange(30), sizes)
        positive = (np.arange(30) < 10)[patients]
        codes = rng.standard_normal((len(patients), 8)) + rng.standard_normal((30, 8))[patients]
        values.append(lda(codes, positive, [str(p) for p in patients], 5, 39, seed).p_value)
    assert 0.35 < np.mean(values) < 0.65
    assert np.mean(np.array(values) <= 0.1) < 0.25


def test_same_seed_same_result() -> None:
    rng = np.random.default_rng(4)
    codes, positive = rng.standard_normal((60, 10)), np.arange(60) < 20
    names = [str(i) for i in range(60)]
    first, second = lda(codes, positive, names, seed=5), lda(codes, positive, names, seed=5)
    assert first.auc == second.auc
    assert first.p_value == second.p_value
    np.testing.assert_array_equal(first.axis, second.axis)


def test_folds_keep_patients_together_and_classes_even() -> None:
    rng = np.random.default_rng(5)
    patients = rng.integers(0, 60, 300)
    positive = patients < 20
    folds = assign_folds(positive, patients, 5, 0)
    for patient in np.unique(patients):
        assert len(np.unique(folds[patients == patient])) == 1
    shares = [positive[folds == fold].mean() for fold in range(5)]
    assert max(shares) - min(shares) < 0.15


def test_too_few_patients_is_one_sentence() -> None:
    codes = np.zeros((20, 4))
    positive = np.arange(20) < 10
    with pytest.raises(InputError, match="positive class has 2 patients, but 5 folds"):
        lda(codes, positive, ["a", "b"] * 5 + [str(i) for i in range(10)])
    with pytest.raises(InputError, match="at least 2"):
        lda(codes, positive, [str(i) for i in range(20)], folds=1)
