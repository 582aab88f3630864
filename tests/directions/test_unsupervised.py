"""Unsupervised directions against eigenvectors computed by hand, and what is measured of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cxredit_cli.anatomy import picture_measures
from cxredit_cli.anatomy.measures import FIGURES, Anatomy
from cxredit_cli.directions.unsupervised import discover, principal_components, style_factors
from cxredit_cli.errors import InputError
from cxredit_cli.latent.random_codes import random_codes
from cxredit_cli.latent.responses import reach, respond, summarise
from cxredit_cli.storage.models import Model, load_model


def bright_hearts(network: object, images: torch.Tensor, batch: int = 32) -> Anatomy:
    """A network whose every measure rises with the mean grey of the picture."""
    values = 0.45 + 0.1 * images.mean(dim=(1, 2, 3)).double().numpy()
    return Anatomy(**dict.fromkeys(FIGURES, values), problem=[""] * len(values))


@pytest.fixture
def model(tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setattr(picture_measures, "measure_images", bright_hearts)
    return load_model(tiny_model_dir)


def test_sefa_by_hand() -> None:
    """A generator of one convolution a resolution whose styles depend on known axes of w."""
    from cxredit_cli.networks.generator import Generator, GeneratorConfig

    generator = Generator(GeneratorConfig(resolution=8, z_dim=4, w_dim=4, channel_base=32, channel_max=4))
    convolutions = generator.synthesis.noise_layers()
    assert len(convolutions) == 3
    with torch.no_grad():
        for layer in convolutions:
            layer.affine.weight.zero_()
        convolutions[0].affine.weight[0, 2] = 3.0  # A'A = diag(1, 4, 9 + 16, 0) / 4, as the gain is 1 / sqrt(4)
        convolutions[1].affine.weight[1, 2] = 4.0
        convolutions[1].affine.weight[2, 1] = 2.0
        convolutions[2].affine.weight[0, 0] = 1.0
    found = style_factors(generator, 4, samples=64)
    for component, axis, weight in zip(found, (2, 1, 0, 3), (25 / 30, 4 / 30, 1 / 30, 0), strict=True):
        np.testing.assert_allclose(np.abs(component.vector), np.eye(4)[axis], atol=1e-7)
        assert component.weight == pytest.approx(weight, abs=1e-9)
    first = style_factors(generator, 1, layers=[2], samples=64)[0]
    np.testing.assert_allclose(np.abs(first.vector), np.eye(4)[0], atol=1e-7)
    with pytest.raises(InputError, match="image alone"):
        style_factors(generator, 1, layers=[3])


def test_principal_components_are_those_of_mapped_codes(model: Model) -> None:
    found = principal_components(model.generator, 5, samples=400, seed=3)
    w = random_codes(model.generator, 3, range(400))[:, 0].double().numpy()
    singular, right = np.linalg.svd(w - w.mean(axis=0), full_matrices=False)[1:]
    for index, component in enumerate(found):
        assert abs(component.vector @ right[index]) == pytest.approx(1, abs=1e-6)
        assert component.deviation == pytest.approx(singular[index] / 20, rel=1e-4)  # sqrt(400)
        assert component.weight == pytest.approx(singular[index] ** 2 / np.square(singular).sum(), rel=1e-4)


def test_what_is_stored_is_of_the_direction_as_it_points(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def dark_pictures_fail(network: object, images: torch.Tensor, batch: int = 32) -> Anatomy:
        found = bright_hearts(network, images)
        return replace(found, problem=["dark" if ctr < 0.45 else "" for ctr in found.ctr])

    monkeypatch.setattr(picture_measures, "measure_images", dark_pictures_fail)
    codes = random_codes(model.generator, 2, range(9))
    for direction in discover(model, None, "pca", 6, images=9, seed=2):
        stored = direction.calibration["generated"]
        again = summarise(
            respond(model.generator, None, codes, torch.from_numpy(direction.direction), stored["strengths"])
        )
        for name in ("plausible", "ctr", "slope"):
            assert stored[name] == pytest.approx(again[name], abs=1e-5)
        assert stored["what"] == "9 generated images"


@pytest.mark.parametrize("method", ["pca", "sefa"])
def test_each_is_measured_and_points_to_larger_hearts(model: Model, method: str) -> None:
    found = discover(model, None, method, 3, images=6, batch=8)
    assert [direction.name for direction in found] == [f"{method} {i}" for i in (1, 2, 3)]
    codes = random_codes(model.generator, 0, range(6))
    for direction in found:
        assert direction.direction.shape == (1, 32)
        figures = direction.calibration["generated"]
        assert figures["slope"] >= 0
        ends = figures["strengths"]
        pictures = [
            model.generator.synthesis(codes + end * torch.from_numpy(direction.direction)).clamp(-1, 1).detach()
            for end in (ends[0], ends[-1])
        ]
        rise = 0.1 * float((pictures[1] - pictures[0]).mean()) / (ends[-1] - ends[0])
        assert figures["slope"] == pytest.approx(rise, abs=1e-6)
        assert figures["per_unit"]["heart_area"] == pytest.approx(figures["slope"])


def test_layers_give_directions_that_move_these_alone(model: Model) -> None:
    found = discover(model, None, "sefa", 1, layers=[1, 2], images=2)[0]
    assert found.direction.shape == (model.generator.num_ws, 32)
    assert np.flatnonzero(np.abs(found.direction).sum(axis=1)).tolist() == [1, 2]
    assert np.linalg.norm(found.direction) == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(found.direction[1], found.direction[2])
    with pytest.raises(InputError, match="32 dimensions"):
        discover(model, None, "pca", 33)


def test_implausible_pictures_are_left_out_of_the_figures(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def second_fails(network: object, images: torch.Tensor, batch: int = 32) -> Anatomy:
        values = np.array([0.4, 0.5, 0.6, 0.4, np.nan, 0.9])
        calls.append(len(images))
        return Anatomy(**dict.fromkeys(FIGURES, values), problem=["", "", "", "", "no heart", ""])

    monkeypatch.setattr(picture_measures, "measure_images", second_fails)
    vector = torch.eye(32)[:1]
    found = summarise(respond(model.generator, None, random_codes(model.generator, 0, range(2)), vector, [2, -2]))
    assert calls == [6]
    assert (found["images"], found["used"], found["plausible"]) == (2, 1, [1.0, 0.5, 1.0])
    assert found["strengths"] == [-2.0, 0.0, 2.0]
    assert found["ctr"] == pytest.approx([0.4, 0.5, 0.6])
    assert found["ctr_change"] == pytest.approx([-0.1, 0, 0.1])
    assert found["slope"] == pytest.approx(0.05)
    assert found["rising_at_every_step"] == 1
    assert reach(model.generator, 4) == pytest.approx(2 * reach(model.generator, 1))
