"""Linear discriminant axes of two classes, for many labellings of the same codes at once.

All labellings share the total covariance T of the codes; the within-class covariance of one of them is
S = T - c d d' with d the difference of its class means and c = n1 n0 / n^2. In the eigenvectors of T everything that a
labelling needs is a few products of vectors, so hundreds of permutations cost little more than one.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from cxredit_cli.separability.code_rows import CodeRows, Moments

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

RANK_TOLERANCE = 1e-8  # eigenvalues below this share of the largest are no direction but rounding
SINGULAR_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class PrincipalBasis:
    """The eigenvectors of the covariance of some codes; with more dimensions than codes, found from the Gram matrix."""

    mean: Floats  # [D]
    vectors: Floats  # [D, r], orthonormal columns
    variances: Floats  # [r], all > 0 (divisor n)

    @classmethod
    def of(cls, codes: CodeRows) -> Self:
        """The basis of codes; those that are fewer than dimensions are in memory together."""
        n = len(codes)
        if n > codes.dimensions:
            return cls.of_moments(Moments.of(codes, codes.mean()))
        x = codes.all()
        mean = x.mean(axis=0)
        x -= mean
        variances, left = _eigenvectors((x @ x.T / n).T)
        kept = variances > RANK_TOLERANCE * variances[-1]
        variances = variances[kept]
        return cls(mean, x.T @ (left[:, kept] / np.sqrt(n * variances)), variances)

    @classmethod
    def of_moments(cls, moments: Moments) -> Self:
        """The basis of codes whose moments are known, more codes than dimensions; the moments are used up."""
        variances, vectors = _eigenvectors(moments.covariance())
        kept = variances > RANK_TOLERANCE * variances[-1]
        return cls(moments.mean, vectors if kept.all() else vectors[:, kept], variances[kept])

    def coordinates(self, codes: Floats) -> Floats:
        """[n, D] -> [n, r]; what lies outside the basis is left out."""
        return (codes - self.mean) @ self.vectors


def _eigenvectors(matrix: Floats) -> tuple[Floats, Floats]:
    """Rising eigenvalues and the eigenvectors of a matrix in Fortran's order, of which the upper triangle counts.

    They take its place in memory, for of thousands of dimensions each matrix is hundreds of MB.
    """
    values, vectors = eigh(matrix, lower=False, overwrite_a=True, check_finite=False, driver="evd")
    return values, vectors


@dataclass(frozen=True, slots=True)
class Discriminants:
    """One discriminant axis for each of P labellings."""

    axes: Floats  # [P, D], unit vectors that point to the positive class
    middles: Floats  # [P], the projection of the point halfway between the class means
    deviations: Floats  # [P], standard deviation of the projections within the classes
    shrinkage: Floats  # [P], 0 (sample covariance) .. 1 (identity)

    def project(self, codes: CodeRows) -> Floats:
        """Projections [P, N] of codes: 0 halfway between the classes, in within-class deviations."""
        result = codes.project(self.axes)
        result -= self.middles[:, None]
        result /= self.deviations[:, None]
        return result


@dataclass(frozen=True, slots=True)
class _Classes:
    """What P labellings say of n codes, in the coordinates of a basis of r dimensions."""

    difference: Floats  # [P, r] of the class means, d
    weight: Floats  # [P], c in T = S + c d d'
    negative: Floats  # [P, r] mean
    positive: Floats  # [P, r] mean

    @classmethod
    def of(cls, codes: CodeRows, basis: PrincipalBasis, positive: Bools) -> Self:
        n = positive.shape[1]
        positives = positive.sum(axis=1).astype(np.float64)
        negatives = n - positives
        above = (codes.sums(positive) / positives[:, None] - basis.mean) @ basis.vectors
        below = -above * (positives / negatives)[:, None]  # the coordinates have mean 0
        return cls(above - below, positives * negatives / n**2, below, above)


def fit_shrinkage(
    codes: CodeRows, basis: PrincipalBasis, positive: Bools, dimensions: int, shrinkage: float | None = None
) -> Discriminants:
    """LDA with the covariance shrunk to a multiple of the identity; None: as much as Ledoit and Wolf (2004) derive.

    `basis` is that of the n `codes`; `positive` [P, n], both classes in each row; `dimensions` those that the codes
    had before they were expressed in fewer.
    """
    classes = _Classes.of(codes, basis, positive)
    difference, variances = classes.difference, basis.variances
    trace = variances.sum() - classes.weight * np.square(difference).sum(axis=1)
    if shrinkage is None:
        shares = _ledoit_wolf(codes, basis, positive, classes, trace, dimensions)
    else:
        shares = np.full(len(positive), shrinkage)
    scale = (shares * trace / dimensions)[:, None] + (1 - shares)[:, None] * variances
    # (aI + bT - bc d d')^-1 d is a multiple of (aI + bT)^-1 d (Sherman and Morrison), so of the same direction.
    return _finish(difference / scale, classes, basis, shares)


def _ledoit_wolf(
    codes: CodeRows, basis: PrincipalBasis, positive: Bools, classes: _Classes, trace: Floats, dimensions: int
) -> Floats:
    """The shrinkage [P] of Ledoit and Wolf 2004, section 3.3: m = mu, d^2 = delta, b^2 = beta, each over D."""
    n, variances, weight = len(codes), basis.variances, classes.weight
    frobenius = np.square(variances).sum() - 2 * weight * (np.square(classes.difference) @ variances)
    frobenius += np.square(weight * np.square(classes.difference).sum(axis=1))
    delta = frobenius - np.square(trace) / dimensions
    beta = np.clip((_fourth_moments(codes, basis, positive, classes) / n - frobenius) / n, 0, delta)
    return np.asarray(np.divide(beta, delta, out=np.ones_like(beta), where=delta > 0))


def fit_classical(codes: CodeRows, basis: PrincipalBasis, positive: Bools) -> Discriminants:
    """LDA without shrinkage, S^+ d with the pseudo-inverse, as common packages do by singular values.

    With n <= D + 1 some axis has no within-class variance at all (T^-1 d); it is outside the range of S, and the
    pseudo-inverse leaves it out. Arguments as for `fit_shrinkage`.
    """
    classes = _Classes.of(codes, basis, positive)
    difference, variances = classes.difference, basis.variances
    axes = difference / variances
    singular = 1 - classes.weight * (difference * axes).sum(axis=1) < SINGULAR_TOLERANCE
    if singular.any():  # the pseudo-inverse of T - c d d' (Meyer 1973, theorem 6)
        null, d = axes[singular], difference[singular]
        inside = _without(_without(d, null) / variances, null)
        axes[singular] = inside
    return _finish(axes, classes, basis, np.zeros(len(positive)))


def _without(vectors: Floats, direction: Floats) -> Floats:
    """Each row of `vectors` minus its part along the same row of `direction`."""
    along = (vectors * direction).sum(axis=1) / np.square(direction).sum(axis=1)
    return np.asarray(vectors - along[:, None] * direction)


def _fourth_moments(codes: CodeRows, basis: PrincipalBasis, positive: Bools, classes: _Classes) -> Floats:
    """Sum over the codes of |x - mean of its class|^4, [P]."""
    total = np.zeros(len(positive))
    means = [(one @ basis.vectors.T, np.square(one).sum(axis=1)) for one in (classes.negative, classes.positive)]
    for places, part in codes.parts():
        x = part - basis.mean
        lengths = np.square(x).sum(axis=1)
        squared = [np.square(lengths - 2 * mean @ x.T + square[:, None]) for mean, square in means]
        total += np.where(positive[:, places], squared[1], squared[0]).sum(axis=1)
    return total


def _finish(axes: Floats, classes: _Classes, basis: PrincipalBasis, shrinkage: Floats) -> Discriminants:
    """Unit axes with the middle and the within-class deviation of the projections on them."""
    axes = axes / np.maximum(np.linalg.norm(axes, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    gap = (axes * classes.difference).sum(axis=1)
    within = np.square(axes) @ basis.variances - classes.weight * np.square(gap)
    deviations = np.sqrt(np.maximum(within, 1e-12 * basis.variances.sum()))
    middles = (axes * (classes.negative + classes.positive)).sum(axis=1) / 2
    whole = axes @ basis.vectors.T
    return Discriminants(whole, middles + whole @ basis.mean, deviations, shrinkage)
