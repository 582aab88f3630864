"""The example scripts, run as a user runs them, on a tiny configuration."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxredit_cli.latent.strengths import parse_strengths, parse_sweep
from cxredit_cli.storage.codes import read_codes
from cxredit_cli.storage.directions import Direction, read_direction, write_direction
from cxredit_cli.storage.models import load_model

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the examples are bash scripts")


def environment(**variables: str) -> dict[str, str]:
    """The caller's, with this interpreter's `cxredit` first on the path and one thread."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **variables}


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.sh")), ids=lambda script: script.name)
def test_sweeps_and_strengths_in_scripts_can_be_read(script: Path) -> None:
    text = script.read_text()
    for sweep in re.findall(r"(?:--sweep |SWEEP:?-)(-?[\d.]+:\S+?)[}\s]", text):
        assert parse_sweep(sweep)
    assert "sweep" not in text.lower() or re.search(r"(?:--sweep |SWEEP:?-)-?[\d.]+:", text)
    for strengths in re.findall(r"--strength (-?[\d.,-]+)\s", text):
        assert parse_strengths(strengths)


def test_the_whole_path_of_the_paper(data: Path, tmp_path: Path) -> None:
    tiny = environment(
        IMAGES=str(data / "nih"),
        LABELS=str(data / "nih" / "labels.csv"),
        WORK=str(tmp_path / "paper"),
        RESOLUTION="32",
        VIEW="PA",
        VAL_FRACTION="0.4",
        GAN_KIMG="0.064",
        GAN_OPTIONS="--grow-from 0 --batch 8 --dim 16 --channel-base 128 --channel-max 16",
        ENCODER_KIMG="0.032",
        ENCODER_OPTIONS="--depth 18 --width 8 --batch 8",
        STEPS="3",
        NEGATIVES="5",
        LDA_OPTIONS="--folds 2 --permutations 19",
        EDITED="2",
        SWEEP="-2:2:3",
        HEALTHY=str(data / "nih" / "00001338_000.png"),
        DISEASED=str(data / "nih" / "00001373_006.png"),
    )
    finished = subprocess.run([EXAMPLES / "reproduce_paper.sh"], env=tiny, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr

    paper = tmp_path / "paper"
    model = load_model(paper / "model")
    assert model.encoder is not None
    for name in ("pair.h5", "lda.h5"):
        direction = read_direction(paper / name)
        assert direction.name == "Cardiomegaly"
        assert direction.fingerprint == model.fingerprint
    assert {"in_sample", "held_out"} <= read_direction(paper / "lda.h5").statistics.keys()
    sources = read_codes(paper / "codes.h5").source
    for folder in ("edited-by-pair", "edited-by-lda"):
        rows = manifest(paper / folder)
        assert [(row["source"], row["strength"]) for row in rows] == [
            (source, strength) for source in sorted(sources) for strength in ("-2", "+0", "+2")
        ]
    assert Image.open(paper / "reconstructions.png").size[0] >= 32
    assert (paper / "lda.png").exists()


def test_a_night_of_edits_is_killed_and_goes_on(data: Path, tmp_path: Path, tiny_model_dir: Path) -> None:
    scans, output = tmp_path / "scans", tmp_path / "edited"
    shutil.copytree(data / "nih", scans)
    whole = (scans / "00001336_000.png").read_bytes()
    (scans / "broken.png").write_bytes(whole[: len(whole) // 2])
    good = sorted(path.name for path in scans.glob("0*.png"))
    fingerprint = load_model(tiny_model_dir, parts=()).fingerprint
    vector = np.full((1, 32), 32**-0.5, dtype=np.float32)
    write_direction(tmp_path / "direction.h5", Direction(vector, "test", "by hand", fingerprint))
    options = ["--model", str(tiny_model_dir), "--direction", str(tmp_path / "direction.h5"), "--strength", "2"]
    command = [EXAMPLES / "edit_overnight.sh", scans, output, *options, "--batch", "1", "--steps", "30"]

    first = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while len(list(output.glob("*_sheet.png"))) < 3:
        assert first.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline, "it edits nothing"
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    before = {path.name: path.stat().st_mtime_ns for path in output.glob("*_sheet.png")}
    assert len(before) < len(good)

    second = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert second.returncode == 1  # the broken one
    assert [row["source"] for row in manifest(output)] == good
    assert sorted(path.name for path in output.glob("*_+2.png")) == [f"{Path(name).stem}_+2.png" for name in good]
    for path in output.glob("*.png"):
        Image.open(path).load()
    # What the first run had finished is kept; at most the scan that was at work is done again.
    kept = [name for name, changed in before.items() if (output / name).stat().st_mtime_ns == changed]
    assert len(kept) >= len(before) - 1
    with (output / "failed.csv").open(newline="") as file:
        failed = list(csv.DictReader(file))
    assert [row["source"] for row in failed] == ["broken.png"]
    assert "1 failed\n  broken.png: " in second.stdout

    (scans / "broken.png").unlink()
    third = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert third.returncode == 0, third.stderr
    assert f"0 scans edited now, 0 refused, {len(good)} were done before, 0 failed" in third.stdout


def test_wrong_options_are_said_and_end_the_night(tmp_path: Path) -> None:
    command = [EXAMPLES / "edit_overnight.sh", tmp_path / "nothing", tmp_path / "edited"]
    finished = subprocess.run(command, env=environment(), capture_output=True, text=True)

    assert finished.returncode == 2
    assert "nothing" in finished.stderr
    assert "nothing" in (tmp_path / "edited" / "log.txt").read_text()


def manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("script", ["train_slurm.sh", "train_two_nodes.sh"])
def test_several_machines_are_started_with_words_that_torchrun_knows(script: str, tmp_path: Path) -> None:
    from torch.distributed.run import get_args_parser

    for name, body in {
        "scontrol": "printf 'one\\ntwo\\n'",
        "srun": 'exec "$@"',
        "torchrun": "printf '%s\\n' \"$@\"",
    }.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {"SLURM_JOB_NODELIST": "one,two", "SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "8", "SLURM_JOB_ID": "7"}
    first = ["one"] if script == "train_two_nodes.sh" else []
    finished = subprocess.run(
        [EXAMPLES / script, *first, "dataset.h5", "model", "--batch", "512"],
        env=environment(**slurm) | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    asked = get_args_parser().parse_args(finished.stdout.splitlines())
    assert (asked.nnodes, asked.nproc_per_node, asked.rdzv_endpoint) == ("2", "8", "one:29500")
    assert (asked.module, asked.training_script) == (True, "cxredit_cli")
    assert asked.training_script_args == ["train-gan", "dataset.h5", "--output", "model", "--batch", "512"]
