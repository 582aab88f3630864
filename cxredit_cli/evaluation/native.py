"""How well edits are carried over to films: judged by a network that did not steer them, film by film.

Beside the edits stand two yardsticks: the residual E - R of the generator's pictures added to the film, and the
generator's picture enlarged. Lengths are fractions of the side.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from time import perf_counter
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from cxredit_cli.anatomy.measures import Anatomy
from cxredit_cli.anatomy.outlines import clean, segment
from cxredit_cli.editing.border_move import NEIGHBOURHOOD
from cxredit_cli.editing.edit_film import MASKS, SNAPPED, add_residual, edit_film, measure_films, reduce
from cxredit_cli.editing.heart_border import Border, find_border, rays, turn
from cxredit_cli.networks.anatomy import HEART, AnatomyNetwork
from cxredit_cli.radiographs.geometry import enlarge

Method = Literal["native", "additive", "enlarged"]
METHODS: tuple[Method, ...] = get_args(Method)
MET = 0.9  # of lung outside the border, where heart meets lung
APART = 14 / 1024  # of the old border from the new, so that a ghost of the one is not the other
AT_BORDER, AROUND = 4 / 1024, 20 / 1024  # within which a step is looked for: at the old border, around the new one
ALONG = 4.0  # degrees, over which what runs along the border is averaged
INSIDE = (0.7, 0.78, 0.86)  # of the radius: tissue within the heart, which has steps of its own
FEWEST = 20  # angles of a border that can be judged
CLOSE = 0.03  # of the CTR: film by film this near to what the generator's edit changes
GHOST = 1.3  # what a credible edit keeps to, of interior tissue


@dataclass(frozen=True, slots=True)
class FilmFigures:
    """One edit of one film by one method; nan where it cannot be measured."""

    film: str
    strength: float
    method: Method
    refused: str  # why, "" where it was edited
    wanted: float  # change of the CTR from reconstruction to the generator's edit, by the judge
    carried: float  # change of the CTR of the film
    thorax: float  # width after over before
    lungs: float  # height of the lungs, mean, after over before
    ghost: float  # step left at the old border over interior tissue's
    ghost_here: float  # the same over the untouched film's step as far from its own border
    edge: float  # step at the new border over the old border's
    detail: float  # correlation of fine detail before and after, where the heart moved
    sharpness: float  # power of fine detail after over before, in the same place
    outside: float  # largest change beyond the neighbourhood of the heart, in grey levels of 255
    seconds: float


def measure_film(
    network: AnatomyNetwork,
    judge: AnatomyNetwork,
    name: str,
    film: NDArray[np.float32],
    pictures: NDArray[np.float32],
    strengths: Sequence[float],
    wanted: Sequence[float],
) -> list[FilmFigures]:
    """Edit `film` [N, N] by all methods (see `edit_film`) and measure each, `judge` having had no part in it."""
    strengths = [float(s) for s in strengths]
    begun = perf_counter()
    found = edit_film(network, film, pictures, strengths, wanted)
    seconds = (perf_counter() - begun) / len(wanted)
    zero = strengths.index(0.0)
    generated = measure_films(judge, list(pictures))
    border, masks = _outlines(network, film, pictures, strengths)
    made: list[tuple[float, Method, str, NDArray[np.float32], float]] = []
    for edit in found.edits:
        picture = pictures[strengths.index(edit.strength)]
        begun = perf_counter()
        residual = add_residual(film, picture - pictures[zero])
        additive = perf_counter() - begun
        made.append((edit.strength, "native", edit.refused, edit.change, seconds))
        made.append((edit.strength, "additive", "", residual, additive))
        made.append((edit.strength, "enlarged", "", enlarge(picture, len(film)) - film, 0.0))
    judged = measure_films(judge, [film, *(film + change for *_, change, _ in made)])
    shown = _Details(reduce(film, SNAPPED), border)
    figures = []
    for row, (strength, method, refused, change, took) in enumerate(made, start=1):
        index = strengths.index(strength)
        near = (masks[0] == HEART) | (masks[1 + index] == HEART) | (masks[1 + zero] == HEART)
        figures.append(
            FilmFigures(
                film=name,
                strength=strength,
                method=method,
                refused=refused,
                wanted=float(generated.ctr[index] - generated.ctr[zero]),
                carried=float(judged.ctr[row] - judged.ctr[0]),
                thorax=float(judged.thorax_width[row] / judged.thorax_width[0]),
                lungs=float(_lungs(judged, row) / _lungs(judged, 0)),
                **shown.compare(reduce(film + change, SNAPPED), strength),
                outside=_outside(change, near),
                seconds=took,
            )
        )
    return figures


def _outlines(
    network: AnatomyNetwork, film: NDArray[np.float32], pictures: NDArray[np.float32], strengths: Sequence[float]
) -> tuple[Border | None, NDArray[np.uint8]]:
    """The border of the heart on the film, None where there is none, and all masks."""
    small = reduce(film, network.config.resolution)[None]
    shown = [segment(network, torch.from_numpy(part)[:, None], MASKS).masks for part in (small, pictures)]
    masks = clean(np.concatenate(shown))
    usable = (masks[0] == HEART).any() and all((mask == HEART).any() for mask in masks)
    return (find_border(reduce(film, SNAPPED), masks, strengths) if usable else None), masks


def _lungs(anatomy: Anatomy, row: int) -> float:
    return float(anatomy.right_lung_height[row] + anatomy.left_lung_height[row])


def _outside(change: NDArray[np.float32], near: NDArray[np.bool_]) -> float:
    """The largest change beyond the neighbourhood of the heart [M, M], in grey levels of 255."""
    far = ndimage.distance_transform_edt(~near) / len(near) > NEIGHBOURHOOD
    index = np.minimum(np.arange(len(change)) * len(near) // len(change), len(near) - 1)
    return float(np.abs(change[far[np.ix_(index, index)]]).max(initial=0) * 255)


class _Details:
    """What is seen along the border of the heart of one film [N, N]."""

    def __init__(self, film: NDArray[np.float32], border: Border | None) -> None:
        self._film, self._border, self._side = film, border, len(film)
        if border is not None:
            self._old_around = self._step(film, border.edge, AROUND)
            self._tissue = np.mean([self._step(film, border.edge * share, AT_BORDER) for share in INSIDE], axis=0)

    def compare(self, edited: NDArray[np.float32], strength: float) -> dict[str, float]:
        """The ghosts, edge, detail and sharpness of an edit [N, N]; nan where too little of the border meets lung."""
        unknown = dict.fromkeys(("ghost", "ghost_here", "edge", "detail", "sharpness"), float("nan"))
        if self._border is None or not strength:
            return unknown
        shift = self._border.shift[0] * strength + self._border.shift[1] * strength**2
        arc = (self._border.lung > MET) & (np.abs(shift) > APART * self._side)
        if arc.sum() < FEWEST:
            return unknown
        new = self._border.edge + shift
        left = self._step(edited, self._border.edge, AT_BORDER)[arc].mean()
        stands = self._step(edited, new, AROUND)[arc].mean()
        # The old border lies within a heart that grew, and beside one that shrank.
        here = self._step(self._film, self._border.edge - shift, AT_BORDER)[arc].mean()
        fine, kept = (self._fine(picture, new, arc) for picture in (self._film, edited))
        return {
            "ghost": float(left / self._tissue[arc].mean()),
            "ghost_here": float(left / here),
            "edge": float(stands / self._old_around[arc].mean()),
            "detail": float(np.corrcoef(fine, kept)[0, 1]) if fine.std() and kept.std() else float("nan"),
            "sharpness": float(np.square(kept).mean() / max(np.square(fine).mean(), 1e-12)),
        }

    def _step(self, picture: NDArray[np.float32], radius: NDArray[np.float64], half: float) -> NDArray[np.float64]:
        """The strongest step across the curve `radius`, of either sign, that runs along it for 8 degrees [ANGLES]."""
        assert self._border is not None
        reach = max(round(half * self._side), 2)
        blurred = ndimage.gaussian_filter(picture, 1.5 * self._side / 1024)
        offsets = np.arange(-reach, reach + 1.0)
        profile = rays(blurred, self._border.x, self._border.y, radius[:, None] + offsets)
        return np.asarray(np.abs(turn(np.gradient(profile, axis=1), 2)).max(axis=1), dtype=np.float64)

    def _fine(
        self, picture: NDArray[np.float32], new: NDArray[np.float64], arc: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Detail between the old and the new border, away from both: what is finer than 6 pixels of 1024.

        Ribs and vessels cross the border; what runs along it belongs to the border and is taken out.
        """
        assert self._border is not None
        scale = self._side / 1024
        detail = ndimage.gaussian_filter(picture, max(scale, 0.5)) - ndimage.gaussian_filter(picture, 6 * scale)
        low, high = np.minimum(self._border.edge, new)[arc], np.maximum(self._border.edge, new)[arc]
        along = np.linspace(0.25, 0.75, 24)
        radius = np.zeros((len(arc), len(along)))
        radius[arc] = low[:, None] + (high - low)[:, None] * along
        sampled = rays(detail, self._border.x, self._border.y, radius).astype(np.float64)
        share = np.maximum(turn(arc.astype(np.float64), ALONG), 1e-6)[:, None]
        crossing = sampled - turn(sampled * arc[:, None], ALONG) / share
        return np.asarray(crossing[arc].ravel(), dtype=np.float64)


