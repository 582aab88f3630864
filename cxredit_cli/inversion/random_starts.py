"""Where a search for codes may begin, other than at the encoder's answer or at the mean code."""

import torch
from torch import Tensor

from cxredit_cli.inversion.thumbnails import small
from cxredit_cli.networks.generator import Generator, random_z

COUNT, SEED, BATCH = 1024, 11, 32


class RandomCodes:
    """Random codes with their images; made once for a cohort."""

    @torch.no_grad()
    def __init__(self, generator: Generator, count: int = COUNT) -> None:
        mean = generator.mapping.w_avg
        self._w = generator.mapping(random_z(count, generator.z_dim, SEED).to(mean.device))
        parts = torch.split(self._w[:, None], BATCH)
        self._images = torch.cat([small(generator.synthesis(part).clamp(-1, 1)) for part in parts])

    @torch.no_grad()
    def nearest(self, images: Tensor) -> Tensor:
        """The codes [N, 1, w_dim] whose images have the least squared error to `images` [N, 1, R, R]."""
        given = small(images.to(self._images.device).float())
        # |a - b|^2 = |a|^2 - 2 a.b + |b|^2, and the first does not depend on the candidate.
        error = self._images.square().sum(dim=1) - 2 * given @ self._images.T
        nearest: Tensor = self._w[error.argmin(dim=1)][:, None]
        return nearest
