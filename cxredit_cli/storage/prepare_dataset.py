"""Making a dataset: read, fit and store every image once, in parallel, so that a kill at any moment loses nothing.

The aside file `<output>.partial` is created whole: every string, and room for every image. After that only raw bytes
inside it change (pixels, then how they were read, then a mark that the row is done), so it opens after any kill, and
when all rows are done it is renamed. Only where images could not be read are the good rows copied to a new file.
"""

import errno
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from io import FileIO
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from cxredit_cli.atomic import refuse_folders, written_aside
from cxredit_cli.errors import InputError
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.radiographs.geometry import Fit
from cxredit_cli.radiographs.read_many import LOOKS, Reader, read_all
from cxredit_cli.radiographs.sources import Source
from cxredit_cli.storage.dataset import SCHEMA, VERSION, WITHOUT_EDITS, Dataset, EditMark, split_of
from cxredit_cli.storage.file_state import FileState
from cxredit_cli.storage.hdf5 import DAMAGE
from cxredit_cli.storage.label_styles import LabelRow
from cxredit_cli.storage.labels import AMBIGUOUS, LabelTable
from cxredit_cli.storage.write_dataset import edit_marks, raw, strings, table_columns

WAITING, DONE, FAILED = 0, 1, 2
READING_BYTES = 240  # fixed, so that writing one does not move anything in the file
UNREADABLE = "unreadable"
COPY_BYTES = 2**26


@dataclass(frozen=True)
class Options:
    """What a dataset is made with; two runs with equal options and inputs make the same file."""

    resolution: int = 128
    fit: Fit = "crop"
    bits: Literal[8, 16] = 8
    val_fraction: float = 0.1
    seed: int = 0
    view: str | None = None  # keep this view alone
    include: tuple[str, ...] = ()  # keep images with any of these labels
    exclude: tuple[str, ...] = ()  # leave out images with any of these
    door: str = "accept"  # what is done with images that do not look right, in words

    def check(self, table: LabelTable | None) -> None:
        """Raise InputError for options that are out of range or that the label table cannot serve."""
        if not 4 <= self.resolution <= 4096:
            raise InputError(f"The resolution must be between 4 and 4096, not {self.resolution}.")
        if not 0 <= self.val_fraction < 1:
            raise InputError(f"The validation fraction must be at least 0 and below 1, not {self.val_fraction:g}.")
        if self.fit not in ("crop", "pad"):
            raise InputError(f"The fit must be crop or pad, not '{self.fit}'.")
        if self.bits not in (8, 16):
            raise InputError(f"The bits must be 8 or 16, not {self.bits}.")
        if table is None:
            if self.view or self.include or self.exclude:
                raise InputError("Choosing by view or label needs a label table; give one with --labels.")
            return
        for label in (*self.include, *self.exclude):
            if label not in table.label_names:
                raise InputError(f"No image has the label '{label}'; the labels are {', '.join(table.label_names)}.")
        if self.view is not None and self.view.upper() not in table.view_names:
            views = ", ".join(table.view_names) or "not given"
            raise InputError(f"No image has the view '{self.view}'; in the label table the views are {views}.")


@dataclass(frozen=True)
class Row:
    """One image that will be in the dataset."""

    source: Source
    patient_id: str
    view: str
    labels: tuple[str, ...]
    values: tuple[str, ...]  # of the label table
    uncertain: tuple[str, ...] = ()
    edit: EditMark | None = None  # None: a film as it was taken


@dataclass
class Plan:
    """What will be read, and what is left out and why: (name, reason, detail)."""

    rows: list[Row] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    rows_without_image: int = 0


@dataclass
class Report:
    """What a preparation did."""

    path: Path
    images: int
    patients: int
    splits: dict[str, dict[str, int]]  # train and val: images, patients
    skipped: dict[str, int]  # reason: images
    skipped_names: list[tuple[str, str]]  # name, reason; empty where an earlier run had already finished
    unreadable: list[tuple[str, str]]  # also in skipped_names; without those that were left out for their looks
    rows_without_image: int
    resumed: int  # images that an earlier run had already read

    @property
    def unreadable_count(self) -> int:
        """How many images could not be read, in this run or the earlier one that finished."""
        return self.skipped.get(UNREADABLE, 0)


