"""The anatomy network on disk: safetensors weights, and a JSON of the same name beside them that says what they are."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from cxredit_cli.atomic import write_text, written_aside
from cxredit_cli.errors import InputError
from cxredit_cli.networks.anatomy import AnatomyConfig, AnatomyNetwork

BUNDLED_ANATOMY = Path(__file__).parent.parent / "bundled" / "anatomy.safetensors"
# Trained on other images than the first, and never used to find or to steer anything: it judges what the first found.
BUNDLED_JUDGE = BUNDLED_ANATOMY.with_name("anatomy_judge.safetensors")
SCHEMA = "cxredit-anatomy"
VERSION = 1


def save_anatomy(
    path: Path, network: AnatomyNetwork, info: Mapping[str, Any], dtype: torch.dtype = torch.float16
) -> None:
    """Write the weights to `path` (.safetensors), and the architecture and `info` to the .json beside it."""
    state = {key: value.detach().to("cpu", dtype).contiguous() for key, value in network.state_dict().items()}
    with written_aside(path) as aside:
        save_file(state, aside)
    document = {"schema": SCHEMA, "version": VERSION, "architecture": asdict(network.config), **info}
    write_text(path.with_suffix(".json"), json.dumps(document, indent=2) + "\n")


def load_anatomy(path: Path | None = None, device: torch.device | str = "cpu") -> AnatomyNetwork:
    """The network in `path`, else the bundled one (BUNDLED_JUDGE is the second), in eval mode and without gradients.

    Raises InputError where there is none or it is damaged.
    """
    path = path or BUNDLED_ANATOMY
    document = read_anatomy_info(path)
    try:
        architecture = document["architecture"]
        network = AnatomyNetwork(AnatomyConfig(**{**architecture, "widths": tuple(architecture["widths"])}))
        network.load_state_dict({key: value.float() for key, value in load_file(path).items()})
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError, FileNotFoundError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} does not hold the anatomy network that its .json describes: {first}") from None
    return network.to(device).eval().requires_grad_(False)


def read_anatomy_info(path: Path) -> dict[str, Any]:
    """What the JSON beside the weights says. Raises InputError."""
    described = path.with_suffix(".json")
    try:
        document = json.loads(described.read_text())
    except FileNotFoundError:
        raise InputError(f"{described} is missing; it must lie beside the anatomy network's weights.") from None
    except ValueError:
        document = None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA or document.get("version") != VERSION:
        raise InputError(f"{described} does not describe an anatomy network of version {VERSION}.")
    return document
