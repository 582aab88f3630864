"""What several processes do together is what one does alone, and they end together."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cxredit_cli.directions.vectors import cosine
from cxredit_cli.networks.anatomy import AnatomyConfig, AnatomyNetwork
from cxredit_cli.radiographs.sources import list_sources
from cxredit_cli.storage.anatomy_network import save_anatomy
from cxredit_cli.storage.codes import CodesHeader, read_codes
from cxredit_cli.storage.directions import Direction, read_direction, write_direction
from cxredit_cli.storage.models import load_model
from cxredit_cli.storage.prepare_dataset import Options, prepare
from cxredit_cli.storage.write_codes import CodesWriter

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
COUNTS = ("1", "2", "3")

GENERATE = "generate -n 7 --batch 2 --codes made.h5"
MEASURE = "measure scans codes.h5 --overlay outlines --batch 4"
APPLY = "apply codes.h5 -d direction.h5 --strength 1,2 --batch 2 -o edited"
APPLY_TO_IMAGES = "apply scans -d direction.h5 --strength 1 --steps 1 --batch 2 -o edited-scans"
DIRECTION = "direction --from-measure heart_width -n 33 -o found.h5 --anatomy anatomy.safetensors"
EVALUATE = (
    "evaluate --realism --dose --reconstruction --native --images dataset.h5 --films scans --split all --view any "
    "--label any -n 16 --batch 3 -d border.h5 --sweep 0:1:2 --randoms 0 --steps 1 --by optimize,w,1"
)
EVERYTHING = (GENERATE, MEASURE, APPLY, APPLY_TO_IMAGES, DIRECTION)


@pytest.fixture(scope="module")
def material(data: Path, tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, a direction, codes, scans of which two share a name and one is damaged, and a dataset."""
    folder = tmp_path_factory.mktemp("material")
    shutil.copytree(tiny_model_dir, folder / "model")
    fingerprint = load_model(tiny_model_dir).fingerprint
    vector = np.eye(32, dtype=np.float32)[:1]
    direction = Direction(vector, "wide", "drawn", fingerprint)
    write_direction(folder / "direction.h5", direction)
    write_direction(folder / "border.h5", replace(direction, calibration={"carried": {"kind": "border"}}))
    random, unknown = np.random.default_rng(0), np.full(5, np.nan, np.float32)
    w, originals = random.standard_normal((5, 1, 32)), random.integers(0, 256, (5, 32, 32))
    with CodesWriter(folder / "codes.h5", CodesHeader(fingerprint, "optimize", "w", 1, 32, 32)) as writer:
        names = ["a/scan.png", "b/scan.png", "c/scan.png", "other.png", "last.png"]
        writer.append(names, w.astype(np.float32), unknown, unknown, originals.astype(np.uint8))
    real = sorted((data / "nih").glob("*.png"))
    for number, path in enumerate(real[:4]):
        (folder / "scans" / str(number)).mkdir(parents=True)
        shutil.copy(path, folder / "scans" / str(number) / ("scan.png" if number < 3 else path.name))
    (folder / "scans" / "1" / "damaged.png").write_bytes(real[0].read_bytes()[:500])
    for path in real:
        with Image.open(path) as image:
            for left in (0, 8):
                crop = image.convert("L").crop((left, left, left + 116, left + 116))
                (folder / "crops").mkdir(exist_ok=True)
                crop.save(folder / "crops" / f"{path.stem}_{left}.png")
    prepare(list_sources([folder / "crops"]), folder / "dataset.h5", Options(resolution=32))
    torch.manual_seed(3)
    save_anatomy(folder / "anatomy.safetensors", AnatomyNetwork(AnatomyConfig(resolution=32, widths=(8, 16))), {})
    return folder


