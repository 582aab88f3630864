"""Directions beside each other: their cosines, and one freed of others."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxredit_cli.directions.vectors import cosine, orthogonalise
from cxredit_cli.errors import MismatchError
from cxredit_cli.storage.directions import Direction


def check_same_generator(directions: Sequence[tuple[Path, Direction]]) -> None:
    """Raise MismatchError unless all directions belong to one generator."""
    first_path, first = directions[0]
    for path, direction in directions[1:]:
        if direction.fingerprint != first.fingerprint:
            raise MismatchError(
                f"{path} is a direction of the generator {direction.fingerprint} and {first_path} of "
                f"{first.fingerprint}; only directions of one generator can be compared."
            )


def cosine_table(directions: Sequence[tuple[Path, Direction]]) -> NDArray[np.float64]:
    """Cosines [n, n]; a direction of W stands for the same step in every layer of W+. Raises MismatchError."""
    check_same_generator(directions)
    return np.array([[cosine(a.direction, b.direction) for _, b in directions] for _, a in directions])


def chance_cosine(directions: Sequence[Direction]) -> float:
    """Standard deviation of the cosine of two random directions in the largest space that all of them share."""
    return float(min(direction.direction.size for direction in directions) ** -0.5)


def without_others(direction: Direction, others: Sequence[tuple[Path, Direction]]) -> Direction:
    """`direction` with no part along the others; its method and statistics say so. Raises MismatchError."""
    check_same_generator([(Path("the new direction"), direction), *others])
    vector, kept = orthogonalise(direction.direction, [other.direction for _, other in others])
    names = [other.name for _, other in others]
    before = {f"{path} ({other.name})": cosine(direction.direction, other.direction) for path, other in others}
    return replace(
        direction,
        direction=vector.astype(np.float32),
        method=f"{direction.method}, orthogonal to {', '.join(names)}",
        statistics=direction.statistics | {"orthogonal_to": before, "cosine_before_orthogonal": kept},
    )
