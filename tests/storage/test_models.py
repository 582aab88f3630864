"""Model folders: what is saved comes back, what is wrong is one sentence."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from cxredit_cli.errors import InputError
from cxredit_cli.storage.models import DISCRIMINATOR, GENERATOR, fingerprint, load_model, save_generator


@pytest.fixture
def folder(tiny_model_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))


def test_networks_come_back(folder: Path) -> None:
    model = load_model(folder, parts=(GENERATOR, DISCRIMINATOR))
    again = load_model(folder)
    z = torch.randn(2, 32)
    assert torch.equal(model.generator(z), again.generator(z))
    assert model.discriminator is not None
    assert again.discriminator is None
    assert model.fingerprint == again.fingerprint == model.info["fingerprint"]
    assert not any(p.requires_grad for p in model.generator.parameters())


def test_half_precision_on_disk_changes_little_and_has_its_own_fingerprint(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder)
    save_generator(tmp_path / "half", model.generator, {}, dtype=torch.float16)
    half = load_model(tmp_path / "half")
    z = torch.randn(2, 32)
    assert (half.generator(z) - model.generator(z)).abs().max() < 0.02
    assert half.fingerprint != model.fingerprint


def test_fingerprint_sees_values_names_and_types() -> None:
    base = fingerprint({"a": torch.zeros(3)})
    assert base == fingerprint({"a": torch.zeros(3)})
    others = [{"b": torch.zeros(3)}, {"a": torch.zeros(4)}, {"a": torch.zeros(3).half()}, {"a": torch.ones(3)}]
    assert all(fingerprint(other) != base for other in others)


def test_wrong_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.json"):
        load_model(tmp_path / "nothing")
    info = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**info, "generator": {**info["generator"], "w_dim": 16}}))
    with pytest.raises(InputError, match="do not fit"):
        load_model(folder)
    (folder / "model.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        load_model(folder)


def test_truncated_weights_are_refused(folder: Path) -> None:
    path = folder / "generator.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="no whole safetensors"):
        load_model(folder)


def test_models_are_readable_by_whom_the_umask_allows(tiny_model_dir: Path) -> None:
    expected = 0o666 & ~(mask := os.umask(0o022))
    os.umask(mask)
    for path in (tiny_model_dir / "generator.safetensors", tiny_model_dir / "model.json"):
        assert path.stat().st_mode & 0o777 == expected