def summarise(figures: Sequence[FilmFigures]) -> list[dict[str, Any]]:
    """For each strength and method what the films that were edited say together, as plain values.

    `carried` is the mean change of the CTR over the mean change wanted; `gap` the distance of the two film by film.
    """
    rows = []
    for strength in sorted({figure.strength for figure in figures}):
        for method in METHODS:
            of_all = [f for f in figures if f.strength == strength and f.method == method]
            used = [f for f in of_all if not f.refused and np.isfinite([f.wanted, f.carried]).all()]
            values = {name: np.array([asdict(f)[name] for f in used], dtype=np.float64) for name in NUMBERS}
            gap = np.abs(values["carried"] - values["wanted"])
            rows.append(
                {
                    "strength": strength,
                    "method": method,
                    "films": len(of_all),
                    "refused": sum(bool(f.refused) for f in of_all),
                    "carried": _ratio(values["carried"], values["wanted"]),
                    "right_sign": _mean(np.sign(values["carried"]) == np.sign(values["wanted"])),
                    "median_gap": _quantile(gap, 0.5),
                    "gap_90": _quantile(gap, 0.9),
                    "within_.03": _mean(gap <= CLOSE),
                    "thorax_90": _quantile(np.abs(values["thorax"] - 1), 0.9),
                    "lungs_90": _quantile(np.abs(values["lungs"] - 1), 0.9),
                    "ghost": _quantile(values["ghost"], 0.5),
                    "ghost_fine": _mean(values["ghost"] <= GHOST, values["ghost"]),
                    "ghost_here": _quantile(values["ghost_here"], 0.5),
                    "ghost_here_fine": _mean(values["ghost_here"] <= GHOST, values["ghost_here"]),
                    "edge": _quantile(values["edge"], 0.5),
                    "detail": _quantile(values["detail"], 0.5),
                    "sharpness": _quantile(values["sharpness"], 0.5),
                    "outside": float(values["outside"].max(initial=0)),
                    "seconds": _quantile(values["seconds"], 0.5),
                }
            )
    return rows


NUMBERS = tuple(
    field.name for field in fields(FilmFigures) if field.name not in ("film", "strength", "method", "refused")
)


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> float | None:
    return float(above.mean() / below.mean()) if len(above) and below.mean() else None


def _mean(values: NDArray[Any], known: NDArray[np.float64] | None = None) -> float | None:
    """The mean of `values`, of those alone whose `known` is a number."""
    counted = values if known is None else values[np.isfinite(known)]
    return float(counted.mean()) if len(counted) else None


def _quantile(values: NDArray[np.float64], share: float) -> float | None:
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, share)) if len(finite) else None
