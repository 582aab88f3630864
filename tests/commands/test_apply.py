"""`cxredit apply` on codes and on real radiographs."""

import csv
import json
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from cxredit_cli.app import app
from cxredit_cli.editing import edited_folder, write_edits
from cxredit_cli.latent.random_codes import random_codes
from cxredit_cli.radiographs.read import read_radiograph
from cxredit_cli.storage.codes import CodesHeader
from cxredit_cli.storage.directions import Direction, write_direction
from cxredit_cli.storage.models import Model, load_model
from cxredit_cli.storage.write_codes import CodesWriter

SCAN = "00001336_000.png"


@pytest.fixture
def model(tiny_model_dir: Path) -> Model:
    return load_model(tiny_model_dir)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path):
    monkeypatch.chdir(tmp_path)

    def apply(*arguments: object, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, ["apply", "--model", str(tiny_model_dir), *map(str, arguments)], input=stdin)

    return apply


@pytest.fixture
def direction(tmp_path: Path, model: Model) -> np.ndarray:
    """./direction.h5 of the model."""
    vector = np.random.default_rng(0).standard_normal((1, 32)).astype(np.float32)
    vector /= np.linalg.norm(vector)
    write_direction(tmp_path / "direction.h5", Direction(vector, "Cardiomegaly", "lda", model.fingerprint))
    return vector


@pytest.fixture
def codes(tmp_path: Path, model: Model) -> torch.Tensor:
    """./codes.h5 with three codes, of which two have one stem."""
    return write_codes(tmp_path / "codes.h5", model, ["a/scan.png", "b/scan.png", "other.dcm"])


def write_codes(path: Path, model: Model, names: list[str], noise: bool = False) -> torch.Tensor:
    generator = model.generator
    w = random_codes(generator, 0, range(len(names)))
    shapes = tuple(generator.synthesis.noise_shapes()) if noise else ()
    header = CodesHeader(model.fingerprint, "optimize", "w", 1, 32, resolution=32, noise_shapes=shapes)
    original = ((generator.synthesis(w).clamp(-1, 1)[:, 0].numpy() + 1) * 127.5).astype(np.uint8)
    fitted = [np.random.default_rng(1).standard_normal((len(names), *shape)).astype(np.float32) for shape in shapes]
    figures = np.full(len(names), 30, dtype=np.float32)
    with CodesWriter(path, header) as writer:
        writer.append(names, w.numpy(), figures, figures / 40, original, fitted)
    return w


