"""Choosing a method and a space, and the three methods on one model."""

from pathlib import Path

import pytest
import torch

from cxredit_cli.errors import InputError
from cxredit_cli.inversion.encode import encode, to_space
from cxredit_cli.inversion.invert import choose_method, choose_space, choose_start, invert
from cxredit_cli.networks.encoder import Encoder, EncoderConfig
from cxredit_cli.networks.generator import random_z
from cxredit_cli.storage.models import Model, load_model


@pytest.fixture
def model(tiny_model_dir: Path) -> Model:
    return load_model(tiny_model_dir)


def with_encoder(model: Model, num_outputs: int) -> Model:
    torch.manual_seed(3)
    config = EncoderConfig(32, model.generator.w_dim, num_outputs, depth=18, width=8)
    encoder = Encoder(config).eval().requires_grad_(False)
    encoder.set_code_statistics(*model.generator.w_statistics())
    torch.nn.init.normal_(encoder.to_delta.weight, std=0.02)
    model.encoder = encoder
    return model


def images(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_without_an_encoder_optimisation_is_the_default_and_encoding_is_refused(model: Model) -> None:
    assert choose_method(model, None) == "optimize"
    assert choose_space(model, "optimize", None) == "w+"
    with pytest.raises(InputError, match="run `cxredit train-encoder`"):
        choose_method(model, "hybrid")
    with pytest.raises(InputError, match="encoder, optimize or hybrid, but it is 'magic'"):
        choose_method(model, "magic")
    with pytest.raises(InputError, match="w or w\\+, but it is 'z'"):
        choose_space(model, "optimize", "z")


def test_with_an_encoder_hybrid_is_the_default_and_encoding_is_in_the_encoders_space(model: Model) -> None:
    assert choose_method(with_encoder(model, 1), None) == "hybrid"
    assert choose_space(model, "hybrid", None) == "w+"
    assert choose_space(model, "encoder", None) == "w"
    with_encoder(model, 8)
    assert choose_space(model, "encoder", None) == "w+"
    assert choose_space(model, "optimize", None) == "w+"


def test_encoding_in_batches_is_encoding_at_once(model: Model) -> None:
    with_encoder(model, 8)
    assert model.encoder is not None
    at_once = encode(model.generator, model.encoder, images())
    in_parts = encode(model.generator, model.encoder, images(), batch=2)
    torch.testing.assert_close(at_once.w, in_parts.w, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(at_once.w, model.encoder(images()))
    torch.testing.assert_close(at_once.reconstructions, model.generator.synthesis(at_once.w).clamp(-1, 1))


def test_codes_change_space(model: Model) -> None:
    w = torch.randn(2, 8, 4)
    assert to_space(w, "w", 8).shape == (2, 1, 4)
    torch.testing.assert_close(to_space(w, "w", 8)[:, 0], w.mean(dim=1))
    torch.testing.assert_close(to_space(w[:, :1], "w+", 8), w[:, :1].repeat(1, 8, 1))
    assert to_space(w, None, 8) is w


@pytest.mark.parametrize("space", ["w", "w+"])
def test_hybrid_is_at_least_as_good_as_the_encoder(model: Model, space: str) -> None:
    with_encoder(model, 1)
    encoded = invert(model, images(), "encoder", space)
    refined = invert(model, images(), "hybrid", space, steps=10)
    assert refined.w.shape == encoded.w.shape == (3, 1 if space == "w" else 8, 32)
    assert (refined.psnr >= encoded.psnr).all()


def test_an_encoder_gives_no_noise(model: Model) -> None:
    with pytest.raises(InputError, match="--fit-noise needs"):
        invert(with_encoder(model, 1), images(), "encoder", fit_noise=True)


def test_each_method_has_its_start(model: Model) -> None:
    assert choose_start(model, "optimize", None) == choose_start(model, "optimize", "mean") == "mean"
    assert choose_start(model, "hybrid", None) == choose_start(model, "encoder", None) == "encoder"
    assert choose_start(model, "optimize", "nearest") == "nearest"
    with pytest.raises(InputError, match="for --start encoder use --method hybrid"):
        choose_start(model, "optimize", "encoder")
    with pytest.raises(InputError, match="for --start nearest use --method optimize"):
        choose_start(model, "hybrid", "nearest")
    with pytest.raises(InputError, match="encoder, mean or nearest, but it is 'far'"):
        choose_start(model, "optimize", "far")


def test_the_nearest_of_random_codes_is_the_nearest(model: Model) -> None:
    from cxredit_cli.inversion.random_starts import SEED, RandomCodes

    generator = model.generator
    candidates = RandomCodes(generator, count=40)
    w = candidates.nearest(images())
    assert w.shape == (3, 1, 32)
    error = (generator.synthesis(w).clamp(-1, 1) - images()).square().mean(dim=(1, 2, 3))
    every = generator.synthesis(generator.mapping(random_z(40, generator.z_dim, SEED))[:, None]).clamp(-1, 1)
    errors = (every[None] - images()[:, None]).square().mean(dim=(2, 3, 4))
    torch.testing.assert_close(error, errors.min(dim=1).values)
    found = invert(model, images(), "optimize", "w", steps=0, start="nearest", candidates=candidates)
    torch.testing.assert_close(found.w, w, atol=1e-4, rtol=1e-3)
