"""Synthetic radiographs from random codes, the same for a seed whatever the batch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from cxredit_cli.errors import InputError
from cxredit_cli.figures.grids import image_grid
from cxredit_cli.latent.random_codes import random_codes
from cxredit_cli.latent.synthesize import synthesize
from cxredit_cli.processes import ALONE, Processes
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.radiographs import provenance
from cxredit_cli.radiographs.write import write_png
from cxredit_cli.storage.codes import CodesHeader
from cxredit_cli.storage.models import Model
from cxredit_cli.storage.write_codes import CodesWriter

Floats = NDArray[np.float32]

GRID_MAX = 256  # images; more is no overview


@dataclass(frozen=True, slots=True)
class Generated:
    """What a run made."""

    files: list[Path]
    already_done: int  # files that an earlier run had written with the same parameters
    grid: Path | None


def generate(
    model: Model,
    n: int,
    seed: int,
    truncation_psi: float,
    output: Path,
    batch: int = 16,
    grid: bool = True,
    codes: Path | None = None,
    progress: Progress | None = None,
    processes: Processes = ALONE,
) -> Generated:
    """Write `n` radiographs `<seed>_<number>.png` into `output`; on demand a grid of the first 256, and the codes.

    Of several `processes` each writes its share of the pictures, and the first all the rest.
    """
    if not 0 <= truncation_psi <= 2:
        raise InputError(f"--truncation-psi must be between 0 and 2, but it is {truncation_psi:g}.")
    progress = progress or SilentProgress()
    files = [output / f"{seed}_{index:05d}.png" for index in range(n)]
    writer = None
    if codes is not None and processes.first:
        writer = CodesWriter(codes, _header(model, seed, truncation_psi), expected=n)
    coded = processes.from_first(lambda: None if writer is None else set(writer.done_sources))
    already_done = 0
    progress.start("Generating", n)
    try:
        for indices in processes.rounds(n, batch):
            texts = {i: provenance.synthetic(model.name, f"{seed}, number {i}", truncation_psi) for i in indices}
            missing = [i for i in indices if not _is_there(files[i], texts[i])]
            uncoded = [i for i in indices if coded is not None and files[i].name not in coded]
            needed = sorted({*missing, *uncoded})
            made = dict(zip(needed, _make(model, seed, needed, truncation_psi, batch), strict=True))
            for i in missing:
                write_png(files[i], made[i][1], texts[i])
            rows = [(files[i].name, *made[i]) for i in uncoded]
            for present, new in processes.gather((len(indices) - len(missing), rows)):
                if writer is not None and new:
                    _append(writer, new)
                already_done += present
            progress.advance(min(indices.start + batch * processes.count, n))
    except BaseException as error:
        if writer is not None:
            writer.__exit__(type(error), error, None)
        raise
    if writer is not None:
        writer.close()
    progress.finish()
    path = None
    if grid and processes.first:
        path = output / f"{seed}_grid.png"
        pictures = np.stack([np.asarray(Image.open(file), dtype=np.float32) / 255 for file in files[:GRID_MAX]])
        shown = provenance.synthetic(model.name, f"{seed}, numbers 0 to {len(pictures) - 1}", truncation_psi)
        columns = math.ceil(len(pictures) ** 0.5)
        write_png(path, image_grid(torch.from_numpy(pictures)[:, None] * 2 - 1, columns), shown)
    return Generated(files, already_done, path)


def _make(
    model: Model, seed: int, indices: Sequence[int], truncation_psi: float, batch: int
) -> list[tuple[Floats, Floats]]:
    """Code [1, w_dim] and picture [R, R] in 0..1 of each of the `indices`."""
    if not indices:
        return []
    w = random_codes(model.generator, seed, indices, truncation_psi)
    images = torch.cat(list(synthesize(model.generator, w, batch=batch)))[:, 0].numpy() / 2 + 0.5
    return list(zip(w.cpu().numpy(), images, strict=True))


def _append(writer: CodesWriter, rows: Sequence[tuple[str, Floats, Floats]]) -> None:
    names, w, images = zip(*rows, strict=True)
    unknown = np.full(len(names), np.nan, dtype=np.float32)  # nothing was reconstructed
    original = np.rint(np.stack(images) * 255).astype(np.uint8)
    writer.append(list(names), np.stack(w), unknown, unknown, original)


def _header(model: Model, seed: int, truncation_psi: float) -> CodesHeader:
    return CodesHeader(
        fingerprint=model.fingerprint,
        method="generated",
        space="w",
        num_ws=1,
        w_dim=model.generator.w_dim,
        resolution=model.generator.resolution,
        seed=seed,
        preprocessing=f'{{"truncation_psi": {truncation_psi:g}}}',
        model=model.name,
    )


def _is_there(path: Path, text: dict[str, str]) -> bool:
    """Whether a picture is there that says the same of itself."""
    if not path.exists():
        return False
    try:
        with Image.open(path) as image:
            return dict(image.info) == text
    except OSError:
        return False
