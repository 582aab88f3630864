"""What trainings on labelled images share: the order of the images, the learning rate, the average that is kept."""

import math

import torch
from torch import nn


def draw(count: int, step: int, batch: int, seed: int) -> list[int]:
    """The `batch` numbers below `count` of one step: each is drawn once before any is drawn again."""
    chosen = []
    for position in range(step * batch, (step + 1) * batch):
        epoch, place = divmod(position, count)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
        chosen.append(int(order[place]))
    return chosen


def warm_cosine(step: int, steps: int, warmup: int) -> float:
    """The share of the peak learning rate: rises over `warmup` steps and falls as a cosine to 0."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 + 0.5 * math.cos(math.pi * (step - warmup) / max(steps - warmup, 1))


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, step: int, ema: float) -> None:
    """Move the weights of `average` towards those of `network`, at the first steps faster than by `ema`."""
    decay = min(ema, (step + 1) / (step + 10))
    for kept, current in zip(average.parameters(), network.parameters(), strict=True):
        kept.lerp_(current, 1 - decay)
