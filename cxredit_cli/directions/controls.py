"""What other attributes explain, taken out of codes and labels.

Theorem of Frisch and Waugh (1933) and Lovell (1963): in a linear regression of codes on a label and controls, the
coefficients of the label are those of the regression on the controls' residuals. So codes are replaced by what the
controls leave of them, and the classes are compared on that.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cxredit_cli.errors import InputError
from cxredit_cli.separability.code_rows import CodeRows, Places

Floats = NDArray[np.float64]

MAX_LEVELS = 20  # of a categorical control: more are names or identifiers, not categories
NIH_AGE = re.compile(r"(\d+)([YMD])")  # 058Y of ChestX-ray14's first table
YEARS = {"Y": 1.0, "M": 1 / 12, "D": 1 / 365.25}


@dataclass(frozen=True, slots=True)
class Controls:
    """Attributes of N codes as columns: numbers as deviations, categories as one column a level but the first."""

    names: list[str]  # as the user gave them
    described: list[str]  # one text each: what was made of it
    matrix: Floats  # [N, k], each column of mean 0 and deviation 1
    kept: NDArray[np.int64]  # [N] indices of the codes that have all of them

    @classmethod
    def of(cls, columns: Mapping[str, Sequence[str]]) -> Self:
        """Read columns of texts, all of one length; rows that lack a number are left out.

        A column of numbers (NIH's ages such as 058Y too) enters as it is; another one by its levels, an empty cell
        being a level. Raises InputError for a column of one value or of more than MAX_LEVELS levels.
        """
        count = len(next(iter(columns.values())))
        parts: list[Floats] = []
        described: list[str] = []
        for name, values in columns.items():
            numbers = _numbers(values)
            if numbers is None:
                levels = sorted({value.strip() for value in values})
                if len(levels) > MAX_LEVELS:
                    raise InputError(
                        f"--control {name} has {len(levels)} different values; give a column of numbers, or of at most "
                        f"{MAX_LEVELS} categories."
                    )
                parts.append(np.array([[float(v.strip() == level) for level in levels[1:]] for v in values]))
                described.append(f"{name}: {', '.join(level or '(empty)' for level in levels)}")
            else:
                parts.append(numbers[:, None])
                known = numbers[np.isfinite(numbers)]
                described.append(f"{name}: {known.min():g} to {known.max():g}, mean {known.mean():.4g}")
        matrix = np.concatenate(parts, axis=1) if parts else np.empty((count, 0))
        kept = np.flatnonzero(np.isfinite(matrix).all(axis=1))
        matrix = matrix[kept]
        for name, part in zip(columns, parts, strict=True):
            if len(kept) == 0 or part[kept].shape[1] == 0 or np.ptp(part[kept], axis=0).max() == 0:
                raise InputError(f"--control {name} has one value for all codes, so there is nothing to control for.")
        deviations = matrix.std(axis=0)
        matrix = (matrix - matrix.mean(axis=0))[:, deviations > 0] / deviations[deviations > 0]
        return cls(list(columns), described, matrix, kept)


@dataclass(frozen=True, slots=True)
class Residuals:
    """The regression of codes [n, D] on controls [n, k], which takes out of any codes what it explains."""

    mean: Floats  # [D] of the codes
    centre: Floats  # [k] of the controls
    slopes: Floats  # [k, D]

    @classmethod
    def fit(cls, codes: CodeRows, controls: Floats) -> Self:
        """Least squares, with an intercept; columns that repeat others share their effect (minimum norm)."""
        mean, centre = codes.mean(), controls.mean(axis=0)
        inverse = np.linalg.pinv(controls - centre)
        slopes = codes.sums(inverse) - inverse.sum(axis=1)[:, None] * mean
        return cls(mean, centre, slopes)

    def of(self, codes: CodeRows, controls: Floats) -> CodeRows:
        """Codes minus what their controls explain; the mean of the fitted codes stays."""
        if not len(self.slopes):
            return codes

        def take(places: Places) -> Floats:
            return np.asarray(codes.take(places) - (controls[places] - self.centre) @ self.slopes)

        return CodeRows(take, len(codes), codes.dimensions)

    def explained(self, codes: CodeRows, controls: Floats) -> float:
        """Share of the codes' variance (summed over dimensions) that the controls explain."""
        total, left = (
            sum(float(np.square(x - self.mean).sum()) for _, x in some.parts())
            for some in (codes, self.of(codes, controls))
        )
        return 1 - left / total


def _numbers(values: Sequence[str]) -> Floats | None:
    """The values as numbers, nan where empty; None if one is no number, or if none is there."""
    found = np.full(len(values), np.nan)
    for index, text in enumerate(values):
        if not text.strip():
            continue
        age = NIH_AGE.fullmatch(text.strip())
        try:
            found[index] = float(age[1]) * YEARS[age[2]] if age else float(text)
        except ValueError:
            return None
    return found if np.isfinite(found).any() else None
