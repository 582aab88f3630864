"""An edit of the generator's reconstruction carried over to the film itself, at the film's own resolution.

R = G(w) is the reconstruction and E_s = G(w + s v) its edit, both at the generator's resolution. What moves the border
of the heart is carried over by moving the cardiac layer of the film (`cardiac_layer`), by as much as E_s moves it from
R; what changes tone or texture by adding E_s - R, without what is finer than the generator shows (`add_residual`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cxredit_cli.anatomy.measures import Anatomy, measure_segmentation
from cxredit_cli.anatomy.outlines import clean, segment
from cxredit_cli.editing.border_move import plan_move
from cxredit_cli.editing.cardiac_layer import find_layer, move_layer
from cxredit_cli.editing.film_refusals import Evidence, refusal
from cxredit_cli.editing.heart_border import Border, find_border
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.networks.preparation import resize
from cxredit_cli.storage.directions import Carried

MASKS = 512  # side of the outlines
STEERED = 512  # side, at most, of the film on which the gain is found
SNAPPED = 1024  # side, at most, of the film on which the border is found
ROUNDS = 3  # of measuring what an edit did and correcting it
GAINS = (0.6, 1.4)
AIMED_GAINS = (0.5, 2.0)  # where it is the film's own ratio that is asked for
RESIDUAL_SIGMA = 1.0  # pixels of the generator: what is finer in E - R is its own noise


@dataclass(frozen=True, slots=True)
class CarriedEdit:
    """One edit of a film."""

    strength: float
    change: NDArray[np.float32]  # [N, N], in grey of 0..1; 0 where nothing changes
    ctr: float  # of the edited film, by the network that steers; nan where implausible
    refused: str  # why it cannot be trusted, "" where it can


@dataclass(frozen=True, slots=True)
class FilmEdits:
    """The edits of one film."""

    edits: list[CarriedEdit]
    kind: Carried
    film_ctr: float  # nan where implausible
    reconstruction_ctr: float


def edit_film(
    network: AnatomyNetwork,
    film: NDArray[np.float32],
    pictures: NDArray[np.float32],
    strengths: Sequence[float],
    wanted: Sequence[float],
    kind: Carried = "border",
    targets: Mapping[float, float] | None = None,
) -> FilmEdits:
    """Carry edits over to `film` [N, N] in 0..1, the square that the generator's pictures are of.

    `pictures` [S, R, R] in 0..1 are the generator's at `strengths` [S], 0 and the `wanted` ones among them; each of the
    latter is edited, strength 0 by no change at all. `network` finds the outlines and steers: it measures each edit
    and corrects how far the border moves, until the cardiothoracic ratio of the film is that of `targets` at this
    strength, or where there is none has changed as that of the reconstruction did.
    """
    strengths, side = [float(s) for s in strengths], film.shape[0]
    zero = strengths.index(0.0)
    seen = network.config.resolution
    small = torch.from_numpy(reduce(film, seen))[None, None]
    generated = torch.from_numpy(np.ascontiguousarray(pictures))[:, None]
    shown = torch.cat([resize(small, seen), resize(generated, seen)])
    found = segment(network, shown * 2 - 1, MASKS)
    anatomy, masks = measure_segmentation(found), clean(found.masks)
    evidence = Evidence.of(anatomy, masks, strengths, float(found.certainty[0]))
    unusable, still = evidence.unusable(), np.zeros_like(film)
    if kind == "tone":
        changes = [add_residual(film, pictures[strengths.index(s)] - pictures[zero]) if s else still for s in wanted]
        measured = measure_films(network, [film + change for change in changes]).ctr
        edits = [
            CarriedEdit(s, change, float(ctr), unusable if s else "")
            for s, change, ctr in zip(wanted, changes, measured, strict=True)
        ]
        return FilmEdits(edits, kind, evidence.film_ctr, evidence.reconstruction_ctr)
    if unusable:
        refused = [CarriedEdit(s, still, evidence.film_ctr, unusable if s else "") for s in wanted]
        return FilmEdits(refused, kind, evidence.film_ctr, evidence.reconstruction_ctr)
    border = find_border(reduce(film, SNAPPED), masks, strengths)
    at_own_size = border.scaled(side / min(side, SNAPPED))
    steered = reduce(film, STEERED)
    at_this_size = border.scaled(len(steered) / min(side, SNAPPED))
    targets, within = (targets, AIMED_GAINS) if targets else ({}, GAINS)
    aims = [targets[s] - evidence.film_ctr if s in targets else evidence.change(s) for s in wanted]
    gains, ctrs = steer(network, steered, at_this_size, masks[0], evidence.film_ctr, wanted, aims, within)
    layer = find_layer(film, at_own_size, masks[0])
    made = []
    for strength, gain, ctr, aim in zip(wanted, gains, ctrs, aims, strict=True):
        why = refusal(evidence, at_own_size, layer, strength, gain, ctr, aim, side) if strength else ""
        move = plan_move(at_own_size, strength, gain, side)
        change = move_layer(film, layer, move) if strength else still
        change = np.clip(film + change, 0, 1) - film
        made.append(CarriedEdit(strength, change, ctr, why))
    return FilmEdits(made, kind, evidence.film_ctr, evidence.reconstruction_ctr)


def steer(
    network: AnatomyNetwork,
    film: NDArray[np.float32],
    border: Border,
    mask: NDArray[np.uint8],
    film_ctr: float,
    wanted: Sequence[float],
    aims: Sequence[float],
    within: tuple[float, float],
) -> tuple[list[float], list[float]]:
    """For each strength the gain, `within` bounds, that changes the film's CTR most nearly by its aim, and that CTR.

    All strengths are measured together, ROUNDS times, on a `film` [n, n] that is no larger than the network needs.
    """
    layer = find_layer(film, border, mask)
    gains, best = [1.0] * len(wanted), [(np.inf, 1.0, np.nan)] * len(wanted)  # miss, gain and CTR
    for _ in range(ROUNDS + 1):
        tried = [
            film + move_layer(film, layer, plan_move(border, s, g, len(film)))
            for s, g in zip(wanted, gains, strict=True)
        ]
        for index, ctr in enumerate(measure_films(network, tried).ctr):
            change, aim = float(ctr) - film_ctr, aims[index]
            if not np.isfinite(best[index][2]) or abs(change - aim) < best[index][0]:
                best[index] = abs(change - aim), gains[index], float(ctr)
            if wanted[index] and np.isfinite(change) and change * aim > 0:
                gains[index] = float(np.clip(gains[index] * aim / change, *within))
    return [gain for _, gain, _ in best], [ctr for *_, ctr in best]


def measure_films(network: AnatomyNetwork, films: Sequence[NDArray[np.float32]]) -> Anatomy:
    """The anatomy of squares of any one size."""
    small = np.stack([reduce(film, network.config.resolution) for film in films])
    return measure_segmentation(segment(network, torch.from_numpy(small)[:, None] * 2 - 1, MASKS))


def add_residual(film: NDArray[np.float32], change: NDArray[np.float32]) -> NDArray[np.float32]:
    """What E - R [R, R], without its finest detail and enlarged, changes of `film` [N, N]."""
    smoothed = torch.from_numpy(gaussian_filter(change, RESIDUAL_SIGMA, mode="nearest"))[None, None]
    size = (film.shape[0], film.shape[0])
    enlarged = F.interpolate(smoothed, size=size, mode="bicubic", align_corners=False)[0, 0].numpy()
    return np.asarray(np.clip(film + enlarged, 0, 1) - film, dtype=np.float32)


def reduce(film: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """`film` [N, N] at `side` at most, by averaging."""
    if film.shape[0] <= side:
        return film
    return np.asarray(resize(torch.from_numpy(np.ascontiguousarray(film))[None, None], side)[0, 0].numpy())
