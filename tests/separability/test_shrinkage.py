"""An axis of what shows: a disease in the visible directions is found beside strong noise in the others."""

import numpy as np
import pytest

from cxredit_cli.errors import InputError
from cxredit_cli.separability.code_rows import CodeRows
from cxredit_cli.separability.discriminant import PrincipalBasis, fit_shrinkage
from cxredit_cli.separability.folds import assign_folds
from cxredit_cli.separability.lda import lda
from cxredit_cli.separability.shrinkage import SHRINKAGES, choose_shrinkage

VISIBLE, DIMENSIONS = 8, 120
CURVATURE = np.where(np.arange(DIMENSIONS) < VISIBLE, 1.0, 1e-4)
COORDINATES = np.diag(np.sqrt(CURVATURE))  # known without labels
DISEASE = np.eye(DIMENSIONS)[3]


def cohort(seed: int = 0, n: int = 160, effect: float = 2.0):
    """Codes [n, 1, 120] with noise 15 times as strong where nothing shows, labels, and patients of two films each."""
    rng = np.random.default_rng(seed)
    ill = np.repeat(rng.random(n // 2) < 0.4, 2)
    codes = rng.normal(size=(n, DIMENSIONS)) * np.where(CURVATURE == 1, 1.0, 15.0)
    codes += effect * ill[:, None] * DISEASE
    turn = np.linalg.qr(rng.normal(size=(DIMENSIONS, DIMENSIONS)))[0]  # no axis of the codes is special
    return (codes @ turn.T)[:, None], ill, [f"p{i // 2}" for i in range(n)], turn


def test_what_shows_holds_where_plain_codes_fail() -> None:
    codes, ill, patients, turn = cohort()
    plain = lda(codes, ill, patients, permutations=99)
    shown = lda(codes, ill, patients, permutations=99, coordinates=turn @ COORDINATES)
    assert plain.auc < 0.7
    assert plain.shrinkage_in_folds is None
    assert shown.auc > 0.86  # two normal classes 2 deviations apart: 0.921
    assert shown.p_value == 0.01
    assert shown.axis @ turn @ DISEASE > 0.8
    np.testing.assert_allclose(np.linalg.norm(shown.axis), 1)
    assert shown.class_gap == pytest.approx(2, abs=0.7)  # in units of the codes
    assert len(shown.shrinkage_in_folds) == 5
    assert {shown.shrinkage, *shown.shrinkage_in_folds} <= set(SHRINKAGES)
    assert shown.figures()["shrinkage_in_folds"] == shown.shrinkage_in_folds


def test_units_of_the_coordinates_do_not_matter_to_the_projections() -> None:
    codes, ill, patients, turn = cohort()
    first, second = (
        lda(codes, ill, patients, permutations=9, coordinates=scale * turn @ COORDINATES) for scale in (1, 50)
    )
    np.testing.assert_allclose(first.axis, second.axis, atol=1e-9)
    np.testing.assert_allclose(first.held_out_projections, second.held_out_projections, atol=1e-9)
    assert first.class_gap == pytest.approx(second.class_gap)
    np.testing.assert_allclose(first.class_deviation, second.class_deviation)


def test_p_values_are_uniform_without_signal_although_a_strength_is_chosen() -> None:
    values, areas = [], []
    for seed in range(40):
        codes, ill, patients, turn = cohort(seed, 60, effect=0)
        found = lda(codes, ill, patients, 4, 39, seed, coordinates=turn @ COORDINATES)
        values.append(found.p_value)
        areas += [found.auc, *found.auc_null]
    assert 0.35 < np.mean(values) < 0.65
    assert np.mean(np.array(values) <= 0.1) < 0.25
    assert abs(np.mean(areas) - 0.5) < 0.02  # nothing of the choice leaks into the judgement


def test_a_fold_has_no_part_in_the_choice_that_it_is_judged_by() -> None:
    codes, ill, patients, turn = cohort()
    x = codes[:, 0] @ turn @ COORDINATES
    fold = assign_folds(ill, np.unique(patients, return_inverse=True)[1], 5, 0)
    before = choose_shrinkage(CodeRows.of(x), ill[None], fold)
    for k in range(5):
        held = fold == k
        other = x.copy()
        other[held] = 7 * np.random.default_rng(k).normal(size=other[held].shape)
        labels = np.where(held, ~ill, ill)
        after = choose_shrinkage(CodeRows.of(other), labels[None], fold)
        assert after.in_folds[k] == before.in_folds[k]
        # The axis that the fold is judged by is of the others alone: the old codes lie on it as before.
        strength = before.in_folds[k]
        fitted = CodeRows.of(other[~held])
        again = fit_shrinkage(fitted, PrincipalBasis.of(fitted), labels[None, ~held], DIMENSIONS, strength)
        np.testing.assert_allclose(again.project(CodeRows.of(x[held]))[0], before.held_out[0, held], atol=1e-6)


def test_each_labelling_chooses_for_itself() -> None:
    codes, ill, patients, turn = cohort()
    x = CodeRows.of(codes[:, 0] @ turn @ COORDINATES)
    owner = np.unique(patients, return_inverse=True)[1]
    fold = assign_folds(ill, owner, 5, 0)
    random = np.repeat(np.random.default_rng(9).random(80) < 0.4, 2)
    together = choose_shrinkage(x, np.stack([ill, random]), fold)
    for row, labels in enumerate((ill, random)):
        alone = choose_shrinkage(x, labels[None], fold)
        np.testing.assert_allclose(together.held_out[row], alone.held_out[0], atol=1e-9)


def test_too_few_folds_or_patients_is_one_sentence() -> None:
    codes, ill, patients, turn = cohort()
    with pytest.raises(InputError, match="--folds must be 3 or more"):
        lda(codes, ill, patients, folds=2, permutations=2, coordinates=turn @ COORDINATES)
    x, fold = CodeRows.of(np.random.default_rng(0).normal(size=(9, 2))), np.repeat([0, 1, 2], 3)
    with pytest.raises(InputError, match="Without two of the folds one class may be empty"):
        choose_shrinkage(x, np.array([[1, 0, 0, 1, 0, 0, 0, 0, 0]], dtype=bool), fold)
