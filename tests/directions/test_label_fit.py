"""Directions from labels: planted ones come back by every method, and controls take a planted confounder out."""

import numpy as np
import pytest

from cxredit_cli.directions.controls import Controls, Residuals
from cxredit_cli.directions.label_fit import check_method, labelled_direction
from cxredit_cli.errors import InputError
from cxredit_cli.separability import code_rows
from cxredit_cli.separability.code_rows import CodeRows

METHODS = ("means", "lda", "logistic", "svm")
DIMENSIONS = 12
DISEASE, PROJECTION = np.eye(DIMENSIONS)[0], np.eye(DIMENSIONS)[1]


def cohort(seed: int = 0, n: int = 400, effect: float = 1.5, confounding: float = 0.0):
    """Codes [n, 1, 12], labels, patients (two images each) and whether each film is AP.

    A patient is ill or not and has AP or PA films; with `confounding` the ill have AP films more often. Illness moves
    the codes along DISEASE, an AP film moves them further along PROJECTION.
    """
    rng = np.random.default_rng(seed)
    ill = np.repeat(rng.random(n // 2) < 0.5, 2)
    ap = np.repeat(rng.random(n // 2), 2) < np.where(ill, 0.5 + confounding, 0.5 - confounding)
    codes = rng.normal(size=(n, DIMENSIONS)) + effect * ill[:, None] * DISEASE + 3.0 * ap[:, None] * PROJECTION
    return codes[:, None].astype(np.float32), ill, [f"p{i // 2}" for i in range(n)], ap


@pytest.mark.parametrize("method", METHODS)
def test_a_planted_direction_comes_back_and_tells_other_patients_apart(method: str) -> None:
    codes, ill, patients, _ = cohort()
    found = labelled_direction(codes, ill, patients, method)
    assert found.axis @ DISEASE > 0.9
    assert np.linalg.norm(found.axis) == pytest.approx(1)
    figures = found.statistics
    assert 0.78 < figures["auc"] < 0.92  # two normal classes 1.5 deviations apart: 0.856
    assert figures["auc_interval"][0] < figures["auc"] < figures["auc_interval"][1]
    assert figures["p_value"] < 0.01
    assert figures["auc_in_sample"] >= figures["auc"] - 0.02
    assert figures["class_gap"] == pytest.approx(1.5, abs=0.35)
    assert figures["positive_patients"] + figures["negative_patients"] == 200


@pytest.mark.parametrize("method", METHODS)
def test_labels_that_say_nothing_have_no_held_out_auc(method: str) -> None:
    codes, _, patients, _ = cohort(seed=3, n=200)
    random = np.repeat(np.random.default_rng(5).random(100) < 0.5, 2)
    figures = labelled_direction(codes, random, patients, method).statistics
    assert abs(figures["auc"] - 0.5) < 0.15
    assert figures["p_value"] > 0.02
    assert figures["auc_in_sample"] > 0.55


@pytest.mark.parametrize("method", METHODS)
def test_controls_remove_a_planted_confounder(method: str) -> None:
    codes, ill, patients, ap = cohort(seed=1, confounding=0.35)
    free = labelled_direction(codes, ill, patients, method)
    controls = Controls.of({"View Position": ["AP" if film else "PA" for film in ap]})
    held = labelled_direction(codes, ill, patients, method, controls.matrix)
    assert abs(held.axis @ PROJECTION) < 0.12
    assert held.axis @ DISEASE > 0.9
    if method == "means":  # the others weigh directions by their variance, which hides some of the confounder already
        assert free.axis @ PROJECTION > 0.6
    assert abs(free.axis @ PROJECTION) > abs(held.axis @ PROJECTION)
    figures = held.statistics
    assert figures["auc_of_controls_alone"] > 0.7
    assert figures["auc_without_controls"] > figures["auc"]
    assert figures["cosine_without_controls"] == pytest.approx(float(free.axis @ held.axis), abs=1e-6)


def test_the_label_alone_cannot_hide_in_a_control_it_depends_on() -> None:
    """Labels that are nothing but the projection: uncontrolled they separate, controlled nothing is left."""
    codes, _, patients, ap = cohort(seed=2, effect=0.0)
    free = labelled_direction(codes, ap, patients, "lda").statistics
    noisy = ap ^ np.repeat(np.random.default_rng(0).random(200) < 0.1, 2)
    controls = Controls.of({"view": [str(int(film)) for film in ap]})
    held = labelled_direction(codes, noisy, patients, "lda", controls.matrix).statistics
    assert free["auc"] > 0.95
    assert held["auc_without_controls"] > 0.8
    assert abs(held["auc"] - 0.5) < 0.12


def test_frisch_waugh_by_hand() -> None:
    """The controlled difference of means is the label's coefficient in the regression on label and controls."""
    codes, ill, patients, ap = cohort(seed=4, confounding=0.3)
    age = np.random.default_rng(1).normal(60, 10, len(ill))
    controls = Controls.of({"view": ["AP" if film else "PA" for film in ap], "age": [str(a) for a in age]})
    found = labelled_direction(codes, ill, patients, "means", controls.matrix).axis
    design = np.column_stack([np.ones(len(ill)), ill, ap, age])
    coefficient = np.linalg.lstsq(design, codes[:, 0].astype(float), rcond=None)[0][1]
    np.testing.assert_allclose(found, coefficient / np.linalg.norm(coefficient), atol=1e-6)


def test_residuals_are_uncorrelated_with_the_controls_and_keep_the_mean() -> None:
    rng = np.random.default_rng(0)
    controls = rng.normal(size=(100, 3))
    rows = CodeRows.of(rng.normal(size=(100, 5)) + controls @ rng.normal(size=(3, 5)))
    residuals = Residuals.fit(rows, controls)
    codes, left = rows.all(), residuals.of(rows, controls).all()
    np.testing.assert_allclose((controls - controls.mean(axis=0)).T @ left, 0, atol=1e-9)
    np.testing.assert_allclose(left.mean(axis=0), codes.mean(axis=0))
    assert 0 < residuals.explained(rows, controls) < 1
    nothing = np.empty((100, 0))
    np.testing.assert_array_equal(Residuals.fit(rows, nothing).of(rows, nothing).all(), codes)


def test_columns_are_read_as_numbers_ages_or_categories() -> None:
    controls = Controls.of({"age": ["058Y", "006M", "", "40"], "sex": ["M", "F", "F", "F"]})
    assert controls.kept.tolist() == [0, 1, 3]  # the third has no age
    age = np.array([58, 0.5, 40])
    np.testing.assert_allclose(controls.matrix[:, 0], (age - age.mean()) / age.std())
    assert controls.matrix.shape == (3, 2)
    assert controls.described[1] == "sex: F, M"
    assert Controls.of({"view": ["AP", "", "PA", "AP"]}).matrix.shape == (4, 2)  # unknown is a level


def test_mistakes_are_one_sentence() -> None:
    with pytest.raises(InputError, match="one value for all"):
        Controls.of({"sex": ["F", "F"]})
    with pytest.raises(InputError, match="30 different values"):
        Controls.of({"id": [f"p{i}" for i in range(30)]})
    with pytest.raises(InputError, match="means, lda, logistic or svm"):
        check_method("encoder")
    with pytest.raises(InputError, match="has 1 patients"):
        labelled_direction(np.zeros((4, 1, 2)), np.array([1, 0, 0, 0], bool), list("abcd"), "means", folds=2)


@pytest.mark.parametrize("method", METHODS)
def test_coordinates_of_what_shows_take_the_noise_out_of_the_rest(method: str) -> None:
    codes, ill, patients, ap = cohort(seed=2, n=120, confounding=0.2)
    rng = np.random.default_rng(7)
    codes = np.concatenate([codes, 20 * rng.normal(size=(120, 1, 100))], axis=2)
    shows = np.diag([1.0] * DIMENSIONS + [0.01] * 100)
    controls = Controls.of({"View Position": ["AP" if film else "PA" for film in ap]}).matrix
    plain, held = (
        labelled_direction(codes, ill, patients, method, controls, coordinates=each) for each in (None, shows)
    )
    assert held.statistics["auc"] > plain.statistics["auc"] + 0.05
    assert held.axis.shape == (112,)
    assert np.linalg.norm(held.axis) == pytest.approx(1)
    assert held.axis[0] > 0.8
    projections = codes[:, 0] @ held.axis
    # Of the codes that the controls were taken out of, in units of the codes.
    assert held.statistics["class_gap"] == pytest.approx(projections[ill].mean() - projections[~ill].mean(), abs=0.6)
    assert -1 <= held.statistics["cosine_without_controls"] <= 1
    assert (held.statistics["penalty"] is None) == (method == "means")


@pytest.mark.parametrize("method", METHODS)
def test_codes_are_never_held_all_at_once(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    codes, ill, patients, ap = cohort(seed=3, confounding=0.2)
    controls = Controls.of({"View Position": ["AP" if film else "PA" for film in ap]}).matrix
    whole = labelled_direction(codes, ill, patients, method, controls)
    monkeypatch.setattr(code_rows, "AT_ONCE", 50 * DIMENSIONS)
    taken = list[int]()

    def take(places: np.ndarray) -> np.ndarray:
        taken.append(len(places))
        return codes[places, 0]

    found = labelled_direction(CodeRows(take, len(codes), DIMENSIONS), ill, patients, method, controls)
    assert max(taken) == 50
    assert found.axis @ whole.axis == pytest.approx(1, abs=1e-8)
