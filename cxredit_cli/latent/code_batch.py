"""Codes of a file with all that goes with them, as tensors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxredit_cli.storage.codes import Codes, Rows


@dataclass(frozen=True, slots=True)
class CodeBatch:
    """Codes of N scans and all that goes with them, on the CPU."""

    w: Tensor  # [N, 1 or num_ws, D]
    noise: list[Tensor] | None  # fitted noise, one [N, 1, H, W] a layer
    tuning: Tensor | None  # [N, K], what bends the generator for each
    how: str
    seconds: float | None = None  # an image, where they were made now

    def take(self, rows: slice | Sequence[int] | Tensor) -> "CodeBatch":
        """Some of them, in this order."""
        noise = None if self.noise is None else [layer[rows] for layer in self.noise]
        return replace(self, w=self.w[rows], noise=noise, tuning=None if self.tuning is None else self.tuning[rows])


def take_codes(codes: Codes, rows: Rows) -> CodeBatch:
    """The codes in `rows` of a file, in this order."""
    layers, deltas = codes.noise(rows), codes.tuning(rows)
    noise = None if layers is None else [torch.from_numpy(layer)[:, None] for layer in layers]
    tuning = None if deltas is None else torch.from_numpy(deltas)
    header = codes.header
    how = f"{header.method}, {header.space}" + (f", {header.steps} steps" if header.steps else "")
    return CodeBatch(torch.from_numpy(codes.some(rows)), noise, tuning, f"{how} ({codes.path})")


def take_originals(codes: Codes, rows: NDArray[np.int64], batch: int) -> Iterator[Tensor]:
    """What was inverted, [n, 1, R, R] in [-1, 1], `batch` of some codes at a time."""
    for start in range(0, len(rows), batch):
        stored = codes.originals(rows[start : start + batch])
        yield torch.from_numpy(stored.astype(np.float32))[:, None] / 127.5 - 1
