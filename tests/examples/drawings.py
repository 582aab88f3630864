"""Small datasets of drawings, and the scripts run on them as a user runs them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from cxredit_cli.app import app

EXAMPLES = Path(__file__).parents[2] / "examples"


def draw_dataset(folder: Path, count: int, header: str, draw: Callable[[int, NDArray[np.int64]], str]) -> Path:
    """A dataset of `cxredit prepare`: noise of 32x32, to which `draw` adds and of which it returns the table's row."""
    random, rows = np.random.default_rng(0), [header]
    (folder / "images").mkdir()
    for index in range(count):
        pixels = random.integers(0, 60, (32, 32))
        rows.append(f"{index}.png,{draw(index, pixels)}")
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / f"{index}.png")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    options = ["--labels", str(folder / "labels.csv"), "--resolution", "32", "--val-fraction", "0.4"]
    done = CliRunner().invoke(app, ["prepare", str(folder / "images"), *options, "-o", str(folder / "dataset.h5")])
    assert done.exit_code == 0, done.output
    return folder / "dataset.h5"


def run_script(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """What a script of examples/ says."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(EXAMPLES.parent)}
    command = [sys.executable, EXAMPLES / name, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
