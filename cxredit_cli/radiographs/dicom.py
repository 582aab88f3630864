"""DICOM radiographs: the stored values, decoded, and what is refused as no radiograph."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels import get_decoder
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from cxredit_cli.errors import UnreadableImageError
from cxredit_cli.radiographs import dicom_position, dicom_shutter
from cxredit_cli.radiographs.colour import refuse_colour
from cxredit_cli.radiographs.dicom_decoders import plugin_of
from cxredit_cli.radiographs.dicom_display import Display, display_of
from cxredit_cli.radiographs.layout import Layout

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
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
    "PresentationLUTShape",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    *dicom_position.TAGS,
    *dicom_shutter.TAGS,
    *PIXELS,
)
NOT_RADIOGRAPHS = {
    "CT": "a CT slice",
    "MR": "an MR slice",
    "PT": "a PET slice",
    "NM": "a nuclear medicine image",
    "US": "an ultrasound image",
}
MOST_PIXELS = 170_000_000
DAMAGED = "the DICOM file is truncated or damaged; copy it again from where it came."


def holds_dicom(content: bytes) -> bool:
    """Whether `content`, which has no "DICM" after a preamble, reads as a DICOM data set with an image's size."""
    try:
        dataset = _parse(content)
        return bool(dataset.get("Rows")) and bool(dataset.get("Columns"))
    except Exception:  # random bytes fail to parse in every way there is
        return False


@dataclass(frozen=True, slots=True)
class DicomFilm:
    """A DICOM radiograph as it is shown, with what it is stored as."""

    pixels: NDArray[np.float32]  # [H, W] in 0..1, upright, of square pixels
    reading: str
    stored: NDArray[Any]  # as the matrix lies in the file: [h, w], or [h, w, 3] for grey stored as colour
    display: Display | None  # of the stored values; None for grey stored as colour
    layout: Layout


def read_dicom_film(content: bytes, any_view: bool = False) -> DicomFilm:
    """Decode one DICOM radiograph; `dicom_display` says how its values are shown, `dicom_position` how it lies.

    Raises UnreadableImageError, also for what its tags call no frontal chest, unless `any_view`.
    """
    try:
        dataset = _parse(content)
        _spread_functional_groups(dataset)
        stored, reading = _stored_pixels(dataset)
        if not any_view:
            dicom_position.refuse_other_views(dataset)
        display, shown = None, stored
        if stored.ndim == 3:
            colours = stored.astype(np.float32) / np.float32(2 ** int(dataset.BitsStored) - 1)
            refuse_colour(colours)
            shown = colours.mean(axis=-1, dtype=np.float32)
            reading.append("grey stored as colour")
        else:
            display = display_of(dataset, stored)
            shown = display.pixels(stored)
            reading += display.reading
        layout = dicom_position.layout_of(dataset, reading)
        return DicomFilm(layout.upright(shown), ", ".join(reading), stored, display, layout)
    except UnreadableImageError:
        raise
    except MemoryError:
        raise
    except Exception as error:
        # Whatever a decoder or a malformed tag raises; its text may hold values from the file, so it is not shown.
        raise UnreadableImageError(DAMAGED) from error


def _spread_functional_groups(dataset: pydicom.Dataset) -> None:
    """Bring windows, rescale and spacing of an enhanced image (PS3.3 C.7.6.16) to where other images have them."""
    for sequence in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in (dataset.get(sequence) or [])[:1]:
            for macro in ("FrameVOILUTSequence", "PixelValueTransformationSequence", "PixelMeasuresSequence"):
                for element in (group.get(macro) or [{}])[0]:
                    if element.keyword in TAGS and element.keyword not in dataset:
                        dataset.add(element)


def _parse(content: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(BytesIO(content), force=True, specific_tags=list(TAGS))


def _stored_pixels(dataset: pydicom.Dataset) -> tuple[NDArray[Any], list[str]]:
    """Decode the stored values [H, W] (or [H, W, 3] for colour), unused bits removed; refuse what is no radiograph."""
    modality = str(dataset.get("Modality", ""))
    if modality in NOT_RADIOGRAPHS:
        raise UnreadableImageError(f"it is {NOT_RADIOGRAPHS[modality]}; expected a radiograph (CR, DX or DR).")
    if not dataset.get("Rows") or not dataset.get("Columns") or not any(keyword in dataset for keyword in PIXELS):
        raise UnreadableImageError("the DICOM file holds no image or is truncated; expected a radiograph.")
    if dataset.Rows * dataset.Columns > MOST_PIXELS:
        raise UnreadableImageError("it is far larger than any radiograph; expected at most 170 megapixels.")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise UnreadableImageError(f"it holds {frames} frames; expected a single radiograph.")
    if str(dataset.get("PhotometricInterpretation", "")) == "PALETTE COLOR":
        raise UnreadableImageError("it is a colour picture (PALETTE COLOR); expected a grey radiograph.")

    syntax = transfer_syntax(dataset)
    if "PixelData" not in dataset:
        numbers, _ = get_decoder(syntax).as_array(dataset, index=0)
        if not np.isfinite(numbers).all():
            raise UnreadableImageError("some of its values are no finite numbers; expected a radiograph.")
        return numbers, ["DICOM", f"{8 * numbers.dtype.itemsize} bit real numbers"]
    plugin = plugin_of(syntax)
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


def transfer_syntax(dataset: pydicom.Dataset) -> UID:
    meta = getattr(dataset, "file_meta", None)
    if meta is not None and "TransferSyntaxUID" in meta:
        return UID(meta.TransferSyntaxUID)
    # A bare data set, without preamble and file meta information.
    implicit, little = dataset.original_encoding
    if "PixelData" in dataset and dataset["PixelData"].is_undefined_length:
        raise UnreadableImageError("its image is compressed but its header does not say how; export it again as DICOM.")
    syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    return syntax if little else UID("1.2.840.10008.1.2.2")
