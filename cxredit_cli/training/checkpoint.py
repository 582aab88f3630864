"""Checkpoints as one safetensors file: tensors, and the rest of the state as JSON in its header. Never pickle."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from cxredit_cli.atomic import written_aside
from cxredit_cli.errors import InputError

STATE_KEY = "cxredit_state"


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write `tensors` and the JSON-able `state` to one file, replacing the previous checkpoint atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    contiguous = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    with written_aside(path) as partial:
        save_file(contiguous, partial, metadata={STATE_KEY: json.dumps(dict(state))})


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_checkpoint` wrote: (tensors on the CPU, state)."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
            state = json.loads((file.metadata() or {})[STATE_KEY])
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(
            f"{path} is no checkpoint of cxredit ({error}); delete it to start the training anew."
        ) from None
    return tensors, state


def module_tensors(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    """The parameters and buffers of `module`, each name after `prefix.`."""
    return {f"{prefix}.{key}": value for key, value in module.state_dict().items()}


def load_module(prefix: str, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Restore what `module_tensors` gave."""
    module.load_state_dict(_without_prefix(prefix, tensors))


def optimizer_tensors(prefix: str, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The per-parameter state of `optimizer` (step counts and moments), by parameter index."""
    return {
        f"{prefix}.{index}.{key}": torch.as_tensor(value)
        for index, entries in optimizer.state_dict()["state"].items()
        for key, value in entries.items()
    }


def load_optimizer(prefix: str, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore what `optimizer_tensors` gave; the hyper-parameters stay those of `optimizer`."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _without_prefix(prefix, tensors).items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(f"{prefix}."): value for key, value in tensors.items() if key.startswith(f"{prefix}.")}
