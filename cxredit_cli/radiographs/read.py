"""One file into one radiograph, whatever its format."""

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from cxredit_cli.errors import UnreadableImageError
from cxredit_cli.radiographs.colour import refuse_colour
from cxredit_cli.radiographs.dicom import holds_dicom, read_dicom
from cxredit_cli.radiographs.radiograph import Radiograph
from cxredit_cli.radiographs.sources import DICOM_PREFIX_END, IMAGE_SUFFIXES, Source

PILLOW_FORMATS = ("PNG", "JPEG", "TIFF")
PNG_END = b"IEND"
MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PHOTOMETRIC_INTERPRETATION, BITS_PER_SAMPLE = 262, 258  # TIFF tags
WHITE_IS_ZERO = 0


def read_radiograph(source: Source | Path) -> Radiograph:
    """Read a PNG, TIFF, JPEG or DICOM radiograph as it is meant to be seen, at its full bit depth.

    Returns pixels [H, W] float32 in 0..1. Raises UnreadableImageError, in one sentence, for a file that is missing,
    truncated, in colour, of several frames, or no image.
    """
    if not isinstance(source, Source):
        source = Source(Path(source))
    content = source.read_bytes()
    try:
        with warnings.catch_warnings():
            # What Pillow and pydicom warn of can hold a tag's value, and none of it may reach a log.
            warnings.simplefilter("ignore")
            pixels, reading = _read(content, source)
    except UnreadableImageError as error:
        raise UnreadableImageError(f"{source.name}: {error}") from error
    return Radiograph(pixels, source.name, reading)


def _read(content: bytes, source: Source) -> tuple[NDArray[np.float32], str]:
    if not content:
        raise UnreadableImageError("the file is empty.")
    if content[128:DICOM_PREFIX_END] == b"DICM":  # before the others: its preamble may be a TIFF header
        return read_dicom(content)
    if content.startswith(MAGIC):
        return _read_picture(content)
    suffix = Path(source.name).suffix.lower()
    if (suffix not in IMAGE_SUFFIXES or suffix.startswith(".d")) and holds_dicom(content):
        return read_dicom(content)
    raise UnreadableImageError("it is no PNG, JPEG, TIFF or DICOM image, or only the beginning of one.")


def _read_picture(content: bytes) -> tuple[NDArray[np.float32], str]:
    try:
        image: Image.Image = Image.open(BytesIO(content), formats=PILLOW_FORMATS)
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            raise UnreadableImageError(f"it holds {frames} frames; expected a single radiograph.")
        kind, description, tags = image.format, f"{image.format} {_depth(image, content)}", getattr(image, "tag_v2", {})
        software = str(image.info.get("Software", ""))
        if kind == "JPEG":
            ImageOps.exif_transpose(image, in_place=True)
        image.load()
        if kind == "PNG" and PNG_END not in content:
            raise EOFError
    except UnreadableImageError:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadableImageError("it is far larger than any radiograph; expected at most 170 megapixels.") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError) as error:
        raise UnreadableImageError("the file is truncated or damaged; copy it again from where it came.") from error

    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.float32)
        largest, note = _largest_value(values, image, tags, own=software.startswith("cxredit"))
        if kind == "TIFF" and tags.get(PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO:
            values, note = largest - values, note + ", white-is-zero inverted"  # Pillow inverts 8 bits only
        return values / np.float32(largest), description + note
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L")).astype(np.float32) / np.float32(255), description
    if image.mode in ("LA", "RGB", "RGBA", "P", "PA"):
        if image.mode in ("P", "PA") or "transparency" in image.info:
            image = image.convert("RGBA")
        return _grey_of_colour(image), f"{description}, grey stored as colour"
    raise UnreadableImageError(
        f"its pixels are {_mode_in_words(image.mode)}; expected 8- or 16-bit grey, or grey stored as colour."
    )


def _largest_value(values: NDArray[np.float32], image: Image.Image, tags: Any, own: bool) -> tuple[int, str]:
    """What white is in a 16-bit file. Detectors' 10 to 15 bits are often stored as they are, so the top bit that the
    pixels use says what the range is, unless this tool wrote the file."""
    bits = tags.get(BITS_PER_SAMPLE, (16,))[0] if image.format == "TIFF" else 16
    used = max(int(values.max(initial=0)).bit_length(), 8)
    if own or used >= bits:
        return 2**bits - 1, ""
    return 2**used - 1, f" of which {used} are used"


def _grey_of_colour(image: Image.Image) -> NDArray[np.float32]:
    """Return the grey [H, W] of a picture whose channels agree; transparent pixels are black."""
    channels = np.asarray(image).astype(np.float32) / np.float32(255)
    colours = channels[..., :3] if image.mode != "LA" else channels[..., :1]
    refuse_colour(colours)
    grey = colours.mean(axis=-1, dtype=np.float32)
    if image.mode in ("LA", "RGBA"):
        grey = grey * channels[..., -1]
    return np.ascontiguousarray(grey)


def _depth(image: Image.Image, content: bytes) -> str:
    if image.format == "PNG" and content[24] == 16:
        # Pillow keeps 16 bits of grey alone, and 8 of colour.
        return "16 bit" if image.mode.startswith("I") else "16 bit read as 8"
    if image.format == "TIFF":
        bits = image.tag_v2.get(BITS_PER_SAMPLE, (1,))[0]  # type: ignore[attr-defined]
        return f"{bits} bit" if bits <= 8 or image.mode.startswith("I") else f"{bits} bit read as 8"
    return "8 bit"


def _mode_in_words(mode: str) -> str:
    return {
        "I": "signed or 32-bit integers",
        "F": "floating-point numbers",
        "CMYK": "print colours (CMYK)",
        "YCbCr": "colour (YCbCr)",
        "LAB": "colour (LAB)",
    }.get(mode, f"of mode {mode}")
