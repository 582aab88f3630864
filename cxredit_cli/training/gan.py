"""Training of StyleGAN2 (Karras et al. 2020), by growing where asked, resumable bit for bit on a CPU.

All randomness of iteration i comes from the seed (seed, i) and the order of the images from (seed, epoch), so a
checkpoint needs counters and no random states.
"""

import copy
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cxredit_cli.errors import InputError
from cxredit_cli.figures.grids import image_grid, thin
from cxredit_cli.networks.discriminator import Discriminator, DiscriminatorConfig
from cxredit_cli.networks.generator import Generator, GeneratorConfig, random_z
from cxredit_cli.networks.layers import architecture
from cxredit_cli.progress import Progress
from cxredit_cli.radiographs.write import write_png
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.models import Model, save_discriminator, save_generator
from cxredit_cli.training.augmentation import adapt_p, augment
from cxredit_cli.training.checkpoint import (
    load_checkpoint,
    load_module,
    load_optimizer,
    module_tensors,
    optimizer_tensors,
    save_checkpoint,
)
from cxredit_cli.training.gan_losses import discriminator_loss, generator_loss, path_lengths, r1_penalty
from cxredit_cli.training.grow import Stage, grow_discriminator, grow_generator, plan_stages
from cxredit_cli.training.images import Batches, TrainingImages, check_identity, identity
from cxredit_cli.training.logs import Means, RunLog
from cxredit_cli.training.widen import can_widen, widen_discriminator, widen_generator

R1_INTERVAL = 16  # iterations between lazy regularisations of D (Karras et al. 2020, section 3.1)
PL_INTERVAL = 4  # ... and of G
PL_DECAY = 0.01
W_AVG_BETA = 0.995
ADA_INTERVAL = 4
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


def train_gan(
    dataset: Dataset,
    folder: Path,
    config: GanConfig,
    *,
    kimg: float | None,
    minutes: float | None,
    snapshot_kimg: float,
    device: torch.device,
    precision: torch.dtype,
    init_from: Model | None,
    info: dict[str, Any],
    progress: Progress,
) -> Run:
    """Train until `kimg` thousand images or `minutes` of training in all, and write the model to `folder`.

    `folder/training` holds the checkpoint, logs and sample grids; run again to carry on. `info` goes into model.json.
    """
    stages = plan_stages(config.generator.resolution, config.grow_from, config.grow_kimg)
    work = folder / "training"
    checkpoint = work / "checkpoint.safetensors"
    if checkpoint.exists():
        run = resume(checkpoint, config, stages, dataset, device)
    elif (folder / "model.json").exists():
        raise InputError(
            f"{folder} holds a model already and no checkpoint to carry on from; use another --output, perhaps with "
            f"--init-from {folder}."
        )
    else:
        run = begin(config, stages, device, init_from)
    set_precision(run, precision)
    images = TrainingImages(dataset, "train", stages[run.stage].resolution, device, config.seed)
    log, means, figures = RunLog(work, run.nimg / 1000), Means(), dict[str, float]()
    total = None if kimg is None else round(kimg * 1000)
    progress.start(f"train-gan {images_side(run)}", total, run.nimg)
    started = time.monotonic() - run.seconds
    last_log = last_snapshot = run.nimg

    def within_budget() -> bool:
        run.seconds = time.monotonic() - started
        return (kimg is None or run.nimg < kimg * 1000) and (minutes is None or run.seconds < minutes * 60)

    def snapshot() -> None:
        save_run(checkpoint, run, config, identity(dataset))
        save_models(folder, run, info)
        write_grid(work / f"fakes{run.nimg // 1000:06d}.png", run, config.seed)
        thin(work, "fakes*.png")

    while within_budget():
        if run.stage + 1 < len(stages) and run.nimg >= stages[run.stage + 1].start_kimg * 1000:
            run = grow(run, stages, config, device)
            set_precision(run, precision)
            images = TrainingImages(dataset, "train", stages[run.stage].resolution, device, config.seed)
            progress.start(f"train-gan {images_side(run)}", total, run.nimg)

        train_iteration(run, config, stages, images, precision, means)

        if run.nimg - last_log >= 500:
            last_log, figures = run.nimg, means.read()
            log.write(run.nimg / 1000, {**figures, "augment_p": float(run.augment_p), "seconds": run.seconds})
        progress.advance(run.nimg, **figures)
        if run.nimg - last_snapshot >= snapshot_kimg * 1000:
            last_snapshot = run.nimg
            within_budget()
            snapshot()
    snapshot()
    log.close()
    progress.finish()
    return run


