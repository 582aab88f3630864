"""Grids of images, and how few of them a long run keeps."""

from pathlib import Path

import numpy as np
import torch

from cxredit_cli.figures.grids import image_grid, pairs_grid, thin


def test_images_stand_in_reading_order_and_missing_ones_are_black() -> None:
    images = torch.tensor([-1.0, 0.0, 1.0])[:, None, None, None].expand(3, 1, 2, 2)
    expected = np.array([[0, 0.5], [1, 0]], dtype=np.float32).repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_allclose(image_grid(images, columns=2), expected)


def test_pairs_stand_row_above_row() -> None:
    upper = torch.tensor([-1.0, 0.0, 1.0])[:, None, None, None]
    expected = np.array([[0, 0.5], [1, 0.5], [1, 0], [0, 0]], dtype=np.float32)
    np.testing.assert_allclose(pairs_grid(upper, -upper, columns=2), expected)
    assert pairs_grid(upper, -upper).shape == (2, 3)


def test_a_long_run_keeps_a_bounded_record(tmp_path: Path) -> None:
    for number in range(1, 1001):
        (tmp_path / f"fakes{number:06d}.png").touch()
        thin(tmp_path, "fakes*.png", most=20)
    numbers = [int(path.stem.removeprefix("fakes")) for path in sorted(tmp_path.iterdir())]
    assert 10 <= len(numbers) <= 20
    assert numbers[0] == 1
    assert numbers[-1] == 1000
