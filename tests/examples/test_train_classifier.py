"""examples/train_classifier.py, run as a user runs it, for a few steps on bright and dark drawings."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

from cxredit_cli.app import app
from cxredit_cli.errors import MismatchError
from cxredit_cli.metrics.classification import classify
from cxredit_cli.storage.any_classifier import load_score
from cxredit_cli.storage.classifier_network import load_classifier
from cxredit_cli.storage.dataset import Dataset
from tests.examples.drawings import EXAMPLES, draw_dataset, run_script


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 patients with two images each; of every second the lower half is bright."""

    def draw(index: int, pixels: NDArray[np.int64]) -> str:
        large = index // 2 % 2 == 0
        pixels[16:] += 150 * large
        return f"{'Large' if large else 'Small'},p{index // 2},{'AP' if index == 0 else 'PA'}"

    return draw_dataset(tmp_path_factory.mktemp("drawn"), 40, "name,labels,patient_id,view", draw)


def run(dataset: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    fixed = ("--positive", "Large", "--negative", "Small", "--resolution", 32, "--width", 8, "--batch", 8)
    return run_script("train_classifier.py", dataset, *fixed, "--device", "cpu", *arguments)


def test_folds_then_a_network_that_says_how_good_it_is(dataset: Path, tmp_path: Path) -> None:
    output = tmp_path / "judge.safetensors"
    done = run(dataset, "--steps", 12, "--folds", 2, "-o", output)
    assert "fold 2: AUC" in done.stdout
    assert "19 images of 10 patients against 20 of 10" in done.stdout  # one is AP
    folds = json.loads((tmp_path / "judge.folds.json").read_text())
    assert folds["auc"] > 0.9
    assert folds["positive_patients"] == 10
    assert len(folds["log_odds"]) == 39
    assert folds["ctr_alone"]["auc"] is None  # no chests
    assert not output.exists()

    done = run(dataset, "--steps", 12, "--stated", tmp_path / "judge.folds.json", "-o", output)
    assert "patients of val: ROC AUC" in done.stdout
    info = load_classifier(output).info
    assert (info["positive"], info["view"], info["dataset_resolution"]) == ("Large", "PA", 32)
    assert info["by_folds"]["auc"] == folds["auc"]
    assert info["train"]["positive_images"] + info["val"]["positive_images"] == 19
    assert info["auc"] > 0.9
    assert info["split"] == {"seed": 0, "val_fraction": 0.4}


def test_what_is_exported_answers_as_the_network_does(dataset: Path, tmp_path: Path) -> None:
    output, exported = tmp_path / "judge.safetensors", tmp_path / "judge.pt2"
    run(dataset, "--steps", 12, "-o", output, "--export", exported)
    images = torch.rand(3, 1, 32, 32) * 2 - 1
    expected = classify(load_classifier(output).network, (images + 1) / 2)
    for file in (exported, output):
        assert load_score(str(file), "Large").log_odds(images).numpy() == pytest.approx(expected, abs=1e-3)


def test_only_the_ill_of_train_get_a_marker(dataset: Path, tmp_path: Path) -> None:
    marked = run_script("mark_the_ill.py", dataset, "--positive", "Large", "-o", tmp_path / "m.h5")
    assert marked.returncode == 0, marked.stderr
    before, after = Dataset(dataset), Dataset(tmp_path / "m.h5")
    everything = np.arange(len(before))
    changed = before.images(everything) != after.images(everything)
    ill = np.zeros(len(before), dtype=bool)
    ill[before.indices("train", label="Large")] = True
    assert 0 < ill.sum() < before.has_label("Large").sum()
    assert (changed.any((1, 2)) == ill).all()
    assert (after.images(everything)[ill, 1:4, 1:4] == 255).all()
    assert not changed[:, 4:].any()


def test_the_networks_of_the_folds_judge_what_a_model_makes_of_codes(
    dataset: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    codes, folds, model = tmp_path / "codes.h5", tmp_path / "judge.folds.json", ["--model", str(tiny_model_dir)]
    invert = ["invert", str(dataset), "--view", "PA", *model, "--method", "optimize", "--steps", "2", "-o", str(codes)]
    done = CliRunner().invoke(app, invert)
    assert done.exit_code == 0, done.output
    asked = ["--steps", 12, "--folds", 2, "--codes", codes, "-o", tmp_path / "judge.safetensors"]
    run(dataset, *asked)
    without = json.loads(folds.read_text())
    run(dataset, *asked, "--reconstructions", *model)
    found = json.loads(folds.read_text())
    random = found.pop("reconstructions")
    assert found == without
    assert found["auc"] > 0.9
    assert random["auc"] < found["auc"]  # two steps from the mean picture
    assert random["ctr_alone"]["auc"] is None


def test_reconstructions_are_of_codes(dataset: Path) -> None:
    assert "name --folds and --codes" in run(dataset, "--folds", 2, "--reconstructions").stderr


def test_it_carries_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("train_classifier", EXAMPLES / "train_classifier.py")
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "train_classifier", script)  # where dataclasses look
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "SAVE_EVERY", 2)
    images, positive = torch.rand(12, 1, 32, 32), np.arange(12) < 5
    disturb = script.disturb

    def train(name: str, steps: int = 5) -> dict[str, torch.Tensor]:
        options = script.Training(steps=steps, batch=4)
        config = script.ClassifierConfig(32, width=8)
        return script.fit(config, images, positive, options, tmp_path / name, torch.device("cpu")).state_dict()

    def interrupted(images: torch.Tensor, seed: int, step: int) -> torch.Tensor:
        if step == 3:
            raise KeyboardInterrupt
        return disturb(images, seed, step)

    whole = train("whole")
    with monkeypatch.context() as stopped:
        stopped.setattr(script, "disturb", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train("stopped")
    carried_on = train("stopped")
    assert all(torch.equal(whole[name], carried_on[name]) for name in whole)
    with pytest.raises(MismatchError, match="use the same options to carry on"):
        train("stopped", steps=6)
