"""The anatomy network learns; its training resumes; its augmentation keeps what it must."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from cxredit_cli.errors import MismatchError
from cxredit_cli.networks.anatomy import AnatomyConfig, AnatomyNetwork
from cxredit_cli.networks.preparation import normalise
from cxredit_cli.training.anatomy import (
    AnatomyTraining,
    anatomy_loss,
    augmentation_strength,
    extent_error,
    train_anatomy,
    training_batch,
)
from cxredit_cli.training.anatomy_augmentation import change_contrast, deform

SIDE = 32
OPTIONS = AnatomyTraining(steps=60, batch=4, warmup=5)


@pytest.fixture(scope="module")
def examples(data: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Three real images [3, 1, 32, 32] and the shares of the classes."""
    folder = data / "wingspan"
    paths = sorted(path.name for path in (folder / "images").glob("*.png"))
    images = torch.from_numpy(np.stack([np.asarray(Image.open(folder / "images" / path)) for path in paths])).float()
    masks = torch.from_numpy(np.stack([np.asarray(Image.open(folder / "masks" / path)) for path in paths])).long()
    shares = F.one_hot(masks, 4).movedim(-1, 1).float()
    return F.interpolate(images[:, None], (SIDE, SIDE), mode="area"), F.interpolate(shares, (SIDE, SIDE), mode="area")


def fresh() -> AnatomyNetwork:
    torch.manual_seed(0)
    return AnatomyNetwork(AnatomyConfig(resolution=SIDE, widths=(8, 16, 16), groups=4))


def test_the_loss_by_hand() -> None:
    targets = torch.zeros(1, 4, 2, 2)
    targets[:, 0, 0], targets[:, 3, 1] = 1, 1
    assert anatomy_loss(targets * 50, targets) < 1e-6
    # Scores of 0: probabilities of 1/4; the heart covers 2 of 4 pixels, the lungs none.
    lungs, heart = 1 / (4 / 16 + 1), (2 * 2 / 4 + 1) / (4 / 16 + 2 + 1)
    # Each shadow of the heart is 1, 1 on the columns and 0, 1 on the rows; the lungs have none.
    columns, rows = (2 * 1 / 4 + 3 / 4) / 3, (2 * 1 / 4 + (1 / 4 + 3 / 4) / 2) / 3
    expected = np.log(4) + 1 - (2 * lungs + heart) / 3 + columns + rows
    assert anatomy_loss(torch.zeros(1, 4, 2, 2), targets).item() == pytest.approx(expected, rel=1e-5)


def test_extents_see_tips() -> None:
    organ = torch.zeros(1, 1, 10, 10)
    organ[..., 3:7, 2:8] = 1
    with_tip = organ.clone()
    with_tip[..., 5, 8:10] = 1
    assert extent_error(organ, organ) == 0
    assert extent_error(with_tip, organ).item() == pytest.approx(2 / 10)
    assert extent_error(with_tip.mT, organ.mT).item() == pytest.approx(2 / 10)


def test_it_learns_what_it_sees(examples: tuple[torch.Tensor, torch.Tensor]) -> None:
    images, targets = examples
    x, wanted = training_batch(images, targets, 12, seed=9, step=0)  # shapes and contrasts that training does not see
    before = anatomy_loss(fresh()(x), wanted).item()
    trained = train_anatomy(fresh(), images, targets, OPTIONS)
    assert anatomy_loss(trained(x), wanted).item() < 0.75 * before


def test_a_stopped_training_carries_on_bit_for_bit(examples: tuple[torch.Tensor, torch.Tensor], tmp_path: Path) -> None:
    images, targets = examples
    options = replace(OPTIONS, steps=6)
    whole = train_anatomy(fresh(), images, targets, options)

    def stop(_: AnatomyNetwork) -> dict[str, float]:
        if (tmp_path / "checkpoint").exists():
            raise KeyboardInterrupt
        return {}

    with pytest.raises(KeyboardInterrupt):
        train_anatomy(fresh(), images, targets, options, tmp_path / "checkpoint", stop, check_every=2)
    resumed = train_anatomy(fresh(), images, targets, options, tmp_path / "checkpoint", check_every=2)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(MismatchError):
        train_anatomy(fresh(), images, targets, replace(options, lr=1e-4), tmp_path / "checkpoint")


def test_augmentation_keeps_sides_shares_and_range(examples: tuple[torch.Tensor, torch.Tensor]) -> None:
    images, targets = examples
    moved, wanted = deform(
        (images / 255).repeat(40, 1, 1, 1), targets.repeat(40, 1, 1, 1), torch.Generator().manual_seed(1)
    )
    assert torch.allclose(wanted.sum(1), torch.ones(()), atol=1e-5)
    assert wanted.min() >= 0
    assert moved.min() >= 0
    assert moved.max() <= 1
    columns = torch.arange(SIDE).float()
    right, left = ((wanted[:, organ].sum(1) * columns).sum(1) / wanted[:, organ].sum((1, 2)) for organ in (1, 2))
    assert (right < left).all()  # never mirrored
    areas = wanted[:, 3].mean((1, 2))
    assert areas.std() / areas.mean() > 0.2


def test_contrast_is_never_inverted(examples: tuple[torch.Tensor, torch.Tensor]) -> None:
    images, targets = examples
    x = normalise(images).repeat(40, 1, 1, 1)
    changed = change_contrast(x, torch.Generator().manual_seed(2))
    assert changed.isfinite().all()
    lungs = (targets[:, 1] + targets[:, 2]).repeat(40, 1, 1) > 0.9
    heart = targets[:, 3].repeat(40, 1, 1) > 0.9
    pictures = zip(changed[:, 0], lungs, heart, strict=True)
    assert np.mean([(picture[a].mean() < picture[b].mean()).item() for picture, a, b in pictures]) > 0.95


def test_augmentation_of_no_strength_changes_nothing(examples: tuple[torch.Tensor, torch.Tensor]) -> None:
    images, targets = examples
    randomness = torch.Generator().manual_seed(0)
    moved, wanted = deform(normalise(images), targets, randomness, strength=0)
    assert torch.allclose(moved, normalise(images), atol=1e-4)
    assert torch.allclose(wanted, targets, atol=1e-4)
    assert torch.equal(change_contrast(moved, randomness, strength=0), moved)
    assert augmentation_strength(0, OPTIONS) == augmentation_strength(30, OPTIONS) == 1
    assert augmentation_strength(60, OPTIONS) == pytest.approx(OPTIONS.last_augmentation)


def test_a_batch_depends_on_seed_and_step_alone(examples: tuple[torch.Tensor, torch.Tensor]) -> None:
    one, other = (training_batch(*examples, 4, 0, 3)[0] for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.equal(one, training_batch(*examples, 4, 0, 4)[0])
    assert not torch.equal(one, training_batch(*examples, 4, 1, 3)[0])
