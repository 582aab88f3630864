"""Files whose names are bytes that are no UTF-8 are worked on as others are, and shown with an escape."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from cxredit_cli.app import app
from cxredit_cli.storage.codes import read_codes
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.directions import Direction, read_direction, write_direction
from cxredit_cli.storage.models import load_model

SHOWN = r"caf\udce9.png"


@pytest.fixture
def scan(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path) -> str:
    """A radiograph named caf, byte E9, .png in the current folder, with a model and a direction of it."""
    monkeypatch.chdir(tmp_path)
    path = os.fsdecode(b"caf\xe9.png")
    try:
        shutil.copy(data / "nih" / "00001336_000.png", path)
    except OSError:
        pytest.skip("this file system takes text alone")
    shutil.copytree(tiny_model_dir, "model")
    vector = np.eye(1, 32, dtype=np.float32)
    write_direction(
        Path("direction.h5"), Direction(vector, "Cardiomegaly", "lda", load_model(Path("model")).fingerprint)
    )
    return path


def done(*arguments: object) -> Result:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result


def test_prepare(scan: str) -> None:
    done("prepare", scan, "--val-fraction", 0.5)
    dataset = Dataset("dataset.h5")
    assert dataset.names == dataset.patient_ids == [SHOWN]


def test_what_cannot_be_read_is_listed(scan: str, data: Path) -> None:
    Path(scan).write_bytes(b"no picture")
    result = CliRunner().invoke(app, ["prepare", scan, str(data / "nih")])
    assert result.exit_code == 1, result.output
    assert f"{SHOWN}: it is no DICOM file" in result.stderr
    assert SHOWN in Path("dataset_skipped.csv").read_text(encoding="utf-8")


def test_invert_then_apply(scan: str) -> None:
    assert SHOWN in done("invert", scan, "--steps", 2).stdout
    assert read_codes(Path("codes.h5")).source == [SHOWN]
    done("apply")
    assert Image.open(Path("edited", r"caf\udce9_+3.png")).text["Source"] == SHOWN  # type: ignore[attr-defined]
    done("apply", scan, "--steps", 2, "-o", "straight")
    with Path("straight", "manifest.csv").open(encoding="utf-8") as file:
        assert [row["source"] for row in csv.DictReader(file)] == [SHOWN]


def test_a_pair_and_a_page(scan: str, data: Path) -> None:
    done("direction", scan, data / "nih" / "00001337_000.png", "--steps", 2)
    found = read_direction(Path("direction.h5"))
    assert (found.name, found.sources[0]) == (r"caf\udce9 to 00001337_000", SHOWN)
    done("demo", scan, "--steps", 2, "--sweep=-1:1:2")
    assert SHOWN in Path("demo.html").read_text(encoding="utf-8")


def test_measure_a_list_on_stdin_from_a_shell(scan: str) -> None:
    table = os.fsdecode(b"r\xe9sultat.csv")
    command = [sys.executable, "-m", "cxredit_cli", "measure", "-", "-o", table, "--overlay", "outlines"]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    finished = subprocess.run(command, input=os.fsencode(scan) + b"\n", capture_output=True, env=environment)
    assert finished.returncode == 0, finished.stderr.decode()
    assert SHOWN in finished.stdout.decode()
    assert r"r\udce9sultat.csv: 1 measured" in finished.stdout.decode()
    with Path(table).open(encoding="utf-8") as file:
        assert [row["name"] for row in csv.DictReader(file)] == [SHOWN]
    assert [path.name for path in Path("outlines").iterdir()] == [r"caf\udce9_anatomy.png"]
