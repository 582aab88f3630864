"""Random numbers of a training: those of an image do not depend on which process works on it.

They come from (seed, iteration, what they are for, place of the image in the whole batch). Where an image needs a few,
every process draws the whole batch's and takes its own; where it needs as many as it has pixels, each image has a
stream of its own.
"""

import hashlib

import torch
from torch import Tensor

from cxredit_cli.training.parts import Part


def hashed_seed(*key: object) -> int:
    """A 63-bit seed of the parts of a key, unrelated to those of similar keys."""
    return int.from_bytes(hashlib.sha256(":".join(map(str, key)).encode()).digest()[:8], "big") >> 1


class Draws:
    """The random numbers that the images of one part need for one use in one iteration."""

    def __init__(self, seed: int, iteration: int, use: str, part: Part, device: torch.device) -> None:
        self.part = part
        self._key = (seed, iteration, use)
        self._device = device
        self._stream = torch.Generator(device).manual_seed(hashed_seed(*self._key))

    def normal(self, *shape: int) -> Tensor:
        """[len(part), *shape] of N(0, 1)."""
        return self.part.take(self.normal_of_all(*shape))

    def normal_of_all(self, *shape: int) -> Tensor:
        """[part.whole, *shape] of N(0, 1), of the whole batch."""
        return torch.randn(self.part.whole, *shape, generator=self._stream, device=self._device)

    def uniform(self, *shape: int) -> Tensor:
        """[len(part), *shape], uniform in [0, 1)."""
        return self.part.take(torch.rand(self.part.whole, *shape, generator=self._stream, device=self._device))

    def pictures(self, count: int) -> Tensor:
        """[len(part), count] of N(0, 1), each row from its image's own stream."""
        rows = torch.empty(len(self.part), count, device=self._device)
        stream = torch.Generator(self._device)
        for row, place in zip(rows, self.part.indices(), strict=True):
            row.normal_(generator=stream.manual_seed(hashed_seed(*self._key, place)))
        return rows
