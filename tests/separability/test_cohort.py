"""Which codes take part in a separation."""

from pathlib import Path

import numpy as np
import pytest

from cxredit_cli.errors import InputError
from cxredit_cli.separability.cohort import choose_cohort
from cxredit_cli.storage.dataset_labels import read_label_table
from cxredit_cli.storage.labels import read_labels


def test_nih_labels_of_real_radiographs(data: Path) -> None:
    sources = sorted(path.name for path in (data / "nih").glob("*.png"))
    cohort = choose_cohort(
        [*sources, "other/99999999_000.png"], read_labels(data / "nih" / "labels.csv"), "Cardiomegaly", "No Finding"
    )
    by_name = dict(zip((sources[row] for row in cohort.rows), cohort.positive, strict=True))
    assert by_name["00001369_000.png"]
    assert by_name["00001355_005.png"]
    assert not by_name["00001355_004.png"]
    assert "00001338_003.png" not in by_name  # Infiltration
    patients = dict(zip(by_name, cohort.patients, strict=True))
    assert patients["00001338_000.png"] == patients["00001338_001.png"] == "1338"
    assert cohort.unlabelled == ["other/99999999_000.png"]
    assert cohort.neither >= 1
    assert cohort.patients_known


def test_both_and_neither_are_left_out_and_patients_may_be_unknown(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("name,label\na.png,X\nb.png,Y\nc.png,X|Y\nd.png,Z\n")
    cohort = choose_cohort(["a.png", "b.png", "c.png", "d.png"], read_labels(path), "X", "Y")
    np.testing.assert_array_equal(cohort.rows, [0, 1])
    np.testing.assert_array_equal(cohort.positive, [True, False])
    assert cohort.both == ["c.png"]
    assert cohort.neither == 1
    assert not cohort.patients_known
    assert len(set(cohort.patients)) == 2


def test_labels_that_are_not_there(data: Path) -> None:
    table = read_labels(data / "nih" / "labels.csv")
    with pytest.raises(InputError, match=r"'Cardiomegalie'; the labels are .*Cardiomegaly"):
        choose_cohort(["00001336_000.png"], table, "Cardiomegalie", "No Finding")
    with pytest.raises(InputError, match="labelled 'Cardiomegaly'"):
        choose_cohort(["00001336_000.png"], table, "Cardiomegaly", "No Finding")


def test_labels_of_a_dataset(tmp_path: Path, data: Path) -> None:
    from cxredit_cli.radiographs.sources import list_sources
    from cxredit_cli.storage.prepare_dataset import Options, prepare

    path = tmp_path / "dataset.h5"
    prepare(list_sources([data / "nih"]), path, Options(resolution=32), read_labels(data / "nih" / "labels.csv"))
    sources = sorted(source.name for source in (data / "nih").glob("*.png"))
    from_csv = choose_cohort(sources, read_label_table(data / "nih" / "labels.csv"), "Cardiomegaly", "No Finding")
    from_dataset = choose_cohort(sources, read_label_table(path), "Cardiomegaly", "No Finding")
    np.testing.assert_array_equal(from_csv.rows, from_dataset.rows)
    np.testing.assert_array_equal(from_csv.positive, from_dataset.positive)
    assert from_csv.patients == from_dataset.patients
