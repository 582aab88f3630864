"""Sections `reconstruction` and `code_error` of an evaluation: how near each way of inverting comes, and how fast."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxredit_cli.anatomy.measures import Anatomy, measure_images
from cxredit_cli.errors import InputError
from cxredit_cli.evaluation.scans import Scans, invert_scans
from cxredit_cli.inversion import STEPS
from cxredit_cli.inversion.invert import choose_method, choose_space
from cxredit_cli.latent.random_codes import random_codes
from cxredit_cli.latent.synthesize import synthesize
from cxredit_cli.metrics.ms_ssim import ms_ssim
from cxredit_cli.metrics.psnr_ssim import psnr, ssim
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.processes import ALONE, Processes
from cxredit_cli.progress import Progress
from cxredit_cli.storage.models import Model


@dataclass(frozen=True, slots=True)
class Way:
    """One way of inverting."""

    method: str
    space: str
    steps: int  # of optimisation; 0 for the encoder alone

    def __str__(self) -> str:
        return f"{self.method}, {self.space}" + (f", {self.steps} steps" if self.steps else "")


def parse_way(text: str, model: Model) -> Way:
    """Read METHOD, METHOD,SPACE or METHOD,SPACE,STEPS, such as `hybrid,w+,100`; raises InputError."""
    method, *rest = [part.strip() for part in text.split(",")]
    if len(rest) > 2 or (len(rest) == 2 and not (rest[1].isdecimal() and int(rest[1]))):
        raise InputError(f"--by must be METHOD,SPACE,STEPS such as hybrid,w,50, but it is '{text}'.")
    known = choose_method(model, method)
    space = choose_space(model, known, rest[0] if rest else None)
    return Way(known, space, 0 if known == "encoder" else int(rest[1]) if len(rest) == 2 else STEPS)


def default_ways(model: Model) -> list[Way]:
    """The encoder, the hybrid of few steps, and the optimiser in W and W+."""
    texts = ["optimize,w", "optimize,w+"]
    return [parse_way(text, model) for text in (["encoder", "hybrid,w,50", *texts] if model.encoder else texts)]


def evaluate_reconstruction(
    model: Model,
    judge: AnatomyNetwork,
    scans: Scans,
    ways: Sequence[Way],
    batch: int = 16,
    progress: Progress | None = None,
    processes: Processes = ALONE,
) -> dict[str, Any]:
    """PSNR, SSIM and MS-SSIM of reconstructions, whether the CTR stays, and seconds an image, for each way.

    Several `processes` share the images, and all have the section.
    """
    before = measure_images(judge, scans.images, batch)
    rows = []
    for way in ways:
        codes, made = invert_scans(
            model, scans.images, way.method, way.space, way.steps or 1, batch, progress, processes
        )
        after = measure_images(judge, made, batch)
        rows.append(
            {
                **{"way": str(way), "method": way.method, "space": way.space, "steps": way.steps},
                "psnr": _spread(psnr(scans.images, made)),
                "ssim": _spread(ssim(scans.images, made)),
                "ms_ssim": _spread(ms_ssim(scans.images, made)),
                **_agreement(before, after),
                "seconds_an_image": codes.seconds,
            }
        )
    device = model.generator.mapping.w_avg.device
    return {"cohort": scans.described, "device": str(device), "batch": batch, "ways": rows}


@torch.no_grad()
def evaluate_code_error(
    model: Model,
    ways: Sequence[Way],
    n: int,
    seed: int = 0,
    batch: int = 16,
    progress: Progress | None = None,
    processes: Processes = ALONE,
) -> dict[str, Any]:
    """How far the codes of synthetic images are from those that made them, for each way.

    The error is the mean squared distance to the true code over that of the mean code: 0 for exact codes, 1 for always
    answering with the mean code, 2 for any other random code. In W+ it is the mean over the layers.
    """
    generator = model.generator
    true = random_codes(generator, seed, range(n)).float().cpu()
    images = torch.cat(list(synthesize(generator, true, batch=batch)))
    mean, _ = generator.w_statistics()
    scale = (true - mean.cpu()).square().sum(-1).mean()
    rows = []
    for way in ways:
        with torch.enable_grad():
            codes, made = invert_scans(model, images, way.method, way.space, way.steps or 1, batch, progress, processes)
        errors = (codes.w - true).square().sum(-1).mean(1) / scale
        rows.append({"way": str(way), "error": _spread(errors), "psnr": _spread(psnr(images, made))})
    return {"images": n, "ways": rows}


def _agreement(before: Anatomy, after: Anatomy) -> dict[str, float | int | None]:
    both = before.plausible & after.plausible
    x, y = before.ctr[both], after.ctr[both]
    varied = len(x) > 2 and x.std() > 0 and y.std() > 0
    return {
        "ctr_images": int(both.sum()),
        "ctr_correlation": float(np.corrcoef(x, y)[0, 1]) if varied else None,
        "ctr_error": float(np.abs(x - y).mean()) if len(x) else None,
    }


def _spread(values: Tensor) -> dict[str, float]:
    known: NDArray[np.float64] = values.double().numpy()
    return {"mean": float(known.mean()), "deviation": float(known.std())}
