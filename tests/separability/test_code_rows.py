"""Codes that are read a part at a time: the same answers, and never more in memory than was asked for."""

import numpy as np
import pytest

from cxredit_cli.directions.label_fit import labelled_direction
from cxredit_cli.separability import code_rows
from cxredit_cli.separability.code_rows import CodeRows, Moments
from cxredit_cli.separability.lda import lda


def cohort(n: int = 300, dimensions: int = 12) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(0)
    positive = rng.random(n) < 0.3
    codes = rng.standard_normal((n, dimensions)) @ rng.standard_normal((dimensions, dimensions)) + 5
    codes[positive, 0] += 3
    return codes.astype(np.float32), positive, [str(i // 2) for i in range(n)]


def test_sums_means_and_projections() -> None:
    codes, positive, _ = cohort()
    rows = CodeRows.of(codes.reshape(300, 3, 4)).part(positive)
    np.testing.assert_allclose(rows.all(), codes[positive])
    np.testing.assert_allclose(rows.mean(), codes[positive].mean(axis=0), rtol=1e-5)
    weights = np.random.default_rng(1).random((2, len(rows)))
    np.testing.assert_allclose(rows.sums(weights), weights @ codes[positive].astype(float))
    axes = np.random.default_rng(2).random((3, 12))
    np.testing.assert_allclose(rows.project(axes), axes @ codes[positive].astype(float).T)


def test_moments_of_the_others_are_those_of_the_whole_without_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_rows, "AT_ONCE", 12 * 7)
    codes, positive, _ = cohort()
    rows, about = CodeRows.of(codes), codes[0].astype(float)
    others = Moments.of(rows, about).without(Moments.of(rows.part(positive), about))
    np.testing.assert_allclose(others.mean, codes[~positive].astype(float).mean(axis=0))
    expected = np.cov(codes[~positive].astype(float).T, bias=True)
    np.testing.assert_allclose(np.triu(others.covariance()), np.triu(expected), atol=1e-9)


@pytest.mark.parametrize("method", ["lda", "means", None])
def test_a_part_at_a_time_gives_what_all_at_once_give(method: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    codes, positive, patients = cohort()
    taken: list[int] = []

    def take(places: np.ndarray) -> np.ndarray:
        taken.append(len(places))
        return codes[places]

    def find(rows: np.ndarray | CodeRows) -> tuple[np.ndarray, list[float]]:
        if method is not None:
            controls = np.random.default_rng(3).standard_normal((300, 2))
            labelled = labelled_direction(rows, positive, patients, method, controls)
            return labelled.axis, [labelled.statistics[name] for name in ("auc", "class_gap", "auc_in_sample")]
        found = lda(rows, positive, patients, permutations=20)
        return found.axis, [found.auc, found.in_sample, found.held_out, found.shrinkage, *found.auc_null]

    whole = find(codes)
    monkeypatch.setattr(code_rows, "AT_ONCE", 12 * 7)
    in_parts = find(CodeRows(take, 300, 12))
    np.testing.assert_allclose(in_parts[0], whole[0], atol=1e-9)
    np.testing.assert_allclose(in_parts[1], whole[1], atol=1e-9)
    assert max(taken) == 7
