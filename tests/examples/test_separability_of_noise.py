"""The script behind docs/explanation/separability.md: noise separates in sample, and not held out."""

import re
import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "separability_of_noise.py"


def test_noise_separates_in_sample_and_not_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "noise.png"
    monkeypatch.setattr(sys, "argv", ["x", "--repeats", "1", "--permutations", "50", "--plot", str(plot)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    printed = capsys.readouterr().out
    rows = re.findall(r"^\| (\d+) \| ([\d.]+) \(.*?\) \| (-?[\d.]+) \(", printed, flags=re.MULTILINE)
    assert [int(row[0]) for row in rows] == [175, 100, 50, 35, 25]
    in_sample = [float(row[1]) for row in rows]
    assert 2.5 < in_sample[0] < in_sample[-1] < 7  # the rarer the class, the larger the figure
    assert all(abs(float(row[2])) < 0.8 for row in rows)
    assert plot.stat().st_size < 100_000
