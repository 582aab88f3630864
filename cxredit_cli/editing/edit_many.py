"""Editing many radiographs: codes or images in, edits, sheets and a manifest out; interrupted runs carry on."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cxredit_cli.anatomy.measures import measure_images
from cxredit_cli.editing.edit_run import ApplyReport, EditOptions, EditRun
from cxredit_cli.editing.edited_folder import digest
from cxredit_cli.editing.goals import Edit, plan_edits
from cxredit_cli.editing.subject import Subject, noise_of, tuning_of
from cxredit_cli.editing.worker_pool import Writers
from cxredit_cli.editing.write_edits import Job
from cxredit_cli.intake.door import Door
from cxredit_cli.inversion.invert import choose_method, choose_space, invert
from cxredit_cli.inversion.precision import fast_gradients
from cxredit_cli.inversion.request import InversionRequest
from cxredit_cli.latent.edit_codes import edit
from cxredit_cli.latent.responses import default_strengths
from cxredit_cli.latent.synthesize import synthesize
from cxredit_cli.processes import ALONE, Processes
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.radiographs import provenance
from cxredit_cli.radiographs.layout import Righting
from cxredit_cli.radiographs.read_many import read_all
from cxredit_cli.radiographs.sources import Source
from cxredit_cli.storage.codes import Codes
from cxredit_cli.storage.models import Model

ON_THE_PATH = 5  # strengths, the inner ones of the usual seven, at which an edit's path is known beside those asked for


def apply_to_codes(
    model: Model,
    codes: Codes,
    options: EditOptions,
    output: Path,
    progress: Progress | None = None,
    films: Mapping[str, Source] | None = None,
    processes: Processes = ALONE,
) -> ApplyReport:
    """Edit every code of a file into `output`; what an earlier run has done with the same parameters is kept.

    `films` are the films of the codes' sources, for edits of the films themselves. Several `processes` share the codes,
    and the first has the report.
    """
    progress = progress or SilentProgress()
    progress.start("Editing", len(codes))
    with EditRun(model, options, output, len(codes), processes) as run:
        for rows in processes.rounds(len(codes), options.batch):
            subjects = _subjects(model, codes, rows, run, films)
            waiting = {s.stem for s in subjects if not run.is_done(s.stem, s.recipe)}
            failed = _edit_all(model, subjects, waiting, options, run.writers)
            run.add([(s.stem, s.recipe) for s in subjects], waiting, failed)
            progress.advance(min(rows.start + options.batch * processes.count, len(codes)))
        report = run.finish()
    progress.finish()
    return report


def _subjects(
    model: Model, codes: Codes, rows: range, run: EditRun, films: Mapping[str, Source] | None
) -> list[Subject]:
    """What is to be edited of some rows of a file of codes."""
    header, some = codes.header, slice(rows.start, rows.stop)
    w, originals = codes.some(some), codes.originals(some)
    noise, tuning = codes.noise(some), codes.tuning(some)
    names = codes.source[some]
    identities = [digest([name, digest(original.tobytes())]) for name, original in zip(names, originals, strict=True)]
    given = zip(names, identities, rows, strict=True)
    stems = run.names([(Source(Path(name)).stem, identity, row) for name, identity, row in given])
    subjects = []
    for index, row in enumerate(rows):
        fitted = None if noise is None else [torch.from_numpy(layer[index])[None] for layer in noise]
        inverted = [
            digest(w[index].tobytes()),
            *(digest(layer.numpy().tobytes()) for layer in fitted or []),
            *([] if tuning is None else [digest(tuning[index].tobytes())]),
            *([codes.suspect[row]] if codes.suspect[row] else []),
        ]
        subjects.append(
            Subject(
                source=names[index],
                stem=stems[index],
                identity=identities[index],
                recipe=_recipe(model, run.options, inverted),
                original=originals[index],
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
    return subjects


def apply_to_images(
    model: Model,
    sources: Sequence[Source],
    options: EditOptions,
    inversion: InversionRequest,
    output: Path,
    progress: Progress | None = None,
    door: Door | None = None,
    processes: Processes = ALONE,
) -> ApplyReport:
    """Invert and edit images into `output`; a file that cannot be read is reported and never stops the rest.

    Files are read through `door`, which may turn them away, right or mark them; a marked film itself is not edited.
    Several `processes` share the images, and the first has the report.
    """
    progress = progress or SilentProgress()
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
    with EditRun(model, options, output, len(sources), processes) as run:
        for part in processes.rounds(len(sources), options.batch):
            readable: list[tuple[Source, str, NDArray[np.uint16]]] = []  # source, identity, pixels
            places = []
            unreadable = []
            for index, content, reading in read(numbered[part.start : part.stop], side, inversion.fit, bits=16):
                source = sources[index]
                if content is None:
                    unreadable.append((source.name, reading))
                    continue
                pixels = np.frombuffer(content, dtype=np.uint16).reshape(side, side)
                identity = digest([source.name, digest(_eight_bits(pixels).tobytes())])
                readable.append((source, identity, pixels))
                places.append(index)
            named = zip(readable, places, strict=True)
            stems = run.names([(source.stem, identity, place) for (source, identity, _), place in named])
            waiting = [
                (stem, *each) for stem, each in zip(stems, readable, strict=True) if not run.is_done(stem, recipe)
            ]
            failed: dict[str, tuple[str, str]] = {}
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
                        done=part.start,
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
                    for index, (stem, source, identity, pixels) in enumerate(waiting)
                ]
                failed = _edit_all(model, subjects, {subject.stem for subject in subjects}, options, run.writers)
            suspects = [] if door is None else door.new_suspects()
            run.add([(stem, recipe) for stem in stems], {stem for stem, *_ in waiting}, failed, unreadable, suspects)
            progress.advance(min(part.start + options.batch * processes.count, len(sources)))
        report = run.finish()
    progress.finish()
    return report


def _film(films: Mapping[str, Source] | None, codes: Codes, row: int) -> Source | None:
    """The film of a code, to be righted as it was when it was inverted."""
    film = (films or {}).get(codes.source[row])
    return film and replace(film, righting=Righting.of_words(codes.righted[row]))


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
        "righted": "" if subject.film is None else subject.film.righting.words,
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


def _eight_bits(pixels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return np.rint(pixels / np.float32(257)).astype(np.uint8)
