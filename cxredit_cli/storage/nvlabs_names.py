"""NVlabs' pickles (stylegan2-ada-pytorch, stylegan3's stylegan2 configurations), by the names of tensors here.

Theirs are ours but for `synthesis.bN`, here `synthesis.blocks.bN`, and `mapping.fcN`, here `mapping.layers.N`; of the
discriminator `bN`, here `blocks.bN`, and what lies within `b4`.
"""

import re
from pathlib import Path

from torch import Tensor

from cxredit_cli.errors import InputError
from cxredit_cli.storage.renamed import Renamed, check_filter
from cxredit_cli.storage.safe_pickle import PickledModule, read_pickle

CONV_CLAMP, GROUP_SIZE = "conv_clamp", "group_size"


def named_from_nvlabs(path: Path) -> Renamed:
    """The averaged generator, and the discriminator. Raises InputError for another kind of network."""
    document = read_pickle(path)
    if not isinstance(document, dict):
        raise InputError(f"{path} holds no dictionary of networks (G_ema, D); expected a snapshot of NVlabs' training.")
    found = document.get("G_ema") or document.get("G")
    if not isinstance(found, PickledModule):
        raise InputError(f"{path} holds no generator (G_ema or G); expected a snapshot of NVlabs' training.")
    if found.part("synthesis.input") is not None:
        raise InputError(f"{path} is a StyleGAN3 network; StyleGAN2 alone can be imported.")
    if int(found.state.get("c_dim") or 0) > 0:
        raise InputError(f"{path} is a network with classes, which models of this tool do not have yet.")
    judge = document.get("D")
    deviation = judge.part("b4.mbstd") if isinstance(judge, PickledModule) else None
    first = found.part("synthesis.b4.conv1")
    clamp = first.state.get(CONV_CLAMP) if first is not None else None
    return Renamed(
        "NVlabs' StyleGAN2",
        {_of_generator(name): tensor for name, tensor in _tensors(found, path).items()},
        {_of_discriminator(name): tensor for name, tensor in _tensors(judge, path).items()},
        None if clamp is None else float(clamp),
        int((deviation.state.get(GROUP_SIZE) if deviation else None) or 4),
    )


def _tensors(module: object, path: Path) -> dict[str, Tensor]:
    if not isinstance(module, PickledModule):
        return {}
    found = module.tensors()
    for name in [name for name in found if name.endswith("resample_filter")]:
        check_filter(found.pop(name), path)
    return found


def _of_generator(name: str) -> str:
    name = re.sub(r"^synthesis\.(b\d+)\.", r"synthesis.blocks.\1.", name)
    return re.sub(r"^mapping\.fc(\d+)\.", r"mapping.layers.\1.", name)


def _of_discriminator(name: str) -> str:
    if name.startswith("b4."):
        return name.removeprefix("b4.")
    return re.sub(r"^(b\d+)\.", r"blocks.\1.", re.sub(r"^b\d+\.fromrgb\.", "from_rgb.", name))
