"""Label tables of the three styles, and finding an image's row by its path."""

from pathlib import Path

import pytest

from cxredit_cli.errors import InputError
from cxredit_cli.storage.labels import AMBIGUOUS, read_labels

CHEXPERT = """\
Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Cardiomegaly,Edema,Pleural Effusion
CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,1.0,,,
CheXpert-v1.0-small/train/patient00002/study2/view1_frontal.jpg,Female,87,Frontal,PA,,1.0,-1.0,1.0
CheXpert-v1.0-small/train/patient00002/study2/view2_lateral.jpg,Female,87,Lateral,,,0.0,-1.0,
"""


def table(tmp_path: Path, text: str):
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode("utf-8-sig"))
    return read_labels(path)


def test_nih(data):
    labels = read_labels(data / "nih" / "labels.csv")
    assert labels.style == "NIH"
    row = labels.rows[labels.find(("any", "folder", "00001373_008.png"))]
    assert (row.labels, row.patient_id, row.view) == (("Cardiomegaly", "Effusion"), "1373", "PA")
    assert labels.label_names == ("Cardiomegaly", "Effusion", "Infiltration", "No Finding")
    assert labels.view_names == ("AP", "PA")


def test_chexpert(tmp_path):
    labels = table(tmp_path, CHEXPERT)
    assert labels.style == "CheXpert"
    first, second, third = labels.rows
    assert (first.labels, first.patient_id, first.view) == (("No Finding",), "patient00001", "AP")
    assert second.labels == ("Cardiomegaly", "Pleural Effusion")  # -1 is uncertain, not present
    assert (third.labels, third.view) == ((), "LATERAL")
    assert second.values[7] == "-1.0"


def test_plain_headers_in_several_spellings(tmp_path):
    for text in (
        "name,label\na.png,Cardiomegaly|Edema\n",
        "File,Labels,Patient_ID,View\na.png,Cardiomegaly;Edema,7,pa\n",
        "path,finding,subject_id\nx/a.png,Cardiomegaly | Edema,7\n",
    ):
        row = table(tmp_path, text).rows[0]
        assert row.labels == ("Cardiomegaly", "Edema")
        assert row.view in ("", "PA")
        assert row.patient_id in ("", "7")


def test_rows_are_found_by_the_end_of_a_path(tmp_path):
    labels = table(tmp_path, CHEXPERT)
    assert labels.find(("mnt", "train", "patient00002", "study2", "view1_frontal.jpg")) == 1
    assert labels.find(("patient00001", "study1", "view1_frontal.jpg")) == 0
    assert labels.find(("flat", "view1_frontal.jpg")) == AMBIGUOUS
    assert labels.find(("patient00009", "study2", "view2_lateral.jpg")) == AMBIGUOUS  # not another patient's row
    assert labels.find(("flat", "other.jpg")) is None
    assert labels.find(("patient00009", "study1", "view1_frontal.jpg")) == AMBIGUOUS
    assert labels.find(("patient00002", "study2", "view2_lateral.dcm")) == 2  # another format of the same image


def test_dots_in_names_are_no_suffix(tmp_path):
    labels = table(tmp_path, "name,label\n1.2.840.1,A\n1.2.840.2,B\n")
    assert labels.find(("1.2.840.2.dcm",)) == 1
    assert labels.find(("1.2.840.3.dcm",)) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id,diagnosis\n1,2\n", "has the columns id, diagnosis; expected those of NIH"),
        ("name,label\n", "holds no rows"),
        ("", "holds no rows"),
    ],
)
def test_other_tables_are_refused_with_what_was_found(tmp_path, text, expected):
    with pytest.raises(InputError, match=expected):
        table(tmp_path, text)


def test_files_that_are_no_table(tmp_path, data):
    with pytest.raises(InputError, match="does not exist"):
        read_labels(tmp_path / "none.csv")
    with pytest.raises(InputError, match="no CSV text"):
        read_labels(data / "nih" / "00001336_000.png")


def test_short_rows_and_blank_lines(tmp_path):
    labels = table(tmp_path, "name,label,patient_id\n\na.png,X\n,,\nb.png,Y,2,extra\n")
    assert [row.patient_id for row in labels.rows] == ["", "2"]
