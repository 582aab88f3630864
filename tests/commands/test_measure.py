"""`cxredit measure` on real radiographs, a dataset and codes."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from cxredit_cli.anatomy.measures import FIGURES
from cxredit_cli.app import app
from cxredit_cli.evaluation import measure_many
from cxredit_cli.evaluation.measured_table import MeasuredTable
from cxredit_cli.storage.anatomy_network import BUNDLED_JUDGE
from cxredit_cli.storage.codes import read_codes
from cxredit_cli.storage.write_codes import CodesWriter


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def cxredit(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def measured(*arguments: object) -> tuple[Result, list[dict[str, str]]]:
    result = cxredit("measure", *arguments)
    with Path("anatomy.csv").open() as file:
        return result, list(csv.DictReader(file))


def test_a_radiograph_and_a_folder(data: Path) -> None:
    image = data / "wingspan" / "images" / "wingspan_111.png"
    result, rows = measured(image, data / "nih")
    assert result.exit_code == 0, result.output
    assert [row["name"] for row in rows[:2]] == ["wingspan_111.png", "00001336_000.png"]
    assert [row["input"] for row in rows[:2]] == [str(image), str(data / "nih")]
    assert len(rows) == 13
    assert float(rows[0]["ctr"]) == pytest.approx(0.4055, abs=0.03)  # as a human measured it
    assert rows[0]["plausible"] == "yes"
    for row in rows:
        assert float(row["ctr"]) == pytest.approx(float(row["heart_width"]) / float(row["thorax_width"]), abs=1e-4)
    assert "13 measured, mean CTR" in result.stdout


def test_outlines_of_many_lie_in_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_many, "A_FOLDER", 2)
    assert measure_many._unique(["scan", "Scan", "scan", "scan_2"]) == [
        "000/scan",
        "000/Scan_2",
        "001/scan_3",
        "001/scan_2_2",
    ]
    assert measure_many._unique(["a", "A"]) == ["a", "A_2"]


def test_a_truncated_file_is_one_sentence(tiny_model_dir: Path) -> None:
    cxredit("generate", "--n", 1, "--model", tiny_model_dir, "--codes", "codes.h5")
    whole = Path("codes.h5").read_bytes()
    Path("codes.h5").write_bytes(whole[: len(whole) // 2])
    result = cxredit("measure", "codes.h5", "--model", tiny_model_dir)
    assert result.exit_code == 2, result.output
    assert "codes.h5 is damaged" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_dataset_measures_as_its_files(data: Path) -> None:
    assert cxredit("prepare", data / "nih", "--resolution", 128, "--labels", data / "nih" / "labels.csv").exit_code == 0
    _, files = measured(data / "nih")
    result, rows = measured("dataset.h5")
    assert result.exit_code == 0, result.output
    assert [row["name"] for row in rows] == [row["name"] for row in files]
    for row, file in zip(rows, files, strict=True):
        assert float(row["ctr"]) == pytest.approx(float(file["ctr"]), abs=0.005)
    _, chosen = measured("dataset.h5", "--label", "Cardiomegaly")
    assert {row["name"] for row in chosen} == {
        *("00001355_005.png", "00001369_000.png", "00001373_001.png", "00001373_006.png", "00001373_008.png")
    }
    assert cxredit("measure", data / "nih", "--label", "Cardiomegaly").exit_code == 2


def test_codes_are_synthesised(tiny_model_dir: Path) -> None:
    cxredit("generate", "--n", 5, "--model", tiny_model_dir, "--codes", "codes.h5", "-o", "pictures")
    result, rows = measured("codes.h5", "--model", tiny_model_dir, "--batch", 2)
    assert result.exit_code == 0, result.output
    _, pictures = measured("pictures")  # the grid beside them is left out
    assert [row["name"] for row in rows] == [row["name"] for row in pictures] == [f"0_0000{i}.png" for i in range(5)]
    assert {row["plausible"] for row in rows} == {"no"}  # a random model makes no chests


def test_codes_of_another_generator_are_refused(tiny_model_dir: Path) -> None:
    cxredit("generate", "--n", 1, "--model", tiny_model_dir, "--codes", "codes.h5")
    header = read_codes(Path("codes.h5")).header
    with CodesWriter(Path("other.h5"), replace(header, fingerprint="0123456789abcdef")) as writer:
        one = np.zeros(1, np.float32)
        writer.append(["a"], np.zeros((1, 1, 32), np.float32), one, one, np.zeros((1, 32, 32), np.uint8))
    result = cxredit("measure", "other.h5", "--model", tiny_model_dir)
    assert result.exit_code == 2
    assert "0123456789abcdef" in result.output
    assert header.fingerprint in result.output


def test_bad_files_are_named_and_the_others_done(data: Path) -> None:
    Path("scans").mkdir()
    shutil.copy(data / "nih" / "00001336_000.png", "scans/good.png")
    Path("scans/bad.png").write_bytes((data / "nih" / "00001337_000.png").read_bytes()[:500])
    result, rows = measured("scans")
    assert result.exit_code == 1
    assert [row["name"] for row in rows] == ["good.png"]
    assert "bad.png" in result.stderr
    assert "Traceback" not in result.output


def test_nothing_readable_leaves_an_empty_table() -> None:
    Path("bad.png").write_bytes(b"no image")
    result, rows = measured("bad.png")
    assert result.exit_code == 1
    assert rows == []


def test_a_run_that_is_killed_carries_on(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = measured(data / "nih", "--batch", 1)
    undisturbed = Path("anatomy.csv").read_text()
    Path("anatomy.csv").unlink()
    partial = Path("anatomy.csv.partial")
    command = [sys.executable, "-m", "cxredit_cli", "measure", data / "nih", "--batch", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (partial.exists() and partial.read_bytes().count(b"\n") > 4) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not Path("anatomy.csv").exists()
    done = partial.read_bytes().count(b"\n") - 1
    with partial.open("a") as file:
        file.write('0123,"cut of')

    read = list[int]()
    counted = measure_many.read_pictures

    def count(groups: list[measure_many.Group], *how: Any) -> Iterator[measure_many.Picture]:
        read.append(sum(map(len, groups)))
        return counted(groups, *how)

    monkeypatch.setattr(measure_many, "read_pictures", count)
    again, rows = measured(data / "nih", "--batch", 1)
    assert again.exit_code == whole.exit_code == 0, again.output
    assert 0 < done == len(rows) - read[0]
    assert f"{len(rows)} measured, {done} of them before, mean CTR" in again.stdout
    assert Path("anatomy.csv").read_text() == undisturbed
    assert not partial.exists()


def test_what_was_measured_otherwise_is_measured_again(data: Path) -> None:
    """Rows that a kill left count for the same picture, network and options alone."""
    shutil.copytree(data / "nih", "scans")

    def left_by_a_kill(*arguments: object) -> str:
        before = Path("left.partial").read_bytes() if Path("left.partial").exists() else None
        if before is not None:
            Path("anatomy.csv.partial").write_bytes(before)
        return cxredit("measure", "scans", *arguments).stdout

    def stop(*_: object) -> None:
        shutil.copy("anatomy.csv.partial", "left.partial")

    finish = MeasuredTable.finish
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MeasuredTable, "finish", lambda table, names: stop() or finish(table, names))
        cxredit("measure", "scans")
    assert "12 measured, 12 of them before" in left_by_a_kill()
    assert "before" not in left_by_a_kill("--anatomy", "judge")
    assert "before" not in left_by_a_kill("--fit", "pad")
    assert "before" not in left_by_a_kill("--overlay", "outlines")
    assert "12 measured, 12 of them before" in left_by_a_kill("--overlay", "outlines")
    shutil.copy("scans/00001336_000.png", "scans/00001337_000.png")
    assert "12 measured, 11 of them before" in left_by_a_kill()


def test_outlines_are_drawn(data: Path) -> None:
    Path("a").mkdir()
    shutil.copy(data / "wingspan" / "images" / "wingspan_117.png", "a/scan.png")
    shutil.copytree("a", "b")
    result, rows = measured("a/scan.png", "b/scan.png", "--overlay", "outlines")
    assert result.exit_code == 0, result.output
    assert len(rows) == 2
    assert sorted(path.name for path in Path("outlines").iterdir()) == ["scan_2_anatomy.png", "scan_anatomy.png"]
    with Image.open("outlines/scan_anatomy.png") as picture:
        assert picture.size == (512, 512)
        assert "not for diagnosis" in picture.info["Description"]
        colours = np.asarray(picture.convert("RGB")).astype(int)
    heart = (colours[..., 0] - colours[..., 1] > 80).nonzero()
    lung = (colours[..., 2] - colours[..., 0] > 80).nonzero()
    assert np.ptp(heart[1]) / 512 == pytest.approx(float(rows[0]["heart_width"]), abs=0.02)
    assert np.ptp(lung[1]) / 512 == pytest.approx(float(rows[0]["thorax_width"]), abs=0.02)
    result = cxredit("measure", "outlines")  # pictures with outlines are no radiographs
    assert result.exit_code == 2
    assert "no radiograph" in result.stderr


def test_dicom_and_json(data: Path) -> None:
    result = cxredit("measure", data / "dicom" / "jpeg_baseline.dcm", data / "nih" / "00001369_000.png", "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 0, result.output
    assert [image["name"] for image in document["images"]] == ["jpeg_baseline.dcm", "00001369_000.png"]
    assert set(FIGURES) <= set(document["images"][0])
    assert document["failed"] == []


def test_the_batch_changes_nothing(data: Path) -> None:
    _, one = measured(data / "nih", "--batch", 1)
    _, many = measured(data / "nih", "--batch", 64)
    assert [row["name"] for row in one] == [row["name"] for row in many]
    for a, b in zip(one, many, strict=True):
        assert float(a["ctr"]) == pytest.approx(float(b["ctr"]), abs=0.006)


@pytest.mark.parametrize(
    "arguments", [("nowhere.png",), ("scan.png", "--fit", "stretch"), ("scan.png", "--anatomy", "none.safetensors")]
)
def test_mistakes_are_one_sentence(arguments: tuple[str, ...], data: Path) -> None:
    shutil.copy(data / "nih" / "00001336_000.png", "scan.png")
    result = cxredit("measure", *arguments)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert not Path("anatomy.csv").exists()


def test_the_judge_by_its_name(data: Path) -> None:
    image = data / "wingspan" / "images" / "wingspan_111.png"
    _, (first,) = measured(image)
    _, (second,) = measured(image, "--anatomy", "judge")
    _, (by_path,) = measured(image, "--anatomy", BUNDLED_JUDGE)
    assert second == by_path
    assert second["heart_width"] != first["heart_width"]
