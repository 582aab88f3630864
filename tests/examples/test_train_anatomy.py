"""examples/train_anatomy.py, run as a user runs it, for a few steps."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import torch

from cxredit_cli.radiographs.sources import list_sources
from cxredit_cli.storage.anatomy_network import BUNDLED_ANATOMY
from cxredit_cli.storage.prepare_dataset import Options, prepare

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


def test_what_turns_a_picture_undoes_it() -> None:
    turned = runpy.run_path(str(EXAMPLES / "train_anatomy.py"))["turned"]
    picture = torch.zeros(1, 1, 64, 64)
    picture[:, :, 20:40, 24:30] = 1
    picture = torch.nn.functional.avg_pool2d(picture, 5, 1, 2)
    there = turned(picture, 0.2, 1.1)
    back = turned(there, -0.2, 1 / 1.1)
    assert (back - picture).abs().mean() < 0.1 * (there - picture).abs().mean()


def test_a_student_learns_from_what_its_teacher_outlines(data: Path, tmp_path: Path) -> None:
    split, dataset = tmp_path / "split.csv", tmp_path / "dataset.h5"
    split.write_text("image,part\nwingspan_011.png,0-train\nwingspan_111.png,0-check\nwingspan_117.png,1-train\n")
    sources = list_sources([data / "nih"])
    prepare(sources, dataset, Options(resolution=128, val_fraction=0.1), None)
    options = [
        "--steps",
        1,
        "--batch",
        2,
        "--device",
        "cpu",
        "--widths",
        8,
        8,
        16,
        16,
        "-o",
        tmp_path / "a.safetensors",
    ]
    teach = ["--widths", 8, 8, 16, 16, "--teacher", BUNDLED_ANATOMY, "--unlabelled", dataset]
    command = [EXAMPLES / "train_anatomy.py", data / "wingspan", "--split", split, *options, *teach]
    subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(EXAMPLES.parent)},
        check=True,
    )
    document = json.loads((tmp_path / "a.json").read_text())
    assert document["architecture"]["widths"] == [8, 8, 16, 16]
    assert 2 <= document["outlined_by_a_teacher"] <= len(sources)


def test_the_split_is_written_down() -> None:
    rows = [line.split(",") for line in (EXAMPLES / "anatomy_split.csv").read_text().splitlines()[1:]]
    assert len({name for name, _ in rows}) == len(rows) == 259
    assert {part for _, part in rows} == {"0-train", "0-check", "1-train", "1-check", "left-out"}
