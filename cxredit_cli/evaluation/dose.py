"""Dose and response: what steps along a direction do to each scan, seen by a network that had no part in finding it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxredit_cli.anatomy.measures import FIGURES, measure_segmentation
from cxredit_cli.anatomy.outlines import MASK_SIDE, around, clean, segment
from cxredit_cli.latent.code_batch import CodeBatch
from cxredit_cli.latent.edit_codes import edit
from cxredit_cli.latent.random_codes import random_codes
from cxredit_cli.latent.synthesize import synthesize
from cxredit_cli.metrics.patient_identity import own_is_nearest
from cxredit_cli.networks.anatomy import HEART, LEFT_LUNG, RIGHT_LUNG, AnatomyNetwork
from cxredit_cli.networks.generator import Generator
from cxredit_cli.processes import ALONE, Processes

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
    log_odds: Floats | None = None  # [N, S], of the classifier's label, where there is one

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The scans of all `parts`, in order."""
        columns = ("plausible", "inside", "outside", "own_original", "own_reconstruction")
        measures = {name: np.concatenate([part.measures[name] for part in parts]) for name in MEASURES}
        log_odds = [part.log_odds for part in parts if part.log_odds is not None]
        return cls(
            strengths=parts[0].strengths,
            measures=measures,
            log_odds=np.concatenate(log_odds) if log_odds else None,
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in columns},
        )

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
    processes: Processes = ALONE,
) -> Dose:
    """Move the codes of N scans along `direction` [1 or num_ws, D] by each strength (0 is added) and measure.

    `originals` [N, 1, R, R] in [-1, 1]. The heart's path is the union of a patient's hearts at all strengths. `advance`
    is told how many scans are done. `log_odds_of` is a second judge, of whole pictures [M, 1, R, R]. Of several
    `processes` each measures its share, and all have the figures of all.
    """
    rising = sorted({*map(float, strengths), 0.0})
    made: list[Tensor] = []
    for part in processes.rounds(len(codes.w), batch):
        for some in processes.exchange(_pictures(generator, codes.take(slice(part.start, part.stop)), batch)):
            made += some
    gallery = {"original": originals[:, 0].numpy(), "reconstruction": torch.cat(made)[:, 0].numpy()}
    parts: list[Dose] = []
    step = max(CHUNK // len(rising), 1)
    for part in processes.rounds(len(codes.w), step):
        mine = None
        if part:
            mine = _measure_scans(generator, judge, codes, part, direction, rising, gallery, batch, log_odds_of)
        parts += [each for each in processes.exchange(mine) if each is not None]
        advance(min(part.start + step * processes.count, len(codes.w)))
    return Dose.join(parts)


def _pictures(generator: Generator, codes: CodeBatch, batch: int) -> list[Tensor]:
    """Batches of pictures of codes."""
    return list(synthesize(generator, codes.w, codes.noise, batch, codes.tuning))


def _measure_scans(
    generator: Generator,
    judge: AnatomyNetwork,
    codes: CodeBatch,
    scans: range,
    direction: Tensor,
    rising: Sequence[float],
    gallery: Mapping[str, NDArray[np.float32]],
    batch: int,
    log_odds_of: Callable[[Tensor], Floats] | None,
) -> Dose:
    """`measure_dose` for some of the scans; `gallery` are the pictures of all."""
    count, side, zero = len(rising), generator.resolution, rising.index(0.0)
    some = codes.take(slice(scans.start, scans.stop))
    moved = edit(some.w, direction.to(some.w), rising, generator.num_ws)
    owned = some.take(torch.arange(len(moved)).repeat_interleave(count))
    made = torch.cat(_pictures(generator, replace(owned, w=moved.flatten(0, 1)), batch))
    found = segment(judge, made, MASK_SIDE, batch)
    anatomy = measure_segmentation(found)
    masks = clean(found.masks).reshape(len(moved), count, MASK_SIDE, MASK_SIDE)
    pictures = made[:, 0].numpy().reshape(len(moved), count, side, side)
    columns: dict[str, list[Floats]] = {name: [] for name in (GREY, OUTSIDE, "inside", "outside")}
    matches: dict[str, list[Bools]] = {name: [] for name in gallery}
    for index, one, mask in zip(scans, pictures, masks, strict=True):
        path = (mask == HEART).any(0)
        region = heart_region(path, side)
        change = np.abs(one - one[zero]) / 2
        columns["inside"].append(change[:, region].mean(1, dtype=np.float64))
        columns["outside"].append(change[:, ~region].mean(1, dtype=np.float64))
        columns[GREY].append(np.median(one.reshape(count, -1), axis=1).astype(np.float64) / 2 + 0.5)
        lungs = (mask == RIGHT_LUNG) | (mask == LEFT_LUNG)
        columns[OUTSIDE].append((lungs & ~path).mean((1, 2), dtype=np.float64))
        for name, pool in gallery.items():
            matches[name].append(own_is_nearest(one, pool, index, ~region))
    shape = (len(moved), count)
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
        None if log_odds_of is None else log_odds_of(made).reshape(shape),
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
