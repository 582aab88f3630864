"""Editing many radiographs: codes or images in, pictures, sheets and a manifest out; interrupted runs carry on."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxredit_cli.editing.edited_folder import EditedFolder, Suffix, digest
from cxredit_cli.editing.goals import Edit, Goal, plan_edits
from cxredit_cli.figures.sheets import Panel, difference_limit, edit_sheet, save_png
from cxredit_cli.inversion.invert import choose_method, choose_space, invert
from cxredit_cli.inversion.precision import fast_gradients
from cxredit_cli.inversion.request import InversionRequest
from cxredit_cli.latent.edit_codes import edit
from cxredit_cli.latent.strengths import strength_label
from cxredit_cli.latent.synthesize import synthesize
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.radiographs import provenance
from cxredit_cli.radiographs.read_many import read_all
from cxredit_cli.radiographs.sources import Source
from cxredit_cli.radiographs.write import write_dicom, write_png
from cxredit_cli.storage.codes import Codes
from cxredit_cli.storage.directions import Direction
from cxredit_cli.storage.models import Model


@dataclass(frozen=True, slots=True)
class EditOptions:
    """What is done to every image."""

    direction: Direction
    strengths: Sequence[float]
    layers: Sequence[int] | None = None  # w indices that move, None for all
    batch: int = 16
    goal: Goal | None = None  # None: `strengths`; else the strengths that each image needs
    suffix: Suffix = ".png"  # of the edits

    @property
    def labels(self) -> list[str]:
        """The strengths as they stand in file names."""
        return [strength_label(strength) for strength in self.strengths]

    @property
    def layers_text(self) -> str:
        """The layers as people read them."""
        return "all" if self.layers is None else ",".join(str(layer) for layer in self.layers)


@dataclass(frozen=True, slots=True)
class Subject:
    """One image to edit."""

    source: str
    stem: str
    identity: str
    recipe: str
    original: NDArray[np.uint8]  # [R, R]
    w: Tensor  # [L, D]
    noise: list[Tensor] | None  # one [1, H, W] a layer
    tuning: Tensor | None  # [K] deltas of the generator's weights
    psnr: float
    ssim: float
    method: str


@dataclass(slots=True)
class ApplyReport:
    """What a run did."""

    rows: list[dict[str, str]] = field(default_factory=list)  # of the manifest, for the images of this run
    edited: int = 0  # images
    already_done: int = 0  # images that an earlier run had edited with the same parameters
    missed: list[dict[str, str]] = field(default_factory=list)  # rows whose CTR is not within the goal's tolerance
    failed: list[tuple[str, str]] = field(default_factory=list)  # name, reason


def apply_to_codes(
    model: Model, codes: Codes, options: EditOptions, output: Path, progress: Progress | None = None
) -> ApplyReport:
    """Edit every code of a file into `output`; what an earlier run has done with the same parameters is kept."""
    progress, report = progress or SilentProgress(), ApplyReport()
    header = codes.header
    progress.start("Editing", len(codes))
    with EditedFolder(output, options.suffix) as folder:
        for start in range(0, len(codes), options.batch):
            rows = slice(start, min(start + options.batch, len(codes)))
            originals, noise, tuning = codes.originals(rows), codes.noise(rows), codes.tuning(rows)
            subjects = []
            for index, original in enumerate(originals):
                row = start + index
                fitted = None if noise is None else [torch.from_numpy(layer[index])[None] for layer in noise]
                inverted = [
                    digest(codes.w[row].tobytes()),
                    *(digest(layer.numpy().tobytes()) for layer in fitted or []),
                    *([] if tuning is None else [digest(tuning[index].tobytes())]),
                ]
                name = codes.source[row]
                identity = digest([name, digest(original.tobytes())])
                subjects.append(
                    Subject(
                        source=name,
                        stem=folder.stem_for(Source(Path(name)).stem, identity),
                        identity=identity,
                        recipe=_recipe(model, options, inverted),
                        original=original,
                        w=torch.from_numpy(codes.w[row]),
                        noise=fitted,
                        tuning=None if tuning is None else torch.from_numpy(tuning[index]),
                        psnr=float(codes.psnr[row]),
                        ssim=float(codes.ssim[row]),
                        method=f"{header.method}, {header.space}",
                    )
                )
            waiting = {s.stem for s in subjects if not _is_done(folder, s.stem, s.recipe, options)}
            failed = _edit_all(model, subjects, waiting, options, folder)
            _count(report, folder, [(s.stem, s.recipe) for s in subjects], waiting, failed, options)
            progress.advance(rows.stop)
        folder.finish()
    progress.finish()
    return report


def apply_to_images(
    model: Model,
    sources: Sequence[Source],
    options: EditOptions,
    inversion: InversionRequest,
    output: Path,
    progress: Progress | None = None,
) -> ApplyReport:
    """Invert and edit images into `output`; a file that cannot be read is reported and never stops the rest."""
    progress, report = progress or SilentProgress(), ApplyReport()
    side = model.generator.resolution
    method = choose_method(model, inversion.method)
    space = choose_space(model, method, inversion.space)
    how: list[Any] = [method, space, inversion.steps, inversion.fit_noise]
    if model.encoder is not None:
        how.append(digest(b"".join(p.detach().cpu().numpy().tobytes() for p in model.encoder.parameters())))
    recipe = _recipe(model, options, how)
    numbered = list(enumerate(sources))
    progress.start("Inverting and editing", len(sources))
    with EditedFolder(output, options.suffix) as folder:
        for start in range(0, len(sources), options.batch):
            part = numbered[start : start + options.batch]
            waiting: list[tuple[Source, str, str, NDArray[np.uint16]]] = []  # source, identity, stem, pixels
            stems, failed = [], dict[str, tuple[str, str]]()
            for index, content, reading in read_all(part, side, inversion.fit, bits=16):
                source = sources[index]
                if content is None:
                    report.failed.append((source.name, reading))
                    continue
                pixels = np.frombuffer(content, dtype=np.uint16).reshape(side, side)
                identity = digest([source.name, digest(_eight_bits(pixels).tobytes())])
                stem = folder.stem_for(source.stem, identity)
                stems.append(stem)
                if not _is_done(folder, stem, recipe, options):
                    waiting.append((source, identity, stem, pixels))
            if waiting:
                images = torch.from_numpy(np.stack([pixels for *_, pixels in waiting]).astype(np.float32))
                with fast_gradients(model.generator):
                    found = invert(
                        model,
                        images[:, None] / 65535 * 2 - 1,
                        method,
                        space,
                        inversion.steps,
                        options.batch,
                        inversion.fit_noise,
                        progress,
                        done=start,
                    )
                subjects = [
                    Subject(
                        source=source.name,
                        stem=stem,
                        identity=identity,
                        recipe=recipe,
                        original=_eight_bits(pixels),
                        w=found.w[index],
                        noise=None if found.noise is None else [layer[index] for layer in found.noise],
                        tuning=None,
                        psnr=float(found.psnr[index]),
                        ssim=float(found.ssim[index]),
                        method=f"{method}, {space}",
                    )
                    for index, (source, identity, stem, pixels) in enumerate(waiting)
                ]
                failed = _edit_all(model, subjects, {subject.stem for subject in subjects}, options, folder)
            made = {stem for _, _, stem, _ in waiting}
            _count(report, folder, [(stem, recipe) for stem in stems], made, failed, options)
            progress.advance(start + len(part))
        folder.finish()
    progress.finish()
    return report


def _edit_all(
    model: Model, subjects: Sequence[Subject], waiting: Collection[str], options: EditOptions, folder: EditedFolder
) -> dict[str, tuple[str, str]]:
    """Synthesise reconstruction and edits of some subjects at a time, and write those whose stem is `waiting`.

    The groups do not depend on what is there already: a sum is rounded differently in batches of another size, and an
    interrupted run should end with the very files of an uninterrupted one. Returns by stem the name of each subject
    that has no strength for its goal, and why.
    """
    if not waiting:
        return {}
    generator = model.generator
    direction = torch.from_numpy(options.direction.direction)
    planned, failed = _plan(model, subjects, options)
    each = 1 + max((len(plan) for plan in planned), default=0)
    at_once = max(options.batch // each, 1)
    for start in range(0, len(subjects), at_once):
        part = subjects[start : start + at_once]
        plans = planned[start : start + at_once]
        if not any(subject.stem in waiting for subject in part):
            continue
        codes = [
            edit(subject.w[None], direction, [0.0, *(e.strength for e in plan)], generator.num_ws, options.layers)[0]
            for subject, plan in zip(part, plans, strict=True)
        ]
        counts = [len(moved) for moved in codes]
        noise = None
        if part[0].noise is not None:
            layers = zip(*(subject.noise or [] for subject in part), strict=True)
            noise = [torch.stack(layer).repeat_interleave(torch.tensor(counts), dim=0) for layer in layers]
        tuning = _tuning(part)
        if tuning is not None:
            tuning = tuning.repeat_interleave(torch.tensor(counts), dim=0)
        made = torch.cat(list(synthesize(generator, torch.cat(codes), noise, options.batch, tuning)))[:, 0].numpy()
        images = made / np.float32(2) + np.float32(0.5)
        for subject, plan, pictures in zip(part, plans, np.split(images, np.cumsum(counts)[:-1]), strict=True):
            if subject.stem in waiting and subject.stem not in failed:
                _write(model, subject, pictures[0], pictures[1:], plan, options, folder)
    return failed


def _tuning(subjects: Sequence[Subject]) -> Tensor | None:
    """The deltas [N, K] of subjects whose generator was tuned for them."""
    deltas = [subject.tuning for subject in subjects if subject.tuning is not None]
    return torch.stack(deltas) if deltas else None


def _plan(
    model: Model, subjects: Sequence[Subject], options: EditOptions
) -> tuple[list[list[Edit]], dict[str, tuple[str, str]]]:
    """The edits of each subject, and those for which there are none, by stem: name and reason."""
    if options.goal is None:
        return [[Edit(strength) for strength in options.strengths]] * len(subjects), {}
    noise = None
    if subjects[0].noise is not None:
        noise = [torch.stack(layer) for layer in zip(*(s.noise or [] for s in subjects), strict=True)]
    w, direction = torch.stack([subject.w for subject in subjects]), torch.from_numpy(options.direction.direction)
    found = plan_edits(
        model.generator, w, noise, direction, options.layers, options.goal, options.batch, _tuning(subjects)
    )
    failed = {
        subject.stem: (subject.source, reason)
        for subject, (_, reason) in zip(subjects, found, strict=True)
        if reason is not None
    }
    return [plan for plan, _ in found], failed


def _write(
    model: Model,
    subject: Subject,
    reconstruction: NDArray[np.floating],
    edits: NDArray[np.floating],
    plan: Sequence[Edit],
    options: EditOptions,
    folder: EditedFolder,
) -> None:
    """Write one subject's edits, then its sheet, then the manifest's rows."""
    original = subject.original.astype(np.float32) / 255
    fidelity = "" if np.isnan(subject.psnr) else f"PSNR {subject.psnr:.1f} dB  SSIM {subject.ssim:.3f}"
    panels = [
        Panel("Original", original),
        Panel("Reconstruction", reconstruction, reconstruction - original, f"reconstruction - original\n{fidelity}"),
    ]
    what = f"{options.direction.name} ({options.direction.method}) [{options.direction.digest}]"
    sheet = folder.sheet_path(subject.stem)
    rows: list[dict[str, Any]] = []
    for wanted, picture in zip(plan, edits, strict=True):
        label = strength_label(wanted.strength)
        path = folder.edit_path(subject.stem, label)
        if options.suffix == ".dcm":
            how = f"{what}, strength {label}, layers {options.layers_text}, by {model.name}"
            write_dicom(path, picture, how)
        else:
            text = provenance.edited(model.name, subject.source, what, label, options.layers_text)
            write_png(path, picture, text)
        change = picture - reconstruction
        mean, largest = float(np.abs(change).mean()), float(np.abs(change).max())
        title = label if not wanted.columns else f"{label}: CTR {wanted.columns['ctr']}"
        panels.append(Panel(title, picture, change, f"edit - reconstruction\nmean |change| {mean:.2%}"))
        rows.append(
            {
                "source": subject.source,
                "strength": label,
                "file": path.name,
                "sheet": sheet.name,
                "psnr": "" if np.isnan(subject.psnr) else f"{subject.psnr:.3f}",
                "ssim": "" if np.isnan(subject.ssim) else f"{subject.ssim:.4f}",
                "mean_abs_change": f"{mean:.5f}",
                "max_abs_change": f"{largest:.5f}",
                **wanted.columns,
                "direction": what,
                "layers": options.layers_text,
                "method": subject.method,
                "model": model.name,
                "identity": subject.identity,
                "recipe": subject.recipe,
            }
        )
    layers = "" if options.layers is None else f", layers {options.layers_text}"
    footer = f"Edited by {provenance.SOFTWARE}, model {model.name}{layers}. {provenance.DISCLAIMER}."
    text = provenance.edited(
        model.name, subject.source, what, ", ".join(row["strength"] for row in rows), options.layers_text
    )
    # The scale is that of the edits: a large residual of the reconstruction saturates and does not hide them.
    limit = difference_limit([*(edits - reconstruction)]) if np.ptp(edits - reconstruction) > 0 else None
    save_png(sheet, edit_sheet(f"{subject.source}    {what}", panels, footer, limit), text)
    for row in rows:
        folder.add_row(row)


def _recipe(model: Model, options: EditOptions, inverted: Sequence[Any]) -> str:
    """Stands for all that decides the pictures, besides the original."""
    parameters: list[Any] = [model.fingerprint, options.direction.digest, options.direction.name]
    parameters.append(options.labels if options.goal is None else options.goal.parameters)
    return digest([provenance.SOFTWARE, *parameters, options.layers_text, *inverted])


def _labels_of(folder: EditedFolder, stem: str, recipe: str, options: EditOptions) -> list[str]:
    return options.labels if options.goal is None else folder.labels_done(stem, recipe)


def _is_done(folder: EditedFolder, stem: str, recipe: str, options: EditOptions) -> bool:
    if options.goal is None:
        return folder.is_done(stem, options.labels, recipe)
    rows = folder.rows_of(stem, folder.labels_done(stem, recipe))
    return options.goal.is_met_by([row["target_ctr"] for row in rows])


def _count(
    report: ApplyReport,
    folder: EditedFolder,
    stems: Sequence[tuple[str, str]],
    waiting: Collection[str],
    failed: dict[str, tuple[str, str]],
    options: EditOptions,
) -> None:
    """Add some subjects, (stem, recipe) each, to the report."""
    report.failed += failed.values()
    report.edited += len(waiting) - len(failed)
    report.already_done += len(stems) - len(waiting)
    for stem, recipe in stems:
        if stem not in failed:
            rows = folder.rows_of(stem, _labels_of(folder, stem, recipe, options))
            report.rows += rows
            if options.goal is not None:
                report.missed += [row for row in rows if not options.goal.is_reached_in(row)]


def _eight_bits(pixels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return np.rint(pixels / np.float32(257)).astype(np.uint8)
