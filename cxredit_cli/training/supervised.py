"""What trainings on labelled images share: the loop, the order of the images, the learning rate, the average."""

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from cxredit_cli.errors import MismatchError
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.training.checkpoint import (
    load_checkpoint,
    load_module,
    load_optimizer,
    module_tensors,
    optimizer_tensors,
    save_checkpoint,
)

N = TypeVar("N", bound=nn.Module)


class SupervisedTraining(Protocol):
    """The settings, a dataclass, that every such training has."""

    @property
    def steps(self) -> int: ...

    @property
    def lr(self) -> float: ...  # peak, of AdamW

    @property
    def warmup(self) -> int: ...  # steps

    @property
    def weight_decay(self) -> float: ...

    @property
    def ema(self) -> float: ...


def train(
    network: N,
    options: SupervisedTraining,
    loss_of: Callable[[N, int], Tensor],
    title: str,
    checkpoint: Path | None = None,
    check: Callable[[N], Mapping[str, float]] | None = None,
    check_every: int = 100,
    progress: Progress | None = None,
    clip: float | None = 1.0,
) -> N:
    """Train `network` by the loss of each step, a function of network and step; return its moving average.

    Every `check_every` steps the average is given to `check`, whose figures are shown, and everything is written to
    `checkpoint`; with one that exists, training carries on there and ends with the same weights (on a processor).
    `clip` is the greatest norm of a gradient. Raises MismatchError for a checkpoint of other options.
    """
    progress = progress or SilentProgress()
    average = deepcopy(network).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=options.lr, weight_decay=options.weight_decay)
    first = _restore(checkpoint, network, average, optimizer, options)
    progress.start(title, options.steps, first, unit="step")
    network.train()
    for step in range(first, options.steps):
        for group in optimizer.param_groups:
            group["lr"] = options.lr * warm_cosine(step, options.steps, options.warmup)
        loss = loss_of(network, step)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
        optimizer.step()
        update_average(average, network, step, options.ema)
        done = step + 1
        if done % check_every == 0 or done == options.steps:
            figures = dict(check(average)) if check else {}
            progress.advance(done, loss=loss.item(), **figures)
            if checkpoint:
                tensors = module_tensors("network", network) | module_tensors("average", average)
                state = {"step": done, "options": _plain(options), "figures": figures}
                save_checkpoint(checkpoint, tensors | optimizer_tensors("optimizer", optimizer), state)
    progress.finish()
    return average


def _restore(
    checkpoint: Path | None,
    network: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    options: SupervisedTraining,
) -> int:
    """Load a checkpoint if there is one; return how many steps are done."""
    if checkpoint is None or not checkpoint.exists():
        return 0
    tensors, state = load_checkpoint(checkpoint)
    if state["options"] != _plain(options):
        raise MismatchError(
            f"{checkpoint} was made with {state['options']}, but {_plain(options)} is asked for; use the same options "
            "to carry on, or another folder."
        )
    load_module("network", network, tensors)
    load_module("average", average, tensors)
    load_optimizer("optimizer", optimizer, tensors)
    return int(state["step"])


def _plain(options: SupervisedTraining) -> dict[str, Any]:
    return asdict(options)  # type: ignore[call-overload,no-any-return]


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
