"""Explanations of many films: each a row of a table that is appended to, the first ones kept whole for a page."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cxredit_cli.editing.edited_folder import digest
from cxredit_cli.editing.explain import COLUMNS, Explanation, Request, explain, row
from cxredit_cli.errors import CxreditError, InputError
from cxredit_cli.intake.door import SEEN_FROM, Door
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.networks.any_classifier import ClassifierScore
from cxredit_cli.progress import Progress
from cxredit_cli.radiographs.film import read_film
from cxredit_cli.radiographs.sources import Source
from cxredit_cli.storage.growing_table import GrowingTable
from cxredit_cli.storage.models import Model

SHOWN = 12  # films on a page


@dataclass(slots=True)
class ExplainReport:
    """What a run did."""

    shown: list[Explanation] = field(default_factory=list)  # the first SHOWN films
    rows: list[dict[str, Any]] = field(default_factory=list)  # of all films, those of earlier runs among them
    already_done: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)  # name, reason


def explain_many(
    model: Model,
    network: AnatomyNetwork,
    score: ClassifierScore,
    sources: Sequence[Source],
    request: Request,
    table: Path | None,
    door: Door,
    progress: Progress,
) -> ExplainReport:
    """Explain each film, in order; with `table`, films that stand there by the same recipe are not done again.

    The first SHOWN are always done, for they are shown. A film that cannot be read or explained is named.
    """
    how = recipe(model, score, request)
    growing = None if table is None else GrowingTable(table, (*COLUMNS, "film", "recipe"))
    known = {} if growing is None else _take_up(growing, how)
    report = ExplainReport()
    progress.start("Explaining", len(sources))
    read = door.read(list(enumerate(sources)), max(model.generator.resolution, SEEN_FROM), request.inversion.fit, 16)
    for done, (index, content, reason) in enumerate(read, start=1):
        source = sources[index]
        key = "" if content is None else digest(source.read_bytes())
        if content is None:
            report.failed.append((source.name, reason))
        elif (source.name, key) in known and len(report.shown) >= SHOWN:
            report.rows.append(known[source.name, key])
            report.already_done += 1
        else:
            try:
                film = read_film(door.source(source)).square(request.inversion.fit)
                found = explain(model, network, score, source.name, film, request)
            except CxreditError as error:
                report.failed.append((source.name, str(error)))
                continue
            line = {**row(found, score.wanted), "film": key, "recipe": how}
            report.rows.append(line)
            if len(report.shown) < SHOWN:
                report.shown.append(found)
            if growing is not None and (source.name, key) not in known:
                growing.append(line[name] for name in growing.columns)
        progress.advance(done)
    if growing is not None:
        growing.close()
    progress.finish()
    return report


def recipe(model: Model, score: ClassifierScore, request: Request) -> str:
    """Stands for all that decides an explanation besides the film."""
    inversion = request.inversion
    parts = [
        model.fingerprint,
        score.sha,
        score.wanted,
        request.goal,
        None if request.direction is None else request.direction.digest,
        [inversion.method, inversion.space, inversion.steps, inversion.fit_noise, inversion.fit],
        request.seed,
    ]
    return digest(parts)


def _take_up(table: GrowingTable, how: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The rows of a table by the same recipe, by name and film."""
    if table.is_another():
        raise InputError(f"{table.path} is another table, not one of `cxredit explain`; use another --output.")
    rows = [dict[str, Any](zip(table.columns, cells, strict=True)) for cells in table.rows()]
    return {
        (line["source"], line["film"]): line | {"reached": line["reached"] == "True"}
        for line in rows
        if line["recipe"] == how
    }
