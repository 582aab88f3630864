"""What makes the encoder's training faster or truer to the heart: coordinates that show, small pictures, borders."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cxredit_cli.errors import InputError
from cxredit_cli.inversion.curvature import principal_axes, principal_directions
from cxredit_cli.inversion.encode import all_passes
from cxredit_cli.networks.encoder import Encoder, EncoderConfig
from cxredit_cli.networks.generator import random_z
from cxredit_cli.progress import SilentProgress
from cxredit_cli.storage.anatomy_network import load_anatomy
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.models import Model, load_model
from cxredit_cli.training.encoder import EncoderTraining, start_from, train_encoder
from cxredit_cli.training.encoder_losses import Comparison, LossWeights, real_terms, synthetic_terms
from cxredit_cli.training.heart_borders import HeartBorders

FILM = Path(__file__).parents[1] / "data" / "00001748_002.png"
PICTURES_ALONE = LossWeights(features=0)
FAST = EncoderTraining(
    *("w", 18, 8, 2, True), batch=4, held_out=4, tick_kimg=10, weights=PICTURES_ALONE, heart=4.0, side=16
)


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path) -> Model:
    return load_model(tiny_model_dir)


def encoder_of(model: Model, passes: int, principal: bool, seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    generator = model.generator
    encoder = Encoder(EncoderTraining("w", 18, 8, passes, principal).encoder_config(generator))
    mean, spread = generator.w_statistics()
    made = generator.synthesis(mean[None, None]).clamp(-1, 1)
    encoder.set_code_statistics(mean, spread, made, principal_axes(model) if principal else None)
    torch.nn.init.normal_(encoder.to_delta.weight, std=0.05)
    return encoder


def pictures(model: Model, count: int = 2) -> torch.Tensor:
    z = torch.randn(count, model.generator.z_dim, generator=torch.Generator().manual_seed(3))
    images: torch.Tensor = model.generator(z)
    return images


def test_along_principal_axes_what_shows_more_takes_longer(model: Model) -> None:
    axes = principal_axes(model)
    lengths = axes.norm(dim=1)
    torch.testing.assert_close(axes @ axes.T, torch.diag(lengths.square()), atol=1e-4, rtol=1e-4)
    _, curvature = principal_directions(model)
    assert (torch.diff(curvature) >= 0).all()
    assert (torch.diff(lengths) <= 0).all()
    ratio = (curvature[-1] / curvature[-2]).item()
    assert (lengths[-2] / lengths[-1]).item() == pytest.approx(ratio**0.25, rel=0.01)


def test_coordinates_are_what_the_last_layer_adds(model: Model) -> None:
    encoder = encoder_of(model, passes=1, principal=True)
    images = pictures(model)
    w = encoder(images)
    delta = encoder.coordinates(w - encoder.w_avg)
    encoder.w_axes = None  # the same numbers along the axes of W
    torch.testing.assert_close(encoder(images), encoder.w_avg + encoder.w_std * delta, atol=1e-4, rtol=1e-4)


def test_a_start_from_one_pass_along_the_axes_of_w_answers_alike(model: Model) -> None:
    simple = encoder_of(model, passes=1, principal=False)
    torch.nn.init.normal_(simple.to_delta.bias, std=0.05)
    better = encoder_of(model, passes=2, principal=True, seed=1)
    start_from(better, simple)
    images = pictures(model)
    torch.testing.assert_close(better(images), simple(images), atol=1e-4, rtol=1e-4)


def test_in_principal_coordinates_synthetic_images_teach_by_their_codes_alone(model: Model) -> None:
    encoder = encoder_of(model, passes=2, principal=True)
    w = model.generator.mapping(torch.randn(2, model.generator.z_dim))[:, None]
    images = model.generator.synthesis(w)
    answers = encoder(images), all_passes(encoder, model.generator, images)
    expected = sum(encoder.coordinates(answer - w).square().mean() for answer in answers) / 2
    terms = synthetic_terms(encoder, model.generator, w)
    assert set(terms) == {"code"}
    torch.testing.assert_close(terms["code"], expected)


def test_terms_without_a_weight_are_not_computed(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = encoder_of(model, passes=1, principal=False)
    looks = []
    monkeypatch.setattr(encoder.content.stem, "forward", counted(encoder.content.stem.forward, looks))
    assert set(real_terms(encoder, model.generator, pictures(model), weights=PICTURES_ALONE)) == {"pixel", "ssim"}
    assert len(looks) == 1
    w = model.generator.mapping(torch.randn(2, model.generator.z_dim))[:, None]
    assert "features" not in synthetic_terms(encoder, model.generator, w, weights=PICTURES_ALONE)


def counted(function: torch.nn.Module, calls: list[int]) -> object:
    """`function`, which notes its calls."""

    def wrapped(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return function(x)

    return wrapped


def test_small_pictures_are_compared_without_what_finer_blocks_add(model: Model) -> None:
    small = Comparison.at(model.generator, 16)
    w = model.generator.mapping(random_z(64, model.generator.z_dim, seed=0))[:, None]
    finished = torch.nn.functional.avg_pool2d(model.generator.synthesis(w), 2)
    made = small.picture(w)
    assert made.shape == (64, 1, 16, 16)
    without = made - small.added
    # On average the two agree, which the running pictures alone do not.
    assert (made - finished).mean(dim=0).abs().max() < 1e-3
    assert (without - finished).mean(dim=0).abs().max() > 0.05
    whole = Comparison.at(model.generator, 32)
    assert torch.equal(whole.picture(w), model.generator.synthesis(w))


@pytest.mark.parametrize(("side", "weights"), [(24, PICTURES_ALONE), (64, PICTURES_ALONE), (16, LossWeights())])
def test_a_side_that_does_not_go_with_the_rest_is_refused(model: Model, side: int, weights: LossWeights) -> None:
    with pytest.raises(InputError, match=f"{side}"):
        replace(FAST, side=side, weights=weights).comparison_side(model.generator)


def test_pixels_near_the_heart_count_more_and_films_are_outlined_once() -> None:
    grey = np.asarray(Image.open(FILM).convert("L"), np.float32) / 127.5 - 1
    film = torch.from_numpy(grey)[None, None]
    borders = HeartBorders(load_anatomy(), films=3, side=64, weight=4.0)
    weights = borders.weights(torch.tensor([1]), film)
    assert weights.shape == (1, 1, 64, 64)
    assert weights.mean().item() == pytest.approx(1, abs=1e-5)
    assert (weights.max() / weights.min()).item() == pytest.approx(5, rel=0.02)
    near = weights[0, 0] > weights.max() / 2
    assert 0.02 < near.float().mean().item() < 0.2
    rows, columns = torch.nonzero(near, as_tuple=True)
    assert 25 < rows.float().mean().item() < 55
    assert columns.float().mean().item() > 31  # the heart is on the right side of the film
    assert torch.equal(borders.weights(torch.tensor([1]), torch.zeros_like(film)), weights)


def test_the_learning_rate_falls_at_the_end_of_the_budget() -> None:
    options = replace(FAST, learning_rate=1.0, cool_down=0.4)
    rates = [options.learning_rate_at(share) for share in (0, 0.6, 0.8, 0.99)]
    assert rates == pytest.approx([1, 1, 0.5, 0.025])
    assert replace(options, cool_down=0).learning_rate_at(0.99) == 1


@pytest.mark.parametrize(("cool_down", "rate"), [(0.0, 1.0), (0.4, 0.0)])
def test_the_rate_after_the_last_minute_of_a_time_budget(cool_down: float, rate: float) -> None:
    # the last iteration may begin when more than the budget is spent: processes agree on the end before it
    assert EncoderTraining(learning_rate=1, cool_down=cool_down).learning_rate_at(1.05) == rate


def test_a_fast_run_goes_on_as_if_it_had_never_stopped(tiny_model_dir: Path, tmp_path: Path, dataset: Dataset) -> None:
    weights = []
    for name, stops in (("once", [16]), ("twice", [8, 16])):
        folder = Path(shutil.copytree(tiny_model_dir, tmp_path / name))
        for images in stops:
            loaded, budget = load_model(folder), images / 1000
            train_encoder(loaded, dataset, FAST, kimg=budget, minutes=None, progress=SilentProgress())
        trained = load_model(folder).encoder
        assert trained is not None
        assert trained.config == EncoderConfig(32, 32, 1, 18, 8, 2, seen_side=16, principal=True)
        weights.append(trained.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(weights[0].values(), weights[1].values(), strict=True))
