"""What there is to invert: radiographs in any file, and the images of datasets, under one name each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from cxredit_cli.errors import InputError
from cxredit_cli.intake.door import Door
from cxredit_cli.progress import Progress
from cxredit_cli.radiographs.geometry import Fit, check_fit, fit_square
from cxredit_cli.radiographs.read_many import read_all
from cxredit_cli.radiographs.sources import Source, list_sources
from cxredit_cli.storage.dataset import Dataset, is_prepared


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """One image of a prepared dataset."""

    dataset: Dataset
    index: int
    name: str


Target = Source | DatasetRow


def list_targets(
    inputs: Sequence[str],
    stdin: TextIO | None,
    split: str | None,
    view: str | None,
    label: str | None,
    limit: int | None,
    progress: Progress | None = None,
    any_view: bool = False,
) -> list[Target]:
    """The images that `inputs` name: datasets (filtered by split, view and label), files, folders, globs, zips, "-".

    Every name occurs once, the first of equal ones counts. Raises InputError where nothing is found, and for a filter
    without a dataset.
    """
    datasets = [given for given in inputs if is_prepared(given)]
    others = [given for given in inputs if given not in datasets]
    if (split or view or label) and not datasets:
        raise InputError("--split, --view and --label choose from a dataset.h5, but no dataset is among the inputs.")
    if split not in (None, "train", "val"):
        raise InputError(f"--split must be train or val, but it is '{split}'.")
    targets: list[Target] = []
    for path in datasets:
        dataset = Dataset(path)
        rows = dataset.indices(split, view, label)
        if progress is not None and (told := dataset.edits_told):
            progress.message(told)
        if len(rows) == 0:
            known = sorted({one for labels in dataset.labels for one in labels.split("|") if one})
            raise InputError(
                f"{path} has no image with split {split or 'any'}, view {view or 'any'} and label {label or 'any'}; "
                f"its labels are {', '.join(known) or 'not known'}."
            )
        targets += [DatasetRow(dataset, int(row), dataset.names[row]) for row in rows]
    if others:
        targets += list_sources(others, stdin, progress, any_view)
    unique: dict[str, Target] = {}
    for target in targets:
        unique.setdefault(target.name, target)
    return list(unique.values())[:limit]


def choose_fit(targets: Sequence[Target], fit: str | None) -> Fit:
    """How pictures become square: `fit`, else as the datasets were made, else crop; raises InputError for a mixture."""
    asked = set() if fit is None else {check_fit(fit)}
    made = {str(row.dataset.attributes.get("fit", "crop")) for row in targets if isinstance(row, DatasetRow)}
    wanted = made | asked
    if len(wanted) > 1:
        raise InputError("Codes of one file need one --fit, but the dataset and the option differ: crop and pad.")
    return "pad" if wanted == {"pad"} else "crop"


def read_targets(
    targets: Sequence[Target], resolution: int, fit: Fit, door: Door | None = None
) -> Iterator[tuple[Target, NDArray[np.float32] | None, str]]:
    """Yield (target, pixels [R, R] in 0..1, ""), or (target, None, why) for what cannot be read, in order.

    Files pass through `door`; the images of datasets passed one when the dataset was made.
    """
    sources = [(index, target) for index, target in enumerate(targets) if isinstance(target, Source)]
    read = {}
    read_files = read_all if door is None else door.read
    for index, content, reason in read_files(sources, resolution, fit, bits=16):
        square = None if content is None else np.frombuffer(content, np.uint16).reshape(resolution, resolution)
        read[index] = (square, reason)
    for index, target in enumerate(targets):
        if isinstance(target, DatasetRow):
            stored = target.dataset.images([target.index])[0].astype(np.float32) / np.float32(target.dataset.white)
            yield target, fit_square(stored, resolution), ""
        else:
            square, reason = read[index]
            yield target, None if square is None else square.astype(np.float32) / np.float32(65535), reason
