"""examples/train_anatomy.py, run as a user runs it, for a few steps."""

import json
import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_training_saves_and_reports(data: Path, tmp_path: Path) -> None:
    split = tmp_path / "split.csv"
    split.write_text("image,part\nwingspan_011.png,0-train\nwingspan_111.png,0-check\nwingspan_117.png,1-train\n")
    options = [
        "--steps",
        "2",
        "--batch",
        "2",
        "--check-every",
        "1",
        "--device",
        "cpu",
        "-o",
        tmp_path / "a.safetensors",
    ]
    done = subprocess.run(
        [sys.executable, EXAMPLES / "train_anatomy.py", data / "wingspan", "--split", split, *options],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(EXAMPLES.parent)},
        check=True,
    )
    assert "on 1 images kept out" in done.stdout
    document = json.loads((tmp_path / "a.json").read_text())
    assert document["split"] == {"fold": 0, "train": 1, "watched": 1, "kept_out": 1}
    assert 0 <= document["kept_out"]["heart_dice"] <= 1


def test_the_split_is_written_down() -> None:
    rows = [line.split(",") for line in (EXAMPLES / "anatomy_split.csv").read_text().splitlines()[1:]]
    assert len({name for name, _ in rows}) == len(rows) == 259
    assert {part for _, part in rows} == {"0-train", "0-check", "1-train", "1-check", "left-out"}
