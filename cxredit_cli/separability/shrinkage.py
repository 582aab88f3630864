"""How much LDA shrinks its covariance, chosen on folds within the fitted patients, for many labellings at once.

The folds of the choice are those of the judgement: what fold k is judged by is chosen by leaving out each of the others
as well. So labels that were exchanged within folds go through the very same procedure, choice included.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from cxredit_cli.errors import InputError
from cxredit_cli.metrics.rank_statistics import roc_auc
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.separability.code_rows import CodeRows, by_parts
from cxredit_cli.separability.discriminant import Bools, Floats, PrincipalBasis, fit_shrinkage

SHRINKAGES = (0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.03, 0.01)  # that are tried: of several that are equal the strongest
FEWEST_FOLDS = 3  # two of which are left out together


@dataclass(frozen=True, slots=True)
class ChosenShrinkage:
    """What P labellings chose; the first is the truth."""

    held_out: Floats  # [P, N] projections, each fold's on what was chosen and fitted without it
    in_folds: list[float]  # what the truth chose without each fold
    overall: float  # for an axis of all codes: the best of the truth over the folds


def choose_shrinkage(
    x: CodeRows, labellings: Bools, fold: NDArray[np.int64], progress: Progress | None = None
) -> ChosenShrinkage:
    """Choose one of SHRINKAGES by the AUC, for labellings [P, N] of codes that are in memory.

    Raises InputError where there are not enough folds, or too few patients of a class to leave out two.
    """
    progress = progress or SilentProgress()
    folds, (p, n) = int(fold.max()) + 1, labellings.shape
    pairs = list(combinations(range(folds), 2))
    _check(labellings, fold, pairs)
    progress.start("Choosing the shrinkage", len(SHRINKAGES), unit="strength")
    # One decomposition for each set of fitted codes serves all strengths and labellings.
    fitted = {left: ~np.isin(fold, left) for left in (*((k,) for k in range(folds)), *pairs)}
    bases = {left: PrincipalBasis.of(x.part(members)) for left, members in fitted.items()}
    best, chosen = np.full((folds + 1, p), -1.0), np.zeros((folds + 1, p))
    inner = np.empty((folds, p, n))  # [k]: on what neither fold k nor the code's own had a part in
    outer, held_out = np.empty((p, n)), np.empty((p, n))
    for done, strength in enumerate(SHRINKAGES):
        for left, members in fitted.items():
            found = fit_shrinkage(x.part(members), bases[left], labellings[:, members], x.dimensions, strength)
            for held in left:
                into = outer if len(left) == 1 else inner[left[0] + left[1] - held]
                into[:, fold == held] = found.project(x.part(fold == held))
        for k in range(folds):
            others = fold != k
            better = _keep_better(by_parts(roc_auc, inner[k][:, others], labellings[:, others]), best[k])
            chosen[k][better] = strength
            held_out[np.ix_(better, ~others)] = outer[np.ix_(better, ~others)]
        chosen[folds][_keep_better(by_parts(roc_auc, outer, labellings), best[folds])] = strength
        progress.advance(done + 1)
    progress.finish()
    return ChosenShrinkage(held_out, chosen[:folds, 0].tolist(), float(chosen[folds, 0]))


def _keep_better(found: Floats, best: Floats) -> Bools:
    """Which of `found` are better than `best`, which takes them over; what differs by rounding is equal."""
    better = found > best + 1e-4
    best[better] = found[better]
    return better


def _check(labellings: Bools, fold: NDArray[np.int64], pairs: list[tuple[int, int]]) -> None:
    if len(pairs) < FEWEST_FOLDS:
        raise InputError(f"Choosing the shrinkage leaves out two folds; --folds must be {FEWEST_FOLDS} or more.")
    for pair in pairs:
        left = labellings[:, ~np.isin(fold, pair)]
        if (left.all(axis=1) | ~left.any(axis=1)).any():
            raise InputError(
                "Without two of the folds one class may be empty, so the shrinkage cannot be chosen; give more "
                "patients or more --folds."
            )
