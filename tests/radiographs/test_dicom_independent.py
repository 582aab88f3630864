"""What is shown, against an independent implementation: dcmtk's dcm2pnm and dcmj2pnm.

Its pictures are stored in tests/data/dicom/dcmtk.npz (a part of a film of NIH ChestX-ray14 at 32x32, 12 bits, shown
in each way); where dcmtk is installed, it is asked again.
"""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxredit_cli.radiographs.read import read_radiograph

STORED = Path(__file__).parents[1] / "data" / "dicom" / "dcmtk.npz"
FILM = Path(__file__).parents[1] / "data" / "nih" / "00001336_000.png"
SHOWN = {
    "linear": ({"WindowCenter": 2100, "WindowWidth": 2500}, ["+Wi", "1"]),
    "sigmoid": ({"WindowCenter": 2100, "WindowWidth": 2500, "VOILUTFunction": "SIGMOID"}, ["+Wi", "1"]),
    "rescaled": (
        {"RescaleSlope": "0.5", "RescaleIntercept": "-100", "WindowCenter": 900, "WindowWidth": 1300},
        ["+Wi", "1"],
    ),
    "second_is_not_taken": ({"WindowCenter": [2100, 10], "WindowWidth": [2500, 20]}, ["+Wi", "1"]),
    "monochrome1": (
        {"WindowCenter": 2100, "WindowWidth": 2500, "PhotometricInterpretation": "MONOCHROME1"},
        ["+Wi", "1"],
    ),
    "inverse": ({"WindowCenter": 2100, "WindowWidth": 2500, "PresentationLUTShape": "INVERSE"}, ["+Wi", "1"]),
    "inverse_twice": (
        {
            **{"WindowCenter": 2100, "WindowWidth": 2500, "PresentationLUTShape": "INVERSE"},
            "PhotometricInterpretation": "MONOCHROME1",
        },
        ["+Wi", "1"],
    ),
    "voi_lut": ({"VOILUTSequence": ([0, 10, 40, 90, 160, 200, 230, 250, 255] * 2, 500, 8)}, ["+Wl", "1"]),
    "modality_lut": ({"ModalityLUTSequence": (list(range(4096, 0, -1)), 0, 16)}, ["+Wm"]),
}


def file_of(name, make_dicom, make_lut):
    """The DICOM file of a case: values with the whole range of 12 bits."""
    tags, _ = SHOWN[name]
    grey = np.asarray(Image.open(FILM).convert("L"))[40:72, 50:82].astype(np.float64)
    values = np.rint((grey - grey.min()) / np.ptp(grey) * 4095).astype(np.uint16)
    luts = {key: [make_lut(*value)] for key, value in tags.items() if key.endswith("LUTSequence")}
    return make_dicom(values, BitsStored=12, **{**tags, **luts})


@pytest.mark.parametrize("name", SHOWN)
def test_films_are_shown_as_dcmtk_shows_them(name, make_dicom, make_lut):
    path = file_of(name, make_dicom, make_lut)
    expected = np.load(STORED)[name].astype(np.float64) / 255
    # dcmtk writes 8 bits, by rounding down as often as not.
    np.testing.assert_allclose(read_radiograph(path).pixels, expected, atol=1.1 / 255)


@pytest.mark.skipif(not shutil.which("dcm2pnm"), reason="dcmtk is not installed")
@pytest.mark.parametrize("name", SHOWN)
def test_stored_pictures_are_those_of_dcmtk(name, make_dicom, make_lut, tmp_path):
    found = ask_dcmtk("dcm2pnm", SHOWN[name][1], file_of(name, make_dicom, make_lut), tmp_path)
    np.testing.assert_array_equal(np.load(STORED)[name], found)


@pytest.mark.skipif(not shutil.which("dcmj2pnm"), reason="dcmtk is not installed")
@pytest.mark.parametrize("name", ["jpeg_baseline", "jpeg_lossless", "jpeg_lossless_sv1"])
def test_decoded_files_are_those_of_dcmtk(data, name, tmp_path):
    path = data / "dicom" / f"{name}.dcm"
    found = ask_dcmtk("dcmj2pnm", ["+Wi", "1"] if b"WindowCenter" in path.read_bytes() else [], path, tmp_path)
    np.testing.assert_allclose(read_radiograph(path).pixels, found / 255, atol=2.1 / 255)


def ask_dcmtk(program, options, path, folder):
    """The picture [H, W] uint8 that one of its programs makes of a file."""
    subprocess.run([program, "+on", *options, str(path), str(folder / "out.png")], check=True, capture_output=True)
    return np.asarray(Image.open(folder / "out.png").convert("L"))
