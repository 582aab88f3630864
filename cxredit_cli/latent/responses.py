"""What steps along a direction do to the anatomy of pictures: every strength on every code, measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxredit_cli.anatomy.picture_measures import MEASURES, measure_pictures
from cxredit_cli.latent.edit_codes import edit
from cxredit_cli.latent.random_codes import random_codes
from cxredit_cli.latent.synthesize import synthesize
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.networks.generator import Generator

Floats = NDArray[np.float64]

SPREAD_SAMPLES = 1024
STRENGTHS = 7  # measured where none are asked for
HALFWAY = 0.5  # of the root mean square distance of a random code from the mean code: an edit still looks like a chest


@dataclass(frozen=True, slots=True)
class Responses:
    """Measures of N codes at S strengths."""

    strengths: Floats  # [S], rising, 0 among them
    measures: dict[str, Floats]  # MEASURES, [N, S] each
    plausible: NDArray[np.bool_]  # [N, S]

    @property
    def zero(self) -> int:
        """The column of strength 0."""
        return int(np.argmin(np.abs(self.strengths)))

    @property
    def whole(self) -> NDArray[np.bool_]:
        """[N]: the outlines are plausible at every strength, so that every curve is of the same images."""
        return np.asarray(self.plausible.all(axis=1))

    def reversed(self) -> "Responses":
        """The same codes along the opposite direction."""
        measures = {name: values[:, ::-1] for name, values in self.measures.items()}
        return Responses(0.0 - self.strengths[::-1], measures, self.plausible[:, ::-1])

    def slopes(self, name: str) -> Floats:
        """The least-squares slope [M], a unit of strength, of each image that is plausible throughout."""
        centred = self.strengths - self.strengths.mean()
        return np.asarray(self.measures[name][self.whole] @ centred / np.square(centred).sum())


def reach(generator: Generator, rows: int) -> float:
    """A strength that changes much and leaves a chest: half the distance of a random code from the mean code.

    `rows` of the direction are 1 in W, num_ws in W+, where a unit vector spreads over all layers and each moves less.
    """
    w = random_codes(generator, 0, range(SPREAD_SAMPLES))[:, 0].double()
    return HALFWAY * float((w.var(dim=0).sum() * rows).sqrt())


def widest(generator: Generator, rows: int) -> float:
    """The largest strength that a search may use, rounded to two digits: half as far again as `reach`."""
    return float(f"{1.5 * reach(generator, rows):.2g}")


def default_strengths(generator: Generator, rows: int) -> list[float]:
    """STRENGTHS of them at equal distances over +-`reach`, rounded to two digits."""
    end = float(f"{reach(generator, rows):.2g}")
    return [round(float(value), 4) for value in np.linspace(-end, end, STRENGTHS)]


@torch.no_grad()
def respond(
    generator: Generator,
    network: AnatomyNetwork,
    w: Tensor,
    direction: Tensor,
    strengths: Sequence[float],
    noise: Sequence[Tensor] | None = None,
    tuning: Tensor | None = None,
    batch: int = 32,
    advance: Callable[[int], None] | None = None,
) -> Responses:
    """Measure the pictures of codes [N, L, D] moved by each strength (0 is added) along `direction` [1 or num_ws, D].

    `noise` is fitted noise, one [N, 1, H, W] a layer, and `tuning` [N, K] what bends the generator for each code;
    `advance` is told how many pictures were made since.
    """
    rising = sorted({*map(float, strengths), 0.0})
    moved = edit(w.float().cpu(), direction.float().cpu(), rising, generator.num_ws)
    owner = torch.arange(len(w)).repeat_interleave(len(rising))
    fitted = None if noise is None else [layer[owner] for layer in noise]
    deltas = None if tuning is None else tuning[owner]
    parts: list[dict[str, Floats]] = []
    plausible: list[NDArray[np.bool_]] = []
    for images in synthesize(generator, moved.flatten(0, 1), fitted, batch, deltas):
        found, good = measure_pictures(network, images, batch)
        parts.append(found)
        plausible.append(good)
        if advance is not None:
            advance(len(images))
    shape = (len(w), len(rising))
    measures = {name: np.concatenate([found[name] for found in parts]).reshape(shape) for name in MEASURES}
    return Responses(np.array(rising), measures, np.concatenate(plausible).reshape(shape))


def join(parts: Sequence[Responses]) -> Responses:
    """The codes of all `parts`, which share their strengths."""
    measures = {name: np.concatenate([part.measures[name] for part in parts]) for name in MEASURES}
    return Responses(parts[0].strengths, measures, np.concatenate([part.plausible for part in parts]))


def summarise(found: Responses) -> dict[str, Any]:
    """Plain values: the curve of the CTR with its spread, its slope, and what one unit does to every measure.

    All over the images whose outlines are plausible at every strength; None where there is none.
    """
    used = found.whole
    ctr = found.measures["ctr"][used]
    change = ctr - ctr[:, [found.zero]]
    slopes = {name: found.slopes(name) for name in MEASURES}
    rising = np.asarray((np.diff(ctr, axis=1) > 0).all(axis=1), dtype=np.float64)
    return {
        "images": len(used),
        "used": int(used.sum()),
        "strengths": [float(value) for value in found.strengths],
        "plausible": [float(value) for value in found.plausible.mean(axis=0)],
        "ctr": _plain(ctr, np.mean),
        "ctr_deviation": _plain(ctr, np.std),
        "ctr_change": _plain(change, np.mean),
        "ctr_change_deviation": _plain(change, np.std),
        "slope": _mean(slopes["ctr"]),  # CTR a unit of strength
        "slope_deviation": _deviation(slopes["ctr"]),  # over the images
        "rising_overall": _mean(np.asarray(ctr[:, -1] > ctr[:, 0], dtype=np.float64)),
        "rising_at_every_step": _mean(rising),
        "per_unit": {name: _mean(values) for name, values in slopes.items()},
    }


def _plain(values: Floats, function: Callable[..., Any]) -> list[float] | None:
    return [float(value) for value in function(values, axis=0)] if len(values) else None


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None


def _deviation(values: Floats) -> float | None:
    return float(values.std()) if len(values) else None
