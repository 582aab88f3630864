"""A small network on disk: one safetensors file, whose header says in JSON what it is."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from cxredit_cli.atomic import written_aside
from cxredit_cli.errors import InputError

VERSION, KEY = 1, "cxredit"
N = TypeVar("N", bound=nn.Module)


def save_described(
    path: Path, schema: str, network: nn.Module, config: Any, info: Mapping[str, Any], dtype: torch.dtype
) -> None:
    """Write the weights, and in the header the schema, the architecture (a dataclass) and `info`."""
    state = {key: value.detach().to("cpu", dtype).contiguous() for key, value in network.state_dict().items()}
    document = {"schema": schema, "version": VERSION, "architecture": asdict(config), **info}
    with written_aside(path) as aside:
        save_file(state, aside, metadata={KEY: json.dumps(document)})


def load_described(
    path: Path, schema: str, what: str, made_by: str, build: Callable[..., N], device: torch.device | str
) -> tuple[N, dict[str, Any]]:
    """The network that `build` makes of the architecture, in eval mode and without gradients, and the header.

    `what` and `made_by` name it and the script that makes one in what InputError says.
    """
    if not path.is_file():
        raise InputError(f"There is no {what} {path}; make one with {made_by}.")
    try:
        with safe_open(path, framework="pt") as file:
            document = json.loads((file.metadata() or {}).get(KEY, "{}"))
        if document.get("schema") != schema or document.get("version") != VERSION:
            raise InputError(f"{path} holds no {what} of version {VERSION}; make one with {made_by}.")
        network = build(**document["architecture"])
        network.load_state_dict({key: value.float() for key, value in load_file(path).items()})
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} does not hold the {what} that its header describes: {first}") from None
    return network.to(device).eval().requires_grad_(False), document
