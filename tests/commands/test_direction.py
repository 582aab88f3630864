"""`cxredit direction` on real radiographs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from cxredit_cli.app import app
from cxredit_cli.storage.directions import read_direction
from cxredit_cli.storage.models import load_model, save_encoder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path):
    monkeypatch.chdir(tmp_path)

    def direction(*arguments: object, model: Path = tiny_model_dir) -> Result:
        return CliRunner().invoke(app, ["direction", "--model", str(model), *map(str, arguments)])

    return direction


@pytest.fixture
def pair(data: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A real radiograph, and the same with a brighter heart region painted in."""
    original = data / "nih" / "00001336_000.png"
    pixels = np.asarray(Image.open(original).convert("L")).astype(float)
    y, x = np.mgrid[:128, :128]
    pixels += 90 * np.exp(-((y - 80) ** 2 + (x - 75) ** 2) / 500)
    edited = tmp_path / "enlarged.png"
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(edited)
    return original, edited


@pytest.mark.parametrize(("space", "layers"), [("w", 1), ("w+", 8)])
def test_a_pair_by_optimisation(run, pair, tiny_model_dir: Path, space: str, layers: int) -> None:
    result = run(*pair, "--steps", 40, "--space", space)
    assert result.exit_code == 0, result.output
    found = read_direction(Path("direction.h5"))
    assert found.direction.shape == (layers, 32)
    assert np.linalg.norm(found.direction) == pytest.approx(1, abs=1e-5)
    assert found.fingerprint == load_model(tiny_model_dir).fingerprint
    assert found.method == "pair, optimize"
    assert found.name == "00001336_000 to enlarged"
    assert found.sources == ["00001336_000.png", "enlarged.png"]
    assert {"length", "relative_distance", "deviations", "against_repeat", "psnr_original"} <= found.statistics.keys()
    assert "of the distance of two random codes" in result.stdout


def test_a_pair_by_the_encoder(run, pair, tiny_model_dir: Path, tmp_path: Path) -> None:
    from cxredit_cli.networks.encoder import Encoder, EncoderConfig

    torch.manual_seed(1)
    model = tmp_path / "with_encoder"
    shutil.copytree(tiny_model_dir, model)
    encoder = Encoder(EncoderConfig(resolution=32, w_dim=32, num_outputs=1, depth=18, width=8))
    for parameter in encoder.parameters():
        if not parameter.any():  # a new encoder's head is zero: every image has the mean code
            torch.nn.init.normal_(parameter, std=0.1)
    save_encoder(model, encoder, {})
    result = run(*pair, "--json", "--name", "Cardiomegaly", "-o", "heart.h5", model=model)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["method"] == "pair, encoder"
    found, loaded = read_direction(Path("heart.h5")), load_model(model)
    assert found.name == "Cardiomegaly"
    from cxredit_cli.radiographs.geometry import fit_square
    from cxredit_cli.radiographs.read import read_radiograph

    images = np.stack([fit_square(read_radiograph(path).pixels, 32) for path in pair])[:, None]
    w = loaded.encoder(torch.from_numpy(images) * 2 - 1).detach().numpy()
    expected = (w[1] - w[0]) / np.linalg.norm(w[1] - w[0])  # v = (E(I*) - E(I)) / ||E(I*) - E(I)||
    np.testing.assert_allclose(found.direction, expected.reshape(1, 32), atol=1e-3)
    assert document["statistics"]["length"] == pytest.approx(float(np.linalg.norm(w[1] - w[0])), rel=1e-3)


def test_a_pair_without_a_direction_is_warned_of(run, pair, tmp_path: Path) -> None:
    original, edited = (np.asarray(Image.open(path).convert("L")).astype(float) for path in pair)
    hardly = original + (edited - original) / 4
    Image.fromarray(np.rint(hardly).astype(np.uint8)).save(tmp_path / "same.png")
    result = run(pair[0], "same.png", "--steps", 20)
    assert result.exit_code == 0, result.output
    assert "Warning: The two codes are only" in result.stderr


def test_identical_images_are_refused(run, pair, tmp_path: Path) -> None:
    shutil.copy(pair[0], tmp_path / "copy.png")
    result = run(pair[0], "copy.png")
    assert result.exit_code == 2
    assert "show the same picture" in result.stderr
    assert not Path("direction.h5").exists()


def test_mistakes_are_one_sentence(run, pair, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    for arguments, words in (
        ((pair[0], "nowhere.png"), "does not exist"),
        ((pair[0], "broken.png"), "broken.png"),
        ((*pair, "--method", "encoder"), "needs an encoder"),
        ((*pair, "--space", "z"), "--space must be"),
        ((*pair, "--fit", "stretch"), "--fit must be"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2, result.output
        assert words in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
