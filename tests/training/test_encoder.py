"""Training of the encoder: it learns, it resumes bit for bit, and a kill loses little."""

import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file

from cxredit_cli.errors import MismatchError
from cxredit_cli.networks.encoder import Encoder, EncoderConfig
from cxredit_cli.networks.generator import Generator, GeneratorConfig
from cxredit_cli.progress import SilentProgress
from cxredit_cli.storage.anatomy_network import load_anatomy
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.models import load_model
from cxredit_cli.training.encoder import EncoderTraining, train_encoder
from cxredit_cli.training.encoder_losses import (
    LossWeights,
    anatomy_term,
    feature_distance,
    real_terms,
    soft_outlines,
    synthetic_terms,
    weighted_sum,
)

TINY = EncoderTraining(depth=18, width=8, batch=4, held_out=4, tick_kimg=0.008, learning_rate=1e-3)


@pytest.fixture
def folder(tiny_model_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))


def train(folder: Path, dataset: Dataset, images: int, options: EncoderTraining = TINY) -> dict[str, float]:
    model = load_model(folder)
    return train_encoder(model, dataset, options, kimg=images / 1000, minutes=None, progress=SilentProgress())


def state(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "encoder-training" / "checkpoint.safetensors")


def test_the_encoder_learns_to_invert(folder: Path, dataset: Dataset) -> None:
    before = train(folder, dataset, images=4)
    after = train(folder, dataset, images=240, options=replace(TINY, tick_kimg=0.04))
    assert before["code_error"] == pytest.approx(1, abs=0.1)  # it began with the mean code
    assert after["synthetic_psnr"] > before["synthetic_psnr"] + 1
    assert after["val_psnr"] > before["val_psnr"] + 3
    assert after["val_ssim"] > before["val_ssim"] + 0.1
    lines = (folder / "encoder-training" / "stats.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 240 // 40
    assert '"loss_synthetic_code"' in lines[-1]
    assert '"loss_real_features"' in lines[-1]
    encoder = load_model(folder).encoder
    assert encoder is not None
    assert (encoder.config.depth, encoder.config.width, encoder.config.num_outputs) == (18, 8, 1)
    grids = sorted((folder / "encoder-training").glob("reconstructions*.png"))
    assert Image.open(grids[-1]).size == (4 * 32, 2 * 32)


@pytest.mark.parametrize("space", ["w", "w+"])
def test_stopping_and_going_on_is_the_same_as_never_stopping(folder: Path, dataset: Dataset, space: str) -> None:
    options = replace(TINY, space=space)
    other = Path(shutil.copytree(folder, folder.with_name("other")))
    train(folder, dataset, images=24, options=options)
    train(other, dataset, images=12, options=options)
    train(other, dataset, images=24, options=options)
    once, twice = state(folder), state(other)
    assert once.keys() == twice.keys()
    assert [name for name in once if not torch.equal(once[name], twice[name])] == []
    a, b = (load_file(path / "encoder.safetensors") for path in (folder, other))
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def test_a_killed_run_carries_on_to_the_same_weights(folder: Path, dataset: Dataset) -> None:
    other = Path(shutil.copytree(folder, folder.with_name("other")))
    script = f"""
import torch
from pathlib import Path
from dataclasses import replace
from cxredit_cli.progress import SilentProgress
from cxredit_cli.storage.anatomy_network import load_anatomy
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.models import BUNDLED, load_model
from cxredit_cli.training.encoder import EncoderTraining, train_encoder
torch.set_num_threads({torch.get_num_threads()})
options = EncoderTraining(depth=18, width=8, batch=4, held_out=4, tick_kimg=0.008, learning_rate=1e-3)
options = replace(options, checkpoint_seconds=0)
model = load_model(Path({str(folder)!r}))
data = Dataset(Path({str(dataset.path)!r}))
train_encoder(model, data, options, kimg=100, minutes=None, progress=SilentProgress())
"""
    process = subprocess.Popen([sys.executable, "-c", script])
    checkpoint = folder / "encoder-training" / "checkpoint.safetensors"
    deadline = time.monotonic() + 90
    while not checkpoint.exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    seen = load_checkpoint_iteration(checkpoint) * TINY.batch
    assert seen >= 8
    train(folder, dataset, images=seen + 8)
    train(other, dataset, images=seen + 8)
    once, twice = state(folder), state(other)
    assert [name for name in once if not torch.equal(once[name], twice[name])] == []
    times = [line for line in (folder / "encoder-training" / "stats.jsonl").read_text().splitlines() if line]
    assert len(times) == (seen + 8) // 8


def load_checkpoint_iteration(path: Path) -> int:
    from cxredit_cli.training.checkpoint import load_checkpoint

    return int(load_checkpoint(path)[1]["iteration"])


def test_a_time_budget_stops_and_saves(folder: Path, dataset: Dataset) -> None:
    model = load_model(folder)
    train_encoder(model, dataset, TINY, kimg=None, minutes=0.01, progress=SilentProgress())
    assert (folder / "encoder.safetensors").exists()
    assert load_checkpoint_iteration(folder / "encoder-training" / "checkpoint.safetensors") >= 1


def test_a_run_is_not_continued_with_other_choices_or_another_generator(folder: Path, dataset: Dataset) -> None:
    train(folder, dataset, images=4)
    with pytest.raises(MismatchError, match="use --width 8"):
        train(folder, dataset, images=8, options=replace(TINY, width=16))
    train(folder, dataset, images=8, options=replace(TINY, learning_rate=1e-4))
    model = load_model(folder)
    model.fingerprint = "0" * 16
    with pytest.raises(MismatchError, match="0000000000000000"):
        train_encoder(model, dataset, TINY, kimg=1, minutes=None, progress=SilentProgress())


def test_a_new_run_can_start_from_another_encoder(folder: Path, dataset: Dataset) -> None:
    train(folder, dataset, images=8)
    trained = load_model(folder).encoder
    shutil.rmtree(folder / "encoder-training")
    model = load_model(folder)
    train_encoder(model, dataset, TINY, kimg=0.004, minutes=None, progress=SilentProgress(), initial=trained)
    assert trained is not None
    weights = state(folder)["encoder.content.stem.0.weight"]
    assert (weights - trained.content.stem[0].weight).abs().max() < 3 * TINY.learning_rate
    shutil.rmtree(folder / "encoder-training")
    other = Encoder(EncoderConfig(32, 32, depth=34, width=8))
    with pytest.raises(MismatchError, match="same --depth"):
        train_encoder(model, dataset, TINY, kimg=1, minutes=None, progress=SilentProgress(), initial=other)


def networks() -> tuple[Encoder, Generator]:
    torch.manual_seed(1)
    generator = Generator(GeneratorConfig(32, z_dim=16, w_dim=16, channel_base=128, channel_max=8)).eval()
    encoder = Encoder(EncoderConfig(32, 16, depth=18, width=8))
    torch.nn.init.normal_(encoder.to_delta.weight, std=0.1)
    return encoder, generator.requires_grad_(False)


def test_the_synthetic_terms_are_the_papers() -> None:
    encoder, generator = networks()
    w = generator.mapping(torch.randn(2, 16))[:, None]
    x = generator.synthesis(w)
    w_hat = encoder(x)
    x_hat = generator.synthesis(w_hat)
    terms = synthetic_terms(encoder, generator, w)
    assert terms["code"].item() == pytest.approx((w - w_hat).abs().sum().item() / 32, rel=1e-4)
    assert terms["pixel"].item() == pytest.approx((x - x_hat).square().sum().item() / (2 * 32 * 32), rel=1e-4)
    expected = 0.0
    for a, b in zip(generator.synthesis.features(w)[:-1], generator.synthesis.features(w_hat)[:-1], strict=True):
        expected += (a - b).abs().sum().item() / a.numel()
    assert terms["features"].item() == pytest.approx(expected, rel=1e-4)
    assert 0 < terms["ssim"].item() < 2


def test_the_real_terms_are_the_papers_and_only_the_code_learns_from_the_features() -> None:
    encoder, generator = networks()
    images = torch.rand(2, 1, 32, 32) * 2 - 1
    w_hat, features = encoder(images, return_features=True)
    reconstructions = generator.synthesis(w_hat)
    _, features_hat = encoder(reconstructions, return_features=True)
    terms = real_terms(encoder, generator, images)
    assert set(terms) == {"pixel", "ssim", "features"}
    expected = sum((a - b).abs().sum().item() / a.numel() for a, b in zip(features, features_hat, strict=True))
    assert terms["features"].item() == pytest.approx(expected, rel=1e-4)
    # With the codes cut off there is nothing left to learn from: E's own features are not trained to be alike.
    torch.nn.init.zeros_(encoder.to_delta.weight)
    encoder.zero_grad()
    torch.autograd.backward(real_terms(encoder, generator, images)["features"])
    assert all(p.grad is None or p.grad.abs().max() == 0 for name, p in encoder.named_parameters() if "stem" in name)


def test_a_perfect_encoder_has_no_loss() -> None:
    encoder, generator = networks()
    torch.nn.init.zeros_(encoder.to_delta.weight)
    mean, _ = generator.w_statistics()
    encoder.set_code_statistics(mean, torch.ones(16))
    terms = synthetic_terms(encoder, generator, mean.expand(2, 1, -1))
    assert weighted_sum(terms, LossWeights()).item() == pytest.approx(0, abs=1e-5)


def test_the_term_of_the_anatomy_is_the_dice_of_what_the_network_outlines() -> None:
    encoder, generator = networks()
    anatomy = load_anatomy()
    image = torch.from_numpy(bundled_film())
    outlines = soft_outlines(anatomy, generator, image)
    assert outlines.shape == (1, 3, 128, 128)
    shifted = torch.roll(image, 12, dims=3)
    found = soft_outlines(anatomy, generator, shifted)
    dice = [2 * (p * q).sum() / ((p * p).sum() + (q * q).sum()) for p, q in zip(found[0], outlines[0], strict=True)]
    expected = 1 - sum(float(one) for one in dice) / 3
    term = anatomy_term(anatomy, generator, outlines, shifted)["anatomy"]
    assert term.item() == pytest.approx(expected, rel=1e-4)
    assert 0.05 < term.item() < 0.6
    assert anatomy_term(anatomy, generator, outlines, image)["anatomy"].item() == pytest.approx(0, abs=1e-5)
    # In training it is there where a network is given, for both kinds of images, and the codes learn from it.
    w = generator.mapping(torch.randn(2, 16))[:, None]
    assert "anatomy" in synthetic_terms(encoder, generator, w, anatomy)
    encoder.zero_grad()
    reals = torch.rand(2, 1, 32, 32) * 2 - 1
    torch.autograd.backward(real_terms(encoder, generator, reals, anatomy=anatomy)["anatomy"])
    gradient = encoder.to_delta.weight.grad
    assert gradient is not None
    assert gradient.abs().max() > 0


def bundled_film() -> NDArray[np.float32]:
    """A real radiograph [1, 1, 128, 128] in [-1, 1]."""
    with Image.open(Path(__file__).parents[1] / "data" / "00001748_002.png") as picture:
        grey = np.asarray(picture.convert("L"), np.float32)
    return (grey / 127.5 - 1)[None, None]


def test_weights_scale_terms() -> None:
    terms = {"code": torch.tensor(1.0), "pixel": torch.tensor(2.0), "ssim": torch.tensor(3.0)}
    assert weighted_sum(terms, LossWeights(code=10, pixel=0, ssim=2)).item() == 16


def test_features_of_every_stage_count_the_same_whatever_their_size() -> None:
    large, small = torch.zeros(1, 4, 16, 16), torch.zeros(1, 8, 4, 4)
    assert feature_distance([large + 1, small + 2], [large, small]).item() == pytest.approx(3)