@pytest.fixture(scope="module")
def runs(material: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything, in folders that are called by the number of processes; and what goes wrong."""
    folder = tmp_path_factory.mktemp("runs")
    tasks = []

    def task(name: str, processes: int, *commands: str, **more: str) -> Path:
        shutil.copytree(material, folder / name, dirs_exist_ok=True)
        words = [[*command.split(), "--device", "cpu"] for command in commands]
        tasks.append({"processes": processes, "folder": str(folder / name), "commands": words, **more})
        return folder / name

    task("1", 1, *EVERYTHING, EVALUATE)
    # Some of it was there before, from a run of another number of processes.
    task("2", 2, *EVERYTHING)
    task("3", 1, GENERATE.replace("7", "4"), APPLY.replace("1,2", "1"))
    task("3", 3, *EVERYTHING, EVALUATE)
    task("killed", 2, "generate -n 100000 --batch 2 --no-grid --codes made.h5", kill="generated/0_00010.png")
    for name, broken in (("of all", "edited"), ("of the first", "made.h5"), ("of another", "generated/0_00002.png")):
        path = task(name, 2, APPLY if broken == "edited" else GENERATE) / broken
        if broken == "made.h5":
            shutil.copy(material / "codes.h5", path)
        elif broken == "edited":
            path.mkdir()
            (path / "manifest.csv").write_text("another table\n")
        else:
            path.mkdir(parents=True)
    command = [sys.executable, "-m", "tests.commands.spread_commands", json.dumps(tasks)]
    finished = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=600)
    assert finished.returncode == 0, finished.stderr
    return folder


def said(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "said.json").read_text())
    return found


def pictures(folder: Path) -> dict[str, Any]:
    made = {}
    for path in sorted(folder.rglob("*.png")):
        with Image.open(path) as image:
            made[str(path.relative_to(folder))] = np.asarray(image).astype(np.int16)
    return made


def check_same_pictures(once: Path, again: Path) -> None:
    first, second = pictures(once), pictures(again)
    assert first
    assert first.keys() == second.keys()
    for name, values in first.items():
        assert np.abs(second[name] - values).max() <= 1, name


@pytest.mark.parametrize("count", COUNTS)
def test_all_end_well_and_only_the_first_speaks(runs: Path, count: str) -> None:
    for each in said(runs / count):
        damaged = "scans" in each["words"]  # one of them is
        assert ("damaged.png" in each["errors"][0]) == damaged
        assert each["codes"] == [int(damaged and each["words"][0] != "evaluate"), *[0] * (int(count) - 1)], each
        assert each["errors"][1:] == [""] * (int(count) - 1)


@pytest.mark.parametrize("count", COUNTS[1:])
def test_the_same_pictures_and_codes_are_generated(runs: Path, count: str) -> None:
    check_same_pictures(runs / "1/generated", runs / count / "generated")
    one, many = (read_codes(runs / name / "made.h5") for name in ("1", count))
    assert one.source == many.source == [f"0_0000{index}.png" for index in range(7)]
    np.testing.assert_allclose(many.w, one.w, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(many.originals(slice(None)).astype(int), one.originals(slice(None)), atol=1)


@pytest.mark.parametrize("count", COUNTS[1:])
def test_the_same_table_is_measured(runs: Path, count: str) -> None:
    one, many = ((runs / name / "anatomy.csv").read_text() for name in ("1", count))
    assert len(one.splitlines()) == 1 + 4 + 5
    assert many == one
    check_same_pictures(runs / "1/outlines", runs / count / "outlines")


@pytest.mark.parametrize("count", COUNTS[1:])
@pytest.mark.parametrize("folder", ["edited", "edited-scans"])
def test_the_same_folder_is_edited(runs: Path, count: str, folder: str) -> None:
    one, many = ((runs / name / folder / "manifest.csv").read_text() for name in ("1", count))
    assert many == one
    assert "scan-2_" in one
    assert "scan-3_" in one
    check_same_pictures(runs / "1" / folder, runs / count / folder)


@pytest.mark.parametrize("count", COUNTS[1:])
def test_the_same_direction_is_found(runs: Path, count: str) -> None:
    one, many = (read_direction(runs / name / "found.h5") for name in ("1", count))
    np.testing.assert_allclose(many.direction, one.direction, rtol=1e-5, atol=1e-6)
    assert many.statistics == pytest.approx(one.statistics, rel=1e-5)
    assert one.statistics["images"] == 33
    assert abs(cosine(one.direction, np.eye(32, dtype=np.float32)[:1])) < 0.9


def numbers(document: Any, path: str = "") -> dict[str, Any]:
    """The leaves of a document by their places, without what a clock says."""
    if isinstance(document, dict):
        parts = [numbers(value, f"{path}/{key}") for key, value in document.items() if "seconds" not in key]
    elif isinstance(document, list):
        parts = [numbers(value, f"{path}/{index}") for index, value in enumerate(document)]
    else:
        return {path: document}
    return {place: value for part in parts for place, value in part.items()}


def test_the_same_report_is_written(runs: Path) -> None:
    one, many = (numbers(json.loads((runs / name / "evaluation.json").read_text())) for name in ("1", "3"))
    assert {place.split("/")[1] for place in one} >= {"realism", "dose", "reconstruction", "native"}
    assert (one["/dose/used"], one["/native/films"]) == (16, 4)
    assert "damaged.png" in one["/native/unreadable/0/source"]
    assert many.keys() == one.keys()
    for place, value in one.items():
        expected = pytest.approx(value, rel=1e-4, abs=1e-6) if isinstance(value, float) else value
        assert many[place] == expected, place


def test_one_that_is_killed_ends_the_other_with_a_sentence(runs: Path) -> None:
    (killed,) = said(runs / "killed")
    assert killed["codes"] == [1, -9]
    assert killed["errors"][0].count("cxredit: Another process of this work has ended") == 1
    assert killed["errors"][0].count("\n") == 1
    codes = read_codes(runs / "killed/made.h5")
    assert codes.source == [f"0_{index:05d}.png" for index in range(len(codes))]


@pytest.mark.parametrize(
    ("name", "who", "words"),
    [
        ("of all", 0, "no manifest"),
        ("of the first", 0, "was begun with method"),
        ("of another", 1, "0_00002.png is a folder"),
    ],
)
def test_a_mistake_is_said_once(runs: Path, name: str, who: int, words: str) -> None:
    (failed,) = said(runs / name)
    assert failed["codes"] == [2, 2]
    assert words in failed["errors"][who]
    assert "".join(failed["errors"]).count("\n") == 1
