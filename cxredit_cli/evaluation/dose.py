"""Dose and response: what steps along a direction do to each scan, seen by a network that had no part in finding it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxredit_cli.anatomy.measures import FIGURES, Anatomy, measure_segmentation
from cxredit_cli.anatomy.outlines import MASK_SIDE, around, clean, segment
from cxredit_cli.latent.code_batch import CodeBatch
from cxredit_cli.latent.edit_codes import edit
from cxredit_cli.latent.random_codes import random_codes
from cxredit_cli.latent.synthesize import synthesize
from cxredit_cli.metrics.patient_identity import own_is_nearest
from cxredit_cli.networks.anatomy import HEART, LEFT_LUNG, RIGHT_LUNG, AnatomyNetwork
from cxredit_cli.networks.generator import Generator

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

GREY, OUTSIDE = "grey_median", "lung_area_outside_heart"
MEASURES = (*FIGURES, GREY, OUTSIDE)
CHUNK = 64  # pictures in memory at a time, about


@dataclass(frozen=True, slots=True)
class Dose:
    """N scans at S strengths along one direction; lengths and areas are fractions as in `Anatomy`."""

    strengths: Floats  # [S], rising, 0 among them
    measures: dict[str, Floats]  # MEASURES, [N, S] each
    plausible: Bools  # [N, S]
    inside: Floats  # [N, S], mean absolute change in and around the heart's path, as a share of the grey range
    outside: Floats  # [N, S], the same in the rest of the image
    own_original: Bools  # [N, S], in the rest of the image no original of another patient is nearer than its own
    own_reconstruction: Bools  # [N, S], the same among the reconstructions
    log_odds: Floats | None = None  # [N, S], of the classifier's label, where one was asked

    @property
    def zero(self) -> int:
        """The column of strength 0: the reconstructions."""
        return int(np.argmin(np.abs(self.strengths)))

    @property
    def whole(self) -> Bools:
        """[N]: the outlines are plausible at every strength, so that every curve is of the same patients."""
        return np.asarray(self.plausible.all(axis=1))


@torch.no_grad()
def measure_dose(
    generator: Generator,
    judge: AnatomyNetwork,
    codes: CodeBatch,
    originals: Tensor,
    direction: Tensor,
    strengths: Sequence[float],
    batch: int = 32,
    advance: Callable[[int], None] = lambda scans: None,
    log_odds_of: Callable[[Tensor], Floats] | None = None,
) -> Dose:
    """Move the codes of N scans along `direction` [1 or num_ws, D] by each strength (0 is added) and measure.

    `originals` [N, 1, R, R] in [-1, 1]. The heart's path is the union of a patient's hearts at all strengths. `advance`
    is told how many scans are done. `log_odds_of` is a second judge, of whole pictures [M, 1, R, R].
    """
    rising = sorted({*map(float, strengths), 0.0})
    count, side = len(rising), generator.resolution
    zero = rising.index(0.0)
    reconstructions = torch.cat(list(synthesize(generator, codes.w, codes.noise, batch, codes.tuning)))
    gallery = {"original": originals[:, 0].numpy(), "reconstruction": reconstructions[:, 0].numpy()}
    parts: list[Anatomy] = []
    columns: dict[str, list[Floats]] = {name: [] for name in (GREY, OUTSIDE, "inside", "outside")}
    matches: dict[str, list[Bools]] = {name: [] for name in gallery}
    log_odds: list[Floats] = []
    step = max(CHUNK // count, 1)
    for start in range(0, len(codes.w), step):
        part = slice(start, start + step)
        moved = edit(codes.w[part], direction.to(codes.w), rising, generator.num_ws)
        owner = torch.arange(len(moved)).repeat_interleave(count)
        noise = None if codes.noise is None else [layer[part][owner] for layer in codes.noise]
        tuning = None if codes.tuning is None else codes.tuning[part][owner]
        made = torch.cat(list(synthesize(generator, moved.flatten(0, 1), noise, batch, tuning)))
        found = segment(judge, made, MASK_SIDE, batch)
        parts.append(measure_segmentation(found))
        if log_odds_of is not None:
            log_odds.append(log_odds_of(made).reshape(-1, count))
        masks = clean(found.masks).reshape(len(moved), count, MASK_SIDE, MASK_SIDE)
        pictures = made[:, 0].numpy().reshape(len(moved), count, side, side)
        for one, mask in zip(pictures, masks, strict=True):
            path = (mask == HEART).any(0)
            region = heart_region(path, side)
            change = np.abs(one - one[zero]) / 2
            columns["inside"].append(change[:, region].mean(1, dtype=np.float64))
            columns["outside"].append(change[:, ~region].mean(1, dtype=np.float64))
            columns[GREY].append(np.median(one.reshape(count, -1), axis=1).astype(np.float64) / 2 + 0.5)
            lungs = (mask == RIGHT_LUNG) | (mask == LEFT_LUNG)
            columns[OUTSIDE].append((lungs & ~path).mean((1, 2), dtype=np.float64))
            index = len(matches["original"])
            for name, pool in gallery.items():
                matches[name].append(own_is_nearest(one, pool, index, ~region))
        advance(min(start + step, len(codes.w)))
    anatomy = Anatomy.join(parts)
    shape = (len(codes.w), count)
    measures = {name: getattr(anatomy, name).reshape(shape) for name in FIGURES}
    measures |= {name: np.stack(columns[name]) for name in (GREY, OUTSIDE)}
    return Dose(
        np.array(rising),
        measures,
        anatomy.plausible.reshape(shape),
        np.stack(columns["inside"]),
        np.stack(columns["outside"]),
        np.stack(matches["original"]),
        np.stack(matches["reconstruction"]),
        np.concatenate(log_odds) if log_odds else None,
    )


def heart_region(path: Bools, side: int) -> Bools:
    """The pixels [side, side] that a path [S, S] touches, and a margin around them; never the whole image."""
    grown = around(path, side)
    if not grown.any() or grown.all():  # outlines that are implausible; such a scan is not counted
        grown = torch.zeros_like(grown)
        grown[side // 3 : 2 * side // 3, side // 3 : 2 * side // 3] = True
    return np.asarray(grown.numpy())


def random_directions(generator: Generator, rows: int, count: int, seed: int) -> dict[str, list[Tensor]]:
    """Two kinds of `count` random unit vectors [rows, D], of which a direction that means something must stand out.

    `any`: every unit vector is as likely, and most hardly show in the picture. `between codes`: from one random code to
    another, the way that generated patients differ, so that they do show. Both as vectors of W+ where rows > 1.
    """
    if count == 0:
        return {}
    random = torch.Generator().manual_seed(seed)
    anywhere = [torch.randn(rows, generator.w_dim, generator=random) for _ in range(count)]
    codes = random_codes(generator, seed, range(2 * count))[:, 0].float().cpu()
    between = [(b - a).expand(rows, -1).clone() for a, b in zip(codes[::2], codes[1::2], strict=True)]
    return {
        "any": [vector / vector.norm() for vector in anywhere],
        "between codes": [vector / vector.norm() for vector in between],
    }
