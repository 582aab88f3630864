"""The script behind the table of docs/results/separability.md that says what LDA had better look at."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from cxredit_cli.latent import visible
from cxredit_cli.storage.codes import CodesHeader
from cxredit_cli.storage.models import load_model
from cxredit_cli.storage.write_codes import CodesWriter

SCRIPT = Path(__file__).parents[2] / "examples" / "compare_metrics.py"


def test_a_column_for_each_file_and_a_row_for_each_way(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(visible, "CODES", 32)
    monkeypatch.setattr(visible, "PILOT", 16)
    monkeypatch.chdir(tmp_path)
    model, ill = load_model(tiny_model_dir), np.arange(48) % 3 == 0
    names = [f"{index}.png" for index in range(48)]
    for space, layers in (("w", 1), ("w+", model.generator.num_ws)):
        w = np.random.default_rng(0).standard_normal((48, layers, 32)) + 3 * ill[:, None, None]
        header = CodesHeader(model.fingerprint, "hybrid", space, layers, 32, 32, steps=50)
        with CodesWriter(Path(f"{space}.h5"), header) as writer:
            nothing = np.zeros(48, np.float32)
            writer.append(names, w.astype(np.float32), nothing, nothing, np.zeros((48, 32, 32), np.uint8))
    rows = [f"{name},{'Large' if bad else 'Small'},p{name}" for name, bad in zip(names, ill, strict=True)]
    Path("labels.csv").write_text("\n".join(["name,labels,patient_id", *rows]) + "\n")
    options = ["w.h5", "w+.h5", "--labels", "labels.csv", "--positive", "Large", "--negative", "Small"]
    options += ["--model", str(tiny_model_dir), "--permutations", "19", "--draws", "2"]
    monkeypatch.setattr(sys, "argv", ["x", *options])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    header, rule, *table = capsys.readouterr().out.splitlines()
    assert header.count("hybrid, 50 steps, 16 of 16 against 32 of 32") == 2
    assert rule == "|---|---|---|"
    assert [line.split("|")[1].strip() for line in table] == [
        "codes, shrinkage by Ledoit and Wolf",
        "codes, shrinkage chosen",
        "picture",
        "anatomy",
    ]
    for line in table:
        for cell in line.split("|")[2:4]:
            assert float(cell.split()[0]) > 0.9
            assert "p 0.050" in cell
