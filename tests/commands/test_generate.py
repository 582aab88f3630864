"""`cxredit generate`."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from cxredit_cli.app import app
from cxredit_cli.storage.codes import read_codes
from cxredit_cli.storage.models import load_model


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path):
    monkeypatch.chdir(tmp_path)

    def generate(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["generate", "--model", str(tiny_model_dir), *map(str, arguments)])

    return generate


def pixels(path: str | Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def test_same_seed_same_pictures_whatever_the_batch_and_number(run) -> None:
    assert run("--n", 5, "--seed", 7, "--batch", 5, "-o", "a").exit_code == 0
    assert run("--n", 7, "--seed", 7, "--batch", 2, "-o", "b").exit_code == 0
    assert run("--n", 5, "--seed", 8, "-o", "c").exit_code == 0
    for index in range(5):
        name = f"{index:05d}.png"
        assert np.abs(pixels(f"a/7_{name}") - pixels(f"b/7_{name}")).max() <= 1  # rounding
        assert np.abs(pixels(f"a/7_{name}") - pixels(f"c/8_{name}")).max() > 5
    assert np.abs(pixels("a/7_00000.png") - pixels("a/7_00001.png")).max() > 5


def test_pictures_say_what_they_are(run) -> None:
    result = run("--n", 2, "--truncation-psi", 0.5, "--json")
    document = json.loads(result.stdout)
    assert document["files"] == ["0_00000.png", "0_00001.png"]
    with Image.open("generated/0_00001.png") as image:
        assert (image.mode, image.size) == ("L", (32, 32))
        assert "not for diagnosis" in image.info["Disclaimer"]
        assert image.info["Model"] == document["model"]
        assert image.info["Seed"] == "0, number 1"
        assert image.info["Truncation psi"] == "0.5"
        assert image.info["Software"].startswith("cxredit")
    assert pixels(document["grid"]).shape == (32, 64)


def test_codes_make_the_same_pictures_again(run, tiny_model_dir: Path) -> None:
    assert run("--n", 4, "--codes", "codes.h5", "--no-grid").exit_code == 0
    assert not Path("generated/0_grid.png").exists()
    model, codes = load_model(tiny_model_dir), read_codes(Path("codes.h5"))
    codes.check_generator(model.fingerprint)
    import torch

    images = model.generator.synthesis(torch.from_numpy(codes.w)).clamp(-1, 1).numpy()[:, 0] / 2 + 0.5
    for index in range(4):
        assert codes.source[index] == f"0_0000{index}.png"
        assert np.abs(images[index] * 255 - pixels(f"generated/{codes.source[index]}")).max() <= 1


def test_an_interrupted_run_carries_on(run) -> None:
    run("--n", 3, "--codes", "codes.h5")
    kept = Path("generated/0_00001.png").stat().st_mtime_ns
    Path("generated/0_00002.png").unlink()
    result = run("--n", 6, "--codes", "codes.h5")
    assert result.exit_code == 0, result.output
    assert "2 were there already" in result.stdout
    assert Path("generated/0_00001.png").stat().st_mtime_ns == kept
    assert len(list(Path("generated").glob("0_0*.png"))) == 6
    assert sorted(read_codes(Path("codes.h5")).source) == [f"0_{i:05d}.png" for i in range(6)]
    run("--n", 3, "--truncation-psi", 1)  # other parameters: made again
    assert Path("generated/0_00001.png").stat().st_mtime_ns != kept


def test_psi_zero_is_the_mean_and_wrong_psi_is_refused(run) -> None:
    run("--n", 3, "--truncation-psi", 0)
    assert (pixels("generated/0_00000.png") == pixels("generated/0_00002.png")).all()
    result = run("--truncation-psi", -1)
    assert result.exit_code == 2
    assert "between 0 and 2" in result.stderr


def test_a_file_in_the_place_of_the_folder_is_one_sentence(run) -> None:
    Path("there").write_text("mine")
    result = run("-o", "there")
    assert result.exit_code == 2
    assert "there is a file where a folder is expected" in result.stderr
    assert Path("there").read_text() == "mine"
    strange = run("--device", "meta")
    assert strange.exit_code == 2
    assert "--device must be" in strange.stderr
