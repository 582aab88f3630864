"""Measuring many images: files, datasets and codes in, a table that grows and pictures with outlines out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import TextIO

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from cxredit_cli.anatomy.measures import Anatomy, measure_segmentation
from cxredit_cli.anatomy.outlines import MASK_SIDE, clean, segment
from cxredit_cli.editing.edited_folder import A_FOLDER, digest
from cxredit_cli.errors import InputError
from cxredit_cli.evaluation.measured_table import MeasuredImage, MeasuredTable
from cxredit_cli.figures.outlines import OUTLINED, SIDE, outlined, outlined_text
from cxredit_cli.figures.sheets import save_png
from cxredit_cli.intake.door import Door, Suspect
from cxredit_cli.latent.code_batch import take_codes
from cxredit_cli.latent.synthesize import synthesize
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.processes import ALONE, Processes
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.radiographs.geometry import Fit, fit_square
from cxredit_cli.radiographs.read import read_radiograph
from cxredit_cli.radiographs.read_many import read_all
from cxredit_cli.radiographs.sources import Source, list_sources
from cxredit_cli.storage.codes import Codes, read_codes
from cxredit_cli.storage.dataset import Dataset, is_prepared
from cxredit_cli.storage.file_state import FileState
from cxredit_cli.storage.models import Model, fingerprint

OVERVIEWS = ("_sheet.png", "_grid.png", OUTLINED)  # pictures that the tool itself lays beside radiographs


@dataclass(frozen=True, slots=True)
class Files:
    """Files to measure, and the input that named each."""

    sources: list[tuple[str, Source]]

    def __len__(self) -> int:
        return len(self.sources)

    def names(self) -> list[str]:
        """What each image is called."""
        return [source.name for _, source in self.sources]

    def identities(self) -> list[object]:
        """What tells each image, as it is now, from every other."""
        return [
            [given, source.name, str(source.path), source.member, source.any_view, FileState.of(source.path).written]
            for given, source in self.sources
        ]

    def take(self, places: Sequence[int]) -> "Files":
        """Some of them."""
        return Files([self.sources[place] for place in places])


@dataclass(frozen=True, slots=True)
class DatasetRows:
    """Images of a prepared dataset."""

    given: str
    dataset: Dataset
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def names(self) -> list[str]:
        """What each image is called."""
        return [self.dataset.names[row] for row in self.rows]

    def identities(self) -> list[object]:
        """What tells each image, as it is now, from every other."""
        state = FileState.of(Path(self.given)).written
        return [[self.given, int(row), state] for row in self.rows]

    def take(self, places: Sequence[int]) -> "DatasetRows":
        """Some of them."""
        return replace(self, rows=self.rows[list(places)])


@dataclass(frozen=True, slots=True)
class CodeRows:
    """Codes, which are synthesised first."""

    given: str
    codes: Codes
    model: Model
    rows: Sequence[int]

    def __len__(self) -> int:
        return len(self.rows)

    def names(self) -> list[str]:
        """What each image is called."""
        return [self.codes.source[row] for row in self.rows]

    def identities(self) -> list[object]:
        """What tells each image, as it is now, from every other."""
        state = FileState.of(Path(self.given)).written
        return [[self.given, row, self.model.fingerprint, state] for row in self.rows]

    def take(self, places: Sequence[int]) -> "CodeRows":
        """Some of them."""
        return replace(self, rows=[self.rows[place] for place in places])


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

    images: list[MeasuredImage] = field(default_factory=list)  # in order, those of a run that was stopped among them
    already_done: int = 0  # of the images
    overlays: list[Path] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)  # name, reason
    suspects: list[Suspect] = field(default_factory=list)  # of this run


def list_groups(
    inputs: Sequence[str],
    load_generator: Callable[[], Model],
    stdin: TextIO | None = None,
    split: str | None = None,
    label: str | None = None,
    progress: Progress | None = None,
    any_view: bool = False,
    processes: Processes = ALONE,
) -> tuple[list[Group], int]:
    """What `inputs` name, in their order, and how many overviews (contact sheets) were left out of folders.

    `load_generator` is called once, where codes are among them. The first of several `processes` looks for files.
    Raises InputError where an input names nothing, MismatchError for codes of another generator.
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
                found, kept = processes.from_first(partial(_find_files, given, stdin, progress, any_view))
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
                groups.append(CodeRows(given, codes, model, range(len(codes))))
    return groups, skipped


def _find_files(
    given: str, stdin: TextIO | None, progress: Progress | None, any_view: bool
) -> tuple[list[Source], list[Source]]:
    """The files that an input names, and those of them that are radiographs."""
    found = list_sources([given], stdin, progress, any_view)
    return found, [source for source in found if not _is_overview(source)] if Path(given).is_dir() else found


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
                part = group.rows[start : start + batch]
                codes = take_codes(group.codes, part)
                (images,) = synthesize(group.model.generator, codes.w, codes.noise, batch, codes.tuning)
                for name, image in zip((group.codes.source[row] for row in part), images, strict=True):
                    yield Picture(group.given, name, (image[0].numpy() + 1) / 2)


