"""Codes of images in one generator's latent space, on disk as HDF5.

Layout (schema `cxredit-codes`, version 1): `w` float32 [N, L, D] (L is 1 in W, num_ws in W+), `source` utf-8 names,
`psnr` and `ssim` float32 [N] of the reconstructions, `original` uint8 [N, R, R] (what was inverted, as the generator
saw it), `suspect` and `righted` utf-8 (what is wrong with it, and what was wrong and was put right, in words; "" for
nothing, and absent from older files), `noise/0`, `noise/1`, ... float32 [N, H, W] where noise was fitted, `tuning`
float16 [N, K] where the generator was tuned, `file` (what each image's file was like, by the fields of `FileState`; 0
where unknown, and absent from older files), and `count`, the number of rows that are complete: while a writer is at
work, or after it was killed, the arrays are longer than that.
"""

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cxredit_cli.errors import InputError, MismatchError
from cxredit_cli.storage.file_state import UNKNOWN, FileState
from cxredit_cli.storage.hdf5 import numbers, open_hdf5, texts
from cxredit_cli.storage.typed_values import typed

SCHEMA = "cxredit-codes"
VERSION = 1
NOTES = ("suspect", "righted")
FILE = np.dtype([("size", "i8"), ("time", "i8"), ("inode", "u8"), ("righting", "u1")])  # a FileState
CHECKED = 1024  # codes at a time, when a file is opened
Rows = slice | Sequence[int] | NDArray[np.int64]  # of a file; indices in any order


@dataclass(frozen=True, slots=True)
class CodesHeader:
    """What all codes of one file share."""

    fingerprint: str  # of the generator that the codes belong to
    method: str  # "encoder", "optimize", "hybrid" or "generated"
    space: str  # "w" or "w+"
    num_ws: int  # L: 1 in W, the generator's num_ws in W+
    w_dim: int  # D
    resolution: int  # R of the originals
    seed: int = 0
    steps: int = 0  # of optimisation; 0 where none was done
    preprocessing: str = ""  # how pixels became the generator's input, such as '{"fit": "crop"}'
    model: str = ""  # the model's name, for people
    noise_shapes: tuple[tuple[int, int], ...] = ()  # (H, W) of each noise layer where noise was fitted
    search: str = ""  # JSON of how the optimiser searched: start, weights, when an image was done, tuning
    tuning_size: int = 0  # K, of the deltas of the generator's weights; 0 where it was not tuned
    shard: str = ""  # "2/4" for the second of four parts of a cohort

    def check_generator(self, fingerprint: str, path: Path) -> None:
        """Raise MismatchError unless the codes belong to the generator with `fingerprint`."""
        if self.fingerprint != fingerprint:
            raise MismatchError(
                f"{path} holds codes of the generator {self.fingerprint}, but the model is {fingerprint}; "
                "use the model that made the codes, or invert the images again with this one."
            )


@dataclass(frozen=True)
class Codes:
    """The complete rows of a code file; codes `w` [N, L, D], pictures and noise stay on disk until asked for."""

    path: Path
    header: CodesHeader
    source: list[str]
    psnr: NDArray[np.float32]  # [N] dB, nan where unknown
    ssim: NDArray[np.float32]  # [N], nan where unknown
    suspect: list[str]  # what is wrong with each image, "" where nothing is known to be
    righted: list[str]  # what was wrong with how it lies or is shown, and was put right (`Righting.words`)

    def __len__(self) -> int:
        return len(self.source)

    def check_generator(self, fingerprint: str) -> None:
        """Raise MismatchError unless the codes belong to the generator with `fingerprint`."""
        self.header.check_generator(fingerprint, self.path)

    @cached_property
    def w(self) -> NDArray[np.float32]:
        """All codes [N, L, D], which stay in memory: 2.5 GB for 100,000 of W+ with 12 layers of 512."""
        return self.some(slice(0, len(self)))

    def some(self, rows: Rows) -> NDArray[np.float32]:
        """Codes [n, L, D] for rows of the file, read now."""
        with open_hdf5(self.path, SCHEMA, VERSION) as file:
            return _rows_of_w(file, self._complete(rows))

    def originals(self, rows: Rows) -> NDArray[np.uint8]:
        """What was inverted, uint8 [n, R, R], for rows of the file."""
        with open_hdf5(self.path, SCHEMA, VERSION) as file:
            return np.asarray(_take(file["original"], self._complete(rows)), dtype=np.uint8)

    def noise(self, rows: Rows) -> list[NDArray[np.float32]] | None:
        """Fitted noise, one float32 [n, H, W] a noise layer; None where none was fitted."""
        if not self.header.noise_shapes:
            return None
        with open_hdf5(self.path, SCHEMA, VERSION) as file:
            layers = range(len(self.header.noise_shapes))
            complete = self._complete(rows)
            return [np.asarray(_take(file[f"noise/{layer}"], complete), dtype=np.float32) for layer in layers]

    def tuning(self, rows: Rows) -> NDArray[np.float16] | None:
        """Deltas of the generator's weights, float16 [n, K] (`inversion.tuning`); None where it was not tuned."""
        if not self.header.tuning_size:
            return None
        with open_hdf5(self.path, SCHEMA, VERSION) as file:
            return np.asarray(_take(file["tuning"], self._complete(rows)), dtype=np.float16)

    def files(self, rows: Rows) -> list[FileState]:
        """What the file of each row was like when it was inverted."""
        with open_hdf5(self.path, SCHEMA, VERSION) as file:
            return read_files(file, self._complete(rows), len(self))

    def _complete(self, rows: Rows) -> Rows:
        """A slice ends with the rows that count: those of a file that is being written are more."""
        return slice(*rows.indices(len(self))) if isinstance(rows, slice) else rows


