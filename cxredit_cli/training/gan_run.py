"""The state of a GAN training: how it begins, grows, is kept and is taken up again."""

import copy
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cxredit_cli.errors import InputError
from cxredit_cli.figures.grids import image_grid
from cxredit_cli.networks.discriminator import Discriminator, DiscriminatorConfig
from cxredit_cli.networks.generator import Generator, GeneratorConfig, random_z
from cxredit_cli.networks.layers import architecture
from cxredit_cli.radiographs.write import write_png
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.models import Model, save_discriminator, save_generator
from cxredit_cli.training.checkpoint import (
    load_checkpoint,
    load_module,
    load_optimizer,
    module_tensors,
    optimizer_tensors,
    save_checkpoint,
)
from cxredit_cli.training.draws import hashed_seed
from cxredit_cli.training.grow import Stage, grow_discriminator, grow_generator
from cxredit_cli.training.images import check_identity
from cxredit_cli.training.widen import can_widen, widen_discriminator, widen_generator

R1_INTERVAL = 16  # iterations between lazy regularisations of D (Karras et al. 2020, section 3.1)
PL_INTERVAL = 4  # ... and of G
GRID = (8, 4)  # columns, rows
COUNTERS = ("stage", "nimg", "iteration", "seconds", "ema_ramp")  # of a run, in its checkpoint


@dataclass(frozen=True, slots=True)
class GanConfig:
    """What defines a run; a checkpoint refuses to carry on with another one."""

    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    batch: int
    lr: float
    gamma: float  # R1 weight at the final resolution; lower resolutions scale it by their area
    ema_kimg: float  # half-life of the moving average of G's weights
    pl_weight: float  # path length weight, in the last stage; 0: off
    style_mixing: float  # probability of a second code
    augment_target: float  # mean sign of D on reals that the augmentation keeps; 0: no augmentation
    grow_from: int | None
    grow_kimg: tuple[float, ...]
    fade_kimg: float
    seed: int
    precision: str  # fp32, bf16 or fp16


@dataclass
class Run:
    """The state of a run at one moment: what a checkpoint holds."""

    stage: int
    generator: Generator
    discriminator: Discriminator
    ema: Generator
    optimizer_g: torch.optim.Optimizer
    optimizer_d: torch.optim.Optimizer
    pl_mean: Tensor
    augment_p: Tensor
    ema_ramp: bool  # whether the average began at weights that were worth nothing, and is short at first to forget them
    nimg: int = 0
    iteration: int = 0
    seconds: float = 0.0


def make_optimizer(network: nn.Module, lr: float, interval: int | None) -> torch.optim.Optimizer:
    """Adam(0, 0.99); lazy regularisation every `interval` iterations corrects lr and betas (section 3.1)."""
    c = 1.0 if interval is None else interval / (interval + 1)
    return torch.optim.Adam(network.parameters(), lr=lr * c, betas=(0.0, 0.99**c), eps=1e-8)


def optimizers(g: Generator, d: Discriminator, config: GanConfig) -> Iterator[torch.optim.Optimizer]:
    """The optimisers of G and of D."""
    yield make_optimizer(g, config.lr, PL_INTERVAL if config.pl_weight else None)
    yield make_optimizer(d, config.lr, R1_INTERVAL)


def begin(config: GanConfig, stages: list[Stage], device: torch.device, init_from: Model | None) -> Run:
    """A new run at the first stage, from random weights or from the networks of another model."""
    torch.manual_seed(config.seed)
    side = stages[0].resolution
    if init_from is None:
        g = Generator(replace(config.generator, resolution=side))
        d = Discriminator(replace(config.discriminator, resolution=side))
    else:
        g, d = networks_of(init_from, config, side)
    run = assemble(0, g, d, copy.deepcopy(g), config, device)
    run.ema_ramp = init_from is None or count(init_from.generator) < count(g)
    return run


def count(network: nn.Module) -> int:
    """The number of its weights."""
    return sum(parameter.numel() for parameter in network.parameters())


def networks_of(model: Model, config: GanConfig, side: int) -> tuple[Generator, Discriminator]:
    """The networks of `model`, widened and grown to `side` as needed; raises InputError when they do not fit."""
    theirs, wanted = model.generator.config, replace(config.generator, resolution=model.generator.resolution)
    widths = {name: getattr(wanted, name) for name in ("channel_base", "channel_max", "channels")}
    same = replace(theirs, conv_clamp=wanted.conv_clamp, **widths)
    if same != wanted or not can_widen(theirs, wanted) or wanted.resolution > side:
        raise InputError(
            f"--init-from {model.path}: its generator is {theirs}, which cannot become {config.generator}; use the "
            "same dimensions, and the same or more channels and resolution."
        )
    # Built by the run's own configuration: what a clamp or a group size was in the other run does not count here.
    torch.manual_seed(config.seed)
    g = Generator(wanted)
    g.load_state_dict(widen_generator(model.generator, **widths).state_dict())
    d = Discriminator(replace(config.discriminator, resolution=g.resolution))
    if model.discriminator is not None:
        if not can_widen(model.discriminator.config, d.config):
            raise InputError(
                f"--init-from {model.path}: its discriminator is {model.discriminator.config} and {d.config} is asked "
                "for; use the same or more channels."
            )
        wide = widen_discriminator(model.discriminator, d.config.channel_base, d.config.channel_max, d.config.channels)
        d.load_state_dict(wide.state_dict())
    if g.resolution < side:
        g, d = grow_generator(g, side), grow_discriminator(d, side)
    return g, d


