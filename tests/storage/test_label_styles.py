"""Label tables of the field, each as its own source writes it."""

import gzip
import json
from pathlib import Path

import pytest

from cxredit_cli.errors import InputError
from cxredit_cli.storage.labels import AMBIGUOUS, read_labels

MIMIC = """subject_id,study_id,Atelectasis,Cardiomegaly,Edema,No Finding,Support Devices
10000032,50414267,,,,1.0,
10000032,53189527,,1.0,-1.0,,1.0
10000764,57375967,0.0,-1.0,,,
"""
METADATA = """dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows
02aa804e-bde0afdd,10000032,50414267,CHEST (PA AND LAT),PA,3056
174413ec-4ec4c1f7,10000032,50414267,CHEST (PA AND LAT),LATERAL,3056
2a2277a9-b0ded155,10000032,53189527,CHEST (PORTABLE AP),AP,3056
"""


@pytest.fixture
def table(tmp_path):
    """A function that writes a table and reads it."""

    def make(text: str, name: str = "labels.csv", **options):
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return read_labels(path, **options)

    return make


def facts(row):
    return row.name, row.labels, row.uncertain, row.patient_id, row.view


def test_columns_of_0_and_1(table):
    found = table("image,Cardiomegaly,Effusion,age\na.png,1,0,40\nb.png,0,1.0,41\nc.png,-1,,42\n")
    assert found.style == "0/1 columns"
    assert [facts(row) for row in found.rows] == [
        ("a.png", ("Cardiomegaly",), (), "", ""),
        ("b.png", ("Effusion",), (), "", ""),
        ("c.png", (), ("Cardiomegaly",), "", ""),
    ]
    assert found.label_names == ("Cardiomegaly", "Effusion")  # ages are no label


def test_mimic_labels_are_of_studies(table):
    found = table(MIMIC)
    assert found.style == "MIMIC-CXR"
    row = found.rows[found.find(Path("files/p10/p10000032/s53189527/2a2277a9-b0ded155.jpg").parts)]
    assert facts(row) == (
        *("p10000032/s53189527", ("Cardiomegaly", "Support Devices"), ("Edema",)),
        *("10000032", ""),
    )
    assert found.find(Path("files/p10/p10000032/s99999999/2a2277a9.jpg").parts) is None


def test_mimic_metadata_names_the_images(tmp_path):
    (tmp_path / "chexpert.csv").write_text(MIMIC)
    (tmp_path / "metadata.csv.gz").write_bytes(gzip.compress(METADATA.encode()))
    found = read_labels([tmp_path / "metadata.csv.gz", tmp_path / "chexpert.csv"])
    rows = [found.rows[found.find((f"{name}.dcm",))] for name in ("02aa804e-bde0afdd", "2a2277a9-b0ded155")]
    assert [(row.labels, row.uncertain, row.patient_id, row.view) for row in rows] == [
        (("No Finding",), (), "10000032", "PA"),
        (("Cardiomegaly", "Support Devices"), ("Edema",), "10000032", "AP"),
    ]
    assert found.view_names == ("AP", "LATERAL", "PA")
    assert len(found.columns) == len(found.rows[0].values)


def test_other_pairs_of_tables_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("name,label\na.png,x\n")
    (tmp_path / "b.csv").write_text(MIMIC)
    with pytest.raises(InputError, match="only as MIMIC-CXR's labels and metadata, not as plain and MIMIC-CXR"):
        read_labels([tmp_path / "a.csv", tmp_path / "b.csv"])


def test_padchest(table):
    text = (
        ",ImageID,StudyID,PatientID,Projection,Labels\n"
        "0,20536686640136348236148679891455886468_k6ga29.png,20536,839860488694292331637988235681460987,PA,"
        "\"['cardiomegaly', 'copd signs', ' pleural effusion']\"\n"
        "1,2053.png,20537,8398,L,['normal']\n"
        "2,2054.png,20538,8399,AP_horizontal,[]\n"
    )
    found = table(text)
    assert found.style == "PadChest"
    assert [facts(row)[1:] for row in found.rows] == [
        (("cardiomegaly", "copd signs", "pleural effusion"), (), "839860488694292331637988235681460987", "PA"),
        (("normal",), (), "8398", "LATERAL"),
        ((), (), "8399", "AP"),
    ]


