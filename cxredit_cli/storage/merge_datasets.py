"""Datasets put together, such as films and their edits, without a patient on two sides of the split."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from cxredit_cli.errors import InputError, MismatchError
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.storage.dataset import SCHEMA, VERSION, WITHOUT_EDITS, Dataset, EditMark
from cxredit_cli.storage.hdf5 import replace_hdf5
from cxredit_cli.storage.prepare_dataset import READING_BYTES
from cxredit_cli.storage.write_dataset import edit_marks, raw, strings, table_columns

ALIKE = ("resolution", "bits", "fit", "val_fraction", "seed")  # the last two decide a patient's side
FILTERS = ("view", "include", "exclude", "door")  # told where all have the same
STEP = 1024  # images at a time


@dataclass(frozen=True, slots=True)
class Merged:
    """What was put together."""

    path: Path
    images: int
    patients: int
    edited: int
    parts: list[tuple[Path, int]]  # each dataset and its images


def merge_datasets(paths: Sequence[Path], output: Path, progress: Progress | None = None) -> Merged:
    """Write the rows of several datasets, in their order, to a new one; every row keeps its split and its mark.

    Raises MismatchError where they differ in size, bits, fit or split, and InputError where a name stands in two of
    them or an edit has another patient than its film.
    """
    if len(paths) < 2:
        raise InputError("Name two datasets at least; there is nothing to put together.")
    if output.resolve() in [path.resolve() for path in paths]:
        raise InputError(f"{output} is one of the datasets that are put together; name another --output.")
    parts = [Dataset(path) for path in paths]
    for part in parts[1:]:
        for name in ALIKE:
            ours, theirs = (each.attributes.get(name) for each in (parts[0], part))
            if ours != theirs:
                raise MismatchError(
                    f"{part.path} has {name} {theirs} and {paths[0]} has {ours}; prepare them with the same options."
                )
    names, patients, marks = _checked(parts)
    progress = progress or SilentProgress()
    progress.start("Merging", len(names))
    with replace_hdf5(output) as file:
        file.attrs.update(_attributes(parts, edited=any(marks)))
        side, done = parts[0].resolution, 0
        raw(file, "images", (len(names), side, side), parts[0].dtype)
        for part in parts:
            for start in range(0, len(part), STEP):
                images = part.images(slice(start, start + STEP))
                file["images"][done : done + len(images)] = images
                done += len(images)
                progress.advance(done)
        strings(file, "name", names)
        strings(file, "patient_id", patients)
        for name, values in (
            ("view", [part.views for part in parts]),
            ("labels", [part.labels for part in parts]),
            ("uncertain", [part.uncertain for part in parts]),
            ("split", [part.splits for part in parts]),
        ):
            strings(file, name, [value for some in values for value in some])
        readings = [reading.encode() for part in parts for reading in part.readings]
        file.create_dataset("reading", data=readings, dtype=h5py.string_dtype("utf-8", READING_BYTES))
        headers = list(dict.fromkeys(header for part in parts for header in part.columns))
        table_columns(file, headers, [row for part in parts for row in _cells(part, headers)])
        edit_marks(file, marks)
    progress.finish()
    edited = sum(mark is not None for mark in marks)
    return Merged(output, len(names), len(set(patients)), edited, [(part.path, len(part)) for part in parts])


def _checked(parts: Sequence[Dataset]) -> tuple[list[str], list[str], list[EditMark | None]]:
    """Names, patients and marks of all rows. Raises InputError for what would mislead a reader."""
    names = [name for part in parts for name in part.names]
    patients = [patient for part in parts for patient in part.patient_ids]
    marks = [mark for part in parts for mark in part.edits]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{len(twice)} names stand in more than one of the datasets, the first is {twice[0]}.")
    owner = dict(zip(names, patients, strict=True))
    strangers = [
        name
        for name, patient, mark in zip(names, patients, marks, strict=True)
        if mark is not None and owner.get(mark.source, patient) != patient
    ]
    if strangers:
        raise InputError(
            f"{len(strangers)} edits have another patient than their films, the first is {strangers[0]}; make them "
            "again with the films' dataset as --labels."
        )
    sides = set(zip(patients, (split for part in parts for split in part.splits), strict=True))
    if len(sides) > len(set(patients)):
        divided = len(sides) - len(set(patients))
        raise InputError(f"{divided} patients would be in train and in val; prepare the datasets with the same split.")
    return names, patients, marks


def _attributes(parts: Sequence[Dataset], edited: bool) -> dict[str, Any]:
    skipped = Counter[str]()
    for part in parts:
        skipped.update(json.loads(part.attributes.get("skipped", "{}")))
    together = [str(part.attributes.get("preparation", part.path)) for part in parts]
    shared = {
        name: parts[0].attributes[name]
        for name in FILTERS
        if name in parts[0].attributes and len({str(part.attributes.get(name)) for part in parts}) == 1
    }
    return {
        "schema": SCHEMA,
        "version": VERSION if edited else WITHOUT_EDITS,
        "preparation": hashlib.sha256(json.dumps(together).encode()).hexdigest(),
        "skipped": json.dumps(skipped),
        **{name: parts[0].attributes[name] for name in ALIKE},
        **{"include": "", "exclude": ""},
        **shared,
    }


def _cells(part: Dataset, headers: Sequence[str]) -> list[tuple[str, ...]]:
    """The rows of a part's label table under the headers of all."""
    empty = [""] * len(part)
    return list(zip(*(part.columns.get(header, empty) for header in headers), strict=True)) or [()] * len(part)
