"""Several processes train what one trains, end together, and go on in other numbers."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from cxredit_cli.devices import own_device
from cxredit_cli.errors import InputError
from cxredit_cli.networks.discriminator import minibatch_std
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.torchrun import Place
from cxredit_cli.training.parts import parts_of
from tests.forked import free_port

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
ROOT = Path(__file__).parents[2]


def train(*tasks: dict[str, Any]) -> None:
    """The tasks of several_processes.py, one after the other."""
    command = [sys.executable, "-m", "tests.training.several_processes", json.dumps(tasks)]
    finished = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert finished.returncode == 0, finished.stderr


def furthest(once: Path, again: Path, names: tuple[str, ...] = ("",)) -> float:
    """The largest distance of two tensors of one name that begins with one of `names`.

    Root mean square, relative to that of the tensor or, where this is smaller, to 1: the unit in which weights begin
    and in which biases and noise are added to feature maps.
    """
    first, second = load_file(once), load_file(again)
    assert first.keys() == second.keys()

    def rms(values: Tensor) -> float:
        return float(values.double().square().mean().sqrt())

    chosen = [name for name in first if name.startswith(names)]
    return max(rms(second[name] - first[name]) / max(rms(first[name]), 1) for name in chosen)


RUNS = {"1": (1, None), "2": (2, None), "4": (4, None), "2 by parts": (2, 3)}  # processes, --batch-gpu
WEIGHTS = ("g.", "d.", "ema.", "pl_mean", "augment_p")


@pytest.fixture(scope="module")
def runs(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty iterations in different numbers of processes and of parts."""
    folder = tmp_path_factory.mktemp("runs")
    same = {"what": "iterations", "images": str(dataset.path), "count": 20}
    train(
        *(
            {**same, "processes": processes, "batch_gpu": batch_gpu, "folder": str(folder / name)}
            for name, (processes, batch_gpu) in RUNS.items()
        )
    )
    return folder


@pytest.mark.parametrize("name", [name for name in RUNS if name != "1"])
def test_the_split_changes_neither_losses_nor_weights_nor_images(runs: Path, name: str) -> None:
    whole, split = (json.loads((runs / run / "losses.json").read_text()) for run in ("1", name))
    assert len(whole) == 20
    assert {"loss_g", "loss_d", "path_length", "r1", "real_sign"} <= whole[0].keys()
    for one, other in zip(whole, split, strict=True):
        # What is made of gradients jumps where rounding puts an activation on the other side of its kink.
        made_of_gradients = {name: one[name] for name in ("path_length", "r1") if name in one}
        assert {name: other[name] for name in made_of_gradients} == pytest.approx(made_of_gradients, rel=1e-3)
        assert other | made_of_gradients == pytest.approx(one, rel=1e-5)
    assert furthest(runs / "1/run.safetensors", runs / name / "run.safetensors", WEIGHTS) < 1e-5
    assert furthest(runs / "1/pictures.safetensors", runs / name / "pictures.safetensors") < 1e-5


def test_a_run_goes_on_in_another_number_of_processes(dataset: Dataset, tmp_path: Path) -> None:
    def task(folder: str, processes: int, kimg: float) -> dict[str, Any]:
        path = str(tmp_path / folder)
        return {"what": "gan", "processes": processes, "kimg": kimg, "folder": path, "images": str(dataset.path)}

    # It grows after 4 of 15 iterations; in 3 processes one has two groups and the others one.
    train(task("whole", 1, 0.18), task("parts", 2, 0.072), task("parts", 1, 0.132), task("parts", 3, 0.18))
    checkpoints = [tmp_path / folder / "training/checkpoint.safetensors" for folder in ("whole", "parts")]
    assert furthest(*checkpoints, WEIGHTS) < 1e-5
    assert json.loads((tmp_path / "parts/model.json").read_text())["training"]["processes"] == 3


