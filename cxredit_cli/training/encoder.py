"""Training of the encoder with a frozen generator: the CRG training of Saboo et al. 2020 (arXiv 2109.01071).

A run lives in the model's folder `encoder-training`: the checkpoint (everything needed to go on bit for bit),
stats.jsonl and TensorBoard events, and grids of held-out reconstructions. The trained encoder goes into the model's
folder itself.
"""

import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from cxredit_cli.errors import InputError, MismatchError
from cxredit_cli.figures.grids import thin
from cxredit_cli.inversion.curvature import principal_axes, search_basis
from cxredit_cli.inversion.encode import seen_again
from cxredit_cli.networks.encoder import Encoder, EncoderConfig
from cxredit_cli.networks.generator import Generator
from cxredit_cli.processes import ALONE, Processes
from cxredit_cli.progress import Progress
from cxredit_cli.storage.anatomy_network import load_anatomy
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.models import Model, save_encoder
from cxredit_cli.training.checkpoint import (
    load_checkpoint,
    load_module,
    load_optimizer,
    module_tensors,
    optimizer_tensors,
    save_checkpoint,
)
from cxredit_cli.training.draws import hashed_seed
from cxredit_cli.training.encoder_losses import (
    Comparison,
    LossWeights,
    optimised_codes,
    real_terms,
    synthetic_terms,
    weighted_sum,
)
from cxredit_cli.training.encoder_probes import Probes
from cxredit_cli.training.heart_borders import HeartBorders
from cxredit_cli.training.images import TrainingImages, check_identity, identity
from cxredit_cli.training.logs import Means, RunLog
from cxredit_cli.training.parts import parts_of
from cxredit_cli.training.shared_gradients import SharedGradients

RUN_FOLDER, CHECKPOINT = "encoder-training", "checkpoint.safetensors"
SHOWN = ("val_psnr", "val_ssim", "code_error")
EMA_RAMP = 0.05  # the half-life of the average is at most this share of what was trained so far (as StyleGAN2's)
# The others may be changed when a run goes on.
FIXED_OPTIONS = ("space", "depth", "width", "passes", "principal", "batch", "seed")
OLDER = {"passes": 1, "principal": False}  # what runs of older versions did, which do not say


@dataclass(frozen=True, slots=True)
class EncoderTraining:
    """The choices of a run; those that cannot change when it goes on are compared with the checkpoint's."""

    space: Literal["w", "w+"] = "w"
    depth: int = 101
    width: int = 64
    passes: int = 1  # of E over an image (ReStyle, Alaluf et al. 2021)
    principal: bool = False  # answers, and errors of codes, in coordinates that show (`curvature.principal_axes`)
    collaborate: int = 0  # steps of optimisation whose codes of real images teach E (Guan et al. 2020); 0: none
    batch: int = 16  # synthetic and as many real images an iteration
    seed: int = 0
    learning_rate: float = 3e-4
    cool_down: float = 0.0  # the share of the budget, at its end, over which the learning rate falls to nothing
    weights: LossWeights = field(default_factory=LossWeights)
    heart: float = 0.0  # how much more pixels of real images count near the border of the heart
    side: int | None = None  # in pixels, at which real images are compared with their reconstructions; None: their own
    ema_kimg: float = 10.0  # half-life of the averaged weights; 0: no averaging
    tick_kimg: float = 1.0  # between lines of the log, which need the held-out figures
    checkpoint_seconds: float = (
        60.0  # at least, between checkpoints: a ResNet-101's is 1.6 GB, a fast device's tick short
    )
    held_out: int = 64  # images, real and synthetic, that the figures are of

    def learning_rate_at(self, share: float) -> float:
        """The learning rate when `share` of the budget is spent: at the end of a time budget more than all of it."""
        left = max(1 - share, 0)
        return self.learning_rate * (left / self.cool_down if left < self.cool_down else 1)

    def comparison_side(self, generator: Generator) -> int:
        """The side at which real images are compared; raises InputError for one that does not go with the rest."""
        whole = generator.resolution
        side = self.side or whole
        if not (16 <= side <= whole and side & (side - 1) == 0):
            raise InputError(f"--side must be a power of two from 16 to {whole}, the model's own, but it is {side}.")
        if side < whole and (self.weights.features or self.weights.anatomy):
            raise InputError(
                f"--side {side} compares pictures that E and the anatomy network do not see; use --feature-weight 0 "
                f"and --anatomy-weight 0 with it, or --side {whole}."
            )
        return side

    def encoder_config(self, generator: Generator) -> EncoderConfig:
        """The architecture that this run trains for `generator`."""
        num_outputs = 1 if self.space == "w" else generator.num_ws
        return EncoderConfig(
            *(generator.resolution, generator.w_dim, num_outputs, self.depth, self.width, self.passes),
            seen_side=generator.resolution // 2 if self.passes > 1 else None,
            principal=self.principal,
        )


