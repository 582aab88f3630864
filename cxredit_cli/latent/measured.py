"""A direction from a measurement of generated images: no labels and no inversion needed.

The gradient of a ridge regression of the measure on the codes says how the measure rises fastest. What must not change
with it (thorax width, lung heights, tone) is held: the direction is orthogonal to the gradients of those measures, so
that to first order they stay.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from torch import Tensor

from cxredit_cli.errors import InputError
from cxredit_cli.evaluation.anatomy import FIGURES, measure_images
from cxredit_cli.latent.generation import random_codes
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.networks.generator import Generator
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.storage.directions import Direction
from cxredit_cli.storage.models import Model

Floats = NDArray[np.float64]

TONES = {"grey_p10": 0.1, "grey_p50": 0.5, "grey_p90": 0.9}  # percentiles of the grey values, 0..1
MEASURES = (*FIGURES, *TONES)
HELD = ("thorax_width", "right_lung_height", "left_lung_height", *TONES)
PENALTIES = np.logspace(-1, 4, 11)
FOLDS = 5
FEWEST = 50  # plausible images that a regression is worth


def measure_generated(
    generator: Generator,
    network: AnatomyNetwork,
    n: int,
    seed: int = 0,
    batch: int = 32,
    progress: Progress | None = None,
) -> tuple[Floats, dict[str, Floats]]:
    """Codes [M, w_dim] of `n` random z and the measures [M] of their images; implausible ones are left out (M <= n)."""
    progress = progress or SilentProgress()
    kept, parts = [], list[dict[str, Floats]]()
    progress.start("Measuring generated images", n)
    with torch.no_grad():
        for start in range(0, n, batch):
            w = random_codes(generator, seed, range(start, min(start + batch, n)))
            found, plausible = measure_pictures(network, generator.synthesis(w), batch)
            parts.append({name: values[plausible] for name, values in found.items()})
            kept.append(w[:, 0].double().cpu().numpy()[plausible])
            progress.advance(start + len(w))
    progress.finish()
    return np.concatenate(kept), {name: np.concatenate([part[name] for part in parts]) for name in MEASURES}


def measure_pictures(
    network: AnatomyNetwork, images: Tensor, batch: int = 32
) -> tuple[dict[str, Floats], NDArray[np.bool_]]:
    """All MEASURES [N] of images [N, 1, R, R] in [-1, 1], and whose outlines are plausible."""
    anatomy = measure_images(network, images, batch)
    grey = ((images.float() + 1) / 2).clamp(0, 1).flatten(1)
    measures: dict[str, Floats] = {name: getattr(anatomy, name) for name in FIGURES}
    for name, share in TONES.items():
        measures[name] = torch.quantile(grey, share, dim=1).double().cpu().numpy()
    return measures, anatomy.plausible


def measured_direction(
    codes: Floats, measures: Mapping[str, Floats], target: str, held: tuple[str, ...] = HELD
) -> tuple[Floats, dict[str, float]]:
    """The unit vector [D] along which `target` rises while the `held` measures stay, and its statistics.

    `codes` [N, D] and `measures` [N] each. Statistics: cross-validated R2 of each regression, what one unit of
    strength adds to the target by its regression, and the cosine with the uncontrolled gradient.
    """
    for name in (target, *held):
        if name not in measures:
            raise InputError(f"'{name}' is no measure; use one of {', '.join(measures)}.")
    if len(codes) < FEWEST:
        raise InputError(
            f"Only {len(codes)} of the generated images have plausible anatomy and at least {FEWEST} are needed; "
            "generate more, or train the generator longer."
        )
    held = tuple(name for name in held if name != target)
    gradients = {name: gradient(codes, measures[name]) for name in (target, *held)}
    statistics = {f"r2_{name}": r2 for name, (_, r2) in gradients.items()}
    slope = gradients[target][0]
    if held:
        basis, _ = np.linalg.qr(np.stack([gradients[name][0] for name in held], axis=1))
        controlled = slope - basis @ (basis.T @ slope)
    else:
        controlled = slope
    direction = controlled / np.linalg.norm(controlled)
    statistics["rise_per_unit"] = float(slope @ direction)
    statistics["cosine_with_uncontrolled"] = float(slope @ direction / np.linalg.norm(slope))
    statistics["images"] = float(len(codes))
    return direction, statistics


def gradient(codes: Floats, measure: Floats) -> tuple[Floats, float]:
    """The slope [D] of a ridge regression of `measure` on `codes`, in measure units, and its cross-validated R2."""
    centred = codes - codes.mean(axis=0)
    deviation = measure.std()
    if deviation == 0:
        raise InputError("A measure is the same on all generated images, so no direction changes it.")
    standard = (measure - measure.mean()) / deviation
    ridge = RidgeCV(alphas=PENALTIES * len(codes) / 100)
    folds = KFold(FOLDS, shuffle=True, random_state=0)
    predicted = cross_val_predict(ridge, centred, standard, cv=folds)
    r2 = 1 - float(np.square(standard - predicted).mean())
    slope = np.asarray(ridge.fit(centred, standard).coef_, dtype=np.float64) * deviation
    return slope, r2


def find_measured_direction(
    model: Model,
    network: AnatomyNetwork,
    target: str,
    held: tuple[str, ...],
    n: int,
    seed: int,
    name: str | None,
    progress: Progress | None = None,
) -> Direction:
    """The direction of `target` in the model's W, found on `n` generated images."""
    codes, measures = measure_generated(model.generator, network, n, seed, progress=progress)
    vector, statistics = measured_direction(codes, measures, target, held)
    return Direction(
        direction=vector[None].astype(np.float32),
        name=name or target,
        method=f"measure {target}" + (f", holding {', '.join(held)}" if held else ""),
        fingerprint=model.fingerprint,
        sources=[f"{n} generated images, seed {seed}"],
        statistics=statistics,
        model=model.name,
    )
