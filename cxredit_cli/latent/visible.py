"""Coordinates of codes in which a distance says how much of it shows: in the picture, or in its anatomy.

Most directions of W hardly show, and a search leaves them wherever it comes by. A statistic of codes that takes all
directions for equal hears this more than it hears a disease. With J the Jacobian of what is looked at (the picture, or
measures of it) and C = mean of J^T J over random codes, the coordinates C^(1/2) w have the lengths of its changes.
"""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxredit_cli.anatomy.picture_measures import MEASURES, soft_measures
from cxredit_cli.errors import known_word
from cxredit_cli.inversion.curvature import principal_directions
from cxredit_cli.inversion.encode import Space
from cxredit_cli.inversion.result import full_precision
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.networks.generator import Generator, random_z
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.storage.anatomy_network import load_anatomy
from cxredit_cli.storage.models import Model

Floats = NDArray[np.float64]
Metric = Literal["codes", "picture", "anatomy"]  # what says how far two codes are apart

SEED = 6
CODES = 512  # with a gradient of each; the curvature of W is measured exactly, along every axis
PILOT = 64  # codes that say how much each measure of the anatomy varies
BATCH = 16
PICTURE_SIDE = 64


def check_metric(metric: str) -> Metric:
    """Raise InputError unless `metric` is one."""
    known: Metric = known_word(metric, Metric, "--metric")
    return known


def space_of(layers: int) -> Space:
    """Whether codes [N, layers, D] are of W or of W+."""
    return "w" if layers == 1 else "w+"


def visible_coordinates(
    model: Model,
    space: Space,
    metric: Metric = "picture",
    network: AnatomyNetwork | None = None,
    progress: Progress | None = None,
) -> Floats | None:
    """The map [D, K] from flattened codes of `space` to coordinates, those that show most first; None for "codes".

    It knows nothing of any label. "picture": the generator's curvature, in W+ with what couples its layers. "anatomy":
    measures of heart, thorax, lungs and tone by `network`, else by the bundled one, each in units of its deviation over
    random codes.

    Examples:
        >>> import cxredit_cli as cx
        >>> cx.visible_coordinates(cx.load_model(), "w", "picture").shape
        (512, 512)
    """
    if metric == "codes":
        return None
    generator, layers = model.generator, 1 if space == "w" else model.generator.num_ws
    spread = generator.w_statistics()[1]
    if metric == "picture" and space == "w":
        along, curvature = principal_directions(model, progress)
    else:
        network = network or load_anatomy(None, spread.device) if metric == "anatomy" else None
        gradients = _gradients(generator, network, layers, progress or SilentProgress())
        found = torch.linalg.svd(gradients.double(), full_matrices=False)
        along, curvature = found.Vh.T, found.S.square()
    along, curvature = along.cpu(), curvature.cpu()
    first = torch.argsort(curvature, descending=True)
    scaled = along[:, first] * (curvature[first] / curvature.max().clamp(min=1e-30)).sqrt()
    return np.asarray((scaled / spread.cpu().double().repeat(layers)[:, None]).numpy())


def _gradients(generator: Generator, network: AnatomyNetwork | None, layers: int, progress: Progress) -> Tensor:
    """Gradients [CODES, layers * D] in units of the spread of W, each of what is seen times random numbers v.

    With v of mean 0 and covariance I their mean outer product is J^T J, so one backward pass serves all that is seen:
    the picture at PICTURE_SIDE, or the measures by `network` of the picture as far as it has grown where that looks.
    """
    spread = generator.w_statistics()[1]
    random = np.random.default_rng(SEED)
    z = random_z(CODES, generator.z_dim, SEED).to(spread.device)
    side = PICTURE_SIDE if network is None else network.config.resolution
    side = 1 << (min(side, generator.resolution).bit_length() - 1)

    def see(w: Tensor) -> Tensor:
        picture = generator.synthesis.coarse(w, side)
        if network is None:
            return picture.flatten(1)
        measures = soft_measures(network, picture)
        return torch.stack([measures[name] for name in MEASURES], dim=1)

    progress.start(f"Measuring how the {'picture' if network is None else 'anatomy'} answers to codes", CODES)
    parts: list[Tensor] = []
    with full_precision(generator):
        with torch.no_grad():
            codes = [generator.mapping(some)[:, None] for some in torch.split(z, BATCH)]
            unit = torch.ones((), device=z.device)
            if network is not None:
                unit = torch.cat([see(w) for w in codes[: PILOT // BATCH]]).std(dim=0).clamp(min=1e-6)
        for done, w in enumerate(codes):
            step = torch.zeros(len(w), layers, generator.w_dim, device=w.device, requires_grad=True)
            seen = see(w + spread * step) / unit
            v = torch.from_numpy(random.choice((-1.0, 1.0), seen.shape)).to(seen)
            (gradient,) = torch.autograd.grad((seen * v).sum(), step)
            parts.append(gradient.flatten(1).cpu())
            progress.advance(min((done + 1) * BATCH, CODES))
    progress.finish()
    return torch.cat(parts)