def train_encoder(
    model: Model,
    dataset: Dataset,
    options: EncoderTraining,
    *,
    kimg: float | None,
    minutes: float | None,
    progress: Progress,
    initial: Encoder | None = None,
    processes: Processes = ALONE,
) -> dict[str, float]:
    """Train until `kimg` thousand real images or `minutes` of training in all; return the last held-out figures.

    Goes on from the checkpoint in `model.path`/encoder-training, exactly as if it had never stopped; `initial` gives
    the first weights of a new run. The averaged encoder is written into `model.path` with every checkpoint. Of several
    `processes`, which share each batch, the first one alone looks at the held-out images and writes; the others return
    no figures.
    """
    (part,) = parts_of(options.batch, 1, processes.rank, processes.count, None)
    generator, device = model.generator, model.generator.mapping.w_avg.device
    anatomy = load_anatomy(device=device) if options.weights.anatomy else None
    comparison = Comparison.at(generator, options.comparison_side(generator))
    images = TrainingImages(dataset, "train", generator.resolution, device, options.seed)
    borders = None
    if options.heart:
        outliner = anatomy or load_anatomy(device=device)
        borders = HeartBorders(outliner, len(images), comparison.side, options.heart)
    held_out = TrainingImages(dataset, "val", generator.resolution, device, seed=0)
    probes = Probes.make(generator, held_out.batch(0, min(options.held_out, len(held_out))), options.held_out)

    torch.manual_seed(options.seed)  # for the initial weights; later randomness has seeds of its own
    encoder = Encoder(options.encoder_config(generator))
    mean, spread = generator.w_statistics()
    with torch.no_grad():
        picture = seen_again(encoder.config, generator, mean[None, None])
    axes = principal_axes(model, progress).cpu() if options.principal else None
    encoder.set_code_statistics(mean.cpu(), spread.cpu(), picture.cpu(), axes)
    basis = search_basis(model, options.space, progress) if options.collaborate else None
    if initial is not None:
        start_from(encoder, initial)
    encoder.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = deepcopy(encoder).requires_grad_(False)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=options.learning_rate)
    run = model.path / RUN_FOLDER
    iteration, spent = 0, 0.0
    if (run / CHECKPOINT).exists():
        tensors, state = load_checkpoint(run / CHECKPOINT)
        check_same_run(state, model, options, run)
        check_identity(state, dataset, run)
        load_module("encoder", encoder, tensors)
        load_module("average", average, tensors)
        load_optimizer("optimizer", optimizer, tensors)
        iteration, spent = state["iteration"], state["seconds"]

    state_seed = hashed_seed(iteration, model.fingerprint, identity(dataset), options)
    processes.check_alike(
        state_seed,
        f"The processes see different images or a different {model.path}; put both where all machines see them.",
    )
    gradients = SharedGradients(encoder.parameters(), processes)

    kimg_per_iteration = options.batch / 1000
    tick = max(1, round(options.tick_kimg / kimg_per_iteration))
    seen = iteration * kimg_per_iteration
    log = RunLog(run, resume_at=seen) if processes.first else None
    means, figures = Means(), probes.figures(average, generator) if processes.first else {}
    started = saved = time.monotonic()

    def share_done() -> float:
        """The share of the budget that is spent, the same in all processes: the learning rate follows it."""
        minutes_spent = (spent + time.monotonic() - started) / 60
        by_time = 0.0 if minutes is None else processes.from_first(lambda: minutes_spent / minutes)
        return max(0.0 if kimg is None else (seen + 1e-9) / kimg, by_time)

    progress.start("train-encoder", None if kimg is None else round(kimg * 1000), round(seen * 1000))
    share = share_done()
    while share < 1:
        # All randomness of an iteration comes from its number, so that a run can be taken up anywhere.
        random = torch.Generator().manual_seed(hashed_seed(options.seed, iteration))
        z = torch.randn(options.batch, generator.z_dim, generator=random)
        z = part.take(z).to(device, non_blocking=True)
        place = (iteration * options.batch, options.batch, part)
        real = images.batch(*place)
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate_at(share)

        # First update: synthetic images, whose codes are known.
        with torch.no_grad():
            w = generator.mapping(z)[:, None]
        terms = synthetic_terms(encoder, generator, w, anatomy, options.weights)
        gradients.backward(weighted_sum(terms, options.weights), "synthetic", part)
        optimizer.step()
        means.add(part.share, **{f"loss_synthetic_{name}": value for name, value in terms.items()})

        # Second update: real images, which have no known code, or one that an optimiser found.
        known = None
        if options.collaborate:
            known = optimised_codes(encoder, generator, real, options.collaborate, basis)
        pixels = None if borders is None else borders.weights(images.rows(*place), real)
        terms = real_terms(encoder, generator, real, known, anatomy, options.weights, comparison, pixels)
        gradients.backward(weighted_sum(terms, options.weights), "real", part)
        optimizer.step()
        means.add(part.share, **{f"loss_real_{name}": value for name, value in terms.items()})

        iteration += 1
        seen = iteration * kimg_per_iteration
        half_life = min(options.ema_kimg, seen * EMA_RAMP)
        update_average(average, encoder, decay=0.5 ** (kimg_per_iteration / half_life) if half_life else 0.0)

        share = share_done()
        done = share >= 1
        if iteration % tick == 0 or done:
            losses = means.read(processes)
            if log is not None:
                figures = probes.figures(average, generator)
                seconds = spent + time.monotonic() - started
                log.write(seen, {**losses, **figures, "seconds": seconds})
                if done or time.monotonic() - saved >= options.checkpoint_seconds:
                    probes.save_grid(run / f"reconstructions{round(seen):06d}.png", average, generator, model.name)
                    thin(run, "reconstructions*.png")
                    training: dict[str, Any] = {
                        "kimg": round(seen, 3),
                        "minutes": round(seconds / 60, 1),
                        "real_images": len(images),
                    }
                    training |= {"processes": processes.count, "held_out_figures": figures}
                    save_encoder(model.path, average, {**asdict(options), **training})
                    counters = {"iteration": iteration, "seconds": seconds, "images": identity(dataset)}
                    save_run(run / CHECKPOINT, encoder, average, optimizer, model, options, counters)
                    saved = time.monotonic()
        progress.advance(round(seen * 1000), **{name: figures[name] for name in SHOWN if name in figures})
    if log is not None:
        log.close()
    progress.finish()
    return figures


