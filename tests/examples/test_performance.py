"""The scripts that measure performance, with stand-ins for what takes long or is not at hand."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from cxredit_cli.benchmarks.run_cases import BenchReport, Result
from cxredit_cli.storage.codes import CodesHeader
from cxredit_cli.storage.write_codes import CodesWriter

EXAMPLES = Path(__file__).parents[2] / "examples"

# As far as the comparison uses it, with networks of one layer.
NETWORKS = """
import torch

class Generator(torch.nn.Module):
    def __init__(self, z_dim, w_dim, mapping_kwargs, synthesis_kwargs, c_dim, img_resolution, img_channels):
        super().__init__()
        self.z_dim, self.w_dim, self.num_ws, self.img_resolution = z_dim, w_dim, 2, img_resolution
        self.mapping, self.synthesis = torch.nn.Linear(z_dim, w_dim), Synthesis(w_dim, img_resolution)

class Synthesis(torch.nn.Module):
    def __init__(self, w_dim, side):
        super().__init__()
        self.layer, self.side = torch.nn.Linear(w_dim, side * side), side

    def forward(self, ws, noise_mode="random"):
        return self.layer(ws[:, 0]).reshape(-1, 1, self.side, self.side)

class Discriminator(torch.nn.Module):
    def __init__(self, c_dim, img_resolution, img_channels, channel_base, channel_max, num_fp16_res, conv_clamp,
                 epilogue_kwargs):
        super().__init__()
        self.layer = torch.nn.Linear(img_resolution**2, 1)

    def forward(self, image, c):
        return self.layer(image.flatten(1))
"""
LOSS = """
class StyleGAN2Loss:
    def __init__(self, device, mapping, synthesis, d, augment_pipe, style_mixing_prob, r1_gamma, pl_weight):
        self.mapping, self.synthesis, self.d = mapping, synthesis, d

    def accumulate_gradients(self, phase, real_img, real_c, gen_z, gen_c, sync, gain):
        assert phase in ("Gmain", "Greg", "Dmain", "Dreg")
        self.d(self.synthesis(self.mapping(gen_z)[:, None]), gen_c).mean().backward()
