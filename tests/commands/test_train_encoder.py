"""`cxredit train-encoder` on real radiographs."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cxredit_cli.app import app
from cxredit_cli.radiographs.sources import list_sources
from cxredit_cli.storage.labels import read_labels
from cxredit_cli.storage.models import load_model
from cxredit_cli.storage.prepare_dataset import Options, prepare

SMALL = ["--depth", "18", "--width", "8", "--batch", "4"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path, data: Path):
    """Run train-encoder in a folder with dataset.h5 and model/."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_model_dir, tmp_path / "model")
    table = read_labels(data / "nih" / "labels.csv")
    prepare(list_sources([data / "nih"]), tmp_path / "dataset.h5", Options(resolution=32, val_fraction=0.4), table)

    def train(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["train-encoder", *SMALL, *map(str, arguments)])

    return train


def test_the_model_gets_an_encoder_that_invert_uses(run, data: Path) -> None:
    result = run("--kimg", 0.016)
    assert result.exit_code == 0, result.output
    assert "Held-out radiographs" in result.stdout
    model = load_model(None)
    assert model.encoder is not None
    assert model.info["encoder_info"]["kimg"] == 0.016
    assert set(model.info["encoder_info"]["held_out_figures"]) >= {"val_psnr", "val_ssim", "code_error"}
    assert list(Path("model/encoder-training").glob("events.*"))
    assert list(Path("model/encoder-training").glob("reconstructions*.png"))
    inverted = CliRunner().invoke(app, ["invert", str(data / "nih" / "00001336_000.png"), "--method", "encoder"])
    assert inverted.exit_code == 0, inverted.output


def test_the_same_command_with_a_larger_budget_carries_on(run) -> None:
    assert run("--kimg", 0.008, "--space", "w+").exit_code == 0
    document = json.loads(run("--kimg", 0.016, "--space", "w+", "--json").stdout)
    assert document["model"] == "model"
    lines = Path("model/encoder-training/stats.jsonl").read_text().splitlines()
    assert [json.loads(line)["kimg"] for line in lines] == [0.008, 0.016]
    finished = run("--kimg", 0.016, "--space", "w+")
    assert finished.exit_code == 0
    encoder = load_model(None).encoder
    assert encoder is not None
    assert encoder.config.num_outputs == 8
    changed = run("--kimg", 0.016)
    assert changed.exit_code == 2
    assert "--space w+" in changed.stderr


def test_a_folder_of_images_is_a_dataset(run, data: Path) -> None:
    shutil.copytree(data / "nih", "images")
    result = run("images", "--kimg", 0.004, "--init-from", "model")
    assert result.exit_code == 2
    assert "has no encoder" in result.stderr
    result = run("images", "--kimg", 0.004)
    assert result.exit_code in (0, 2), result.output  # two if chance held out nobody
    if result.exit_code == 2:
        assert "val" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--depth", "20"], "18, 34, 50 or 101"),
        (["--width", "30"], "multiple of 8"),
        (["--space", "z"], "w or w+"),
        (["--model", "nowhere"], "nowhere"),
        (["missing.h5"], "missing.h5"),
    ],
)
def test_wrong_options_are_one_sentence(run, arguments: list[str], expected: str) -> None:
    result = run(*arguments, "--kimg", 0.004)
    assert result.exit_code == 2
    assert expected in result.stderr
    assert "Traceback" not in result.stderr
