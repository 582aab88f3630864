"""DICOM radiographs through the whole display pipeline: modality LUT, then VOI LUT or window, then inversion."""

from importlib.util import find_spec
from io import BytesIO
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.multival import MultiValue
from pydicom.pixels import get_decoder
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
)

from cxredit_cli.errors import UnreadableImageError
from cxredit_cli.radiographs.colour import refuse_colour

# Only these are ever read: what is not read cannot reach a log or an output.
TAGS = (
    "Modality",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "VOILUTSequence",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "PresentationIntentType",
    "PixelData",
)
NOT_RADIOGRAPHS = {
    "CT": "a CT slice",
    "MR": "an MR slice",
    "PT": "a PET slice",
    "NM": "a nuclear medicine image",
    "US": "an ultrasound image",
}
MOST_PIXELS = 170_000_000
Limits = tuple[float, float]
DAMAGED = "the DICOM file is truncated or damaged; copy it again from where it came."


def holds_dicom(content: bytes) -> bool:
    """Whether `content`, which has no "DICM" after a preamble, reads as a DICOM data set with an image's size."""
    try:
        dataset = _parse(content)
        return bool(dataset.get("Rows")) and bool(dataset.get("Columns"))
    except Exception:  # random bytes fail to parse in every way there is
        return False


def read_dicom(content: bytes) -> tuple[NDArray[np.float32], str]:
    """Return the pixels [H, W] in 0..1 of one DICOM radiograph and one line that says how they were read.

    DICOM PS3.3 C.11.1 (modality LUT), C.11.2 (VOI LUT and window), C.7.6.3.1.2 (MONOCHROME1). The first of several
    windows or VOI LUTs is used; the output range of either becomes 0..1. Raises UnreadableImageError.
    """
    try:
        dataset = _parse(content)
        stored, plain_reading = _stored_pixels(dataset)
        return _display(dataset, stored, plain_reading)
    except UnreadableImageError:
        raise
    except MemoryError:
        raise
    except Exception as error:
        # Whatever a decoder or a malformed tag raises; its text may hold values from the file, so it is not shown.
        raise UnreadableImageError(DAMAGED) from error


