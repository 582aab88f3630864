"""The table of `measure`: a row an image, on disk once it is measured, so that a killed run carries on."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from cxredit_cli.anatomy.measures import FIGURES, Anatomy
from cxredit_cli.atomic import write_text
from cxredit_cli.storage.growing_table import GrowingTable

COLUMNS = ("input", "name", *FIGURES, "plausible", "problem", "suspect")


@dataclass(frozen=True, slots=True)
class MeasuredImage:
    """What was measured on one image."""

    given: str  # the input that named it
    name: str
    figures: tuple[float, ...]  # by FIGURES: lengths and areas as fractions, to five places; nan where unknown
    problem: str  # why the outlines are implausible, "" where they are not
    suspect: str  # what is wrong with the image, where it was taken all the same

    @classmethod
    def of(cls, anatomy: Anatomy, index: int, given: str, name: str, suspect: str) -> Self:
        """One image of several that were measured together."""
        figures = tuple(round(float(getattr(anatomy, figure)[index]), 5) for figure in FIGURES)
        return cls(given, name, figures, anatomy.problem[index], suspect)

    @classmethod
    def of_cells(cls, cells: Sequence[str]) -> Self:
        """One row of the table."""
        given, name, *figures, _, problem, suspect = cells
        return cls(given, name, tuple(float(cell) if cell else np.nan for cell in figures), problem, suspect)

    @property
    def ctr(self) -> float:
        """The cardiothoracic ratio."""
        return self.figures[FIGURES.index("ctr")]

    def cells(self) -> list[str]:
        """The row, by COLUMNS: empty where unknown."""
        figures = ["" if np.isnan(value) else f"{value:.5f}" for value in self.figures]
        return [self.given, self.name, *figures, "no" if self.problem else "yes", self.problem, self.suspect]

    def plain(self) -> dict[str, object]:
        """The row as JSON holds it: None where unknown."""
        figures = [None if np.isnan(value) else value for value in self.figures]
        cells = (self.given, self.name, *figures, not self.problem, self.problem, self.suspect)
        return dict(zip(COLUMNS, cells, strict=True))


class MeasuredTable:
    """`<path>.partial` with the images that are measured, until `finish` makes `path` of it.

    Each has an `identity`, which stands for the image and all that decides its figures: a run that carries on knows by
    it what is done.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = GrowingTable(path.with_name(f"{path.name}.partial"), ("identity", *COLUMNS))
        if self._partial.is_another():  # of another version
            self._partial.path.unlink()
        self.done = {identity: MeasuredImage.of_cells(cells) for identity, *cells in self._partial.rows()}

    def add(self, identity: str, image: MeasuredImage) -> None:
        """Add an image; it is in the file when this returns."""
        self.done[identity] = image
        self._partial.append((identity, *image.cells()))

    def finish(self, identities: Sequence[str]) -> list[MeasuredImage]:
        """Write those that are done, in the order of `identities`, whole or not at all; return them."""
        self._partial.close()
        images = [self.done[identity] for identity in identities if identity in self.done]
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(image.cells() for image in images)
        write_text(self.path, text.getvalue())
        self._partial.path.unlink(missing_ok=True)
        return images
