"""Fixtures that tests share: small real files and a tiny random model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of small real files."""
    return Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model with random weights: 32x32, 32-dimensional w, no encoder."""
    from cxredit_cli.networks.discriminator import Discriminator, DiscriminatorConfig
    from cxredit_cli.networks.generator import Generator, GeneratorConfig
    from cxredit_cli.storage.models import save_discriminator, save_generator

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny") / "model"
    config = GeneratorConfig(resolution=32, z_dim=32, w_dim=32, channel_base=256, channel_max=16)
    save_generator(folder, Generator(config), info={"name": "tiny random test model"})
    save_discriminator(folder, Discriminator(DiscriminatorConfig(resolution=32, channel_base=256, channel_max=16)))
    return folder


MakeDicom = Callable[..., Path]


@pytest.fixture
def make_dicom(tmp_path: Path) -> MakeDicom:
    """Return a function that writes stored values [H, W] with the given tags and returns the path."""

    def make(
        stored: Any,
        syntax: str = ExplicitVRLittleEndian,
        frame: bytes | None = None,
        preamble: bool = True,
        name: str = "scan.dcm",
        **tags: Any,
    ) -> Path:
        stored = np.asarray(stored)
        dataset = Dataset()
        dataset.SOPClassUID, dataset.SOPInstanceUID = ComputedRadiographyImageStorage, "1.2.3"
        dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "Secret^Person", "SECRET-1", "19500101"
        dataset.StudyDate, dataset.AccessionNumber, dataset.Modality = "20200202", "ACC99", "CR"
        dataset.Rows, dataset.Columns = stored.shape[:2]
        dataset.SamplesPerPixel = 1 if stored.ndim == 2 else stored.shape[2]
        dataset.PhotometricInterpretation = "MONOCHROME2" if stored.ndim == 2 else "RGB"
        if stored.ndim == 3:
            dataset.PlanarConfiguration = 0
        dataset.BitsAllocated = 8 * stored.dtype.itemsize
        dataset.PixelRepresentation = int(stored.dtype.kind == "i")
        dataset.BitsStored = tags.pop("BitsStored", dataset.BitsAllocated)
        dataset.HighBit = tags.pop("HighBit", dataset.BitsStored - 1)
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)
        dataset.PixelData = stored.tobytes() if frame is None else encapsulate([frame])
        dataset["PixelData"].VR = "OW" if dataset.BitsAllocated > 8 else "OB"
        path = tmp_path / name
        if preamble:
            dataset.file_meta = FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = syntax
            dataset.file_meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
            dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
            dataset.save_as(path, enforce_file_format=True)
        else:
            dataset.save_as(path, implicit_vr=syntax == "1.2.840.10008.1.2", little_endian=True)
        return path

    return make


def lut(entries: list[int], first: int, bits: int) -> Dataset:
    """One item of a modality or VOI LUT sequence."""
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item["LUTDescriptor"].VR = "SS" if first < 0 else "US"
    item.LUTData = entries
    item["LUTData"].VR = "US"
    return item


@pytest.fixture
def make_lut() -> Callable[[list[int], int, int], Dataset]:
    """Return a function that makes a LUT item."""
    return lut
