"""Random codes: the same for a seed and a number, whatever the batch."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cxredit_cli.networks.generator import Generator


@torch.no_grad()
def random_codes(generator: Generator, seed: int, indices: Sequence[int], truncation_psi: float = 1.0) -> Tensor:
    """Codes [n, 1, w_dim] of the images `indices` of a seed: each index has its own random stream."""
    streams = [np.random.default_rng([seed, index]) for index in indices]
    z = torch.from_numpy(np.stack([stream.standard_normal(generator.z_dim, dtype=np.float32) for stream in streams]))
    w: Tensor = generator.mapping(z.to(generator.mapping.w_avg.device), truncation_psi)
    return w[:, None]
