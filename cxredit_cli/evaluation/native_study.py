"""Section `native` of an evaluation: films inverted, edited at their own resolution, and judged, one after another."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from cxredit_cli.errors import InputError, UnreadableImageError
from cxredit_cli.evaluation.native import FilmFigures, measure_film, summarise
from cxredit_cli.inversion.invert import choose_method, choose_space, invert
from cxredit_cli.inversion.precision import fast_gradients
from cxredit_cli.inversion.request import InversionRequest
from cxredit_cli.latent.edit_codes import edit
from cxredit_cli.latent.responses import default_strengths
from cxredit_cli.latent.synthesize import synthesize
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.processes import ALONE, Processes
from cxredit_cli.progress import Progress
from cxredit_cli.radiographs.film import read_film
from cxredit_cli.radiographs.geometry import fit_square
from cxredit_cli.radiographs.sources import Source
from cxredit_cli.storage.directions import Direction
from cxredit_cli.storage.models import Model

STRENGTHS = (-6.0, 4.0, 8.0)


def evaluate_native(
    model: Model,
    network: AnatomyNetwork,
    judge: AnatomyNetwork,
    direction: Direction,
    films: Sequence[Source],
    strengths: Sequence[float] | None,
    inversion: InversionRequest,
    batch: int,
    progress: Progress,
    processes: Processes = ALONE,
) -> dict[str, Any]:
    """What edits of `films` keep and carry, by `judge`, as plain values; a film that cannot be read is named.

    `network` steers. Several `processes` share the films, and all have the section. Raises InputError for a direction
    that does not move the heart's border, or that was never calibrated, and where no film can be read.
    """
    if direction.carried != "border":
        raise InputError(
            "--native judges directions that move the heart's border, and this one "
            f"{'adds tone' if direction.carried else 'is not calibrated'}; see `cxredit direction calibrate`."
        )
    method = choose_method(model, inversion.method)
    space = choose_space(model, method, inversion.space)
    wanted = sorted({*(strengths or STRENGTHS)} - {0.0})
    path = sorted({0.0, *wanted, *default_strengths(model.generator, len(direction.direction))[1:-1]})
    vector = torch.from_numpy(direction.direction)
    figures: list[FilmFigures] = []
    failed: list[dict[str, str]] = []
    progress.start("Editing and judging films", len(films), unit="film")
    for part in processes.rounds(len(films), 1):
        judged, unreadable = list[FilmFigures](), list[dict[str, str]]()
        for source in films[part.start : part.stop]:
            try:
                square = read_film(source).square(inversion.fit)
            except UnreadableImageError as error:
                unreadable.append({"source": source.name, "reason": str(error)})
                continue
            small = torch.from_numpy(fit_square(square, model.generator.resolution))[None, None] * 2 - 1
            with fast_gradients(model.generator):
                found = invert(model, small, method, space, inversion.steps, 1)
            codes = edit(found.w, vector, path, model.generator.num_ws).flatten(0, 1)
            made = torch.cat(list(synthesize(model.generator, codes, batch=batch)))[:, 0]
            pictures = np.asarray((made / 2 + 0.5).numpy(), dtype=np.float32)
            judged = measure_film(network, judge, source.name, square, pictures, path, wanted)
        for some, others in processes.exchange((judged, unreadable)):
            figures += some
            failed += others
        progress.advance(min(part.start + processes.count, len(films)))
    progress.finish()
    if not figures:
        raise InputError(f"None of the {len(films)} films could be read; the first: {failed[0]['reason']}")
    return {
        "direction": direction.name,
        "films": len(films) - len(failed),
        "inversion": f"{method}, {space}, {inversion.steps} steps",
        "strengths": wanted,
        "summary": summarise(figures),
        "figures": [_plain(asdict(figure)) for figure in figures],
        "unreadable": failed,
    }


def _plain(figures: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and np.isnan(value) else value for key, value in figures.items()}
