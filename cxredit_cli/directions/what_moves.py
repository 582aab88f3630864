"""Whether a direction moves the border of the heart or changes tone: how its edits can be carried over to films."""

from typing import Any

import numpy as np
import torch
from scipy import ndimage

from cxredit_cli.anatomy.outlines import clean, segment
from cxredit_cli.latent.edit_codes import edit
from cxredit_cli.latent.random_codes import random_codes
from cxredit_cli.latent.responses import reach
from cxredit_cli.latent.synthesize import synthesize
from cxredit_cli.networks.anatomy import HEART, AnatomyNetwork
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.storage.directions import Direction
from cxredit_cli.storage.models import Model

SHARE = 0.25  # of the squared change along the heart's borders; random directions have .06, the cardiomegaly one .44
SHARE_OF_REACH = 2 / 3  # the strength that is tried
SIDE = 128  # of the masks
NEAR = 4  # pixels of theirs to either side of a border


def find_what_moves(
    model: Model,
    network: AnatomyNetwork,
    direction: Direction,
    n: int,
    seed: int = 0,
    batch: int = 32,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """`kind` "border" or "tone", and the share of the change that lies along the heart's old and new border.

    The mean over `n` generated images moved both ways; those on which no heart is outlined do not count.
    """
    progress = progress or SilentProgress()
    strength = SHARE_OF_REACH * reach(model.generator, len(direction.direction))
    vector = torch.from_numpy(direction.direction)
    shares: list[float] = []
    progress.start("Finding what moves", n)
    for start in range(0, n, batch):
        codes = random_codes(model.generator, seed, range(start, min(start + batch, n)))
        moved = edit(codes.cpu(), vector, [-strength, 0.0, strength], model.generator.num_ws).flatten(0, 1)
        pictures = torch.cat(list(synthesize(model.generator, moved, batch=batch)))
        hearts = clean(segment(network, pictures, SIDE, batch).masks) == HEART
        grey = torch.nn.functional.interpolate(pictures, size=(SIDE, SIDE), mode="area")[:, 0].numpy()
        for image in range(0, len(grey), 3):
            for edited in (image, image + 2):
                before, after = hearts[image + 1], hearts[edited]
                if before.any() and after.any():
                    around = ndimage.binary_dilation(before | after, iterations=NEAR)
                    border = around & ~ndimage.binary_erosion(before & after, iterations=NEAR)
                    change = np.square(grey[edited].astype(np.float64) - grey[image + 1])
                    shares.append(float(change[border].sum() / max(change.sum(), 1e-12)))
        progress.advance(start + len(codes))
    progress.finish()
    share = float(np.mean(shares)) if shares else 0.0
    return {"kind": "border" if share >= SHARE else "tone", "share_at_heart_border": share, "images": n, "seed": seed}
