"""The script that measures large cohorts, on a few films."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cxredit_cli.radiographs.sources import list_sources
from cxredit_cli.storage.prepare_dataset import Options, prepare

SCRIPT = Path(__file__).parents[2] / "examples" / "measure_cohorts.py"


@pytest.mark.slow
def test_each_step_is_measured_and_stands_in_the_table(data: Path, tmp_path: Path) -> None:
    prepare(list_sources([data / "nih"]), tmp_path / "films.h5", Options(), workers=1)
    steps = ["store", "store again", "edited folder", "append"]
    command = [sys.executable, SCRIPT, tmp_path / "films.h5", "--work", tmp_path / "work", "--sizes", "40", "70"]
    done = subprocess.run([*command, "--only", *steps], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    found = {}
    for line in lines[: lines.index("")]:
        words, _, figures = line.partition(" {")
        found[words] = json.loads("{" + figures)
    assert list(found) == [
        f"{step} {n}" for n in (40, 70) for step in ("store", "store again", "append", "edited folder")
    ]
    assert all(figures["code"] == 0 and figures["mb"] > 10 and figures["cpu"] > 0 for figures in found.values())
    assert found["store again 70"]["resumed"] == 35
    assert lines[-5] == "|---|---|---|"
    assert [line.split(" | ")[0] for line in lines[-4:]] == ["| store", "| store again", "| append", "| edited folder"]
