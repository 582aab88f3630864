"""Moving codes along a direction: w + strength * v, in all layers or in some."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cxredit_cli.errors import InputError


def edit(
    w: Tensor, direction: Tensor, strengths: Sequence[float], num_ws: int, layers: Sequence[int] | None = None
) -> Tensor:
    """Codes [N, L, D] moved by each strength -> [N, S, L', D] (Saboo et al. 2020: w + strength * v).

    `direction` is [1 or num_ws, D]. `layers` are the w indices that move, None for all; codes of W become codes of W+
    (L' = num_ws) where the layers no longer agree.
    """
    check_layers(layers, num_ws)
    if w.shape[-1] != direction.shape[-1] or {w.shape[1], direction.shape[0]} - {1, num_ws}:
        raise InputError(
            f"Codes {list(w.shape[1:])} and direction {list(direction.shape)} do not fit this generator of {num_ws} "
            "layers; make both with one model."
        )
    steps = torch.tensor(list(strengths), dtype=w.dtype, device=w.device).view(1, -1, 1, 1)
    step = direction.to(w)
    if layers is not None:
        moves = torch.zeros(num_ws, 1, dtype=w.dtype, device=w.device)
        moves[list(layers)] = 1
        step = step * moves
    return w[:, None] + steps * step


def parse_layers(text: str | None, num_ws: int) -> list[int] | None:
    """Read `4-9` or `0,2,4-6` as w indices; None (all) for None."""
    if text is None:
        return None
    layers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise InputError(f"--layers must be w indices such as 4-9 or 0,2,4-6, but it is '{text}'.")
        if int(last or first) >= num_ws:
            raise InputError(f"This model has the layers 0-{num_ws - 1}, but --layers asks for {part.strip()}.")
        layers.update(range(int(first), int(last or first) + 1))
    check_layers(sorted(layers), num_ws)
    return sorted(layers)


def check_layers(layers: Sequence[int] | None, num_ws: int) -> None:
    """Raise InputError unless all `layers` are w indices of a generator with `num_ws` layers."""
    if layers is not None and (not layers or min(layers) < 0 or max(layers) >= num_ws):
        raise InputError(f"This model has the layers 0-{num_ws - 1}, but layers {list(layers)} were asked for.")
