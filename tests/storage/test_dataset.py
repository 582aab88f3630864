"""Preparing and reading datasets: exact pixels, splits by patient, kills, and what is refused."""

import hashlib
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from cxredit_cli.errors import InputError, MismatchError
from cxredit_cli.radiographs.read_many import read_all
from cxredit_cli.radiographs.sources import list_sources
from cxredit_cli.storage import prepare_dataset
from cxredit_cli.storage.dataset import Dataset, split_of
from cxredit_cli.storage.image_folder import open_images
from cxredit_cli.storage.labels import read_labels
from cxredit_cli.storage.prepare_dataset import Options, prepare

NO_IMAGE = (
    "it is no DICOM file, picture (PNG, JPEG, TIFF, JPEG 2000, WebP, BMP) or array, or only the beginning of one."
)


@pytest.fixture(scope="module")
def dataset(data, tmp_path_factory) -> Dataset:
    """The twelve NIH images as they are."""
    path = tmp_path_factory.mktemp("prepared") / "dataset.h5"
    prepare(list_sources([data / "nih"]), path, Options(), read_labels(data / "nih" / "labels.csv"), workers=1)
    return Dataset(path)


def test_images_are_exact_and_in_the_order_that_is_asked_for(dataset, data):
    assert (len(dataset), dataset.resolution, dataset.white) == (12, 128, 255)
    images = dataset.images([11, 0, 0])
    assert images.dtype == np.uint8
    for image, index in zip(images, [11, 0, 0], strict=True):
        np.testing.assert_array_equal(image, np.asarray(Image.open(data / "nih" / dataset.names[index])))
    assert dataset.images(slice(2, 5)).shape == (3, 128, 128)
    images[:] = 0  # a copy: the file is not touched
    assert dataset.images([0]).any()


def test_what_is_known_of_each_image(dataset):
    index = dataset.names.index("00001373_008.png")
    assert dataset.labels[index] == "Cardiomegaly|Effusion"
    assert dataset.patient_ids[index] == "1373"
    assert dataset.views[index] == "PA"
    assert dataset.readings[index] == "PNG 8 bit"
    assert dataset.columns["Patient Age"][index] == "58"
    assert dataset.has_label("Cardiomegaly").sum() == 5
    assert dataset.has_label("Cardio").sum() == 0
    assert len(dataset.indices(view="PA", label="Cardiomegaly")) == 3
    assert set(dataset.indices("train")) | set(dataset.indices("val")) == set(range(12))


def test_the_split_is_that_of_the_documented_formula(dataset):
    for patient, split in zip(dataset.patient_ids, dataset.splits, strict=True):
        number = int.from_bytes(hashlib.sha256(f"0:{patient}".encode()).digest()[:8], "big") / 2**64
        assert split == ("val" if number < 0.1 else "train")


def test_split_shares_and_stability():
    patients = [f"p{number}" for number in range(4000)]
    assert 0.08 < np.mean([split_of(patient, 0.1, 0) == "val" for patient in patients]) < 0.12
    assert any(split_of(patient, 0.1, 0) != split_of(patient, 0.1, 1) for patient in patients)
    assert all(split_of(patient, 0, 0) == "train" for patient in patients)
    # A larger share keeps those that were held out.
    assert all(split_of(patient, 0.3, 0) == "val" for patient in patients if split_of(patient, 0.1, 0) == "val")


def _sum_in_child(dataset: Dataset, queue: "multiprocessing.Queue[int]") -> None:
    queue.put(int(dataset.images(range(12)).sum(dtype=np.int64)))


def test_a_dataset_travels_to_other_processes(dataset):
    expected = int(dataset.images(range(12)).sum(dtype=np.int64))  # its file is mapped before it is pickled
    assert int(pickle.loads(pickle.dumps(dataset)).images(range(12)).sum(dtype=np.int64)) == expected
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[int] = context.Queue()
    children = [context.Process(target=_sum_in_child, args=(dataset, queue)) for _ in range(3)]
    for child in children:
        child.start()
    assert [queue.get(timeout=30) for _ in children] == [expected] * 3


