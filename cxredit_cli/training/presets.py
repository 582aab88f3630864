"""Settings of StyleGAN2 by resolution and machine, as published or measured."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from cxredit_cli.errors import InputError
from cxredit_cli.networks.discriminator import DiscriminatorConfig
from cxredit_cli.networks.generator import GeneratorConfig
from cxredit_cli.training.gan_run import GanConfig


@dataclass(frozen=True, slots=True)
class Preset:
    """The numbers that differ between published configurations; `gamma` None follows the `auto` rule."""

    batch: int
    mbstd_group_size: int
    channel_base: int
    lr: float
    gamma: float | None
    ema_kimg: float
    mapping_layers: int
    channel_max: int = 512


# Karras et al. 2020 (arXiv 2006.06676), appendix C, at the resolutions that the paper used them.
PUBLISHED = {
    "stylegan2": Preset(32, 4, 32768, 0.002, 10.0, 10.0, 8),
    "paper256": Preset(64, 8, 16384, 0.0025, 1.0, 20.0, 8),
    "paper512": Preset(64, 8, 32768, 0.0025, 0.5, 20.0, 8),
    "paper1024": Preset(32, 4, 32768, 0.002, 2.0, 10.0, 8),
}
NAMES = ("auto", "small", *PUBLISHED)
GROW_FROM, GROW_KIMG = 32, (30.0, 60.0)  # of growing, where nothing else is asked for


def preset_for(name: str, resolution: int) -> Preset:
    """The preset called `name`; `auto` depends on the resolution, `small` suits a machine without a GPU."""
    if name in PUBLISHED:
        return PUBLISHED[name]
    if name == "auto":
        batch = max(min(4096 // resolution, 32), 4)
        base = 32768 if resolution >= 512 else 16384
        return Preset(batch, min(batch, 4), base, 0.002 if resolution >= 1024 else 0.0025, None, batch * 10 / 32, 2)
    if name == "small":
        return Preset(16, 4, 4096, 0.0025, 0.4 * (resolution / 128) ** 2, 10.0, 2, channel_max=128)
    raise InputError(f"--preset must be one of {', '.join(NAMES)}, but it is '{name}'.")


def gan_config(
    resolution: int,
    device: torch.device,
    precision: torch.dtype,
    *,
    preset: str | None,
    grow_from: int | None,
    grow_kimg: tuple[float, ...] | None,
    pl_weight: float,
    overrides: dict[str, Any],
    seed: int,
    smallest: int = GROW_FROM,
) -> GanConfig:
    """The settings of a run: the preset (None: `auto` on a GPU, `small` else) with what the user overrides.

    `grow_from` 0 trains at full resolution from the start; None grows on a CPU only, from `smallest` (that of the model
    to start from, if any). `grow_kimg` None spends as much of GROW_KIMG as there are growths.
    `overrides` may hold batch, lr, gamma, channel_base, channel_max, mapping_layers, ema_kimg, augment_target,
    fade_kimg, dim, and generator_channels and discriminator_channels, which lie before base and maximum.
    """
    on_cpu = device.type == "cpu"
    chosen = preset_for(preset or ("small" if on_cpu else "auto"), resolution)
    given = {key: value for key, value in overrides.items() if value is not None}
    chosen = replace(chosen, **{key: given.pop(key) for key in list(given) if hasattr(chosen, key)})
    clamp = 256.0 if precision == torch.float16 else None
    dim = given.pop("dim", 512)
    if grow_from is None and on_cpu and resolution > smallest:
        grow_from = smallest
    if grow_kimg is None:
        growths = (resolution // grow_from).bit_length() - 1 if grow_from else 0
        grow_kimg = GROW_KIMG[: growths or None]
    return GanConfig(
        generator=GeneratorConfig(
            resolution,
            dim,
            dim,
            chosen.mapping_layers,
            chosen.channel_base,
            chosen.channel_max,
            conv_clamp=clamp,
            channels=given.pop("generator_channels", None),
        ),
        discriminator=DiscriminatorConfig(
            resolution,
            chosen.channel_base,
            chosen.channel_max,
            mbstd_group_size=chosen.mbstd_group_size,
            conv_clamp=clamp,
            channels=given.pop("discriminator_channels", None),
        ),
        batch=chosen.batch,
        lr=chosen.lr,
        gamma=chosen.gamma if chosen.gamma is not None else 0.0002 * resolution**2 / chosen.batch,
        ema_kimg=chosen.ema_kimg,
        pl_weight=pl_weight,
        style_mixing=0.9,
        augment_target=given.pop("augment_target", 0.6),
        grow_from=grow_from or None,
        grow_kimg=grow_kimg,
        fade_kimg=given.pop("fade_kimg", 6.0),
        seed=seed,
        precision=str(precision).removeprefix("torch."),
    )
