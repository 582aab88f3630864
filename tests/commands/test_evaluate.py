"""`cxredit evaluate --realism` on real radiographs and a random model."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from cxredit_cli.app import app
from cxredit_cli.evaluation.realism_study import generate_images
from cxredit_cli.networks.classifier import Classifier, ClassifierConfig
from cxredit_cli.storage.classifier_network import BUNDLED_CLASSIFIER, save_classifier
from cxredit_cli.storage.codes import CodesHeader
from cxredit_cli.storage.directions import Direction, write_direction
from cxredit_cli.storage.models import load_model
from cxredit_cli.storage.write_codes import CodesWriter
from tests.storage.classifier_files import write_pt2


@pytest.fixture(scope="module")
def scans(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 crops of real chest X-rays, and a dataset of them at 32x32, half of it in the split val."""
    folder = tmp_path_factory.mktemp("scans") / "scans"
    folder.mkdir()
    for path in sorted((data / "nih").glob("*.png")):
        with Image.open(path) as image:
            for left in (0, 4, 8):
                image.convert("L").crop((left, left, left + 120, left + 120)).save(folder / f"{path.stem}_{left}.png")
    options = ["--resolution", "32", "--val-fraction", "0.5", "-o", str(folder.parent / "dataset.h5")]
    assert CliRunner().invoke(app, ["prepare", str(folder), *options]).exit_code == 0
    return folder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # without Inception

    def evaluate(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["evaluate", "--model", str(tiny_model_dir), *map(str, arguments)])

    return evaluate


