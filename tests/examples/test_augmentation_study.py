"""examples/augmentation_study.py, run as a user runs it, for a few steps on a few films with the bundled model."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cxredit_cli.app import app
from cxredit_cli.storage.dataset import Dataset

EXAMPLES = Path(__file__).parents[2] / "examples"
TABLES = EXAMPLES.parent / "docs" / "results" / "tables"
NAMES = [f"augmentation{part}" for part in ("", "-gain", "-unseen", "-traces", "-films")]


def study(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    few = ("--sizes", 0, 1, "--seeds", 2, "--steps", 2, "--edited", 3, "--tested", 1, "--negatives", 3)
    return subprocess.run(
        [sys.executable, EXAMPLES / "augmentation_study.py", "dataset.h5", "--method", "encoder", *map(str, few)]
        + [str(argument) for argument in arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(EXAMPLES.parent)},
    )


@pytest.fixture
def desk(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """./dataset.h5 of seven PA films, all in train, three of them with Cardiomegaly."""
    monkeypatch.chdir(tmp_path)
    labels = ["--labels", str(data / "nih" / "labels.csv"), "--val-fraction", "0", "--on-suspect", "accept"]
    done = CliRunner().invoke(app, ["prepare", str(data / "nih"), *labels])
    assert done.exit_code == 0, done.output
    return tmp_path


def test_from_a_dataset_to_its_tables(desk: Path) -> None:
    pytest.importorskip("mkdocs")
    done = study(desk)
    assert done.returncode == 0, done.stderr
    work = desk / "augmentation"
    native, generated = Dataset(work / "native.h5"), Dataset(work / "generated.h5")
    assert len(generated) == 3 * 4
    assert 0 < len(native) <= 3 * 3
    assert {mark.how for mark in native.edits if mark} == {"native"}
    for some in (native, generated):
        positive = some.has_label("Cardiomegaly")
        assert [float(mark.strength) > 0 for mark in some.edits if mark] == positive.tolist()
    text = (work / "tables.md").read_text()
    sys.path.append(str(EXAMPLES.parent / "docs" / "tools"))
    from result_tables import parse_markdown, read_table

    found = parse_markdown(text)
    assert len(found) == len(NAMES)
    for name, (columns, rows) in zip(NAMES, found, strict=True):
        shown = read_table(name)
        # The published tables are of this program: their rows are named alike.
        assert [row[0] for row in rows] == [row[0] for row in shown.rows]
        assert len(columns) == len(rows[0])
    areas = {row[0]: row[1:] for row in found[0][1]}
    assert areas["nothing added"][0] == "-"
    assert re.fullmatch(r"[01]\.\d{3} \([01]\.\d{3} to [01]\.\d{3}\)", areas["edits of films"][1])
    assert found[4][1][1] == ["healthy films for the test", "1", "1"]
    with Image.open(work / "shown.png") as shown_picture:
        assert shown_picture.height == 5 * 128
        assert np.asarray(shown_picture).std() > 20

    # Again: nothing is edited and no network trained.
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*.npz")}
    again = study(desk)
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in work.rglob("*.npz")} == before
    assert (work / "tables.md").read_text() == text


def test_too_few_films_and_edits_for_films(desk: Path) -> None:
    done = study(desk, "--sizes", 9)
    assert "has 3 films with Cardiomegaly and 4 healthy patients" in done.stderr