def start_from(encoder: Encoder, initial: Encoder) -> None:
    """Give a new encoder the weights of another one of its architecture; the code statistics stay this generator's.

    The other may make one pass where this makes several, which at first take no notice of their own answers, and may
    answer along the axes of W where this does along principal ones: its answers are the same.
    """
    was, now = initial.config, encoder.config
    passes = now.passes if was.passes == 1 else was.passes
    side = now.seen_side if was.passes == 1 else was.seen_side
    if replace(was, passes=passes, seen_side=side, principal=was.principal or now.principal) != now:
        raise MismatchError(
            f"The encoder to start from is {was} and {now} is asked for; use the same --depth, --width and --space, "
            "the same --passes unless it makes one, and a model of the same resolution."
        )
    weights = {name: value for name, value in initial.state_dict().items() if not name.startswith(("w_", "made_"))}
    if was.passes < now.passes:
        for branch in ("content", "guide"):
            stem = weights[f"{branch}.stem.0.weight"]
            weights[f"{branch}.stem.0.weight"] = torch.cat([stem, torch.zeros_like(stem)], dim=1)
    if now.principal and not was.principal:
        for name in ("to_delta.weight", "to_delta.bias"):
            columns = weights[name].view(now.num_outputs, now.w_dim, -1).mT * encoder.w_std
            weights[name] = encoder.coordinates(columns).mT.reshape(weights[name].shape)
    encoder.load_state_dict(weights, strict=False)


def update_average(average: Encoder, encoder: Encoder, decay: float) -> None:
    """Exponential moving average of the weights, in place."""
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(encoder.parameters()), 1 - decay)


def save_run(
    path: Path,
    encoder: Encoder,
    average: Encoder,
    optimizer: torch.optim.Optimizer,
    model: Model,
    options: EncoderTraining,
    counters: Mapping[str, Any],
) -> None:
    """Write the checkpoint: all that a run needs to go on bit for bit."""
    tensors = {
        **module_tensors("encoder", encoder),
        **module_tensors("average", average),
        **optimizer_tensors("optimizer", optimizer),
    }
    save_checkpoint(path, tensors, {**counters, "generator": model.fingerprint, "options": asdict(options)})


def check_same_run(state: Mapping[str, Any], model: Model, options: EncoderTraining, run: Path) -> None:
    """Raise MismatchError if the checkpoint is of another generator or of a run with other fixed options."""
    if state["generator"] != model.fingerprint:
        raise MismatchError(
            f"The run in {run} trains an encoder of the generator {state['generator']}, but the model is "
            f"{model.fingerprint}; delete or rename that folder to start anew."
        )
    for name in FIXED_OPTIONS:
        wanted = asdict(options)[name]
        was = state["options"].get(name, OLDER.get(name))
        if was != wanted:
            option = f"--{name} {was}" if not isinstance(was, bool) else f"--{'' if was else 'no-'}{name}"
            raise MismatchError(
                f"The run in {run} was begun with {name} {was} and {wanted} is asked for; use {option} "
                "to carry on, or delete or rename that folder to start anew."
            )
