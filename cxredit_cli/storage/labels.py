"""Label tables: the CSVs of the field as rows of one kind, and the row of each image."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

from cxredit_cli.errors import InputError, known_word
from cxredit_cli.radiographs.sources import IMAGE_SUFFIXES
from cxredit_cli.storage.label_styles import CHEXPERT_PATIENT, LabelRow, rows_of_nvlabs, rows_of_table
from cxredit_cli.storage.tables import read_csv

AMBIGUOUS = -1
Uncertain = Literal["skip", "present", "absent"]  # what a label counts as that a table says may be present


class LabelTable:
    """The rows of a label table, found by the end of a path."""

    def __init__(self, style: str, columns: Sequence[str], rows: Sequence[LabelRow], of_studies: bool = False) -> None:
        self.style = style  # such as "NIH"
        self.columns = tuple(columns)
        self.rows = tuple(rows)
        self.of_studies = of_studies  # a row is of all images in a study's folder, not of one
        self.label_names = tuple(sorted({label for row in rows for label in (*row.labels, *row.uncertain)}))
        self.view_names = tuple(sorted({row.view for row in rows if row.view}))
        self._with_suffix = _Ends([PurePosixPath(row.name.replace("\\", "/")).parts for row in self.rows])
        self._without_suffix = _Ends([_without_suffix(row.name) for row in self.rows])

    def find(self, parts: Sequence[str]) -> int | None:
        """Return the row whose path ends like `parts`; None if there is none, AMBIGUOUS if `parts` leave it open.

        Paths are compared first with, then without the image suffix (a CSV of .png for files that are .dcm).
        """
        if self.of_studies:
            parts = parts[:-1]
        found = self._with_suffix.find(tuple(parts))
        if found is None:
            found = self._without_suffix.find(_without_suffix("/".join(parts)))
        if found is None or found == AMBIGUOUS:
            return found
        # CheXpert's files have the same names for every patient: never take the row of another one.
        patients = {part for part in parts if CHEXPERT_PATIENT.fullmatch(part)}
        return AMBIGUOUS if patients and self.rows[found].patient_id not in (*patients, "") else found

    def likeness(self, parts: Sequence[str], row: int) -> int:
        """Return how many last parts of a path, without the image suffix, agree with those of a row."""
        ours, theirs = _without_suffix("/".join(parts)), _without_suffix(self.rows[row].name)
        agree = [a == b for a, b in zip(reversed(ours), reversed(theirs), strict=False)]
        return agree.index(False) if False in agree else len(agree)

    def settled(self, uncertain: Uncertain) -> "LabelTable":
        """The same table with labels that may be present counted as present or absent, or left open ("skip")."""
        if uncertain == "skip":
            return self
        rows = [
            replace(row, labels=(*row.labels, *row.uncertain) if uncertain == "present" else row.labels, uncertain=())
            for row in self.rows
        ]
        return LabelTable(self.style, self.columns, rows, self.of_studies)

    def with_images(self, images: "LabelTable") -> "LabelTable":
        """A table of studies spread over the images that MIMIC's metadata lists; an image of no study has no label."""
        of_study = {row.name: row for row in self.rows}
        rows = []
        for row in images.rows:
            study = of_study.get(str(PurePosixPath(row.name).parent))
            blank = ("",) * len(self.columns)
            rows.append(
                replace(
                    row,
                    labels=study.labels if study else (),
                    uncertain=study.uncertain if study else (),
                    values=(*(study.values if study else blank), *row.values),
                )
            )
        return LabelTable(self.style, (*self.columns, *images.columns), rows)


class _Ends:
    """Rows by as many last parts of their paths as tell all rows apart: one entry a row, however deep the paths."""

    def __init__(self, paths: Sequence[tuple[str, ...]]) -> None:
        deepest = max((len(parts) for parts in paths), default=1)
        distinct = len(set(paths))
        self._depth = next(
            (depth for depth in range(1, deepest) if len({parts[-depth:] for parts in paths}) == distinct), deepest
        )
        self._rows: dict[tuple[str, ...], int] = {}
        for row, parts in enumerate(paths):
            end = parts[-self._depth :]
            self._rows[end] = AMBIGUOUS if end in self._rows else row
        self._names = {parts[-1] for parts in paths if parts}

    def find(self, parts: tuple[str, ...]) -> int | None:
        for depth in range(self._depth, 0, -1):
            row = self._rows.get(parts[-depth:])
            if row is not None:
                return row
        return AMBIGUOUS if parts and parts[-1] in self._names else None


def _without_suffix(path: str) -> tuple[str, ...]:
    pure = PurePosixPath(path.replace("\\", "/"))
    return pure.with_suffix("").parts if pure.suffix.lower() in IMAGE_SUFFIXES else pure.parts


def check_uncertain(word: str) -> Uncertain:
    """Raise InputError unless the word of an option `--uncertain` is one of Uncertain."""
    known: Uncertain = known_word(word, Uncertain, "--uncertain")
    return known


def read_labels(paths: Path | Sequence[Path], uncertain: Uncertain = "skip") -> LabelTable:
    """Read a label table in any style of docs/how-to/label-tables.md, told apart by its columns.

    Two tables together are MIMIC-CXR's labels and metadata. Labels that a table says may be present (-1 of CheXpert's
    and MIMIC's, what fewer than half of the readers saw) count as `uncertain` says. Raises InputError, with the columns
    that were found.
    """
    given = [paths] if isinstance(paths, Path | str) else list(paths)
    tables = [_read_one(Path(path)) for path in given]
    if len(tables) == 1:
        return tables[0].settled(uncertain)
    by_style = {table.style: table for table in tables}
    if len(tables) != 2 or set(by_style) != {"MIMIC-CXR", "MIMIC-CXR metadata"}:
        raise InputError(
            f"Several label tables go together only as MIMIC-CXR's labels and metadata, not as "
            f"{' and '.join(table.style for table in tables)}."
        )
    return by_style["MIMIC-CXR"].with_images(by_style["MIMIC-CXR metadata"]).settled(uncertain)


def _read_one(path: Path) -> LabelTable:
    if not path.is_file():
        raise InputError(f"The label table {path} does not exist; give a CSV file with --labels.")
    if path.suffix.lower() == ".json":
        return LabelTable("NVlabs", ("name", "label"), rows_of_nvlabs(path))
    lines = read_csv(path)
    if len(lines) < 2:
        raise InputError(f"{path} holds no rows; expected a header and one row an image.")
    header = [cell.strip() for cell in lines[0]]
    values = [tuple((line + [""] * len(header))[: len(header)]) for line in lines[1:]]
    style, rows = rows_of_table(header, values, path)
    return LabelTable(style.name, header, rows, style.of_studies)
