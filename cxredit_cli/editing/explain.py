"""Why a classifier says what it says of a film: the smallest change that moves its score, and what moves in it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxredit_cli.anatomy.measures import Anatomy, measure_segmentation
from cxredit_cli.anatomy.outlines import MASK_SIDE, clean, segment
from cxredit_cli.editing.counterfactual import (
    Change,
    Coordinates,
    along,
    shuffled_weights,
    smallest_change,
    steepest,
)
from cxredit_cli.editing.edit_film import CarriedEdit, edit_film
from cxredit_cli.editing.score_shares import organ_regions, score_by_region, score_by_tile
from cxredit_cli.inversion.curvature import search_basis
from cxredit_cli.inversion.invert import choose_method, choose_space, invert
from cxredit_cli.inversion.precision import fast_gradients
from cxredit_cli.inversion.request import InversionRequest
from cxredit_cli.metrics.classification import probability, score_pictures
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.networks.any_classifier import ClassifierScore
from cxredit_cli.networks.preparation import resize
from cxredit_cli.storage.directions import Carried, Direction
from cxredit_cli.storage.models import Model

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]

EACH_WAY = 4  # pictures from the reconstruction to either end
RANDOMS = 8  # random changes of the same length
MOVED_BORDER = 0.02  # of the CTR: then moving the heart's border on the film is tried beside adding tone
COLUMNS = (  # of a table of many films
    *("source", "class", "film_probability", "reconstruction_probability", "across_probability", "reached", "length"),
    *("score_heart", "score_lungs", "score_elsewhere", "pixels_elsewhere", "ctr", "ctr_across"),
    *("film_across_probability", "film_refused", "shuffled_change", "change", "psnr"),
)


@dataclass(frozen=True, slots=True)
class Request:
    """How films are explained."""

    goal: float = 0.0  # log-odds that the score is to cross
    direction: Direction | None = None  # along which; None: the classifier's own gradient
    inversion: InversionRequest = field(default_factory=InversionRequest)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Null:
    """Changes of the same length that have nothing to do with what the classifier learnt."""

    shuffled_rise: float | None  # of its score, by the change that it would ask for with its weights shuffled
    shuffled_elsewhere: float | None  # share of that change of pixels that lies outside heart and lungs
    random_rises: list[float]  # of its score, by random changes


@dataclass(frozen=True, slots=True)
class OnFilm:
    """A change of the reconstruction carried over to the film itself."""

    kind: Carried
    edit: CarriedEdit
    log_odds: float  # of the film with it; nan where it is refused


@dataclass(frozen=True, slots=True)
class Explanation:
    """What was found of one film; S pictures from one end to the other, the reconstruction in the middle."""

    source: str
    film_log_odds: float  # of the film itself
    original: Pixels  # [R, R] in 0..1
    pictures: Pixels  # [S, R, R]
    positions: list[float]  # [S]: -1 away from the goal, 0 the reconstruction, 1 across it
    log_odds: Floats  # [S]
    across: Change
    away: Change
    anatomy: Anatomy  # of the S pictures
    masks: NDArray[np.uint8]  # [S, 256, 256], clean
    shares: dict[str, float]  # of the score's change across, by REGIONS: they sum to 1
    tiles: Floats  # [TILES, TILES], the same by place
    pixels: dict[str, float]  # mean absolute change across, in the REGIONS, as a share of the grey range
    null: Null
    psnr: float  # of the reconstruction
    ssim: float
    film: Pixels  # [N, N]
    carried: list[OnFilm]  # of the ends, away and across

    @property
    def middle(self) -> int:
        """The index of the reconstruction."""
        return self.positions.index(0.0)

    def document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        states = [
            {
                "position": position,
                "log_odds": round(float(value), 4),
                "probability": round(float(probability(value)), 4),
                "grey_median": round(float(np.median(picture)), 4),
                **self.anatomy.plain(index),
                "problem": self.anatomy.problem[index],
            }
            for index, (position, value, picture) in enumerate(
                zip(self.positions, self.log_odds, self.pictures, strict=True)
            )
        ]
        rise = float(self.log_odds[-1] - self.log_odds[self.middle])
        return {
            "source": self.source,
            "film": {"log_odds": _plain(self.film_log_odds), "probability": _plain(probability_of(self.film_log_odds))},
            "reconstruction": {
                "psnr": round(self.psnr, 2),
                "ssim": round(self.ssim, 4),
                "log_odds": _plain(float(self.log_odds[self.middle])),
                "probability": _plain(probability_of(float(self.log_odds[self.middle]))),
            },
            "reached": self.across.reached,
            "reached_away": self.away.reached,
            "length": round(self.across.length, 4),
            "length_away": round(self.away.length, 4),
            "change_of_log_odds": _plain(rise),
            "score_by_region": {name: _plain(value) for name, value in self.shares.items()},
            "score_by_tile": np.round(self.tiles, 4).tolist(),
            "pixels_by_region": {name: round(value, 5) for name, value in self.pixels.items()},
            "null": {
                "shuffled_weights_change_of_log_odds": _plain(self.null.shuffled_rise),
                "shuffled_weights_pixels_elsewhere": _plain(self.null.shuffled_elsewhere),
                "random_changes_of_log_odds": [_plain(value) for value in self.null.random_rises],
            },
            "on_the_film": [
                {
                    "position": position,
                    "carried_as": one.kind,
                    "refused": one.edit.refused,
                    "log_odds": _plain(one.log_odds),
                    "probability": _plain(probability_of(one.log_odds)),
                }
                for position, one in zip((-1, 1), self.carried, strict=True)
            ],
            "states": states,
        }


def probability_of(log_odds: float) -> float:
    """The probability of one value."""
    return float(probability(np.array(log_odds)))


def _plain(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), 4)


def explain(
    model: Model, network: AnatomyNetwork, score: ClassifierScore, source: str, film: Pixels, request: Request
) -> Explanation:
    """Explain the score of one film [N, N] in 0..1, a square of any size.

    Its reconstruction is moved across `request.goal` by the smallest change (`counterfactual`), and by as many log-odds
    the other way, unless that takes a longer change. Raises InputError for a classifier without gradients where no
    direction is given.
    """
    generator = model.generator
    at, original, psnr, ssim = begin(model, film, request)
    here = float(score_pictures(score, at.pictures(generator, torch.zeros_like(at.start)[None]))[0])
    rising = here < request.goal
    limit = at.limit(generator)
    opposite = 2 * here - request.goal
    if request.direction is None:
        across = smallest_change(generator, score.log_odds, at, request.goal, rising, limit)
        away = smallest_change(generator, score.log_odds, at, opposite, not rising, across.length)
    else:
        vector = torch.from_numpy(request.direction.direction).to(at.start)
        across = along(generator, score.log_odds, at, vector, request.goal, rising, limit)
        away = along(generator, score.log_odds, at, vector, opposite, not rising, across.length)
    shares = np.linspace(0, 1, EACH_WAY + 1)[1:].tolist()
    positions = [*(-share for share in reversed(shares)), 0.0, *shares]
    codes = torch.stack([abs(p) * (across.u if p > 0 else away.u) for p in positions])
    made = at.pictures(generator, codes)
    found = segment(network, made, MASK_SIDE)
    masks = clean(found.masks)
    log_odds = score_pictures(score, made)
    middle = positions.index(0.0)
    regions = organ_regions(masks[[middle, -1]], generator.resolution)
    before, after = made[middle : middle + 1], made[-1:]
    pixels = {
        name: float((after - before)[0, 0][region].abs().mean()) / 2 if region.any() else 0.0
        for name, region in regions.items()
    }
    grey = ((made[:, 0] + 1) / 2).numpy()
    anatomy = measure_segmentation(found)
    ends = np.stack([grey[0], grey[middle], grey[-1]])
    carried = _carry(network, score, film, ends, log_odds[[0, -1]], _kinds(request.direction, anatomy))
    return Explanation(
        source=source,
        film_log_odds=_score_film(score, film),
        original=original,
        pictures=grey,
        positions=positions,
        log_odds=log_odds,
        across=across,
        away=away,
        anatomy=anatomy,
        masks=masks,
        shares=score_by_region(score, before, after, regions),
        tiles=score_by_tile(score, before, after),
        pixels=pixels,
        null=_null(model, score, at, across, rising, here, regions["elsewhere"], before, request),
        psnr=psnr,
        ssim=ssim,
        film=film,
        carried=carried,
    )


def begin(model: Model, film: Pixels, request: Request) -> tuple[Coordinates, Pixels, float, float]:
    """The film's code in W+ as the origin, the film at the generator's size, PSNR and SSIM of its reconstruction."""
    generator, inversion = model.generator, request.inversion
    device = generator.mapping.w_avg.device
    original = resize(torch.from_numpy(np.ascontiguousarray(film))[None, None], generator.resolution)
    method = choose_method(model, inversion.method)
    space = choose_space(model, method, inversion.space)
    with fast_gradients(generator):
        found = invert(model, original * 2 - 1, method, space, inversion.steps, 1, inversion.fit_noise)
    start = found.w[0].to(device).expand(generator.num_ws, -1).contiguous()
    noise = None if found.noise is None else [layer.to(device) for layer in found.noise]
    _, spread = generator.w_statistics()
    at = Coordinates(start, spread, search_basis(model, "w"), noise)
    return at, original[0, 0].numpy(), float(found.psnr[0]), float(found.ssim[0])


def _kinds(direction: Direction | None, anatomy: Anatomy) -> list[Carried]:
    """How a change may be carried over: as the direction is known to be, else as the heart's new border or as tone."""
    if direction is not None and direction.carried is not None:
        return [direction.carried]
    moved = np.nanmax(anatomy.ctr) - np.nanmin(anatomy.ctr) if np.isfinite(anatomy.ctr).any() else 0.0
    return ["border", "tone"] if moved >= MOVED_BORDER else ["tone"]