def plan(sources: Sequence[Source], table: LabelTable | None, options: Options) -> Plan:
    """Match sources to the label table and filter. Raises InputError if nothing is left."""
    options.check(table)
    result = Plan()
    matches = [None if table is None else table.find(source.parts) for source in sources]
    owners = {} if table is None else _owners(sources, matches, table)
    for index, (source, found) in enumerate(zip(sources, matches, strict=True)):
        if table is None:
            result.rows.append(Row(source, source.name, "", (), ()))
            continue
        reason = None
        if found is None:
            reason = "not in the label table"
        elif found == AMBIGUOUS:
            reason = "no row of the label table fits for certain"
        elif owners[found] != index and not table.of_studies:
            reason = "another image has its row"
        else:
            row = table.rows[found]
            reason = _filtered(row, options)
        if reason is not None:
            result.skipped.append((source.name, reason))
        else:
            result.rows.append(
                Row(source, row.patient_id or source.name, row.view, row.labels, row.values, row.uncertain)
            )
    result.rows_without_image = 0 if table is None else len(table.rows) - len(owners)
    if not result.rows:
        reasons = Counter(reason for _, reason in result.skipped)
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        raise InputError(f"None of the {len(sources)} images is left to prepare ({why}); check --labels and filters.")
    return result


def _owners(sources: Sequence[Source], matches: Sequence[int | None], table: LabelTable) -> dict[int, int]:
    """Give each row that was found to the source whose path is most like its own, the first of equals."""
    owners: dict[int, int] = {}
    for index, row in enumerate(matches):
        if row is None or row == AMBIGUOUS:
            continue
        rival = owners.setdefault(row, index)
        if table.likeness(sources[index].parts, row) > table.likeness(sources[rival].parts, row):
            owners[row] = index
    return owners


def _filtered(row: LabelRow, options: Options) -> str | None:
    if options.view is not None and row.view != options.view.upper():
        return f"view is {row.view or 'unknown'}"
    if options.include and not set(options.include) & set(row.labels):
        maybe = set(options.include) & set(row.uncertain)
        return "has an included label that is uncertain" if maybe else "has none of the included labels"
    if set(options.exclude) & set(row.labels):
        return "has an excluded label"
    if set(options.exclude) & set(row.uncertain):
        return "has an excluded label that is uncertain"
    return None


def prepare(
    sources: Sequence[Source],
    output: Path,
    options: Options,
    table: LabelTable | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
    read: Reader | None = None,
) -> Report:
    """Make the dataset `output` of `sources`, or carry on where an equal preparation was killed.

    Images that cannot be read are left out and reported, as are those that `read` leaves out for what they show (and
    `options.door` stands for). `workers` processes read (None: one a CPU). Raises InputError.
    """
    columns = None if table is None else table.columns
    return make(plan(sources, table, options), output, options, columns, progress, workers, read)


def make(
    planned: Plan,
    output: Path,
    options: Options,
    columns: Sequence[str] | None,
    progress: Progress | None = None,
    workers: int | None = None,
    read: Reader | None = None,
) -> Report:
    """Make the dataset `output` of planned rows, whose values are those of the label table's `columns`, or carry on.

    Raises InputError.
    """
    refuse_folders(output)
    progress = progress or SilentProgress()
    key = _key(planned, options, columns)
    partial = output.with_name(f"{output.name}.partial")
    if _opens_with(output, key):
        partial.unlink(missing_ok=True)
        return _report(output, planned, [], resumed=len(planned.rows))
    if not _opens_with(partial, key):
        output.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(partial) as aside:
            _create(aside, planned.rows, options, key, _reasons(planned.skipped), columns or ())
    resumed, failures = _fill(partial, planned.rows, options, progress, workers, read or read_all)
    if len(failures) == len(planned.rows):
        partial.unlink()
        name, reason = failures[0]
        fate = "is fit to be taken" if reason.startswith(LOOKS) else "could be read"
        raise InputError(f"None of the {len(failures)} images {fate}; the first is {name}: {reason}")
    if failures:
        with written_aside(output) as aside:
            _copy_done(partial, aside, failures)
        partial.unlink()
    else:
        os.replace(partial, output)
    return _report(output, planned, failures, resumed)


