"""Encoders of several passes, and encoders that an optimiser teaches."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cxredit_cli.errors import MismatchError
from cxredit_cli.inversion.encode import all_passes, encode
from cxredit_cli.inversion.optimize import Search
from cxredit_cli.networks.encoder import Encoder, EncoderConfig
from cxredit_cli.networks.generator import Generator, GeneratorConfig
from cxredit_cli.progress import SilentProgress
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.models import Model, load_model
from cxredit_cli.training.encoder import EncoderTraining, train_encoder
from cxredit_cli.training.encoder_losses import LossWeights, optimised_codes, real_terms, synthetic_terms, weighted_sum
from cxredit_cli.training.images import TrainingImages

TINY = EncoderTraining(depth=18, width=8, batch=4, held_out=4, tick_kimg=10, learning_rate=1e-3)


def train(folder: Path, dataset: Dataset, images: int, options: EncoderTraining) -> tuple[dict[str, float], Model]:
    budget = {"kimg": images / 1000, "minutes": None}
    figures = train_encoder(load_model(folder), dataset, options, **budget, progress=SilentProgress())
    return figures, load_model(folder)


def copy_of(tiny_model_dir: Path, tmp_path: Path, name: str) -> Path:
    return Path(shutil.copytree(tiny_model_dir, tmp_path / name))


def test_later_passes_correct_the_first(tiny_model_dir: Path, tmp_path: Path, dataset: Dataset) -> None:
    three, model = train(copy_of(tiny_model_dir, tmp_path, "three"), dataset, 60, replace(TINY, passes=3))
    assert model.encoder is not None
    assert model.encoder.config.passes == 3
    held_out = TrainingImages(dataset, "val", 32, torch.device("cpu"), 0).batch(0, 4)
    found = encode(model.generator, model.encoder, held_out)
    assert found.psnr.mean().item() == pytest.approx(three["val_psnr"], abs=0.05)
    first = model.generator.synthesis(model.encoder(held_out)).clamp(-1, 1)
    error = (first - held_out).square().mean(dim=(1, 2, 3))
    assert found.psnr.mean() > (-10 * torch.log10(error / 4)).mean()


def test_an_encoder_that_is_taught_shows_what_it_has_seen_better() -> None:
    """On images that the generator can make; on unseen ones the gain is not certain (docs/results/inversion.md)."""
    torch.manual_seed(0)
    generator = Generator(GeneratorConfig(32, z_dim=32, w_dim=32, channel_base=128, channel_max=8)).eval()
    generator.requires_grad_(False)
    w = generator.mapping(torch.randn(16, 32))[:, None]
    largest = generator.synthesis(w).abs().max()
    for block in generator.synthesis.blocks.values():
        block.torgb.weight /= largest
        block.torgb.bias /= largest
    images = generator.synthesis(w)
    errors = []
    for steps in (0, 5):
        torch.manual_seed(1)
        encoder = Encoder(EncoderConfig(32, 32, depth=18, width=8))
        encoder.set_code_statistics(*generator.w_statistics())
        optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-3)
        for iteration in range(40):
            batch = images[8 * (iteration % 2) :][:8]
            known = optimised_codes(encoder, generator, batch, steps) if steps else None
            optimizer.zero_grad()
            torch.autograd.backward(weighted_sum(real_terms(encoder, generator, batch, known), LossWeights()))
            optimizer.step()
        errors.append((generator.synthesis(encoder(images)) - images).square().mean().item())
    assert errors[1] < errors[0]


def test_the_optimisers_codes_show_the_image_better(tiny_model_dir: Path) -> None:
    model = load_model(tiny_model_dir)
    encoder = Encoder(EncoderConfig(32, 32, depth=18, width=8))
    encoder.set_code_statistics(*model.generator.w_statistics())
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    codes = optimised_codes(encoder, model.generator, images, steps=5)
    assert not codes.requires_grad

    def error(w: torch.Tensor) -> torch.Tensor:
        return (model.generator.synthesis(w).clamp(-1, 1) - images).square().mean(dim=(1, 2, 3))

    assert (error(codes) < error(encoder(images))).all()
    search = Search(model.generator, images, encoder(images), encoder.w_avg, encoder.w_std)
    assert search.moving == 2


def test_a_taught_run_goes_on_as_if_it_had_never_stopped(
    tiny_model_dir: Path, tmp_path: Path, dataset: Dataset
) -> None:
    options = replace(TINY, passes=2, collaborate=2)
    once, twice = (copy_of(tiny_model_dir, tmp_path, name) for name in ("once", "twice"))
    _, whole = train(once, dataset, 16, options)
    train(twice, dataset, 8, options)
    _, parts = train(twice, dataset, 16, options)
    assert whole.encoder is not None
    assert parts.encoder is not None
    for a, b in zip(whole.encoder.state_dict().values(), parts.encoder.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(MismatchError, match="use --passes 2"):
        train(twice, dataset, 20, replace(options, passes=3))


def test_the_terms_are_means_over_the_passes(tiny_model_dir: Path) -> None:
    generator = load_model(tiny_model_dir).generator
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(32, 32, depth=18, width=8, passes=2))
    mean, spread = generator.w_statistics()
    encoder.set_code_statistics(mean, spread, generator.synthesis(mean[None, None]).clamp(-1, 1))
    torch.nn.init.normal_(encoder.to_delta.weight, std=0.02)
    w = generator.mapping(torch.randn(2, 32))[:, None]
    x = generator.synthesis(w)
    first = encoder(x)
    second = all_passes(encoder, generator, x)
    expected = ((first - w).abs().mean() + (second - w).abs().mean()) / 2
    torch.testing.assert_close(synthetic_terms(encoder, generator, w)["code"], expected)
    terms = real_terms(encoder, generator, x, known=w)
    torch.testing.assert_close(terms["code"], expected)
    assert "code" not in real_terms(encoder, generator, x)
