"""An edited film in the format that it came in: PNG, TIFF or DICOM.

Films of other formats become PNG, which loses nothing (numpy arrays of real numbers: TIFF): an edited file says that it
is synthetic, and stays what it is when it is opened and saved.
"""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageDraw, ImageFont

from cxredit_cli.atomic import write_bytes
from cxredit_cli.radiographs.derived_dicom import Derivation, write_derived_dicom
from cxredit_cli.radiographs.film import Film
from cxredit_cli.radiographs.picture import PictureFilm
from cxredit_cli.radiographs.write import natural_bits, png_text, write_png

MARK = "SYNTHETIC - NOT FOR DIAGNOSIS"


def write_film(
    path: Path, film: Film, change: NDArray[np.float32], text: Mapping[str, str], derivation: Derivation
) -> None:
    """Write `film` with `change` [H, W] of what is shown, whole or not at all, in the film's own format and bit depth.

    `text` goes into pictures and `derivation` into DICOM. Raises UneditableFilmError where the stored values cannot
    take a change.
    """
    stored = film.changed(change)
    if isinstance(film.decoded, PictureFilm):
        encode = encode_tiff if suffix_of(film) == ".tif" else encode_png
        write_bytes(path, encode(film.decoded, stored, text))
    else:
        write_derived_dicom(path, film, stored, derivation)


def suffix_of(film: Film) -> str:
    """Of the files that edits of a film are written to."""
    if isinstance(film.decoded, PictureFilm):
        return ".tif" if film.kind == "TIFF" or film.decoded.stored.dtype.kind == "f" else ".png"
    return ".dcm"


def write_shown(path: Path, film: Film, change: NDArray[np.float32], text: Mapping[str, str]) -> None:
    """Write what is shown of `film` after a change, as a PNG of 8 or 16 bits, whatever the film came as."""
    write_png(path, film.pixels + change, text, natural_bits(film.pixels))


def encode_png(film: PictureFilm, stored: NDArray[Any], text: Mapping[str, str]) -> bytes:
    """A PNG of stored values [H, W] or [H, W, channels], just as they are, lying as the film lies.

    It does not say that this program wrote it by `Software`: that would mean that its whole range is used.
    """
    file = BytesIO()
    info = png_text({key: value for key, value in text.items() if key != "Software"})
    exif = Image.Exif()
    if film.exif_orientation != 1:
        exif[ExifTags.Base.Orientation] = film.exif_orientation
    Image.fromarray(stored).save(file, format="PNG", pnginfo=info, exif=exif)
    return file.getvalue()


def encode_tiff(film: PictureFilm, stored: NDArray[Any], text: Mapping[str, str]) -> bytes:
    """A TIFF of stored values, lying as the film lies, losslessly compressed, with the metadata as its description."""
    photometric = "rgb" if stored.ndim == 3 and stored.shape[2] > 2 else "miniswhite" if film.inverted else "minisblack"
    described = "; ".join(f"{key}: {value}" for key, value in text.items())
    file = BytesIO()
    tifffile.imwrite(
        file,
        stored,
        photometric=photometric,
        compression="zlib",
        description=described.encode("ascii", "replace").decode(),
        metadata=None,
        extratags=[(274, "H", 1, film.exif_orientation, True)] if film.exif_orientation != 1 else [],
        extrasamples=["unassalpha"] if stored.ndim == 3 and stored.shape[2] in (2, 4) else None,
    )
    return file.getvalue()


def burned_in(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The change [H, W] that writes MARK along the lower edge of a film, white on black, a thirtieth of its height."""
    height, width = pixels.shape
    size = max(min(height // 30, width // 20), 8)
    face = ImageFont.load_default(size)
    left, top, right, bottom = face.getbbox(MARK)
    label = Image.new("L", (int(right - left) + size, int(bottom - top) + size), 0)
    ImageDraw.Draw(label).text((size // 2 - left, size // 2 - top), MARK, 255, face)
    drawn = np.asarray(label, dtype=np.float32)[:height, :width] / 255
    change = np.zeros_like(pixels)
    rows = slice(height - drawn.shape[0], height)
    change[rows, : drawn.shape[1]] = drawn - pixels[rows, : drawn.shape[1]]
    return change
