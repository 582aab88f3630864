"""Linear discriminant axes of two classes, for many labellings of the same codes at once.

All labellings share the total covariance T of the codes; the within-class covariance of one of them is
S = T - c d d' with d the difference of its class means and c = n1 n0 / n^2. In the eigenvectors of T everything that a
labelling needs is a few products of vectors, so hundreds of permutations cost little more than one.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

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
    def of(cls, codes: Floats) -> Self:
        """The basis of codes [n, D]."""
        n, dimensions = codes.shape
        mean = codes.mean(axis=0)
        centred = codes - mean
        if n <= dimensions:
            variances, left = np.linalg.eigh(centred @ centred.T / n)
            kept = variances > RANK_TOLERANCE * variances[-1]
            variances = variances[kept]
            vectors = centred.T @ (left[:, kept] / np.sqrt(n * variances))
        else:
            variances, vectors = np.linalg.eigh(centred.T @ centred / n)
            kept = variances > RANK_TOLERANCE * variances[-1]
            variances, vectors = variances[kept], vectors[:, kept]
        return cls(mean, vectors, variances)

    def coordinates(self, codes: Floats) -> Floats:
        """[n, D] -> [n, r]; what lies outside the basis is left out."""
        return (codes - self.mean) @ self.vectors


@dataclass(frozen=True, slots=True)
class Discriminants:
    """One discriminant axis for each of P labellings, in the coordinates of a PrincipalBasis."""

    axes: Floats  # [P, r], pointing to the positive class
    middles: Floats  # [P], the projection of the point halfway between the class means
    deviations: Floats  # [P], standard deviation of the projections within the classes
    shrinkage: Floats  # [P], 0 (sample covariance) .. 1 (identity)

    def project(self, coordinates: Floats) -> Floats:
        """Projections [P, n] of coordinates [n, r]: 0 halfway between the classes, in within-class deviations."""
        return (self.axes @ coordinates.T - self.middles[:, None]) / self.deviations[:, None]


def fit_shrinkage(coordinates: Floats, variances: Floats, positive: Bools, dimensions: int) -> Discriminants:
    """LDA with the covariance shrunk to a multiple of the identity, by as much as Ledoit and Wolf (2004) derive.

    `coordinates` [n, r] of the codes in their own basis with `variances` [r]; `positive` [P, n], both classes in each
    row; `dimensions` D of the codes, of which the basis may span only r.
    """
    n = len(coordinates)
    difference, weight, means = _class_differences(coordinates, positive)
    squared = np.square(difference).sum(axis=1)
    trace = variances.sum() - weight * squared
    frobenius = np.square(variances).sum() - 2 * weight * (np.square(difference) @ variances)
    frobenius += np.square(weight * squared)
    # Ledoit and Wolf 2004, section 3.3: m = mu, d^2 = delta, b^2 = beta, each over D
    mu = trace / dimensions
    delta = frobenius - dimensions * np.square(mu)
    beta = np.clip((_fourth_moments(coordinates, positive, means) / n - frobenius) / n, 0, delta)
    shrinkage = np.divide(beta, delta, out=np.ones_like(beta), where=delta > 0)
    scale = (shrinkage * mu)[:, None] + (1 - shrinkage)[:, None] * variances
    # (aI + bT - bc d d')^-1 d is a multiple of (aI + bT)^-1 d (Sherman and Morrison), so of the same direction.
    return _finish(difference / scale, difference, weight, means, variances, shrinkage)


def fit_classical(coordinates: Floats, variances: Floats, positive: Bools) -> Discriminants:
    """LDA without shrinkage, S^+ d with the pseudo-inverse, as common packages do by singular values.

    With n <= D + 1 some axis has no within-class variance at all (T^-1 d); it is outside the range of S, and the
    pseudo-inverse leaves it out. Arguments as for `fit_shrinkage`.
    """
    difference, weight, means = _class_differences(coordinates, positive)
    axes = difference / variances
    singular = 1 - weight * (difference * axes).sum(axis=1) < SINGULAR_TOLERANCE
    if singular.any():  # the pseudo-inverse of T - c d d' (Meyer 1973, theorem 6)
        null, d = axes[singular], difference[singular]
        inside = _without(_without(d, null) / variances, null)
        axes[singular] = inside
    return _finish(axes, difference, weight, means, variances, np.zeros(len(positive)))


def _without(vectors: Floats, direction: Floats) -> Floats:
    """Each row of `vectors` minus its part along the same row of `direction`."""
    along = (vectors * direction).sum(axis=1) / np.square(direction).sum(axis=1)
    return np.asarray(vectors - along[:, None] * direction)


def _class_differences(coordinates: Floats, positive: Bools) -> tuple[Floats, Floats, tuple[Floats, Floats]]:
    """Difference of class means d [P, r], its weight c [P] in T = S + c d d', and both means (negative, positive)."""
    n = positive.shape[1]
    positives = positive.sum(axis=1).astype(np.float64)
    negatives = n - positives
    mean_positive = positive.astype(np.float64) @ coordinates / positives[:, None]
    mean_negative = -mean_positive * (positives / negatives)[:, None]  # the coordinates have mean 0
    return mean_positive - mean_negative, positives * negatives / n**2, (mean_negative, mean_positive)


def _fourth_moments(coordinates: Floats, positive: Bools, means: tuple[Floats, Floats]) -> Floats:
    """Sum over the codes of |x - mean of its class|^4, [P]."""
    lengths = np.square(coordinates).sum(axis=1)
    total = np.zeros(len(positive))
    for members, mean in zip((~positive, positive), means, strict=True):
        squared = lengths - 2 * mean @ coordinates.T + np.square(mean).sum(axis=1)[:, None]
        total += (np.square(squared) * members).sum(axis=1)
    return total


def _finish(
    axes: Floats, difference: Floats, weight: Floats, means: tuple[Floats, Floats], variances: Floats, shrinkage: Floats
) -> Discriminants:
    """Unit axes with the middle and the within-class deviation of the projections on them."""
    axes = axes / np.maximum(np.linalg.norm(axes, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    gap = (axes * difference).sum(axis=1)
    within = np.square(axes) @ variances - weight * np.square(gap)
    deviations = np.sqrt(np.maximum(within, 1e-12 * variances.sum()))
    middles = (axes * (means[0] + means[1])).sum(axis=1) / 2
    return Discriminants(axes, middles, deviations, shrinkage)
