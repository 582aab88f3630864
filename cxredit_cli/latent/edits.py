"""Moving codes along a direction: w + strength * v, in all layers or in some."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from cxredit_cli.errors import InputError
from cxredit_cli.inversion.tuning import synthesize_tuned
from cxredit_cli.networks.generator import Generator

MAX_STRENGTHS = 99


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


def parse_strengths(text: str) -> list[float]:
    """Read `3` or `-1.5,0,3`."""
    values = [_number(part, f"--strength {text}") for part in text.split(",") if part.strip()]
    return _distinct(values, f"--strength {text}")


def parse_sweep(text: str) -> list[float]:
    """Read `FROM:TO:COUNT`: COUNT strengths at equal distances, both ends included."""
    parts = text.split(":")
    if len(parts) != 3 or not parts[2].strip().isdecimal() or int(parts[2]) < 2:
        raise InputError(f"--sweep must be FROM:TO:COUNT with a COUNT from 2 on, such as -3:3:7, but it is '{text}'.")
    first, last, count = _number(parts[0], f"--sweep {text}"), _number(parts[1], f"--sweep {text}"), int(parts[2])
    # Rounded, so that a step of 0.1 gives 0.3 and not 0.30000000000000004.
    return _distinct([round(first + (last - first) * i / (count - 1), 6) for i in range(count)], f"--sweep {text}")


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


def strength_label(strength: float) -> str:
    """`+3`, `-1.5`, `+0`: the sign is always there, as in file names."""
    return f"{strength or 0.0:+g}"  # `or` turns -0.0 into 0.0


def _number(text: str, option: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"'{text.strip()}' in {option} is not a number; give numbers such as 3 or -1.5.") from None
    if not abs(value) < 1e6:
        raise InputError(f"'{text.strip()}' in {option} is no strength; give numbers such as 3 or -1.5.")
    return value


def _distinct(values: list[float], option: str) -> list[float]:
    distinct = list({strength_label(value): value for value in values}.values())
    if not 0 < len(distinct) <= MAX_STRENGTHS:
        raise InputError(f"{option} gives {len(distinct)} strengths; give from 1 to {MAX_STRENGTHS}.")
    return distinct
