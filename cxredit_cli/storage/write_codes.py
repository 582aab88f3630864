"""Codes written to their file (`codes` says how it is laid out): appended batch by batch, whole after a kill."""

from collections.abc import Sequence
from dataclasses import asdict, astuple
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from cxredit_cli.atomic import refuse_folders
from cxredit_cli.errors import CxreditError, InputError
from cxredit_cli.storage.codes import FILE, NOTES, SCHEMA, VERSION, CodesHeader, check_columns, read_files, read_header
from cxredit_cli.storage.file_state import UNKNOWN, FileState
from cxredit_cli.storage.hdf5 import open_hdf5, replace_hdf5, sync

NAME_BYTES = 64  # to begin with
NOTE_BYTES = 96  # fixed, so that writing one does not move anything in the file
# What all codes of one file have in common, beside the generator.
SAME = (
    *("method", "space", "steps", "seed", "preprocessing", "noise_shapes", "search", "tuning_size", "shard"),
    *("num_ws", "w_dim", "resolution"),
)


class CodesWriter:
    """Appends codes to a file, new or begun before; each batch is on disk when `append` returns.

    The file opens, with the batches that are complete, after a kill at any moment: its arrays are laid out in advance
    (contiguous, so a batch only overwrites numbers and never the file's own structure), and `count` moves last. Where
    they are full, a longer file is written aside and renamed; `close` leaves a file of exactly the complete rows.
    Copying a file of 100,000 codes takes a minute, so it is done only where there is no room: twice as much is made
    then, for rows and for names, unless `make_room` was told how many come.
    """

    def __init__(self, path: Path, header: CodesHeader, expected: int = 0) -> None:
        """Open `path` for codes with `header`, with room for `expected` more.

        Raises MismatchError if the file holds codes of another generator (both fingerprints named), InputError if it
        was made in another way (method, space, steps, pre-processing).
        """
        self.path, self.header = path, header
        self._file: h5py.File | None = None
        self._count = 0
        self.done_sources: dict[str, int] = {}  # name: row
        refuse_folders(path)
        fits = False
        if path.exists():
            with open_hdf5(path, SCHEMA, VERSION) as file:
                found = read_header(file)
                check_columns(file, found)
                self._count = int(file["count"][()])
                names = file["source"].asstr()[: self._count]
                self.done_sources = {name: row for row, name in enumerate(names)}
                fits = _is_laid_out(file, header)
            if self._count:  # without a code it would only refuse other options
                _check_same(path, found, header)
        if self._count and fits:
            self._file = h5py.File(path, "r+")
            self.make_room(expected)
        else:
            self._lay_out(self._count + expected, NAME_BYTES)

    def make_room(self, rows: int) -> None:
        """Lay out room for `rows` more codes than there are, where there is less."""
        assert self._file is not None, "the writer is closed"
        if self._count + rows > len(self._file["w"]):
            self._lay_out(self._count + rows, NAME_BYTES)

    def __len__(self) -> int:
        return self._count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.close()
            return
        self._shut()  # what is on disk opens as it is; the next writer carries on
        if not self._count:
            self.path.unlink(missing_ok=True)

    def append(
        self,
        source: Sequence[str],
        w: NDArray[np.float32],
        psnr: NDArray[np.float32],
        ssim: NDArray[np.float32],
        original: NDArray[np.uint8],
        noise: Sequence[NDArray[np.float32]] | None = None,
        tuning: NDArray[np.float16] | None = None,
        suspect: Sequence[str] | None = None,
        righted: Sequence[str] | None = None,
        files: Sequence[FileState] | None = None,
    ) -> None:
        """Append n codes: w [n, L, D], psnr [n] dB, ssim [n], original uint8 [n, R, R], noise [n, H, W] a layer.

        `tuning` is float16 [n, K], for a header with a `tuning_size`; `suspect` and `righted` as in `Codes`; `files`
        what each image's file was like before it was read.
        """
        header, n = self.header, len(source)
        if w.shape != (n, header.num_ws, header.w_dim):
            raise ValueError(f"w must be {(n, header.num_ws, header.w_dim)}, but it is {w.shape}")
        if original.dtype != np.uint8 or original.shape != (n, header.resolution, header.resolution):
            raise ValueError(f"original must be uint8 {(n, header.resolution, header.resolution)}")
        layers = list(noise or [])
        if [layer.shape for layer in layers] != [(n, *shape) for shape in header.noise_shapes]:
            raise ValueError(f"noise must have the shapes {header.noise_shapes}, one [n, H, W] a layer")
        if (0 if tuning is None else tuning.shape[1]) != header.tuning_size:
            raise ValueError(f"tuning must be [n, {header.tuning_size}]")
        encoded = [name.encode() for name in source]
        self._reserve(self._count + n, max((len(name) for name in encoded), default=0))
        assert self._file is not None
        rows = slice(self._count, self._count + n)
        columns = {"w": w, "source": encoded, "psnr": psnr, "ssim": ssim, "original": original}
        columns["file"] = np.array([astuple(state) for state in files or [UNKNOWN] * n], FILE)
        for name, notes in zip(NOTES, (suspect, righted), strict=True):
            columns[name] = [note.encode()[:NOTE_BYTES] for note in notes or [""] * n]
        columns |= {f"noise/{index}": layer for index, layer in enumerate(layers)}
        if tuning is not None:
            columns["tuning"] = tuning
        try:
            for name, values in columns.items():
                self._file[name][rows] = values
            sync(self._file)
            self._file["count"][()] = self._count + n
            sync(self._file)
        except OSError as error:
            raise CxreditError(f"{self.path} could not be written ({error}); is the disk full?") from error
        self.done_sources.update({name: self._count + row for row, name in enumerate(source)})
        self._count += n

    def check_same(self, path: Path, header: CodesHeader) -> None:
        """Raise InputError unless codes of `path`, with `header`, may stand here; MismatchError by generator."""
        _check_same(path, header, self.header)

    def original(self, source: str) -> NDArray[np.uint8]:
        """What was inverted under a name of `done_sources`, [R, R]."""
        assert self._file is not None, "the writer is closed"
        return np.asarray(self._file["original"][self.done_sources[source]], dtype=np.uint8)

    def files(self) -> list[FileState]:
        """What the file of each row was like when it was inverted."""
        assert self._file is not None, "the writer is closed"
        return read_files(self._file, slice(0, self._count), self._count)

    def renew_file(self, source: str, state: FileState) -> None:
        """Note what the file of one of `done_sources`, which shows the same picture as then, is like now."""
        assert self._file is not None, "the writer is closed"
        self._file["file"][self.done_sources[source]] = np.array(astuple(state), FILE)

    def close(self) -> None:
        """Leave a file of exactly the complete rows."""
        if self._file is not None:
            if len(self._file["w"]) != self._count:
                self._lay_out(self._count, width=1)
            self._shut()

    def _shut(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _reserve(self, rows: int, width: int) -> None:
        assert self._file is not None, "the writer is closed"
        held, held_width = self._file["w"].shape[0], self._file["source"].dtype.itemsize
        if rows > held or width > held_width:
            wider = max(width, 2 * held_width) if width > held_width else held_width
            self._lay_out(max(rows, 2 * held) if rows > held else held, wider)

    def _lay_out(self, rows: int, width: int) -> None:
        """Rewrite the file with room for `rows` codes whose names have up to `width` bytes, and keep it open."""
        self._shut()
        old = h5py.File(self.path, "r") if self._count and self.path.exists() else None
        names = list(old["source"].asstr()[: self._count]) if old is not None else []
        width = max([width, *(len(name.encode()) for name in names)])
        try:
            with replace_hdf5(self.path) as new:
                _create(new, self.header, rows, width)
                if old is not None:
                    for name in _columns(self.header):
                        if name in old or name not in (*NOTES, "file"):
                            _copy(old[name], new[name], self._count)
                new["count"][()] = self._count
        finally:
            if old is not None:
                old.close()
        self._file = h5py.File(self.path, "r+")


def _copy(old: h5py.Dataset, new: h5py.Dataset, rows: int, at_once: int = 256) -> None:
    for start in range(0, rows, at_once):
        part = slice(start, min(start + at_once, rows))
        text = h5py.check_string_dtype(old.dtype) is not None  # which other tools may store at any length
        new[part] = [one.encode() for one in old.asstr()[part]] if text else old[part]


def _columns(header: CodesHeader) -> list[str]:
    noise = [f"noise/{i}" for i in range(len(header.noise_shapes))]
    tuning = ["tuning"] if header.tuning_size else []
    return ["w", "source", "psnr", "ssim", "original", *NOTES, "file", *noise, *tuning]


def _is_laid_out(file: h5py.File, header: CodesHeader) -> bool:
    """Whether codes with `header` can be written into the file as it is, as no file of another tool promises."""
    columns = [file.get(name) for name in _columns(header)]
    if any(column is None or column.id.get_offset() is None for column in columns):
        return False
    of_text = [h5py.check_string_dtype(file[name].dtype) for name in ("source", *NOTES)]
    return len({len(column) for column in columns}) == 1 and all(one is not None and one.length for one in of_text)


def _create(file: h5py.File, header: CodesHeader, rows: int, width: int) -> None:
    """Lay out all arrays for `rows` codes."""
    file.attrs["schema"], file.attrs["version"] = SCHEMA, VERSION
    for name, value in asdict(header).items():
        file.attrs[name] = np.array(value, dtype=np.int64).reshape(-1, 2) if name == "noise_shapes" else value
    square = (header.resolution, header.resolution)
    _array(file, "w", (rows, header.num_ws, header.w_dim), "f4")
    _array(file, "source", (rows,), h5py.string_dtype("utf-8", width))
    _array(file, "psnr", (rows,), "f4")
    _array(file, "ssim", (rows,), "f4")
    _array(file, "original", (rows, *square), "u1")
    for name in NOTES:
        _array(file, name, (rows,), h5py.string_dtype("utf-8", NOTE_BYTES))
    _array(file, "file", (rows,), FILE)
    for index, shape in enumerate(header.noise_shapes):
        _array(file, f"noise/{index}", (rows, *shape), "f4")
    if header.tuning_size:
        _array(file, "tuning", (rows, header.tuning_size), "f2")
    _array(file, "count", (), "i8")
    file["count"][()] = 0


def _array(file: h5py.File, name: str, shape: tuple[int, ...], dtype: Any) -> None:
    """Create an array whose place in the file is fixed now (contiguous, allocated early, not filled: it is sparse)."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.CONTIGUOUS)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    creation.set_obj_track_times(False)
    links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    kind = h5py.h5t.py_create(np.dtype(dtype), logical=True)
    h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create_simple(shape), dcpl=creation, lcpl=links)


def _check_same(path: Path, found: CodesHeader, header: CodesHeader) -> None:
    """Raise unless codes with `header` may be appended to a file that has `found`."""
    found.check_generator(header.fingerprint, path)
    for name in SAME:
        was, wanted = getattr(found, name), getattr(header, name)
        if was != wanted:
            label = {"noise_shapes": "fitted noise", "tuning_size": "deltas of size"}.get(name, name)
            raise InputError(
                f"{path} was begun with {label} {was!r} and now {wanted!r} is asked for; "
                "use the same options to carry on, or write to another file with -o."
            )
