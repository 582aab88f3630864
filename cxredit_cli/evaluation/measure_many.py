"""Measuring many images: files, datasets and codes in, one table and pictures with outlines out."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TextIO

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from cxredit_cli.anatomy.measures import FIGURES, Anatomy, measure_segmentation
from cxredit_cli.anatomy.outlines import MASK_SIDE, clean, segment
from cxredit_cli.atomic import write_text
from cxredit_cli.editing.edited_folder import A_FOLDER
from cxredit_cli.errors import InputError
from cxredit_cli.figures.outlines import OUTLINED, SIDE, outlined, outlined_text
from cxredit_cli.figures.sheets import save_png
from cxredit_cli.intake.door import Door, Suspect
from cxredit_cli.latent.code_batch import take_codes
from cxredit_cli.latent.synthesize import synthesize
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.radiographs.geometry import Fit, fit_square
from cxredit_cli.radiographs.read import read_radiograph
from cxredit_cli.radiographs.read_many import read_all
from cxredit_cli.radiographs.sources import Source, list_sources
from cxredit_cli.storage.codes import Codes, read_codes
from cxredit_cli.storage.dataset import Dataset, is_prepared
from cxredit_cli.storage.models import Model

OVERVIEWS = ("_sheet.png", "_grid.png", OUTLINED)  # pictures that the tool itself lays beside radiographs


@dataclass(frozen=True, slots=True)
class Files:
    """Files to measure, and the input that named each."""

    sources: list[tuple[str, Source]]

    def __len__(self) -> int:
        return len(self.sources)


@dataclass(frozen=True, slots=True)
class DatasetRows:
    """Images of a prepared dataset."""

    given: str
    dataset: Dataset
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class CodeRows:
    """Codes, which are synthesised first."""

    given: str
    codes: Codes
    model: Model

    def __len__(self) -> int:
        return len(self.codes)


Group = Files | DatasetRows | CodeRows


@dataclass(frozen=True, slots=True)
class Picture:
    """One image on its way to the network, or why it could not be read."""

    given: str  # the input that named it
    name: str
    pixels: NDArray[np.float32] | None  # [R, R], black to white in 0..1
    reason: str = ""
    source: Source | None = None  # of a file, whose own resolution may be finer
    suspect: str = ""  # what is wrong with it, where it was taken all the same

    def shown(self, fit: Fit) -> NDArray[np.float32]:
        """What is drawn: a file as fine as the drawing, else `pixels`."""
        assert self.pixels is not None
        return self.pixels if self.source is None else fit_square(read_radiograph(self.source).pixels, SIDE, fit)


@dataclass(slots=True)
class MeasureReport:
    """What a run did."""

    rows: list[tuple[str, str]] = field(default_factory=list)  # input, name
    anatomy: Anatomy | None = None  # of these rows
    suspect: list[str] = field(default_factory=list)  # of these rows: what is wrong with the image, or ""
    overlays: list[Path] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)  # name, reason
    suspects: list[Suspect] = field(default_factory=list)


def list_groups(
    inputs: Sequence[str],
    load_generator: Callable[[], Model],
    stdin: TextIO | None = None,
    split: str | None = None,
    label: str | None = None,
    progress: Progress | None = None,
    any_view: bool = False,
) -> tuple[list[Group], int]:
    """What `inputs` name, in their order, and how many overviews (contact sheets) were left out of folders.

    `load_generator` is called once, where codes are among them. Raises InputError where an input names nothing,
    MismatchError for codes of another generator.
    """
    kinds = [(_kind(given), given) for given in inputs]
    if (split or label) and "dataset" not in (kind for kind, _ in kinds):
        raise InputError("--split and --label choose from a dataset.h5, but no dataset is among the inputs.")
    if split not in (None, "train", "val"):
        raise InputError(f"--split must be train or val, but it is '{split}'.")
    groups: list[Group] = []
    model: Model | None = None
    skipped = 0
    for kind, members in groupby(kinds, key=lambda pair: pair[0]):
        if kind == "files":
            sources: list[tuple[str, Source]] = []
            for _, given in members:
                found = list_sources([given], stdin, progress, any_view)
                kept = [source for source in found if not _is_overview(source)] if Path(given).is_dir() else found
                if not kept:
                    raise InputError(f"{given} holds no radiograph, only pictures that cxredit made of several.")
                skipped += len(found) - len(kept)
                sources += [(given, source) for source in kept]
            groups.append(Files(sources))
            continue
        for _, given in members:
            if kind == "dataset":
                dataset = Dataset(given)
                rows = dataset.indices(split, label=label)
                if len(rows) == 0:
                    raise InputError(f"{given} has no image with split {split or 'any'} and label {label or 'any'}.")
                groups.append(DatasetRows(given, dataset, rows))
            else:
                codes = read_codes(Path(given))
                model = model or load_generator()
                codes.check_generator(model.fingerprint)
                groups.append(CodeRows(given, codes, model))
    return groups, skipped


def _kind(given: str) -> str:
    if not is_prepared(given):
        return "files"
    try:
        with h5py.File(given, "r") as file:
            return "dataset" if file.attrs.get("schema") == "cxredit-dataset" else "codes"
    except OSError:
        return "codes"  # reading them says what is wrong with the file


def _is_overview(source: Source) -> bool:
    """Whether a file is a picture of pictures, by its name and by what it says of itself."""
    if source.member is not None or not source.name.endswith(OVERVIEWS):
        return False
    try:
        with Image.open(source.path) as image:
            return str(image.info.get("Software", "")).startswith("cxredit")
    except OSError:
        return False


def read_pictures(
    groups: Sequence[Group], resolution: int, fit: Fit = "crop", batch: int = 32, door: Door | None = None
) -> Iterator[Picture]:
    """Every image of the groups, in order, a few batches in memory; codes are synthesised.

    Files come at `resolution`, as `prepare` would store them, so that a dataset measures as its files do. They pass
    through `door`.
    """
    read = read_all if door is None else door.read
    for group in groups:
        if isinstance(group, Files):
            pairs = [(index, source) for index, (_, source) in enumerate(group.sources)]
            for index, content, reason in read(pairs, resolution, fit, bits=16):
                given, source = group.sources[index]
                if content is None:
                    yield Picture(given, source.name, None, reason)
                else:
                    levels = np.frombuffer(content, np.uint16).reshape(resolution, resolution)
                    pixels = levels.astype(np.float32) / np.float32(65535)
                    suspect = "" if door is None else door.suspicion(source)
                    taken = source if door is None else door.source(source)
                    yield Picture(given, source.name, pixels, source=taken, suspect=suspect)
        elif isinstance(group, DatasetRows):
            for start in range(0, len(group), batch):
                rows = group.rows[start : start + batch]
                stored = group.dataset.images(rows).astype(np.float32) / np.float32(group.dataset.white)
                for row, pixels in zip(rows, stored, strict=True):
                    yield Picture(group.given, group.dataset.names[row], pixels)
        else:
            for start in range(0, len(group), batch):
                part = slice(start, start + batch)
                codes = take_codes(group.codes, part)
                (images,) = synthesize(group.model.generator, codes.w, codes.noise, batch, codes.tuning)
                for name, image in zip(group.codes.source[part], images, strict=True):
                    yield Picture(group.given, name, (image[0].numpy() + 1) / 2)


def measure_groups(
    network: AnatomyNetwork,
    groups: Sequence[Group],
    fit: Fit = "crop",
    overlay: Path | None = None,
    batch: int = 32,
    progress: Progress | None = None,
    door: Door | None = None,
) -> MeasureReport:
    """Measure every image; unreadable ones are reported, the others done. `overlay` is a folder for the outlines.

    Files pass through `door`; what is wrong with those that are taken all the same stands in the table.
    """
    progress, report = progress or SilentProgress(), MeasureReport()
    parts: list[Anatomy] = []
    done, images_given = 0, sum(map(len, groups))
    names = _Names(images_given > A_FOLDER)
    progress.start("Measuring", images_given)
    for pictures in _batches(read_pictures(groups, network.config.resolution, fit, batch, door), batch):
        report.failed += [(picture.name, picture.reason) for picture in pictures if picture.pixels is None]
        for same in _by_resolution(pictures):
            images = torch.from_numpy(np.stack([picture.pixels for picture in same if picture.pixels is not None]))
            found = segment(network, images[:, None], MASK_SIDE, batch)
            parts.append(measure_segmentation(found))
            report.rows += [(picture.given, picture.name) for picture in same]
            report.suspect += [picture.suspect for picture in same]
            if overlay is not None:
                report.overlays += _outline(overlay, same, clean(found.masks), parts[-1], names, fit)
        done += len(pictures)
        progress.advance(done)
    progress.finish()
    report.suspects = [] if door is None else door.suspects
    report.anatomy = Anatomy.join(parts) if parts else None
    return report


def table(report: MeasureReport) -> list[dict[str, str]]:
    """One row an image, as it stands in the CSV: lengths and areas as fractions, empty where unknown."""
    anatomy = report.anatomy
    if anatomy is None:
        return []
    return [
        {
            "input": given,
            "name": name,
            **{figure: _number(getattr(anatomy, figure)[index]) for figure in FIGURES},
            "plausible": "no" if anatomy.problem[index] else "yes",
            "problem": anatomy.problem[index],
            "suspect": report.suspect[index],
        }
        for index, (given, name) in enumerate(report.rows)
    ]


def write_table(path: Path, report: MeasureReport) -> None:
    """Write the table as CSV, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["input", "name", *FIGURES, "plausible", "problem", "suspect"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(table(report))
    write_text(path, text.getvalue())


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.5f}"


