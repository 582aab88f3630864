"""`cxredit train-gan` on real radiographs."""

import json
from pathlib import Path

from typer.testing import CliRunner

from cxredit_cli.app import app
from cxredit_cli.storage.models import load_model

runner = CliRunner()
TINY = ["--batch", "4", "--dim", "16", "--channel-base", "128", "--channel-max", "16", "--device", "cpu"]


def test_train_gan_grows_and_writes_a_plain_model(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    dataset = tmp_path / "dataset.h5"
    prepared = runner.invoke(
        app,
        [
            "prepare",
            str(data / "nih"),
            "--labels",
            str(data / "nih/labels.csv"),
            "-o",
            str(dataset),
            "--resolution",
            "32",
        ],
    )
    assert prepared.exit_code == 0, prepared.output
    command = ["train-gan", str(dataset), "-o", str(out), *TINY, "--grow-from", "16", "--grow-kimg", "0.02", "--json"]
    result = runner.invoke(app, [*command, "--kimg", "0.04"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["kimg"] == 0.04
    model = load_model(out, parts=("generator", "discriminator"))
    assert model.generator.resolution == 32
    assert model.discriminator is not None
    assert model.info["data"]["images"] > 0
    again = runner.invoke(app, [*command, "--kimg", "0.06"])
    assert json.loads(again.stdout)["kimg"] == 0.06


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    for arguments, words in [
        ([str(tmp_path / "absent.h5")], "absent.h5"),
        ([str(tmp_path), "--preset", "huge"], ""),
        ([str(tmp_path), "--device", "tpu9"], "--device must be"),
        ([str(tmp_path), "--precision", "fp64"], "--precision must be"),
    ]:
        result = runner.invoke(app, ["train-gan", *arguments, "-o", str(tmp_path / "m")])
        assert result.exit_code == 2, result.output
        assert words in result.stderr
        assert "Traceback" not in result.output
