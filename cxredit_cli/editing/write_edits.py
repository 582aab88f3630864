"""The edits of one image on disk: of the film itself where they can be carried over, else the generator's pictures.

`write_edits` takes and returns plain values, so that films can be spread over processes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cxredit_cli.editing.edit_film import FilmEdits, edit_film
from cxredit_cli.editing.goals import Edit
from cxredit_cli.errors import CxreditError, MismatchError, UneditableFilmError
from cxredit_cli.figures.sheets import Panel, difference_limit, edit_sheet, save_png
from cxredit_cli.latent.strengths import strength_label
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.radiographs import provenance
from cxredit_cli.radiographs.derived_dicom import Derivation
from cxredit_cli.radiographs.film import Film, read_film
from cxredit_cli.radiographs.geometry import Fit, fit_square
from cxredit_cli.radiographs.pseudonyms import load_pseudonyms
from cxredit_cli.radiographs.sources import Source
from cxredit_cli.radiographs.write import write_dicom, write_png
from cxredit_cli.radiographs.write_film import burned_in, suffix_of, write_film, write_shown
from cxredit_cli.storage.directions import Carried

Format = Literal["auto", "png", "dicom"]
MODEL = "_model"  # after the name of a generator's picture that stands for a refused edit
SAME = 0.01  # of the grey range: mean distance of a film from what was inverted, at the generator's resolution
SHEET_SIDE = 512  # of the films on a sheet


@dataclass(frozen=True, slots=True)
class Native:
    """How edits are carried over to films."""

    kind: Carried  # what the direction moves
    fit: Fit  # how the film became the generator's square
    secret: Path  # of pseudonyms; made where a DICOM file is the first to need it
    strict: bool = False  # write nothing where an edit is refused; else the generator's picture
    burn_in: bool = False
    keep_identity: bool = False

    @property
    def recipe(self) -> list[object]:
        """Stands for all that decides the files, besides film and pictures."""
        return [self.kind, self.fit, self.strict, self.burn_in, self.keep_identity]


@dataclass(frozen=True, slots=True)
class Labels:
    """What the files say of themselves."""

    folder: Path
    sheets: bool
    format: Format
    model: str
    direction: str
    layers: str


@dataclass(frozen=True, slots=True)
class Job:
    """One image with the generator's pictures of it."""

    source: str
    stem: str
    recipe: str
    film: Source | None  # None: the generator's pictures are all there is
    original: NDArray[np.float32]  # [R, R] in 0..1, as the generator saw it
    reconstruction: NDArray[np.float32]  # [R, R]
    strengths: tuple[float, ...]  # S, rising, those of `plan` and 0 among them
    pictures: NDArray[np.float32]  # [S, R, R]
    plan: Sequence[Edit]
    suspect: str  # why the film is not one to edit; "" where nothing is known to be wrong
    common: dict[str, Any]  # columns of the manifest that all edits share

    def picture(self, strength: float) -> NDArray[np.float32]:
        """The generator's picture at one of the strengths."""
        picture: NDArray[np.float32] = self.pictures[self.strengths.index(strength)]
        return picture


def write_edits(
    job: Job, labels: Labels, native: Native | None, network: AnatomyNetwork | None
) -> list[dict[str, Any]]:
    """Write the edits of one image, then its sheet where one is wanted; returns the rows of the manifest.

    With `native`, edits are carried over to the film by `network`.
    """
    film, carried, trouble = None, None, ""
    if native is not None and network is not None and job.film is not None:
        try:
            if job.suspect:
                raise UneditableFilmError(job.suspect)
            film = read_film(job.film)
            wanted = [edit.strength for edit in job.plan]
            square = film.square(native.fit)
            _check_same(film, job, native.fit)
            targets = {edit.strength: edit.aim for edit in job.plan if edit.aim is not None}
            carried = edit_film(network, square, job.pictures, job.strengths, wanted, native.kind, targets)
        except CxreditError as error:
            trouble = str(error)
    rows, panels = [], list[Panel]()
    for number, edit in enumerate(job.plan):
        row = {**job.common, "strength": strength_label(edit.strength), **edit.columns}
        change = None
        if film is not None and carried is not None and native is not None:
            change, trouble = _write_native(job, labels, native, film, carried, number, row)
        if change is None:
            row["refused"] = trouble
            if native is None or not native.strict or not trouble:
                _write_generated(job, labels, number, row, MODEL if trouble else "")
            picture = job.picture(edit.strength)
            panels.append(_panel(row, picture, picture - job.reconstruction, "edit - reconstruction"))
        else:
            panels.append(_panel(row, film.pixels + change, change, "edit - film"))  # type: ignore[union-attr]
        rows.append(row)
    if labels.sheets:
        _write_sheet(job, labels, panels, [row["strength"] for row in rows], film)
    return rows


def _check_same(film: Film, job: Job, fit: Fit) -> None:
    """Raise MismatchError unless the film is the one that the code was made of."""
    seen = fit_square(film.pixels, len(job.original), fit)
    if float(np.abs(seen - job.original).mean()) > SAME:
        raise MismatchError(f"{film.source.name} is another film than the one that was inverted")


