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

from cxredit_cli.errors import InputError
from cxredit_cli.networks.discriminator import minibatch_std
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.training.parts import parts_of

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
ROOT = Path(__file__).parents[2]


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


RUNS = {"1": (1, None), "4": (4, None), "2 by parts": (2, 3)}  # processes, --batch-gpu
WEIGHTS = ("g.", "d.", "ema.", "pl_mean", "augment_p")
ENDLESS = ["--batch", "8", "--dim", "16", "--channel-base", "128", "--channel-max", "16", "--grow-from", "0"]
ENDLESS += ["--kimg", "1000", "--snapshot-kimg", "0.04", "--device", "cpu", "--precision", "fp32"]


@pytest.fixture(scope="module")
def runs(dataset: Dataset, tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All trainings of these tests, one after the other, by one process that has imported what they need."""
    folder = tmp_path_factory.mktemp("runs")
    tasks: list[dict[str, Any]] = []

    def task(what: str, name: str, processes: int, **more: Any) -> None:
        same = {"what": what, "folder": str(folder / name), "processes": processes, "images": str(dataset.path)}
        tasks.append(same | more)

    for name, (processes, batch_gpu) in RUNS.items():
        task("iterations", name, processes, count=20, batch_gpu=batch_gpu)
    task("gan", "gan whole", 1, kimg=0.18)  # it grows after 4 of 15 iterations
    for processes, kimg in ((2, 0.072), (1, 0.132), (3, 0.18)):  # of the three one has two groups and the others one
        task("gan", "gan parts", processes, kimg=kimg)
    for name in ("encoder whole", "encoder parts", "timed"):
        shutil.copytree(tiny_model_dir, folder / name)
    task("encoder", "encoder whole", 1, kimg=0.016)
    task("encoder", "encoder parts", 2, kimg=0.008)
    task("encoder", "encoder parts", 3, kimg=0.016)
    task("timed", "timed", 2)
    (folder / "killed").mkdir()
    task("killed", "killed", 2, words=["train-gan", str(dataset.path), "-o", "m", *ENDLESS])
    command = [sys.executable, "-m", "tests.training.several_processes", json.dumps(tasks)]
    finished = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=600)
    assert finished.returncode == 0, finished.stderr
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
        assert other | made_of_gradients == pytest.approx(one, rel=1e-5, abs=1e-7)
    assert furthest(runs / "1/run.safetensors", runs / name / "run.safetensors", WEIGHTS) < 1e-5
    assert furthest(runs / "1/pictures.safetensors", runs / name / "pictures.safetensors") < 1e-5


def test_a_run_goes_on_in_another_number_of_processes(runs: Path) -> None:
    checkpoints = [runs / f"gan {name}/training/checkpoint.safetensors" for name in ("whole", "parts")]
    assert furthest(*checkpoints, WEIGHTS) < 1e-5
    assert json.loads((runs / "gan parts/model.json").read_text())["training"]["processes"] == 3


def test_an_encoder_is_trained_by_several_as_by_one(runs: Path) -> None:
    folders = [runs / f"encoder {name}/encoder-training" for name in ("whole", "parts")]
    assert furthest(*(folder / "checkpoint.safetensors" for folder in folders), ("encoder.", "average.")) < 1e-5
    first, second = (
        [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()] for folder in folders
    )
    assert [line["kimg"] for line in first] == [line["kimg"] for line in second]
    for one, other in zip(first, second, strict=True):
        losses = {name for name in one if name.startswith("loss")}
        assert losses
        assert {name: other[name] for name in losses} == pytest.approx({name: one[name] for name in losses}, rel=1e-5)


def test_a_learning_rate_that_falls_with_time_is_that_of_the_first_in_all(runs: Path) -> None:
    first, second = (json.loads((runs / f"timed/shares-{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert len(set(first)) == len(first) > 1


def check_sentence(said: str) -> None:
    assert said.count("cxredit: Another process of this work has ended") == 1, said
    assert "Traceback" not in said


def test_where_the_first_is_killed_the_other_ends_with_a_sentence(runs: Path) -> None:
    ended = json.loads((runs / "killed/ended.json").read_text())
    assert ended["codes"] == [-signal.SIGKILL, 1]
    assert ended["seconds"] < 30
    check_sentence((runs / "killed/1.err").read_text())


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


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_one_that_is_killed_under_the_launcher_ends_all(tiny_model_dir: Path, tmp_path: Path) -> None:
    words = ["generate", "-n", "100000", "--no-grid", "--batch", "2", "--device", "cpu", "--model", str(tiny_model_dir)]
    command = [sys.executable, "-m", "cxredit_cli", *words, "-o", str(tmp_path), "--gpus", "2"]
    parent = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    try:
        wait_for((tmp_path / "0_00010.png").exists, 120)
        os.kill(children_of(parent.pid)[0], signal.SIGKILL)
        begun = time.monotonic()
        _, said = parent.communicate(timeout=60)
        assert time.monotonic() - begun < 30
        assert parent.returncode == 1
        check_sentence(said)
    finally:
        parent.kill()
        parent.wait()


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
        (
            12,
            4,
            4,
            None,
            "groups of 4, .* work to 3 processes at most, but 4 were started; start 3, or use --batch 16.",
        ),
        (
            2,
            1,
            4,
            None,
            "A batch of 2 gives work to 2 processes at most, but 4 were started; start 2, or use --batch 4.",
        ),
        (10, 4, 2, None, "multiple of 4"),
        (8, 4, 2, 2, "--batch-gpu must be at least 4"),
    ],
)
def test_what_cannot_be_split_is_refused(whole: int, size: int, processes: int, most: int | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parts_of(whole, size, 0, processes, most)
