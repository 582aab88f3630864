"""Writing images that say what they are: synthetic or edited, by what and how."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from cxredit_cli import __version__
from cxredit_cli.atomic import write_bytes, written_aside


def write_png(
    path: str | Path, pixels: NDArray[np.floating], text: Mapping[str, str], bits: Literal[8, 16] = 8
) -> None:
    """Write what `encode_png` returns, whole or not at all."""
    write_bytes(Path(path), encode_png(pixels, text, bits))


def natural_bits(pixels: NDArray[np.floating]) -> Literal[8, 16]:
    """8 where every one of `pixels` in 0..1 is one of 256 levels, so that an 8-bit file holds all of them; else 16."""
    levels = np.asarray(pixels, dtype=np.float64) * 255
    return 8 if np.abs(levels - np.rint(levels)).max(initial=0) < 1e-3 else 16


def encode_png(pixels: NDArray[np.floating], text: Mapping[str, str], bits: Literal[8, 16] = 8) -> bytes:
    """A grey PNG of `pixels` [H, W] in 0..1 (clipped), with `text` as its tEXt metadata.

    `text` says what the image is: synthetic or edited, by what model, direction and strength.
    """
    largest = 2**bits - 1
    levels = np.rint(np.clip(pixels, 0, 1).astype(np.float64) * largest)
    info = png_text({"Software": f"cxredit {__version__}", **text})
    file = BytesIO()
    Image.fromarray(levels.astype(np.uint8 if bits == 8 else np.uint16)).save(file, format="PNG", pnginfo=info)
    return file.getvalue()


def png_text(text: Mapping[str, str]) -> PngInfo:
    """`text` as the metadata of a PNG, for Pillow."""
    info = PngInfo()
    for key, value in text.items():
        info.add_text(key, value)  # becomes iTXt where Latin-1 does not suffice
    return info


def write_dicom(path: str | Path, pixels: NDArray[np.floating], description: str, number: int = 1) -> None:
    """Write `pixels` [H, W] in 0..1 (clipped) as a 16-bit DICOM Secondary Capture, whole or not at all.

    Its tags say that it is derived and synthetic, and how (`description`, at most 1024 characters); it holds no
    patient, no date and no time. `number` is that of the image in its series. The same picture, description and number
    make the same file.
    """
    levels = np.rint(np.clip(pixels, 0, 1).astype(np.float64) * 65535).astype("<u2")
    content = levels.tobytes()
    dataset = pydicom.Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"  # UTF-8: a direction may have any name
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        setattr(dataset, keyword, generate_uid(entropy_srcs=[keyword, description, content.hex()]))
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.ConversionType = "SYN"  # a synthetic image, PS3.3 C.8.6.1
    dataset.DerivationDescription = f"SYNTHETIC, NOT FOR DIAGNOSIS. {description}"[:1024]
    dataset.SeriesDescription = "Synthetic: edited by cxredit"
    dataset.Manufacturer, dataset.SoftwareVersions = "cxredit", __version__
    dataset.Modality = "OT"
    dataset.BurnedInAnnotation, dataset.PatientIdentityRemoved = "NO", "YES"
    dataset.DeidentificationMethod = "No patient data was ever written"
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"):
        setattr(dataset, keyword, "")  # required to be present, allowed to be empty
    for keyword in ("AccessionNumber", "ReferringPhysicianName", "StudyID"):
        setattr(dataset, keyword, None)
    dataset.SeriesNumber, dataset.InstanceNumber = 9001, number
    # An unpaired part needs no side of the series (PS3.3 C.7.3.1); the generator's pictures are frontal and upright.
    dataset.BodyPartExamined, dataset.PatientOrientation = "CHEST", ["L", "F"]
    dataset.Rows, dataset.Columns = levels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.WindowCenter, dataset.WindowWidth = "32768", "65536"  # the whole range
    dataset.PixelData = content
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    with written_aside(Path(path)) as aside:
        dataset.save_as(aside, enforce_file_format=True)
