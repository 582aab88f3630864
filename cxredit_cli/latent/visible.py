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

MOST = 512  # coordinates that are kept
SEED = 6
# Of the anatomy: a gradient of one random sum of all measures a code.
CODES = 384
PILOT = 64  # codes that say how much each measure varies
BATCH = 16


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

    It knows nothing of any label. "picture": the generator's curvature. "anatomy": measures of heart, thorax, lungs and
    tone by `network`, else by the bundled one, each in units of its deviation over random codes.

    Examples:
        >>> import cxredit_cli as cx
        >>> cx.visible_coordinates(cx.load_model(), "w", "picture").shape
        (512, 512)
    """
    if metric == "codes":
        return None
    generator = model.generator
    if metric == "picture":
        vectors, values = principal_directions(model, space, progress)
        layers, dimensions, rank = vectors.shape
        directions = torch.zeros(layers, dimensions, layers, rank, dtype=torch.float64)
        for layer in range(layers):
            directions[layer, :, layer] = vectors[layer]
        along, curvature = directions.flatten(2).flatten(0, 1), values.flatten().cpu().double()
    else:
        device = generator.mapping.w_avg.device
        gradients = _anatomy_gradients(generator, network or load_anatomy(None, device), space, progress)
        found = torch.linalg.svd(gradients.double(), full_matrices=False)
        layers, along, curvature = gradients.shape[1] // generator.w_dim, found.Vh.T, found.S.square()
    first = torch.argsort(curvature, descending=True)[:MOST]
    scaled = along[:, first] * (curvature[first] / curvature.max().clamp(min=1e-30)).sqrt()
    spread = generator.w_statistics()[1].cpu().double().repeat(layers)
    return np.asarray((scaled / spread[:, None]).numpy())


def _anatomy_gradients(
    generator: Generator, network: AnatomyNetwork, space: Space, progress: Progress | None
) -> Tensor:
    """Gradients [CODES, D] in units of the spread of W, each of the sum of all measures with random signs.

    Their mean outer product is the sum over the measures of g g^T, so one backward pass serves all measures. Measured
    on the image as far as it has grown where the network looks: what finer blocks add hardly moves an outline.
    """
    progress = progress or SilentProgress()
    progress.start("Measuring how anatomy answers to codes", CODES)
    side = 1 << (min(network.config.resolution, generator.resolution).bit_length() - 1)
    spread = generator.w_statistics()[1]
    layers = generator.num_ws if space == "w+" else 1
    z = random_z(CODES, generator.z_dim, SEED).to(spread.device)
    signs = torch.from_numpy(np.random.default_rng(SEED).choice([-1.0, 1.0], (CODES, len(MEASURES)))).to(z)
    parts = []
    with full_precision(generator):
        with torch.no_grad():
            pilot = torch.cat([_measures(generator, network, w[:, None], side) for w in _codes(generator, z[:PILOT])])
        deviations = pilot.std(dim=0).clamp(min=1e-6)
        done = 0
        for w, sign in zip(_codes(generator, z), torch.split(signs, BATCH), strict=True):
            step = torch.zeros(len(w), layers, generator.w_dim, device=w.device, requires_grad=True)
            measures = _measures(generator, network, w[:, None] + spread * step, side)
            (gradient,) = torch.autograd.grad((measures / deviations * sign).sum(), step)
            parts.append(gradient.flatten(1).cpu())
            done += len(w)
            progress.advance(done)
    progress.finish()
    return torch.cat(parts)


def _codes(generator: Generator, z: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return [generator.mapping(some) for some in torch.split(z, BATCH)]


def _measures(generator: Generator, network: AnatomyNetwork, w: Tensor, side: int) -> Tensor:
    """[N, len(MEASURES)] of codes [N, L, D]."""
    found = soft_measures(network, generator.synthesis.coarse(w, side))
    return torch.stack([found[name] for name in MEASURES], dim=1)
