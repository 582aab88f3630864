"""Discriminant axes against hand-computed values and scikit-learn."""

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from cxredit_cli.separability.code_rows import CodeRows
from cxredit_cli.separability.discriminant import PrincipalBasis, fit_classical, fit_shrinkage


def random_codes(n: int, dimensions: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    codes = rng.standard_normal((n, dimensions)) @ rng.standard_normal((dimensions, dimensions)) + 3
    positive = rng.random((3, n)) < 0.3
    codes[positive[0], 0] += 2
    return codes, positive


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_four_points_by_hand() -> None:
    # Means (0, 0) and (3, 1); within-class covariance diag(1, 0) + diag(0, 1) halved = diag(1/2, 1/2); axis ~ (3, 1).
    codes = np.array([[1.0, 0], [-1, 0], [3, 2], [3, 0]])
    basis = PrincipalBasis.of(CodeRows.of(codes))
    fit = fit_classical(CodeRows.of(codes), basis, np.array([[False, False, True, True]]))
    np.testing.assert_allclose(fit.axes[0], np.array([3, 1]) / 10**0.5)
    np.testing.assert_allclose(fit.deviations, [0.5**0.5])
    # |axis . (3, 1)| = sqrt 10; the projections of the class means lie at -+ sqrt(10)/2 / sqrt(1/2).
    projections = fit.project(CodeRows.of(codes))[0]
    np.testing.assert_allclose([projections[:2].mean(), projections[2:].mean()], [-(5**0.5), 5**0.5])


@pytest.mark.parametrize(("n", "dimensions"), [(80, 10), (40, 60)])
def test_basis_keeps_lengths_and_variances(n: int, dimensions: int) -> None:
    codes, _ = random_codes(n, dimensions)
    basis = PrincipalBasis.of(CodeRows.of(codes))
    x = basis.coordinates(codes)
    assert x.shape == (n, min(n - 1, dimensions))
    centred = codes - codes.mean(axis=0)
    np.testing.assert_allclose(x @ x.T, centred @ centred.T, atol=1e-6)
    np.testing.assert_allclose(np.cov(x.T, bias=True), np.diag(basis.variances), atol=1e-6)


@pytest.mark.parametrize(("n", "dimensions"), [(80, 10), (200, 50), (40, 60)])
def test_shrinkage_axis_is_that_of_scikit_learn(n: int, dimensions: int) -> None:
    codes, positive = random_codes(n, dimensions)
    basis = PrincipalBasis.of(CodeRows.of(codes))
    fit = fit_shrinkage(CodeRows.of(codes), basis, positive, dimensions)
    for row, labels in enumerate(positive):
        within = codes.copy()
        for value in (False, True):
            within[labels == value] -= codes[labels == value].mean(axis=0)
        expected = ledoit_wolf_shrinkage(within, assume_centered=True)
        np.testing.assert_allclose(fit.shrinkage[row], expected, rtol=1e-6)
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=expected).fit(codes, labels)
        assert cosine(fit.axes[row], model.coef_[0]) > 1 - 1e-8
        given = fit_shrinkage(CodeRows.of(codes), basis, positive, dimensions, 0.3)
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3).fit(codes, labels)
        assert cosine(given.axes[row], model.coef_[0]) > 1 - 1e-8
        deviation = np.sqrt(np.square(within @ fit.axes[row]).mean())
        np.testing.assert_allclose(fit.deviations[row], deviation, rtol=1e-6)


@pytest.mark.parametrize(("n", "dimensions", "agreement"), [(80, 10, 1e-8), (200, 50, 1e-8), (40, 60, 0.05)])
def test_classical_axis_is_that_of_scikit_learn(n: int, dimensions: int, agreement: float) -> None:
    """With fewer codes than dimensions the two pseudo-inverses differ in their metric: scikit-learn scales features."""
    rng = np.random.default_rng(1)
    codes, positive = rng.standard_normal((n, dimensions)), rng.random((3, n)) < 0.4
    basis = PrincipalBasis.of(CodeRows.of(codes))
    fit = fit_classical(CodeRows.of(codes), basis, positive)
    for row, labels in enumerate(positive):
        model = LinearDiscriminantAnalysis(solver="svd").fit(codes, labels)
        scaling = model.scalings_[:, 0] * np.sign(model.scalings_[:, 0] @ model.coef_[0])
        assert cosine(fit.axes[row], scaling) > 1 - agreement


def test_singular_pseudo_inverse_is_exact() -> None:
    rng = np.random.default_rng(2)
    codes, labels = rng.standard_normal((30, 50)), np.arange(30) < 12
    basis = PrincipalBasis.of(CodeRows.of(codes))
    fit = fit_classical(CodeRows.of(codes), basis, labels[None])
    within = codes - np.where(labels[:, None], codes[labels].mean(axis=0), codes[~labels].mean(axis=0))
    expected = np.linalg.pinv(within.T @ within, rcond=1e-10) @ (
        codes[labels].mean(axis=0) - codes[~labels].mean(axis=0)
    )
    assert cosine(fit.axes[0], expected) > 1 - 1e-8
