"""The basis of the search: what it is of, that it helps, and that it is kept with the model."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cxredit_cli.inversion.curvature import FILE, SEED, basis, curvature, search_basis
from cxredit_cli.inversion.optimize import Settings, optimize
from cxredit_cli.networks.generator import random_z
from cxredit_cli.storage.models import Model, load_model


@pytest.fixture
def model(tiny_model_dir: Path, tmp_path: Path) -> Model:
    return load_model(Path(shutil.copytree(tiny_model_dir, tmp_path / "model")), parts=("generator",))


def test_the_curvature_is_that_of_the_squared_error(model: Model) -> None:
    generator = model.generator
    found = curvature(generator, codes=1)
    _, spread = generator.w_statistics()
    w = generator.mapping(random_z(1, generator.z_dim, SEED))[0]
    jacobian = torch.autograd.functional.jacobian(
        lambda delta: generator.synthesis((w + spread * delta)[None, None]).flatten(), torch.zeros(len(w))
    )
    expected = jacobian.T @ jacobian
    expected *= len(w) / expected.diagonal().sum()
    assert (found - expected).norm() < 0.1 * expected.norm()


def test_the_basis_levels_what_is_above_the_damping() -> None:
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1))).Q
    steep = turn @ torch.diag(torch.tensor([1000.0, 300.0, 100.0, 50.0, 30.0, 20.0])) @ turn.T
    levelled = torch.linalg.eigvalsh(basis(steep).T @ steep @ basis(steep))
    assert levelled.max() / levelled.min() < 3
    flat = basis(torch.diag(torch.tensor([1.0, 0.0])))
    assert torch.isfinite(flat).all()


def test_a_search_in_the_basis_gets_further_in_as_many_steps(model: Model) -> None:
    z = torch.randn(4, model.generator.z_dim, generator=torch.Generator().manual_seed(3))
    images = model.generator.synthesis(model.generator.mapping(z)[:, None])
    images = images / images.abs().max()
    settings = Settings(patience=None)
    plain = optimize(model.generator, images, steps=15, settings=settings)
    better = optimize(model.generator, images, steps=15, settings=settings, basis=search_basis(model))
    assert better.psnr.mean() > plain.psnr.mean()


def test_it_is_measured_once_and_kept_with_the_model(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    first = search_basis(model)
    assert (model.path / FILE).exists()
    monkeypatch.setattr("cxredit_cli.inversion.curvature.curvature", lambda generator: pytest.fail("measured again"))
    torch.testing.assert_close(search_basis(model), first, rtol=0, atol=0)


@pytest.mark.parametrize("damage", ["another generator", "cut short"])
def test_what_does_not_belong_to_the_generator_is_measured_again(model: Model, damage: str) -> None:
    first = search_basis(model)
    path = model.path / FILE
    if damage == "cut short":
        path.write_bytes(path.read_bytes()[:40])
    else:
        save_file({"curvature": torch.eye(len(first)).half()}, path, {"fingerprint": "0" * 16})
    # Kept in half precision: a last bit of a sum, which differs with the threads, may move an entry to the next half.
    torch.testing.assert_close(search_basis(model), first, rtol=0, atol=1e-3)
    with safe_open(path, "pt") as file:
        assert file.metadata()["fingerprint"] == model.fingerprint
