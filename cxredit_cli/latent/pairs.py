"""From two image files to the direction between them."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cxredit_cli.errors import InputError
from cxredit_cli.inversion.encode import Space
from cxredit_cli.inversion.invert import Method, invert
from cxredit_cli.latent.directions import pair_direction
from cxredit_cli.latent.precision import fast_gradients
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.radiographs.geometry import Fit, fit_square
from cxredit_cli.radiographs.read import read_radiograph
from cxredit_cli.radiographs.sources import Source
from cxredit_cli.storage.directions import Direction
from cxredit_cli.storage.models import Model

GREY_LEVEL = 1 / 255


def find_pair_direction(
    model: Model,
    original: Path,
    edited: Path,
    method: Method,
    space: Space,
    steps: int,
    fit: Fit,
    name: str | None = None,
    progress: Progress | None = None,
) -> tuple[Direction, str | None]:
    """The direction from one image file to another, and a warning where the pair carries none.

    A third image, the original with uniform noise of one grey level, is inverted in the same batch: how far that moves
    the code is how repeatable the inversion is. Raises InputError when both files hold the same picture.
    """
    progress = progress or SilentProgress()
    sources = [Source(original), Source(edited)]
    side = model.generator.resolution
    before, after = (fit_square(read_radiograph(source).pixels, side, fit) for source in sources)
    if np.array_equal(before, after):
        raise InputError(
            f"{original} and {edited} show the same picture at {side}x{side}, so they span no direction; "
            "give an edited image that differs."
        )
    images = torch.from_numpy(np.stack([before, after, _with_invisible_noise(before)]))[:, None] * 2 - 1
    progress.start("Inverting", len(images))
    with fast_gradients(model.generator):
        found = invert(model, images, method, space, steps, batch=len(images), progress=progress)
    progress.finish()
    w = found.w.numpy()
    spread = model.generator.w_statistics()[1].cpu().numpy()
    vector, statistics = pair_direction(w[0], w[1], spread, repeat=w[2])
    measured = statistics.as_dict() | {
        "psnr_original": float(found.psnr[0]),
        "psnr_edited": float(found.psnr[1]),
        "mean_abs_pixel_difference": float(np.abs(after - before).mean()),
    }
    direction = Direction(
        direction=vector,
        name=name or f"{sources[0].stem} to {sources[1].stem}",
        method=f"pair, {method}",
        fingerprint=model.fingerprint,
        sources=[source.name for source in sources],
        statistics=measured,
        model=model.name,
    )
    return direction, statistics.warning()


def _with_invisible_noise(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    noise = np.random.default_rng(0).uniform(-GREY_LEVEL, GREY_LEVEL, pixels.shape)
    return np.clip(pixels + noise, 0, 1).astype(np.float32)
