"""How many coordinates an axis takes, chosen on folds within the fitted patients, for many labellings at once.

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
from cxredit_cli.separability.discriminant import Bools, Discriminants, Floats, PrincipalBasis, fit_shrinkage

COUNTS = (8, 16, 32, 64, 128, 256, 512)
FEWEST_FOLDS = 3  # two of which are left out together


@dataclass(frozen=True, slots=True)
class ChosenComponents:
    """What P labellings chose."""

    held_out: Floats  # [P, N] projections, each fold's on what was chosen and fitted without it
    in_folds: list[int]  # the number of coordinates that the first labelling chose without each fold
    overall: NDArray[np.int64]  # [P] that for an axis of all codes, with the best AUC over the folds


def counts_up_to(dimensions: int) -> list[int]:
    """The numbers of coordinates that are tried, of so many."""
    return [count for count in COUNTS if count < dimensions] + [min(dimensions, COUNTS[-1])]


def fit_first(coordinates: Floats, labellings: Bools, fitted: Bools) -> Discriminants:
    """Shrinkage LDA on the codes that `fitted` [N] says, of coordinates [N, K]."""
    x = CodeRows.of(coordinates[fitted])
    return fit_shrinkage(x, PrincipalBasis.of(x), labellings[:, fitted], x.dimensions)


def choose_components(
    coordinates: Floats, labellings: Bools, fold: NDArray[np.int64], progress: Progress | None = None
) -> ChosenComponents:
    """Choose among the first 8, 16, ... of coordinates [N, K] for labellings [P, N], by the AUC; the fewest if equal.

    Raises InputError where there are not enough folds, or too few patients of a class to leave out two.
    """
    progress = progress or SilentProgress()
    folds, (p, n) = int(fold.max()) + 1, labellings.shape
    pairs = list(combinations(range(folds), 2))
    _check(labellings, fold, pairs)
    counts = counts_up_to(coordinates.shape[1])
    best, chosen = np.full((folds + 1, p), -1.0), np.zeros((folds + 1, p), dtype=np.int64)
    held_out = np.empty((p, n))
    inner = np.empty((folds, p, n))  # [k]: on what neither fold k nor the code's own had a part in
    progress.start("Choosing coordinates", len(counts), unit="number")
    for done, count in enumerate(counts):
        x = coordinates[:, :count]
        for j, k in pairs:
            found = fit_first(x, labellings, (fold != j) & (fold != k))
            for held, other in ((j, k), (k, j)):
                inner[other][:, fold == held] = found.project(CodeRows.of(x[fold == held]))
        outer = np.empty((p, n))
        for k in range(folds):
            outer[:, fold == k] = fit_first(x, labellings, fold != k).project(CodeRows.of(x[fold == k]))
        for k in range(folds):
            others = fold != k
            better = _keep_better(by_parts(roc_auc, inner[k][:, others], labellings[:, others]), best[k])
            chosen[k][better] = count
            held_out[np.ix_(better, ~others)] = outer[np.ix_(better, ~others)]
        chosen[folds][_keep_better(by_parts(roc_auc, outer, labellings), best[folds])] = count
        progress.advance(done + 1)
    progress.finish()
    return ChosenComponents(held_out, chosen[:folds, 0].tolist(), chosen[folds])


def _keep_better(found: Floats, best: Floats) -> Bools:
    """Which of `found` are better than `best`, which takes them over; what differs by rounding is equal."""
    better = found > best + 1e-4
    best[better] = found[better]
    return better


def _check(labellings: Bools, fold: NDArray[np.int64], pairs: list[tuple[int, int]]) -> None:
    if len(pairs) < FEWEST_FOLDS:
        raise InputError(
            f"Choosing the number of coordinates leaves out two folds; --folds must be {FEWEST_FOLDS} or more."
        )
    for j, k in pairs:
        left = labellings[:, (fold != j) & (fold != k)]
        if (left.all(axis=1) | ~left.any(axis=1)).any():
            raise InputError(
                "Without two of the folds one class may be empty, so the number of coordinates cannot be chosen; give "
                "more patients or more --folds."
            )
