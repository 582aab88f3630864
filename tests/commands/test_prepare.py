"""`cxredit prepare` on real radiographs."""

import csv
import json
import re
import shutil
import zipfile
from pathlib import Path

import pydicom
import pytest
from typer.testing import CliRunner, Result

from cxredit_cli.app import app
from cxredit_cli.storage.dataset import Dataset


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run `cxredit prepare` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def prepare(*arguments: object, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, ["prepare", *map(str, arguments)], input=stdin)

    return prepare


@pytest.fixture
def labels(data: Path) -> Path:
    return data / "nih" / "labels.csv"


def test_a_folder_and_its_labels(run, data, labels):
    result = run(data / "nih", "--labels", labels)
    assert result.exit_code == 0, result.output
    assert "dataset.h5: 12 images of 7 patients at 128x128" in result.stdout
    assert len(Dataset(Path("dataset.h5"))) == 12
    assert [path.name for path in Path().iterdir()] == ["dataset.h5"]
    again = run(data / "nih", "--labels", labels)
    assert "12 images were already done" in again.stdout


def test_every_option_and_json(run, data, labels):
    result = run(
        *(data / "nih", "--labels", labels, "-o", "out/small.h5", "--view", "PA", "--resolution", 32, "--fit", "pad"),
        *("--val-fraction", 0.5, "--seed", 3, "--bits", 16, "--exclude", "Infiltration", "--workers", 1, "--json"),
    )
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["images"] == 7
    assert document["skipped"] == {"view is AP": 4, "has an excluded label": 1}
    assert document["splits"]["train"]["images"] + document["splits"]["val"]["images"] == 7
    dataset = Dataset(Path("out/small.h5"))
    assert (dataset.resolution, dataset.white) == (32, 65535)
    assert set(dataset.views) == {"PA"}
    with Path(document["skipped_list"]).open() as file:
        rows = list(csv.DictReader(file))
    assert {"name": "00001338_003.png", "reason": "has an excluded label"} in rows
    assert len(rows) == 5


def test_a_zip_a_glob_and_a_list_of_paths_make_the_same_images(run, data, labels):
    with zipfile.ZipFile("images.zip", "w") as archive:
        for image in (data / "nih").glob("*.png"):
            archive.write(image, f"images/{image.name}")
    listed = "\n".join(str(path) for path in sorted((data / "nih").glob("*.png")))
    pixels = []
    for arguments, stdin in (
        (("images.zip",), None),
        ((data / "nih" / "*.png",), None),
        (("-",), listed),
    ):
        Path("dataset.h5").unlink(missing_ok=True)
        result = run(*arguments, "--labels", labels, stdin=stdin)
        assert result.exit_code == 0, result.output
        pixels.append(Dataset(Path("dataset.h5")).images(range(12)).tobytes())
    assert pixels[0] == pixels[1] == pixels[2]


def test_chexpert_layout(run, data):
    images = sorted((data / "nih").glob("*.png"))[:3]
    rows = ["Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Cardiomegaly"]
    for number, (image, finding) in enumerate(zip(images, ["1.0,", ",1.0", ",-1.0"], strict=True)):
        path = Path(f"CheXpert/train/patient0000{number}/study1/view1_frontal.png")
        path.parent.mkdir(parents=True)
        shutil.copy(image, path)
        rows.append(f"CheXpert-v1.0/train/patient0000{number}/study1/view1_frontal.png,F,60,Frontal,AP,{finding}")
    Path("train.csv").write_text("\n".join(rows) + "\n")
    result = run("CheXpert", "--labels", "train.csv")
    assert result.exit_code == 0, result.output
    dataset = Dataset(Path("dataset.h5"))
    assert dataset.labels == ["No Finding", "Cardiomegaly", ""]
    assert dataset.patient_ids == ["patient00000", "patient00001", "patient00002"]
    assert dataset.columns["Frontal/Lateral"] == ["Frontal"] * 3


def test_bad_files_are_named_at_the_end_and_the_rest_is_done(run, data, labels):
    shutil.copytree(data / "nih", "images")
    whole = Path("images/00001336_000.png").read_bytes()
    Path("images/00001336_000.png").write_bytes(whole[:2000])
    Path("images/new.png").write_bytes(whole)
    result = run("images", "--labels", labels)
    assert result.exit_code == 1
    assert "11 images" in result.stdout
    assert re.search(r"1 +│ the file is truncated or damaged +│ 00001336_000\.png", result.stdout)
    assert re.search(r"1 +│ not in the label table +│ new\.png", result.stdout)
    assert "00001336_000.png: the file is truncated or damaged" in result.stderr
    listed = Path("dataset_skipped.csv").read_text()
    assert "00001336_000.png,unreadable: the file is truncated" in listed
    assert "new.png,not in the label table" in listed
    assert len(Dataset(Path("dataset.h5"))) == 11


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("none.zip",), "none.zip does not exist"),
        (("{data}/nih", "--labels", "none.csv"), "none.csv does not exist"),
        (("{data}/nih", "--labels", "{data}/nih/labels.csv", "--view", "LL"), "the views are AP, PA"),
        (("{data}/nih", "--view", "PA"), "give one with --labels"),
        (("{data}/nih", "--bits", "12"), "8 or 16, not 12"),
        (("{data}/nih", "--fit", "squeeze"), "crop or pad, not 'squeeze'"),
    ],
)
def test_mistakes_are_one_sentence(run, data, arguments, expected):
    result = run(*(argument.format(data=data) for argument in arguments))
    assert result.exit_code == 2
    assert expected in result.stderr
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
    assert not Path("dataset.h5").exists()


def test_other_columns_are_named(run, data):
    Path("other.csv").write_text("id,diagnosis\n1,2\n")
    result = run(data / "nih", "--labels", "other.csv")
    assert result.exit_code == 2
    assert "other.csv has the columns id, diagnosis; expected those of NIH" in result.stderr


def test_dicom_files_leave_nothing_of_the_patient(run, data):
    private = ("Secret^Person", "SECRET-1", "19500101", "20200202")
    Path("scans").mkdir()
    for number, source in enumerate(sorted((data / "dicom").glob("*.dcm"))):
        dataset = pydicom.dcmread(source)
        dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate, dataset.StudyDate = private
        dataset.save_as(f"scans/{number}.dcm")
    Path("scans/bad.dcm").write_bytes(Path("scans/0.dcm").read_bytes()[:-500])
    result = run("scans", "--resolution", 64, "--bits", 16, "--on-suspect", "accept")
    assert result.exit_code == 1
    dataset = Dataset(Path("dataset.h5"))
    assert len(dataset) == 7
    assert all(reading.startswith("DICOM ") for reading in dataset.readings)
    written = Path("dataset.h5").read_bytes() + Path("dataset_skipped.csv").read_bytes() + result.output.encode()
    for value in private:
        assert value.encode() not in written
