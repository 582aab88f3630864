"""Inverting many images into one file of codes, batch by batch: a kill at any moment loses one batch at most."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from cxredit_cli.figures.grids import pairs_grid
from cxredit_cli.intake.door import Door, Suspect
from cxredit_cli.inversion.encode import Space
from cxredit_cli.inversion.inputs import Target, read_targets
from cxredit_cli.inversion.invert import Method, Start, invert
from cxredit_cli.inversion.optimize import DEFAULT, Settings
from cxredit_cli.inversion.pivotal_tuning import TuneSettings, delta_size
from cxredit_cli.inversion.random_starts import RandomCodes
from cxredit_cli.inversion.shards import WHOLE, Shard
from cxredit_cli.progress import Progress
from cxredit_cli.radiographs.geometry import Fit
from cxredit_cli.radiographs.sources import Source
from cxredit_cli.radiographs.write import write_png
from cxredit_cli.storage.codes import CodesHeader
from cxredit_cli.storage.file_state import UNKNOWN, FileState
from cxredit_cli.storage.models import Model
from cxredit_cli.storage.write_codes import CodesWriter

GRID_IMAGES = 32


@dataclass(frozen=True, slots=True)
class InvertOptions:
    """How images become codes."""

    method: Method
    space: Space
    fit: Fit
    steps: int
    batch: int = 16
    fit_noise: bool = False
    start: Start | None = None  # None: what is usual for the method
    settings: Settings = DEFAULT
    tuning: TuneSettings | None = None
    shard: Shard = WHOLE

    def search(self) -> str:
        """JSON of what decides the codes beside the method, the space and the steps."""
        searched = {} if self.method == "encoder" else {"start": self.start, **asdict(self.settings)}
        tuned = {} if self.tuning is None else {"tuning": asdict(self.tuning)}
        return json.dumps(searched | tuned, sort_keys=True)

    def header(self, model: Model) -> CodesHeader:
        """What the file of codes says about them."""
        generator = model.generator
        return CodesHeader(  # `batch` is left out: it changes no code
            fingerprint=model.fingerprint,
            method=self.method,
            space=self.space,
            num_ws=1 if self.space == "w" else generator.num_ws,
            w_dim=generator.w_dim,
            resolution=generator.resolution,
            steps=0 if self.method == "encoder" else self.steps,
            preprocessing=json.dumps({"fit": self.fit}),
            model=model.name,
            noise_shapes=tuple(generator.synthesis.noise_shapes()) if self.fit_noise else (),
            search=self.search(),
            tuning_size=0 if self.tuning is None else delta_size(generator, self.tuning.rank),
            shard=str(self.shard),
        )


@dataclass(slots=True)
class InvertReport:
    """What a run did."""

    rows: list[tuple[str, float, float]] = field(default_factory=list)  # name, PSNR in dB, SSIM
    already_done: int = 0  # images that the file held before
    failed: list[tuple[str, str]] = field(default_factory=list)  # name, reason
    suspects: list[Suspect] = field(default_factory=list)  # of this run: righted or marked; skipped ones also failed


def invert_to_file(
    model: Model,
    targets: Sequence[Target],
    options: InvertOptions,
    output: Path,
    progress: Progress,
    grid: Path | None = None,
    door: Door | None = None,
) -> InvertReport:
    """Invert what `output` does not hold yet and append it; unreadable images are reported, the others done.

    So is a picture whose name `output` holds with another picture. Files are read through `door`, which may turn them
    away, right or mark them; the codes say so.

    `grid` receives a picture of the first images above their reconstructions. Raises MismatchError if `output` holds
    codes of another generator, InputError if they were made in another way.
    """
    report, side = InvertReport(), model.generator.resolution
    candidates = None
    shown: list[tuple[torch.Tensor, torch.Tensor]] = []  # images and their reconstructions
    with CodesWriter(output, options.header(model)) as writer:
        waiting = [target for target in targets if target.name not in writer.done_sources]
        writer.make_room(len(waiting))
        held = [target for target in targets if target.name in writer.done_sources]
        _check_held(held, writer, side, options, report, door)
        report.already_done = len(held) - len(report.failed)
        progress.start("invert", len(targets), len(held))
        for first in range(0, len(waiting), options.batch):
            names, squares, suspect, righted, files = [], [], [], [], []
            part = waiting[first : first + options.batch]
            states = {target.name: _state(target, door) for target in part}  # before they are read: they may change
            for target, pixels, reason in read_targets(part, side, options.fit, door):
                if pixels is None:
                    report.failed.append((target.name, reason))
                else:
                    names.append(target.name)
                    squares.append(pixels)
                    notes = _notes(door, target)
                    suspect.append(notes[0])
                    righted.append(notes[1])
                    files.append(states[target.name])
            done = len(held) + first
            if names:
                pixels = np.stack(squares)
                images = torch.from_numpy(pixels)[:, None] * 2 - 1
                if options.start == "nearest" and candidates is None:
                    candidates = RandomCodes(model.generator)
                result = invert(
                    model,
                    images,
                    options.method,
                    options.space,
                    options.steps,
                    options.batch,
                    options.fit_noise,
                    progress,
                    done,
                    start=options.start,
                    settings=options.settings,
                    candidates=candidates,
                    tuning=options.tuning,
                )
                noise = None if result.noise is None else [layer[:, 0].numpy() for layer in result.noise]
                figures = (result.psnr.numpy(), result.ssim.numpy())
                tuning = None if result.tuning is None else result.tuning.numpy()
                originals = _eight_bits(pixels)
                writer.append(names, result.w.numpy(), *figures, originals, noise, tuning, suspect, righted, files)
                report.rows += zip(names, result.psnr.tolist(), result.ssim.tolist(), strict=True)
                if grid is not None and sum(len(part) for part, _ in shown) < GRID_IMAGES:
                    shown.append((images, result.reconstructions))
            progress.advance(len(held) + min(first + options.batch, len(waiting)))
        progress.finish()
    report.suspects = [] if door is None else door.suspects
    if grid is not None and shown:
        upper, lower = (torch.cat(parts)[:GRID_IMAGES] for parts in zip(*shown, strict=True))
        write_png(grid, pairs_grid(upper, lower), {"Description": _caption(model), "Model": model.name})
    return report


def _notes(door: Door | None, target: Target) -> tuple[str, str]:
    """What is wrong with an image, and what was wrong and was put right."""
    if door is None or not isinstance(target, Source):
        return "", ""
    return door.suspicion(target), door.source(target).righting.words


def _check_held(
    targets: Sequence[Target],
    writer: CodesWriter,
    side: int,
    options: InvertOptions,
    report: InvertReport,
    door: Door | None,
) -> None:
    """Report those of `targets` whose code in the file is of another picture of the same name: another patient's.

    A file that is as it was when it was inverted is not read.
    """
    files = writer.files()
    states = {target.name: _state(target, door) for target in targets}
    known = {name: state for name, state in states.items() if state != UNKNOWN}
    changed = [one for one in targets if known.get(one.name) != files[writer.done_sources[one.name]]]
    for first in range(0, len(changed), options.batch):
        for target, pixels, _ in read_targets(changed[first : first + options.batch], side, options.fit, door):
            if pixels is None:
                continue
            if not np.array_equal(_eight_bits(pixels), writer.original(target.name)):
                reason = f"{writer.path} holds another picture under this name; write to another file with -o."
                report.failed.append((target.name, reason))
            elif target.name in known:
                writer.renew_file(target.name, known[target.name])


def _state(target: Target, door: Door | None) -> FileState:
    """What an image's file is like now; unknown of members of zips and images of datasets."""
    if not isinstance(target, Source) or target.member is not None:
        return UNKNOWN
    return FileState.of(target.path, 0 if door is None else door.righting)


def _eight_bits(pixels: np.typing.NDArray[np.float32]) -> np.typing.NDArray[np.uint8]:
    return np.rint(pixels * 255).astype(np.uint8)


def _caption(model: Model) -> str:
    return f"Radiographs, and below each its synthetic reconstruction by {model.name}; not for diagnosis"
