"""Opening HDF5 files of a known schema, so that every wrong or damaged file is one sentence."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from cxredit_cli.atomic import refuse_folders
from cxredit_cli.errors import CxreditError, InputError

# What h5py raises, depending on which structure of a damaged file it meets first.
DAMAGE = (OSError, LookupError, RuntimeError, ValueError, TypeError, AttributeError, OverflowError, MemoryError)

MAKERS = {
    "cxredit-dataset": "cxredit prepare",
    "cxredit-codes": "cxredit invert",
    "cxredit-direction": "cxredit direction` or `cxredit lda",
}


@contextmanager
def open_hdf5(path: Path, schema: str, version: int) -> Iterator[h5py.File]:
    """Open `path` for reading as an HDF5 file with attributes `schema` and `version` <= `version`.

    Raises InputError for a file that is absent, no HDF5, of another schema or a newer version, or that turns out to be
    damaged while the body of the `with` reads it.
    """
    maker = MAKERS[schema]
    if not path.exists():
        raise InputError(f"There is no {path}; make one with `{maker}`, or give another file.")
    if path.is_dir():
        raise InputError(f"{path} is a folder where a {schema} file (HDF5) is expected; make one with `{maker}`.")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} cannot be read with the permissions it has.")
    try:
        with h5py.File(path, "r") as file:
            check_schema(file, path, schema, version)
            yield file
    except BlockingIOError:
        raise CxreditError(f"{path} is being written by another process; wait until it has finished.") from None
    except DAMAGE as error:
        if not h5py.is_hdf5(path):
            raise InputError(f"{path} is not an HDF5 file; a {schema} file as made by `{maker}` is expected.") from None
        reason = str(error).strip("'\"").splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} is damaged and cannot be read ({reason}); make it again with `{maker}`.") from None


def check_schema(file: h5py.File, path: Path, schema: str, version: int) -> None:
    """Raise InputError unless `file` says that it has `schema` at `version` or older."""
    found = file.attrs.get("schema", "")
    if found != schema:
        kind = f"a {found} file" if isinstance(found, str) and found in MAKERS else "an HDF5 file of another program"
        raise InputError(f"{path} is {kind}, but a {schema} file is expected; make one with `{MAKERS[schema]}`.")
    if not isinstance(file.attrs.get("version"), np.integer):
        raise ValueError("its version is no whole number")
    if int(file.attrs["version"]) > version:
        raise InputError(
            f"{path} has version {int(file.attrs['version'])} of the {schema} format and this cxredit reads up to "
            f"version {version}; upgrade cxredit."
        )


def texts(file: h5py.File, name: str, count: int) -> list[str]:
    """The first `count` texts of a column; raises ValueError where there are fewer, or it is no column."""
    return list(_column(file, name, count).asstr()[:count])


def numbers(file: h5py.File, name: str, count: int) -> NDArray[np.float32]:
    """The first `count` numbers of a column; raises ValueError where there are fewer, or it is no column."""
    return np.asarray(_column(file, name, count)[:count], dtype=np.float32)


def _column(file: h5py.File, name: str, count: int) -> h5py.Dataset:
    column = file[name]
    if column.ndim != 1 or len(column) < count:
        raise ValueError(f"{name} has the shape {list(column.shape)}, for {count} rows")
    return column


@contextmanager
def replace_hdf5(path: Path) -> Iterator[h5py.File]:
    """Write a new HDF5 file aside; it takes the place of `path` in one step when the body ends without an error."""
    refuse_folders(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")  # one name, so that kills do not fill the disk
    try:
        with h5py.File(aside, "w") as file:
            yield file
            sync(file)
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def sync(file: h5py.File) -> None:
    """Put everything written so far on the disk."""
    file.flush()
    os.fsync(file.id.get_vfd_handle())
