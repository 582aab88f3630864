"""StyleGAN2 networks that other tools trained, as models of this one: NVlabs' pickles and rosinality's checkpoints.

Either is read as data, its tensors get the names that they have here, and the architecture follows from their shapes. A
network of three channels becomes one of grey: the mean of ToRGB's channels, and the sum of FromRGB's. That is exact for
grey pictures, as long as no channel of ToRGB reaches its clamp.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cxredit_cli.errors import InputError
from cxredit_cli.networks.discriminator import Discriminator, DiscriminatorConfig
from cxredit_cli.networks.generator import Generator, GeneratorConfig
from cxredit_cli.networks.layers import block_resolutions, channels_at
from cxredit_cli.storage.nvlabs_names import named_from_nvlabs
from cxredit_cli.storage.renamed import Renamed
from cxredit_cli.storage.rosinality_names import named_from_rosinality

CHECKPOINTS = (".pt", ".pth")


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file held."""

    generator: Generator
    discriminator: Discriminator | None  # None where there is none, or one of another architecture
    said: dict[str, Any]  # for model.json: where it came from and what was changed


def import_networks(path: Path) -> Imported:
    """Read the networks of a file. Raises InputError for what is no StyleGAN2 of either kind, and for damaged files."""
    if not path.is_file():
        raise InputError(f"There is no {path}; give a pickle of NVlabs' StyleGAN2, or a checkpoint of rosinality's.")
    found = named_from_rosinality(path) if path.suffix.lower() in CHECKPOINTS else named_from_nvlabs(path)
    generator, channels = _generator(found, path)
    said = {"imported_from": path.name, "imported_as": found.origin, "image_channels": channels}
    if channels != 1:
        said["made_grey"] = "ToRGB averaged, FromRGB summed over the channels"
    return Imported(generator, _discriminator(found, path), said)


def _generator(found: Renamed, path: Path) -> tuple[Generator, int]:
    state = dict(found.generator)
    resolutions = sorted(int(name) for name in re.findall(r"synthesis\.blocks\.b(\d+)\.conv1\.weight", " ".join(state)))
    if not resolutions or resolutions != _whole(resolutions[-1]) or "mapping.layers.0.weight" not in state:
        raise InputError(f"{path} holds no StyleGAN2 generator with skips: blocks {resolutions or 'not known'}.")
    top = f"synthesis.blocks.b{resolutions[-1]}"
    channels = len(state[f"{top}.torgb.weight"])
    config = GeneratorConfig(
        resolution=resolutions[-1],
        z_dim=state["mapping.layers.0.weight"].shape[1],
        w_dim=state[f"{top}.conv1.affine.weight"].shape[1],
        mapping_layers=len([name for name in state if re.fullmatch(r"mapping\.layers\.\d+\.weight", name)]),
        conv_clamp=found.clamp,
        **_widths({r: len(state[f"synthesis.blocks.b{r}.conv1.weight"]) for r in resolutions}),
    )
    for name in [name for name in state if re.search(r"\.torgb\.(weight|bias)$", name)]:
        state[name] = state[name].mean(dim=0, keepdim=True)
    generator = Generator(config)
    _load(generator, state, path)
    return generator, channels


def _discriminator(found: Renamed, path: Path) -> Discriminator | None:
    """The residual discriminator; None for another architecture, or where there is none."""
    state = dict(found.discriminator)
    resolutions = sorted(int(name) for name in re.findall(r"blocks\.b(\d+)\.skip\.weight", " ".join(state)))
    if not resolutions or [4, *resolutions] != _whole(resolutions[-1]):
        return None
    widths = {r: len(state[f"blocks.b{r}.conv0.weight"]) for r in resolutions} | {4: len(state["conv.weight"])}
    config = DiscriminatorConfig(
        resolution=resolutions[-1],
        mbstd_group_size=found.group_size,
        conv_clamp=found.clamp,
        **_widths(widths),
    )
    from_rgb = state["from_rgb.weight"]
    # The run-time gain of a layer is 1 over the root of its inputs: of three channels before, of one here.
    state["from_rgb.weight"] = from_rgb.sum(dim=1, keepdim=True) / from_rgb.shape[1] ** 0.5
    discriminator = Discriminator(config)
    _load(discriminator, state, path)
    return discriminator


def _whole(top: int) -> list[int]:
    """4, 8, ... up to `top`; none where it is no resolution."""
    try:
        return block_resolutions(top)
    except ValueError:
        return []


def _widths(found: dict[int, int]) -> dict[str, Any]:
    """The feature maps by resolution as a configuration says them: by a base and a maximum, or all of them."""
    most, top = max(found.values()), max(found)
    base = found[top] * top
    if all(channels_at(resolution, base, most) == width for resolution, width in found.items()):
        return {"channel_base": base, "channel_max": most}
    return {"channels": tuple(found[resolution] for resolution in sorted(found))}


def _load(network: torch.nn.Module, state: dict[str, Tensor], path: Path) -> None:
    own = network.state_dict()
    shaped = {
        name: tensor.reshape(own[name].shape) if name in own and own[name].numel() == tensor.numel() else tensor
        for name, tensor in state.items()
    }
    try:
        network.load_state_dict({name: tensor.float() for name, tensor in shaped.items()})
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise InputError(f"{path} holds other layers than StyleGAN2's: {first}") from None
