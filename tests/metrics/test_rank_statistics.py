"""AUC, its interval over patients, and permutations of patients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from cxredit_cli.metrics import rank_statistics
from cxredit_cli.metrics.rank_statistics import auc_interval, permute_patients, roc_auc


def test_auc_by_hand() -> None:
    # Pairs (positive, negative): 3>1, 3>2, 2>1, 2=2 -> (1 + 1 + 1 + 0.5) / 4
    assert roc_auc(np.array([1.0, 2, 2, 3]), np.array([False, False, True, True])) == 0.875


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30))
def test_auc_is_that_of_scikit_learn(rows: list[tuple[int, bool]]) -> None:
    scores, positive = np.array([r[0] for r in rows], dtype=float), np.array([r[1] for r in rows])
    if positive.all() or not positive.any():
        return
    np.testing.assert_allclose(roc_auc(scores, positive), roc_auc_score(positive, scores))


def test_interval_covers_and_narrows() -> None:
    rng, covered, widths = np.random.default_rng(0), 0, []
    truth = 0.7602  # of two normals one standard deviation apart: Phi(1 / sqrt 2)
    for _ in range(300):
        positive = np.arange(120) < 60
        scores = rng.standard_normal(120) + positive
        low, high = auc_interval(scores, positive, np.arange(120), samples=300)
        covered += low <= truth <= high
        widths.append(high - low)
    assert covered >= 0.9 * 300
    assert 0.12 < np.mean(widths) < 0.22


def test_repeated_images_of_a_patient_do_not_narrow_the_interval() -> None:
    rng = np.random.default_rng(1)
    positive, patients = np.arange(40) < 20, np.arange(40)
    scores = rng.standard_normal(40) + positive
    once = auc_interval(scores, positive, patients)
    five = auc_interval(np.repeat(scores, 5), np.repeat(positive, 5), np.repeat(patients, 5))
    np.testing.assert_allclose(once, five, atol=1e-9)


def test_perfect_ranking_still_has_a_width() -> None:
    low, high = auc_interval(np.arange(12.0), np.arange(12) >= 6, np.arange(12))
    assert high == 1
    assert 0.5 < low < 0.9


def test_permutations_move_patients_within_strata() -> None:
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(30), 2)
    strata = patients % 3
    positive = np.repeat(rng.random(30) < 0.4, 2)
    null = permute_patients(positive, patients, strata, 50, seed=0)
    assert (null[:, ::2] == null[:, 1::2]).all()  # a patient's images stay of one class
    for stratum in range(3):
        assert (null[:, strata == stratum].sum(axis=1) == positive[strata == stratum].sum()).all()
    assert len(np.unique(null, axis=0)) == 50
    np.testing.assert_array_equal(null, permute_patients(positive, patients, strata, 50, seed=0))


def test_patients_of_both_classes_are_exchanged_too() -> None:
    patients = np.array([0, 0, 0, 1, 2, 2, 3, 4, 5, 5])
    positive = np.array([1, 0, 0, 1, 0, 1, 0, 1, 0, 0], dtype=bool)
    null = permute_patients(positive, patients, np.array([0] * 6 + [1] * 4), 20, seed=0)
    assert null.shape == (20, 10)
    assert null.any(axis=1).all()
    assert not null.all(axis=1).any()


@pytest.mark.parametrize("seed", range(3))
def test_ties_count_half_in_the_interval(seed: int) -> None:
    low, high = auc_interval(np.zeros(20), np.arange(20) < 10, np.arange(20), seed=seed)
    assert low <= 0.5 <= high


def test_memory_is_bounded_and_changes_no_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    scores, positive, patients = rng.standard_normal(90), rng.random(90) < 0.4, np.arange(90) // 2
    whole = auc_interval(scores, positive, patients, samples=100)
    monkeypatch.setattr(rank_statistics, "AT_ONCE", 300)  # three samples at a time
    np.testing.assert_allclose(auc_interval(scores, positive, patients, samples=100), whole)


def test_patients_are_looked_up_once_and_not_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 2,000 patients with an image each: no pass over all images for each patient."""
    passes = []
    flatnonzero = np.flatnonzero
    monkeypatch.setattr(np, "flatnonzero", lambda found: passes.append(len(found)) or flatnonzero(found))
    permute_patients(np.arange(2000) < 500, np.arange(2000), np.arange(2000) % 5, 3, seed=0)
    assert sum(passes) < 20 * 2000
