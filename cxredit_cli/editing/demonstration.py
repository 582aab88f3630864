"""One radiograph moved along a direction in many small steps, and its anatomy measured at each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cxredit_cli.anatomy.measures import Anatomy, measure_segmentation
from cxredit_cli.anatomy.outlines import MASK_SIDE, clean, segment
from cxredit_cli.inversion.invert import choose_method, choose_space, invert
from cxredit_cli.inversion.precision import fast_gradients
from cxredit_cli.inversion.request import InversionRequest
from cxredit_cli.latent.edit_codes import edit
from cxredit_cli.latent.synthesize import synthesize
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.radiographs.geometry import fit_square
from cxredit_cli.radiographs.read import read_radiograph
from cxredit_cli.radiographs.sources import Source
from cxredit_cli.storage.directions import Direction
from cxredit_cli.storage.models import BUNDLED, Model

# PA, No Finding, of a patient that `prepare --val-fraction 0.1 --seed 0` holds out of training; its name is NIH's.
BUNDLED_RADIOGRAPH = BUNDLED / "radiographs" / "00001748_002.png"


@dataclass(frozen=True, slots=True)
class Demonstration:
    """What was made of one image, R pixels wide, at S strengths; all images in 0..1."""

    source: str  # name of the file
    reading: str  # how it was read
    original: NDArray[np.float32]  # [R, R]
    reconstruction: NDArray[np.float32]  # [R, R]
    edits: NDArray[np.float32]  # [S, R, R]
    strengths: list[float]  # rising
    anatomy: Anatomy  # of original, reconstruction and edits: 2 + S rows
    masks: NDArray[np.uint8]  # [2 + S, 256, 256], clean
    psnr: float  # of the reconstruction, dB
    ssim: float
    method: str
    space: str
    steps: int  # of optimisation; 0 for the encoder alone
    fit_noise: bool

    @property
    def changes(self) -> NDArray[np.float32]:
        """What each edit changed of the reconstruction: [S, R, R] in -1..1."""
        return self.edits - self.reconstruction


def demonstrate(
    model: Model,
    network: AnatomyNetwork,
    image: Path,
    direction: Direction,
    strengths: Sequence[float],
    inversion: InversionRequest | None = None,
    batch: int = 16,
    progress: Progress | None = None,
) -> Demonstration:
    """Invert `image`, edit it by each strength and measure all of it, the original at the model's resolution.

    Raises UnreadableImageError where `image` is no radiograph.
    """
    inversion, progress = inversion or InversionRequest(), progress or SilentProgress()
    generator = model.generator
    read = read_radiograph(Source(image))
    original = fit_square(read.pixels, generator.resolution, inversion.fit)
    method = choose_method(model, inversion.method)
    space = choose_space(model, method, inversion.space)
    pixels = torch.from_numpy(original)[None, None] * 2 - 1

    progress.start("Inverting", 1)
    with fast_gradients(generator):
        found = invert(model, pixels, method, space, inversion.steps, 1, inversion.fit_noise, progress)
    progress.finish()

    rising = sorted(strengths)
    codes = edit(found.w, torch.from_numpy(direction.direction), [0.0, *rising], generator.num_ws).flatten(0, 1)
    noise = None if found.noise is None else [layer.expand(len(codes), -1, -1, -1) for layer in found.noise]
    progress.start("Editing", len(codes))
    made = []
    for images in synthesize(generator, codes, noise, batch):
        made.append(images)
        progress.advance(sum(map(len, made)))
    progress.finish()
    pictures = torch.cat([pixels, *made])
    segmented = segment(network, pictures, MASK_SIDE, batch)
    grey = ((pictures[:, 0] + 1) / 2).numpy()
    return Demonstration(
        source=read.name,
        reading=read.reading,
        original=original,
        reconstruction=grey[1],
        edits=grey[2:],
        strengths=rising,
        anatomy=measure_segmentation(segmented),
        masks=clean(segmented.masks),
        psnr=float(found.psnr[0]),
        ssim=float(found.ssim[0]),
        method=method,
        space=space,
        steps=0 if method == "encoder" else inversion.steps,
        fit_noise=inversion.fit_noise,
    )
