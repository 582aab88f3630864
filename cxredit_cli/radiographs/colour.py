"""Telling a grey picture that is stored as colour from a true colour picture."""

import numpy as np
from numpy.typing import NDArray

from cxredit_cli.errors import UnreadableImageError

LARGEST_SPREAD = 12 / 255  # lossy compression moves the channels of a grey picture apart by a few levels
LARGEST_SHARE = 0.01  # a small coloured mark on a radiograph is let pass


def refuse_colour(colours: NDArray[np.float32]) -> None:
    """Raise UnreadableImageError if more than 1 % of the pixels [H, W, channels] in 0..1 differ between channels.

    Lossy compression moves the channels of a grey picture apart by a few levels; a small coloured mark is let pass.
    """
    spread = colours.max(axis=-1) - colours.min(axis=-1)
    share = float((spread > LARGEST_SPREAD).mean())
    if share > LARGEST_SHARE:
        raise UnreadableImageError(
            f"it is a colour picture ({share:.0%} of its pixels are not grey); expected a grey radiograph."
        )
