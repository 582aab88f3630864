"""`cxredit doctor`: what it finds on this machine, and what it says when something is missing."""

import json
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from pydicom.pixels import get_decoder
from pydicom.uid import JPEG2000Lossless
from typer.testing import CliRunner

from cxredit_cli.app import app
from cxredit_cli.devices import device_name
from cxredit_cli.processor import cpu_has_bfloat16
from cxredit_cli.storage import models


def doctor(*arguments: str) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(app, ["doctor", "--json", *arguments])
    return result.exit_code, json.loads(result.stdout)


def test_it_finds_packages_devices_decoders_and_the_model(tiny_model_dir: Path) -> None:
    exit_code, found = doctor("--model", str(tiny_model_dir))

    assert exit_code == 0
    assert found["works"] is True
    assert found["versions"]["torch"] == metadata.version("torch")
    assert found["cpu"]["cores"] >= 1
    assert found["device"]
    assert found["precision"] in ("fp32", "fp16", "bf16")
    assert {"JPEG Baseline (Process 1)", "RLE Lossless"} <= {decoder["syntax"] for decoder in found["decoders"]}
    assert all(decoder["reads"] for decoder in found["decoders"])
    assert found["model"]["fingerprint"] == models.load_model(tiny_model_dir, parts=()).fingerprint
    assert found["model"]["resolution"] == 32
    # The tiny model has no encoder and no direction, and apply and invert do without.
    remedies = {missing["remedy"] for missing in found["missing"]}
    assert {"cxredit train-encoder", "cxredit direction ORIGINAL EDITED"} <= remedies


def test_the_processor_is_known_without_torch() -> None:
    program = (
        "import sys; sys.modules['torch'] = None; from cxredit_cli.diagnosis import diagnose; "
        "cpu = diagnose(None).cpu; print(cpu.model, cpu.bfloat16, sep='|')"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    model, bfloat16 = finished.stdout.splitlines()[-1].split("|")
    assert model == device_name(torch.device("cpu"))
    assert bfloat16 == str(cpu_has_bfloat16())


def test_the_text_says_the_same(tiny_model_dir: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", "--model", str(tiny_model_dir)])

    assert result.exit_code == 0
    assert f"torch {metadata.version('torch')}" in result.stdout
    assert models.load_model(tiny_model_dir, parts=()).fingerprint in result.stdout
    assert "everything needed works" in result.stdout


def test_weights_of_another_model_are_found_out(tiny_model_dir: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model_dir, tmp_path / "model")
    info = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**info, "fingerprint": "0" * 16}))

    exit_code, found = doctor("--model", str(folder))

    assert exit_code == 1
    assert any("0" * 16 in missing["consequence"] and missing["needed"] for missing in found["missing"])


def test_no_model_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "BUNDLED", tmp_path / "nothing")

    exit_code, found = doctor()

    assert exit_code == 1
    assert found["model"] is None
    assert any(missing["remedy"] == "cxredit train-gan" for missing in found["missing"])


def test_a_missing_package_comes_with_its_command(tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = metadata.version

    def without_h5py(name: str) -> str:
        if name == "h5py":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", without_h5py)

    exit_code, found = doctor("--model", str(tiny_model_dir))

    assert exit_code == 1
    assert found["versions"]["h5py"] is None
    assert any("pip install" in missing["remedy"] and "h5py" in missing["remedy"] for missing in found["missing"])


def test_a_missing_plugin_is_no_failure(tiny_model_dir: Path) -> None:
    decoder = get_decoder(JPEG2000Lossless)
    decoder.remove_plugin("pylibjpeg")
    try:
        exit_code, found = doctor("--model", str(tiny_model_dir))
    finally:
        decoder.add_plugin("pylibjpeg", ("pydicom.pixels.decoders.pylibjpeg", "_decode_frame"))

    assert exit_code == 0
    assert [each["syntax"] for each in found["decoders"] if not each["reads"]] == ["JPEG 2000 (Lossless Only)"]
    assert "JPEG 2000 (Lossless Only)" in next(each["consequence"] for each in found["missing"])
