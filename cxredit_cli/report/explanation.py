"""The page of `cxredit explain`: why a classifier says what it says, in one HTML file that needs no network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxredit_cli.editing.edit_film import CarriedEdit, reduce
from cxredit_cli.editing.explain import Explanation, probability_of
from cxredit_cli.editing.score_shares import TILES
from cxredit_cli.figures.sheets import DIVERGING, difference_limit
from cxredit_cli.metrics.classification import probability
from cxredit_cli.radiographs import provenance
from cxredit_cli.radiographs.write import encode_png
from cxredit_cli.report.charts import Chart, Line
from cxredit_cli.report.pages import write_page
from cxredit_cli.report.pictures import css, data_uri, difference_png

FILM_SIDE = 768  # of a film on the page, at most
SHOWN_TILE = 0.03  # share of the score's change from which a tile is drawn

Pixels = NDArray[np.float32]


def write_explanations(path: Path, found: Sequence[Explanation], about: dict[str, Any]) -> None:
    """Write the page of some films, whole or not at all; `about` is the document beside it without their figures."""
    context = {
        "about": about,
        "films": [_film(one, about) for one in found],
        "software": provenance.SOFTWARE,
        "disclaimer": provenance.DISCLAIMER,
        "colours": {"lower": css(DIVERGING[1]), "higher": css(DIVERGING[-2])},
    }
    write_page(path, "explanation_page/page.html", context)


def _film(one: Explanation, about: dict[str, Any]) -> dict[str, Any]:
    what = f"{about['class']} by {about['classifier']} [{about['sha']}]"
    middle = one.middle
    changes = one.pictures - one.pictures[middle]
    limit = difference_limit([*changes] if np.ptp(changes) > 0 else [])

    def text(position: float, native: bool = False) -> dict[str, str]:
        return provenance.edited(about["model"], one.source, what, f"{position:+g}", "all", native=native)

    states = [
        {
            "position": position,
            "image": data_uri(encode_png(picture, text(position))),
            "difference": None if position == 0 else data_uri(difference_png(change, limit, text(position))),
            "probability": probability_of(float(value)),
            "ctr": one.anatomy.plain(index)["ctr"],
            "problem": one.anatomy.problem[index],
        }
        for index, (position, picture, change, value) in enumerate(
            zip(one.positions, one.pictures, changes, one.log_odds, strict=True)
        )
    ]
    ends = [
        {
            "position": position,
            "image": None
            if carried.edit.refused
            else data_uri(encode_png(_shown(one.film, carried.edit), text(position, native=True))),
            "refused": carried.edit.refused,
            "kind": carried.kind,
            "probability": None if np.isnan(carried.log_odds) else probability_of(carried.log_odds),
        }
        for position, carried in zip((-1, 1), one.carried, strict=True)
    ]
    plain = {"Title": one.source, "Software": provenance.SOFTWARE, "Disclaimer": provenance.DISCLAIMER}
    return {
        "figures": one.document(),
        "states": states,
        "film": data_uri(encode_png(reduce(one.film, FILM_SIDE), plain)),
        "ends": ends,
        "charts": _charts(one),
        "tiles": _tiles(one.tiles),
        "limit": limit,
        "randoms": max((abs(value) for value in one.null.random_rises), default=0.0),
    }


def _charts(one: Explanation) -> list[Chart]:
    """The score, and what of the anatomy moved, over the way from one end to the other."""
    charts = [
        Chart(
            "Probability that the classifier gives",
            "change of the picture, 1 crosses the target",
            one.positions,
            [Line("", "main", probability(one.log_odds).tolist())],
            within=(0.0, 1.0),
        )
    ]
    measured = {
        "cardiothoracic ratio": ("heart", one.anatomy.ctr),
        "right lung area": ("right", one.anatomy.right_lung_area),
        "left lung area": ("left", one.anatomy.left_lung_area),
        "heart area": ("thorax", one.anatomy.heart_area),
    }
    lines = []
    for name, (look, values) in measured.items():
        before = values[one.middle]
        if np.isfinite(values).all() and before:
            lines.append(Line(name, look, (values / before - 1).tolist()))
    grey = np.median(one.pictures.reshape(len(one.pictures), -1), axis=1)
    lines.append(Line("median grey", "beside", (grey / max(float(grey[one.middle]), 1e-6) - 1).tolist()))
    charts.append(Chart("What moved, against the reconstruction", "change of the picture", one.positions, lines, True))
    return charts


def _tiles(tiles: NDArray[np.float64]) -> list[dict[str, Any]]:
    """The squares of the map that are worth drawing, in percent of the side."""
    size = 100 / TILES
    return [
        {
            "x": column * size,
            "y": row * size,
            "size": size,
            "share": float(tiles[row, column]),
            "look": "higher" if tiles[row, column] > 0 else "lower",
            "opacity": round(min(abs(float(tiles[row, column])) * 3, 0.75), 3),
        }
        for row in range(TILES)
        for column in range(TILES)
        if abs(tiles[row, column]) >= SHOWN_TILE
    ]


def _shown(film: Pixels, edit: CarriedEdit) -> Pixels:
    return reduce(np.asarray(film + edit.change, dtype=np.float32), FILM_SIDE)
