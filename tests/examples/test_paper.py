"""The scripts behind docs/results/reproduction.md and docs/results/inversion.md, on few images and steps."""

import json
import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

from cxredit_cli.radiographs.sources import list_sources
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.labels import read_labels
from cxredit_cli.storage.prepare_dataset import Options, prepare

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def dataset(data: Path, tmp_path: Path) -> Path:
    """Every film a healthy patient of its own, most of them held out."""
    sources = list_sources([data / "nih", data / "wingspan" / "images"])
    rows = "".join(f"{source.name},No Finding,{number},PA\n" for number, source in enumerate(sources))
    table = tmp_path / "labels.csv"
    table.write_text("name,label,patient_id,view\n" + rows)
    prepare(sources, tmp_path / "dataset.h5", Options(resolution=128, val_fraction=0.7), read_labels(table))
    return tmp_path / "dataset.h5"


def run(monkeypatch: pytest.MonkeyPatch, script: str, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")


def test_the_figure_of_the_paper(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = Dataset(dataset).splits
    assert splits.count("val") >= 9
    assert splits.count("train") >= 2
    run(monkeypatch, "reproduce_figure.py", dataset, "--steps", 1, "--pairs", 2, "-o", tmp_path / "figure")
    for name in ("generated", "reconstructions", "pair", "conferred"):
        with Image.open(tmp_path / "figure" / f"{name}.png") as picture:
            assert picture.mode == "L"
            assert picture.width > 250
            assert "not for diagnosis" in picture.info["Comment"]


def test_inversion_beside_the_reference_projector(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "projector.json"
    few = ("--n", 2, "--reference-steps", 3, "--steps", "1,2", "--long", 4, "-o", output)
    run(monkeypatch, "compare_projector.py", dataset, *few)
    printed = capsys.readouterr().out
    found = json.loads(output.read_text())
    assert len(found["reference"]) == 2
    assert len(found["batches"]) == 1
    assert set(found["batches"][0]) == {*("hybrid, W, 1 steps", "hybrid, W, 2 steps", "optimize, W, at most 4 steps")}
    for figures in found["batches"][0].values():
        assert len(figures["psnr"]) == 2
    assert "| way | mean PSNR | s/image |" in printed
    assert "|---|---|---|---|\n| reference projector, 3 steps | " in printed

    before = output.read_bytes()
    run(monkeypatch, "compare_projector.py", dataset, *few)  # what is done is not done again
    assert output.read_bytes() == before
    assert capsys.readouterr().out == printed
