"""Codes of images in one generator's latent space, on disk as HDF5.

Layout (schema `cxredit-codes`, version 1): `w` float32 [N, L, D] (L is 1 in W, num_ws in W+), `source` utf-8 names,
`psnr` and `ssim` float32 [N] of the reconstructions, `original` uint8 [N, R, R] (what was inverted, as the generator
saw it), `suspect` and `righted` utf-8 (what is wrong with it, and what was wrong and was put right, in words; "" for
nothing, and absent from older files), `noise/0`, `noise/1`, ... float32 [N, H, W] where noise was fitted, `tuning`
float16 [N, K] where the generator was tuned, and `count`, the number of rows that are complete: while a writer is at
work, or after it was killed, the arrays are longer than that.
"""

from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from cxredit_cli.atomic import refuse_folders
from cxredit_cli.errors import CxreditError, InputError, MismatchError
from cxredit_cli.storage.hdf5 import numbers, open_hdf5, replace_hdf5, sync, texts
from cxredit_cli.storage.typed_values import typed

SCHEMA = "cxredit-codes"
VERSION = 1
NOTES = ("suspect", "righted")
CHECKED = 1024  # codes at a time, when a file is opened
NAME_BYTES = 64  # to begin with
NOTE_BYTES = 96  # fixed, so that writing one does not move anything in the file
Rows = slice | Sequence[int] | NDArray[np.int64]  # of a file; indices in any order
# What all codes of one file have in common, beside the generator.
SAME = (
    *("method", "space", "steps", "seed", "preprocessing", "noise_shapes", "search", "tuning_size", "shard"),
    *("num_ws", "w_dim", "resolution"),
)


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


def read_codes(path: Path) -> Codes:
    """Read the complete rows of a code file; raises InputError for a wrong, damaged or empty one."""
    with open_hdf5(path, SCHEMA, VERSION) as file:
        header = _read_header(file)
        _check_columns(file, header)
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
                found = _read_header(file)
                _check_columns(file, found)
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
    ) -> None:
        """Append n codes: w [n, L, D], psnr [n] dB, ssim [n], original uint8 [n, R, R], noise [n, H, W] a layer.

        `tuning` is float16 [n, K], for a header with a `tuning_size`; `suspect` and `righted` as in `Codes`.
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
                        if name in old or name not in NOTES:
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
    return ["w", "source", "psnr", "ssim", "original", *NOTES, *noise, *(["tuning"] if header.tuning_size else [])]


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


def _read_header(file: h5py.File) -> CodesHeader:
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


def _check_columns(file: h5py.File, header: CodesHeader) -> None:
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
    shapes |= {name: () for name in NOTES if name in file}
    for name, shape in shapes.items():
        column = file[name]
        kinds = "SO" if name in ("source", *NOTES) else "uf"
        if column.ndim == 0 or column.shape[1:] != shape or len(column) < count or column.dtype.kind not in kinds:
            raise ValueError(f"{name} holds {column.dtype} of the shape {list(column.shape)}")


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
