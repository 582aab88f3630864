"""Training of StyleGAN2 (Karras et al. 2020), by growing where asked, resumable bit for bit on a CPU.

All randomness of iteration i comes from (seed, i) and the order of the images from (seed, epoch), so a checkpoint needs
counters and no random states, and several processes share a batch without a word about it.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cxredit_cli.errors import InputError
from cxredit_cli.figures.grids import thin
from cxredit_cli.networks.generator import Generator
from cxredit_cli.processes import ALONE, Processes
from cxredit_cli.progress import Progress
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.models import Model
from cxredit_cli.training.augmentation import adapt_p, augment
from cxredit_cli.training.draws import Draws, hashed_seed
from cxredit_cli.training.gan_losses import discriminator_loss, generator_loss, path_lengths, r1_penalty
from cxredit_cli.training.gan_run import (
    PL_INTERVAL,
    R1_INTERVAL,
    GanConfig,
    Run,
    begin,
    grow,
    images_side,
    resume,
    save_models,
    save_run,
    set_precision,
    write_grid,
)
from cxredit_cli.training.grow import Stage, plan_stages
from cxredit_cli.training.images import Batches, TrainingImages, identity
from cxredit_cli.training.logs import Means, RunLog
from cxredit_cli.training.parts import Part, parts_of
from cxredit_cli.training.shared_gradients import SharedGradients

PL_DECAY = 0.01
W_AVG_BETA = 0.995
ADA_INTERVAL = 4


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
    processes: Processes = ALONE,
    batch_gpu: int | None = None,
) -> Run:
    """Train until `kimg` thousand images or `minutes` of training in all, and write the model to `folder`.

    `folder/training` holds the checkpoint, logs and sample grids; run again to carry on, with any number of processes.
    `info` goes into model.json. Of several `processes` the first one alone writes. A device works on at most
    `batch_gpu` images at once.
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
    state = f"{run.nimg}, {run.iteration}, {run.stage}, {identity(dataset)}, {config}"
    processes.check_alike(
        hashed_seed(state),
        f"The processes see different images or a different {folder}; put both where all machines see them.",
    )
    set_precision(run, precision)
    team = team_for(run, config, processes, batch_gpu)
    images = TrainingImages(dataset, "train", stages[run.stage].resolution, device, config.seed)
    log = RunLog(work, run.nimg / 1000) if processes.first else None
    means, figures = Means(), dict[str, float]()
    total = None if kimg is None else round(kimg * 1000)
    progress.start(f"train-gan {images_side(run)}", total, run.nimg)
    started = time.monotonic() - run.seconds
    last_log = last_snapshot = run.nimg

    def within_budget() -> bool:
        run.seconds = time.monotonic() - started
        if kimg is not None and run.nimg >= kimg * 1000:
            return False
        return minutes is None or processes.from_first(lambda: run.seconds < minutes * 60)

    def snapshot() -> None:
        run.seconds = time.monotonic() - started
        save_run(checkpoint, run, config, identity(dataset))
        save_models(folder, run, info, processes.count)
        write_grid(work / f"fakes{run.nimg // 1000:06d}.png", run, config.seed)
        thin(work, "fakes*.png")

    while within_budget():
        if run.stage + 1 < len(stages) and run.nimg >= stages[run.stage + 1].start_kimg * 1000:
            run = grow(run, stages, config, device)
            set_precision(run, precision)
            team = team_for(run, config, processes, batch_gpu)
            images = TrainingImages(dataset, "train", stages[run.stage].resolution, device, config.seed)
            progress.start(f"train-gan {images_side(run)}", total, run.nimg)

        train_iteration(run, config, stages, images, precision, means, team)

        if run.nimg - last_log >= 500:
            last_log, figures = run.nimg, means.read(processes)
            if log is not None:
                log.write(run.nimg / 1000, {**figures, "augment_p": float(run.augment_p), "seconds": run.seconds})
        progress.advance(run.nimg, **figures)
        if run.nimg - last_snapshot >= snapshot_kimg * 1000:
            last_snapshot = run.nimg
            if processes.first:
                snapshot()
    if log is not None:
        snapshot()
        log.close()
    progress.finish()
    return run


