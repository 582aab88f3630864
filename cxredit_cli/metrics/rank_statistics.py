"""How well scores rank one class above another: ROC AUC, its interval over patients, and permutations."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

Z_95 = 1.959964
AT_ONCE = 1 << 22  # numbers that are in memory together


def roc_auc(scores: Floats, positive: Bools) -> Floats:
    """Area under the ROC curve of scores [..., N] for classes [..., N], ties counted half (Mann and Whitney 1947)."""
    positives = positive.sum(axis=-1)
    negatives = positive.shape[-1] - positives
    ranks = rankdata(scores, axis=-1)
    rank_sum = (ranks * positive).sum(axis=-1)
    return np.asarray((rank_sum - positives * (positives + 1) / 2) / (positives * negatives), dtype=np.float64)


def auc_interval(
    scores: Floats, positive: Bools, patients: NDArray[np.int64], samples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the AUC of scores [N]: whole patients are drawn with replacement.

    `patients` [N] are numbers from 0. Where the classes do not overlap at all the bootstrap has no width; the score
    interval of Newcombe (2006, method 5) with patients for the counts then gives the end that is not 0 or 1.
    """
    count = int(patients.max()) + 1
    rng = np.random.default_rng(seed)
    areas = []
    step = max(AT_ONCE // len(scores), 1)
    for first in range(0, samples, step):
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=min(step, samples - first))
        areas.append(weighted_auc(scores, positive, drawn[:, patients]))
    low, high = np.nanquantile(np.concatenate(areas), [0.025, 0.975])
    if low == high:
        counts = [len(np.unique(patients[members])) for members in (positive, ~positive)]
        return _newcombe_interval(float(low), *counts)
    return float(low), float(high)


def weighted_auc(scores: Floats, positive: Bools, weights: NDArray[Any]) -> Floats:
    """The AUC [S] of scores [N] where each counts as often as each row of `weights` [S, N] says; nan without a class.

    Ties count half.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0])  # one group for each value
    positive, weights = positive[order], weights[:, order].astype(np.float64)
    positives = np.add.reduceat(weights * positive, starts, axis=1)
    negatives = np.add.reduceat(weights * ~positive, starts, axis=1)
    below = np.cumsum(negatives, axis=1) - negatives / 2
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    return np.where(pairs > 0, (positives * below).sum(axis=1) / np.where(pairs > 0, pairs, 1), np.nan)


def _newcombe_interval(area: float, positives: int, negatives: int) -> tuple[float, float]:
    """The areas that are within 1.96 of their own standard errors (Hanley and McNeil 1982) of the one found."""
    grid = np.linspace(0, 1, 100_001)
    larger = (positives + negatives) / 2 - 1
    spread = 1 + larger * ((1 - grid) / (2 - grid) + grid / (1 + grid))
    error = np.sqrt(grid * (1 - grid) * spread / (positives * negatives))
    inside = grid[np.abs(grid - area) <= Z_95 * error]
    return (float(inside.min()), float(inside.max())) if len(inside) else (area, area)


def permute_patients(
    positive: Bools, patients: NDArray[np.int64], strata: NDArray[np.int64], permutations: int, seed: int
) -> Bools:
    """Labels [permutations, N] with patients' labels exchanged between the patients of one stratum.

    `positive` [N], `patients` [N] numbers from 0, `strata` [N] constant within a patient (the fold). A patient takes
    over the labels of another; where they have different numbers of images, the other's labels are repeated or cut, in
    random order. Every labelling keeps both classes in the training part of every stratum.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(patients, kind="stable")
    rows = np.split(order, np.flatnonzero(np.diff(patients[order])) + 1)
    share = np.bincount(patients, positive) / np.bincount(patients)
    value, mixed = share == 1, (share > 0) & (share < 1)
    part, sizes = np.unique(strata, return_inverse=True, return_counts=True)[1:]
    stratum = part[[members[0] for members in rows]]
    groups = [np.flatnonzero(stratum == index) for index in range(len(sizes))]
    result = np.empty((permutations, len(positive)), dtype=np.bool_)
    donors = np.empty(len(rows), dtype=np.int64)
    for labels in result:
        while True:
            given = list[tuple[NDArray[np.int64], Bools]]()
            for group in groups:
                donors[group] = rng.permutation(group)
                for taker in group[mixed[donors[group]]]:
                    given.append((rows[taker], rng.permutation(positive[rows[donors[taker]]])))
            labels[:] = value[donors][patients]
            for members, classes in given:
                labels[members] = np.resize(classes, len(members))
            elsewhere = labels.sum() - np.bincount(part, labels)
            if ((elsewhere > 0) & (elsewhere < len(labels) - sizes)).all():
                break
    return result
