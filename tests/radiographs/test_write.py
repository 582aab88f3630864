"""PNGs that say what they are, whole or not at all."""

import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from PIL import Image

from cxredit_cli.atomic import write_text, written_aside
from cxredit_cli.radiographs.read import read_radiograph
from cxredit_cli.radiographs.write import write_dicom, write_png


@pytest.mark.parametrize(("bits", "white"), [(8, 255), (16, 65535)])
def test_levels_and_text(tmp_path, bits, white):
    pixels = np.array([[-0.5, 0.0, 0.5], [0.25, 1.0, 3.0]], dtype=np.float32)
    path = tmp_path / "folder" / "edited.png"
    write_png(path, pixels, {"Comment": "synthetic, not a patient", "cxredit:model": "größer → ß"}, bits=bits)
    image = Image.open(path)
    assert np.asarray(image).tolist() == [[0, 0, round(white / 2)], [round(white / 4), white, white]]
    assert image.text["Comment"] == "synthetic, not a patient"
    assert image.text["cxredit:model"] == "größer → ß"
    assert image.text["Software"].startswith("cxredit ")
    assert b"tEXtComment" in path.read_bytes()
    assert [file.name for file in path.parent.iterdir()] == ["edited.png"]


def test_an_error_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def fail() -> None:
        with written_aside(path) as aside:
            aside.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_dicom_says_that_it_is_synthetic_and_reads_back(tmp_path):
    pixels = np.linspace(0, 1, 64 * 48, dtype=np.float32).reshape(64, 48) * 0.3
    path = tmp_path / "edited.dcm"
    write_dicom(path, pixels, "Edited by model 0123 along Herzgröße 心臓, strength +3")
    np.testing.assert_allclose(read_radiograph(path).pixels, pixels, atol=1 / 65535)
    dataset = pydicom.dcmread(path)
    assert dataset.ImageType == ["DERIVED", "SECONDARY"]
    assert dataset.ConversionType == "SYN"
    assert "SYNTHETIC" in dataset.DerivationDescription
    assert "along Herzgröße 心臓, strength +3" in dataset.DerivationDescription
    assert dataset.BurnedInAnnotation == "NO"
    assert not str(dataset.PatientName)
    assert not dataset.PatientID
    assert not dataset.StudyDate
    again = tmp_path / "again.dcm"
    write_dicom(again, pixels, "Edited by model 0123 along Herzgröße 心臓, strength +3")
    assert again.read_bytes() == path.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["again.dcm", "edited.dcm"]


def test_a_secondary_capture_is_numbered_and_says_how_it_lies(tmp_path):
    path = tmp_path / "edit.dcm"
    write_dicom(path, np.zeros((8, 8)), "an edit", 3)
    dataset = pydicom.dcmread(path)
    assert (dataset.SeriesNumber, dataset.InstanceNumber) == (9001, 3)
    assert list(dataset.PatientOrientation) == ["L", "F"]
    assert dataset.BodyPartExamined == "CHEST"
    if shutil.which("dciodvfy"):
        checked = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        assert "Error" not in checked.stderr
