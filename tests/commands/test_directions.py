"""`cxredit direction` from labels and many pairs, and its compare, discover and calibrate."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from cxredit_cli.anatomy import picture_measures
from cxredit_cli.anatomy.measures import FIGURES, Anatomy
from cxredit_cli.app import app
from cxredit_cli.commands.direction_report import print_found
from cxredit_cli.inversion.pivotal_tuning import delta_size, synthesize_tuned
from cxredit_cli.latent.random_codes import random_codes
from cxredit_cli.storage.codes import CodesHeader
from cxredit_cli.storage.directions import Direction, read_direction, write_direction
from cxredit_cli.storage.models import Model, load_model
from cxredit_cli.storage.write_codes import CodesWriter


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["direction", *map(str, arguments)])


@pytest.fixture
def model(tiny_model_dir: Path) -> Model:
    return load_model(tiny_model_dir)


@pytest.fixture
def cohort(tmp_path: Path, model: Model) -> np.ndarray:
    """./codes.h5 and ./labels.csv: 80 patients; the ill have AP films more often, which move codes along axis 1."""
    rng = np.random.default_rng(0)
    ill = rng.random(80) < 0.5
    ap = rng.random(80) < np.where(ill, 0.8, 0.2)
    w = rng.normal(size=(80, 1, 32)).astype(np.float32)
    w[:, 0, 0] += 3 * ill
    w[:, 0, 1] += 4 * ap
    names = [f"{i}.png" for i in range(80)]
    write_codes(tmp_path / "codes.h5", model, names, w)
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position"])
        for i, name in enumerate(names):
            finding = "Cardiomegaly|Edema" if ill[i] else "No Finding"
            table.writerow([name, finding, f"p{i}", f"{rng.integers(20, 90):03d}Y", "AP" if ap[i] else "PA"])
    return w


def write_codes(path: Path, model: Model, names: list[str], w: np.ndarray, tuning: np.ndarray | None = None) -> None:
    figures = np.full(len(names), 25, dtype=np.float32)
    size = 0 if tuning is None else tuning.shape[1]
    header = CodesHeader(model.fingerprint, "optimize", "w", 1, 32, resolution=8, model=model.name, tuning_size=size)
    with CodesWriter(path, header) as writer:
        writer.append(names, w, figures, figures / 40, np.zeros((len(names), 8, 8), np.uint8), tuning=tuning)


def test_labelled_codes_with_a_control(run, cohort: np.ndarray, model: Model) -> None:
    common = ("--codes", "codes.h5", "--labels", "labels.csv", "--how", "means")
    assert run(*common, "-o", "free.h5").exit_code == 0
    result = run(*common, "--control", "view position", "--control", "Patient Age", "-o", "held.h5", "--json")
    assert result.exit_code == 0, result.output
    free, held = read_direction(Path("free.h5")), read_direction(Path("held.h5"))
    assert free.direction[0, 1] > 0.5
    assert abs(held.direction[0, 1]) < 0.15
    assert held.direction[0, 0] > 0.85
    assert held.fingerprint == model.fingerprint
    assert held.method == "labels, means, controlling view position, Patient Age"
    statistics = json.loads(result.stdout)["statistics"]
    assert statistics == held.statistics
    assert statistics["auc"] > 0.8
    assert statistics["auc_of_controls_alone"] > 0.7
    assert statistics["controls"][0] == "view position: AP, PA"
    text = run(*common, "--how", "lda", "--control", "view").stdout
    assert "on held-out patients in 5 folds" in text
    assert "the controls alone reach" in text


def test_orthogonal_to_another_and_compared(run, cohort: np.ndarray, model: Model) -> None:
    view = Direction(np.eye(32, dtype=np.float32)[1:2], "view", "by hand", model.fingerprint)
    write_direction(Path("view.h5"), view)
    common = ("--codes", "codes.h5", "--labels", "labels.csv", "--how", "means")
    result = run(*common, "--orthogonal-to", "view.h5", "-o", "d.h5")
    assert result.exit_code == 0, result.output
    assert "now orthogonal to view.h5 (view)" in result.stdout
    assert abs(read_direction(Path("d.h5")).direction[0, 1]) < 1e-6
    document = json.loads(run("compare", "d.h5", "view.h5", "--json").stdout)
    np.testing.assert_allclose(document["cosines"], np.eye(2), atol=1e-6)
    assert "+1.00" in run("compare", "d.h5", "view.h5").stdout
    write_direction(Path("[red]d.h5"), Direction(view.direction, "a [/] b", "lda", model.fingerprint))
    assert "[red]d.h5: a [/] b, W" in run("compare", "d.h5", "[red]d.h5").stdout  # no markup
    write_direction(Path("foreign.h5"), Direction(view.direction, "x", "lda", "f" * 16))
    result = run("compare", "d.h5", "foreign.h5")
    assert result.exit_code == 2
    assert "f" * 16 in result.stderr
    assert model.fingerprint in result.stderr
    assert run("compare", "d.h5").exit_code == 2


def test_many_pairs_of_images(run, tmp_path: Path, data: Path, tiny_model_dir: Path) -> None:
    y, x = np.mgrid[:128, :128]
    rows = []
    for name in ("00001336_000.png", "00001337_000.png", "00001339_000.png"):
        pixels = np.asarray(Image.open(data / "nih" / name).convert("L")).astype(float)
        heart = 90 * np.exp(-((y - 80) ** 2 + (x - 75) ** 2) / 500)
        Image.fromarray(np.clip(pixels + heart, 0, 255).astype(np.uint8)).save(tmp_path / f"edited_{name}")
        rows.append((data / "nih" / name, f"edited_{name}"))
    rows.append(("nowhere.png", "edited_00001336_000.png"))
    (tmp_path / "pairs.csv").write_text("\n".join(["original,edited", *(f"{a},{b}" for a, b in rows)]))
    result = run("--pairs", "pairs.csv", "--model", tiny_model_dir, "--steps", 40, "--batch", 4, "--name", "Heart")
    assert result.exit_code == 1, result.output  # the last pair is named, the others count
    assert "nowhere.png -> edited_00001336_000.png: " in result.stderr
    found = read_direction(Path("direction.h5"))
    assert (found.name, found.method, found.direction.shape) == ("Heart", "pairs, optimize", (1, 32))
    assert found.statistics["pairs"] == 3
    assert len(found.statistics["leave_one_out"]) == 3
    assert "each pair against the others: cosine" in result.stdout


def test_many_pairs_of_codes(run, cohort: np.ndarray) -> None:
    Path("pairs.csv").write_text("\ufefforiginal,edited\nfolder/0.png,1.png\n2.png,3.png\n4.png,absent.png\n")
    result = run("--pairs", "pairs.csv", "--codes", "codes.h5", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["failed"][0]["pair"] == "4.png -> absent.png"
    units = [(cohort[b] - cohort[a]) / np.linalg.norm(cohort[b] - cohort[a]) for a, b in ((0, 1), (2, 3))]
    mean = (units[0] + units[1]) / np.linalg.norm(units[0] + units[1])
    np.testing.assert_allclose(read_direction(Path("direction.h5")).direction, mean, atol=1e-6)


def bright_hearts(network: object, images: torch.Tensor, batch: int = 32) -> Anatomy:
    values = 0.45 + 0.1 * images.mean(dim=(1, 2, 3)).double().cpu().numpy()
    return Anatomy(**dict.fromkeys(FIGURES, values), problem=[""] * len(values))


def test_discovered_directions_are_files_and_a_list(run, tiny_model_dir: Path, monkeypatch) -> None:
    monkeypatch.setattr(picture_measures, "measure_images", bright_hearts)
    result = run("discover", "--model", tiny_model_dir, "-n", 3, "--images", 4)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in Path("directions").iterdir()) == ["pca_01.h5", "pca_02.h5", "pca_03.h5"]
    assert "3 directions" in result.stdout
    result = run("discover", "--model", tiny_model_dir, "--how", "sefa", "-n", 2, "--images", 4, "--json")
    rows = json.loads(result.stdout)["directions"]
    assert [Path(row["file"]).name for row in rows] == ["sefa_01.h5", "sefa_02.h5"]
    assert rows[0]["weight"] >= rows[1]["weight"] > 0
    assert rows[0]["per_unit"]["ctr"] > 0
    assert read_direction(Path(rows[0]["file"])).calibration["generated"]["slope"] == rows[0]["per_unit"]["ctr"]
    assert run("discover", "--model", tiny_model_dir, "--how", "lda").exit_code == 2


def test_calibration_is_measured_and_kept(run, data: Path, model: Model, tiny_model_dir: Path, monkeypatch) -> None:
    monkeypatch.setattr(picture_measures, "measure_images", bright_hearts)
    vector = np.random.default_rng(0).normal(size=(1, 32)).astype(np.float32)
    vector /= np.linalg.norm(vector)
    write_direction(Path("direction.h5"), Direction(vector, "Heart", "lda", model.fingerprint, statistics={"a": 1}))
    write_codes(Path("codes.h5"), model, ["a.png", "b.png"], random_codes(model.generator, 7, range(2)).numpy())
    common = ("calibrate", "--model", tiny_model_dir, "-n", 5, "--batch", 2, "--sweep", "-2:2:3")
    result = run(*common, "--codes", "codes.h5")
    assert result.exit_code == 0, result.output
    assert "one unit of strength adds" in result.stdout
    found = read_direction(Path("direction.h5"))
    np.testing.assert_array_equal(found.direction, vector)
    assert found.statistics == {"a": 1}
    for kind, codes in (
        ("generated", random_codes(model.generator, 0, range(5))),
        ("real", random_codes(model.generator, 7, range(2))),
    ):
        pictures = [
            model.generator.synthesis(codes + s * torch.from_numpy(vector)).clamp(-1, 1).detach() for s in (-2, 0, 2)
        ]
        curve = [0.45 + 0.1 * float(picture.mean()) for picture in pictures]
        assert found.calibration[kind]["ctr"] == pytest.approx(curve, abs=1e-5)
        assert found.calibration[kind]["slope"] == pytest.approx((curve[2] - curve[0]) / 4, abs=1e-6)
    shutil.copy(data / "nih" / "00001336_000.png", "scan.png")
    Path("broken.png").write_text("no image")
    result = run(*common, "--images", "scan.png", "--images", "broken.png", "--steps", 5)
    assert result.exit_code == 1
    assert "broken.png: " in result.stderr
    document = json.loads(run(*common, "--images", "broken.png", "--images", "scan.png", "--steps", 1, "--json").stdout)
    assert [row["source"] for row in document["failed"]] == ["broken.png"]
    assert read_direction(Path("direction.h5")).calibration["real"]["what"] == "1 images (optimize, w+)"


def test_tuned_codes_are_calibrated_by_the_tuned_generator(
    run, model: Model, tiny_model_dir: Path, monkeypatch
) -> None:
    monkeypatch.setattr(picture_measures, "measure_images", bright_hearts)
    axis = torch.eye(32)[:1]
    write_direction(Path("direction.h5"), Direction(axis.numpy(), "Heart", "lda", model.fingerprint))
    w = random_codes(model.generator, 7, range(3))
    deltas = np.random.default_rng(0).normal(0, 0.3, (3, delta_size(model.generator, 1))).astype(np.float16)
    write_codes(Path("codes.h5"), model, ["a.png", "b.png", "c.png"], w.numpy(), deltas)
    common = ("calibrate", "--model", tiny_model_dir, "-n", 3, "--batch", 2, "--sweep", "0:2:2")
    result = run(*common, "--codes", "codes.h5", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["failed"] == []
    pictures = [synthesize_tuned(model.generator, w + s * axis, None, torch.from_numpy(deltas)) for s in (0, 2)]
    curve = [0.45 + 0.1 * float(picture.clamp(-1, 1).mean()) for picture in pictures]
    assert document["calibration"]["real"]["ctr"] == pytest.approx(curve, abs=1e-5)
    plain = 0.45 + 0.1 * float(model.generator.synthesis(w).clamp(-1, 1).mean())
    assert abs(plain - curve[0]) > 1e-3


def test_help_names_the_commands_and_the_short_form(run) -> None:
    result = run("--help")
    assert result.exit_code == 0
    for word in ("find", "compare", "discover", "calibrate"):
        assert word in result.stdout
    assert "--orthogonal-to" in run("find", "--help").stdout.replace("\n", "")


def test_a_tone_is_everywhere_so_nothing_is_spared_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"images": 36.0, "rise_per_unit": 0.03, "cosine_with_uncontrolled": 0.5, "cosine_of_halves": 0.4}
    for elsewhere, said in ((0.0, False), (2.0, True)):
        measured = figures | {"elsewhere_per_rise": elsewhere / 4, "elsewhere_per_rise_uncontrolled": elsewhere}
        vector = np.eye(1, 32, dtype=np.float32)
        found = Direction(vector, "grey_p50", "measure grey_p50, gradients", "f" * 16, statistics=measured)
        print_found(found, Path("direction.h5"))
        printed = capsys.readouterr().out
        assert "two halves of the images give directions of cosine 0.40" in printed
        assert ("75% less" in printed) == said


def one_sentence(result: Result, words: str) -> None:
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_mistakes_are_one_sentence(run, cohort: np.ndarray, tiny_model_dir: Path) -> None:
    common = ("--codes", "codes.h5", "--labels", "labels.csv")
    one_sentence(run(), "ORIGINAL and EDITED")
    one_sentence(run(*common, "--how", "encoder"), "means, lda, logistic or svm")
    one_sentence(run(*common, "--control", "weight"), "--control weight is not known")
    one_sentence(run(*common, "--control", "Image Index"), "80 different values")
    one_sentence(run(*common, "--control", "Edema"), "have the two classes apart")
    one_sentence(run(*common, "--positive", "Gout"), "No image has the label 'Gout'")
    one_sentence(run(*common, "--from-measure", "ctr"), "one way at a time")
    one_sentence(run("a.png", "b.png", "--control", "Edema"), "--control goes with")
    one_sentence(run("--pairs", "labels.csv", "--model", tiny_model_dir), "expected original and edited")
    one_sentence(run("calibrate", "absent.h5", "--model", tiny_model_dir), "absent.h5")
