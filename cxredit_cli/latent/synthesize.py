"""Pictures of many codes, a batch at a time."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from cxredit_cli.inversion.pivotal_tuning import synthesize_tuned
from cxredit_cli.networks.generator import Generator


@torch.no_grad()
def synthesize(
    generator: Generator,
    w: Tensor,
    noise: Sequence[Tensor] | None = None,
    batch: int = 16,
    tuning: Tensor | None = None,
) -> Iterator[Tensor]:
    """Images [n, 1, R, R], clamped to [-1, 1], on the CPU, for codes [N, L, D], `batch` at a time.

    `noise` is fitted noise, one [N, 1, H, W] a layer; None is the generator's constants. `tuning`
    [N, K] are the deltas of the generator's weights that go with each code (`inversion.tuning`).
    """
    device = generator.mapping.w_avg.device
    for start in range(0, len(w), batch):
        part = slice(start, start + batch)
        fitted = None if noise is None else [layer[part].to(device) for layer in noise]
        if tuning is not None:
            yield synthesize_tuned(generator, w[part].to(device), fitted, tuning[part]).clamp(-1, 1).cpu()
            continue
        yield generator.synthesis(w[part].to(device), fitted or "const").clamp(-1, 1).cpu()
