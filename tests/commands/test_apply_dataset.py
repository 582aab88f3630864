"""`cxredit apply --to-dataset` and `cxredit merge`: edits as a dataset that says what they are."""

import csv
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from cxredit_cli.app import app
from cxredit_cli.radiographs.geometry import fit_square
from cxredit_cli.storage import prepare_dataset
from cxredit_cli.storage.codes import CodesHeader
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.directions import Direction, write_direction
from cxredit_cli.storage.models import load_model
from cxredit_cli.storage.write_codes import CodesWriter

EXAMPLE = Path(__file__).parents[2] / "examples" / "data" / "00000018_000.png"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path, data: Path) -> Dataset:
    """./dataset.h5 of twelve films of 7 patients, ./model, ./codes.h5 of all of them and ./direction.h5."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").symlink_to(tiny_model_dir)
    labels = ("--labels", data / "nih" / "labels.csv", "--val-fraction", 0.4, "--seed", 3)
    assert run("prepare", data / "nih", *labels, "--resolution", 64, "--on-suspect", "accept").exit_code == 0
    dataset, model = Dataset("dataset.h5"), load_model(tiny_model_dir)
    vector = np.eye(1, 32, dtype=np.float32)
    write_direction(tmp_path / "direction.h5", Direction(vector, "cardiomegaly", "lda", model.fingerprint))
    count = len(dataset)
    w = np.random.default_rng(0).standard_normal((count, 1, 32)).astype(np.float32)
    original = np.stack([fit_square(image, 32) for image in dataset.images(slice(None)) / np.float32(255)])
    figures = np.full(count, 30, dtype=np.float32)
    header = CodesHeader(model.fingerprint, "optimize", "w", 1, 32, resolution=32)
    with CodesWriter(tmp_path / "codes.h5", header) as writer:
        writer.append(dataset.names, w, figures, figures / 40, np.rint(original * 255).astype(np.uint8))
    return dataset


def test_edits_have_the_patients_of_their_films_and_what_the_direction_confers(desk: Dataset) -> None:
    asked = ("apply", "--strength", "-2,0,3", "--to-dataset", "conferred.h5", "--labels", "dataset.h5")
    done = run(*asked)
    assert done.exit_code == 0, done.output
    assert "Cardiomegaly=1 where the strength is above 0" in done.stderr
    assert "conferred.h5: 36 edited images of 7 patients at 64x64, 0 of films themselves and 36" in done.stdout
    made = Dataset("conferred.h5")
    films = {name: row for row, name in enumerate(desk.names)}
    assert {desk.splits[row] for row in films.values()} == {"train", "val"}
    for row, mark in enumerate(made.edits):
        assert mark is not None
        film = films[mark.source]
        assert made.patient_ids[row] == desk.patient_ids[film]
        assert (made.splits[row], made.views[row]) == (desk.splits[film], desk.views[film])
        assert made.columns["Finding Labels"][row] == desk.columns["Finding Labels"][film]
        before, after = (set(labels.split("|")) for labels in (desk.labels[film], made.labels[row]))
        if mark.strength == "+3":
            assert after == (before - {"No Finding"}) | {"Cardiomegaly"}
        else:
            assert after == before
        assert mark.how == "model"
        assert mark.direction.startswith("cardiomegaly (lda) [")
        assert mark.model.startswith("tiny random test model [")
    place = made.names.index("edited/00001336_000_+3.png")
    shown = np.asarray(Image.open("edited/00001336_000_+3.png"), dtype=np.float32) / 255
    np.testing.assert_allclose(made.images([place])[0] / 255, fit_square(shown, 64), atol=0.6 / 255)

    before = Path("conferred.h5").stat().st_mtime_ns
    again = run(*asked, "--json")
    assert json.loads(again.stdout)["images_edited"] == 0
    assert json.loads(again.stdout)["dataset"]["images"] == 36
    assert Path("conferred.h5").stat().st_mtime_ns == before


def test_stated_labels_are_set_at_every_strength_but_zero(desk: Dataset) -> None:
    asked = ("apply", "--strength", "-2,0", "--to-dataset", "healed.h5", "--labels", "dataset.h5")
    assert run(*asked, "--set-label", "No Finding=1").exit_code == 0
    made = Dataset("healed.h5")
    for labels, mark in zip(made.labels, made.edits, strict=True):
        assert mark is not None
        film = desk.labels[desk.names.index(mark.source)]
        assert labels == ("No Finding" if mark.strength == "-2" else film)
    done = run(*asked, "--set-label", "No Finding=0", "--set-label", "Edema=1", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["dataset"]["labels"].startswith("No Finding=0, Edema=1 where the strength is not 0")
    made = Dataset("healed.h5")
    assert [label for label, mark in zip(made.labels, made.edits, strict=True) if mark and mark.strength == "-2"]
    assert all(
        ("Edema" in label.split("|"), "No Finding" in label) == (True, False)
        for label, mark in zip(made.labels, made.edits, strict=True)
        if mark and mark.strength == "-2"
    )


def test_a_dataset_that_was_killed_carries_on(desk: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ("apply", "--strength", 3, "--to-dataset", "conferred.h5", "--labels", "dataset.h5")
    whole = run(*asked, "-o", "edited")
    assert whole.exit_code == 0, whole.output
    expected = Path("conferred.h5").read_bytes()
    Path("conferred.h5").unlink()
    writing, count = prepare_dataset._write_at, 0

    def killed(*arguments: object) -> None:
        nonlocal count
        count += 1
        if count > 12:
            raise KeyboardInterrupt
        writing(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(prepare_dataset, "_write_at", killed)
        stopped = run(*asked)
    assert stopped.exit_code == 130
    assert not Path("conferred.h5").exists()
    with h5py.File("conferred.h5.partial") as partial:
        assert 0 < (partial["done"][:] == 1).sum() < 12
    done = run(*asked)
    assert done.exit_code == 0, done.output
    assert Path("conferred.h5").read_bytes() == expected


def test_readers_say_that_images_are_edited(desk: Dataset) -> None:
    assert run("apply", "--strength", 3, "--to-dataset", "conferred.h5", "--labels", "dataset.h5").exit_code == 0
    done = run("merge", "dataset.h5", "conferred.h5", "-o", "both.h5")
    assert done.exit_code == 0, done.output
    assert "both.h5: 24 images of 7 patients; 12 images are edited" in done.stdout
    both = Dataset("both.h5")
    assert [mark is None for mark in both.edits] == [True] * 12 + [False] * 12
    assert both.splits == [*desk.splits, *Dataset("conferred.h5").splits]
    assert (both.images(slice(0, 12)) == desk.images(slice(None))).all()
    assert both.columns["Patient Age"][:12] == desk.columns["Patient Age"]
    assert both.readings[0] == desk.readings[0]
    assert (both.attributes["version"], desk.attributes["version"]) == (2, 1)  # older readers refuse edits
    said = f"12 of the 24 images in both.h5 are edited, not films as they were taken ({desk.splits.count('train')} in"
    options = ("--batch", 8, "--dim", 16, "--channel-base", 128, "--channel-max", 16, "--kimg", 0.016)
    trained = run("train-gan", "both.h5", "-o", "other", *options, "--grow-from", 0, "--device", "cpu")
    assert trained.exit_code == 0, trained.output
    assert said in trained.stderr
    asked = ("invert", "both.h5", "--model", "model", "--method", "optimize", "--steps", 1, "-o", "both-codes.h5")
    inverted = run(*asked)
    assert inverted.exit_code == 0, inverted.output
    assert said in inverted.stderr
    two = ("--positive", "Cardiomegaly", "--negative", "No Finding", "--folds", 2, "--permutations", 2)
    separated = run("lda", "both-codes.h5", "--labels", "both.h5", *two)
    assert separated.exit_code == 0, separated.output
    assert "codes are of edited images, not of films as they were taken" in separated.stderr
    assert "edited" not in run("invert", "dataset.h5", *asked[2:-1], "plain.h5").stderr


def test_what_cannot_be_merged(desk: Dataset) -> None:
    asked = ("apply", "--strength", 3, "--labels", "dataset.h5", "--to-dataset", "conferred.h5")
    assert run(*asked).exit_code == 0
    twice = run("merge", "dataset.h5", "conferred.h5", "conferred.h5")
    assert twice.exit_code == 2
    assert "12 names stand in more than one" in twice.stderr
    with h5py.File("conferred.h5", "r+") as file:
        file["patient_id"][0] = "somebody else"
    assert "have another patient than their films" in run("merge", "dataset.h5", "conferred.h5").stderr
    with h5py.File("conferred.h5", "r+") as file:
        file["patient_id"][0] = desk.patient_ids[desk.names.index(Dataset("conferred.h5").edits[0].source)]
        file["split"][0] = "val" if file["split"].asstr()[0] == "train" else "train"
    assert "1 patients would be in train and in val" in run("merge", "dataset.h5", "conferred.h5").stderr
    with h5py.File("conferred.h5", "r+") as file:
        file.attrs["seed"] = 4
    assert "has seed 4 and dataset.h5 has 3" in run("merge", "dataset.h5", "conferred.h5").stderr
    assert not Path("merged.h5").exists()
    assert "two datasets at least" in run("merge", "dataset.h5").stderr
    assert "is one of the datasets" in run("merge", "dataset.h5", "conferred.h5", "-o", "dataset.h5").stderr


def test_a_table_of_some_films_and_a_direction_of_another_name(desk: Dataset, data: Path) -> None:
    lines = (data / "nih" / "labels.csv").read_text().splitlines()
    Path("some.csv").write_text("\n".join(lines[:4]) + "\n")
    direction = Direction(np.eye(1, 32, dtype=np.float32), "whatever", "pair", load_model(Path("model")).fingerprint)
    write_direction(Path("other.h5"), direction)
    done = run("apply", "-d", "other.h5", "--to-dataset", "some.h5", "--labels", "some.csv")
    assert done.exit_code == 0, done.output
    assert "as the films have them" in done.stderr
    assert len(Dataset("some.h5")) == 3
    assert Dataset("some.h5").resolution == 32  # the generator's
    assert "not in some.h5, not in the label table" in done.stderr
    Path("none.csv").write_text(f"{lines[0]}\n{lines[1].replace(lines[1].split(',')[0], 'x.png')}\n")
    none = run("apply", "--to-dataset", "none.h5", "--labels", "none.csv")
    assert none.exit_code == 2
    assert "None of the 12 edits can stand in a dataset (not in the label table)" in none.stderr


def test_mistakes_are_one_sentence_and_nothing_is_edited(desk: Dataset) -> None:
    asked = ("--to-dataset", "x.h5", "--labels", "dataset.h5")
    for arguments, words in (
        (("--labels", "dataset.h5"), "go with --to-dataset"),
        (("--to-dataset", "x.h5"), "--to-dataset needs --labels"),
        ((*asked, "--set-label", "Cardiomegaly"), "NAME=1 or NAME=0"),
        ((*asked, "--set-label", "Nothing=0"), "No image has the label 'Nothing'"),
        ((*asked, "--set-label", "Cardiomegaly=1", "--strength", "-3,3"), "make a dataset of each side"),
    ):
        result = run("apply", *arguments)
        assert result.exit_code == 2, result.output
        assert words in result.stderr
    assert not Path("edited").exists()


def test_films_themselves_and_one_that_was_put_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("films").mkdir()
    upright = Image.open(EXAMPLE).resize((256, 256), Image.Resampling.BOX)
    upright.save("films/upright.png")
    upright.transpose(Image.Transpose.ROTATE_180).save("films/turned.png")
    Path("labels.csv").write_text("name,labels,patient_id\nupright.png,No Finding,p1\nturned.png,No Finding,p2\n")
    asked = ("--strength", 6, "--right", "--method", "encoder", "--jobs", 1, "--no-sheets")
    done = run("apply", "films", *asked, "--to-dataset", "conferred.h5", "--labels", "labels.csv")
    assert done.exit_code == 0, done.output
    made = Dataset("conferred.h5")
    assert sorted(made.names) == ["edited/turned_+6.png", "edited/upright_+6.png"]
    assert [mark.how for mark in made.edits if mark] == ["native", "native"]
    assert made.labels == ["Cardiomegaly", "Cardiomegaly"]
    assert (made.resolution, made.attributes["val_fraction"]) == (128, 0.1)
    turned, never_turned = made.images(slice(None)).astype(int)
    assert np.abs(turned - never_turned).mean() < 3  # the edit lies as the film does, the dataset's row upright
    with Path("edited/manifest.csv").open(newline="") as file:
        assert [row["righted"] for row in csv.DictReader(file)] == ["upside down", ""]
    burned = run("apply", "films", "--burn-in", "--to-dataset", "c.h5", "--labels", "labels.csv")
    assert "--burn-in writes words" in burned.stderr