def _parse(content: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(BytesIO(content), force=True, specific_tags=list(TAGS))


def _stored_pixels(dataset: pydicom.Dataset) -> tuple[NDArray[Any], list[str]]:
    """Decode the stored values [H, W] (or [H, W, 3] for colour), unused bits removed; refuse what is no radiograph."""
    modality = str(dataset.get("Modality", ""))
    if modality in NOT_RADIOGRAPHS:
        raise UnreadableImageError(f"it is {NOT_RADIOGRAPHS[modality]}; expected a radiograph (CR, DX or DR).")
    if not dataset.get("Rows") or not dataset.get("Columns") or "PixelData" not in dataset:
        raise UnreadableImageError("the DICOM file holds no image or is truncated; expected a radiograph.")
    if dataset.Rows * dataset.Columns > MOST_PIXELS:
        raise UnreadableImageError("it is far larger than any radiograph; expected at most 170 megapixels.")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise UnreadableImageError(f"it holds {frames} frames; expected a single radiograph.")
    if str(dataset.get("PhotometricInterpretation", "")) == "PALETTE COLOR":
        raise UnreadableImageError("it is a colour picture (PALETTE COLOR); expected a grey radiograph.")

    syntax = _transfer_syntax(dataset)
    plugin = _plugin(syntax)
    shift = int(dataset.get("HighBit", dataset.BitsStored - 1)) + 1 - int(dataset.BitsStored)
    bits = int(dataset.BitsStored)
    if shift > 0 and not syntax.is_encapsulated:
        dataset.BitsStored = bits + shift  # values that do not begin at the lowest bit: decode those bits too
    pixels, _ = get_decoder(syntax).as_array(dataset, index=0, decoding_plugin=plugin)
    if shift > 0 and not syntax.is_encapsulated:
        dataset.BitsStored = bits
        pixels = pixels >> shift
    short = syntax.name.split(" (")[0].split(",")[0].removesuffix(" Image Compression")
    name = f" {short}" if syntax.is_encapsulated else ""
    raw = ["raw, for processing"] if dataset.get("PresentationIntentType") == "FOR PROCESSING" else []
    return pixels, [f"DICOM{name}", f"{bits} bit", *raw]


def _transfer_syntax(dataset: pydicom.Dataset) -> UID:
    meta = getattr(dataset, "file_meta", None)
    if meta is not None and "TransferSyntaxUID" in meta:
        return UID(meta.TransferSyntaxUID)
    # A bare data set, without preamble and file meta information.
    implicit, little = dataset.original_encoding
    if dataset["PixelData"].is_undefined_length:
        raise UnreadableImageError("its image is compressed but its header does not say how; export it again as DICOM.")
    syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    return syntax if little else UID("1.2.840.10008.1.2.2")


def _plugin(syntax: UID) -> str:
    """Name the decoding plug-in for `syntax`, or say which package to install."""
    if not syntax.is_encapsulated:
        return ""
    if syntax in JPEG2000TransferSyntaxes or "HTJ2K" in syntax.keyword:
        module, package = "openjpeg", "pylibjpeg-openjpeg"
    elif syntax in JPEGLSTransferSyntaxes or syntax in JPEGTransferSyntaxes:
        module, package = "libjpeg", "pylibjpeg-libjpeg"
    elif syntax.keyword == "RLELossless":
        # Not pylibjpeg-rle: on damaged data it panics, past every `except Exception`, and prints that it did.
        return "pydicom"
    else:
        raise UnreadableImageError(
            f"its compression ({syntax.name}) is not one for radiographs; convert it to uncompressed DICOM."
        )
    if find_spec("pylibjpeg") is None or find_spec(module) is None:
        raise UnreadableImageError(
            f"its compression ({syntax.name}) needs a package that is missing; pip install pylibjpeg {package}"
        )
    return "pylibjpeg"


def _display(dataset: pydicom.Dataset, stored: NDArray[Any], reading: list[str]) -> tuple[NDArray[np.float32], str]:
    photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
    bits = int(dataset.BitsStored)
    if stored.ndim == 3:
        colours = stored.astype(np.float32) / np.float32(2**bits - 1)
        refuse_colour(colours)
        return colours.mean(axis=-1, dtype=np.float32), ", ".join([*reading, "grey stored as colour"])

    padding = _padding(dataset, stored)
    signed = int(dataset.get("PixelRepresentation", 0)) == 1
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    values, (low, high) = _modality_lut(dataset, stored, (low, high), reading)
    pixels = _voi(dataset, values, (low, high), padding, reading)
    if photometric == "MONOCHROME1":  # last: the window acts on values, the inversion on what is shown
        pixels = 1 - pixels
        reading.append("MONOCHROME1 inverted")
    if padding is not None:
        pixels[padding] = 0
        reading.append(f"{padding.mean():.0%} padding black")
    return np.ascontiguousarray(pixels, dtype=np.float32), ", ".join(reading)


def _padding(dataset: pydicom.Dataset, stored: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Return where the stored values are padding (DICOM PS3.3 C.7.5.1.1.2); None if nowhere or everywhere."""
    if dataset.get("PixelPaddingValue") is None:
        return None
    signed = np.issubdtype(stored.dtype, np.signedinteger)
    ends = [_as_signed(int(dataset.PixelPaddingValue), signed)]
    if dataset.get("PixelPaddingRangeLimit") is not None:
        ends.append(_as_signed(int(dataset.PixelPaddingRangeLimit), signed))
    mask: NDArray[np.bool_] = (stored >= min(ends)) & (stored <= max(ends))
    return mask if mask.any() and not mask.all() else None


def _as_signed(value: int, signed: bool) -> int:
    """Reinterpret 16 bits that may have been written as the other of US and SS."""
    if signed and value >= 2**15:
        return value - 2**16
    return value + 2**16 if not signed and value < 0 else value


def _modality_lut(
    dataset: pydicom.Dataset, stored: NDArray[Any], limits: Limits, reading: list[str]
) -> tuple[NDArray[np.float32], Limits]:
    """Return the values after the modality LUT or rescale, and the least and largest that could come out."""
    if dataset.get("ModalityLUTSequence"):
        values, white = _look_up(dataset, dataset.ModalityLUTSequence[0], stored, limits)
        reading.append("modality LUT")
        return values, (0, white)
    slope, intercept = _number(dataset, "RescaleSlope"), _number(dataset, "RescaleIntercept")
    if slope is None or slope == 0:
        slope = 1.0
    ends = [slope * limit + (intercept or 0) for limit in limits]
    if (slope, intercept or 0) == (1, 0):
        return stored.astype(np.float32), limits
    reading.append(f"rescale {slope:g}/{intercept or 0:g}")
    return (stored * np.float64(slope) + (intercept or 0)).astype(np.float32), (min(ends), max(ends))


def _voi(
    dataset: pydicom.Dataset,
    values: NDArray[np.float32],
    limits: Limits,
    padding: NDArray[np.bool_] | None,
    reading: list[str],
) -> NDArray[np.float32]:
    """Map values to 0..1 by the first VOI LUT, else the first window, else the range of the values."""
    if dataset.get("VOILUTSequence"):
        looked_up, white = _look_up(dataset, dataset.VOILUTSequence[0], values, limits)
        reading.append("VOI LUT")
        return np.asarray(looked_up / white, dtype=np.float32)
    inside = values if padding is None else values[~padding]
    centre, width = _number(dataset, "WindowCenter"), _number(dataset, "WindowWidth")
    if centre is not None and width is not None:
        function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
        if width >= 1 or (width > 0 and function != "LINEAR"):
            # A window that shows every value alike was meant for other values; the picture would be blank.
            least, largest = window(np.array([inside.min(), inside.max()]), centre, width, function)
            if least < largest or inside.min() == inside.max():
                named = "" if function == "LINEAR" else f" {function}"
                reading.append(f"window {centre:g}/{width:g}{named}")
                return window(values, centre, width, function)
        reading.append(f"window {centre:g}/{width:g} ignored")
    return _by_range(values, inside, limits, reading)


def window(values: NDArray[np.floating], centre: float, width: float, function: str) -> NDArray[np.float32]:
    """Map values to 0..1 by a window, as DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3 define the three functions."""
    values = values.astype(np.float64)
    if function == "SIGMOID":
        shown = 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    elif function == "LINEAR_EXACT":
        shown = np.clip((values - centre) / width + 0.5, 0, 1)
    elif width == 1:  # LINEAR, where the formula below divides by 0
        shown = values > centre - 0.5
    else:
        shown = np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
    return np.asarray(shown, dtype=np.float32)


def _by_range(
    values: NDArray[np.float32], inside: NDArray[np.float32], limits: Limits, reading: list[str]
) -> NDArray[np.float32]:
    """Map values to 0..1 where the file gives neither a window nor a VOI LUT.

    By the standard the whole range of the stored bits is shown. Detectors often fill only a part of it, and the
    picture would be a flat grey, so where 99.8 % of the values lie in less than half of it, their range is shown.
    """
    low, high = limits
    sample = inside.ravel()[:: max(inside.size // 2**20, 1)]
    least, largest = (float(value) for value in np.percentile(sample, [0.1, 99.9]))
    if high - low > 255 and 0 < largest - least < (high - low) / 2:
        low, high = least, largest
        reading.append(f"no window, stretched from {low:g}..{high:g}")
    else:
        reading.append(f"no window, full range {low:g}..{high:g}")
    shown = (values - np.float32(low)) / np.float32(high - low)
    return np.asarray(np.clip(shown, 0, 1), dtype=np.float32)


def _look_up(
    dataset: pydicom.Dataset, item: pydicom.Dataset, values: NDArray[Any], limits: Limits
) -> tuple[NDArray[np.float32], int]:
    """Return the values through a LUT item (DICOM PS3.3 C.11.1.1, C.11.2.1.1), and the value that is white.

    White is the largest number of the bits that the entries use: descriptors are often wrong about them.
    """
    entries, first, _ = (int(number) for number in item.LUTDescriptor)
    entries = entries or 2**16
    first = _as_signed(first, signed=limits[0] < 0)
    data = item.LUTData
    if isinstance(data, bytes):
        order = "<" if dataset.original_encoding[1] is not False else ">"
        table = np.frombuffer(data, dtype=np.uint8 if len(data) < 2 * entries else f"{order}u2")
    else:
        table = np.asarray(data)
    table = table[:entries].astype(np.float32)
    index = np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)
    return table[index], 2 ** max(int(table.max()).bit_length(), 1) - 1


def _number(dataset: pydicom.Dataset, keyword: str) -> float | None:
    """Return the first value of a decimal string, None where it is missing, empty or no number."""
    value = dataset.get(keyword)
    if value is None or isinstance(value, str):
        return None
    try:
        number = float(value if not isinstance(value, MultiValue) else value[0])
    except (TypeError, ValueError, IndexError):
        return None
    return number if np.isfinite(number) else None
