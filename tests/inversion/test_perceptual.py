"""The perceptual term: features of the model's own networks, and LPIPS from weights on this machine."""

from pathlib import Path

import pytest
import torch
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
from torchvision.models import squeezenet1_1

from cxredit_cli.errors import InputError
from cxredit_cli.inversion.invert import invert
from cxredit_cli.inversion.optimize import Settings, optimize
from cxredit_cli.inversion.perceptual import (
    choose_features,
    choose_judge,
    lpips_features,
    lpips_weights,
    model_features,
    perceptual_distance,
)
from cxredit_cli.latent.random_codes import random_codes
from cxredit_cli.storage.models import load_model


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of torch's hub, which is where torchvision keeps its weights."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    lpips_features.cache_clear()
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def test_the_features_of_the_discriminator_count_where_they_are_asked_for(tiny_model_dir: Path) -> None:
    model = load_model(tiny_model_dir, parts=("generator", "discriminator"))
    features = model_features(model)
    with torch.no_grad():
        images = model.generator.synthesis(random_codes(model.generator, 1, range(3))).clamp(-1, 1)
    same = perceptual_distance(features(images), features(images))
    torch.testing.assert_close(same, torch.zeros(3))
    alone = perceptual_distance(features(images[:1]), features(images[1:2]))
    together = perceptual_distance(features(images), features(images.roll(-1, 0)))
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-5)

    def distance(weight: float) -> float:
        settings = Settings(perceptual_weight=weight, patience=None)
        found = optimize(model.generator, images, steps=30, settings=settings, features=features)
        return perceptual_distance(features(found.reconstructions), features(images)).mean().item()

    assert distance(3.0) < 0.8 * distance(0.0)


def test_a_model_without_discriminator_and_encoder_has_no_features(tiny_model_dir: Path) -> None:
    with pytest.raises(InputError, match="neither"):
        model_features(load_model(tiny_model_dir, parts=("generator",)))


def test_without_weights_on_this_machine_nothing_is_downloaded(hub: Path) -> None:
    with pytest.raises(InputError, match=r"vgg16-\S+\.pth, \S+, \S+, and finds none"):
        choose_judge("lpips", 0.1)
    with pytest.raises(InputError, match="not there"):
        lpips_features("vgg")
    assert not list(hub.iterdir())


def test_the_perceptual_term_is_lpips_where_its_weights_are(hub: Path, tiny_model_dir: Path) -> None:
    torch.manual_seed(0)
    torch.save(squeezenet1_1(weights=None).state_dict(), lpips_weights()["squeeze"])
    assert choose_judge("lpips", 0.1) == "squeeze"
    model = load_model(tiny_model_dir)
    features = choose_features(model, "squeeze")
    images = torch.rand(2, 2, 1, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    reference = LearnedPerceptualImagePatchSimilarity(net_type="squeeze", reduction="none")
    wanted = reference(*images.expand(-1, -1, 3, -1, -1))
    torch.testing.assert_close(
        perceptual_distance(features(images[0]), features(images[1])), wanted, rtol=1e-3, atol=1e-5
    )

    with torch.no_grad():
        made = model.generator.synthesis(random_codes(model.generator, 3, range(2))).clamp(-1, 1)

    def distance(weight: float) -> float:
        settings = Settings(perceptual_weight=weight, perceptual="squeeze", patience=None)
        found = invert(model, made, "optimize", steps=30, settings=settings)
        return perceptual_distance(features(found.reconstructions), features(made)).mean().item()

    assert distance(0.3) < 0.95 * distance(0.0)


def test_a_damaged_file_of_weights_is_named(hub: Path) -> None:
    lpips_weights()["squeeze"].write_bytes(b"not weights")
    with pytest.raises(InputError, match="squeezenet1_1"):
        lpips_features("squeeze")


def test_what_counts_for_nothing_or_is_unknown_is_refused() -> None:
    with pytest.raises(InputError, match="without --perceptual-weight"):
        choose_judge("lpips", 0)
    with pytest.raises(InputError, match="model or lpips"):
        choose_judge("vgg", 1)
    assert choose_judge("model", 0) == "model"
