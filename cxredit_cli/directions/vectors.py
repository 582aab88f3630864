"""Directions as vectors: that of a pair of codes and of many pairs, their cosines, and what is left beside others."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxredit_cli.errors import InputError

FAINT_DISTANCE = 0.05  # of the distance of two random codes: a pair below this hardly moves
FAINT_AGAINST_REPEAT = 3.0  # times the distance of two inversions of one image
DISAGREEMENT = 3.0  # times the cosine that chance gives: many pairs below it share hardly any direction


@dataclass(frozen=True, slots=True)
class PairStatistics:
    """How large the difference of two codes is."""

    length: float  # |w* - w|: the strength at which the original's code arrives at the edited one's
    relative_distance: float  # length / root mean square distance of two random mapped codes
    deviations: float  # root mean square over the dimensions of the difference, in standard deviations of random codes
    largest_deviation: float  # the largest over the dimensions, in the same unit
    repeat_length: float | None = None  # |w' - w| where w' is the code of the original with invisible noise added
    against_repeat: float | None = None  # length / repeat_length

    def as_dict(self) -> dict[str, float | None]:
        """Plain values, for the direction file and for --json."""
        return asdict(self)

    def warning(self) -> str | None:
        """A sentence for the user when the pair carries no direction, else None."""
        if self.relative_distance < FAINT_DISTANCE:
            return (
                f"The two codes are only {self.relative_distance:.1%} as far apart as two random codes are: "
                "this pair carries hardly any direction; use images that differ more, or many images and `cxredit lda`."
            )
        if self.against_repeat is not None and self.against_repeat < FAINT_AGAINST_REPEAT:
            return (
                f"The two codes are only {self.against_repeat:.1f} times as far apart as two inversions of one image: "
                "this pair's direction is mostly chance; use images that differ more, or the encoder."
            )
        return None


def pair_direction(
    original: NDArray[np.float32],
    edited: NDArray[np.float32],
    spread: NDArray[np.float32],
    repeat: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], PairStatistics]:
    """v = (E(I*) - E(I)) / ||E(I*) - E(I)|| (Saboo et al. 2020) of two codes [L, D].

    `spread` [D] are the standard deviations of random mapped codes; `repeat` [L, D] is a second inversion of the
    original. Raises InputError when the codes are the same.
    """
    difference = edited.astype(np.float64) - original.astype(np.float64)
    length = float(np.linalg.norm(difference))
    if length < 1e-7 * max(float(np.linalg.norm(original)), 1e-6):
        raise InputError(
            "The two images have the same code, so they span no direction; give an edited image that differs more."
        )
    deviations = difference / np.maximum(spread.astype(np.float64), 1e-12)
    # Independent codes w, w' of W: E |w - w'|^2 = 2 sum of variances; W+ repeats each in every layer.
    random_distance = float(np.sqrt(2 * len(difference) * np.square(spread.astype(np.float64)).sum()))
    repeat_length = None if repeat is None else float(np.linalg.norm(repeat.astype(np.float64) - original))
    statistics = PairStatistics(
        length=length,
        relative_distance=length / max(random_distance, 1e-12),
        deviations=float(np.sqrt(np.square(deviations).mean())),
        largest_deviation=float(np.abs(deviations).max()),
        repeat_length=repeat_length,
        against_repeat=length / repeat_length if repeat_length else None,
    )
    return (difference / length).astype(np.float32), statistics


@dataclass(frozen=True, slots=True)
class PairsStatistics:
    """How much many pairs agree."""

    pairs: int
    mean_length: float  # of the differences of the codes
    length_deviation: float
    resultant: float  # length of the mean of the unit differences: 1 where all agree, about 1 / sqrt(pairs) by chance
    spread_degrees: float  # root mean square angle between a pair's direction and the mean direction
    leave_one_out: list[float]  # cosine of each pair with the direction of the others; [] for one pair
    mean_leave_one_out: float | None
    lowest_leave_one_out: float | None
    chance_cosine: float  # standard deviation of the cosine of two random directions, 1 / sqrt(dimensions)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for the direction file and for --json."""
        return asdict(self)

    def warning(self) -> str | None:
        """A sentence for the user when the pairs do not agree, else None."""
        if self.mean_leave_one_out is None or self.mean_leave_one_out >= DISAGREEMENT * self.chance_cosine:
            return None
        return (
            f"A pair's direction has a cosine of {self.mean_leave_one_out:.2f} with that of the other pairs and chance "
            f"gives {self.chance_cosine:.2f} either way: the pairs share hardly any direction; edit them more alike or "
            "more strongly."
        )