def _key(planned: Plan, options: Options, columns: Sequence[str] | None) -> str:
    """Return what tells one preparation from another: options, the table's rows, and each file's size and time."""
    digest = hashlib.sha256(json.dumps([WITHOUT_EDITS, asdict(options), columns]).encode())
    stats: dict[Path, tuple[int, int]] = {}
    for row in planned.rows:
        path = row.source.path
        if path not in stats:
            stats[path] = FileState.of(path).written
        digest.update(repr((row.source.name, row.source.member, row.values, row.uncertain, stats[path])).encode())
        if row.edit is not None:
            digest.update(repr((row.edit, row.labels, row.patient_id, row.source.righting)).encode())
    digest.update(repr(_reasons(planned.skipped)).encode())
    return digest.hexdigest()


def _opens_with(path: Path, key: str) -> bool:
    try:
        with h5py.File(path, "r") as file:
            return bool(file.attrs.get("preparation") == key) and isinstance(json.loads(file.attrs["skipped"]), dict)
    except DAMAGE:
        return False


def _create(
    path: Path, rows: Sequence[Row], options: Options, key: str, skipped: dict[str, int], headers: Sequence[str]
) -> None:
    version = VERSION if any(row.edit for row in rows) else WITHOUT_EDITS
    with h5py.File(path, "w") as file:
        file.attrs.update(schema=SCHEMA, version=version, preparation=key, skipped=json.dumps(skipped))
        file.attrs.update(
            {
                name: value
                for name, value in asdict(options).items()
                if name not in ("include", "exclude") and value is not None
            }
        )
        file.attrs["include"], file.attrs["exclude"] = "|".join(options.include), "|".join(options.exclude)
        side = options.resolution
        raw(file, "images", (len(rows), side, side), np.dtype(f"u{options.bits // 8}"))
        raw(file, "reading", (len(rows),), h5py.string_dtype("utf-8", READING_BYTES))
        raw(file, "done", (len(rows),), np.dtype("u1"))
        file["done"][:] = WAITING
        strings(file, "name", [row.source.name for row in rows])
        strings(file, "patient_id", [row.patient_id for row in rows])
        strings(file, "view", [row.view for row in rows])
        strings(file, "labels", ["|".join(row.labels) for row in rows])
        strings(file, "uncertain", ["|".join(row.uncertain) for row in rows])
        strings(file, "split", [split_of(row.patient_id, options.val_fraction, options.seed) for row in rows])
        table_columns(file, headers, [row.values for row in rows])
        edit_marks(file, [row.edit for row in rows])