def _rows_of_w(file: h5py.File, rows: Rows) -> NDArray[np.float32]:
    """Codes [n, L, D]; many thousand scattered ones by a map of the file, for HDF5 takes milliseconds for each."""
    column, offset = file["w"], file["w"].id.get_offset()
    if offset is None or not len(column):  # as other tools may lay it out
        return np.asarray(_take(column, rows), dtype=np.float32)
    mapped = np.memmap(file.filename, dtype=column.dtype, mode="r", offset=offset, shape=column.shape)
    return np.array(mapped[rows], dtype=np.float32)


def _take(column: h5py.Dataset, rows: Rows) -> NDArray[Any]:
    """Rows in the order asked for; HDF5 itself takes rising ones alone."""
    if isinstance(rows, slice):
        return np.asarray(column[rows])
    rising, places = np.unique(np.asarray(rows, dtype=np.int64), return_inverse=True)
    return np.asarray(column[rising])[places]


def read_files(file: h5py.File, rows: Rows, count: int) -> list[FileState]:
    """What the files of some of `count` rows were like, in the order asked for."""
    if "file" not in file:
        return [UNKNOWN] * len(np.arange(count)[rows])
    return [FileState(*state) for state in _take(file["file"], rows).tolist()]


def read_codes(path: Path) -> Codes:
    """Read the complete rows of a code file; raises InputError for a wrong, damaged or empty one."""
    with open_hdf5(path, SCHEMA, VERSION) as file:
        header = read_header(file)
        check_columns(file, header)
        count = int(file["count"][()])
        finite = all(
            np.isfinite(_rows_of_w(file, slice(start, min(start + CHECKED, count)))).all()
            for start in range(0, count, CHECKED)
        )
        source = texts(file, "source", count)
        psnr, ssim = (numbers(file, name, count) for name in ("psnr", "ssim"))
        suspect, righted = (texts(file, name, count) if name in file else [""] * count for name in NOTES)
    if count == 0:
        raise InputError(f"{path} holds no codes yet; make some with `cxredit invert`.")
    if not finite:
        raise InputError(f"{path} holds codes that are not finite numbers; make it again with `cxredit invert`.")
    return Codes(path=path, header=header, source=source, psnr=psnr, ssim=ssim, suspect=suspect, righted=righted)


def read_header(file: h5py.File) -> CodesHeader:
    """What all codes of a file share; raises ValueError for what makes no sense."""
    values: dict[str, Any] = {}
    for field in fields(CodesHeader):
        if field.name not in file.attrs and field.default is not MISSING:
            continue  # of a file that an older version wrote
        value = file.attrs[field.name]
        if field.name == "noise_shapes":
            values[field.name] = tuple((int(height), int(width)) for height, width in value)
        else:
            values[field.name] = value
    header = typed(CodesHeader, values)
    if header.num_ws < 1 or header.w_dim < 1 or header.resolution < 1:
        raise ValueError("its header speaks of codes or pictures without size")
    return header


def check_columns(file: h5py.File, header: CodesHeader) -> None:
    """Raise ValueError unless every column holds what the header says of it, for all rows that count."""
    count, layers = int(file["count"][()]), len(header.noise_shapes)
    if count < 0:
        raise ValueError(f"it counts {count} rows")
    if len(file.get("noise", ())) != layers:
        raise ValueError(f"it has {len(file.get('noise', ()))} layers of noise, not {layers}")
    shapes: dict[str, tuple[int, ...]] = {"w": (header.num_ws, header.w_dim), "source": (), "psnr": (), "ssim": ()}
    shapes |= {"original": (header.resolution, header.resolution)}
    shapes |= {f"noise/{index}": shape for index, shape in enumerate(header.noise_shapes)}
    shapes |= {"tuning": (header.tuning_size,)} if header.tuning_size else {}
    shapes |= {name: () for name in (*NOTES, "file") if name in file}
    for name, shape in shapes.items():
        column = file[name]
        kinds = "SO" if name in ("source", *NOTES) else "uf"
        right = column.dtype == FILE if name == "file" else column.dtype.kind in kinds
        if column.ndim == 0 or column.shape[1:] != shape or len(column) < count or not right:
            raise ValueError(f"{name} holds {column.dtype} of the shape {list(column.shape)}")