def assemble(
    stage: int, g: Generator, d: Discriminator, ema: Generator, config: GanConfig, device: torch.device
) -> Run:
    """A run around three networks, with new optimisers."""
    g.to(device).train().requires_grad_(True)
    d.to(device).train().requires_grad_(True)
    ema.to(device).eval().requires_grad_(False)
    optimizer_g, optimizer_d = optimizers(g, d, config)
    zero = torch.zeros((), device=device)
    return Run(stage, g, d, ema, optimizer_g, optimizer_d, pl_mean=zero, augment_p=zero.clone(), ema_ramp=True)


def grow(run: Run, stages: list[Stage], config: GanConfig, device: torch.device) -> Run:
    """The run at the next stage: networks doubled, optimisers and moving average started anew."""
    torch.manual_seed(hashed_seed(config.seed, -1 - run.stage))
    side = stages[run.stage + 1].resolution
    g = grow_generator(run.generator, side)
    d = grow_discriminator(run.discriminator, side)
    grown = assemble(run.stage + 1, g, d, copy.deepcopy(g), config, device)
    grown.nimg, grown.iteration, grown.seconds = run.nimg, run.iteration, run.seconds
    grown.augment_p = run.augment_p
    return grown


def set_precision(run: Run, precision: torch.dtype) -> None:
    """Let the convolutions of all three networks run in `precision`."""
    run.generator.synthesis.precision = run.ema.synthesis.precision = run.discriminator.precision = precision


def images_side(run: Run) -> str:
    """The current picture size, for messages."""
    return f"{run.generator.resolution}x{run.generator.resolution}"


def save_run(path: Path, run: Run, config: GanConfig, images: str) -> None:
    """Write the whole state of `run`, and the identity of its images, to one file."""
    tensors = {"pl_mean": run.pl_mean, "augment_p": run.augment_p}
    for name, module in (("g", run.generator), ("d", run.discriminator), ("ema", run.ema)):
        tensors |= module_tensors(name, module)
    tensors |= optimizer_tensors("optimizer_g", run.optimizer_g) | optimizer_tensors("optimizer_d", run.optimizer_d)
    counters = {name: getattr(run, name) for name in COUNTERS}
    save_checkpoint(path, tensors, {**counters, "images": images, "config": asdict(config, dict_factory=architecture)})


def resume(path: Path, config: GanConfig, stages: list[Stage], dataset: Dataset, device: torch.device) -> Run:
    """The run that `save_run` wrote; raises InputError when it was started with other settings or images."""
    tensors, state = load_checkpoint(path)
    check_identity(state, dataset, path.parent)
    mine = json.loads(json.dumps(asdict(config, dict_factory=architecture)))
    changed = [
        f"{key} {state['config'].get(key)} -> {mine[key]}" for key in mine if state["config"].get(key) != mine[key]
    ]
    if changed:
        raise InputError(
            f"{path.parent} holds a run with other settings ({'; '.join(changed)}); use the same ones to carry on, or "
            "another --output to start anew."
        )
    side = stages[state["stage"]].resolution
    g = Generator(replace(config.generator, resolution=side))
    d = Discriminator(replace(config.discriminator, resolution=side))
    if any(key.startswith("d.fade_from_rgb.") for key in tensors):
        smaller = Discriminator(replace(config.discriminator, resolution=side // 2))
        d.fade_from_rgb = smaller.from_rgb
    ema = copy.deepcopy(g)
    run = assemble(state["stage"], g, d, ema, config, device)
    for name, module in (("g", g), ("d", d), ("ema", ema)):
        load_module(name, module, tensors)
    load_optimizer("optimizer_g", run.optimizer_g, tensors)
    load_optimizer("optimizer_d", run.optimizer_d, tensors)
    run.pl_mean, run.augment_p = tensors["pl_mean"].to(device), tensors["augment_p"].to(device)
    for name in COUNTERS:
        setattr(run, name, state[name])
    return run


def save_models(folder: Path, run: Run, info: dict[str, Any], processes: int) -> None:
    """Write the averaged generator and the discriminator as a model folder."""
    trained = {"kimg": run.nimg / 1000, "minutes": round(run.seconds / 60, 1), "processes": processes}
    save_generator(folder, run.ema, {**info, "training": {**info.get("training", {}), **trained}})
    save_discriminator(folder, run.discriminator)


@torch.no_grad()
def write_grid(path: Path, run: Run, seed: int) -> None:
    """Write a PNG of generated images; the same codes every time."""
    columns, rows = GRID
    pictures = run.ema(random_z(columns * rows, run.ema.z_dim, seed).to(run.pl_mean.device))
    text = {"Description": f"Generated images after {run.nimg / 1000:g} kimg; synthetic, not for diagnosis"}
    write_png(path, image_grid(pictures, columns), text)
