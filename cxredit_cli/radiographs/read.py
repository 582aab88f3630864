"""One file into one radiograph, whatever its format."""

import warnings
from pathlib import Path

from cxredit_cli.errors import UnreadableImageError
from cxredit_cli.radiographs.dicom import DicomFilm, holds_dicom, read_dicom_film
from cxredit_cli.radiographs.picture import MAGIC, PictureFilm, read_picture_film
from cxredit_cli.radiographs.radiograph import Radiograph
from cxredit_cli.radiographs.sources import DICOM_PREFIX_END, IMAGE_SUFFIXES, Source


def read_radiograph(source: Source | Path) -> Radiograph:
    """Read a DICOM file, a picture or a numpy array of a radiograph as it is meant to be seen, at its full bit depth.

    Returns pixels [H, W] float32 in 0..1. Raises UnreadableImageError, in one sentence, for a file that is missing,
    truncated, in colour, of several frames, or no image.
    """
    source = source if isinstance(source, Source) else Source(Path(source))
    found = read_stored(source, source.read_bytes())
    righting = source.righting
    pixels = righting.right(found.pixels) if righting else found.pixels
    return Radiograph(pixels, source.name, righting.told(found.reading))


def read_stored(source: Source, content: bytes) -> DicomFilm | PictureFilm:
    """The radiograph in the bytes of a source, with what it is stored as. Raises UnreadableImageError as above."""
    try:
        with warnings.catch_warnings():
            # What Pillow and pydicom warn of can hold a tag's value, and none of it may reach a log.
            warnings.simplefilter("ignore")
            return _read(content, source)
    except UnreadableImageError as error:
        raise UnreadableImageError(f"{source.name}: {error}") from error


def _read(content: bytes, source: Source) -> DicomFilm | PictureFilm:
    if not content:
        raise UnreadableImageError("the file is empty.")
    if content[128:DICOM_PREFIX_END] == b"DICM":  # before the others: its preamble may be a TIFF header
        return read_dicom_film(content, source.any_view)
    if content.startswith(MAGIC):
        return read_picture_film(content)
    suffix = Path(source.name).suffix.lower()
    if (suffix not in IMAGE_SUFFIXES or suffix.startswith(".d")) and holds_dicom(content):
        return read_dicom_film(content, source.any_view)
    raise UnreadableImageError(
        "it is no DICOM file, picture (PNG, JPEG, TIFF, JPEG 2000, WebP, BMP) or array, or only the beginning of one."
    )