def test_vindr_by_readers(table):
    lines = ["image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max"]
    lines += [
        "50a418,Cardiomegaly,3,R1,1,2,3,4",
        "50a418,Cardiomegaly,3,R2,1,2,3,4",
        "50a418,Aortic enlargement,0,R2,1,2,3,4",
    ]
    lines += ["50a418,No finding,14,R3,,,,", "0f10,No finding,14,R4,,,,", "0f10,No finding,14,R5,,,,"]
    found = table("\n".join(lines))
    assert found.style == "VinDr-CXR"
    # Two of three readers saw a large heart; what one of three says is uncertain.
    assert [facts(row)[:3] for row in found.rows] == [
        ("50a418", ("Cardiomegaly",), ("Aortic enlargement", "No finding")),
        ("0f10", ("No finding",), ()),
    ]


def test_vindr_image_labels_by_readers(table):
    found = table("image_id,rad_id,Cardiomegaly,No finding\na,R1,1,0\na,R2,0,1\na,R3,0,1\nb,R1,1,0\n")
    assert [facts(row)[:3] for row in found.rows] == [
        ("a", ("No finding",), ("Cardiomegaly",)),
        ("b", ("Cardiomegaly",), ()),
    ]


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        (
            "patientId,x,y,width,height,Target\n0004cfab,,,,,0\n00436515,264,152,213,379,1\n00436515,562,152,256,453,1\n",
            ("No Lung Opacity", "Lung Opacity"),
        ),
        (
            "patientId,class\n0004cfab,Normal\n00436515,Lung Opacity\n00436515,Lung Opacity\n",
            ("Normal", "Lung Opacity"),
        ),
    ],
)
def test_rsna_names_images_not_patients(table, text, labels):
    found = table(text)
    assert [facts(row) for row in found.rows] == [
        ("0004cfab", labels[:1], (), "", ""),
        ("00436515", labels[1:], (), "", ""),
    ]
    assert found.find(("stage_2_train_images", "00436515.dcm")) == 1


def test_nvlabs(tmp_path):
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"labels": [["00000/img00000000.png", 3], ["00000/img00000001.png", [0, 1, 1]]]}))
    found = read_labels(path)
    assert [facts(row)[:2] for row in found.rows] == [
        ("00000/img00000000.png", ("3",)),
        ("00000/img00000001.png", ("1", "2")),
    ]
    path.write_text('{"labels": null}')
    with pytest.raises(InputError, match=r"no dataset\.json"):
        read_labels(path)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("name", ["labels.csv", "labels.csv.gz"])
def test_separators_and_gzip(table, separator, name):
    found = table(f"\ufefffile{separator}label{separator}patient\na.png{separator}A|B{separator}7\n", name)
    assert facts(found.rows[0]) == ("a.png", ("A", "B"), (), "7", "")


def test_a_gzip_that_was_cut_off_is_refused(tmp_path):
    path = tmp_path / "labels.csv.gz"
    path.write_bytes(gzip.compress(b"name,label\n" * 99)[:-20])
    with pytest.raises(InputError, match="no CSV text"):
        read_labels(path)


@pytest.mark.parametrize(
    ("how", "labels", "uncertain"),
    [
        ("skip", ("Edema",), ("Cardiomegaly",)),
        ("present", ("Edema", "Cardiomegaly"), ()),
        ("absent", ("Edema",), ()),
    ],
)
def test_what_uncertain_counts_as(table, how, labels, uncertain):
    text = (
        "Path,Frontal/Lateral,AP/PA,Edema,Cardiomegaly\nt/patient00001/study1/view1_frontal.jpg,Frontal,AP,1.0,-1.0\n"
    )
    row = table(text, uncertain=how).rows[0]
    assert (row.labels, row.uncertain) == (labels, uncertain)


def test_columns_that_say_nothing_are_named(table):
    with pytest.raises(InputError, match=r"has the columns image, age; expected those of NIH.*MIMIC-CXR.*PadChest"):
        table("image,age\na.png,40\n")


def test_a_study_is_found_by_its_patient_too(table):
    found = table("subject_id,study_id,Edema\n1,2,1.0\n3,2,0.0\n")
    assert found.find(("p1", "s2", "x.jpg")) == 0
    assert found.find(("p9", "s2", "x.jpg")) in (None, AMBIGUOUS)
