"""kill -9 at ten moments of each long command: the same command carries on and ends as if nothing had happened."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from cxredit_cli.storage.models import load_model

MOMENTS = 10
SMALL = "--snapshot-kimg 0.02 --batch 4 --dim 16 --channel-base 128 --channel-max 16 --precision fp32 --device cpu"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def contents(path: Path) -> dict[str, object]:
    """Everything in an HDF5 file but times and paths."""
    found: dict[str, object] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()].tolist()}) if hasattr(item, "dtype") else None)
    return found


CASES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "prepare": (
        "prepare images --labels labels.csv -o dataset.h5 --resolution 32 --workers 1",
        lambda folder: contents(folder / "dataset.h5"),
    ),
    "train-gan": (
        f"train-gan images -o gan --resolution 32 --grow-from 16 --grow-kimg 0.1 --kimg 0.3 {SMALL}",
        lambda folder: load_model(folder / "gan").fingerprint,
    ),
    "train-encoder": (
        "train-encoder held-out.h5 --model model --depth 18 --width 8 --kimg 0.1 --batch 4 --device cpu",
        lambda folder: sha256(folder / "model" / "encoder.safetensors"),
    ),
    "invert": (
        "invert images -o codes.h5 --model model --method optimize --steps 20 --batch 2 --device cpu",
        lambda folder: contents(folder / "codes.h5"),
    ),
    "measure": (
        "measure images -o anatomy.csv --overlay outlines --batch 1 --device cpu",
        lambda folder: (sha256(folder / "anatomy.csv"), len(list((folder / "outlines").iterdir()))),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CASES))
def test_killed_at_ten_moments(name: str, data: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    arguments, result = CASES[name]
    command = [sys.executable, "-m", "cxredit_cli", *arguments.split()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def workplace(folder: Path) -> Path:
        (folder / "images").mkdir(parents=True)
        for path in sorted((data / "nih").glob("*.png")):
            shutil.copy(path, folder / "images")
        shutil.copy(data / "nih" / "labels.csv", folder)
        shutil.copytree(tiny_model_dir, folder / "model")
        prepare = "prepare images --labels labels.csv -o held-out.h5 --resolution 32 --val-fraction 0.4"
        subprocess.run([*command[:3], *prepare.split()], cwd=folder, env=environment, check=True, capture_output=True)
        return folder

    undisturbed = workplace(tmp_path / "undisturbed")
    started = time.monotonic()
    subprocess.run(command, cwd=undisturbed, env=environment, check=True, capture_output=True)
    duration = time.monotonic() - started

    killed = workplace(tmp_path / "killed")
    kills = 0
    for moment in range(MOMENTS):
        process = subprocess.Popen(
            command, cwd=killed, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            # From during the imports to shortly before the end.
            process.wait(timeout=duration * (moment + 1) / (MOMENTS + 1))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += 1
        _, errors = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), errors.decode()
    subprocess.run(command, cwd=killed, env=environment, check=True, capture_output=True)
    assert kills >= 3
    assert result(killed) == result(undisturbed)
    assert not [path for path in killed.rglob("*") if path.name.endswith((".partial", ".aside"))]
