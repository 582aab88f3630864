"""Augmentation that suits radiographs."""

import torch

from cxredit_cli.training.augmentation import adapt_p, augment
from cxredit_cli.training.draws import Draws
from cxredit_cli.training.parts import whole_batch


def draws(count: int) -> Draws:
    return Draws(0, 0, "test", whole_batch(count), torch.device("cpu"))


def test_p_zero_changes_nothing_and_p_one_changes_every_picture() -> None:
    images = torch.rand(8, 1, 32, 32) * 2 - 1
    torch.testing.assert_close(augment(images, torch.tensor(0.0), draws(8)), images, atol=1e-5, rtol=0)
    changed = (augment(images, torch.tensor(1.0), draws(8)) - images).abs().mean(dim=(1, 2, 3))
    assert (changed > 0.01).all()


def test_no_mirroring_no_turning_no_inversion() -> None:
    # The brightest quadrant stays the brightest: top left. Flips, quarter turns and inversion would move it.
    picture = torch.full((64, 1, 32, 32), -0.5)
    picture[:, :, :16, :16] = 0.5
    seen = augment(picture, torch.tensor(1.0), draws(64))
    quadrants = torch.nn.functional.avg_pool2d(seen, 16).flatten(1)
    assert (quadrants.argmax(dim=1) == 0).all()


def test_gradients_reach_the_images() -> None:
    images = torch.randn(2, 1, 16, 16, requires_grad=True)
    augment(images, torch.tensor(1.0), draws(2)).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_p_follows_the_sign_of_the_overfitting_and_stays_in_bounds() -> None:
    p = torch.tensor(0.0)
    up = adapt_p(p, torch.tensor(0.9), 1000, target=0.6)
    assert up.item() == torch.tensor(1000 / 500_000).item()
    assert adapt_p(up, torch.tensor(0.2), 1000, target=0.6).item() == 0
    assert adapt_p(p, torch.tensor(0.2), 1000, target=0.6).item() == 0
    assert adapt_p(torch.tensor(0.8), torch.tensor(0.9), 10_000, target=0.6).item() <= 0.8 + 1e-6
