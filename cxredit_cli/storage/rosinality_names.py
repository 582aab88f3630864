"""Checkpoints of rosinality's stylegan2-pytorch, by the names that tensors have here.

The first convolution and ToRGB are of 4x4; `convs` holds two a resolution, the first of which up-samples. The stored
weights of modulated convolutions are the same, with an axis in front.
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cxredit_cli.errors import InputError
from cxredit_cli.storage.renamed import Renamed, check_filter

PARTS = (
    (r"\.conv\.modulation\.", ".affine."),
    (r"\.conv\.weight$", ".weight"),
    (r"\.noise\.weight$", ".noise_strength"),
    (r"\.activate\.bias$", ".bias"),
)


def named_from_rosinality(path: Path) -> Renamed:
    """The averaged generator, and the discriminator. Raises InputError for another file."""
    try:
        document: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file raises, and a refusal of what is no tensor
        raise InputError(
            f"{path} is no checkpoint of plain tensors; expected one of rosinality's stylegan2-pytorch (g_ema, d)."
        ) from error
    found = document.get("g_ema") or document.get("g") if isinstance(document, dict) else None
    if not isinstance(found, dict) or "input.input" not in found:
        raise InputError(f"{path} holds no generator (g_ema) of rosinality's stylegan2-pytorch.")
    generator: dict[str, Tensor] = {}
    for name, tensor in found.items():
        if name.endswith("kernel"):
            check_filter(tensor, path)
            continue
        renamed = _of_generator(name)
        torgb = ".torgb." in renamed and not re.search(r"affine", renamed)
        generator[renamed] = tensor.flatten() if torgb and renamed.endswith("bias") else tensor
        if renamed.endswith(".weight") and tensor.ndim == 5:
            generator[renamed] = tensor[0]
    mean = document.get("latent_avg")
    width = generator["mapping.layers.0.weight"].shape[0] if "mapping.layers.0.weight" in generator else 0
    generator["mapping.w_avg"] = mean if isinstance(mean, Tensor) else torch.zeros(width)
    judge = document.get("d")
    return Renamed("rosinality's StyleGAN2", generator, _discriminator(judge, path) if isinstance(judge, dict) else {})


def _of_generator(name: str) -> str:
    if name == "input.input":
        return "synthesis.blocks.b4.const"
    layer = re.match(r"style\.(\d+)\.(.*)", name)
    if layer:
        return f"mapping.layers.{int(layer[1]) - 1}.{layer[2]}"
    noise = re.match(r"noises\.noise_(\d+)$", name)
    if noise:
        return f"{_convolution(int(noise[1]))}.noise_const"
    for pattern, replacement in PARTS:
        name = re.sub(pattern, replacement, name)
    name = re.sub(r"^conv1\.", f"{_convolution(0)}.", name)
    name = re.sub(r"^convs\.(\d+)\.", lambda found: f"{_convolution(int(found[1]) + 1)}.", name)
    name = re.sub(r"^to_rgb1\.", "synthesis.blocks.b4.torgb.", name)
    return re.sub(r"^to_rgbs\.(\d+)\.", lambda found: f"synthesis.blocks.b{8 << int(found[1])}.torgb.", name)


def _convolution(number: int) -> str:
    """The convolution with noise `number`: one of 4x4, then two a resolution."""
    return f"synthesis.blocks.b{4 << (number + 1) // 2}.conv{1 if number % 2 == 0 else 0}"


def _discriminator(found: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    numbers = [int(number) for number in re.findall(r"convs\.(\d+)\.skip", " ".join(found))]
    top = 4 << max(numbers, default=0)
    renamed = {}
    for name, tensor in found.items():
        if name.endswith("kernel"):
            check_filter(tensor, path)
            continue
        name = re.sub(r"^convs\.0\.(0\.weight|1\.bias)$", lambda m: f"from_rgb.{m[1][2:]}", name)
        name = re.sub(r"^convs\.(\d+)\.", lambda m: f"blocks.b{(top * 2) >> int(m[1])}.", name)
        name = re.sub(r"\.conv1\.(0\.weight|1\.bias)$", lambda m: f".conv0.{m[1][2:]}", name)
        name = re.sub(r"\.conv2\.(1\.weight|2\.bias)$", lambda m: f".conv1.{m[1][2:]}", name)
        name = re.sub(r"\.skip\.1\.weight$", ".skip.weight", name)
        name = re.sub(r"^final_conv\.(0\.weight|1\.bias)$", lambda m: f"conv.{m[1][2:]}", name)
        name = re.sub(r"^final_linear\.0\.", "fc.", name)
        renamed[re.sub(r"^final_linear\.1\.", "out.", name)] = tensor
    return renamed
