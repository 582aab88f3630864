"""Synthetic radiographs from random codes, the same for a seed whatever the batch."""

import math
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
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.radiographs import provenance
from cxredit_cli.radiographs.write import write_png
from cxredit_cli.storage.codes import CodesHeader, CodesWriter
from cxredit_cli.storage.models import Model

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
) -> Generated:
    """Write `n` radiographs `<seed>_<number>.png` into `output`; on demand a grid of the first 256, and the codes."""
    if not 0 <= truncation_psi <= 2:
        raise InputError(f"--truncation-psi must be between 0 and 2, but it is {truncation_psi:g}.")
    progress = progress or SilentProgress()
    files = [output / f"{seed}_{index:05d}.png" for index in range(n)]
    writer = None if codes is None else CodesWriter(codes, _header(model, seed, truncation_psi), expected=n)
    already_done = 0
    progress.start("Generating", n)
    try:
        for start in range(0, n, batch):
            indices = range(start, min(start + batch, n))
            texts = {i: provenance.synthetic(model.name, f"{seed}, number {i}", truncation_psi) for i in indices}
            missing = [i for i in indices if not _is_there(files[i], texts[i])]
            uncoded = [i for i in indices if writer is not None and files[i].name not in writer.done_sources]
            already_done += len(indices) - len(missing)
            needed = sorted({*missing, *uncoded})
            if needed:
                w = random_codes(model.generator, seed, needed, truncation_psi)
                images = torch.cat(list(synthesize(model.generator, w, batch=batch)))[:, 0].numpy() / 2 + 0.5
                made = dict(zip(needed, zip(w.cpu().numpy(), images, strict=True), strict=True))
                for i in missing:
                    write_png(files[i], made[i][1], texts[i])
                if writer is not None and uncoded:
                    _append(writer, [files[i].name for i in uncoded], [made[i] for i in uncoded])
            progress.advance(indices.stop)
    except BaseException as error:
        if writer is not None:
            writer.__exit__(type(error), error, None)
        raise
    if writer is not None:
        writer.close()
    progress.finish()
    path = None
    if grid:
        path = output / f"{seed}_grid.png"
        pictures = np.stack([np.asarray(Image.open(file), dtype=np.float32) / 255 for file in files[:GRID_MAX]])
        shown = provenance.synthetic(model.name, f"{seed}, numbers 0 to {len(pictures) - 1}", truncation_psi)
        columns = math.ceil(len(pictures) ** 0.5)
        write_png(path, image_grid(torch.from_numpy(pictures)[:, None] * 2 - 1, columns), shown)
    return Generated(files, already_done, path)


def _append(writer: CodesWriter, names: list[str], made: list[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> None:
    unknown = np.full(len(names), np.nan, dtype=np.float32)  # nothing was reconstructed
    original = np.rint(np.stack([image for _, image in made]) * 255).astype(np.uint8)
    writer.append(names, np.stack([w for w, _ in made]), unknown, unknown, original)


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
