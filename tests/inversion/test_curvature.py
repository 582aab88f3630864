"""The basis of the search: what it is of, that it helps, and that it is kept with the model."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cxredit_cli.inversion.curvature import FILE, SEED, basis, curvature, curvature_by_layer, leading, search_basis
from cxredit_cli.inversion.encode import Space
from cxredit_cli.inversion.optimize import Settings, optimize
from cxredit_cli.networks.generator import random_z
from cxredit_cli.storage.models import Model, load_model

SPACES: tuple[Space, ...] = ("w", "w+")


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


def test_the_curvature_of_each_layer_is_that_of_the_squared_error(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = model.generator
    mean, spread = generator.w_statistics()
    code = generator.mapping(random_z(1, generator.z_dim, SEED))
    monkeypatch.setattr(generator, "w_statistics", lambda: (mean, spread))
    monkeypatch.setattr(generator.mapping, "forward", lambda z: code.expand(len(z), -1))  # the curvature at one code
    jacobian = torch.autograd.functional.jacobian(
        lambda delta: generator.synthesis((code + spread * delta)[None]).flatten(),
        torch.zeros(generator.num_ws, generator.w_dim),
    ).transpose(0, 1)  # [L, pixels, D]
    expected = jacobian.mT @ jacobian
    expected *= expected[..., 0].numel() / expected.diagonal(dim1=1, dim2=2).sum()
    found = curvature_by_layer(generator, projections=2048)
    shares = expected.diagonal(dim1=1, dim2=2).sum(1)
    assert shares.max() > 3 * shares.min()  # the layers differ, so that their places are tested
    torch.testing.assert_close(found.diagonal(dim1=1, dim2=2).sum(1), shares, rtol=0.25, atol=0)
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() < 0.3 * other.norm()


def test_the_basis_levels_what_is_above_the_damping() -> None:
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1))).Q
    steep = turn @ torch.diag(torch.tensor([1000.0, 300.0, 100.0, 50.0, 30.0, 20.0])) @ turn.T
    matrix = basis(steep).distance(torch.eye(6)[:, None])[:, 0]
    levelled = torch.linalg.eigvalsh(matrix.T @ steep @ matrix)
    assert levelled.max() / levelled.min() < 3
    flat = basis(torch.diag(torch.tensor([1.0, 0.0])))
    assert torch.isfinite(flat.lengths).all()


@pytest.mark.parametrize("space", SPACES)
def test_coordinates_lead_back_to_the_distance(model: Model, space: Space) -> None:
    layers = 1 if space == "w" else model.generator.num_ws
    distance = torch.randn(3, layers, model.generator.w_dim, generator=torch.Generator().manual_seed(2))
    found = search_basis(model, space)
    delta = found.delta(distance)
    assert (delta - distance).abs().max() > 0.1
    torch.testing.assert_close(found.distance(delta), distance, rtol=1e-4, atol=1e-4)


def test_what_is_kept_of_a_layer_are_its_first_eigenvectors() -> None:
    turn = torch.linalg.qr(torch.randn(3, 100, 100, generator=torch.Generator().manual_seed(1))).Q
    values = torch.linspace(0, 1, 100).expand(3, -1) * torch.tensor([1.0, 10.0, 100.0])[:, None]
    found = leading(turn * values[:, None] @ turn.mT)
    torch.testing.assert_close(found["values"], values[:, -64:])
    torch.testing.assert_close(found["rest"], values[:, :-64].mean(1))
    along = (found["vectors"].float() * turn[..., -64:]).sum(1).abs()
    torch.testing.assert_close(along, torch.ones_like(along), rtol=0, atol=2e-3)


@pytest.mark.parametrize("space", SPACES)
def test_a_search_in_the_basis_gets_further_in_as_many_steps(model: Model, space: Space) -> None:
    z = torch.randn(4, model.generator.z_dim, generator=torch.Generator().manual_seed(3))
    images = model.generator.synthesis(model.generator.mapping(z)[:, None])
    images = images / images.abs().max()
    settings = Settings(patience=None)
    plain = optimize(model.generator, images, space=space, steps=15, settings=settings)
    better = optimize(
        model.generator, images, space=space, steps=15, settings=settings, basis=search_basis(model, space)
    )
    assert better.psnr.mean() > plain.psnr.mean()


def test_it_is_measured_once_and_kept_with_the_model(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    first = [search_basis(model, space) for space in SPACES]
    assert (model.path / FILE).exists()
    for name in ("curvature", "curvature_by_layer"):
        monkeypatch.setattr(f"cxredit_cli.inversion.curvature.{name}", lambda generator: pytest.fail("measured again"))
    for space, before in zip(SPACES, first, strict=True):
        now = search_basis(model, space)
        for name in ("vectors", "lengths", "rest"):
            torch.testing.assert_close(getattr(now, name), getattr(before, name), rtol=0, atol=0)


@pytest.mark.parametrize("damage", ["another generator", "cut short"])
@pytest.mark.parametrize("space", SPACES)
def test_what_does_not_belong_to_the_generator_is_measured_again(model: Model, damage: str, space: Space) -> None:
    first = search_basis(model, space)
    path = model.path / FILE
    if damage == "cut short":
        path.write_bytes(path.read_bytes()[:40])
    else:
        with safe_open(path, "pt") as file:
            kept = {name: torch.ones_like(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
        save_file(kept, path, {"fingerprint": "0" * 16})
    # Kept in half precision: a last bit of a sum, which differs with the threads, may move an entry to the next half.
    torch.testing.assert_close(search_basis(model, space).lengths, first.lengths, rtol=1e-3, atol=1e-3)
    with safe_open(path, "pt") as file:
        assert file.metadata()["fingerprint"] == model.fingerprint