def test_a_report_of_unseen_patients(run, scans: Path, tiny_model_dir: Path) -> None:
    dataset = scans.parent / "dataset.h5"
    result = run("--realism", "--images", dataset, "--n", 17, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document == json.loads(Path("evaluation.json").read_text())
    assert load_model(tiny_model_dir).fingerprint in document["model"]
    realism = document["realism"]
    assert (realism["split"], realism["images"], realism["half"]) == ("val", 16, 8)
    assert realism["truncation_psi"] == 1
    figures = {figure["name"]: figure for figure in realism["figures"]}
    for name in ("frechet_distance", "sliced_wasserstein", "sliced_wasserstein_16"):
        assert figures[name]["ratio"] > 1.5  # a random model, and few images
        assert figures[name]["others"]["mean"] < figures[name]["generated"]["mean"]
    assert figures["precision"]["generated"]["mean"] < figures["precision"]["floor"]["mean"]
    assert figures["kernel_distance"]["ratio"] is None
    assert "anatomy" in realism["networks"]
    assert any("inception_v3_google" in note and "not on this machine" in note for note in realism["notes"])
    assert any("does not say which patients" in note for note in realism["notes"])


def test_the_text_has_a_line_a_figure(run, scans: Path) -> None:
    result = run("--realism", "--images", scans, "-o", "report.json")
    assert result.exit_code == 0, result.output
    assert "36 real images (all, 36 patients) in halves of 18" in result.stdout
    assert "frechet distance, anatomy" in result.stdout
    assert "other patients" not in result.stdout  # a folder is taken whole
    assert "may have been trained on these" in result.stderr
    assert Path("report.json").is_file()
    assert "frechet distance, anatomy" in Path("report.html").read_text()


def test_another_split_than_the_models_is_said(run, scans: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model_dir, tmp_path / "trained")
    info = json.loads((folder / "model.json").read_text())
    for fraction, said in ((0.1, True), (0.5, False)):
        data = {"val_fraction": fraction, "split_seed": 0}
        (folder / "model.json").write_text(json.dumps({**info, "data": data}))
        result = run("--realism", "--images", scans.parent / "dataset.h5", "--n", 16, "--model", folder)
        assert result.exit_code == 0, result.output
        assert ("was split otherwise" in result.stderr) is said


def test_what_is_judged_is_what_generate_writes(run, tiny_model_dir: Path) -> None:
    assert (
        CliRunner().invoke(app, ["generate", "-n", "3", "--model", str(tiny_model_dir), "--seed", "4"]).exit_code == 0
    )
    images = generate_images(load_model(tiny_model_dir), 3, seed=4, truncation_psi=0.7, batch=2)
    for index, image in enumerate(images):
        written = np.asarray(Image.open(f"generated/4_{index:05d}.png")).astype(int)
        assert np.abs(image.astype(int) - written).max() <= 1


def test_mistakes_are_one_sentence(run, scans: Path) -> None:
    dataset = scans.parent / "dataset.h5"
    mistakes = {
        "the sections are --realism": (),
        "does not exist": ("--realism",),
        "name it .json": ("--realism", "--images", dataset, "-o", "report.html"),
        "must be train, val or all": ("--realism", "--images", dataset, "--split", "test"),
        "at least are needed": ("--realism", "--images", dataset, "--n", "9"),
        "between 0 and 2": ("--realism", "--images", dataset, "--truncation-psi", "3"),
        "--precision must be": ("--realism", "--images", dataset, "--precision", "half"),
    }
    for words, arguments in mistakes.items():
        result = run(*arguments)
        assert result.exit_code == 2
        assert words in result.stderr
        assert result.stderr.count("\n") == 1
    assert not Path("evaluation.json").exists()


def test_the_dose_response_of_a_direction(run, scans: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    fingerprint = load_model(tiny_model_dir).fingerprint
    vector = np.eye(32, dtype=np.float32)[:1]
    write_direction(tmp_path / "direction.h5", Direction(vector, "wide", "drawn", fingerprint))
    options = ("--dose", "--images", scans, "--label", "any", "--view", "any", "-n", "3")
    result = run(*options, "--steps", "2", "--sweep", "-1:1:2", "--randoms", "1", "--json")
    assert result.exit_code == 0, result.output
    section = json.loads(result.stdout)["dose"]
    assert section["strengths"] == [-1, 0, 1]
    assert section["cohort"]["images"] == section["scans"] == 3
    assert section["cohort"]["codes"] == "optimize, w+, 2 steps"
    assert len(section["null"]) == 2
    assert section["used"] == 0  # a random model draws no chests
    assert any("--split val" in note for note in section["notes"])

    # The same scans by codes that were made before; only those with a code are taken.
    some = sorted(scans.glob("*_0.png"))[:3]
    made = CliRunner().invoke(app, ["invert", *map(str, some), "--model", str(tiny_model_dir), "--steps", "2"])
    assert made.exit_code == 0, made.output
    result = run(*options, "--codes", "codes.h5", "--sweep", "0:1:2", "--randoms", "0")
    assert result.exit_code == 0, result.output
    assert "Dose-response of wide (drawn)" in result.stdout
    assert "Dose and response of wide" in Path("evaluation.html").read_text()
    section = json.loads(Path("evaluation.json").read_text())["dose"]
    assert section["cohort"]["codes"].endswith("(codes.h5)")
    assert 2 <= section["scans"] <= 3

    for words, arguments in {
        "two at least are needed": ("--dose", "--images", scans),
        "strengths besides 0": (*options, "--sweep", "0:0:2"),
    }.items():
        result = run(*arguments)
        assert result.exit_code == 2
        assert words in result.stderr


def test_a_classifier_is_a_second_judge(run, data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "nih", tmp_path / "nih")
    options = ("--dose", "--images", tmp_path / "nih", "--label", "any", "--view", "any", "-n", "4", "--sweep", "0:6:2")
    bundled = BUNDLED_CLASSIFIER.parent
    result = run(*options, "--method", "encoder", "--randoms", "1", "--model", bundled)
    assert result.exit_code == 0, result.output
    section = json.loads(Path("evaluation.json").read_text())["dose"]
    assert section["used"] >= 1
    judge, found = section["classifier_judge"], section["classifier"]
    assert (judge["positive"], judge["file"]) == ("Cardiomegaly", "classifier_judge.safetensors")
    assert judge["tested"][0]["on"] == "5 folds by patient"
    assert found["rise"] == pytest.approx(found["log_odds"]["mean"][1] - found["log_odds"]["mean"][0])
    assert 0 <= found["probability"]["mean"][0] <= 1
    assert len(section["null"][0]["classifier"]["ends"]) == 1
    assert "A classifier of Cardiomegaly against No Finding" in result.stdout
    assert re.search(r"heart area  +\+\d|At no strength here has the mean CTR risen by 0.10", result.stdout)
    assert "asked" not in result.stdout
    assert "log-odds" in result.stdout
    assert any("The classifier may have been trained" in note for note in section["notes"])
    assert any("of view any" in note for note in section["notes"])
    assert "A second judge" in Path("evaluation.html").read_text()


def test_ones_own_classifier(run, scans: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    fingerprint = load_model(tiny_model_dir).fingerprint
    vector = np.eye(32, dtype=np.float32)[:1]
    write_direction(tmp_path / "direction.h5", Direction(vector, "wide", "drawn", fingerprint))
    info = {"positive": "Large", "negative": "Small", "view": "any", "data": "", "auc": None, "auc_interval": None}
    info |= {"split": {}, "val": {"positive_images": 0, "negative_images": 3}}
    save_classifier(tmp_path / "own.safetensors", Classifier(ClassifierConfig(32, width=8)), info)
    options = ("--dose", "--images", scans, "--label", "any", "--view", "any", "-n", "2", "--steps", "1")
    options = (*options, "--sweep", "0:1:2", "--randoms", "0", "--json")
    section = json.loads(run(*options, "--classifier", "own.safetensors").stdout)["dose"]
    assert (section["classifier_judge"]["positive"], section["classifier_judge"]["tested"]) == ("Large", [])
    assert section["classifier"] is None  # a random model draws no chests
    assert json.loads(run(*options).stdout)["dose"]["classifier_judge"] is None  # the bundled one is for 128x128
    write_pt2(tmp_path / "theirs.pt2")
    theirs = json.loads(run(*options, "--classifier", "theirs.pt2", "--class", "Right").stdout)["dose"]
    assert (theirs["classifier_judge"]["positive"], theirs["classifier_judge"]["file"]) == ("Right", "theirs.pt2")
    assert any("not known here" in note for note in theirs["notes"])
    assert "given by the user" in Path("evaluation.html").read_text() or theirs["classifier"] is None
    result = run(*options, "--classifier", "theirs.pt2")
    assert result.exit_code == 2
    assert "choose one with --class" in result.stderr
    result = run(*options, "--classifier", "own.safetensors", "--class", "Large")
    assert result.exit_code == 2
    assert "--class goes with" in result.stderr
    result = run(*options, "--classifier", "none.safetensors")
    assert result.exit_code == 2
    assert "There is no classifier none.safetensors" in result.stderr


def test_ways_of_inverting_side_by_side(run, scans: Path) -> None:
    ways = ("--by", "optimize,w,1", "--by", "optimize,w+,30")
    sections = ("--reconstruction", "--code-error", "--images", scans, "--view", "any", "-n", "3")
    result = run(*sections, *ways)
    assert result.exit_code == 0, result.output
    assert "optimize, w+, 30 steps" in result.stdout
    report = json.loads(Path("evaluation.json").read_text())
    for section in ("reconstruction", "code_error"):
        assert [way["way"] for way in report[section]["ways"]] == ["optimize, w, 1 steps", "optimize, w+, 30 steps"]
    first, second = report["reconstruction"]["ways"]
    assert second["psnr"]["mean"] > first["psnr"]["mean"]
    assert 0 < first["ms_ssim"]["mean"] < 1
    assert first["seconds_an_image"] > 0
    assert report["code_error"]["ways"][0]["error"]["mean"] == pytest.approx(1, abs=0.5)  # it begins at the mean code
    result = run(*sections, "--by", "optimize,w,many")
    assert result.exit_code == 2
    assert "must be METHOD,SPACE,STEPS" in result.stderr


def test_labels_in_codes_held_out_by_patient(run, tiny_model_dir: Path) -> None:
    random = np.random.default_rng(0)
    w = random.standard_normal((40, 1, 32)).astype(np.float32)
    w[:20, 0, 3] += 4
    names = [f"{index}.png" for index in range(40)]
    header = CodesHeader(load_model(tiny_model_dir).fingerprint, "optimize", "w", 1, 32, 32)
    with CodesWriter(Path("codes.h5"), header) as writer:
        unknown = np.zeros(40, np.float32)
        writer.append(names, w, unknown, unknown, np.zeros((40, 32, 32), np.uint8))
    rows = [f"{name},{'Large' if index < 20 else 'Small'},p{index},{index % 7}" for index, name in enumerate(names)]
    Path("labels.csv").write_text("\n".join(["name,labels,patient_id,age", *rows]) + "\n")
    options = ("--codes", "codes.h5", "--labels", "labels.csv", "--positive", "Large", "--negative", "Small")
    result = run("--separability", *options, "--permutations", "9", "--control", "age", "--metric", "picture")
    assert result.exit_code == 0, result.output  # without any dataset.h5
    assert "with age taken out" in result.stdout
    assert "by picture: ROC AUC held out" in result.stdout
    report = json.loads(Path("evaluation.json").read_text())
    assert report["images"] is None
    assert "Real images" not in Path("evaluation.html").read_text()
    (section,) = report["separability"]
    assert section["auc"] > 0.9
    assert section["controlled"]["auc"] > 0.9
    assert section["by_metric"]["picture"]["auc"] > 0.8
    assert "w, by picture" in Path("evaluation.html").read_text()
    assert section["p_value"] == pytest.approx(0.1)
    assert section["ctr_alone"] is None  # black pictures
    for words, arguments in {
        "needs --codes": ("--separability",),
        "--metric must be": ("--separability", "--codes", "codes.h5", "--metric", "pixels"),
        "dataset.h5 does not exist": ("--separability", "--codes", "codes.h5"),  # whose labels are wanted
    }.items():
        result = run(*arguments)
        assert result.exit_code == 2
        assert words in result.stderr


def test_the_codes_of_synthetic_images_need_no_dataset(run) -> None:
    result = run("--code-error", "-n", "2", "--by", "optimize,w,1")
    assert result.exit_code == 0, result.output
    assert "code_error" in json.loads(Path("evaluation.json").read_text())
