"""examples/train_findings.py, run as a user runs it, for a few steps on drawings with a bright left or lower half."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cxredit_cli.storage.any_classifier import load_score
from tests.examples.drawings import draw_dataset, run_script

LABELS = [word for label in ("Low", "Left+Right", "Age", "Sex", "View") for word in ("--label", label)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images of each of 30 patients; the old have a bright left half."""

    def draw(index: int, pixels: NDArray[np.int64]) -> str:
        patient = index // 2
        low, old = patient % 2 == 0, patient % 3 == 0
        pixels[16:] += 120 * low
        pixels[:, :16] += 60 * old
        found = "|".join([*(["Low"] if low else []), *(["Left"] if old else [])]) or "No Finding"
        age = "070Y" if old else "050Y" if patient == 1 else "020Y"
        return f"{found},p{patient},{age},{'F' if low else 'M'},{'AP' if index % 2 else 'PA'}"

    header = "Image Index,Finding Labels,Patient ID,Patient Age,Patient Gender,View Position"
    return draw_dataset(tmp_path_factory.mktemp("drawn"), 60, header, draw)


def run(dataset: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    fixed = ("--resolution", 32, "--width", 8, "--batch", 10)
    return run_script("train_findings.py", dataset, *fixed, *arguments)


@pytest.mark.parametrize("architecture", ["residual", "plain"])
def test_many_findings_at_once(architecture: str, dataset: Path, tmp_path: Path) -> None:
    labels = [*LABELS]
    labels[labels.index("Left+Right")] = "Left+Low"
    done = run(dataset, "-o", tmp_path / "f.pt2", *labels, "--architecture", architecture, "--steps", 60)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "f.report.json").read_text())
    assert report["films"] < 60
    figures = report["labels"]
    assert figures["Low"]["all"]["auc"] > 0.9
    assert figures["Left+Low"]["all"]["positive"] > figures["Low"]["all"]["positive"]
    assert figures["Age"]["all"]["positive"] + figures["Age"]["all"]["negative"] <= 60 - report["films"]
    assert figures["View"]["PA"]["auc"] is None  # one class
    score = load_score(str(tmp_path / "f.pt2"), "Sex")
    assert score.classes == ("Low", "Left+Low", "Age", "Sex", "View")
    pictures = torch.full((2, 1, 32, 32), -0.7)
    pictures[1, :, 16:] = 0.3
    low = score.log_odds_of(pictures, ["Low"])[:, 0]
    assert low[1] > low[0]
    if architecture == "plain":
        again = run(dataset, "-o", tmp_path / "f.pt2", *labels, "--architecture", architecture, "--steps", 60)
        assert again.returncode == 0, again.stderr  # all steps are done
        assert json.loads((tmp_path / "f.report.json").read_text()) == report


def test_a_label_that_no_film_has(dataset: Path, tmp_path: Path) -> None:
    done = run(dataset, "-o", tmp_path / "f.pt2", *LABELS)
    assert done.returncode != 0
    assert "No film has the label 'Right'; there are Left, Low, No Finding." in done.stderr