@dataclass(slots=True)
class Team:
    """What one process needs to do its share of each iteration."""

    processes: Processes
    parts: tuple[Part, ...]  # of the batch, one after the other
    path_parts: tuple[Part, ...]  # ... of path length regularisation, which takes half as many images
    gradients_g: SharedGradients
    gradients_d: SharedGradients


def team_for(run: Run, config: GanConfig, processes: Processes = ALONE, batch_gpu: int | None = None) -> Team:
    """The team that trains the networks of `run`, with at most `batch_gpu` images on a device at once."""
    batch, place = config.batch, (processes.rank, processes.count)
    half = None if batch_gpu is None else max(batch_gpu // 2, 1)
    return Team(
        processes,
        parts_of(batch, config.discriminator.mbstd_group_size, *place, batch_gpu),
        parts_of(max(batch // 2, 1), 1, *place, half),
        SharedGradients(run.generator.parameters(), processes),
        SharedGradients(run.discriminator.parameters(), processes),
    )


def train_iteration(
    run: Run, config: GanConfig, stages: list[Stage], images: Batches, precision: torch.dtype, means: Means, team: Team
) -> None:
    """One step of G and of D, with their lazy regularisations when due, and of the moving average."""
    g, d, batch, device = run.generator, run.discriminator, config.batch, run.pl_mean.device
    stage = stages[run.stage]
    stage_kimg = run.nimg / 1000 - stage.start_kimg
    fade = 1.0 if d.fade_from_rgb is None else min(stage_kimg / config.fade_kimg, 1.0)

    def draws(use: str, part: Part) -> Draws:
        return Draws(config.seed, run.iteration, use, part, device)

    def seen(pictures: Tensor, use: str, part: Part) -> Tensor:
        """What D sees of them."""
        return augment(pictures, run.augment_p, draws(use, part)) if config.augment_target else pictures

    # G: softplus(-D(G(z))).
    d.requires_grad_(False)
    for part in team.parts:
        fakes, _ = generate(g, draws("G", part), config.style_mixing)
        loss = generator_loss(d(seen(fakes, "fakes seen for G", part), fade))
        team.gradients_g.backward(loss, "loss", part)
        means.add(part.share, loss_g=loss)
    step(run.optimizer_g)

    # G, lazily and in the last stage: weight * (|J^T y| - a)^2, a the running mean of the lengths (equation 4). It is
    # the mean of earlier iterations, so that no image waits for the others' lengths.
    if config.pl_weight and run.stage + 1 == len(stages) and run.iteration % PL_INTERVAL == 0:
        g.synthesis.precision = torch.float32
        mean_length = torch.zeros((), device=device)
        for part in team.path_parts:
            pictures, ws = generate(g, draws("path", part), config.style_mixing)
            lengths = path_lengths(pictures, ws, draws("path's pictures", part).pictures(pictures[0].numel()))
            penalty = (lengths - run.pl_mean).square().mean()
            team.gradients_g.backward(penalty * (config.pl_weight * PL_INTERVAL), "path", part)
            mean_length += lengths.detach().mean() * part.share
            means.add(part.share, path_length=lengths.mean())
        step(run.optimizer_g)
        run.pl_mean = torch.lerp(run.pl_mean, team.processes.total(mean_length), PL_DECAY)
        g.synthesis.precision = precision

    # D: softplus(-D(x)) + softplus(D(G(z))).
    d.requires_grad_(True)
    reals = [images.batch(run.nimg, batch, part) for part in team.parts]
    real_sign = torch.zeros((), device=device)
    for part, real in zip(team.parts, reals, strict=True):
        with torch.no_grad():
            fakes, _ = generate(g, draws("D", part), config.style_mixing)
        real_logits = d(seen(real, "reals seen", part), fade)
        fake_logits = d(seen(fakes, "fakes seen", part), fade)
        loss = discriminator_loss(real_logits, fake_logits)
        team.gradients_d.backward(loss, "loss", part)
        sign = real_logits.detach().sign().mean()
        real_sign += sign * part.share
        means.add(part.share, loss_d=loss, real_sign=sign, fake_sign=fake_logits.sign().mean())
    step(run.optimizer_d)

    # D, lazily: R1 at what D sees, gamma / 2 |grad D(x)|^2. Second gradients need float32.
    if run.iteration % R1_INTERVAL == 0:
        d.precision = torch.float32
        gamma = config.gamma * (stage.resolution / config.generator.resolution) ** 2
        for part, real in zip(team.parts, reals, strict=True):
            shown = seen(real, "reals seen for R1", part).detach().requires_grad_()
            penalty = r1_penalty(shown, d(shown, fade))
            team.gradients_d.backward(penalty * (gamma / 2 * R1_INTERVAL), "R1", part)
            means.add(part.share, r1=penalty)
        step(run.optimizer_d)
        d.precision = precision

    if config.augment_target and run.iteration % ADA_INTERVAL == 0:
        sign = team.processes.total(real_sign)
        run.augment_p = adapt_p(run.augment_p, sign, batch * ADA_INTERVAL, config.augment_target)

    run.nimg += batch
    run.iteration += 1
    half_life = config.ema_kimg
    if run.ema_ramp:
        half_life = min(half_life, max(run.nimg / 1000 - stage.start_kimg, 1e-3) / 20)
    update_ema(run.ema, g, 0.5 ** (batch / 1000 / half_life))


def step(optimizer: torch.optim.Optimizer) -> None:
    """One step along the gradients; those that are not numbers become zero, infinite ones large."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                torch.nan_to_num(parameter.grad, nan=0.0, posinf=1e5, neginf=-1e5, out=parameter.grad)
    optimizer.step()


def generate(g: Generator, draws: Draws, style_mixing: float) -> tuple[Tensor, Tensor]:
    """Images [N, 1, R, R] with random noise, and their codes [N, num_ws, w_dim], for the part that `draws` is for.

    With probability `style_mixing` a second code takes over at a random layer. The mapping, a thousandth of the work,
    is done for the whole batch, so that every process has the mean of all its codes for `w_avg`.
    """
    w = g.mapping(draws.normal_of_all(2, g.z_dim).flatten(0, 1)).unflatten(0, (-1, 2))
    if draws.part.opening:
        g.mapping.w_avg.copy_(torch.lerp(w.detach().mean(dim=(0, 1)), g.mapping.w_avg, W_AVG_BETA))
    first, second = draws.part.take(w)[:, :, None].expand(-1, -1, g.num_ws, -1).unbind(1)
    layer = torch.arange(g.num_ws, device=w.device)[None, :, None]
    cutoff = 1 + draws.uniform(1, 1) * (g.num_ws - 1)
    mixed = draws.uniform(1, 1) < style_mixing
    ws = torch.where(mixed & (layer >= cutoff.floor()), second, first)
    shapes = g.synthesis.noise_shapes()
    noise = draws.pictures(sum(height * width for height, width in shapes))
    layers = torch.split(noise, [height * width for height, width in shapes], dim=1)
    images = g.synthesis(
        ws, [values.reshape(-1, 1, *shape).contiguous() for values, shape in zip(layers, shapes, strict=True)]
    )
    return images, ws


@torch.no_grad()
def update_ema(ema: Generator, g: Generator, beta: float) -> None:
    """ema <- lerp(g, ema, beta) for weights; buffers are copied."""
    torch._foreach_lerp_(list(ema.parameters()), list(g.parameters()), 1 - beta)
    for mine, theirs in zip(ema.buffers(), g.buffers(), strict=True):
        mine.copy_(theirs)
