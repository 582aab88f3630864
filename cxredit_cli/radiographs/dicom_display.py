"""How the stored values of a DICOM radiograph are displayed: modality LUT, then VOI LUT or window, then inversion.

DICOM PS3.3 C.11.1 (modality LUT), C.11.2 (VOI LUT and window), C.7.6.3.1.2 (MONOCHROME1). The first of several windows
or VOI LUTs is used; the output range of either becomes 0..1. A PresentationLUTShape of INVERSE inverts MONOCHROME2
(C.11.6); with MONOCHROME1 it says the same thing again. What a display shutter hides is black (C.7.6.11).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.multival import MultiValue

from cxredit_cli.errors import UnreadableImageError
from cxredit_cli.radiographs.dicom_shutter import outside_shutter

Limits = tuple[float, float]
Show = Callable[[NDArray[Any]], NDArray[np.float32]]
FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
BY_PRESENTATION_SHAPE = "PresentationLUTShape"  # what `reading` says where tags leave it open whether to invert


@dataclass(frozen=True, slots=True)
class Display:
    """What grey in 0..1 each stored value is shown as."""

    show: Show  # of stored values, any shape; elementwise
    limits: tuple[int, int] | None  # the least and the largest value that the stored bits can hold; None: real numbers
    hidden: NDArray[np.bool_] | None  # [H, W] padding, and what lies outside of a shutter, which are black; None: none
    reading: tuple[str, ...]  # how, in words

    def pixels(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Stored values [H, W] as they are shown."""
        shown = self.show(stored)
        if self.hidden is not None:
            shown[self.hidden] = 0
        return np.ascontiguousarray(shown, dtype=np.float32)


def display_of(dataset: pydicom.Dataset, stored: NDArray[Any]) -> Display:
    """How the values [H, W] of `dataset`, decoded and with unused bits removed, are displayed."""
    reading: list[str] = []
    padding, shutter = _padding(dataset, stored), outside_shutter(dataset)
    limits = None if stored.dtype.kind == "f" else _limits(dataset)
    modality, ends = _modality_lut(dataset, limits, reading)
    values = modality(stored)
    voi = _voi(dataset, values if padding is None else values[~padding], ends, reading)
    monochrome1 = str(dataset.get("PhotometricInterpretation", "MONOCHROME2")) == "MONOCHROME1"
    shape = str(dataset.get("PresentationLUTShape") or "")
    inverted = monochrome1 or shape == "INVERSE"

    def show(some: NDArray[Any]) -> NDArray[np.float32]:
        shown = voi(modality(some))
        # Last: the window acts on values, the inversion on what is shown.
        return np.asarray(1 - shown if inverted else shown, dtype=np.float32)

    if inverted:
        against = f" against {BY_PRESENTATION_SHAPE} {shape}" if shape == "IDENTITY" else ""
        reading.append(f"MONOCHROME1 inverted{against}" if monochrome1 else f"{BY_PRESENTATION_SHAPE} {shape} inverted")
    if padding is not None:
        reading.append(f"{padding.mean():.0%} padding black")
    if shutter is not None:
        reading.append(f"{shutter.mean():.0%} behind a shutter black")
    hidden = padding if shutter is None else shutter if padding is None else padding | shutter
    return Display(show, limits, hidden, tuple(reading))


