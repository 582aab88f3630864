"""A film that can be given back edited: how a change of what is shown becomes one of what is stored.

Where nothing changes every stored value stays as it is, bit for bit.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cxredit_cli.errors import UneditableFilmError
from cxredit_cli.radiographs.dicom import DicomFilm
from cxredit_cli.radiographs.dicom_display import Display
from cxredit_cli.radiographs.geometry import Fit, overlap, whole_square
from cxredit_cli.radiographs.picture import PictureFilm
from cxredit_cli.radiographs.read import read_stored
from cxredit_cli.radiographs.sources import Source

Kind = Literal["PNG", "JPEG", "TIFF", "JPEG2000", "WEBP", "BMP", "NumPy", "DICOM"]
MOST_BITS = 16  # of values whose display is tabulated


@dataclass(frozen=True, slots=True)
class Film:
    """One radiograph as it is shown and as it is stored."""

    source: Source
    content: bytes  # the file
    decoded: DicomFilm | PictureFilm

    @property
    def pixels(self) -> NDArray[np.float32]:
        """[H, W] in 0..1, as `read_radiograph` gives them."""
        righting = self.source.righting
        return righting.right(self.decoded.pixels) if righting else self.decoded.pixels

    @property
    def kind(self) -> Kind:
        """The format of the file."""
        return "DICOM" if isinstance(self.decoded, DicomFilm) else self.decoded.kind  # type: ignore[return-value]

    @property
    def reading(self) -> str:
        """How the file was read, in words."""
        return self.source.righting.told(self.decoded.reading)

    def square(self, fit: Fit) -> NDArray[np.float32]:
        """The square [N, N] that `fit_square` shrinks: the centre (crop), or everything with black (pad)."""
        return whole_square(self.pixels, fit)

    def from_square(self, change: NDArray[np.float32], fit: Fit) -> NDArray[np.float32]:
        """A change [N, N] of `square(fit)` as one of the whole film [H, W]; what lies on a black margin is dropped."""
        inside, of_film = overlap(self.pixels, fit)
        whole = np.zeros_like(self.pixels)
        whole[of_film] = change[inside]
        return whole

    def changed(self, change: NDArray[np.float32]) -> NDArray[Any]:
        """The stored values after a change [H, W] of what is shown, in grey of 0..1; where that is 0, as they were.

        Raises UneditableFilmError where the display has no inverse.
        """
        change = self.source.righting.undo(change)
        if isinstance(self.decoded, DicomFilm):
            return _changed_dicom(self.decoded, change)
        return _changed_picture(self.decoded, change)


def read_film(source: Source | Path) -> Film:
    """Read a DICOM file, a picture or an array so that it can be written back; raises UnreadableImageError."""
    source = source if isinstance(source, Source) else Source(Path(source))
    content = source.read_bytes()
    return Film(source, content, read_stored(source, content))


def _changed_picture(film: PictureFilm, change: NDArray[np.float32]) -> NDArray[Any]:
    """Grey levels move by the change; in colour all channels alike, under transparency by as much more."""
    stored, white = film.stored, film.white
    change = film.layout.stored(change, stored.shape)
    step = -white if film.inverted else white
    if stored.dtype.kind == "f":
        return np.where(change != 0, np.clip(stored + change, 0, 1), stored).astype(stored.dtype)
    if stored.ndim == 2:
        moved = stored.astype(np.int64) + np.rint(change.astype(np.float64) * step).astype(np.int64)
        return np.where(change != 0, np.clip(moved, 0, white), stored).astype(stored.dtype)
    colours = 1 if stored.shape[2] == 2 else 3
    share = stored[..., -1:] / 255 if stored.shape[2] in (2, 4) else np.ones((*stored.shape[:2], 1))
    levels = np.rint(change[..., None] * white / np.where(share > 0, share, np.inf)).astype(np.int64)
    moved = np.clip(stored[..., :colours].astype(np.int64) + levels, 0, white)
    whole = stored.copy()
    whole[..., :colours] = np.where(change[..., None] != 0, moved, stored[..., :colours])
    return whole


def _changed_dicom(film: DicomFilm, change: NDArray[np.float32]) -> NDArray[Any]:
    """Stored values move by the difference that the inverse of the display makes of the change."""
    stored = film.stored
    change = film.layout.stored(change, stored.shape)
    if film.display is None:  # grey stored as colour
        white = np.iinfo(stored.dtype).max
        moved = stored.astype(np.int64) + np.rint(change[..., None].astype(np.float64) * white).astype(np.int64)
        return np.where(change[..., None] != 0, np.clip(moved, 0, white), stored).astype(stored.dtype)
    where = change != 0
    if film.display.hidden is not None:
        where &= ~film.display.hidden
    values = stored[where]
    shown = film.display.show(values).astype(np.float64)
    moved = _inverse(film.display, values.astype(np.int64), shown, change[where].astype(np.float64))
    result = stored.copy()
    result[where] = moved.astype(stored.dtype)
    return result


def _inverse(
    display: Display, values: NDArray[np.int64], shown: NDArray[np.float64], change: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Values [n], shown as `shown`, after a change of that; those that the display saturates stay.

    The display is tabulated for every value that the stored bits can hold, so windows of all functions, rescales and
    LUTs have one inverse. Raises UneditableFilmError where the table does not rise or fall throughout.
    """
    if display.limits is None:
        raise UneditableFilmError("it stores real numbers; edits are written into whole numbers alone.")
    low, high = display.limits
    if high - low >= 2**MOST_BITS:
        raise UneditableFilmError(
            f"it stores more than {MOST_BITS} bits a pixel; edits are written into at most {MOST_BITS}."
        )
    every = np.arange(low, high + 1)
    table = display.show(every).astype(np.float64)
    steps = np.diff(table)
    falls = bool((steps < 0).any())
    if falls and (steps > 0).any():
        raise UneditableFilmError(
            "its lookup table rises and falls, so an edit of what is shown cannot be written into what is stored; "
            "convert it to PNG, or use --no-native."
        )
    if falls:
        table, every = table[::-1], every[::-1]
    least, most = table[0], table[-1]
    first = np.concatenate([[True], np.diff(table) > 0])  # of the values that are shown alike the first stands for all
    greys, stand_ins = table[first], every[first].astype(np.float64)

    def stored_for(grey: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.interp(grey, greys, stand_ins), dtype=np.float64)

    # Where several values are shown as black, or as white, which of them it is is kept.
    saturated = ((shown <= least) & (table[1] == least)) | ((shown >= most) & (table[-2] == most))
    moved = values + np.rint(stored_for(shown + change) - stored_for(shown)).astype(np.int64)
    return np.where(saturated, values, np.clip(moved, low, high))
