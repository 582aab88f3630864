"""Directions from measurements: planted factors come back, held measures stay."""

import numpy as np
import pytest
import torch

from cxredit_cli.anatomy import picture_measures
from cxredit_cli.directions import from_measure
from cxredit_cli.directions.from_measure import (
    HELD,
    check_method,
    find_measured_direction,
    gradient,
    measured_direction,
)
from cxredit_cli.errors import InputError
from cxredit_cli.latent.random_codes import random_codes
from cxredit_cli.latent.responses import respond
from cxredit_cli.storage.anatomy_network import load_anatomy
from cxredit_cli.storage.models import load_model


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def test_a_planted_direction_comes_back_with_its_slope() -> None:
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(800, 20))
    true = unit(rng.normal(size=20))
    measure = 0.45 + 0.06 * codes @ true + rng.normal(0, 0.01, 800)
    slope, r2 = gradient(codes, measure)
    assert unit(slope) @ true > 0.99
    assert np.linalg.norm(slope) == pytest.approx(0.06, rel=0.05)
    assert r2 == pytest.approx(0.06**2 / (0.06**2 + 0.01**2), abs=0.02)


def test_noise_has_no_cross_validated_r2() -> None:
    rng = np.random.default_rng(1)
    assert gradient(rng.normal(size=(200, 50)), rng.normal(size=200))[1] < 0.05


def test_held_measures_stay_while_the_target_rises() -> None:
    rng = np.random.default_rng(2)
    codes = rng.normal(size=(2000, 10))
    heart, thorax = np.eye(10)[0], np.eye(10)[1]
    # The measured heart width mixes both factors, as hearts grow with the person.
    measures = {
        "heart_width": codes @ (heart + thorax) + rng.normal(0, 0.1, 2000),
        "thorax_width": codes @ thorax + rng.normal(0, 0.1, 2000),
    }
    free, _ = measured_direction(codes, measures, "heart_width", ())
    held, statistics = measured_direction(codes, measures, "heart_width", ("thorax_width",))
    assert free @ thorax > 0.6
    assert abs(held @ thorax) < 0.02
    assert held @ heart > 0.99
    assert statistics["rise_per_unit"] == pytest.approx(1, abs=0.05)
    assert np.linalg.norm(held) == pytest.approx(1)


def test_mistakes_are_one_sentence() -> None:
    codes = np.random.default_rng(0).normal(size=(60, 4))
    measures = {"ctr": codes[:, 0], "flat": np.ones(60)}
    with pytest.raises(InputError, match="the same on all"):
        measured_direction(codes, measures, "flat", ())
    with pytest.raises(InputError, match="Only 10"):
        measured_direction(codes[:10], {"ctr": codes[:10, 0]}, "ctr", ())


def test_generated_images_are_measured_with_their_codes(tiny_model_dir, monkeypatch) -> None:
    from cxredit_cli.anatomy.measures import FIGURES, Anatomy

    def fake(network: object, images: torch.Tensor, batch: int) -> Anatomy:
        brightness = images.mean(dim=(1, 2, 3)).double().numpy()
        problem = ["too dark" if b < np.median(brightness) else "" for b in brightness]
        return Anatomy(**dict.fromkeys(FIGURES, brightness), problem=problem)

    monkeypatch.setattr(picture_measures, "measure_images", fake)
    generator = load_model(tiny_model_dir).generator
    codes, found = from_measure.measure_generated(generator, None, 20, batch=10)
    assert len(codes) == len(found["ctr"]) == 10
    with torch.no_grad():
        again = generator.synthesis(torch.from_numpy(codes).float()[:, None]).mean(dim=(1, 2, 3))
    np.testing.assert_allclose(again.numpy(), found["ctr"], atol=1e-5)


def test_names_of_measures_and_methods_are_checked(tiny_model_dir) -> None:
    model = load_model(tiny_model_dir)
    with pytest.raises(InputError, match="'liver' is no measure"):
        find_measured_direction(model, None, "ctr", ("liver",), "gradients", 8, 0, None)
    with pytest.raises(InputError, match="gradients or regression"):
        check_method("lda")
    for method, fewest in (("gradients", 32), ("regression", 50)):
        for n in (1, fewest - 1):
            with pytest.raises(InputError, match=f"{n} generated images are too few .* at least {fewest}"):
                find_measured_direction(model, None, "ctr", (), method, n, 0, None)


def test_gradients_of_the_bundled_model_widen_hearts_and_spare_the_rest() -> None:
    model, network = load_model(None), load_anatomy(None)
    found = find_measured_direction(model, network, "heart_width", HELD, "gradients", 36, 0, None)
    figures = found.statistics
    assert figures["rise_per_unit"] > 0
    assert figures["elsewhere_per_rise"] < 0.5 * figures["elsewhere_per_rise_uncontrolled"]

    codes = random_codes(model.generator, 99, range(16))  # of other images than it was found from
    responses = respond(model.generator, network, codes, torch.from_numpy(found.direction), [-4, 4])
    changes = {
        name: values[responses.whole][:, 2] / values[responses.whole][:, 0] - 1
        for name, values in responses.measures.items()
    }
    assert changes["heart_width"].mean() > 0.1
    assert abs(changes["thorax_width"].mean()) < 0.05
    assert abs(changes["right_lung_height"].mean()) < 0.05
