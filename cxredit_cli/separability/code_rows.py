"""Codes of a cohort that need not fit into memory: they are read a part at a time, each time that they are needed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk

from cxredit_cli.storage.codes import Codes

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Places = NDArray[np.int64]

AT_ONCE = 1 << 22  # numbers that are worked on together: 32 MiB


@dataclass(frozen=True, slots=True)
class CodeRows:
    """N codes of D dimensions."""

    take: Callable[[Places], NDArray[np.floating]]  # the codes [n, D] at some of the places 0..N-1
    count: int  # N
    dimensions: int  # D

    @classmethod
    def of(cls, codes: "NDArray[np.floating] | CodeRows") -> "CodeRows":
        """Codes [N, ...] in memory."""
        if isinstance(codes, CodeRows):
            return codes
        flat = codes.reshape(len(codes), -1)
        return cls(lambda places: flat[places], len(flat), flat.shape[1])

    @classmethod
    def in_file(cls, codes: Codes, rows: Places) -> Self:
        """The codes in some rows of a file."""
        dimensions = codes.header.num_ws * codes.header.w_dim
        return cls(lambda places: codes.some(rows[places]).reshape(-1, dimensions), len(rows), dimensions)

    def __len__(self) -> int:
        return self.count

    def part(self, members: Bools) -> "CodeRows":
        """The codes that `members` [N] says."""
        places = np.flatnonzero(members)
        return CodeRows(lambda some: self.take(places[some]), len(places), self.dimensions)

    def parts(self) -> Iterator[tuple[slice, Floats]]:
        """All codes in order, as many [n, D] at a time as AT_ONCE says, with their places."""
        step = max(AT_ONCE // self.dimensions, 1)
        for start in range(0, self.count, step):
            places = np.arange(start, min(start + step, self.count))
            yield slice(start, start + len(places)), np.asarray(self.take(places), dtype=np.float64)

    def all(self) -> Floats:
        """All codes [N, D] in memory."""
        return np.asarray(self.take(np.arange(self.count)), dtype=np.float64)

    def sums(self, weights: NDArray[np.generic]) -> Floats:
        """Weighted sums [P, D] of the codes, for weights [P, N]."""
        total = np.zeros((len(weights), self.dimensions))
        if not len(weights):
            return total
        for places, x in self.parts():
            total += weights[:, places].astype(np.float64) @ x
        return total

    def mean(self) -> Floats:
        """[D]."""
        return np.asarray(self.sums(np.ones((1, self.count), dtype=np.bool_))[0] / self.count)

    def project(self, axes: Floats) -> Floats:
        """Projections [P, N] on axes [P, D]."""
        result = np.empty((len(axes), self.count))
        for places, x in self.parts():
            result[:, places] = axes @ x.T
        return result


@dataclass(frozen=True, slots=True)
class Moments:
    """First and second moments of codes about a point; those of a part can be taken from those of the whole."""

    count: int
    about: Floats  # [D]
    sums: Floats  # [D]
    products: Floats  # [D, D], the upper triangle alone

    @classmethod
    def of(cls, codes: CodeRows, about: Floats) -> Self:
        """Those of all codes about a point, which is best near their mean."""
        sums = np.zeros(codes.dimensions)
        products = np.zeros((codes.dimensions, codes.dimensions), order="F")
        for _, x in codes.parts():
            x = x - about
            sums += x.sum(axis=0)
            products = dsyrk(1.0, x.T, beta=1.0, c=products, overwrite_c=True)
        return cls(codes.count, about, sums, products)

    def without(self, part: "Moments") -> "Moments":
        """Those of the others; they take the place of those of the part."""
        products = np.subtract(self.products, part.products, out=part.products)
        return Moments(self.count - part.count, self.about, self.sums - part.sums, products)

    @property
    def mean(self) -> Floats:
        """[D]."""
        return np.asarray(self.about + self.sums / self.count)

    def covariance(self) -> Floats:
        """[D, D] with the divisor n, the upper triangle alone. It takes the place of `products`, which are gone then.

        Of 6,144 dimensions each such matrix is 302 MB.
        """
        offset = self.sums / self.count
        result = self.products
        result /= self.count
        for column, value in enumerate(offset):
            result[:, column] -= value * offset
        return result

    def copy(self) -> "Moments":
        """The same, to be kept where `covariance` is asked for."""
        return Moments(self.count, self.about, self.sums, self.products.copy(order="F"))


def by_parts(measure: Callable[[Floats, Bools], Floats], projections: Floats, labellings: Bools) -> Floats:
    """A measure [P] of projections [P, N] and labellings [P, N], of some labellings at a time."""
    step = max(AT_ONCE // projections.shape[1], 1)
    rows = [slice(start, start + step) for start in range(0, len(projections), step)]
    return np.concatenate([measure(projections[part], labellings[part]) for part in rows])