def test_sixteen_bits_and_another_resolution(data, tmp_path):
    options = Options(resolution=48, bits=16, fit="pad")
    prepare(list_sources([data / "nih"]), tmp_path / "d.h5", options, workers=1)
    dataset = Dataset(tmp_path / "d.h5")
    assert (dataset.resolution, dataset.white) == (48, 65535)
    picture = np.asarray(Image.open(data / "nih" / dataset.names[0])).astype(float) / 255
    assert dataset.images([0]).mean() / 65535 == pytest.approx(picture.mean(), abs=1e-4)  # areas keep the mean
    assert dataset.patient_ids == dataset.names  # unknown patients: every image its own
    assert dataset.labels == [""] * 12


def test_processes_give_the_same_file(data, tmp_path, monkeypatch):
    monkeypatch.setattr("cxredit_cli.radiographs.read_many.FEW", 0)
    monkeypatch.setattr("cxredit_cli.radiographs.read_many.BATCH", 5)
    sources = list_sources([data / "nih"])
    one = list(read_all(list(enumerate(sources)), 32, "crop", 8, workers=1))
    two = list(read_all(list(enumerate(sources)), 32, "crop", 8, workers=2))
    assert one == two
    assert [index for index, _, _ in two] == list(range(12))


# --- skipping --------------------------------------------------------------------------------------------------------


def test_filters_and_reasons(data, tmp_path):
    table = read_labels(data / "nih" / "labels.csv")
    extra = tmp_path / "extra.png"
    shutil.copy(data / "nih" / "00001336_000.png", extra)
    again = tmp_path / "again" / "00001336_000.png"
    again.parent.mkdir()
    shutil.copy(extra, again)
    sources = list_sources([data / "nih", extra, again.parent])
    options = Options(view="pa", exclude=("Effusion",))
    report = prepare(sources, tmp_path / "d.h5", options, table, workers=1)
    assert report.skipped == {
        "view is AP": 4,
        "has an excluded label": 1,
        "not in the label table": 1,
        "another image has its row": 1,
    }
    assert report.images == 7
    assert report.splits["train"]["images"] + report.splits["val"]["images"] == 7
    only = prepare(sources, tmp_path / "c.h5", Options(include=("Cardiomegaly",)), table, workers=1)
    assert only.images == 5
    assert Dataset(tmp_path / "c.h5").has_label("Cardiomegaly").all()


def test_a_row_goes_to_the_image_whose_path_is_most_like_its_own(data, tmp_path):
    for patient, name in (("p1", "00001336_000.png"), ("p2", "00001337_000.png")):
        path = tmp_path / "images" / patient / "view.png"
        path.parent.mkdir(parents=True)
        shutil.copy(data / "nih" / name, path)
    (tmp_path / "labels.csv").write_text("path,label\np2/view.png,Cardiomegaly\n")
    table = read_labels(tmp_path / "labels.csv")
    report = prepare(list_sources([tmp_path / "images"]), tmp_path / "d.h5", Options(), table)
    assert Dataset(tmp_path / "d.h5").names == ["p2/view.png"]
    assert report.skipped == {"another image has its row": 1}


def test_rows_without_an_image_are_counted(data, tmp_path):
    table = read_labels(data / "nih" / "labels.csv")
    report = prepare(list_sources([data / "nih" / "00001336_000.png"]), tmp_path / "d.h5", Options(), table)
    assert (report.images, report.rows_without_image) == (1, 11)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (Options(view="LL"), "the views are AP, PA"),
        (Options(include=("Cardiomegalie",)), "the labels are Cardiomegaly, Effusion"),
        (Options(val_fraction=1.5), "below 1, not 1.5"),
        (Options(resolution=0), "not 0"),
        (Options(fit="squeeze"), "crop or pad"),  # type: ignore[arg-type]
        (Options(include=("Infiltration",), exclude=("Infiltration",)), "None of the 12 images is left"),
    ],
)
def test_impossible_options(data, tmp_path, options, expected):
    with pytest.raises(InputError, match=expected):
        prepare(list_sources([data / "nih"]), tmp_path / "d.h5", options, read_labels(data / "nih" / "labels.csv"))
    assert not list(tmp_path.iterdir())