def _fill(
    partial: Path, rows: Sequence[Row], options: Options, progress: Progress, workers: int | None, read: Reader
) -> tuple[int, list[tuple[str, str]]]:
    """Read what is not yet done; return how many were done before, and the names and reasons of all that failed."""
    with h5py.File(partial, "r") as file:
        offsets = {name: int(file[name].id.get_offset()) for name in ("images", "reading", "done")}
        state = file["done"][:]
    todo = [int(index) for index in np.flatnonzero(state == WAITING)]
    resumed = done = len(rows) - len(todo)
    image_bytes = options.resolution**2 * options.bits // 8
    progress.start("Preparing", len(rows), done)
    try:
        with partial.open("r+b", buffering=0) as file:
            pairs = [(index, rows[index].source) for index in todo]
            for index, pixels, text in read(pairs, options.resolution, options.fit, options.bits, workers):
                if pixels is not None:
                    _write_at(file, offsets["images"] + index * image_bytes, pixels)
                # Cut between characters, not inside one.
                encoded = text.encode(errors="replace")[:READING_BYTES].decode(errors="ignore").encode()
                _write_at(file, offsets["reading"] + index * READING_BYTES, encoded.ljust(READING_BYTES, b"\0"))
                _write_at(file, offsets["done"] + index, bytes([FAILED if pixels is None else DONE]))
                done += 1
                progress.advance(done)
    finally:
        progress.finish()
    with h5py.File(partial, "r") as file:
        failed = np.flatnonzero(file["done"][:] == FAILED)
        reasons = file["reading"].asstr()[:][failed]
    return resumed, [(rows[int(index)].source.name, str(reason)) for index, reason in zip(failed, reasons, strict=True)]


def _write_at(file: FileIO, at: int, content: bytes) -> None:
    # Plain writes, not a memory map: a full disk is an error here and would be a signal there.
    file.seek(at)
    if file.write(content) != len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file.name))


def _copy_done(partial: Path, path: Path, failures: Sequence[tuple[str, str]]) -> None:
    """Write the rows of `partial` that were read to a new dataset."""
    with h5py.File(partial, "r") as old, h5py.File(path, "w") as new:
        keep = np.flatnonzero(old["done"][:] == DONE)
        new.attrs.update(old.attrs)
        skipped = Counter(json.loads(old.attrs["skipped"]))
        skipped.update(kind_of(reason) if reason.startswith(LOOKS) else UNREADABLE for _, reason in failures)
        new.attrs["skipped"] = json.dumps(skipped)
        images = old["images"]
        raw(new, "images", (len(keep), *images.shape[1:]), images.dtype)
        step = max(COPY_BYTES // (images.shape[1] ** 2 * images.dtype.itemsize), 1)
        for start in range(0, len(keep), step):
            new["images"][start : start + step] = images[keep[start : start + step]]
        for name in ("name", "patient_id", "view", "labels", "uncertain", "split", "reading"):
            new.create_dataset(name, data=old[name][:][keep], dtype=old[name].dtype)
        for part in ("columns", "edits"):
            if part in old:
                group = new.create_group(part, track_order=True)
                for name, column in old[part].items():
                    copied = group.create_dataset(name, data=column[:][keep], dtype=column.dtype)
                    copied.attrs.update(column.attrs)


def _told(reason: str) -> str:
    return reason if reason.startswith(LOOKS) else f"{UNREADABLE}: {reason}"


def kind_of(reason: str) -> str:
    """What a reason has in common with others: its first part, without numbers and what stands in brackets."""
    first = re.split(r"[;:]", reason.removeprefix(f"{UNREADABLE}: "))[0]
    return " ".join(re.sub(r"\([^)]*\)|'[^']*'|\b\d[\d.,]*%?", "", first).split()).rstrip(". ")


def _reasons(skipped: Sequence[tuple[str, str]]) -> dict[str, int]:
    return dict(Counter(reason for _, reason in skipped).most_common())


def _report(output: Path, planned: Plan, failures: list[tuple[str, str]], resumed: int) -> Report:
    dataset = Dataset(output)
    patients, split = np.array(dataset.patient_ids), np.array(dataset.splits)
    skipped = json.loads(dataset.attributes["skipped"])
    splits = {
        name: {"images": int((split == name).sum()), "patients": len(set(patients[split == name]))}
        for name in ("train", "val")
    }
    return Report(
        path=output,
        images=len(patients),
        patients=len(set(patients)),
        splits=splits,
        skipped=skipped,
        skipped_names=[*planned.skipped, *((name, _told(reason)) for name, reason in failures)],
        unreadable=[(name, reason) for name, reason in failures if not reason.startswith(LOOKS)],
        rows_without_image=planned.rows_without_image,
        resumed=resumed,
    )
