"""PNG, TIFF, JPEG, JPEG 2000, WebP and BMP pictures and numpy arrays: the stored values, and how they are shown."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import ExifTags, Image

from cxredit_cli.errors import UnreadableImageError
from cxredit_cli.radiographs.colour import refuse_colour
from cxredit_cli.radiographs.layout import Layout

PILLOW_FORMATS = ("PNG", "JPEG", "TIFF", "JPEG2000", "WEBP", "BMP")
NUMPY_MAGIC = b"\x93NUMPY"
MAGIC = (
    *(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", NUMPY_MAGIC),
    *(b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51", b"RIFF", b"BM"),
)
PNG_END = b"IEND"
PHOTOMETRIC_INTERPRETATION, BITS_PER_SAMPLE, SAMPLE_FORMAT = 262, 258, 339  # TIFF tags
WHITE_IS_ZERO, SIGNED = 0, 2
LIES_BY_EXIF = {2: 4, 3: 2, 4: 6, 5: 5, 6: 1, 7: 7, 8: 3}  # EXIF orientation: index of `layout.LIES`
MOST_PIXELS = 170_000_000
DAMAGES = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, AttributeError),
    tifffile.TiffFileError,
)


@dataclass(frozen=True, slots=True)
class PictureFilm:
    """A picture as it is shown, with what it is stored as."""

    pixels: NDArray[np.float32]  # [H, W] in 0..1, upright
    reading: str
    stored: NDArray[Any]  # as the matrix lies in the file: [h, w], or [h, w, 2 to 4] for grey with colour, transparency
    kind: str  # one of PILLOW_FORMATS, or NumPy
    white: int  # the stored value that is shown as 1, or as 0 where `inverted`
    inverted: bool = False
    exif_orientation: int = 1  # how the file says that it lies

    @property
    def layout(self) -> Layout:
        """How the stored matrix lies."""
        return Layout(LIES_BY_EXIF.get(self.exif_orientation, 0))


def read_picture_film(content: bytes) -> PictureFilm:
    """Decode a picture at its full bit depth. Raises UnreadableImageError."""
    if content.startswith(NUMPY_MAGIC):
        return _read_array(content)
    try:
        image: Image.Image = Image.open(BytesIO(content), formats=PILLOW_FORMATS)
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            raise UnreadableImageError(f"it holds {frames} frames; expected a single radiograph.")
        tags = getattr(image, "tag_v2", {})
        kind, description = str(image.format), f"{image.format} {_depth(image, content, tags)}"
        software = str(image.info.get("Software", ""))
        orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
        if kind == "TIFF" and orientation in LIES_BY_EXIF:
            image = Image.open(_not_turned(content), formats=PILLOW_FORMATS)
        image.load()
        if kind == "PNG" and PNG_END not in content:
            raise EOFError
    except UnreadableImageError:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadableImageError("it is far larger than any radiograph; expected at most 170 megapixels.") from error
    except DAMAGES as error:
        raise UnreadableImageError("the file is truncated or damaged; copy it again from where it came.") from error

    shown, note, stored, white, inverted = _shown(image, kind, tags, own=software.startswith("cxredit"))
    if orientation in LIES_BY_EXIF:
        note += ", turned as its EXIF says"
    lies = LIES_BY_EXIF.get(orientation, 0)
    return PictureFilm(Layout(lies).upright(shown), description + note, stored, kind, white, inverted, orientation)


def _not_turned(content: bytes) -> BytesIO:
    """The same TIFF that says that it lies upright: Pillow turns one while it loads, in version 13 wrongly."""
    file = BytesIO(content)
    with tifffile.TiffFile(file, mode="r+") as tiff:
        tiff.pages.first.tags["Orientation"].overwrite(1)
        return BytesIO(file.getvalue())


def _shown(
    image: Image.Image, kind: str, tags: Any, own: bool
) -> tuple[NDArray[np.float32], str, NDArray[Any], int, bool]:
    """What is shown [h, w] in 0..1, how, what is stored, which value of it is white, and whether white is zero."""
    if image.mode.startswith("I"):
        stored = _whole_numbers(image, tags)
        white, note = _largest_value(stored, kind, tags, own)
        # Pillow inverts 8 bits only.
        inverted = kind == "TIFF" and tags.get(PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO
        values = stored.astype(np.float32)
        pixels = (white - values if inverted else values) / np.float32(white)
        return pixels, note + (", white-is-zero inverted" if inverted else ""), stored, white, inverted
    if image.mode == "F":
        numbers = np.asarray(image, dtype=np.float32)
        _refuse_other_range(numbers)
        return numbers, " real numbers", numbers, 1, False
    if image.mode in ("1", "L"):
        stored8 = np.asarray(image.convert("L"))
        return stored8.astype(np.float32) / np.float32(255), "", stored8, 255, False
    if image.mode == "CMYK":  # of a grey film that went through a printer's hands
        image = image.convert("RGB")
        return _grey_of_colour(image), ", grey stored as print colours", np.asarray(image), 255, False
    if image.mode in ("LA", "RGB", "RGBA", "P", "PA"):
        if image.mode in ("P", "PA") or "transparency" in image.info:
            image = image.convert("RGBA")
        return _grey_of_colour(image), ", grey stored as colour", np.asarray(image), 255, False
    raise UnreadableImageError(
        f"its pixels are {_mode_in_words(image.mode)}; expected 8- or 16-bit grey, or grey stored as colour."
    )


def _whole_numbers(image: Image.Image, tags: Any) -> NDArray[Any]:
    """The values of a picture of more than 8 bits, in the type that the file has; negative ones are refused."""
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        return values.astype(np.uint16)
    signed = tags.get(SAMPLE_FORMAT, (1,))[0] == SIGNED
    bits = tags.get(BITS_PER_SAMPLE, (32,))[0]
    if bits == 16 and signed and values.max(initial=0) > np.iinfo(np.int16).max:
        values = values.astype(np.int32) - np.where(values > np.iinfo(np.int16).max, 2**16, 0)  # read as unsigned
    least, largest = int(values.min(initial=0)), int(values.max(initial=0))
    if least < 0 or largest >= 2**16:
        raise UnreadableImageError(
            f"its values run from {least} to {largest}, and nothing says which are black and white; expected 0 to at "
            "most 65535."
        )
    return values.astype(np.int16 if bits == 16 and signed else np.uint16 if bits == 16 else np.int32)


def _refuse_other_range(numbers: NDArray[Any]) -> None:
    """Raise UnreadableImageError for real numbers that are not within 0..1."""
    if not np.isfinite(numbers).all():
        raise UnreadableImageError("some of its values are no finite numbers; expected a radiograph.")
    least, largest = float(numbers.min()), float(numbers.max())
    if least < 0 or largest > 1:
        raise UnreadableImageError(
            f"its values are real numbers from {least:g} to {largest:g}, and nothing says which are black and white; "
            "expected 0 to 1."
        )


def _read_array(content: bytes) -> PictureFilm:
    """A numpy array: whole numbers of 8 or 16 bits, or real ones from 0 to 1."""
    try:
        file = BytesIO(content)
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape = read(file)[0]
        if int(np.prod([int(length) for length in shape], dtype=object)) > MOST_PIXELS:
            raise UnreadableImageError("it is far larger than any radiograph; expected at most 170 megapixels.")
        array = np.load(BytesIO(content), allow_pickle=False)
    except UnreadableImageError:
        raise
    except Exception as error:  # whatever a damaged header raises
        raise UnreadableImageError("the array is damaged, or holds no numbers; expected a radiograph.") from error
    stored = np.squeeze(array)
    if stored.ndim != 2 or 0 in stored.shape:
        raise UnreadableImageError(f"it is an array of shape {list(array.shape)}; expected [height, width].")
    if stored.dtype.kind == "f":
        _refuse_other_range(stored)
        numbers = stored.astype(np.float32)
        return PictureFilm(numbers, "NumPy real numbers", numbers, "NumPy", 1)
    if stored.dtype.kind != "u" or stored.dtype.itemsize > 2:
        raise UnreadableImageError(f"it is an array of {stored.dtype}; expected uint8, uint16 or real numbers in 0..1.")
    stored = np.ascontiguousarray(stored, dtype=stored.dtype.newbyteorder("="))
    white, note = (255, "") if stored.dtype == np.uint8 else _largest_value(stored, "NumPy", {}, own=False)
    bits = 8 * stored.dtype.itemsize
    return PictureFilm(stored.astype(np.float32) / np.float32(white), f"NumPy {bits} bit{note}", stored, "NumPy", white)


def _largest_value(values: NDArray[Any], kind: str, tags: Any, own: bool) -> tuple[int, str]:
    """What white is in a 16-bit file. Detectors' 10 to 15 bits are often stored as they are, so the top bit that the
    pixels use says what the range is, unless this tool wrote the file."""
    bits = min(tags.get(BITS_PER_SAMPLE, (16,))[0], 16) if kind == "TIFF" else 16
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


def _depth(image: Image.Image, content: bytes, tags: Any) -> str:
    if image.format == "PNG" and content[24] == 16:
        # Pillow keeps 16 bits of grey alone, and 8 of colour.
        return "16 bit" if image.mode.startswith("I") else "16 bit read as 8"
    if image.format == "TIFF":
        bits = tags.get(BITS_PER_SAMPLE, (1,))[0]
        signed = " signed" if image.mode.startswith("I") and tags.get(SAMPLE_FORMAT, (1,))[0] == SIGNED else ""
        return f"{bits} bit{signed}" if bits <= 8 or image.mode[0] in "IF" else f"{bits} bit read as 8"
    return "16 bit" if image.mode.startswith("I;16") else "8 bit"


def _mode_in_words(mode: str) -> str:
    return {"YCbCr": "colour (YCbCr)", "LAB": "colour (LAB)", "HSV": "colour (HSV)"}.get(mode, f"of mode {mode}")
