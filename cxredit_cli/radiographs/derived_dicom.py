"""An edited DICOM film as a DICOM file: the same matrix, bits, tables and spacing, a new instance, no patient.

Attributes are copied by a list of those that say how the picture is shown and laid out; everything else, dates, names,
places, free texts and private tags, is left behind (in the spirit of PS3.15 E, the basic profile).
"""

import re
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)

from cxredit_cli import __version__
from cxredit_cli.atomic import written_aside
from cxredit_cli.radiographs.dicom import transfer_syntax
from cxredit_cli.radiographs.film import Film
from cxredit_cli.radiographs.pseudonyms import Pseudonyms

PICTURE = (
    *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PixelAspectRatio", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("RescaleIntercept", "RescaleSlope", "RescaleType", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *("PresentationLUTShape", "PresentationIntentType", "PixelIntensityRelationship", "PixelIntensityRelationshipSign"),
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelSpacingCalibrationType"),
    *("ShutterShape", "ShutterLeftVerticalEdge", "ShutterRightVerticalEdge", "ShutterUpperHorizontalEdge"),
    *("ShutterLowerHorizontalEdge", "CenterOfCircularShutter", "RadiusOfCircularShutter"),
    *("VerticesOfThePolygonalShutter", "ShutterPresentationValue"),
    *("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
)
POSITION = (
    *("Laterality", "ImageLaterality", "PatientOrientation", "ViewPosition", "BodyPartExamined"),
    *("AnatomicRegionSequence", "ViewCodeSequence", "BurnedInAnnotation", "KVP", "DetectorType"),
)
PATIENT_AND_STUDY = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientAge"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "StudyID", "StudyDescription"),
    *("ReferringPhysicianName", "AcquisitionDate", "AcquisitionTime", "ContentDate", "ContentTime"),
)
EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber"),
    *("ReferringPhysicianName", "StudyID", "PatientOrientation"),
)
DX = (DigitalXRayImageStorageForPresentation, DigitalXRayImageStorageForProcessing)
VALID = {"DA": r"\d{8}|", "TM": r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?|", "AS": r"\d{3}[DWMY]|", "CS": r"[A-Z0-9_ ]{0,16}"}
UNPAIRED = ("CHEST", "THORAX", "ABDOMEN", "SKULL", "HEAD", "NECK", "PELVIS", "SPINE", "TSPINE", "STERNUM")
UNCOMPRESSED = ("1.2.840.10008.1.2", ExplicitVRLittleEndian, "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")
LOSSY = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.91")


@dataclass(frozen=True, slots=True)
class Derivation:
    """What an edited file says of itself."""

    description: str  # of the edit: direction, strength, model
    recipe: str  # stands for all that decides the edit
    number: int  # of the image in its series
    pseudonyms: Pseudonyms | None  # needed for DICOM
    keep_identity: bool = False  # copy patient and study, so that the edit lies beside its original


def write_derived_dicom(path: Path, film: Film, stored: NDArray[Any], derivation: Derivation) -> None:
    """Write `stored`, the edited values of a DICOM film, whole or not at all.

    The same film, edit and secret make the same file.
    """
    original = pydicom.dcmread(BytesIO(film.content), force=True)
    syntax = transfer_syntax(original)
    dataset = Dataset()
    characters = original.get("SpecificCharacterSet") if derivation.keep_identity else "ISO_IR 192"
    if characters:
        dataset.SpecificCharacterSet = characters
    for keyword in (*PICTURE, *POSITION, *(PATIENT_AND_STUDY if derivation.keep_identity else ())):
        if keyword in original and _is_valid(original[keyword]):
            dataset.add(original[keyword])
    _tidy(dataset)
    _identify(dataset, original, derivation)
    _describe(dataset, original, derivation, lossy=str(syntax) in LOSSY)
    words = _words(original, film.decoded.stored, stored, uncompressed=str(syntax) in UNCOMPRESSED)
    _copy_overlays(dataset, original, words)
    if stored.ndim == 3:
        dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "RGB", 0
    dataset.PixelData = words.tobytes() + b"\0" * (words.nbytes % 2)
    dataset["PixelData"].VR = "OW" if words.dtype.itemsize > 1 else "OB"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    with written_aside(path) as aside:
        dataset.save_as(aside, enforce_file_format=True)


def _is_valid(element: pydicom.DataElement) -> bool:
    """Whether an attribute of the original holds what its kind allows; many files have dates such as 1993.02.24."""
    pattern = VALID.get(element.VR)
    if pattern is not None and not all(re.fullmatch(pattern, str(value)) for value in _values(element)):
        return False
    return "Spacing" not in element.keyword or element.VR != "DS" or all(float(v) > 0 for v in _values(element))


def _values(element: pydicom.DataElement) -> list[Any]:
    return list(element.value) if element.VM > 1 else [element.value] if element.VM == 1 else []


def _tidy(dataset: Dataset) -> None:
    """What is redundant or says less than the data: an aspect ratio of 1:1, eight bits for entries of sixteen."""
    if list(dataset.get("PixelAspectRatio", [])) in ([1, 1], ["1", "1"]):
        del dataset.PixelAspectRatio
    for item in (*dataset.get("ModalityLUTSequence", []), *dataset.get("VOILUTSequence", [])):
        entries = int(item.LUTDescriptor[0]) or 2**16
        data = item.LUTData
        values = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.asarray(data)
        if len(values) < entries:
            continue  # bytes already
        if values.max(initial=0) > 255:
            item.LUTDescriptor = [*item.LUTDescriptor[:2], 16]
        else:
            item.LUTDescriptor = [*item.LUTDescriptor[:2], 8]
            item.add_new("LUTData", "OW", values[:entries].astype(np.uint8).tobytes() + b"\0" * (entries % 2))


def _copy_overlays(dataset: Dataset, original: Dataset, words: NDArray[Any]) -> None:
    """Overlays in unused bits of the words stay there, and stand beside them too, as the standard has it today.

    Overlays that lie beside the picture are left behind: they hold text as often as not.
    """
    for group in range(0x6000, 0x6020, 2):
        plane = original.group_dataset(group)
        position = plane.get((group, 0x0102))
        if position is None or (group, 0x3000) in plane or int(plane.get((group, 0x0100), position).value) == 1:
            continue
        for element in plane:
            dataset.add(element)
        bits = (words.astype(np.int64) >> int(position.value)) & 1
        packed = np.packbits(bits.astype(np.uint8).ravel(), bitorder="little").tobytes()
        dataset.add_new((group, 0x0100), "US", 1)
        dataset.add_new((group, 0x0102), "US", 0)
        dataset.add_new((group, 0x3000), "OW", packed + b"\0" * (len(packed) % 2))


def _identify(dataset: Dataset, original: Dataset, derivation: Derivation) -> None:
    """New instance and series; patient and study by pseudonym unless they are kept."""
    names = derivation.pseudonyms
    assert names is not None
    patient = str(original.get("PatientID") or original.get("PatientName") or original.get("StudyInstanceUID") or "")
    study, instance = (str(original.get(keyword) or "") for keyword in ("StudyInstanceUID", "SOPInstanceUID"))
    for keyword in EMPTY:
        if keyword not in dataset:
            setattr(dataset, keyword, "")
    if derivation.keep_identity and study:
        dataset.PatientIdentityRemoved = "NO"
        item = Dataset()
        item.ReferencedSOPClassUID = original.get("SOPClassUID", SecondaryCaptureImageStorage)
        item.ReferencedSOPInstanceUID = instance or names.uid("instance", patient)
        item.PurposeOfReferenceCodeSequence = [_code("121322", "Source of Image Processing Operation")]
        dataset.SourceImageSequence = [item]
    else:
        pseudonym = names.name("patient", patient)
        dataset.PatientName, dataset.PatientID = f"{pseudonym}^Pseudonym", pseudonym
        dataset.StudyInstanceUID = names.uid("study", study or patient)
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = "Picture attributes kept, all else removed; keyed pseudonym"
    dataset.SeriesInstanceUID = names.uid("series", f"{study}{patient}{derivation.recipe}")
    dataset.SOPInstanceUID = names.uid("instance", f"{study}{instance}{derivation.recipe}{derivation.description}")
    dataset.SeriesNumber, dataset.InstanceNumber = 9001, derivation.number


def _describe(dataset: Dataset, original: Dataset, derivation: Derivation, lossy: bool) -> None:
    """What kind of image this is, in the attributes that its class requires, and that it is synthetic."""
    kind = original.get("SOPClassUID")
    dataset.SOPClassUID = kind if kind in (*DX, ComputedRadiographyImageStorage) else SecondaryCaptureImageStorage
    dataset.Modality = {ComputedRadiographyImageStorage: "CR"}.get(kind, "DX" if kind in DX else "OT")
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.DerivationDescription = f"SYNTHETIC, NOT FOR DIAGNOSIS. {derivation.description}"[:1024]
    dataset.DerivationCodeSequence = [_code("113042", "Pixel by pixel addition")]
    dataset.ImageComments = "SYNTHETIC, NOT FOR DIAGNOSIS"
    dataset.SeriesDescription = "SYNTHETIC: edited by cxredit"
    dataset.Manufacturer, dataset.SoftwareVersions = "cxredit", __version__
    if lossy:
        dataset.LossyImageCompression = "01"
    if "BurnedInAnnotation" not in dataset:
        dataset.BurnedInAnnotation = "NO"
    if dataset.get("BodyPartExamined") in UNPAIRED or dataset.get("ImageLaterality"):
        # Of a part that there is one of, the side may stand in the image alone, not in the series (PS3.3 C.7.3.1).
        side = str(dataset.pop("Laterality").value) if "Laterality" in dataset else ""
        if side and "ImageLaterality" not in dataset:
            dataset.ImageLaterality = side
    elif "Laterality" not in dataset:
        dataset.Laterality = ""
    if kind == ComputedRadiographyImageStorage:
        for keyword in ("BodyPartExamined", "ViewPosition"):
            if keyword not in dataset:
                setattr(dataset, keyword, "")
    elif kind in DX:
        _complete_dx(dataset)
    else:
        dataset.ConversionType = "WSD"


def _complete_dx(dataset: Dataset) -> None:
    """What the DX image module requires (PS3.3 C.8.11) and the original does not say, as neutrally as it allows."""
    inverted = dataset.get("PhotometricInterpretation") == "MONOCHROME1"
    for keyword, value in {
        "PresentationIntentType": "FOR PRESENTATION",
        "ImageLaterality": "U",
        "PixelIntensityRelationship": "LOG",
        "PixelIntensityRelationshipSign": 1 if inverted else -1,
        "RescaleIntercept": "0",
        "RescaleSlope": "1",
        "RescaleType": "US",
        "PresentationLUTShape": "INVERSE" if inverted else "IDENTITY",
        "LossyImageCompression": "00",
        "DetectorType": "",
        "AnatomicRegionSequence": None,
        "AcquisitionContextSequence": None,
    }.items():
        if keyword not in dataset:
            setattr(dataset, keyword, [] if value is None else value)
    dataset.ImageType = ["DERIVED", "SECONDARY", ""]
    if not dataset.get("PatientOrientation"):
        dataset.PatientOrientation = ["L", "F"]


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def _words(original: Dataset, before: NDArray[Any], after: NDArray[Any], uncompressed: bool) -> NDArray[Any]:
    """The words of the pixel data: those of the file with the stored bits of the changed pixels replaced."""
    allocated, bits = int(original.BitsAllocated), int(original.BitsStored)
    little = np.dtype(f"<u{allocated // 8}")
    if not uncompressed or after.ndim == 3:
        return np.ascontiguousarray(after.astype(f"<{after.dtype.kind}{allocated // 8}"))
    order = "<" if original.original_encoding[1] is not False else ">"
    data = np.frombuffer(original.PixelData, dtype=np.dtype(f"{order}u{allocated // 8}"), count=before.size)
    words = data.astype(np.uint64).reshape(before.shape)
    shift = int(original.get("HighBit", bits - 1)) + 1 - bits
    stored_bits = np.uint64(((1 << bits) - 1) << shift)
    whole = np.uint64((1 << allocated) - 1)

    def placed(values: NDArray[Any]) -> NDArray[np.uint64]:
        return (values.astype(np.int64).astype(np.uint64) << np.uint64(shift)) & whole

    # Signed values fill the word with their sign; other bits beside the stored ones are overlays, which stay.
    extended = placed(before) == words
    kept = (words & ~stored_bits) | (placed(after) & stored_bits)
    new = np.where(before == after, words, np.where(extended, placed(after), kept))
    return np.ascontiguousarray(new.astype(little))
