"""One radiograph moved along a direction in many small steps, and its anatomy measured at each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cxredit_cli.anatomy.measures import Anatomy, measure_segmentation
from cxredit_cli.anatomy.outlines import MASK_SIDE, clean, segment
from cxredit_cli.editing.edit_film import CarriedEdit, edit_film, reduce
from cxredit_cli.inversion.invert import choose_method, choose_space, invert
from cxredit_cli.inversion.precision import fast_gradients
from cxredit_cli.inversion.request import InversionRequest
from cxredit_cli.latent.edit_codes import edit
from cxredit_cli.latent.synthesize import synthesize
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.radiographs.film import read_film
from cxredit_cli.radiographs.geometry import fit_square
from cxredit_cli.radiographs.sources import Source
from cxredit_cli.storage.directions import Direction
from cxredit_cli.storage.models import BUNDLED, Model

# PA, No Finding, of a patient that `prepare --val-fraction 0.1 --seed 0` holds out of training; its name is NIH's.
BUNDLED_RADIOGRAPH = BUNDLED / "radiographs" / "00000318_002.png"


FILM_SIDE = 1024  # of the film on a page, at most


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
    film: NDArray[np.float32]  # [N, N], the film's own square, N at most FILM_SIDE
    film_edits: list[CarriedEdit] | None  # S edits of it; None where the direction was not calibrated
    film_masks: NDArray[np.uint8] | None  # [S, 256, 256] of the edited films, clean

    @property
    def changes(self) -> NDArray[np.float32]:
        """What each edit changed of the reconstruction: [S, R, R] in -1..1."""
        return self.edits - self.reconstruction


def demonstrate(
    model: Model,
    network: AnatomyNetwork,
    image: Path | Source,
    direction: Direction,
    strengths: Sequence[float],
    inversion: InversionRequest | None = None,
    batch: int = 16,
    progress: Progress | None = None,
    suspect: str = "",
) -> Demonstration:
    """Invert `image`, edit it by each strength and measure all of it, the original at the model's resolution.

    A film that is `suspect` (why, in words) is not edited itself.
    Raises UnreadableImageError where `image` is no radiograph.
    """
    inversion, progress = inversion or InversionRequest(), progress or SilentProgress()
    generator = model.generator
    read = read_film(image)
    square = read.square(inversion.fit)
    original = fit_square(square, generator.resolution)
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
    film, film_edits, film_masks = reduce(square, FILM_SIDE), None, None
    if direction.carried is not None:
        path = {0.0: grey[1], **dict(zip(rising, grey[2:], strict=True))}
        known = sorted(path)
        progress.start("Editing the film", 1)
        stacked = np.stack([path[strength] for strength in known])
        film_edits = edit_film(network, film, stacked, known, rising, direction.carried).edits
        if suspect:
            film_edits = [replace(one, refused=suspect) for one in film_edits]
        edited = np.stack([reduce(film + one.change, network.config.resolution) for one in film_edits])
        film_masks = clean(segment(network, torch.from_numpy(edited)[:, None], MASK_SIDE, batch).masks)
        progress.finish()
    return Demonstration(
        source=read.source.name,
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
        film=film,
        film_edits=film_edits,
        film_masks=film_masks,
    )
