"""`cxredit apply` on films themselves, with the bundled model."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian
from typer.testing import CliRunner, Result

from cxredit_cli.anatomy.measures import CUT_OFF
from cxredit_cli.app import app
from cxredit_cli.commands.apply_report import print_refused
from cxredit_cli.editing import find_films as find_films_module
from cxredit_cli.editing.edit_run import ApplyReport
from cxredit_cli.editing.find_films import find_films
from cxredit_cli.radiographs.read import read_radiograph
from cxredit_cli.radiographs.sources import Source
from cxredit_cli.storage.directions import read_direction, write_direction
from cxredit_cli.storage.models import BUNDLED

EXAMPLE = Path(__file__).parents[2] / "examples" / "data" / "00000018_000.png"
QUICK = ("--steps", "60")


@pytest.fixture
def film(tmp_path: Path) -> np.ndarray:
    """./film.png, 300 pixels high and 256 wide, 8 bits."""
    whole = Image.open(EXAMPLE).resize((256, 256), Image.Resampling.BOX)
    values = np.pad(np.asarray(whole), ((20, 24), (0, 0)), mode="edge")
    Image.fromarray(values).save(tmp_path / "film.png")
    return values


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def apply(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["apply", *map(str, arguments)])

    return apply


def manifest(folder: str = "edited") -> list[dict[str, str]]:
    with Path(folder, "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def write_dicom_film(path: Path, values: np.ndarray) -> None:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.StudyInstanceUID = (
        ComputedRadiographyImageStorage,
        "1.2.3",
        "1.9",
    )
    dataset.PatientName, dataset.PatientID, dataset.Modality = "Secret^Person", "SECRET-1", "CR"
    dataset.BodyPartExamined, dataset.ViewPosition = "CHEST", "PA"
    dataset.Rows, dataset.Columns = values.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME1"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.WindowCenter, dataset.WindowWidth = "2048", "4096"
    dataset.PixelData = (4095 - values.astype(np.uint16) * 16).astype("<u2").tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)


def test_a_film_comes_back_edited_in_its_own_matrix(run, film: np.ndarray) -> None:
    result = run("film.png", "--strength", "0,6", *QUICK)
    assert result.exit_code == 0, result.output
    still, larger = (np.asarray(Image.open(f"edited/film_+{s}.png")) for s in (0, 6))
    np.testing.assert_array_equal(still, film)
    assert larger.shape == film.shape
    assert larger.dtype == np.uint8
    moved = larger != film
    assert 0.01 < moved.mean() < 0.3
    rows, columns = np.nonzero(moved)
    assert rows.min() > 60  # nothing near the edges of the film
    assert columns.min() > 20
    assert columns.max() < 236
    unedited, edited = manifest()
    assert (unedited["carried"], edited["carried"], edited["refused"]) == ("border", "border", "")
    assert float(edited["ctr"]) - float(edited["film_ctr"]) > 0.03
    assert unedited["ctr"] == unedited["film_ctr"]
    with Image.open("edited/film_+6.png") as picture:
        assert "not for diagnosis" in picture.info["Description"]
        assert "a real one" in picture.info["Description"]
    with Image.open("edited/film_sheet.png") as sheet:
        assert sheet.width > 1000
    again = run("film.png", "--strength", "0,6", *QUICK)
    assert "0 images edited, 1 were there already" in again.stdout


def test_the_generators_picture_on_demand_and_where_an_edit_is_refused(run, film: np.ndarray, tmp_path: Path) -> None:
    assert run("film.png", "--strength", 6, "--no-native", "-o", "plain", *QUICK).exit_code == 0
    assert Image.open("plain/film_+6.png").size == (128, 128)
    Image.fromarray(film[::-1]).save(tmp_path / "turned.png")
    result = run("turned.png", "--strength", "3,6", *QUICK)
    assert result.exit_code == 0, result.output
    other, row = manifest()
    assert row["file"] == "turned_+6_model.png"
    assert row["refused"]
    assert row["refused"] == other["refused"]
    assert f"turned.png: not edited at +3, +6: {row['refused']}" in result.stderr
    assert Image.open("edited/turned_+6_model.png").size == (128, 128)
    strict = run("turned.png", "--strength", 6, "--strict", "-o", "strict", "--json", *QUICK)
    assert strict.exit_code == 0, strict.output
    assert sorted(path.name for path in Path("strict").iterdir()) == ["manifest.csv", "turned_sheet.png"]
    document = json.loads(strict.stdout)
    assert document["refused"][0]["refused"] == row["refused"]
    assert (document["images_edited"], document["images_refused"], document["images_already_done"]) == (0, 1, 0)


def test_a_film_that_lost_its_sides_is_named_with_the_way_out(capsys: pytest.CaptureFixture[str]) -> None:
    reasons = {"wide.png": f"no chest can be outlined on the film: {CUT_OFF}", "other.png": "there is no room"}
    report = ApplyReport(refused=[{"source": n, "refused": why, "strength": "+6"} for n, why in reasons.items()])
    print_refused(report, strict=False)
    wide, other, _ = capsys.readouterr().err.split(chr(10), 2)
    assert wide.startswith(f"wide.png: not edited at +6: {reasons['wide.png']}")
    assert "--fit pad" in wide
    assert "--fit pad" not in other


def test_dicom_comes_back_as_dicom_with_a_pseudonym(run, film: np.ndarray, tmp_path: Path) -> None:
    write_dicom_film(tmp_path / "scan.dcm", film)
    assert run("scan.dcm", "--strength", "0,6", *QUICK).exit_code == 0
    original = pydicom.dcmread("scan.dcm")
    still, larger = (pydicom.dcmread(f"edited/scan_+{s}.dcm") for s in (0, 6))
    assert still.PixelData == original.PixelData
    assert larger.PixelData != original.PixelData
    assert larger.PhotometricInterpretation == "MONOCHROME1"
    assert still.PatientID == larger.PatientID != "SECRET-1"
    assert still.SeriesInstanceUID == larger.SeriesInstanceUID
    assert still.SOPInstanceUID != larger.SOPInstanceUID
    assert Path("edited.key").stat().st_mode & 0o077 == 0
    assert run("scan.dcm", "--strength", 6, "--format", "png", "-o", "png", *QUICK).exit_code == 0
    shown = np.asarray(Image.open("png/scan_+6.png")) / 65535
    np.testing.assert_allclose(shown, read_radiograph(Path("edited/scan_+6.dcm")).pixels, atol=1e-3)
    assert run("scan.dcm", "--strength", 6, "--keep-identity", "--burn-in", "-o", "kept", *QUICK).exit_code == 0
    kept = pydicom.dcmread("kept/scan_+6.dcm")
    assert (kept.PatientID, kept.StudyInstanceUID) == ("SECRET-1", "1.9")
    assert (kept.pixel_array != larger.pixel_array)[-12:].any()


def test_codes_and_their_films(run, film: np.ndarray, tmp_path: Path) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(film).save(folder / name)
    made = CliRunner().invoke(app, ["invert", "films", "-o", "codes.h5", "--steps", "100"])
    assert made.exit_code == 0, made.output
    Image.fromarray(film[:, ::-1]).save(folder / "b.png")  # another film by now
    result = run("codes.h5", "--films", "films", "--strength", 6)
    assert result.exit_code == 0, result.output
    ours, other = manifest()
    assert (ours["source"], ours["carried"]) == ("a.png", "border")
    assert "another film than the one that was inverted" in other["refused"]
    (folder / "b.png").unlink()
    result = run("codes.h5", "--films", "films", "--strength", 6, "-o", "fewer")
    assert "b.png: no file has its name" in result.stderr
    assert [row["file"] for row in manifest("fewer")] == ["a_+6.png", "b_+6.png"]
    assert Image.open("fewer/b_+6.png").size == (128, 128)
    # Without films the generator's pictures, as ever; on demand that is an error.
    assert run("codes.h5", "--strength", 6, "-o", "plain").exit_code == 0
    assert Image.open("plain/a_+6.png").size == (128, 128)
    assert "say with --films" in run("codes.h5", "--native", "--strength", 6).stderr


def test_films_of_a_cohort_that_are_all_called_alike_are_listed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sources = [Source(Path(f"data/p{i}/study1/view1.png"), name=f"data/p{i}/study1/view1.png") for i in range(200)]
    compared = []
    pure = find_films_module.PurePosixPath
    monkeypatch.setattr(find_films_module, "PurePosixPath", lambda name: compared.append(name) or pure(name))
    found, missing = find_films([f"p{i}/study1/view1.png" for i in range(200)] + ["view1.png"], sources)
    assert [found[f"p{i}/study1/view1.png"] for i in range(200)] == sources
    assert missing == {"view1.png": "200 files have its name"}
    assert len(compared) <= 2 * 200 + 1


def test_films_are_found_by_name_and_by_as_much_of_their_path_as_it_takes() -> None:
    sources = [Source(Path(f"/x/{name}"), name=name) for name in ("p1/s/1.png", "p2/s/1.png", "p2/s/2.png")]
    found, missing = find_films(["p1/s/1.png", "2.png", "1.png", "study/p2/s/1.png", "9.png"], sources)
    assert {name: source.name for name, source in found.items()} == {
        "p1/s/1.png": "p1/s/1.png",
        "2.png": "p2/s/2.png",
        "study/p2/s/1.png": "p2/s/1.png",
    }
    assert missing == {"1.png": "2 files have its name", "9.png": "no file has its name"}


@pytest.mark.slow
def test_processes_make_the_same_files(run, film: np.ndarray, tmp_path: Path) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    for number in range(4):
        Image.fromarray(np.roll(film, number, axis=0)).save(folder / f"{number}.png")
    for jobs in (1, 2):
        assert run("films", "--strength", 6, "--jobs", jobs, "-o", f"by{jobs}", "--method", "encoder").exit_code == 0
    for path in Path("by1").iterdir():
        assert path.read_bytes() == Path("by2", path.name).read_bytes(), path


def test_a_ratio_is_reported_from_the_films_own(run, film: np.ndarray) -> None:
    result = run("film.png", "--target-ctr", 0.5, *QUICK)
    assert result.exit_code == 0, result.output
    (row,) = manifest()
    assert row["film_ctr"] != row["reconstruction_ctr"]
    assert f"CTR {row['film_ctr']} to {row['ctr']}" in result.stdout


def test_a_ratio_along_a_direction_that_adds_tone_is_that_of_the_film(run, film: np.ndarray) -> None:
    bundled = read_direction(BUNDLED / "directions" / "cardiomegaly.h5")
    carried = {**bundled.calibration["carried"], "kind": "tone"}
    write_direction(Path("tone.h5"), replace(bundled, calibration={**bundled.calibration, "carried": carried}))
    result = run("film.png", "--direction", "tone.h5", "--target-ctr", 0.5, "--method", "encoder")
    assert result.exit_code == 0, result.output
    (row,) = manifest()
    assert row["carried"] == "tone"
    assert float(row["ctr"]) == pytest.approx(0.5, abs=0.05)
    assert f"CTR {row['film_ctr']} to {row['ctr']}" in result.stdout


def test_mistakes_are_one_sentence(run, film: np.ndarray) -> None:
    for arguments, words in (
        (("film.png", "--films", "."), "--films goes with codes"),
        (("film.png", "--no-native", "--strict"), "are for edits of films"),
        (("film.png", "--format", "bmp"), "auto, png or dicom"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2, result.output
        assert words in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