def mean_pair_direction(
    originals: NDArray[np.float32], edited: NDArray[np.float32]
) -> tuple[NDArray[np.float32], PairsStatistics]:
    """The unit vector along the mean of the normalised differences (w* - w) / |w* - w| of codes [N, L, D].

    Each pair counts the same, however strong its edit. The cosine of pair i with the others is that of u_i with
    sum_{j != i} u_j. Raises InputError where a pair has one code, or where the pairs cancel.
    """
    difference = edited.astype(np.float64) - originals.astype(np.float64)
    lengths = np.linalg.norm(difference, axis=(1, 2))
    scale = np.maximum(np.linalg.norm(originals.astype(np.float64), axis=(1, 2)), 1e-6)
    if (lengths < 1e-7 * scale).any():
        same = int(np.argmax(lengths < 1e-7 * scale))
        raise InputError(
            f"The two images of pair {same + 1} have the same code, so they span no direction; leave it out."
        )
    units = difference / lengths[:, None, None]
    total = units.sum(axis=0)
    resultant = float(np.linalg.norm(total)) / len(units)
    if resultant < 1e-6:
        raise InputError("The pairs point to opposite sides and cancel; check which image of each is the edited one.")
    direction = total / np.linalg.norm(total)
    others = total - units
    loo: list[float] = []
    if len(units) > 1:
        norms = np.maximum(np.linalg.norm(others, axis=(1, 2)), 1e-12)
        loo = [float(value) for value in (units * others).sum(axis=(1, 2)) / norms]
    angles = np.degrees(np.arccos(np.clip((units * direction).sum(axis=(1, 2)), -1, 1)))
    statistics = PairsStatistics(
        pairs=len(units),
        mean_length=float(lengths.mean()),
        length_deviation=float(lengths.std()),
        resultant=resultant,
        spread_degrees=float(np.sqrt(np.square(angles).mean())),
        leave_one_out=loo,
        mean_leave_one_out=float(np.mean(loo)) if loo else None,
        lowest_leave_one_out=min(loo) if loo else None,
        chance_cosine=float(difference[0].size ** -0.5),
    )
    return direction.astype(np.float32), statistics


def cosine(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Cosine of two directions [1 or L, D]; one of W stands for the same row in every layer."""
    x, y = as_layers(a, len(b)), as_layers(b, len(a))
    return float((x * y).sum() / (np.linalg.norm(x) * np.linalg.norm(y)))


def as_layers(vector: NDArray[np.floating], layers: int) -> NDArray[np.float64]:
    """[1 or L, D] -> float64 [max(rows, layers), D]: a direction of W is the same row in each layer of W+."""
    wide = vector.astype(np.float64)
    return wide.repeat(layers, axis=0) if len(wide) == 1 else wide


def orthogonalise(
    vector: NDArray[np.floating], others: Sequence[NDArray[np.floating]]
) -> tuple[NDArray[np.float64], float]:
    """The unit vector nearest to `vector` [1 or L, D] that has no part along `others`, and its cosine with `vector`.

    A projection on what the span of `others` leaves (Gram and Schmidt). A direction of W moves all layers alike, so
    beside one of W+ what counts of the latter is the sum of its layers; a direction of W+ is freed of one of W repeated
    in each layer. Raises InputError where nothing is left.
    """
    start = vector.astype(np.float64)
    rows = []
    for other in others:
        if len(start) == 1:
            rows.append(other.astype(np.float64).sum(axis=0))
        else:
            rows.append(as_layers(other, len(start)).ravel())
    span = np.stack(rows, axis=1)
    left, singular, _ = np.linalg.svd(span, full_matrices=False)
    basis = left[:, singular > 1e-6 * max(float(singular[0]), 1e-12)]
    flat = start.ravel() / np.linalg.norm(start)
    rest = flat - basis @ (basis.T @ flat)
    rest -= basis @ (basis.T @ rest)
    length = float(np.linalg.norm(rest))
    if length < 1e-4:
        raise InputError("Nothing is left of the direction once it is orthogonal to the others; leave one of them out.")
    return (rest / length).reshape(start.shape), length