def measure_groups(
    network: AnatomyNetwork,
    groups: Sequence[Group],
    output: Path,
    fit: Fit = "crop",
    overlay: Path | None = None,
    batch: int = 32,
    progress: Progress | None = None,
    door: Door | None = None,
    processes: Processes = ALONE,
) -> MeasureReport:
    """Measure every image into the table `output`; unreadable ones are reported, the others done.

    `overlay` is a folder for the outlines. Files pass through `door`; what is wrong with those that are taken all the
    same stands in the table. What a run that was stopped has measured is not measured again. Of several `processes`
    each measures its share, and the first writes the table and has the report.
    """
    progress, report = progress or SilentProgress(), MeasureReport()
    everything = [(group, place) for group in range(len(groups)) for place in range(len(groups[group]))]
    stems = _unique([Source(Path(name)).stem for group in groups for name in group.names()] if overlay else [])
    outlines = [overlay / f"{stem}{OUTLINED}" for stem in stems] if overlay else []
    table = MeasuredTable(output) if processes.first else None

    def look_for_work() -> tuple[list[str], list[int]]:
        assert table is not None
        how = [fingerprint(network.state_dict()), fit, None if door is None else [door.on_suspect, door.right]]
        identities = [digest([how, image]) for group in groups for image in group.identities()]
        drawn = [not outlines or outlines[index].exists() for index in range(len(everything))]
        return identities, [index for index, one in enumerate(identities) if one not in table.done or not drawn[index]]

    identities, waiting = processes.from_first(look_for_work)
    report.already_done = len(everything) - len(waiting)
    rounds = processes.rounds(len(waiting), batch)
    own = groupby((everything[waiting[index]] for part in rounds for index in part), key=lambda pair: pair[0])
    chosen = [groups[group].take([place for _, place in members]) for group, members in own]
    pictures = read_pictures(chosen, network.config.resolution, fit, batch, door)
    progress.start("Measuring", len(everything), report.already_done)
    for part in rounds:
        places = [waiting[index] for index in part]
        some = list(islice(pictures, len(part)))
        files = [outlines[place] for place in places] if overlay else None
        measured = dict(zip(places, _measure(network, some, files, fit, batch), strict=True))
        failed = [(picture.name, picture.reason) for picture in some if picture.pixels is None]
        for images, reasons, suspects in processes.gather((measured, failed, door.new_suspects() if door else [])):
            assert table is not None
            for place, image in images.items():
                if image is not None:
                    table.add(identities[place], image)
            report.failed += reasons
            report.suspects += suspects
        progress.advance(report.already_done + min(part.start + batch * processes.count, len(waiting)))
    progress.finish()
    if table is not None:
        report.images = table.finish(identities)
        report.overlays = [path for path, one in zip(outlines, identities, strict=False) if one in table.done]
    return report


def _measure(
    network: AnatomyNetwork, pictures: Sequence[Picture], outlines: Sequence[Path] | None, fit: Fit, batch: int
) -> list[MeasuredImage | None]:
    """Measure some pictures at once, None for what could not be read; `outlines` are the files, if they are wanted."""
    measured: list[MeasuredImage | None] = [None] * len(pictures)
    readable = [(place, picture) for place, picture in enumerate(pictures) if picture.pixels is not None]
    for _, same in groupby(readable, key=lambda pair: np.asarray(pair[1].pixels).shape):
        places, some = zip(*same, strict=True)
        images = torch.from_numpy(np.stack([picture.pixels for picture in some]))
        found = segment(network, images[:, None], MASK_SIDE, batch)
        anatomy = measure_segmentation(found)
        for index, (place, picture) in enumerate(zip(places, some, strict=True)):
            measured[place] = MeasuredImage.of(anatomy, index, picture.given, picture.name, picture.suspect)
        if outlines is not None:
            _outline([outlines[place] for place in places], some, clean(found.masks), anatomy, fit)
    return measured


def _unique(stems: Sequence[str]) -> list[str]:
    """File names that no two share, whatever the case of their letters; of many each A_FOLDER has a folder."""
    taken, numbers, unique = set[str](), dict[str, int](), list[str]()  # numbers that were last given to equal stems
    for place, stem in enumerate(stems):
        number = numbers.get(stem.casefold(), 1)
        name = stem if number == 1 else f"{stem}_{number}"
        while name.casefold() in taken:
            number += 1
            name = f"{stem}_{number}"
        numbers[stem.casefold()] = number
        taken.add(name.casefold())
        unique.append(f"{place // A_FOLDER:03d}/{name}" if len(stems) > A_FOLDER else name)
    return unique


def _outline(
    files: Sequence[Path], pictures: Sequence[Picture], masks: NDArray[np.uint8], anatomy: Anatomy, fit: Fit
) -> None:
    for index, (path, picture) in enumerate(zip(files, pictures, strict=True)):
        problem, ctr = anatomy.problem[index], anatomy.ctr[index]
        caption = f"implausible: {problem}" if problem else f"CTR {ctr:.3f}"
        save_png(path, outlined(picture.shown(fit), masks[index], caption), outlined_text(picture.name, caption))