def test_an_encoder_is_trained_by_several_as_by_one(dataset: Dataset, tiny_model_dir: Path, tmp_path: Path) -> None:
    def task(folder: str, processes: int, images: int) -> dict[str, Any]:
        path = str(tmp_path / folder)
        if not (tmp_path / folder).exists():
            shutil.copytree(tiny_model_dir, path)
        return {
            "what": "encoder",
            "processes": processes,
            "kimg": images / 1000,
            "folder": path,
            "images": str(dataset.path),
        }

    train(task("whole", 1, 16), task("parts", 2, 8), task("parts", 3, 16))
    checkpoints = [tmp_path / folder / "encoder-training/checkpoint.safetensors" for folder in ("whole", "parts")]
    assert furthest(*checkpoints, ("encoder.", "average.")) < 1e-5
    first, second = (
        [json.loads(line) for line in (tmp_path / folder / "encoder-training/stats.jsonl").read_text().splitlines()]
        for folder in ("whole", "parts")
    )
    assert [line["kimg"] for line in first] == [line["kimg"] for line in second]
    for one, other in zip(first, second, strict=True):
        losses = {name for name in one if name.startswith("loss")}
        assert losses
        assert {name: other[name] for name in losses} == pytest.approx({name: one[name] for name in losses}, rel=1e-5)


def children_of(process: int) -> list[int]:
    """The processes that this one started."""
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def wait_for(what: Callable[[], Any], seconds: float) -> Any:
    """What it says as soon as it says anything."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError(f"nothing in {seconds} s")


ENDLESS = ["--batch", "8", "--dim", "16", "--channel-base", "128", "--channel-max", "16", "--grow-from", "0"]
ENDLESS += ["--kimg", "1000", "--snapshot-kimg", "0.04", "--device", "cpu", "--precision", "fp32"]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")


@LINUX
@pytest.mark.parametrize("launched", [True, False], ids=["by the launcher", "alone"])
def test_one_that_is_killed_ends_the_others_with_a_sentence(dataset: Dataset, tmp_path: Path, launched: bool) -> None:
    command = [sys.executable, "-m", "cxredit_cli", "train-gan", str(dataset.path), "-o", str(tmp_path / "m"), *ENDLESS]
    if launched:
        parent = subprocess.Popen(
            [*command, "--gpus", "2"], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        processes, other = [parent], parent
    else:
        same = {**ENVIRONMENT, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
        processes = [
            subprocess.Popen(
                command,
                env={**same, "RANK": rank, "LOCAL_RANK": rank},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in "01"
        ]
        other = processes[1]
    try:
        wait_for((tmp_path / "m/training/checkpoint.safetensors").exists, 120)
        victim = children_of(parent.pid)[0] if launched else processes[0].pid
        os.kill(victim, signal.SIGKILL)
        begun = time.monotonic()
        _, said = other.communicate(timeout=60)
        assert time.monotonic() - begun < 30
        assert other.returncode == 1
        assert said.count("cxredit: Another process of this work has ended") == 1, said
        assert "Traceback" not in said
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_every_image_is_in_one_part_and_groups_stay_together() -> None:
    batch = torch.arange(24.0)
    for processes in (1, 2, 3, 4, 6):
        for most in (None, 4, 8):
            parts = [part for rank in range(processes) for part in parts_of(24, 4, rank, processes, most)]
            assert torch.cat([part.take(batch) for part in parts]).sort().values.tolist() == batch.tolist()
            assert all(part.indices() == part.take(batch).tolist() for part in parts)
            assert sum(part.share for part in parts) == pytest.approx(1)
            assert sum(part.opening for part in parts) == sum(part.closing for part in parts) == processes
            assert all(len(part) <= (most or 24) for part in parts)
    features = torch.randn(24, 3, 4, 4)
    whole = minibatch_std(features, 4)
    for part in parts_of(24, 4, 1, 3, 4):
        torch.testing.assert_close(minibatch_std(part.take(features), 4), part.take(whole))


@pytest.mark.parametrize(
    ("whole", "size", "processes", "most", "words"),
    [
        (12, 4, 4, None, "gives work to 3 processes, but 4 were started"),
        (10, 4, 2, None, "multiple of 4"),
        (8, 4, 2, 2, "--batch-gpu must be at least 4"),
    ],
)
def test_what_cannot_be_split_is_refused(whole: int, size: int, processes: int, most: int | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parts_of(whole, size, 0, processes, most)
