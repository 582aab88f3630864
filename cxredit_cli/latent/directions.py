"""The direction that a pair of images spans, and whether it is more than chance."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from cxredit_cli.errors import InputError

FAINT_DISTANCE = 0.05  # of the distance of two random codes: a pair below this hardly moves
FAINT_AGAINST_REPEAT = 3.0  # times the distance of two inversions of one image


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
