"""Which images of the whole batch one process works on at once."""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from cxredit_cli.errors import InputError


@dataclass(frozen=True, slots=True)
class Part:
    """Groups `first` to `last` (exclusive) of a batch of `groups` groups of `size` images.

    Group j is the images j, j + groups, j + 2 groups, ..., as the discriminator compares them (`minibatch_std`). A part
    keeps the batch's order, so that the discriminator finds the very same groups in it.
    """

    size: int
    groups: int
    first: int
    last: int
    opening: bool = True  # the first that its process works on in an iteration
    closing: bool = True  # ... and the last

    def __len__(self) -> int:
        return self.size * (self.last - self.first)

    @property
    def whole(self) -> int:
        """The number of images in the whole batch."""
        return self.size * self.groups

    @property
    def share(self) -> float:
        """What a mean over this part counts in the mean over the whole batch."""
        return len(self) / self.whole

    def indices(self) -> list[int]:
        """The places of its images in the whole batch, in order."""
        return [k * self.groups + j for k in range(self.size) for j in range(self.first, self.last)]

    def take(self, batch: Tensor) -> Tensor:
        """[whole, ...] -> [len(self), ...]."""
        grouped = batch.view(self.size, self.groups, *batch.shape[1:])
        return grouped[:, self.first : self.last].flatten(0, 1)


def whole_batch(count: int) -> Part:
    """All of a batch of `count` images at once."""
    return Part(1, count, 0, count)


def parts_of(whole: int, size: int, rank: int, processes: int, most: int | None) -> tuple[Part, ...]:
    """The parts that process `rank` of `processes` works on one after the other, of at most `most` images each.

    Groups of `size` images stay together. Where they do not divide evenly, some processes have a group more: what each
    adds to the whole batch's mean is weighted by its share, so the result is the same. Raises InputError where a
    process would have nothing to do, or where a group does not fit into `most`.
    """
    alone = processes == 1 and (most is None or most >= whole)
    if alone:
        return (whole_batch(whole),)
    if whole % size:
        raise InputError(
            f"A batch of {whole} cannot be split, for the discriminator compares images in groups of {size}; use a "
            f"--batch that is a multiple of {size}."
        )
    groups = whole // size
    if processes > groups:
        compared = f" in groups of {size}, which the discriminator compares," if size > 1 else ""
        raise InputError(
            f"A batch of {whole}{compared} gives work to {groups} processes at most, but {processes} were started; "
            f"start {groups}, or use --batch {size * processes}."
        )
    if most is not None and most < size:
        raise InputError(f"--batch-gpu must be at least {size}, for the discriminator compares groups of that many.")
    begin, end = (offset * groups // processes for offset in (rank, rank + 1))
    rounds = 1 if most is None else -(-(end - begin) * size // (most // size * size))
    edges = [begin + k * (end - begin) // rounds for k in range(rounds + 1)]
    return tuple(
        Part(size, groups, first, last, opening=first == begin, closing=last == end) for first, last in pairwise(edges)
    )