def test_unreadable_images_are_left_out_and_named(data, tmp_path):
    folder = tmp_path / "images"
    shutil.copytree(data / "nih", folder)
    whole = (folder / "00001339_000.png").read_bytes()
    (folder / "00001339_000.png").write_bytes(whole[:4000])
    (folder / "00001336_000.png").write_text("no image")
    table = read_labels(folder / "labels.csv")
    report = prepare(list_sources([folder]), tmp_path / "d.h5", Options(), table, workers=1)
    assert report.unreadable == [
        ("00001336_000.png", NO_IMAGE),
        ("00001339_000.png", "the file is truncated or damaged; copy it again from where it came."),
    ]
    assert report.skipped == {"unreadable": 2}
    dataset = Dataset(tmp_path / "d.h5")
    assert len(dataset) == 10
    for index, name in enumerate(dataset.names):
        np.testing.assert_array_equal(dataset.images([index])[0], np.asarray(Image.open(folder / name)))
    assert dataset.columns["Image Index"] == dataset.names
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.h5", "images"]
    assert prepare_dataset.prepare(list_sources([folder]), tmp_path / "d.h5", Options(), table).unreadable_count == 2


def test_nothing_readable_leaves_nothing(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(InputError, match=r"None of the 1 images could be read; the first is a\.png: it is no DICOM"):
        prepare(list_sources([tmp_path / "a.png"]), tmp_path / "d.h5", Options())
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


# --- kills -----------------------------------------------------------------------------------------------------------

SCRIPT = """
import sys, time
from pathlib import Path
from cxredit_cli.storage import prepare_dataset
from cxredit_cli.radiographs.sources import list_sources
if __name__ == "__main__":
    real = prepare_dataset.read_all
    def slow(*arguments):
        for result in real(*arguments):
            time.sleep(0.02)
            yield result
    prepare_dataset.read_all = slow
    options = prepare_dataset.Options(resolution=32)
    prepare_dataset.prepare(list_sources([sys.argv[1]]), Path(sys.argv[2]), options, workers=1)
"""


@pytest.fixture(scope="module")
def many(data, tmp_path_factory) -> Path:
    """A zip of 60 images."""
    path = tmp_path_factory.mktemp("many") / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for copy in range(5):
            for image in sorted((data / "nih").glob("*.png")):
                archive.write(image, f"{copy}/{image.name}")
    return path


def test_kill_at_any_moment(many, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    output, partial = tmp_path / "d.h5", tmp_path / "d.h5.partial"
    done = 0
    for _ in range(3):
        process = subprocess.Popen([sys.executable, str(script), str(many), str(output)])
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
            if partial.exists() and _done(partial) > done + 5:
                break
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not output.exists()
        assert _done(partial) > done  # it opens, and nothing that was done is lost
        done = _done(partial)
    report = prepare(list_sources([many]), output, Options(resolution=32), workers=1)
    assert report.resumed >= done
    assert report.images == 60
    whole = tmp_path / "whole.h5"
    prepare(list_sources([many]), whole, Options(resolution=32), workers=1)
    assert output.read_bytes() == whole.read_bytes()
    assert not partial.exists()


def _done(partial: Path) -> int:
    with h5py.File(partial, "r") as file:
        return int((file["done"][:] != 0).sum())


def test_another_command_does_not_carry_on_a_partial(many, tmp_path, monkeypatch):
    output = tmp_path / "d.h5"

    def stop_after(count: int):
        real = prepare_dataset.read_all

        def stopping(*arguments: object):
            for number, result in enumerate(real(*arguments)):  # type: ignore[arg-type]
                if number == count:
                    raise KeyboardInterrupt
                yield result

        return stopping

    with monkeypatch.context() as patch:
        patch.setattr(prepare_dataset, "read_all", stop_after(20))
        with pytest.raises(KeyboardInterrupt):
            prepare(list_sources([many]), output, Options(resolution=32), workers=1)
    partial = output.with_name("d.h5.partial")
    copy = partial.read_bytes()
    assert prepare(list_sources([many]), output, Options(resolution=32), workers=1).resumed == 20
    output.unlink()
    partial.write_bytes(copy)
    assert prepare(list_sources([many]), output, Options(resolution=32, seed=1), workers=1).resumed == 0
    output.unlink()
    partial.write_bytes(copy)
    os.utime(many)  # the images may have changed
    assert prepare(list_sources([many]), output, Options(resolution=32), workers=1).resumed == 0
    partial.write_bytes(copy[:1000])  # and a partial that does not open is made anew
    assert prepare(list_sources([many]), output, Options(resolution=16), workers=1).images == 60


def test_the_same_command_again_does_nothing(many, tmp_path):
    output = tmp_path / "d.h5"
    prepare(list_sources([many]), output, Options(resolution=16), workers=1)
    before = output.stat().st_mtime_ns
    assert prepare(list_sources([many]), output, Options(resolution=16), workers=1).resumed == 60
    assert output.stat().st_mtime_ns == before


def test_a_full_disk_is_an_error_and_not_a_broken_file(many, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare_dataset, "_write_at", _no_space)
    with pytest.raises(OSError, match="No space left"):
        prepare(list_sources([many]), tmp_path / "d.h5", Options(resolution=16), workers=1)
    monkeypatch.undo()
    assert prepare(list_sources([many]), tmp_path / "d.h5", Options(resolution=16), workers=1).images == 60


def _no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


# --- opening ---------------------------------------------------------------------------------------------------------


def test_a_folder_and_a_zip_open_as_a_dataset(data, many, tmp_path):
    folder = tmp_path / "images"
    shutil.copytree(data / "nih", folder)
    dataset = open_images(folder, resolution=32, workers=1)
    assert (len(dataset), dataset.resolution, dataset.path.parent) == (12, 32, tmp_path)
    before = dataset.path.stat().st_mtime_ns
    assert open_images(folder, resolution=32, workers=1).path.stat().st_mtime_ns == before  # made once
    (folder / "00001336_000.png").unlink()
    assert len(open_images(folder, resolution=32, workers=1)) == 11
    assert len(open_images(many, resolution=16, workers=1)) == 60
    assert open_images(dataset.path).resolution == 32


def test_what_cannot_be_opened_is_said(dataset, tmp_path):
    with pytest.raises(MismatchError, match="holds images of 128 pixels and 64 are needed"):
        open_images(dataset.path, resolution=64)
    with pytest.raises(InputError, match="does not exist; make"):
        open_images(tmp_path / "none.h5")
    with pytest.raises(InputError, match="does not exist; make it with `cxredit prepare`"):
        Dataset(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(InputError, match="no readable dataset"):
        Dataset(tmp_path / "text.h5")
    with h5py.File(tmp_path / "codes.h5", "w") as file:
        file["w"] = np.zeros(3)
    with pytest.raises(InputError, match="no dataset"):
        Dataset(tmp_path / "codes.h5")
    shutil.copy(dataset.path, tmp_path / "new.h5")
    with h5py.File(tmp_path / "new.h5", "a") as file:
        file.attrs["version"] = 99
    with pytest.raises(MismatchError, match="version 99"):
        Dataset(tmp_path / "new.h5")


def test_the_options_are_recorded(dataset):
    recorded = {
        name: dataset.attributes[name] for name in ("schema", "version", "resolution", "fit", "val_fraction", "seed")
    }
    assert recorded == {
        "schema": "cxredit-dataset",
        "version": 1,
        "resolution": 128,
        "fit": "crop",
        "val_fraction": 0.1,
        "seed": 0,
    }
    assert json.loads(dataset.attributes["skipped"]) == {}