"""


def run(*command: object, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(EXAMPLES.parent), **variables}
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment)


def test_beside_another_implementation(tmp_path: Path) -> None:
    for folder, name, text in [
        ("training", "networks", NETWORKS),
        ("training", "loss", LOSS),
        ("torch_utils/ops", "conv2d_gradfix", "enabled = False"),
        ("torch_utils/ops", "bias_act", "_plugin = None"),
        ("torch_utils/ops", "upfirdn2d", "_plugin = None"),
    ]:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / f"{name}.py").write_text(text)
    size = ["--resolution", 16, "--channel-base", 64, "--batch", 2, "--seconds", 0, "--device", "cpu"]
    done = run(sys.executable, EXAMPLES / "compare_stylegan2_ada.py", tmp_path, *size)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["its_kernels"] is False
    assert "not in use" in done.stderr
    assert [result["name"] for result in document["results"]] == ["generator_forward", "training_iteration"]
    for result in document["results"]:
        assert result["ratio"] == pytest.approx(result["stylegan2_ada_s"] / result["median_s"])


def test_a_folder_that_is_no_checkout_is_said(tmp_path: Path) -> None:
    done = run(sys.executable, EXAMPLES / "compare_stylegan2_ada.py", tmp_path)
    assert done.returncode == 2
    assert "no clone of stylegan2-ada-pytorch" in done.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="a bash script")
def test_one_command_measures_what_is_missing_and_tabulates_all(tmp_path: Path) -> None:
    result = {"name": "bias_act", "dtype": "float32", "shape": [8, 128], "median_s": 0.5, "reference_s": 1.0}
    result |= {"ratio": 2.0, "img_per_s": 16.0, "bandwidth_share": 0.25, "peak_share": None}
    settings = {"resolution": 64, "batch": 8, "channel_base": 16384, "channel_max": 512}
    document = {"device": "a processor", "torch": "2", "reference": "r", "settings": settings, "results": [result]}
    document |= {"copy_bandwidth": 1e10, "matrix_peak": {"float32": 1e11}}
    stand_in = tmp_path / "bench"
    to_file = "while [ $1 != -o ]; do shift; done\ncat >$2"
    stand_in.write_text(f"#!/bin/sh\necho \"$@\" >>{tmp_path}/calls\n{to_file} <<'E'\n{json.dumps(document)}\nE\n")
    stand_in.chmod(0o755)
    variables = {"CXREDIT": str(stand_in), "PYTHON": sys.executable, "OUTPUT": str(tmp_path / "out"), "DEVICE": "cpu"}
    first = run(EXAMPLES / "measure_performance.sh", **variables)
    assert first.returncode == 0, first.stderr
    calls = (tmp_path / "calls").read_text().splitlines()
    assert all(call.startswith("bench --device cpu") and " -o " in call for call in calls)
    assert "| `bias_act` | 500 |  | 1000 | 2.00 |  | 25% |  |" in first.stdout
    assert json.loads((tmp_path / "out/tables/cpu-operations.json").read_text())["data"] == "a processor, torch 2."
    assert (tmp_path / "out" / "tables.md").read_text() == first.stdout

    next((tmp_path / "out").glob("*.json")).unlink()
    assert run(EXAMPLES / "measure_performance.sh", **variables).returncode == 0
    assert len((tmp_path / "calls").read_text().splitlines()) == len(calls) + 1


def test_the_first_minutes_on_a_gpu_go_on_after_a_stage_that_fails_or_takes_too_long(tmp_path: Path) -> None:
    # Stands in for cxredit: says what it was asked; synthesis never ends, the doctor finds something wrong.
    stand_in = tmp_path / "cxredit"
    lines = ('echo "$@"', "[[ $* == doctor ]] && exit 3", "[[ $* == *generator* ]] && exec sleep 60", "exit 0")
    stand_in.write_text("\n".join(("#!/usr/bin/env bash", *lines)) + "\n")
    stand_in.chmod(0o755)
    # A fortieth of the limits.
    short = (
        (EXAMPLES / "first_gpu.sh").read_text().replace('"$limit" "$@"', '"$(awk "BEGIN { print $limit / 40 }")" "$@"')
    )
    assert "$limit / 40" in short
    (tmp_path / "first_gpu.sh").write_text(short)
    settings = {"CXREDIT": str(stand_in), "PYTHON": "true", "OUTPUT": str(tmp_path / "out"), "INIT_FROM": "old model"}
    finished = subprocess.run(
        ["bash", tmp_path / "first_gpu.sh", "data set.h5"],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert finished.returncode == 0, finished.stderr
    summary = (tmp_path / "out" / "summary.txt").read_text()
    assert finished.stdout == summary
    outcomes = dict(line.split(": ") for line in summary.splitlines())
    assert outcomes.pop("doctor").startswith("ended with 3 ")
    assert outcomes.pop("synthesis").startswith("stopped at its limit of 40 s ")
    assert list(outcomes) == [
        "tests",
        "resampling",
        "activation",
        "convolution",
        "inversion-step",
        "training-iteration",
        "training-iteration-of-small-networks",
        "films",
        "training",
    ]
    assert all(outcome.startswith("done ") for outcome in outcomes.values())
    training = (tmp_path / "out" / "training.txt").read_text()
    assert training.startswith("train-gan data set.h5 ")
    assert "--init-from old model" in training
    minutes = float(training.split("--minutes ")[1])
    assert 14 < minutes < 14.7


def bench_result(name: str, seconds: float, bandwidth: float | None) -> Result:
    """One row of `cxredit bench`, beside a textbook form that takes 8 ms."""
    ratio = 0.008 / seconds
    return Result(name, "float16", [2, 4, 16, 16], seconds, 0.008, ratio, 230.4, 0.0, None, bandwidth, None, None)


def test_what_the_first_minutes_on_a_gpu_left_becomes_tables(tmp_path: Path) -> None:
    seconds = {"plain": 0.1, "with path length": 0.2, "with path length and R1": 0.3}
    parts = {part: {"share": 0.5, "median_s": took, "reference_s": 1.0} for part, took in seconds.items()}
    for file, *results in (
        ("activation", bench_result("bias_act", 0.002, 0.82), bench_result("bias_act_forward_backward", 0.004, 0.41)),
        ("training-iteration", replace(bench_result("training_iteration", 0.1, None), peak_share=0.5, parts=parts)),
    ):
        settings = {"resolution": 16, "batch": 2, "channel_base": 64, "channel_max": 512}
        reference = "textbook form in the dtype of the fast path, in the same process"
        report = BenchReport("a graphics card", 1, "2.11", reference, 4e12, {"float16": 7e14}, dict(settings), results)
        (tmp_path / f"{file}.json").write_text(json.dumps(asdict(report)))
    (tmp_path / "synthesis.json").touch()  # of a stage that was stopped
    (tmp_path / "summary.txt").write_text(
        "synthesis: stopped at its limit of 40 s after 40.1 s\nfilms: done after 21.5 s\n"
    )
    header = CodesHeader("0123456789abcdef", "hybrid", "w+", 2, 3, 8, steps=150, model="a model")
    with CodesWriter(tmp_path / "codes.h5", header) as writer:
        for psnr, ssim in ((30.0, 0.8), (32.2, 0.9)):
            found, original = np.array([[psnr], [ssim]], np.float32), np.zeros((1, 8, 8), np.uint8)
            writer.append([f"film of {psnr}"], np.zeros((1, 2, 3), np.float32), found[0], found[1], original)

    done = run(sys.executable, EXAMPLES.parent / "docs/tools/performance_tables.py", tmp_path, tmp_path / "tables")
    assert done.returncode == 0, done.stderr
    made = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "tables").iterdir()}
    assert {name: table["rows"] for name, table in made.items()} == {
        "gpu": [["`bias_act`; with gradient", "2 x 16x16", "fp16", "2; 4", "8; 8", "4.0; 2.0", "82%; 41%"]],
        "gpu-training": [["2, 64, fp16", "100", "200", "300", "230"]],
        "gpu-inversion": [["2", "21.5", "31.1 dB", "0.850"]],
    }
    assert {table["command"] for table in made.values()} == {"examples/first_gpu.sh"}
    assert made["gpu-inversion"]["model"] == "a model [0123456789abcdef]"
    limits = "Channel base 64. Copies at 4,000 GB/s, matrix products at 700 TFLOP/s."
    assert made["gpu"]["data"] == f"a graphics card, torch 2.11. {limits}"
    assert "hybrid, W+, 150 steps; a graphics card" in made["gpu-inversion"]["data"]
