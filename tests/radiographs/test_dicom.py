"""The DICOM display pipeline against values computed by hand, and what is refused."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from cxredit_cli.errors import UnreadableImageError
from cxredit_cli.radiographs.dicom_display import window
from cxredit_cli.radiographs.read import read_radiograph


def pixels(path: Path) -> np.ndarray:
    return read_radiograph(path).pixels


def test_linear_window_follows_the_standard(make_dicom):
    # PS3.3 C.11.2.1.2.1 with c=2048, w=4096: 0 below, 1 above, ((x - 2047.5) / 4095 + 0.5) between.
    stored = np.array([[0, 1, 2048, 4095]], dtype=np.uint16)
    path = make_dicom(stored, BitsStored=12, WindowCenter="2048", WindowWidth="4096")
    np.testing.assert_allclose(pixels(path), [[0, 1 / 4095, 2048 / 4095, 1]], atol=1e-7)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("LINEAR", [0, 0, (100 - 99.5) / 49 + 0.5, 1]),
        ("LINEAR_EXACT", [0, 0, 0.5, 1]),
        ("SIGMOID", [1 / (1 + math.exp(8)), 1 / (1 + math.exp(2)), 0.5, 1 / (1 + math.exp(-8))]),
    ],
)
def test_window_functions(make_dicom, function, expected):
    stored = np.array([[0, 75, 100, 200]], dtype=np.uint16)
    path = make_dicom(stored, BitsStored=12, WindowCenter="100", WindowWidth="50", VOILUTFunction=function)
    np.testing.assert_allclose(pixels(path), [expected], atol=1e-6)


def test_first_of_several_windows(make_dicom):
    stored = np.array([[0, 511, 1023]], dtype=np.uint16)
    one = make_dicom(stored, BitsStored=10, WindowCenter="512", WindowWidth="1024", name="one.dcm")
    two = make_dicom(stored, BitsStored=10, WindowCenter=["512", "100"], WindowWidth=["1024", "10"], name="two.dcm")
    np.testing.assert_array_equal(pixels(one), pixels(two))
    assert read_radiograph(two).reading == "DICOM, 10 bit, window 512/1024"


def test_rescale_comes_before_the_window(make_dicom):
    stored = np.array([[0, 100, 200]], dtype=np.uint16)
    path = make_dicom(
        stored,
        BitsStored=12,
        RescaleSlope="2",
        RescaleIntercept="-200",
        WindowCenter="0",
        WindowWidth="400",
        VOILUTFunction="LINEAR_EXACT",
    )
    np.testing.assert_allclose(pixels(path), [[0, 0.5, 1]])  # values -200, 0, 200


def test_monochrome1_is_inverted_last(make_dicom):
    stored = np.array([[0, 50, 400, 1000]], dtype=np.uint16)
    tags = {"BitsStored": 10, "WindowCenter": "50", "WindowWidth": "100", "VOILUTFunction": "LINEAR_EXACT"}
    path = make_dicom(stored, PhotometricInterpretation="MONOCHROME1", **tags)
    # Were the stored values inverted first, 400 would be 623 and white.
    np.testing.assert_allclose(pixels(path), [[1, 0.5, 0, 0]])
    assert read_radiograph(path).reading.endswith("MONOCHROME1 inverted")


def test_signed_values(make_dicom):
    stored = np.array([[-2048, 0, 2047]], dtype=np.int16)
    path = make_dicom(stored, BitsStored=12, WindowCenter="0", WindowWidth="4096", VOILUTFunction="LINEAR_EXACT")
    np.testing.assert_allclose(pixels(path), [[0, 0.5, 0.5 + 2047 / 4096]])
    np.testing.assert_allclose(pixels(make_dicom(stored, BitsStored=12)), [[0, 2048 / 4095, 1]])


def test_bits_above_bits_stored_do_not_count(make_dicom):
    # The four unused bits of a 12-bit value may hold anything (overlays, in old files).
    clean = np.array([[0, 1000, 4095]], dtype=np.uint16)
    dirty = clean | np.array([[0xF000, 0xA000, 0x1000]], dtype=np.uint16)
    np.testing.assert_array_equal(
        pixels(make_dicom(dirty, BitsStored=12)), pixels(make_dicom(clean, BitsStored=12, name="clean.dcm"))
    )
    # -1 in 12 bits of a signed 16-bit word without sign extension.
    signed = np.array([[0x0FFF, 0x0000, 0x07FF, 0x0800]], dtype=np.uint16).view(np.int16)
    np.testing.assert_allclose(pixels(make_dicom(signed, BitsStored=12)), [[2047 / 4095, 2048 / 4095, 1, 0]])


def test_values_that_do_not_begin_at_the_lowest_bit(make_dicom):
    values = np.array([[0, 1000, 4095]], dtype=np.uint16)
    path = make_dicom((values << 4) | 7, BitsStored=12, HighBit=15)
    np.testing.assert_allclose(pixels(path), values / 4095, rtol=1e-6)


def test_voi_lut_range_becomes_black_to_white(make_dicom, make_lut):
    stored = np.array([[0, 10, 11, 12, 500]], dtype=np.uint16)  # clamped below 10 and above 12
    path = make_dicom(stored, BitsStored=12, VOILUTSequence=[make_lut([0, 300, 1023], 10, 10)])
    np.testing.assert_allclose(pixels(path), [[0, 0, 300 / 1023, 1, 1]])


def test_voi_lut_is_preferred_to_the_window_and_its_bits_to_its_descriptor(make_dicom, make_lut):
    stored = np.array([[0, 1, 2]], dtype=np.uint16)
    item = make_lut([0, 2000, 4095], 0, 16)  # says 16 bits and uses 12
    path = make_dicom(stored, BitsStored=12, VOILUTSequence=[item], WindowCenter="1", WindowWidth="1")
    np.testing.assert_allclose(pixels(path), [[0, 2000 / 4095, 1]])


def test_voi_lut_with_negative_first_value(make_dicom, make_lut):
    stored = np.array([[-2, -1, 0, 1]], dtype=np.int16)
    path = make_dicom(stored, BitsStored=12, VOILUTSequence=[make_lut([0, 100, 255], -1, 8)])
    np.testing.assert_allclose(pixels(path), [[0, 0, 100 / 255, 1]])


def test_modality_lut_then_window(make_dicom, make_lut):
    stored = np.array([[0, 1, 2]], dtype=np.uint16)
    path = make_dicom(
        stored,
        BitsStored=12,
        ModalityLUTSequence=[make_lut([1000, 500, 0], 0, 10)],
        WindowCenter="500",
        WindowWidth="1000",
        VOILUTFunction="LINEAR_EXACT",
    )
    np.testing.assert_allclose(pixels(path), [[1, 0.5, 0]])


def test_padding_is_black_and_does_not_count_for_the_range(make_dicom):
    stored = np.full((10, 10), 2000, dtype=np.uint16)
    stored[:, :4] = 65535
    stored[5:, 4:] = 2500
    path = make_dicom(stored, PixelPaddingValue=65535)
    image = pixels(path)
    assert (image[:, :4] == 0).all()
    np.testing.assert_allclose(image[:5, 4:], 0, atol=1e-6)
    np.testing.assert_allclose(image[5:, 4:], 1, atol=1e-6)
    # In MONOCHROME1 the padding is black too, though stored 0 is white.
    stored[:, :4] = 0
    image = pixels(make_dicom(stored, PixelPaddingValue=0, PhotometricInterpretation="MONOCHROME1"))
    assert (image[:, :4] == 0).all()
    np.testing.assert_allclose(image[:5, 4:], 1, atol=1e-6)


def test_padding_range(make_dicom):
    stored = np.array([[-2000, -1500, -1000, 2047]], dtype=np.int16)
    path = make_dicom(stored, BitsStored=12, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1400)
    np.testing.assert_allclose(pixels(path), [[0, 0, 1048 / 4095, 1]], rtol=1e-6)


def test_without_window_a_full_range_is_kept_and_a_narrow_one_is_stretched(make_dicom):
    full = np.linspace(0, 4095, 10000).astype(np.uint16).reshape(100, 100)
    np.testing.assert_allclose(pixels(make_dicom(full, BitsStored=12)), full / 4095, rtol=1e-6)
    narrow = (full // 8 + 1000).astype(np.uint16)  # 1000 .. 1511 of 0 .. 65535
    path = make_dicom(narrow)
    assert pixels(path).min() == 0
    assert pixels(path).max() == 1
    assert "no window, stretched from 1000..151" in read_radiograph(path).reading
    eight = np.array([[10, 20]], dtype=np.uint8)  # 8 bits are meant for a screen
    np.testing.assert_allclose(pixels(make_dicom(eight, Modality="DX")), eight / 255)


@pytest.mark.parametrize("width", ["0", "-5", ""])
def test_an_impossible_window_is_ignored(make_dicom, width):
    stored = np.array([[0, 4095]], dtype=np.uint16)
    path = make_dicom(stored, BitsStored=12, WindowCenter="100", WindowWidth=width)
    np.testing.assert_array_equal(pixels(path), [[0, 1]])


def test_a_window_that_would_leave_a_blank_picture_is_ignored(make_dicom):
    stored = np.array([[0, 1000, 4095]], dtype=np.uint16)
    path = make_dicom(stored, BitsStored=12, WindowCenter="90000", WindowWidth="100")
    np.testing.assert_allclose(pixels(path), stored / 4095)
    assert "window 90000/100 ignored" in read_radiograph(path).reading


@settings(max_examples=50, deadline=None)
@given(
    centre=st.floats(-1e5, 1e5),
    width=st.floats(1, 1e5),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
)
def test_windows_are_monotonic_and_stay_in_range(centre, width, function):
    shown = window(np.linspace(-2e5, 2e5, 501), centre, width, function)
    assert shown.dtype == np.float32
    assert (np.diff(shown) >= 0).all()
    assert shown.min() >= 0
    assert shown.max() <= 1


# --- encodings -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def picture(data) -> np.ndarray:
    """64x64 of a real radiograph in 8 bits."""
    return np.asarray(Image.open(data / "nih" / "00001336_000.png"))[32:96, 32:96]


@pytest.fixture(scope="module")
def picture12(picture) -> np.ndarray:
    """The same in 12 bits, with low bits that 8 bits would lose."""
    return picture.astype(np.uint16) * 16 + (np.indices(picture.shape).sum(0) % 16).astype(np.uint16)


def test_twelve_bits_reach_the_pixels(make_dicom, picture12):
    path = make_dicom(picture12, BitsStored=12)
    np.testing.assert_allclose(pixels(path) * 4095, picture12, atol=1e-3)
    assert pixels(path).dtype == np.float32


def test_without_preamble(make_dicom, picture12):
    for syntax in (None, ImplicitVRLittleEndian):
        for name in ("bare.dcm", "bare", "1.2.840.113"):
            path = make_dicom(picture12, BitsStored=12, preamble=False, syntax=syntax, name=name)
            assert path.read_bytes()[128:132] != b"DICM"
            np.testing.assert_allclose(pixels(path) * 4095, picture12, atol=1e-3)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_uncompressed_transfer_syntaxes(make_dicom, picture12, syntax):
    np.testing.assert_allclose(pixels(make_dicom(picture12, BitsStored=12, syntax=syntax)) * 4095, picture12, atol=1e-3)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
@pytest.mark.parametrize("signed", [False, True])
def test_lossless_codecs_encoded_here(make_dicom, picture12, syntax, signed):
    import pydicom

    stored = (picture12.astype(np.int16) - 2048) if signed else picture12
    dataset = pydicom.dcmread(make_dicom(stored, BitsStored=12))
    dataset.compress(syntax)
    path = Path(dataset.filename).with_name("compressed.dcm")
    dataset.save_as(path)
    np.testing.assert_allclose(pixels(path) * 4095, picture12, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("jpeg_lossless", 0),
        ("jpeg_lossless_sv1", 0),
        ("jpegls", 0),
        ("jpegls_near", 2),
        ("jpeg_extended", 4),
        ("htj2k", 0),
    ],
)
def test_twelve_bit_codecs(data, picture12, name, error):
    assert np.abs(pixels(data / "dicom" / f"{name}.dcm") * 4095 - picture12).max() <= error + 1e-3


def test_jpeg_baseline(data, picture):
    assert np.abs(pixels(data / "dicom" / "jpeg_baseline.dcm") * 255 - picture).max() < 8


def test_grey_stored_as_colour_is_accepted_and_colour_refused(make_dicom, picture):
    grey = np.repeat(picture[..., None], 3, axis=2)
    np.testing.assert_allclose(pixels(make_dicom(grey)), picture / 255, rtol=1e-6)
    colour = grey.copy()
    colour[..., 0] = 255 - colour[..., 0]
    with pytest.raises(UnreadableImageError, match=r"colour picture \(\d+% of its pixels"):
        pixels(make_dicom(colour))


# --- refusals --------------------------------------------------------------------------------------------------------


def refusal(path: Path) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        read_radiograph(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path.name}: ")
    assert "\n" not in sentence
    for private in ("Secret", "SECRET", "19500101", "20200202", "ACC99"):
        assert private not in sentence
    return sentence


def test_frames_reports_and_slices_are_refused(make_dicom, picture):
    two = make_dicom(np.concatenate([picture, picture]), Rows=64, NumberOfFrames=2)
    assert "holds 2 frames" in refusal(two)
    assert "a CT slice" in refusal(make_dicom(picture, Modality="CT"))
    assert "PALETTE COLOR" in refusal(make_dicom(picture, PhotometricInterpretation="PALETTE COLOR"))
    huge = make_dicom(picture, Rows=60000, Columns=60000)
    assert "far larger" in refusal(huge)
    import pydicom

    report = pydicom.dcmread(make_dicom(picture))
    del report.PixelData, report.Rows, report.Columns
    path = Path(report.filename).with_name("report.dcm")
    report.save_as(path)
    assert "no image or is truncated" in refusal(path)


def test_a_raw_detector_image_is_said_to_be_one(make_dicom, picture12):
    path = make_dicom(picture12, BitsStored=12, PresentationIntentType="FOR PROCESSING")
    assert read_radiograph(path).reading.startswith("DICOM, 12 bit, raw, for processing, no window")


def test_other_compressions_are_named(make_dicom, picture):
    assert "MPEG2" in refusal(make_dicom(picture, syntax=MPEG2MPML, frame=b"\0" * 100))


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [
        ("jpegls", "jpeg_ls", "pyjpegls"),
        ("htj2k", "openjpeg", "pylibjpeg pylibjpeg-openjpeg"),
        ("jpeg_lossless", "imagecodecs", "imagecodecs"),
    ],
)
def test_a_missing_plugin_is_named(data, monkeypatch, name, module, package):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        "cxredit_cli.radiographs.dicom_decoders.find_spec", lambda wanted: None if wanted == module else real(wanted)
    )
    assert f"pip install {package}" in refusal(data / "dicom" / f"{name}.dcm")


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.99])
def test_truncated_files_are_refused(data, make_dicom, picture12, tmp_path, share):
    whole = [*sorted((data / "dicom").glob("*.dcm")), make_dicom(picture12, BitsStored=12, name="plain.dcm")]
    for source in whole:
        content = source.read_bytes()
        path = tmp_path / f"cut_{source.name}"
        path.write_bytes(content[: int(len(content) * share)])
        assert re.search("truncated or damaged|no image or is truncated|only the beginning", refusal(path))


@pytest.fixture
def rle(data, tmp_path) -> Path:
    """A small RLE file."""
    import pydicom

    dataset = pydicom.dcmread(data / "dicom" / "jpegls.dcm")
    dataset.decompress()
    dataset.compress(RLELossless)
    dataset.save_as(tmp_path / "rle.dcm")
    return tmp_path / "rle.dcm"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    junk=st.binary(max_size=400), place=st.integers(0, 4000), codec=st.sampled_from(["rle", "jpegls", "jpeg_lossless"])
)
def test_damaged_files_are_read_or_refused_but_never_crash(data, rle, tmp_path, junk, place, codec):
    content = bytearray((rle if codec == "rle" else data / "dicom" / f"{codec}.dcm").read_bytes())
    content[place : place + len(junk)] = junk
    path = tmp_path / "damaged.dcm"
    path.write_bytes(bytes(content))
    try:
        image = read_radiograph(path).pixels
    except UnreadableImageError:
        return
    assert np.isfinite(image).all()
    assert image.min() >= 0
    assert image.max() <= 1


@pytest.mark.filterwarnings("ignore:Invalid value for VR DA")  # from writing the file
def test_nothing_of_the_patient_is_kept_or_logged(make_dicom, picture, caplog, capsys):
    import pydicom

    dataset = pydicom.dcmread(make_dicom(picture))
    dataset.PatientBirthDate = "SECRET-DATE"  # invalid, which pydicom would warn of with the value in the text
    path = Path(dataset.filename).with_name("private.dcm")
    dataset.save_as(path)
    caplog.clear()
    capsys.readouterr()
    radiograph = read_radiograph(path)
    captured = capsys.readouterr()
    said = f"{radiograph.name} {radiograph.reading} {caplog.text} {captured.out} {captured.err}"
    for private in ("Secret", "SECRET", "19500101", "20200202", "ACC99"):
        assert private not in said