def pixels(path: str | Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def contents(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def manifest(folder: str = "edited") -> list[dict[str, str]]:
    with Path(folder, "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_edits_as_dicom(run, codes, direction, tmp_path: Path) -> None:
    assert run("--strength", 2).exit_code == 0
    assert run("--strength", 2, "--format", "dicom").exit_code == 0
    edited = tmp_path / "edited"
    rows = list(csv.DictReader((edited / "manifest.csv").open()))
    files = sorted(row["file"] for row in rows)
    assert files == ["other_+2.dcm", "other_+2.png", "scan-2_+2.dcm", "scan-2_+2.png", "scan_+2.dcm", "scan_+2.png"]
    dicom = read_radiograph(edited / "other_+2.dcm").pixels
    np.testing.assert_allclose(dicom, np.asarray(Image.open(edited / "other_+2.png")) / 255, atol=0.5 / 255 + 1e-4)
    described = pydicom.dcmread(edited / "other_+2.dcm")
    assert "Cardiomegaly" in described.DerivationDescription
    assert "strength +2" in described.DerivationDescription
    assert not described.PatientID

    again = run("--strength", 2, "--format", "dicom")
    assert "0 images edited, 3 were there already" in again.stdout
    assert run("--strength", 2, "--format", "tiff").exit_code == 2


def test_codes_are_moved_by_each_strength(run, model: Model, codes: torch.Tensor, direction: np.ndarray) -> None:
    result = run("--strength", "-1.5,0,3", "--batch", 2)
    assert result.exit_code == 0, result.output
    expected = {
        *(f"{stem}_{label}.png" for stem in ("scan", "scan-2", "other") for label in ("-1.5", "+0", "+3", "sheet")),
        "manifest.csv",
    }
    assert {path.name for path in Path("edited").iterdir()} == expected
    for stem, w in zip(("scan", "scan-2", "other"), codes, strict=True):
        for label in ("-1.5", "+0", "+3"):
            image = model.generator.synthesis(w[None] + float(label) * torch.from_numpy(direction)).clamp(-1, 1)
            assert np.abs(pixels(f"edited/{stem}_{label}.png") - (image[0, 0].numpy() + 1) * 127.5).max() <= 1
    rows = manifest()
    assert [(row["source"], row["strength"]) for row in rows[:3]] == [("other.dcm", s) for s in ("-1.5", "+0", "+3")]
    assert {row["source"] for row in rows} == {"a/scan.png", "b/scan.png", "other.dcm"}
    assert float(rows[0]["psnr"]) == 30
    assert float(rows[1]["mean_abs_change"]) == 0
    assert float(rows[2]["mean_abs_change"]) > float(rows[0]["mean_abs_change"]) > 0


def test_pictures_say_what_they_are(run, model: Model, codes: torch.Tensor, direction: np.ndarray) -> None:
    assert run("--strength", 3, "--layers", "2-4").exit_code == 0
    for name in ("edited/scan_+3.png", "edited/scan_sheet.png"):
        with Image.open(name) as image:
            assert "Edited chest X-ray" in image.info["Description"]
            assert image.info["Disclaimer"] == "For research and education, not for diagnosis"
            assert image.info["Model"] == f"tiny random test model [{model.fingerprint}]"
            assert image.info["Direction"].startswith("Cardiomegaly (lda)")
            assert (image.info["Strength"], image.info["Layers"]) == ("+3", "2,3,4")
            assert image.info["Software"].startswith("cxredit ")


def test_sweep_and_layers(run, model: Model, codes: torch.Tensor, direction: np.ndarray) -> None:
    assert run("codes.h5", "--sweep", "-3:3:7", "--layers", "4-5", "-o", "out").exit_code == 0
    assert {row["strength"] for row in manifest("out")} == {"-3", "-2", "-1", "+0", "+1", "+2", "+3"}
    w = codes[2:].repeat(1, model.generator.num_ws, 1)
    w[:, 4:6] += 2 * torch.from_numpy(direction)
    image = model.generator.synthesis(w).clamp(-1, 1)
    assert np.abs(pixels("out/other_+2.png") - (image[0, 0].numpy() + 1) * 127.5).max() <= 1


def test_fitted_noise_travels_with_the_code(run, tmp_path: Path, tiny_model_dir: Path, direction: np.ndarray) -> None:
    from cxredit_cli.storage.models import save_generator

    model = load_model(tiny_model_dir)
    for layer in model.generator.synthesis.noise_layers():
        layer.noise_strength.fill_(0.3)
    save_generator(tmp_path / "noisy", model.generator, {"name": "noisy"})
    model = load_model(tmp_path / "noisy")
    write_direction(tmp_path / "d.h5", Direction(direction, "x", "lda", model.fingerprint))
    w = write_codes(tmp_path / "noisy.h5", model, ["a.png", "b.png"], noise=True)
    result = run("noisy.h5", "--model", "noisy", "-d", "d.h5", "--strength", "0,2")
    assert result.exit_code == 0, result.output
    from cxredit_cli.storage.codes import read_codes

    fitted = read_codes(tmp_path / "noisy.h5").noise(slice(1, 2))
    assert fitted is not None
    noise = [torch.from_numpy(layer)[:, None] for layer in fitted]
    image = model.generator.synthesis(w[1:] + 2 * torch.from_numpy(direction), noise).clamp(-1, 1)
    assert np.abs(pixels("edited/b_+2.png") - (image[0, 0].numpy() + 1) * 127.5).max() <= 1


def test_what_is_there_is_kept_and_what_is_missing_is_made(run, codes: torch.Tensor, direction: np.ndarray) -> None:
    run("--strength", "1,3")
    times = {path.name: path.stat().st_mtime_ns for path in Path("edited").glob("*.png")}
    before = {row["file"]: row for row in manifest()}
    Path("edited/other_+3.png").unlink()
    result = run("--strength", "1,3")
    assert "1 images edited, 2 were there already" in result.stdout
    now = {path.name: path.stat().st_mtime_ns for path in Path("edited").glob("*.png")}
    assert now.keys() == times.keys()
    assert all(now[name] == times[name] for name in now if name.startswith("scan"))
    assert {row["file"]: row for row in manifest()} == before
    run("--strength", "1,3", "--layers", "0")  # another edit under the same name: made again
    assert Path("edited/scan_+3.png").stat().st_mtime_ns != times["scan_+3.png"]


def test_many_images_lie_in_folders_and_sheets_may_be_left_out(
    run, codes: torch.Tensor, direction: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edited_folder, "A_FOLDER", 2)
    result = run("--strength", "1", "--no-sheets")
    assert result.exit_code == 0, result.output
    assert "3 images edited; manifest.csv is in edited" in result.stdout
    files = {path.relative_to("edited").as_posix() for path in Path("edited").rglob("*.*")}
    assert files == {"000/scan_+1.png", "000/scan-2_+1.png", "001/other_+1.png", "manifest.csv"}
    assert {(row["file"], row["sheet"]) for row in manifest()} == {(file, "") for file in files - {"manifest.csv"}}
    assert "0 images edited, 3 were there already" in run("--strength", "1", "--no-sheets").stdout
    assert "3 images edited; sheets and" in run("--strength", "1").stdout
    assert {row["sheet"] for row in manifest()} == {
        f"{stem}_sheet.png" for stem in ("000/scan", "000/scan-2", "001/other")
    }
    assert all(Path("edited", row["sheet"]).exists() for row in manifest())


@pytest.mark.parametrize("moment", [0, 1, 2, 3, 5])
def test_stopped_at_any_moment_it_carries_on(
    run, codes: torch.Tensor, direction: np.ndarray, moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:

    run("--strength", "1,3", "-o", "whole")
    written = []

    def stop(*arguments: object) -> None:
        if len(written) == moment:
            raise KeyboardInterrupt
        written.append(arguments)
        write_png(*arguments)

    write_png = write_edits.write_png
    with monkeypatch.context() as patch:
        patch.setattr(write_edits, "write_png", stop)
        assert run("--strength", "1,3").exit_code == 130
    assert run("--strength", "1,3").exit_code == 0
    assert contents("edited") == contents("whole")


@pytest.mark.slow
def test_killed_at_any_moment_it_carries_on(
    run, tmp_path: Path, tiny_model_dir: Path, model: Model, direction: np.ndarray
) -> None:
    write_codes(tmp_path / "many.h5", model, [f"{i}/scan.png" for i in range(40)])
    assert run("many.h5", "--sweep", "-3:3:7", "--batch", 16, "-o", "whole").exit_code == 0
    command = [sys.executable, "-m", "cxredit_cli", "apply", "--model", str(tiny_model_dir), "many.h5"]
    command += ["--sweep", "-3:3:7", "--batch", "16"]
    done = 0
    for _ in range(2):
        process = subprocess.Popen(command)
        deadline = time.monotonic() + 60
        while process.poll() is None and len(list(Path("edited").glob("*.png"))) < done + 90:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.wait()
        done = len(list(Path("edited").glob("*.png")))
    assert subprocess.run(command, check=False).returncode == 0
    assert {path.name for path in Path("edited").iterdir()} == {path.name for path in Path("whole").iterdir()}
    for path in Path("whole").glob("*[0-9].png"):  # in another process a sum may be rounded differently
        assert np.abs(pixels(path) - pixels(Path("edited") / path.name)).max() <= 1
    names = ("source", "strength", "file", "identity", "recipe")
    assert [[row[n] for n in names] for row in manifest()] == [[row[n] for n in names] for row in manifest("whole")]


def test_real_radiographs_are_inverted_first(run, data: Path, direction: np.ndarray) -> None:
    archive = Path("more.zip")
    with zipfile.ZipFile(archive, "w") as file:
        file.write(data / "nih" / "00001337_000.png", f"copies/{SCAN}")  # another picture of one stem
    dicom = sorted((data / "dicom").glob("*.dcm"))[0]
    result = run(data / "nih" / SCAN, archive, dicom, "--strength", "2", "--steps", 30, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["images_edited"] == 3
    stem = Path(SCAN).stem
    files = {edit["file"] for edit in document["edits"]}
    assert files == {f"{stem}_+2.png", f"{stem}-2_+2.png", f"{dicom.stem}_+2.png"}
    assert all(float(edit["psnr"]) > 5 for edit in document["edits"])
    assert np.abs(pixels(f"edited/{stem}_+2.png") - pixels(f"edited/{stem}-2_+2.png")).max() > 5
    again = run(data / "nih" / SCAN, archive, dicom, "--strength", "2", "--steps", 30)
    assert "0 images edited, 3 were there already" in again.stdout


def test_one_bad_file_does_not_stop_the_rest(run, data: Path, direction: np.ndarray) -> None:
    folder = Path("scans")
    folder.mkdir()
    for name in (SCAN, "00001337_000.png", "00001339_000.png"):
        shutil.copy(data / "nih" / name, folder / name)
    whole = (folder / SCAN).read_bytes()
    (folder / "00001336_999.png").write_bytes(whole[: len(whole) // 2])
    (folder / "note.png").write_text("not an image")
    result = run(folder, "--strength", 1, "--steps", 10, "--batch", 2)
    assert result.exit_code == 1, result.output
    assert "3 images edited, 2 could not be read" in result.stdout
    assert "00001336_999.png: " in result.stderr
    assert "note.png: " in result.stderr
    assert len(manifest()) == 3


def test_paths_on_stdin(run, data: Path, direction: np.ndarray) -> None:
    result = run("-", "--steps", 5, stdin=f"{data / 'nih' / SCAN}\n")
    assert result.exit_code == 0, result.output
    assert Path(f"edited/{Path(SCAN).stem}_+3.png").exists()  # the default strength


def test_the_models_own_direction(run, tmp_path: Path, tiny_model_dir: Path, model: Model, codes: torch.Tensor) -> None:
    assert run().exit_code == 2
    own = tmp_path / "model"
    shutil.copytree(tiny_model_dir, own)
    vector = np.eye(32, dtype=np.float32)[:1]
    write_direction(own / "directions" / "cardiomegaly.h5", Direction(vector, "Cardiomegaly", "lda", model.fingerprint))
    result = CliRunner().invoke(app, ["apply", "--strength", "1"])  # ./model, ./codes.h5
    assert result.exit_code == 0, result.output
    assert "Direction: Cardiomegaly, from model/directions/cardiomegaly.h5" in result.stderr


def test_another_generator_is_refused(
    run, tmp_path: Path, model: Model, codes: torch.Tensor, direction: np.ndarray
) -> None:
    write_direction(tmp_path / "foreign.h5", Direction(direction, "x", "lda", "fedcba9876543210"))
    result = run("--direction", "foreign.h5")
    assert result.exit_code == 2
    assert "fedcba9876543210" in result.stderr
    assert model.fingerprint in result.stderr
    header = CodesHeader("fedcba9876543210", "encoder", "w", 1, 32, resolution=8)
    one = np.ones(1, np.float32)
    with CodesWriter(tmp_path / "foreign_codes.h5", header) as writer:
        writer.append(["a.png"], np.zeros((1, 1, 32), np.float32), one, one, np.zeros((1, 8, 8), np.uint8))
    result = run("foreign_codes.h5")
    assert result.exit_code == 2
    assert "fedcba9876543210" in result.stderr
    assert model.fingerprint in result.stderr
    assert not Path("edited").exists()


def test_mistakes_are_one_sentence(run, data: Path, codes: torch.Tensor, direction: np.ndarray) -> None:
    for arguments, words in (
        (("--strength", "1", "--sweep", "0:1:2"), "not both"),
        (("--strength", "much"), "is not a number"),
        (("--layers", "3-20"), "layers 0-7"),
        (("nowhere.png",), "does not exist"),
        (("codes.h5", data / "nih" / SCAN), "one file of codes, or images"),
        (("direction.h5",), "cxredit-direction file, but a cxredit-codes file is expected"),
        (("--direction", "codes.h5"), "cxredit-codes file, but a cxredit-direction file is expected"),
        ((data / "nih" / SCAN, "--method", "encoder"), "needs an encoder"),
        ((data / "nih" / SCAN, "--fit", "squash"), "--fit must be"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2, result.output
        sentences = [line for line in result.stderr.strip().splitlines() if not line.startswith("Direction:")]
        assert words in result.stderr
        assert len(sentences) == 1
