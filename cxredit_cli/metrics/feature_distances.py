"""How far two sets of images are apart, judged by feature vectors [n, d] of theirs. Everything in float64."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxredit_cli.errors import InputError

NEIGHBOUR = 3  # Kynkäänniemi et al. 2019, section 3
SUBSETS, SUBSET_MAX = 100, 1000  # Bińkowski et al. 2018, appendix D
BLOCK = 2048  # rows of a distance matrix at a time

Features = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class KernelDistance:
    """The unbiased estimate from all vectors, and the standard deviation of that from subsets of half the size."""

    value: float
    spread: float


@dataclass(frozen=True, slots=True)
class PrecisionRecall:
    """Shares in 0..1."""

    precision: float  # of the generated vectors that lie among the real ones
    recall: float  # of the real vectors that lie among the generated ones


def frechet_distance(x: Features, y: Features) -> float:
    """Squared Fréchet distance of the Gaussians fitted to x [n, d] and y [m, d] (Heusel et al. 2017, equation 6).

    |mean_x - mean_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2)), 0 where both agree. With A and B the centred vectors over
    sqrt(n - 1) and sqrt(m - 1), C_x = A'A and C_y = B'B, so the last trace is the sum of the singular values of AB'
    (Mathiasen and Hvilshøj 2020, arXiv 2009.14075): no root of a matrix, and nothing breaks where n <= d.

    It is biased upwards by about 1/n, the more the more dimensions: compare values from equally large sets only.
    """
    _check(x, y, least=2)
    mean_difference = x.mean(0) - y.mean(0)
    a, b = (_triangle((v - v.mean(0)) / np.sqrt(len(v) - 1)) for v in (x, y))
    shared = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(max(mean_difference @ mean_difference + (a * a).sum() + (b * b).sum() - 2 * shared, 0.0))


def kernel_distance(x: Features, y: Features, seed: int = 0) -> KernelDistance:
    """Squared maximum mean discrepancy under the kernel (u.v / d + 1)^3 (Bińkowski et al. 2018, equations 3 and 4).

    Unbiased: for two sets of one distribution it is 0 on average, so it may be below 0, and its size does not depend
    on n. The spread is over random subsets of half of the smaller set, at most 1000, drawn without replacement.
    """
    _check(x, y, least=4)
    within_x, within_y, between = (_kernel(u, v) for u, v in ((x, x), (y, y), (x, y)))
    size = min(min(len(x), len(y)) // 2, SUBSET_MAX)
    random = np.random.default_rng(seed)
    values = []
    for _ in range(SUBSETS):
        i, j = (random.permutation(len(v))[:size] for v in (x, y))
        values.append(_discrepancy(within_x[np.ix_(i, i)], within_y[np.ix_(j, j)], between[np.ix_(i, j)]))
    return KernelDistance(_discrepancy(within_x, within_y, between), float(np.std(values)))


def precision_recall(real: Features, generated: Features) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al. 2019, arXiv 1904.06991, equations 1 and 2).

    A set covers the balls around its vectors that reach to the NEIGHBOUR-th nearest other one; precision is the
    share of generated vectors that the real set covers, recall the share of real ones that the generated set covers.
    """
    _check(real, generated, least=NEIGHBOUR + 1)
    return PrecisionRecall(_covered(generated, real), _covered(real, generated))


def _triangle(v: Features) -> Features:
    """A matrix [min(n, d), d] with the same v'v."""
    return v if len(v) <= v.shape[1] else np.asarray(np.linalg.qr(v, mode="r"))


def _kernel(u: Features, v: Features) -> Features:
    values: Features = (u @ v.T / u.shape[1] + 1) ** 3
    return values


def _discrepancy(within_x: Features, within_y: Features, between: Features) -> float:
    n, m = between.shape
    mean_x = (within_x.sum() - np.trace(within_x)) / (n * (n - 1))
    mean_y = (within_y.sum() - np.trace(within_y)) / (m * (m - 1))
    return float(mean_x + mean_y - 2 * between.mean())


def _covered(asked: Features, manifold: Features) -> float:
    """The share of `asked` that lies in a ball of `manifold`."""
    radii = np.concatenate([np.partition(part, NEIGHBOUR, axis=1)[:, NEIGHBOUR] for part in _squares(manifold)])
    inside = np.concatenate([(part <= radii).any(1) for part in _squares(asked, manifold)])
    return float(inside.mean())


def _squares(u: Features, v: Features | None = None) -> Iterator[Features]:
    """Squared distances of each of u to each of v (None: u itself, 0 to itself exactly), in blocks of rows."""
    other = u if v is None else v
    for start in range(0, len(u), BLOCK):
        part = u[start : start + BLOCK]
        squares = (part * part).sum(1)[:, None] + (other * other).sum(1) - 2 * part @ other.T
        if v is None:
            np.fill_diagonal(squares[:, start:], 0)
        yield np.maximum(squares, 0)


def _check(x: Features, y: Features, least: int) -> None:
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < least:
        raise InputError(
            f"Two sets of at least {least} feature vectors of one length can be compared, "
            f"not {list(x.shape)} with {list(y.shape)}."
        )
