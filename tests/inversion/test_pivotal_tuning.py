"""Pivotal tuning on the tiny generator."""

from pathlib import Path

import pytest
import torch

from cxredit_cli.inversion.invert import invert
from cxredit_cli.inversion.pivotal_tuning import TuneSettings, delta_size, measure_tuned, synthesize_tuned, tune, tuned
from cxredit_cli.inversion.result import measure
from cxredit_cli.networks.generator import Generator
from cxredit_cli.storage.models import load_model

SETTINGS = TuneSettings(steps=25, rank=2, learning_rate=0.003)


@pytest.fixture
def generator(tiny_model_dir: Path) -> Generator:
    """The tiny generator with its picture scaled into [-1, 1], as a trained one's is."""
    generator = load_model(tiny_model_dir, parts=("generator",)).generator
    for block in generator.synthesis.blocks.values():
        block.torgb.weight /= 8
        block.torgb.bias /= 8
    return generator


def pair(generator: Generator, count: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes, and images near theirs that no code shows."""
    random = torch.Generator().manual_seed(2)
    w = generator.mapping(torch.randn(count, generator.z_dim, generator=random))[:, None]
    images = generator.synthesis(w)
    return w, (images + 0.5 * images.roll(3, 3)).clamp(-1, 1)


def test_tuning_brings_the_code_nearer_to_its_image(generator: Generator) -> None:
    w, images = pair(generator)
    before = measure(generator, images, w)
    deltas = tune(generator, images, w, None, SETTINGS)
    assert deltas.shape == (2, delta_size(generator, 2))
    assert deltas.dtype == torch.float16
    after = measure_tuned(generator, images, before, deltas)
    assert (after.psnr > before.psnr + 1).all()
    torch.testing.assert_close(after.w, before.w)
    torch.testing.assert_close(after.reconstructions, synthesize_tuned(generator, w, None, deltas).clamp(-1, 1))


def test_an_image_is_tuned_as_if_it_were_alone(generator: Generator) -> None:
    w, images = pair(generator)
    together = tune(generator, images, w, None, SETTINGS)
    torch.testing.assert_close(tune(generator, images[1:], w[1:], None, SETTINGS), together[1:], rtol=0, atol=0)


def test_locality_holds_the_neighbourhood(generator: Generator) -> None:
    w, images = pair(generator, 1)
    nearby = w + torch.randn(w.shape, generator=torch.Generator().manual_seed(4)) * 0.3

    def moved(weight: float) -> float:
        settings = TuneSettings(steps=25, rank=2, learning_rate=0.003, locality_weight=weight, radius=2.0)
        deltas = tune(generator, images, w, None, settings)
        return (synthesize_tuned(generator, nearby, None, deltas) - generator.synthesis(nearby)).square().mean().item()

    assert 0 < moved(10.0) < 0.5 * moved(0.0)


def test_the_generator_is_itself_again_afterwards(generator: Generator) -> None:
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    w, images = pair(generator)
    plain = generator.synthesis(w)
    deltas = tune(generator, images, w, None, SETTINGS)
    with tuned(generator, deltas[0]):
        assert (generator.synthesis(w) - plain).abs().max() > 0.01
    torch.testing.assert_close(generator.synthesis(w), plain, rtol=0, atol=0)
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())


def test_an_image_that_the_code_shows_already_is_left_alone(generator: Generator) -> None:
    w, _ = pair(generator, 1)
    image = generator.synthesis(w)
    deltas = tune(generator, image.clamp(-1, 1), w, None, TuneSettings(steps=1, learning_rate=1.0))
    assert (deltas == 0).all()


def test_neighbours_of_equal_deltas_are_made_together_and_others_apart(generator: Generator) -> None:
    w, images = pair(generator)
    deltas = tune(generator, images, w, None, SETTINGS)
    rows = torch.tensor([0, 0, 1, 0])
    made = synthesize_tuned(generator, w[rows], None, deltas[rows])
    for picture, row in zip(made, rows, strict=True):
        with tuned(generator, deltas[row]):
            torch.testing.assert_close(picture, generator.synthesis(w[row : row + 1])[0], rtol=1e-4, atol=1e-5)


def test_invert_tunes_what_it_found_with_its_noise(tiny_model_dir: Path) -> None:
    model = load_model(tiny_model_dir)
    _, images = pair(model.generator)
    plain = invert(model, images, steps=5, fit_noise=True)
    bent = invert(model, images, steps=5, fit_noise=True, tuning=SETTINGS)
    assert plain.tuning is None
    assert bent.tuning is not None
    assert (bent.psnr > plain.psnr).all()
    made = synthesize_tuned(model.generator, bent.w, bent.noise, bent.tuning).clamp(-1, 1)
    torch.testing.assert_close(made, bent.reconstructions)
