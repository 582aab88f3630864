"""Directions that nobody named: the main axes of W, and what the style weights amplify most."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from cxredit_cli.errors import InputError, known_word
from cxredit_cli.latent.edit_codes import check_layers
from cxredit_cli.latent.random_codes import random_codes
from cxredit_cli.latent.responses import reach, respond, summarise
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.networks.generator import Generator
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.storage.directions import Direction
from cxredit_cli.storage.models import Model

Discovery = Literal["pca", "sefa"]
Floats = NDArray[np.float64]

PCA_SAMPLES = 10_000
PROBED = 0.5  # of `reach`, to either side: what a direction does is measured there


@dataclass(frozen=True, slots=True)
class Component:
    """One axis of W."""

    vector: Floats  # [w_dim], unit
    weight: float  # pca: share of the variance of W; sefa: share of the squared style weights
    deviation: float  # standard deviation of random codes along it, in units of strength


def check_discovery(method: str) -> Discovery:
    """Raise InputError unless `method` is one that needs no labels."""
    known: Discovery = known_word(method, Discovery, "--how")
    return known


@torch.no_grad()
def principal_components(
    generator: Generator, count: int, samples: int = PCA_SAMPLES, seed: int = 0
) -> list[Component]:
    """The axes of W along which mapped random z vary most (GANSpace, Harkonen et al. 2020), strongest first."""
    w = _mapped(generator, samples, seed)
    variances, vectors = np.linalg.eigh(np.cov(w, rowvar=False, bias=True))
    order = np.argsort(variances)[::-1][:count]
    total = max(float(variances.sum()), 1e-30)
    return [
        Component(vectors[:, index], float(variances[index] / total), float(np.sqrt(max(variances[index], 0))))
        for index in order
    ]


@torch.no_grad()
def style_factors(
    generator: Generator, count: int, layers: Sequence[int] | None = None, samples: int = PCA_SAMPLES, seed: int = 0
) -> list[Component]:
    """The unit n with the largest |A n|^2, A the stacked affine weights w -> styles of all convolutions (SeFa).

    They are the eigenvectors of A'A with the largest eigenvalues (Shen and Zhou 2021, equations 6 to 8). `layers` takes
    the convolutions of these w indices alone; the layers to the image are left out, as their styles set grey alone.
    """
    convolutions = generator.synthesis.noise_layers()
    chosen = range(len(convolutions)) if layers is None else [layer for layer in layers if layer < len(convolutions)]
    if not chosen:
        raise InputError("The last w index leads to the image alone; give --layers with convolutions in them.")
    affine = [convolutions[index].affine for index in chosen]
    weights = torch.cat([layer.weight.double() * layer.weight_gain for layer in affine]).cpu().numpy()
    values, vectors = np.linalg.eigh(weights.T @ weights)
    order = np.argsort(values)[::-1][:count]
    w = _mapped(generator, samples, seed)
    return [
        Component(vectors[:, index], float(values[index] / values.sum()), float((w @ vectors[:, index]).std()))
        for index in order
    ]


def discover(
    model: Model,
    network: AnatomyNetwork,
    method: Discovery,
    count: int,
    layers: Sequence[int] | None = None,
    images: int = 24,
    seed: int = 0,
    batch: int = 32,
    progress: Progress | None = None,
) -> list[Direction]:
    """The first `count` directions with what one unit of each does to the anatomy of `images` generated chests.

    Each points to the side where the CTR rises. With `layers` they are directions of W+ that move these w indices
    alone. Raises InputError where the model has fewer.
    """
    progress = progress or SilentProgress()
    generator = model.generator
    check_layers(layers, generator.num_ws)
    if count > generator.w_dim:
        raise InputError(f"W has {generator.w_dim} dimensions, so there are no {count} directions; give a smaller -n.")
    components = (
        principal_components(generator, count, seed=seed)
        if method == "pca"
        else style_factors(generator, count, layers, seed=seed)
    )
    codes = random_codes(generator, seed, range(images))
    rows = 1 if layers is None else len(layers)
    step = float(f"{PROBED * reach(generator, rows):.2g}")
    made = 0
    progress.start("Measuring directions", 3 * images * count)

    def advance(pictures: int) -> None:
        nonlocal made
        made += pictures
        progress.advance(made)

    found = []
    for number, component in enumerate(components, start=1):
        vector = _spread(component.vector, generator.num_ws, layers)
        moved = respond(
            generator, network, codes, torch.from_numpy(vector), [-step, step], batch=batch, advance=advance
        )
        calibration: dict[str, Any] = summarise(moved)
        if (calibration["slope"] or 0) < 0:
            vector = -vector
            calibration = summarise(moved.reversed())
        found.append(
            Direction(
                direction=vector.astype(np.float32),
                name=f"{method} {number}",
                method=method if layers is None else f"{method}, layers {','.join(map(str, layers))}",
                fingerprint=model.fingerprint,
                sources=[f"{PCA_SAMPLES} random codes, seed {seed}" if method == "pca" else "the style weights"],
                statistics={"weight": component.weight, "deviation": component.deviation, "number": number},
                model=model.name,
                calibration={"generated": calibration | {"what": f"{images} generated images", "seed": seed}},
            )
        )
    progress.finish()
    return found


def file_name(direction: Direction, folder: Path) -> Path:
    """`<folder>/pca_01.h5`."""
    method = direction.method.partition(",")[0]
    return folder / f"{method}_{int(direction.statistics['number']):02d}.h5"


def _mapped(generator: Generator, samples: int, seed: int) -> Floats:
    return np.asarray(random_codes(generator, seed, range(samples))[:, 0].double().cpu().numpy())


def _spread(vector: Floats, num_ws: int, layers: Sequence[int] | None) -> Floats:
    if layers is None:
        return vector[None]
    wide = np.zeros((num_ws, len(vector)))
    wide[list(layers)] = vector / np.sqrt(len(layers))
    return wide
