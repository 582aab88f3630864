"""Films given back edited: what is stored moves by what is shown, and nothing else moves."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cxredit_cli.errors import InputError, UneditableFilmError
from cxredit_cli.radiographs.derived_dicom import Derivation, write_derived_dicom
from cxredit_cli.radiographs.film import Film, read_film
from cxredit_cli.radiographs.geometry import fit_square
from cxredit_cli.radiographs.pseudonyms import Pseudonyms, load_pseudonyms
from cxredit_cli.radiographs.read import read_radiograph
from cxredit_cli.radiographs.write_film import burned_in, suffix_of, write_film

NAMES = Pseudonyms(b"k" * 32)
TEXT = {"Software": "cxredit 0", "Description": "Edited chest X-ray"}
SCAN = "nih/00001336_000.png"


def bump(height: int, width: int, size: float = 0.1) -> np.ndarray:
    """A smooth change in the middle third, 0 elsewhere."""
    rows, columns = np.mgrid[:height, :width]
    r = np.hypot(rows - height / 2, columns - width / 2) / (min(height, width) / 3)
    return np.where(r < 1, size * (1 - r**2) ** 2, 0).astype(np.float32)


def derivation(strength: str = "+6", keep: bool = False, names: Pseudonyms = NAMES) -> Derivation:
    return Derivation(f"cardiomegaly, strength {strength}", "recipe", 1, names, keep)


def edited(film: Film, change: np.ndarray, folder: Path, **how: object) -> Film:
    path = folder / f"edited{suffix_of(film)}"
    write_film(path, film, change, TEXT, derivation(**how))  # type: ignore[arg-type]
    return read_film(path)


def check(film: Film, folder: Path, level: float, most: float = 1) -> Film:
    """Strength 0 gives the very film; an edit moves what is shown by the change and nothing else.

    Within `level`, where less than `most` is shown.
    """
    height, width = film.pixels.shape
    same = edited(film, np.zeros((height, width), np.float32), folder)
    np.testing.assert_array_equal(same.decoded.stored, film.decoded.stored)
    np.testing.assert_array_equal(same.pixels, film.pixels)
    change = bump(height, width)
    back = edited(film, change, folder)
    still = change == 0
    assert back.decoded.stored.dtype == film.decoded.stored.dtype
    np.testing.assert_array_equal(back.decoded.stored[still], film.decoded.stored[still])
    np.testing.assert_array_equal(back.pixels[still], film.pixels[still])
    inside = ~still & (film.pixels > 0) & (film.pixels + change < most)
    assert inside.sum() > 100
    np.testing.assert_allclose((back.pixels - film.pixels)[inside], change[inside], atol=level)
    return back


@pytest.fixture
def picture(data: Path) -> np.ndarray:
    return np.asarray(Image.open(data / SCAN).convert("L"))[:120]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P"])
def test_pictures_of_eight_bits(picture: np.ndarray, tmp_path: Path, mode: str) -> None:
    Image.fromarray(picture).convert(mode).save(tmp_path / "film.png")
    back = check(read_film(tmp_path / "film.png"), tmp_path, 0.51 / 255)
    with Image.open(tmp_path / "edited.png") as image:
        assert image.mode == {
            "P": "RGBA" if back.decoded.stored.ndim == 3 and back.decoded.stored.shape[2] == 4 else "RGB"
        }.get(mode, mode)
        assert image.info["Description"] == "Edited chest X-ray"


@pytest.mark.parametrize("factor", [16, 257])  # 12 bits in 16, and all 16
def test_pictures_of_sixteen_bits(picture: np.ndarray, tmp_path: Path, factor: int) -> None:
    Image.fromarray(picture.astype(np.uint16) * factor).save(tmp_path / "film.png")
    back = check(read_film(tmp_path / "film.png"), tmp_path, 1e-3)
    assert back.decoded.stored.dtype == np.uint16


def test_a_jpeg_film_becomes_a_png(picture: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(picture).save(tmp_path / "film.jpg", quality=90)
    assert check(read_film(tmp_path / "film.jpg"), tmp_path, 0.51 / 255).kind == "PNG"


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff(picture: np.ndarray, tmp_path: Path, photometric: str, dtype: type) -> None:
    values = picture.astype(dtype) * (1 if dtype is np.uint8 else 256)
    tifffile.imwrite(tmp_path / "film.tif", values, photometric=photometric)
    assert check(read_film(tmp_path / "film.tif"), tmp_path, 0.51 / 255).kind == "TIFF"
    assert "Edited chest X-ray" in tifffile.TiffFile(tmp_path / "edited.tif").pages[0].description


@pytest.mark.parametrize("shape", [(120, 128), (128, 97), (131, 131)])
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_the_square_goes_back_to_where_it_was(tmp_path: Path, shape: tuple[int, int], fit: str) -> None:
    values = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "film.png")
    film = read_film(tmp_path / "film.png")
    square = film.square(fit)  # type: ignore[arg-type]
    assert square.shape == (min(shape),) * 2 if fit == "crop" else (max(shape),) * 2
    np.testing.assert_allclose(fit_square(film.pixels, 32, fit), fit_square(square, 32), atol=1e-6)  # type: ignore[arg-type]
    change = np.random.default_rng(1).standard_normal(square.shape).astype(np.float32)
    whole = film.from_square(change, fit)  # type: ignore[arg-type]
    assert whole.shape == shape
    moved = film.square(fit) + change  # type: ignore[arg-type]
    again = film.pixels + whole
    top, left = (abs(shape[0] - len(square)) // 2, abs(shape[1] - len(square)) // 2)
    if fit == "crop":
        np.testing.assert_allclose(again[top : top + len(square), left : left + len(square)], moved, atol=1e-6)
        assert np.count_nonzero(whole) <= change.size
    else:
        np.testing.assert_allclose(again, moved[top : top + shape[0], left : left + shape[1]], atol=1e-6)


# --- DICOM -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def picture12(picture: np.ndarray) -> np.ndarray:
    return (picture.astype(np.uint16) * 16 + 7).astype(np.uint16)


@pytest.mark.parametrize(
    ("tags", "level"),
    [
        ({"WindowCenter": "2048", "WindowWidth": "4096"}, 1e-3),
        ({"WindowCenter": "2000", "WindowWidth": "2000"}, 1e-3),
        ({"WindowCenter": "2048", "WindowWidth": "4096", "VOILUTFunction": "LINEAR_EXACT"}, 1e-3),
        ({"WindowCenter": "2048", "WindowWidth": "3000", "VOILUTFunction": "SIGMOID"}, 1e-3),
        ({"WindowCenter": "50", "WindowWidth": "500", "RescaleSlope": "0.25", "RescaleIntercept": "-300"}, 2.1e-3),
        ({"WindowCenter": "2048", "WindowWidth": "4096", "PhotometricInterpretation": "MONOCHROME1"}, 1e-3),
        ({}, 1e-3),
    ],
)
def test_the_difference_goes_through_the_inverse_of_the_display(
    make_dicom, picture12: np.ndarray, tmp_path: Path, tags: dict[str, str], level: float
) -> None:
    # A sigmoid never shows white.
    most = 0.93 if "SIGMOID" in tags.values() else 1
    back = check(read_film(make_dicom(picture12, BitsStored=12, **tags)), tmp_path, level, most)
    written = pydicom.dcmread(tmp_path / "edited.dcm")
    for keyword, value in tags.items():
        assert str(written[keyword].value) in (value, str(float(value)) if value[0] in "-0123456789" else value)
    assert (written.BitsStored, written.Rows, written.Columns) == (12, *picture12.shape)
    assert back.kind == "DICOM"


def test_signed_values_keep_their_words(make_dicom, picture12: np.ndarray, tmp_path: Path) -> None:
    stored = picture12.astype(np.int16) - 2048
    film = read_film(make_dicom(stored, BitsStored=16, WindowCenter="0", WindowWidth="4096"))
    check(film, tmp_path, 1e-3)


def test_lookup_tables_that_rise_are_inverted_and_others_refused(
    make_dicom, make_lut, picture12: np.ndarray, tmp_path: Path
) -> None:
    rising = [round(4095 * (value / 4095) ** 0.7) for value in range(4096)]
    for keyword in ("VOILUTSequence", "ModalityLUTSequence"):
        film = read_film(make_dicom(picture12, BitsStored=12, **{keyword: [make_lut(rising, 0, 12)]}))
        check(film, tmp_path, 2e-3)
    up_and_down = [min(value, 4095 - value) for value in range(4096)]
    film = read_film(make_dicom(picture12, BitsStored=12, VOILUTSequence=[make_lut(up_and_down, 0, 12)]))
    with pytest.raises(UneditableFilmError, match="rises and falls"):
        film.changed(bump(*film.pixels.shape))


def test_padding_saturation_and_overlay_bits_stay(make_dicom, picture12: np.ndarray, tmp_path: Path) -> None:
    stored = picture12.copy()
    stored[50:60, 50:60] = 4095
    overlay = (np.indices(stored.shape).sum(axis=0) % 2).astype(np.uint16) << 12
    path = make_dicom(stored | overlay, BitsStored=12, PixelPaddingValue=4095, WindowCenter="1500", WindowWidth="2000")
    film = read_film(path)
    change = bump(*stored.shape)
    edited(film, change, tmp_path)
    words = np.frombuffer(pydicom.dcmread(tmp_path / "edited.dcm").PixelData, "<u2").reshape(stored.shape)
    np.testing.assert_array_equal(words & 0xF000, overlay)
    values = words & 0x0FFF
    np.testing.assert_array_equal(values[50:60, 50:60], 4095)
    saturated = (film.pixels == 1) | (film.pixels == 0)
    assert saturated.any()
    np.testing.assert_array_equal(values[saturated], stored[saturated])
    assert (values != stored).sum() > 500


def test_compressed_films_come_back_uncompressed_and_the_same(data: Path, tmp_path: Path) -> None:
    for name in ("jpegls.dcm", "jpeg_lossless.dcm", "jpeg_baseline.dcm"):
        film = read_film(data / "dicom" / name)
        same = edited(film, np.zeros_like(film.pixels), tmp_path)
        np.testing.assert_array_equal(same.decoded.stored, film.decoded.stored)
        assert pydicom.dcmread(tmp_path / "edited.dcm").file_meta.TransferSyntaxUID.name == "Explicit VR Little Endian"


def test_nothing_of_the_patient_is_left_and_edits_of_one_patient_stay_together(
    make_dicom, picture12: np.ndarray, tmp_path: Path
) -> None:
    def tags(instance: str) -> dict[str, str]:
        return {"SOPInstanceUID": instance, "StudyInstanceUID": "1.2.77", "InstitutionName": "Secret Hospital"}

    first = read_film(make_dicom(picture12, name="a.dcm", **tags("1.2.9999.1")))
    second = read_film(make_dicom(picture12, name="b.dcm", **tags("1.2.9999.2")))
    written = []
    for film, strength in ((first, "+6"), (first, "+3"), (second, "+6")):
        write_derived_dicom(tmp_path / "out.dcm", film, film.changed(bump(*picture12.shape)), derivation(strength))
        raw = (tmp_path / "out.dcm").read_bytes()
        for secret in (b"Secret", b"SECRET", b"19500101", b"20200202", b"ACC99", b"1.2.77", b"1.2.9999"):
            assert secret not in raw.replace(b"1.2.840.", b"")
        written.append(pydicom.dcmread(tmp_path / "out.dcm"))
    assert len({str(d.PatientID) for d in written}) == len({str(d.StudyInstanceUID) for d in written}) == 1
    assert len({str(d.SOPInstanceUID) for d in written}) == 3
    assert all(d.ImageType[:2] == ["DERIVED", "SECONDARY"] for d in written)
    assert all("SYNTHETIC" in d.DerivationDescription and d.PatientIdentityRemoved == "YES" for d in written)
    other = Pseudonyms(b"o" * 32)
    write_derived_dicom(tmp_path / "out.dcm", first, first.decoded.stored, derivation(names=other))
    assert pydicom.dcmread(tmp_path / "out.dcm").PatientID != written[0].PatientID


def test_identity_is_kept_when_it_is_wanted(make_dicom, picture12: np.ndarray, tmp_path: Path) -> None:
    film = read_film(make_dicom(picture12, StudyInstanceUID="1.2.77", Laterality="L"))
    write_derived_dicom(tmp_path / "out.dcm", film, film.decoded.stored, derivation(keep=True))
    kept = pydicom.dcmread(tmp_path / "out.dcm")
    assert (kept.PatientID, kept.StudyInstanceUID, kept.StudyDate) == ("SECRET-1", "1.2.77", "20200202")
    assert kept.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.3"
    assert kept.SOPInstanceUID != "1.2.3"


def test_the_same_film_edit_and_secret_make_the_same_file(make_dicom, picture12: np.ndarray, tmp_path: Path) -> None:
    film = read_film(make_dicom(picture12))
    for name in ("one.dcm", "two.dcm"):
        write_derived_dicom(tmp_path / name, film, film.changed(bump(*picture12.shape)), derivation())
    assert (tmp_path / "one.dcm").read_bytes() == (tmp_path / "two.dcm").read_bytes()


def test_the_secret_is_made_once_and_read_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "edited.key"
    names = load_pseudonyms(path)
    assert load_pseudonyms(path) == names
    assert path.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == [path]
    path.write_text("no secret")
    with pytest.raises(InputError, match="secret of pseudonyms"):
        load_pseudonyms(path)


@given(st.text(max_size=40), st.text(max_size=40))
@settings(max_examples=50, deadline=None)
def test_pseudonyms_tell_patients_apart(first: str, second: str) -> None:
    assert (NAMES.name("patient", first) == NAMES.name("patient", second)) == (first == second)
    assert NAMES.uid("study", first).removeprefix("2.25.").isdigit()
    assert len(NAMES.uid("study", first)) <= 64


def test_the_mark_is_readable_and_at_the_lower_edge(picture: np.ndarray) -> None:
    pixels = np.full((600, 500), 0.5, dtype=np.float32)
    change = burned_in(pixels)
    marked = pixels + change
    assert not change[:540].any()
    assert marked.min() == 0
    assert marked.max() == 1
    assert 0.2 < (change[575:] != 0).mean() < 1


CHECKERS = [name for name in ("dciodvfy", "dcmdump", "dcm2pnm") if shutil.which(name)]


@pytest.mark.slow
@pytest.mark.skipif(not CHECKERS, reason="neither dicom3tools nor dcmtk is installed")
def test_other_programs_take_the_files(make_dicom, data: Path, picture12: np.ndarray, tmp_path: Path) -> None:
    films = [read_film(path) for path in sorted((data / "dicom").glob("jpeg*.dcm"))]
    films.append(read_film(make_dicom(picture12, BitsStored=12, BodyPartExamined="CHEST", ViewPosition="PA")))
    for film in films:
        for keep in (False, True):
            path = tmp_path / "out.dcm"
            write_derived_dicom(path, film, film.changed(bump(*film.pixels.shape)), derivation(keep=keep))
            if "dciodvfy" in CHECKERS:
                said = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
                assert not [line for line in said.stderr.splitlines() if line.startswith("Error")], film.source.name
            if "dcmdump" in CHECKERS:
                subprocess.run(["dcmdump", str(path)], capture_output=True, check=True)
            if "dcm2pnm" in CHECKERS:
                subprocess.run(["dcm2pnm", str(path), str(tmp_path / "out.pgm")], capture_output=True, check=True)


def test_what_is_shown_is_what_read_radiograph_gives(data: Path) -> None:
    for path in (data / SCAN, data / "dicom" / "jpegls.dcm"):
        np.testing.assert_array_equal(read_film(path).pixels, read_radiograph(path).pixels)
