"""`cxredit bench` at a tiny size."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cxredit_cli.app import app

TINY = ("--resolution", "16", "--batch", "2", "--channel-base", "64", "--channel-max", "8", "--seconds", "0")
FIELDS = {"name", "dtype", "shape", "median_s", "reference_s", "ratio", "img_per_s", "max_error"}


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["bench", *TINY, *arguments, "--device", "cpu"])


def document(*arguments: str) -> dict[str, Any]:
    result = bench("--json", *arguments)
    assert result.exit_code == 0, result.output
    parsed: dict[str, Any] = json.loads(result.stdout)
    return parsed


def test_everything_is_measured_beside_its_reference() -> None:
    report = document("--precision", "fp32", "--same-process")
    names = [result["name"] for result in report["results"]]
    assert len(set(names)) == len(names)
    for family in ("upfirdn2d", "modulated_conv2d", "bias_act"):
        assert any(name.startswith(family) for name in names)
    assert {"generator_forward", "generator_forward_backward", "training_iteration", "inversion_step"} <= set(names)
    for result in report["results"]:
        assert result.keys() >= FIELDS
        assert result["ratio"] == pytest.approx(result["reference_s"] / result["median_s"])
        assert result["img_per_s"] == pytest.approx(2 / result["median_s"])
        assert result["max_error"] < 1e-4
        assert result["dtype"] == "float32"
        assert result["shape"][0] == 2
    assert report["device"]
    assert report["threads"] >= 1
    assert report["settings"]["channel_base"] == 64


def test_training_is_the_weighted_mean_of_its_parts() -> None:
    (result,) = document("--only", "training_iteration", "--precision", "bf16")["results"]
    assert result["dtype"] == "bfloat16"
    parts = result["parts"].values()
    assert sum(part["share"] for part in parts) == pytest.approx(1)
    for key in ("median_s", "reference_s"):
        assert result[key] == pytest.approx(sum(part["share"] * part[key] for part in parts))


def test_names_are_chosen_and_shown_in_a_table() -> None:
    result = bench("--only", "bias*", "--only", "upfirdn2d_up2")
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines()]
    assert [row[0] for row in rows[:4]] == ["name", "upfirdn2d_up2", "bias_act", "bias_act_forward_backward"]
    assert all("…" not in line for line in result.stdout.splitlines())
    assert "textbook form in float32" in result.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--resolution", "48"], "power of two"),
        (["--resolution", "8"], "at least 16"),
        (["--only", "upfirdn3d"], "upfirdn2d_up2"),
        (["--precision", "fp16"], "needs a GPU"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(options: list[str], words: str) -> None:
    result = bench(*options)
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_fast_path_that_is_wrong_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    from cxredit_cli.ops import bias_act

    right = bias_act.scale_out_torch
    monkeypatch.setattr(bias_act, "scale_out_torch", lambda *arguments: right(*arguments) * 1.01)
    result = bench("--only", "bias_act")
    assert result.exit_code == 1
    assert "bias_act" in result.stderr


def test_what_was_measured_is_not_lost_when_it_is_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from cxredit_cli.benchmarks import run_cases

    measure = run_cases.measure

    def stopped(case: Any, *how: Any) -> Any:
        if case.name != "bias_act":
            raise KeyboardInterrupt
        return measure(case, *how)

    monkeypatch.setattr(run_cases, "measure", stopped)
    file = tmp_path / "bench.json"
    shown = bench("--only", "bias_act*", "--same-process", "-o", str(file))
    assert shown.exit_code != 0
    assert [line.split()[0] for line in shown.stdout.splitlines()[:2]] == ["name", "bias_act"]
    assert "textbook form in float32" in shown.stdout
    printed = bench("--only", "bias_act*", "--same-process", "--json")
    for text in (file.read_text(), printed.stdout):
        assert [result["name"] for result in json.loads(text)["results"]] == ["bias_act"]
