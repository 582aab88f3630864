"""`cxredit models`: the bundled model, ./model and folders given."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from cxredit_cli.app import app
from cxredit_cli.networks.encoder import Encoder, EncoderConfig
from cxredit_cli.storage.directions import Direction, write_direction
from cxredit_cli.storage.models import BUNDLED, load_model, save_encoder, save_generator


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def models(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["models", *map(str, arguments)])


def listed(*arguments: object) -> tuple[Result, dict[str, dict[str, Any]]]:
    result = models(*arguments, "--json")
    return result, {entry["path"]: entry for entry in json.loads(result.stdout)["models"]}


def direction(fingerprint: str, **statistics: float) -> Direction:
    vector = np.eye(1, 32, dtype=np.float32)
    return Direction(vector, "Cardiomegaly", "pair", fingerprint, statistics=statistics)


def test_the_bundled_model_is_the_default() -> None:
    result, entries = listed()
    assert result.exit_code == 0, result.output
    entry = entries[str(BUNDLED)]
    assert entry["default"]
    assert entry["bundled"]
    assert entry["resolution"] == 128
    assert entry["kimg"] > 0
    assert entry["encoder"]
    assert entry["anatomy"]
    assert [each["name"] for each in entry["directions"]] == ["cardiomegaly", "view"]
    assert 1 < entry["megabytes"] < 90
    assert entry["data"]["patients"] > 0
    assert entry["problems"] == []
    text = models().stdout
    assert f"{entry['name']} [{entry['fingerprint']}], 128x128, {entry['megabytes']:g} MB" in text
    assert "bundled, the default here" in text


def test_a_model_here_comes_first_with_what_it_has(tiny_model_dir: Path) -> None:
    shutil.copytree(tiny_model_dir, "model")
    fingerprint = load_model(Path("model")).fingerprint
    write_direction(Path("model/directions/mine.h5"), direction(fingerprint, ctr_per_unit=0.02, images=10))
    Path("model/training").mkdir()
    Path("model/training/checkpoint.safetensors").write_bytes(b"0" * 2_000_000)
    _, entries = listed("model")  # named once more: listed once
    assert list(entries) == ["model", str(BUNDLED)]
    assert (entries["model"]["default"], entries[str(BUNDLED)]["default"]) == (True, False)
    entry = entries["model"]
    assert (entry["encoder"], entry["discriminator"], entry["anatomy"]) == (False, True, False)
    assert (entry["fingerprint"], entry["resolution"], entry["kimg"]) == (fingerprint, 32, None)
    assert entry["megabytes"] < 1.9
    assert entry["directions"] == [
        {"name": "mine", "grows": "Cardiomegaly", "method": "pair", "per_unit": {"ctr": 0.02}}
    ]
    assert "mine: pair; strength 1: ctr +0.02" in models().stdout


def test_broken_folders_are_named_and_the_others_listed(tiny_model_dir: Path) -> None:
    Path("empty").mkdir()
    shutil.copytree(tiny_model_dir, "cut")
    weights = Path("cut/generator.safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])
    result, entries = listed("empty", "cut", tiny_model_dir)
    assert result.exit_code == 1
    assert set(entries) == {str(tiny_model_dir), str(BUNDLED)}
    failed = {each["path"]: each["reason"] for each in json.loads(result.stdout)["failed"]}
    assert "is no model" in failed["empty"]
    assert "generator.safetensors" in failed["cut"]
    assert "Traceback" not in result.output
    assert "cut: " in result.stderr


def test_what_belongs_to_another_generator_is_a_problem(tiny_model_dir: Path) -> None:
    shutil.copytree(tiny_model_dir, "model")
    generator = load_model(Path("model")).generator
    save_encoder(Path("model"), Encoder(EncoderConfig(32, 32, 1, depth=18, width=8)), {})
    write_direction(Path("model/directions/old.h5"), direction("0123456789abcdef"))
    Path("model/directions/bad.h5").write_bytes(b"no direction")
    _, entries = listed()
    assert entries["model"]["encoder"]
    assert len(entries["model"]["problems"]) == 2
    generator.synthesis.noise_consts()[0].add_(1)
    save_generator(Path("model"), generator, {})
    _, entries = listed()
    entry = entries["model"]
    assert not entry["encoder"]
    assert entry["directions"] == []
    problems = " ".join(entry["problems"])
    assert "encoder is for the generator" in problems
    assert "old.h5 is a direction of the generator 0123456789abcdef" in problems
    assert "bad.h5" in problems
    assert "PROBLEM" in models().stdout


def test_json_that_does_not_fit_its_weights_is_a_problem(tiny_model_dir: Path) -> None:
    shutil.copytree(tiny_model_dir, "model")
    info = json.loads(Path("model/model.json").read_text())
    Path("model/model.json").write_text(json.dumps({**info, "fingerprint": "0" * 16}))
    result, entries = listed()
    assert result.exit_code == 0
    assert "0" * 16 in entries["model"]["problems"][0]