def _batches(pictures: Iterator[Picture], size: int) -> Iterator[list[Picture]]:
    waiting: list[Picture] = []
    for picture in pictures:
        waiting.append(picture)
        if len(waiting) == size:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _by_resolution(pictures: Sequence[Picture]) -> Iterator[list[Picture]]:
    """Runs of readable pictures of one resolution, so that the order stays."""
    readable = [(picture.pixels.shape, picture) for picture in pictures if picture.pixels is not None]
    for _, run in groupby(readable, key=lambda pair: pair[0]):
        yield [picture for _, picture in run]


class _Names:
    """File names that no two pictures share; of many pictures each A_FOLDER lie in a folder of their own."""

    def __init__(self, divided: bool) -> None:
        self._divided = divided
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}  # that were last given to equal stems

    def unique(self, stem: str) -> str:
        place = f"{len(self._taken) // A_FOLDER:03d}/" if self._divided else ""
        number = self._numbers.get(stem.casefold(), 1)
        name = stem if number == 1 else f"{stem}_{number}"
        while name.casefold() in self._taken:
            number += 1
            name = f"{stem}_{number}"
        self._numbers[stem.casefold()] = number
        self._taken.add(name.casefold())
        return place + name


def _outline(
    folder: Path, pictures: Sequence[Picture], masks: NDArray[np.uint8], anatomy: Anatomy, names: _Names, fit: Fit
) -> list[Path]:
    written = []
    for index, picture in enumerate(pictures):
        problem, ctr = anatomy.problem[index], anatomy.ctr[index]
        caption = f"implausible: {problem}" if problem else f"CTR {ctr:.3f}"
        path = folder / f"{names.unique(Source(Path(picture.name)).stem)}{OUTLINED}"
        save_png(path, outlined(picture.shown(fit), masks[index], caption), outlined_text(picture.name, caption))
        written.append(path)
    return written
