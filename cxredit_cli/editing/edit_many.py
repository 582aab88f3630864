"""Editing many radiographs: codes or images in, edits, sheets and a manifest out; interrupted runs carry on."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cxredit_cli.anatomy.measures import measure_images
from cxredit_cli.editing.edited_folder import EditedFolder, Row, digest
from cxredit_cli.editing.goals import Edit, Goal, plan_edits
from cxredit_cli.editing.subject import Subject, noise_of, tuning_of
from cxredit_cli.editing.worker_pool import Writers
from cxredit_cli.editing.write_edits import Format, Job, Labels, Native
from cxredit_cli.intake.door import Door, Suspect
from cxredit_cli.inversion.invert import choose_method, choose_space, invert
from cxredit_cli.inversion.precision import fast_gradients
from cxredit_cli.inversion.request import InversionRequest
from cxredit_cli.latent.edit_codes import edit
from cxredit_cli.latent.responses import default_strengths
from cxredit_cli.latent.strengths import strength_label
from cxredit_cli.latent.synthesize import synthesize
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.radiographs import provenance
from cxredit_cli.radiographs.layout import Righting
from cxredit_cli.radiographs.read_many import read_all
from cxredit_cli.radiographs.sources import Source
from cxredit_cli.storage.codes import Codes
from cxredit_cli.storage.directions import Direction
from cxredit_cli.storage.models import Model

ON_THE_PATH = 5  # strengths, the inner ones of the usual seven, at which an edit's path is known beside those asked for


@dataclass(frozen=True, slots=True)
class EditOptions:
    """What is done to every image."""

    direction: Direction
    strengths: Sequence[float]
    layers: Sequence[int] | None = None  # w indices that move, None for all
    batch: int = 16
    goal: Goal | None = None  # None: `strengths`; else the strengths that each image needs
    format: Format = "png"
    native: Native | None = None  # None: the generator's pictures alone
    anatomy: Path | None = None  # the network that outlines films, None for the bundled one
    jobs: int = 1  # processes that write
    sheets: bool = True  # a contact sheet for each image

    @property
    def labels(self) -> list[str]:
        """The strengths as they stand in file names."""
        return [strength_label(strength) for strength in self.strengths]

    @property
    def layers_text(self) -> str:
        """The layers as people read them."""
        return "all" if self.layers is None else ",".join(str(layer) for layer in self.layers)

    @property
    def direction_text(self) -> str:
        """The direction as files name it."""
        return f"{self.direction.name} ({self.direction.method}) [{self.direction.digest}]"


@dataclass(slots=True)
class ApplyReport:
    """What a run did."""

    rows: list[Row] = field(default_factory=list)  # of the manifest, for the images of this run
    edited: int = 0  # images
    already_done: int = 0  # images that an earlier run had edited with the same parameters
    missed: list[Row] = field(default_factory=list)  # rows whose CTR is not within the goal's tolerance
    refused: list[Row] = field(default_factory=list)  # rows of edits that could not be carried to the film
    failed: list[tuple[str, str]] = field(default_factory=list)  # name, reason
    suspects: list[Suspect] = field(default_factory=list)  # of the images of this run


def apply_to_codes(
    model: Model,
    codes: Codes,
    options: EditOptions,
    output: Path,
    progress: Progress | None = None,
    films: Mapping[str, Source] | None = None,
) -> ApplyReport:
    """Edit every code of a file into `output`; what an earlier run has done with the same parameters is kept.

    `films` are the films of the codes' sources, for edits of the films themselves.
    """
    progress, report = progress or SilentProgress(), ApplyReport()
    header = codes.header
    progress.start("Editing", len(codes))
    with (
        EditedFolder(output, len(codes), options.sheets) as folder,
        _writers(model, options, folder, report) as writers,
    ):
        for start in range(0, len(codes), options.batch):
            rows = slice(start, min(start + options.batch, len(codes)))
            w, originals = codes.some(rows), codes.originals(rows)
            noise, tuning = codes.noise(rows), codes.tuning(rows)
            subjects = []
            for index, original in enumerate(originals):
                row = start + index
                fitted = None if noise is None else [torch.from_numpy(layer[index])[None] for layer in noise]
                inverted = [
                    digest(w[index].tobytes()),
                    *(digest(layer.numpy().tobytes()) for layer in fitted or []),
                    *([] if tuning is None else [digest(tuning[index].tobytes())]),
                    *([codes.suspect[row]] if codes.suspect[row] else []),
                ]
                name = codes.source[row]
                identity = digest([name, digest(original.tobytes())])
                subjects.append(
                    Subject(
                        source=name,
                        stem=folder.stem_for(Source(Path(name)).stem, identity, row),
                        identity=identity,
                        recipe=_recipe(model, options, inverted),
                        original=original,
                        w=torch.from_numpy(w[index]),
                        noise=fitted,
                        tuning=None if tuning is None else torch.from_numpy(tuning[index]),
                        psnr=float(codes.psnr[row]),
                        ssim=float(codes.ssim[row]),
                        method=f"{header.method}, {header.space}",
                        film=_film(films, codes, row),
                        suspect=codes.suspect[row],
                    )
                )
            waiting = {s.stem for s in subjects if not _is_done(folder, s.stem, s.recipe, options)}
            failed = _edit_all(model, subjects, waiting, options, writers)
            _count(report, folder, [(s.stem, s.recipe) for s in subjects], waiting, failed, options)
            progress.advance(rows.stop)
        writers.finish()
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
    door: Door | None = None,
) -> ApplyReport:
    """Invert and edit images into `output`; a file that cannot be read is reported and never stops the rest.

    Files are read through `door`, which may turn them away, right or mark them; a marked film itself is not edited.
    """
    progress, report = progress or SilentProgress(), ApplyReport()
    side = model.generator.resolution
    method = choose_method(model, inversion.method)
    space = choose_space(model, method, inversion.space)
    how: list[Any] = [method, space, inversion.steps, inversion.fit_noise]
    if model.encoder is not None:
        how.append(digest(b"".join(p.detach().cpu().numpy().tobytes() for p in model.encoder.parameters())))
    if door is not None and door.on_suspect != "accept":
        how.append("looked at")
    recipe = _recipe(model, options, how)
    numbered = list(enumerate(sources))
    read = read_all if door is None else door.read
    progress.start("Inverting and editing", len(sources))
    with (
        EditedFolder(output, len(sources), options.sheets) as folder,
        _writers(model, options, folder, report) as writers,
    ):
        for start in range(0, len(sources), options.batch):
            part = numbered[start : start + options.batch]
            waiting: list[tuple[Source, str, str, NDArray[np.uint16]]] = []  # source, identity, stem, pixels
            stems, failed = [], dict[str, tuple[str, str]]()
            for index, content, reading in read(part, side, inversion.fit, bits=16):
                source = sources[index]
                if content is None:
                    report.failed.append((source.name, reading))
                    continue
                pixels = np.frombuffer(content, dtype=np.uint16).reshape(side, side)
                identity = digest([source.name, digest(_eight_bits(pixels).tobytes())])
                stem = folder.stem_for(source.stem, identity, index)
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
                        film=source if door is None else door.source(source),
                        suspect="" if door is None else door.suspicion(source),
                    )
                    for index, (source, identity, stem, pixels) in enumerate(waiting)
                ]
                failed = _edit_all(model, subjects, {subject.stem for subject in subjects}, options, writers)
            made = {stem for _, _, stem, _ in waiting}
            _count(report, folder, [(stem, recipe) for stem in stems], made, failed, options)
            progress.advance(start + len(part))
        writers.finish()
        folder.finish()
    report.suspects = [] if door is None else door.suspects
    progress.finish()
    return report


def _film(films: Mapping[str, Source] | None, codes: Codes, row: int) -> Source | None:
    """The film of a code, to be righted as it was when it was inverted."""
    film = (films or {}).get(codes.source[row])
    return film and replace(film, righting=Righting.of_words(codes.righted[row]))


def _writers(model: Model, options: EditOptions, folder: EditedFolder, report: ApplyReport) -> Writers:
    text = (model.name, options.direction_text, options.layers_text)
    labels = Labels(folder.folder, options.sheets, options.format, *text)

    def written(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            folder.add_row(row)
        stem, recipe = rows[0]["stem"], rows[0]["recipe"]
        _report_rows(report, folder, stem, recipe, options)

    return Writers(labels, options.native, options.anatomy, options.jobs, written)


def _edit_all(
    model: Model, subjects: Sequence[Subject], waiting: Collection[str], options: EditOptions, writers: Writers
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
    usual = default_strengths(generator, len(direction))
    inner = usual[(len(usual) - ON_THE_PATH) // 2 :][:ON_THE_PATH] if options.native is not None else []
    paths = [sorted({0.0, *inner, *(e.strength for e in plan)}) for plan in planned]
    at_once = max(options.batch // max(map(len, paths)), 1)
    for start in range(0, len(subjects), at_once):
        these = slice(start, start + at_once)
        part, plans, strengths = subjects[these], planned[these], paths[these]
        if not any(subject.stem in waiting for subject in part):
            continue
        codes = [
            edit(subject.w[None], direction, path, generator.num_ws, options.layers)[0]
            for subject, path in zip(part, strengths, strict=True)
        ]
        counts = torch.tensor([len(path) for path in strengths])
        noise, tuning = noise_of(part), tuning_of(part)
        if noise is not None:
            noise = [layer.repeat_interleave(counts, dim=0) for layer in noise]
        if tuning is not None:
            tuning = tuning.repeat_interleave(counts, dim=0)
        made = torch.cat(list(synthesize(generator, torch.cat(codes), noise, options.batch, tuning)))[:, 0]
        images = [part.numpy() for part in torch.split(made / 2 + 0.5, counts.tolist())]
        for subject, plan, path, pictures in zip(part, plans, strengths, images, strict=True):
            if subject.stem in waiting and subject.stem not in failed:
                writers.write(_job(model, subject, plan, path, pictures, options))
    return failed


def _plan(
    model: Model, subjects: Sequence[Subject], options: EditOptions
) -> tuple[list[Sequence[Edit]], dict[str, tuple[str, str]]]:
    """The edits of each subject, and those for which there are none, by stem: name and reason."""
    if options.goal is None:
        return [[Edit(strength) for strength in options.strengths]] * len(subjects), {}
    w, direction = torch.stack([subject.w for subject in subjects]), torch.from_numpy(options.direction.direction)
    films = None
    if options.native is not None:
        originals = torch.from_numpy(np.stack([subject.original for subject in subjects]))[:, None]
        found = measure_images(options.goal.network, originals, options.batch)
        known = found.plausible & np.array([subject.film is not None for subject in subjects])
        films = np.where(known, found.ctr, np.nan)
    plans = plan_edits(
        model.generator,
        w,
        noise_of(subjects),
        direction,
        options.layers,
        options.goal,
        options.batch,
        tuning_of(subjects),
        films,
    )
    failed = {
        subject.stem: (subject.source, reason)
        for subject, (_, reason) in zip(subjects, plans, strict=True)
        if reason is not None
    }
    return [plan for plan, _ in plans], failed


def _job(
    model: Model,
    subject: Subject,
    plan: Sequence[Edit],
    path: Sequence[float],
    pictures: NDArray[np.float32],
    options: EditOptions,
) -> Job:
    common = {
        "source": subject.source,
        "stem": subject.stem,
        "sheet": f"{subject.stem}_sheet.png" if options.sheets else "",
        "psnr": "" if np.isnan(subject.psnr) else f"{subject.psnr:.3f}",
        "ssim": "" if np.isnan(subject.ssim) else f"{subject.ssim:.4f}",
        "direction": options.direction_text,
        "layers": options.layers_text,
        "method": subject.method,
        "model": model.name,
        "identity": subject.identity,
        "suspect": subject.suspect,
        "recipe": subject.recipe,
    }
    return Job(
        source=subject.source,
        stem=subject.stem,
        recipe=subject.recipe,
        film=subject.film if options.native is not None else None,
        original=np.asarray(subject.original / 255, dtype=np.float32),
        reconstruction=pictures[path.index(0.0)],
        strengths=tuple(path),
        pictures=pictures,
        plan=plan,
        suspect=subject.suspect,
        common=common,
    )


def _recipe(model: Model, options: EditOptions, inverted: Sequence[Any]) -> str:
    """Stands for all that decides the pictures, besides the original."""
    parameters: list[Any] = [model.fingerprint, options.direction.digest, options.direction.name]
    parameters.append(options.labels if options.goal is None else options.goal.parameters)
    native = [] if options.native is None else options.native.recipe
    return digest([provenance.SOFTWARE, *parameters, options.layers_text, options.format, native, *inverted])


def _labels_of(folder: EditedFolder, stem: str, recipe: str, options: EditOptions) -> list[str]:
    return options.labels if options.goal is None else folder.labels_done(stem, recipe)


def _is_done(folder: EditedFolder, stem: str, recipe: str, options: EditOptions) -> bool:
    if options.goal is None:
        return folder.is_done(stem, options.labels, recipe)
    rows = folder.rows_of(stem, folder.labels_done(stem, recipe), recipe)
    return options.goal.is_met_by([row["target_ctr"] for row in rows])


def _count(
    report: ApplyReport,
    folder: EditedFolder,
    stems: Sequence[tuple[str, str]],
    waiting: Collection[str],
    failed: dict[str, tuple[str, str]],
    options: EditOptions,
) -> None:
    """Add some subjects, (stem, recipe) each, to the report; those that are being written follow when they are."""
    report.failed += failed.values()
    report.edited += len(waiting) - len(failed)
    report.already_done += len(stems) - len(waiting)
    for stem, recipe in stems:
        if stem not in waiting:
            _report_rows(report, folder, stem, recipe, options)


def _report_rows(report: ApplyReport, folder: EditedFolder, stem: str, recipe: str, options: EditOptions) -> None:
    rows = folder.rows_of(stem, _labels_of(folder, stem, recipe, options), recipe)
    report.rows += rows
    report.refused += [row for row in rows if row["refused"]]
    if options.goal is not None:
        report.missed += [row for row in rows if not options.goal.is_reached_in(row)]


def _eight_bits(pixels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return np.rint(pixels / np.float32(257)).astype(np.uint8)