def _carry(
    network: AnatomyNetwork,
    score: ClassifierScore,
    film: Pixels,
    ends: Pixels,
    wanted: Floats,
    kinds: Sequence[Carried],
) -> list[OnFilm]:
    """The changes to both ends [3, R, R] (away, none, across) on the film, by the kind whose score comes nearest.

    A border that moves leaves tone behind, and added tone blurs a border that moved far: which of them the classifier
    looks at is not known beforehand. `wanted` [2] are the scores of the generator's pictures.
    """
    tried: list[list[OnFilm]] = []
    for kind in kinds:
        edits = edit_film(network, film, ends, [-1.0, 0.0, 1.0], [-1.0, 1.0], kind).edits
        scores = [np.nan if edit.refused else _score_film(score, film + edit.change) for edit in edits]
        tried.append([OnFilm(kind, edit, value) for edit, value in zip(edits, scores, strict=True)])
    found = []
    for aim, candidates in zip(wanted, zip(*tried, strict=True), strict=True):
        usable = [one for one in candidates if not one.edit.refused]
        found.append(min(usable or candidates[:1], key=lambda one: abs(one.log_odds - aim)))
    return found


def _score_film(score: ClassifierScore, film: Pixels) -> float:
    return float(score_pictures(score, torch.from_numpy(np.ascontiguousarray(film))[None, None] * 2 - 1)[0])


