"""Films whose edits cannot be trusted: what is seen of mirrored films, and of illness that hides the heart's border."""

import numpy as np
import pytest

from cxredit_cli.anatomy.measures import measure
from cxredit_cli.editing.film_refusals import Evidence, hidden_border
from cxredit_cli.networks.anatomy import HEART, LEFT_LUNG, RIGHT_LUNG


def chest(heart: tuple[int, int] = (110, 190), bottom: int = 190, left_base: int = 190, edge: int = 230) -> np.ndarray:
    """Lungs from column 30 to `edge`, a heart between two columns; rows of their lower ends."""
    mask = np.zeros((256, 256), dtype=np.uint8)
    mask[40:190, 30:128] = RIGHT_LUNG
    mask[40:left_base, 128:edge] = LEFT_LUNG
    mask[100:bottom, heart[0] : heart[1]] = HEART
    return mask


def centre_of(mask: np.ndarray) -> float:
    masks = np.stack([mask, mask])
    return Evidence.of(measure(masks), masks, [0.0]).centre


def test_a_heart_on_the_other_side_is_known_even_where_the_mediastinum_is_shifted() -> None:
    normal = chest()
    assert centre_of(normal) > 0.03
    mirrored = normal[:, ::-1].copy()
    mirrored[mirrored == RIGHT_LUNG] = 9
    mirrored[mirrored == LEFT_LUNG] = RIGHT_LUNG
    mirrored[mirrored == 9] = LEFT_LUNG
    assert centre_of(mirrored) == pytest.approx(-centre_of(normal), abs=0.01)
    masks = np.stack([mirrored, mirrored])
    assert "mirrored" in Evidence.of(measure(masks), masks, [0.0]).unusable()
    # Drawn to the right as a whole, by a third of its distance from the middle: the right lung is the smaller.
    shifted = np.zeros_like(normal)
    shifted[:, :-20] = normal[:, 20:]
    shifted[40:190, 10:30] = 0
    shifted[40:190, 210:230] = LEFT_LUNG
    middle_alone = (np.nonzero(shifted == HEART)[1].mean() - 129.5) / 200
    assert middle_alone < 0.02
    assert centre_of(shifted) > middle_alone + 0.03


def test_illness_that_hides_the_border_is_refused() -> None:
    assert hidden_border(chest(), 0.95) == ""
    assert "uncertain" in hidden_border(chest(), 0.93)
    assert hidden_border(chest(bottom=205), 0.95) == ""  # .075 of the chest's width below the lungs
    assert "base of a lung" in hidden_border(chest(bottom=220), 0.95)
    assert "base of a lung" in hidden_border(chest(left_base=150), 0.95)
    masks = np.stack([chest(left_base=150), chest()])
    assert "base of a lung" in Evidence.of(measure(masks), masks, [0.0], 0.95).unusable()
