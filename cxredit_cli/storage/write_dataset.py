"""The parts of a dataset's file that whoever writes one shares: room for the images, and a text an image."""

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import h5py
import numpy as np

from cxredit_cli.storage.dataset import EditMark


def raw(file: h5py.File, name: str, shape: tuple[int, ...], dtype: Any) -> None:
    """Create an array that is one block of bytes at a fixed place in the file."""
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_layout(h5py.h5d.CONTIGUOUS)
    settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    settings.set_obj_track_times(False)  # the same images make the same file
    space = h5py.h5s.create_simple(shape)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(dtype, logical=True), space, settings)


def strings(group: h5py.Group, name: str, values: Sequence[str]) -> Any:
    """A text an image."""
    # A file name that is no UTF-8 arrives with lone surrogates, which HDF5 refuses.
    encoded = [value.encode(errors="replace").replace(b"\0", b"") for value in values]
    return group.create_dataset(name, data=np.array(encoded, dtype=object), dtype=h5py.string_dtype())


def table_columns(file: h5py.File, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """The columns of a label table, a cell of each row for each header."""
    columns = file.create_group("columns", track_order=True)
    for index, header in enumerate(headers):
        # A header may hold "/" or stand twice, which a name in HDF5 may not.
        column = strings(columns, f"{index:02d} {header.replace('/', '_')}", [row[index] for row in rows])
        column.attrs["header"] = header


def edit_marks(file: h5py.File, marks: Sequence[EditMark | None]) -> None:
    """What was done to each image, where anything was done to any."""
    if any(marks):
        group = file.create_group("edits")
        cells = [("",) * len(EditMark.__annotations__) if mark is None else astuple(mark) for mark in marks]
        for name, values in zip(EditMark.__annotations__, zip(*cells, strict=True), strict=True):
            strings(group, name, values)
