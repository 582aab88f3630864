"""PNG, TIFF and JPEG pictures: the stored values, and how they are shown."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from cxredit_cli.errors import UnreadableImageError
from cxredit_cli.radiographs.colour import refuse_colour

PILLOW_FORMATS = ("PNG", "JPEG", "TIFF")
PNG_END = b"IEND"
PHOTOMETRIC_INTERPRETATION, BITS_PER_SAMPLE = 262, 258  # TIFF tags
WHITE_IS_ZERO = 0


@dataclass(frozen=True, slots=True)
class PictureFilm:
    """A picture as it is shown, with what it is stored as."""

    pixels: NDArray[np.float32]  # [H, W] in 0..1
    reading: str
    stored: NDArray[Any]  # [H, W], or [H, W, 2 to 4] for grey stored as colour or with transparency
    kind: str  # PNG, JPEG or TIFF
    white: int  # the stored value that is shown as 1, or as 0 where `inverted`
    inverted: bool = False


def read_picture_film(content: bytes) -> PictureFilm:
    """Decode a picture at its full bit depth. Raises UnreadableImageError."""
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
        stored = np.asarray(image).astype(np.uint16)
        white, note = _largest_value(stored, image, tags, own=software.startswith("cxredit"))
        # Pillow inverts 8 bits only.
        inverted = kind == "TIFF" and tags.get(PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO
        values = stored.astype(np.float32)
        pixels = (white - values if inverted else values) / np.float32(white)
        note += ", white-is-zero inverted" if inverted else ""
        return PictureFilm(pixels, description + note, stored, str(kind), white, inverted)
    if image.mode in ("1", "L"):
        stored8 = np.asarray(image.convert("L"))
        return PictureFilm(stored8.astype(np.float32) / np.float32(255), description, stored8, str(kind), 255)
    if image.mode in ("LA", "RGB", "RGBA", "P", "PA"):
        if image.mode in ("P", "PA") or "transparency" in image.info:
            image = image.convert("RGBA")
        grey = _grey_of_colour(image)
        return PictureFilm(grey, f"{description}, grey stored as colour", np.asarray(image), str(kind), 255)
    raise UnreadableImageError(
        f"its pixels are {_mode_in_words(image.mode)}; expected 8- or 16-bit grey, or grey stored as colour."
    )


def _largest_value(values: NDArray[np.uint16], image: Image.Image, tags: Any, own: bool) -> tuple[int, str]:
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