def _limits(dataset: pydicom.Dataset) -> tuple[int, int]:
    bits = int(dataset.BitsStored)
    if int(dataset.get("PixelRepresentation", 0)) == 1:
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def _padding(dataset: pydicom.Dataset, stored: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Return where the stored values are padding (DICOM PS3.3 C.7.5.1.1.2); None if nowhere or everywhere."""
    if dataset.get("PixelPaddingValue") is None or stored.dtype.kind == "f":
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


def _modality_lut(dataset: pydicom.Dataset, limits: Limits | None, reading: list[str]) -> tuple[Show, Limits | None]:
    """Return the modality LUT or rescale, and the least and largest value that could come out (None: any)."""
    if dataset.get("ModalityLUTSequence") and limits is not None:
        look_up, white = _lut(dataset, dataset.ModalityLUTSequence[0], limits)
        reading.append("modality LUT")
        return look_up, (0, white)
    slope, intercept = _number(dataset, "RescaleSlope"), _number(dataset, "RescaleIntercept")
    if slope is None or slope == 0:
        slope = 1.0
    if (slope, intercept or 0) == (1, 0):
        return (lambda stored: stored.astype(np.float32)), limits
    factor, offset = np.float64(slope), intercept or 0
    reading.append(f"rescale {slope:g}/{offset:g}")
    ends = None
    if limits is not None:
        low, high = sorted(float(factor) * limit + offset for limit in limits)
        ends = (low, high)
    return (lambda stored: (stored * factor + offset).astype(np.float32)), ends


def _voi(dataset: pydicom.Dataset, inside: NDArray[np.float32], limits: Limits | None, reading: list[str]) -> Show:
    """The map of values to 0..1: the first VOI LUT, else the first window, else the range of the values `inside`.

    Raises UnreadableImageError for a window of a kind that the standard does not know.
    """
    if dataset.get("VOILUTSequence") and limits is not None:
        look_up, white = _lut(dataset, dataset.VOILUTSequence[0], limits)
        reading.append("VOI LUT")
        return lambda values: np.asarray(look_up(values) / white, dtype=np.float32)
    centre, width = _number(dataset, "WindowCenter"), _number(dataset, "WindowWidth")
    if centre is not None and width is not None:
        function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
        if function not in FUNCTIONS:
            raise UnreadableImageError(
                f"its window is of an unknown kind (VOILUTFunction {function[:16]}); expected one of "
                f"{', '.join(FUNCTIONS)}."
            )
        if width >= 1 or (width > 0 and function != "LINEAR"):
            # A window that shows every value alike was meant for other values; the picture would be blank.
            least, largest = window(np.array([inside.min(), inside.max()]), centre, width, function)
            if least < largest or inside.min() == inside.max():
                named = "" if function == "LINEAR" else f" {function}"
                reading.append(f"window {centre:g}/{width:g}{named}")
                return partial(window, centre=centre, width=width, function=function)
        reading.append(f"window {centre:g}/{width:g} ignored")
    return _by_range(inside, limits, reading)


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


def _by_range(inside: NDArray[np.float32], limits: Limits | None, reading: list[str]) -> Show:
    """The map of values to 0..1 where the file gives neither a window nor a VOI LUT.

    By the standard the whole range of the stored bits is shown. Detectors often fill only a part of it, and the
    picture would be a flat grey, so where 99.8 % of the values lie in less than half of it, their range is shown.
    So it is for real numbers, which have no whole range.
    """
    sample = inside.ravel()[:: max(inside.size // 2**20, 1)]
    least, largest = (float(value) for value in np.percentile(sample, [0.1, 99.9]))
    low, high = limits or (least, max(largest, least + 1))
    if limits is None:
        if largest > least:
            high = largest
        reading.append(f"no window, stretched from {low:g}..{high:g}")
    elif high - low > 255 and 0 < largest - least < (high - low) / 2:
        low, high = least, largest
        reading.append(f"no window, stretched from {low:g}..{high:g}")
    else:
        reading.append(f"no window, full range {low:g}..{high:g}")
    black, span = np.float32(low), np.float32(high - low)
    return lambda values: np.asarray(np.clip((values - black) / span, 0, 1), dtype=np.float32)


def _lut(dataset: pydicom.Dataset, item: pydicom.Dataset, limits: Limits) -> tuple[Show, int]:
    """A LUT item (DICOM PS3.3 C.11.1.1, C.11.2.1.1) as a function, and the value that is white.

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

    def look_up(values: NDArray[Any]) -> NDArray[np.float32]:
        index = np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)
        return np.asarray(table[index], dtype=np.float32)

    return look_up, 2 ** max(int(table.max()).bit_length(), 1) - 1


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
