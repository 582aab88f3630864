"""Classifiers of many parts of a cohort at once, against scikit-learn's of each."""

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from cxredit_cli.directions.controls import Residuals
from cxredit_cli.directions.linear_classifiers import CONTROL_WEIGHT, Loss, Problem, fit_classifiers
from cxredit_cli.separability import code_rows
from cxredit_cli.separability.code_rows import CodeRows
from cxredit_cli.separability.discriminant import PrincipalBasis


@pytest.mark.parametrize("loss", ["logistic", "svm"])
@pytest.mark.parametrize("dimensions", [8, 200])  # fewer and more than codes
def test_each_is_what_scikit_learn_finds(loss: Loss, dimensions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_rows, "AT_ONCE", 7 * dimensions)  # parts of seven codes
    rng = np.random.default_rng(dimensions)
    controls = rng.normal(size=(90, 2))
    positive = controls[:, 0] + rng.normal(size=90) > 0.7
    x = (
        rng.normal(size=(90, dimensions)) * np.geomspace(5, 0.05, dimensions)
        + 3
        + controls @ rng.normal(size=(2, dimensions))
    )
    x[:, 1] += positive
    codes, sets = CodeRows.of(x), [np.arange(90) % 3 != part for part in range(3)]
    residuals = [Residuals.fit(codes.part(members), controls[members]) for members in sets]
    problems = [
        Problem(members, left, penalty)
        for members, left in zip(sets, residuals, strict=True)
        for penalty in (1e-4, 1e-2, 1.0)
    ]
    steps = list[int]()
    basis = PrincipalBasis.of(codes)
    found = fit_classifiers(codes, basis, controls, positive, problems, loss, lambda: steps.append(1))
    assert len(steps) < 400
    for axis, problem in zip(found, problems, strict=True):
        part, beside = codes.part(problem.members), controls[problem.members]
        left = problem.residuals.of(part, beside).all()
        own = PrincipalBasis.of(CodeRows.of(left))
        features = np.concatenate(
            [own.coordinates(left) / np.sqrt(own.variances.mean()), CONTROL_WEIGHT * (beside - beside.mean(axis=0))],
            axis=1,
        )
        options: dict[str, Any] = {"C": problem.inverse_penalty, "class_weight": "balanced", "tol": 1e-10}
        machine = (
            LogisticRegression(**options, max_iter=20_000)
            if loss == "logistic"
            else LinearSVC(**options, max_iter=200_000, dual=dimensions > 90, random_state=0)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            machine.fit(features, positive[problem.members])
        weights = own.vectors @ machine.coef_[0, : len(own.variances)]
        assert axis @ weights / np.linalg.norm(axis) / np.linalg.norm(weights) > 1 - 1e-4
        scale = np.sqrt(own.variances.mean())
        assert np.linalg.norm(axis) * scale == pytest.approx(np.linalg.norm(weights), rel=1e-2)
