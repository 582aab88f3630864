"""From two image files to the direction between them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxredit_cli.directions.vectors import pair_direction
from cxredit_cli.errors import InputError
from cxredit_cli.inversion.encode import Space
from cxredit_cli.inversion.follow import follow
from cxredit_cli.inversion.invert import Method, invert
from cxredit_cli.inversion.precision import fast_gradients
from cxredit_cli.inversion.result import InversionResult
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

    A third image, the original with uniform noise of one grey level, is inverted as the edited one is: how far that
    moves the code is how repeatable the inversion is. Where codes are optimised, both are sought from the original's
    (`inversion.following`). Raises InputError when both files hold the same picture.
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
    progress.start("Inverting", 1)
    own, others = invert_edited(model, images[:1], images[1:], method, space, steps, progress)
    progress.finish()
    spread = model.generator.w_statistics()[1].cpu().numpy()
    vector, statistics = pair_direction(own.w[0].numpy(), others.w[0].numpy(), spread, repeat=others.w[1].numpy())
    measured = statistics.as_dict() | {
        "psnr_original": float(own.psnr[0]),
        "psnr_edited": float(others.psnr[0]),
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


def invert_edited(
    model: Model,
    originals: Tensor,
    edited: Tensor,
    method: Method,
    space: Space,
    steps: int,
    progress: Progress | None = None,
    done: int = 0,
) -> tuple[InversionResult, InversionResult]:
    """Codes of originals [N, 1, R, R] and of edited pictures [N * k, 1, R, R], k of each original in a row.

    By the encoder each for itself, as in the paper; otherwise the edited ones from their originals' codes.
    """
    count = len(edited) // len(originals)
    with fast_gradients(model.generator):
        own = invert(model, originals, method, space, steps, len(originals), progress=progress, done=done)
        if method == "encoder":
            return own, invert(model, edited, method, space, steps, len(edited))
        repeated = replace(
            own,
            w=own.w.repeat_interleave(count, 0),
            reconstructions=own.reconstructions.repeat_interleave(count, 0),
        )
        return own, follow(model, originals.repeat_interleave(count, 0), edited, repeated, space, len(edited))


def _with_invisible_noise(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    noise = np.random.default_rng(0).uniform(-GREY_LEVEL, GREY_LEVEL, pixels.shape)
    return np.clip(pixels + noise, 0, 1).astype(np.float32)
