"""`cxredit apply --target-ctr`: a known answer on a tiny model, and the bundled model on a real radiograph."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from cxredit_cli.anatomy.measures import FIGURES, Anatomy
from cxredit_cli.app import app
from cxredit_cli.commands.apply_report import print_goal
from cxredit_cli.commands.console import stderr
from cxredit_cli.editing import goals
from cxredit_cli.editing.edit_run import ApplyReport
from cxredit_cli.latent.random_codes import random_codes
from cxredit_cli.storage.anatomy_network import load_anatomy
from cxredit_cli.storage.codes import CodesHeader
from cxredit_cli.storage.directions import Direction, read_direction, write_direction
from cxredit_cli.storage.models import BUNDLED, Model, load_model
from cxredit_cli.storage.write_codes import CodesWriter

GAIN = 0.5


def ctr_of(images: torch.Tensor) -> np.ndarray:
    return 0.45 + GAIN * images.mean(dim=(1, 2, 3)).double().cpu().numpy()


def grey_is_ctr(network: object, images: torch.Tensor, batch: int = 32) -> Anatomy:
    values = ctr_of(images)
    return Anatomy(**dict.fromkeys(FIGURES, values), problem=["too dark" if v < 0.2 else "" for v in values])


@pytest.fixture
def model(tiny_model_dir: Path) -> Model:
    return load_model(tiny_model_dir)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(goals, "measure_images", grey_is_ctr)

    def apply(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["apply", "--model", str(tiny_model_dir), *map(str, arguments)])

    return apply


@pytest.fixture
def codes(tmp_path: Path, model: Model) -> torch.Tensor:
    """./codes.h5 of five codes, and ./direction.h5 along which the mean grey of their pictures rises."""
    w = random_codes(model.generator, 0, range(5)).requires_grad_()
    pictures = model.generator.synthesis(w)
    gradient = torch.autograd.grad(pictures.mean(dim=(1, 2, 3)).sum(), w)[0].mean(dim=0)
    vector = (gradient / gradient.norm()).numpy()
    slope = GAIN * float(gradient.norm())
    calibration = {"real": {"slope": slope, "what": "5 codes"}}
    direction = Direction(vector, "Grey", "gradient", model.fingerprint, calibration=calibration)
    write_direction(tmp_path / "direction.h5", direction)
    header = CodesHeader(model.fingerprint, "optimize", "w", 1, 32, resolution=32)
    original = ((pictures.detach().clamp(-1, 1)[:, 0].numpy() + 1) * 127.5).astype(np.uint8)
    figures = np.full(5, 30, dtype=np.float32)
    with CodesWriter(tmp_path / "codes.h5", header) as writer:
        writer.append([f"{i}.png" for i in range(5)], w.detach().numpy(), figures, figures / 40, original)
    return w.detach()


def manifest() -> list[dict[str, str]]:
    with Path("edited", "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_image_gets_the_strength_that_it_needs(run, model: Model, codes: torch.Tensor) -> None:
    start = ctr_of(model.generator.synthesis(codes).clamp(-1, 1).detach())
    vector = torch.from_numpy(read_direction(Path("direction.h5")).direction)
    steps = torch.linspace(-20, 20, 41).view(-1, 1, 1)
    curves = [ctr_of(model.generator.synthesis(w + steps * vector).clamp(-1, 1).detach()) for w in codes]
    lowest, highest = max(curve.min() for curve in curves), min(curve.max() for curve in curves)
    assert lowest < highest
    target = round(float(lowest + highest) / 2, 3)  # within everybody's reach
    result = run("--target-ctr", target, "--max-strength", 20, "--batch", 3)
    assert result.exit_code == 0, result.output
    assert "One unit of strength adds" in result.stderr
    rows = {row["source"]: row for row in manifest()}
    assert len(rows) == 5
    strengths = []
    for i in range(5):
        row = rows[f"{i}.png"]
        strength = float(row["strength"])
        assert abs(float(row["ctr"]) - target) <= 0.0051
        assert float(row["reconstruction_ctr"]) == pytest.approx(start[i], abs=1e-4)
        again = model.generator.synthesis(codes[i : i + 1] + strength * vector).clamp(-1, 1).detach()
        assert float(row["ctr"]) == pytest.approx(float(ctr_of(again)[0]), abs=1e-4)
        assert np.sign(strength) == (0 if abs(start[i] - target) <= 0.005 else np.sign(target - start[i]))
        picture = np.asarray(Image.open(f"edited/{row['file']}")).astype(float)
        assert np.abs(picture - (again[0, 0].numpy() + 1) * 127.5).max() <= 1
        assert Path("edited", row["sheet"]).exists()
        strengths.append(strength)
    assert len(set(strengths)) > 3
    assert "reached in 5 of 5 edits" in result.stdout


def test_a_film_that_missed_its_target_is_not_told_of_a_limit() -> None:
    row = {"source": "a.png", "target_ctr": "0.55", "ctr": "0.5401", "strength": "1.87"}
    for change, words in (
        ({"carried": "border"}, "the film itself came to 0.5401 at 1.87"),
        ({"carried": ""}, "within a strength of 14"),
        ({"carried": "tone", "ctr": ""}, "the film itself came to outlines that cannot be right at 1.87"),
    ):
        with stderr.capture() as shown:
            print_goal(ApplyReport(missed=[{**row, **change}]), 14)
        assert words in " ".join(shown.get().split())


def test_a_ratio_that_is_not_known_is_not_reached() -> None:
    goal = goals.Goal((0.55,), load_anatomy(), 0.01, 14)
    assert goal.is_reached_in({"ctr": "0.5540", "target_ctr": "0.55"})
    assert not goal.is_reached_in({"ctr": "0.5540", "target_ctr": "0.54|0.55"})
    assert not goal.is_reached_in({"ctr": "", "target_ctr": "0.55"})


def test_several_targets_limits_and_running_again(run, model: Model, codes: torch.Tensor) -> None:
    options = ("--target-ctr", "0.3,0.45,0.85,0.9", "--max-strength", 2)
    result = run(*options)
    assert result.exit_code == 0, result.output
    rows = manifest()
    assert all(abs(float(row["strength"])) <= 2 for row in rows)
    assert "0.85|0.9" in {row["target_ctr"] for row in rows}  # both end at the same strength: one picture
    assert "asked for a CTR of 0.85|0.9, the nearest within a strength of 2" in result.stderr
    times = {path.name: path.stat().st_mtime_ns for path in Path("edited").glob("*.png")}
    Path("edited", next(row["file"] for row in rows if row["source"] == "3.png")).unlink()
    again = run(*options)
    assert "1 images edited, 4 were there already" in again.stdout
    now = {path.name: path.stat().st_mtime_ns for path in Path("edited").glob("*.png")}
    assert now.keys() == times.keys()
    assert all(now[name] == times[name] for name in now if not name.startswith("3_"))
    assert manifest() == rows


def test_what_cannot_be_measured_is_named_and_the_rest_is_done(run, codes: torch.Tensor, monkeypatch) -> None:
    def first_fails(network: object, images: torch.Tensor, batch: int = 32) -> Anatomy:
        found = grey_is_ctr(network, images, batch)
        if len(images) == 5:  # the first round: every picture at strength 0
            found.problem[0] = "no heart"
        return found

    monkeypatch.setattr(goals, "measure_images", first_fails)
    result = run("--target-ctr", "0.5", "--max-strength", 100, "--json")
    assert result.exit_code == 1
    assert "0.png: no CTR can be measured on its reconstruction: no heart" in result.stderr
    document = json.loads(result.stdout)
    assert document["images_edited"] == 4
    assert {edit["source"] for edit in document["edits"]} == {f"{i}.png" for i in range(1, 5)}


def test_mistakes_are_one_sentence(run, codes: torch.Tensor) -> None:
    for arguments, words in (
        (("--target-ctr", "5"), "ratios from 0.25 to 0.9"),
        (("--target-ctr", "wide"), "ratios from 0.25 to 0.9"),
        (("--target-ctr", "0.5", "--strength", "3"), "finds the strengths itself"),
        (("--max-strength", "3"), "goes with --target-ctr"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2, result.output
        assert words in result.stderr


def test_the_bundled_model_enlarges_a_real_heart(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scan = data / "00001748_002.png"
    options = ["--target-ctr", "0.5", "--method", "encoder", "--model", str(BUNDLED)]
    result = CliRunner().invoke(app, ["apply", str(scan), *options])
    assert result.exit_code == 0, result.output
    (row,) = manifest()
    before, after = float(row["reconstruction_ctr"]), float(row["ctr"])
    assert abs(after - 0.5) <= 0.0051
    assert before < 0.49
    measured = CliRunner().invoke(app, ["measure", f"edited/{row['file']}", "--json"])  # of the picture as written
    assert json.loads(measured.stdout)["images"][0]["ctr"] == pytest.approx(after, abs=0.006)