def train_iteration(
    run: Run, config: GanConfig, stages: list[Stage], images: Batches, precision: torch.dtype, means: Means
) -> None:
    """One step of G and of D, with their lazy regularisations when due, and of the moving average."""
    g, d, batch = run.generator, run.discriminator, config.batch
    stage = stages[run.stage]
    stage_kimg = run.nimg / 1000 - stage.start_kimg
    fade = 1.0 if d.fade_from_rgb is None else min(stage_kimg / config.fade_kimg, 1.0)
    torch.manual_seed(iteration_seed(config.seed, run.iteration))

    def discriminate(pictures: Tensor) -> Tensor:
        logits: Tensor = d(augment(pictures, run.augment_p) if config.augment_target else pictures, fade)
        return logits

    # G: softplus(-D(G(z))).
    d.requires_grad_(False)
    loss = generator_loss(discriminate(g.synthesis(sample_ws(g, batch, config.style_mixing), "random")))
    step(loss, run.optimizer_g)
    means.add(loss_g=loss)

    # G, lazily and in the last stage: weight * (|J^T y| - a)^2, a the running mean of the lengths (equation 4).
    if config.pl_weight and run.stage + 1 == len(stages) and run.iteration % PL_INTERVAL == 0:
        g.synthesis.precision = torch.float32
        ws = sample_ws(g, max(batch // 2, 1), config.style_mixing)
        lengths = path_lengths(g.synthesis(ws, "random"), ws)
        run.pl_mean = torch.lerp(run.pl_mean, lengths.detach().mean(), PL_DECAY)
        penalty = (lengths - run.pl_mean).square().mean()
        step(penalty * (config.pl_weight * PL_INTERVAL), run.optimizer_g)
        g.synthesis.precision = precision
        means.add(path_length=lengths.mean())

    # D: softplus(-D(x)) + softplus(D(G(z))).
    d.requires_grad_(True)
    reals = images.batch(run.nimg, batch)
    with torch.no_grad():
        fakes = g.synthesis(sample_ws(g, batch, config.style_mixing), "random")
    real_logits, fake_logits = discriminate(reals), discriminate(fakes)
    loss = discriminator_loss(real_logits, fake_logits)
    step(loss, run.optimizer_d)
    means.add(loss_d=loss, real_sign=real_logits.sign().mean(), fake_sign=fake_logits.sign().mean())

    # D, lazily: R1 at what D sees, gamma / 2 |grad D(x)|^2. Second gradients need float32.
    if run.iteration % R1_INTERVAL == 0:
        d.precision = torch.float32
        seen = augment(reals, run.augment_p) if config.augment_target else reals
        seen = seen.detach().requires_grad_()
        penalty = r1_penalty(seen, d(seen, fade))
        gamma = config.gamma * (stage.resolution / config.generator.resolution) ** 2
        step(penalty * (gamma / 2 * R1_INTERVAL), run.optimizer_d)
        d.precision = precision
        means.add(r1=penalty)

    if config.augment_target and run.iteration % ADA_INTERVAL == 0:
        sign = real_logits.detach().sign().mean()
        run.augment_p = adapt_p(run.augment_p, sign, batch * ADA_INTERVAL, config.augment_target)

    run.nimg += batch
    run.iteration += 1
    half_life = config.ema_kimg
    if run.ema_ramp:
        half_life = min(half_life, max(run.nimg / 1000 - stage.start_kimg, 1e-3) / 20)
    update_ema(run.ema, g, 0.5 ** (batch / 1000 / half_life))


def step(loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """One optimiser step on `loss`; gradients that are not numbers become zero, infinite ones large."""
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                torch.nan_to_num(parameter.grad, nan=0.0, posinf=1e5, neginf=-1e5, out=parameter.grad)
    optimizer.step()


def sample_ws(g: Generator, n: int, style_mixing: float) -> Tensor:
    """Codes [n, num_ws, w_dim] of random z; with probability `style_mixing` a second takes over at a random layer."""
    device = g.mapping.w_avg.device
    w = g.mapping(torch.randn(2 * n, g.z_dim, device=device))
    if g.training:
        g.mapping.w_avg.copy_(torch.lerp(w.detach().mean(dim=0), g.mapping.w_avg, W_AVG_BETA))
    first, second = (part[:, None].expand(-1, g.num_ws, -1) for part in w.chunk(2))
    cutoff = torch.randint(1, g.num_ws, (n, 1, 1), device=device)
    mixed = torch.rand(n, 1, 1, device=device) < style_mixing
    layer = torch.arange(g.num_ws, device=device)[None, :, None]
    return torch.where(mixed & (layer >= cutoff), second, first)


@torch.no_grad()
def update_ema(ema: Generator, g: Generator, beta: float) -> None:
    """ema <- lerp(g, ema, beta) for weights; buffers are copied."""
    torch._foreach_lerp_(list(ema.parameters()), list(g.parameters()), 1 - beta)
    for mine, theirs in zip(ema.buffers(), g.buffers(), strict=True):
        mine.copy_(theirs)


def iteration_seed(seed: int, iteration: int) -> int:
    """A 63-bit seed for one iteration, unrelated to its neighbours'."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{iteration}".encode()).digest()[:8], "big") >> 1


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
    torch.manual_seed(iteration_seed(config.seed, -1 - run.stage))
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


def save_models(folder: Path, run: Run, info: dict[str, Any]) -> None:
    """Write the averaged generator and the discriminator as a model folder."""
    trained = {"kimg": run.nimg / 1000, "minutes": round(run.seconds / 60, 1)}
    save_generator(folder, run.ema, {**info, "training": {**info.get("training", {}), **trained}})
    save_discriminator(folder, run.discriminator)


@torch.no_grad()
def write_grid(path: Path, run: Run, seed: int) -> None:
    """Write a PNG of generated images; the same codes every time."""
    columns, rows = GRID
    pictures = run.ema(random_z(columns * rows, run.ema.z_dim, seed).to(run.pl_mean.device))
    text = {"Description": f"Generated images after {run.nimg / 1000:g} kimg; synthetic, not for diagnosis"}
    write_png(path, image_grid(pictures, columns), text)