def _write_native(
    job: Job, labels: Labels, native: Native, film: Film, carried: FilmEdits, number: int, row: dict[str, Any]
) -> tuple[NDArray[np.float32] | None, str]:
    """Write one edit of the film and complete its row; returns what changed [H, W], or None and why it was refused."""
    edit = carried.edits[number]
    row["film_ctr"] = _ratio(carried.film_ctr)
    row.setdefault("reconstruction_ctr", _ratio(carried.reconstruction_ctr))
    if edit.refused:
        return None, edit.refused
    change = film.from_square(edit.change, native.fit)
    if native.burn_in:
        mark = burned_in(film.pixels)
        change = np.where(mark != 0, mark, change)
    text = provenance.edited(labels.model, job.source, labels.direction, row["strength"], labels.layers, native=True)
    how = (
        f"{labels.direction}, strength {row['strength']}, layers {labels.layers}, by {labels.model}, on the film itself"
    )
    try:
        if labels.format == "png":
            path = labels.folder / f"{job.stem}_{row['strength']}.png"
            write_shown(path, film, change, text)
        elif labels.format == "dicom" and film.kind != "DICOM":
            path = labels.folder / f"{job.stem}_{row['strength']}.dcm"
            write_dicom(path, film.pixels + change, how, number + 1)
        else:
            path = labels.folder / f"{job.stem}_{row['strength']}{suffix_of(film)}"
            names = load_pseudonyms(native.secret) if film.kind == "DICOM" else None
            write_film(path, film, change, text, Derivation(how, job.recipe, number + 1, names, native.keep_identity))
    except UneditableFilmError as error:
        return None, str(error)
    row |= {
        "file": path.relative_to(labels.folder).as_posix(),
        "carried": carried.kind,
        "ctr": _ratio(edit.ctr),
        "mean_abs_change": f"{np.abs(change).mean():.5f}",
        "max_abs_change": f"{np.abs(change).max():.5f}",
    }
    return change, ""


def _write_generated(job: Job, labels: Labels, number: int, row: dict[str, Any], suffix: str) -> None:
    """Write the generator's picture of one edit, the `number`th of the plan, and complete its row."""
    picture, label = job.picture(job.plan[number].strength), row["strength"]
    change = np.abs(picture - job.reconstruction)
    if labels.format == "dicom":
        path = labels.folder / f"{job.stem}_{label}{suffix}.dcm"
        how = f"{labels.direction}, strength {label}, layers {labels.layers}, by {labels.model}"
        write_dicom(path, picture, how, number + 1)
    else:
        path = labels.folder / f"{job.stem}_{label}{suffix}.png"
        write_png(path, picture, provenance.edited(labels.model, job.source, labels.direction, label, labels.layers))
    row |= {
        "file": path.relative_to(labels.folder).as_posix(),
        "mean_abs_change": f"{change.mean():.5f}",
        "max_abs_change": f"{change.max():.5f}",
    }


def _panel(row: dict[str, Any], picture: NDArray[np.float32], change: NDArray[np.float32], what: str) -> Panel:
    ctr = row.get("ctr")
    title = row["strength"] if not ctr else f"{row['strength']}: CTR {ctr}"
    if row.get("refused"):
        title = f"{row['strength']}: generator's picture"
    mean = float(np.abs(change).mean())
    return Panel(title, _square(picture), _square(change), f"{what}\nmean |change| {mean:.2%}")


def _square(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """A picture [H, W] on a black square, small enough for a sheet."""
    height, width = picture.shape
    step = max(max(height, width) // (2 * SHEET_SIDE), 1)
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    padded = np.pad(picture, ((top, side - height - top), (left, side - width - left)))
    whole = side // step * step
    return np.asarray(padded[:whole, :whole].reshape(whole // step, step, whole // step, step).mean(axis=(1, 3)))


def _write_sheet(job: Job, labels: Labels, panels: list[Panel], strengths: list[str], film: Film | None) -> None:
    psnr, ssim = job.common["psnr"], job.common["ssim"]
    figures = [f"PSNR {float(psnr):.1f} dB" if psnr else "", f"SSIM {float(ssim):.3f}" if ssim else ""]
    fidelity = "  ".join(figure for figure in figures if figure)
    difference = job.reconstruction - job.original
    shown = [
        Panel("Film" if film is not None else "Original", job.original if film is None else _square(film.pixels)),
        Panel("Reconstruction", job.reconstruction, difference, f"reconstruction - original\n{fidelity}"),
        *panels,
    ]
    layers = "" if labels.layers == "all" else f", layers {labels.layers}"
    footer = f"Edited by {provenance.SOFTWARE}, model {labels.model}{layers}. {provenance.DISCLAIMER}."
    text = provenance.edited(labels.model, job.source, labels.direction, ", ".join(strengths), labels.layers)
    # The scale is that of the edits: a large residual of the reconstruction saturates and does not hide them.
    changes = [panel.difference for panel in panels if panel.difference is not None and panel.difference.any()]
    limit = difference_limit(changes) if changes else None
    sheet = edit_sheet(f"{job.source}: {labels.direction}", shown, footer, limit)
    save_png(labels.folder / f"{job.stem}_sheet.png", sheet, text)


def _ratio(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4f}"