def _null(
    model: Model,
    score: ClassifierScore,
    at: Coordinates,
    across: Change,
    rising: bool,
    here: float,
    elsewhere: Tensor,
    before: Tensor,
    request: Request,
) -> Null:
    """Changes as long as the one that was found: of a classifier that learnt nothing, and at random."""
    generator = model.generator
    random = torch.Generator().manual_seed(request.seed)
    steps = torch.randn(RANDOMS, *at.start.shape, generator=random).to(at.start)
    steps = steps * (across.length / steps.flatten(1).norm(dim=1))[:, None, None]
    rises = (score_pictures(score, at.pictures(generator, steps)) - here).tolist()
    if request.direction is not None or score.weights is None or across.length == 0:
        return Null(None, None, rises)
    with shuffled_weights(score, request.seed):
        u = steepest(generator, score.log_odds, at, across.length, rising)
    made = at.pictures(generator, u[None])
    rise = float(score_pictures(score, made)[0]) - here
    change = (made - before)[0, 0].abs()
    return Null(rise, float(change[elsewhere].sum() / change.sum().clamp(min=1e-12)), rises)


def row(explanation: Explanation, wanted: str) -> dict[str, Any]:
    """One line of a table of many films, by COLUMNS."""
    plain = explanation.document()
    ctr = explanation.anatomy.ctr
    return {
        "source": explanation.source,
        "class": wanted,
        "film_probability": plain["film"]["probability"],
        "reconstruction_probability": plain["reconstruction"]["probability"],
        "across_probability": plain["states"][-1]["probability"],
        "reached": plain["reached"],
        "length": plain["length"],
        "score_heart": plain["score_by_region"]["heart"],
        "score_lungs": plain["score_by_region"]["lungs"],
        "score_elsewhere": plain["score_by_region"]["elsewhere"],
        "pixels_elsewhere": plain["pixels_by_region"]["elsewhere"],
        "ctr": _plain(float(ctr[explanation.middle])),
        "ctr_across": _plain(float(ctr[-1])),
        "film_across_probability": plain["on_the_film"][-1]["probability"],
        "film_refused": plain["on_the_film"][-1]["refused"],
        "shuffled_change": plain["null"]["shuffled_weights_change_of_log_odds"],
        "change": plain["change_of_log_odds"],
        "psnr": plain["reconstruction"]["psnr"],
    }


def summarise(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of many films: how many reached the goal, and the medians of the figures."""
    reached = [one for one in rows if one["reached"]]

    def median(name: str) -> float | None:
        values = [float(one[name]) for one in reached if one[name] not in (None, "")]
        return round(float(np.median(values)), 4) if values else None

    figures = (
        "length",
        "score_heart",
        "score_lungs",
        "score_elsewhere",
        "pixels_elsewhere",
        "change",
        "shuffled_change",
    )
    return {"films": len(rows), "reached": len(reached), "medians_of_those": {name: median(name) for name in figures}}
