"""Inversion by optimisation on the tiny generator, where the right answer is known."""

from pathlib import Path

import pytest
import torch

from cxredit_cli.errors import InputError
from cxredit_cli.inversion.fitted_noise import autocorrelation, normalised
from cxredit_cli.inversion.optimize import CHECK_EVERY, Search, Settings, optimize
from cxredit_cli.networks.generator import Generator
from cxredit_cli.storage.models import load_model


@pytest.fixture(scope="module")
def generator(tiny_model_dir: Path) -> Generator:
    return load_model(tiny_model_dir, parts=("generator",)).generator


def synthetic(generator: Generator, count: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes and what the generator makes of them."""
    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(seed))
    w = generator.mapping(z)[:, None]
    return w, generator.synthesis(w)


@pytest.fixture
def quiet(generator: Generator) -> Generator:
    """The tiny generator with its picture scaled into [-1, 1], as a trained one's is."""
    import copy

    scaled = copy.deepcopy(generator)
    _, images = synthetic(scaled, 64)
    with torch.no_grad():
        for block in scaled.synthesis.blocks.values():
            block.torgb.weight /= images.abs().max()
            block.torgb.bias /= images.abs().max()
    return scaled


def test_the_image_of_a_known_code_is_recovered(quiet: Generator) -> None:
    _, images = synthetic(quiet, 3)
    result = optimize(quiet, images, steps=200)
    assert result.w.shape == (3, 1, quiet.w_dim)
    assert result.psnr.min() > 35
    assert result.ssim.min() > 0.97


def test_figures_are_those_of_the_returned_code(quiet: Generator) -> None:
    _, images = synthetic(quiet, 2)
    result = optimize(quiet, images, steps=10, space="w+")
    assert result.w.shape == (2, quiet.num_ws, quiet.w_dim)
    made = quiet.synthesis(result.w).clamp(-1, 1)
    torch.testing.assert_close(made, result.reconstructions)
    error = (made - images).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(result.psnr, 10 * torch.log10(4 / error), rtol=1e-4, atol=1e-3)


def test_an_image_does_not_depend_on_its_batch(quiet: Generator) -> None:
    _, images = synthetic(quiet, 3)
    # Sums of other batches round differently, and every step of a search makes more of it: so few steps, and closely.
    together = optimize(quiet, images, steps=5)
    alone = optimize(quiet, images[1:2], steps=5)
    one_by_one = optimize(quiet, images, steps=5, batch=1)
    torch.testing.assert_close(together.w[1:2], alone.w, atol=0.01, rtol=0)
    torch.testing.assert_close(together.psnr, one_by_one.psnr, atol=0.1, rtol=0)


def test_the_answer_is_never_worse_than_the_start_and_improves_with_steps(quiet: Generator) -> None:
    w, images = synthetic(quiet, 2)
    untouched = optimize(quiet, images, start=w, steps=0)
    torch.testing.assert_close(untouched.w, w, atol=1e-4, rtol=1e-4)
    other = synthetic(quiet, 2, seed=9)[0]
    begun = optimize(quiet, images, start=other, steps=0)
    assert (optimize(quiet, images, start=other, steps=3).psnr >= begun.psnr).all()
    few, many = (optimize(quiet, images, steps=steps).psnr for steps in (5, 60))
    assert (many > few).all()


def test_a_radiograph_gains_from_w_plus_and_from_noise(quiet: Generator, data: Path) -> None:
    from cxredit_cli.radiographs.geometry import fit_square
    from cxredit_cli.radiographs.read import read_radiograph

    with torch.no_grad():
        for layer in quiet.synthesis.noise_layers():
            layer.noise_strength.fill_(0.2)
    files = sorted((data / "nih").glob("*.png"))[:2]
    pixels = torch.stack([torch.from_numpy(fit_square(read_radiograph(file).pixels, 32)) for file in files])
    images = pixels[:, None] * 2 - 1
    in_w = optimize(quiet, images, steps=60)
    in_w_plus = optimize(quiet, images, space="w+", start=in_w.w, steps=60)
    with_noise = optimize(quiet, images, space="w+", start=in_w.w, steps=60, fit_noise=True)
    assert (in_w_plus.psnr >= in_w.psnr).all()
    assert (with_noise.psnr > in_w_plus.psnr).all()
    assert with_noise.noise is not None
    assert [layer.shape for layer in with_noise.noise] == [(2, 1, *shape) for shape in quiet.synthesis.noise_shapes()]
    for layer in with_noise.noise:
        torch.testing.assert_close(layer.square().mean(dim=(1, 2, 3)), torch.ones(2), atol=1e-3, rtol=0)
    torch.testing.assert_close(quiet.synthesis(with_noise.w, with_noise.noise).clamp(-1, 1), with_noise.reconstructions)


def test_the_generator_is_left_as_it_was(quiet: Generator) -> None:
    before = {name: value.clone() for name, value in quiet.state_dict().items()}
    _, images = synthetic(quiet, 1)
    quiet.synthesis.precision = torch.bfloat16
    optimize(quiet, images, steps=3, fit_noise=True)
    assert quiet.synthesis.precision == torch.bfloat16
    for name, value in quiet.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_progress_counts_images(quiet: Generator) -> None:
    seen: list[float] = []

    class Recorder:
        def start(self, description: str, total: float | None, done: float = 0, unit: str = "img") -> None: ...
        def advance(self, done: float, **figures: float) -> None:
            seen.append(done)

        def message(self, text: str) -> None: ...
        def finish(self) -> None: ...

    _, images = synthetic(quiet, 3)
    optimize(quiet, images, steps=50, batch=2, progress=Recorder(), done=10)
    assert seen == [11, 12, 12.5, 13]


def test_images_of_another_size_are_refused(quiet: Generator) -> None:
    with pytest.raises(InputError, match=r"\[N, 1, 32, 32\], not \[1, 1, 64, 64\]"):
        optimize(quiet, torch.zeros(1, 1, 64, 64), steps=1)


class Counting:
    """A generator's synthesis that counts the images it makes with gradients."""

    def __init__(self, generator: Generator) -> None:
        self.seen: list[int] = []
        generator.synthesis.register_forward_pre_hook(lambda _, given: self._count(given[0]))

    def _count(self, w: torch.Tensor) -> None:
        if w.requires_grad:
            self.seen.append(len(w))


def test_an_image_that_reaches_its_target_leaves_the_batch_and_the_others_go_on(quiet: Generator) -> None:
    w, images = synthetic(quiet, 3)
    start = torch.cat([w[:1], quiet.w_statistics()[0].expand(2, 1, -1)])
    counting = Counting(quiet)
    settings = Settings(target_psnr=200.0, patience=None)
    everything = optimize(quiet, images, start=start, steps=60, settings=settings)
    assert counting.seen == [3] * 61
    counting.seen.clear()
    target = everything.psnr[1:].max().item() + 1
    assert everything.psnr[0] > target
    stopped = optimize(quiet, images, start=start, steps=60, settings=Settings(target_psnr=target, patience=None))
    assert counting.seen == [3] + [2] * 60
    assert stopped.psnr[0] > target
    torch.testing.assert_close(stopped.psnr[1:], everything.psnr[1:], atol=0.1, rtol=0)


def test_an_image_that_gains_nothing_is_done_after_its_patience(quiet: Generator) -> None:
    w, images = synthetic(quiet, 2)
    counting = Counting(quiet)
    settings = Settings(patience=CHECK_EVERY, min_gain=1000.0)
    result = optimize(quiet, images, steps=10 * CHECK_EVERY, settings=settings)
    assert len(counting.seen) == CHECK_EVERY + 1
    assert result.w.shape == w.shape


@pytest.mark.parametrize("space", ["w", "w+"])
def test_dismissed_images_keep_their_codes_and_their_noise(quiet: Generator, space: str) -> None:
    mean, spread = quiet.w_statistics()
    _, images = synthetic(quiet, 3)
    start = mean.expand(3, quiet.num_ws if space == "w+" else 1, -1)
    search = Search(quiet, images, start, mean, spread, True, Settings(target_psnr=0.0))
    search.look()
    search.check()
    search.best_error[1] = 1e9
    held = search.best_w().clone()
    search.dismiss()
    assert search.moving == 1
    loss = search.look()
    assert loss.shape == (1,)
    search.move(loss)
    search.look()
    search.check()
    torch.testing.assert_close(search.best_w()[[0, 2]], held[[0, 2]], rtol=0, atol=0)
    assert search.best_error[1] < 1e9
    assert [len(layer) for layer in search.best_noise] == [3] * len(search.best_noise)


def test_the_best_is_chosen_in_float32(quiet: Generator) -> None:
    _, images = synthetic(quiet, 2)
    quiet.synthesis.precision = torch.bfloat16
    result = optimize(quiet, images, steps=40)
    quiet.synthesis.precision = torch.float32
    begun = optimize(quiet, images, steps=0)
    assert (result.psnr > begun.psnr + 3).all()
    error = (quiet.synthesis(result.w).clamp(-1, 1) - images).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(result.psnr, -10 * torch.log10(error / 4), rtol=1e-4, atol=1e-3)


def test_w_plus_stays_near_w_as_far_as_it_is_asked_to(quiet: Generator) -> None:
    _, images = synthetic(quiet, 2)
    noisy = (images + 0.2 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))).clamp(-1, 1)

    def apart(weight: float) -> float:
        found = optimize(quiet, noisy, space="w+", steps=40, settings=Settings(layers_weight=weight)).w
        return (found - found.mean(dim=1, keepdim=True)).square().mean().item()

    assert apart(1.0) < 0.2 * apart(0.0)


def test_autocorrelation_tells_noise_from_picture() -> None:
    white = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(white, 5, 1, 2) * 5
    assert (autocorrelation([smooth]) > 20 * autocorrelation([white])).all()
    constant = torch.full((1, 1, 4, 4), 3.0)
    assert autocorrelation([constant]).item() == pytest.approx(2 * 81)
    smooth = normalised(smooth)
    torch.testing.assert_close(smooth.mean(dim=(2, 3)), torch.zeros(2, 1), atol=1e-5, rtol=0)
    torch.testing.assert_close(smooth.square().mean(dim=(2, 3)), torch.ones(2, 1))
