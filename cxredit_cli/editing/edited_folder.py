"""The folder of edited radiographs: names that never collide, and a manifest that lets an interrupted run carry on."""

import csv
import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from cxredit_cli.atomic import write_text
from cxredit_cli.errors import InputError
from cxredit_cli.storage.growing_table import GrowingTable

COLUMNS = (
    "source",
    "stem",
    "strength",
    "file",  # "" where nothing was written
    "sheet",
    "psnr",  # dB, of the reconstruction against the original
    "ssim",
    "mean_abs_change",  # of the edit against the reconstruction, as a share of the grey range
    "max_abs_change",
    "target_ctr",  # with --target-ctr: what was asked for; two that come out alike stand together, by |
    "ctr",  # measured on the edit
    "reconstruction_ctr",  # measured before, on the reconstruction
    "film_ctr",  # measured before, on the film
    "carried",  # how a native edit was carried over: border or tone; "" where the file is the generator's picture
    "refused",  # why the film itself was not edited
    "direction",
    "layers",
    "method",
    "model",
    "identity",  # which original: a hash of its name and pixels
    "recipe",  # which parameters: a hash of all that decides the pictures
    "suspect",  # what is wrong with the original, where it was taken all the same
    "righted",  # how the film lies, or that it is a negative, where that was put right; its edit is as the film
)


PLACES = {name: place for place, name in enumerate(COLUMNS)}
A_FOLDER = 1000  # images: of more, each so many lie in a folder of their own


class Row(Mapping[str, str]):
    """A row of the manifest, for hundreds of thousands in memory: a third of a dictionary, beside its texts."""

    __slots__ = ("cells",)

    def __init__(self, cells: Sequence[str], before: "Row | None" = None) -> None:
        """`cells` by COLUMNS; those that are as in the row `before` are held once."""
        known = cells if before is None else before.cells
        self.cells: tuple[str, ...] = tuple(old if old == new else new for old, new in zip(known, cells, strict=True))

    def __getitem__(self, name: str) -> str:
        return self.cells[PLACES[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(COLUMNS)

    def __len__(self) -> int:
        return len(COLUMNS)


class EditedFolder:
    """Files `<stem>_<strength>.<suffix>`, `<stem>_sheet.png` and manifest.csv in one folder.

    Of more than A_FOLDER images those lie in folders 000, 001, ..., which their stems then begin with. A row is
    appended once its file is in place, so that what a killed run has done is known; the last row of a file counts, and
    `finish` leaves one row a file. Several processes may look; one of them adds rows and finishes.
    """

    def __init__(self, folder: Path, images: int = 1, sheets: bool = True) -> None:
        """`images` are how many there are to edit; without `sheets` an image is done when its edits are."""
        self.folder = folder
        self.manifest = folder / "manifest.csv"
        folder.mkdir(parents=True, exist_ok=True)
        self._divided, self._sheets = images > A_FOLDER, sheets
        self._rows: dict[str, Row] = {}
        self._files = defaultdict[str, list[str]](list)  # of each stem: keys of its rows
        self._stems: dict[str, str] = {}  # of each identity
        self._taken: set[str] = set()  # stems
        self._numbers: dict[str, int] = {}  # that were last given to equal stems
        self._last: Row | None = None
        self._table = GrowingTable(self.manifest, COLUMNS)
        if self._table.is_another():
            raise InputError(
                f"{self.manifest} is no manifest of this version of cxredit; move it away, or choose another "
                "folder with -o."
            )
        for cells in self._table.rows():
            if cells[PLACES["recipe"]] and _is_number(cells[PLACES["strength"]]):
                self._remember(cells)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._table.close()

    def stem_for(self, stem: str, identity: str, number: int = 0) -> str:
        """The name for one original, the `number`th: `stem`, or `stem-2`, ... where another original has it already.

        An original that the manifest knows keeps its name.
        """
        if identity not in self._stems:
            whole = f"{number // A_FOLDER:03d}/{stem}" if self._divided else stem
            count, candidate = self._numbers.get(whole, 1), whole
            while candidate in self._taken:
                count += 1
                candidate = f"{whole}-{count}"
            self._numbers[whole] = count
            self._taken.add(candidate)
            self._stems[identity] = candidate
        return self._stems[identity]

    def is_done(self, stem: str, labels: list[str], recipe: str) -> bool:
        """Whether all edits of `stem`, and its sheet where there are any, are there, made by the same recipe."""
        return self._has_sheet(stem) and len(self.rows_of(stem, labels, recipe)) == len(labels)

    def labels_done(self, stem: str, recipe: str) -> list[str]:
        """The strengths, rising, of the edits of `stem` that are there with its sheet, made by the same recipe."""
        if not self._has_sheet(stem):
            return []
        labels = {self._rows[key]["strength"] for key in self._files.get(stem, [])}
        return sorted((label for label in labels if self.rows_of(stem, [label], recipe)), key=float)

    def edit_path(self, stem: str, label: str, suffix: str = ".png") -> Path:
        """Where the edit with the strength `label` goes."""
        return self.folder / f"{stem}_{label}{suffix}"

    def sheet_path(self, stem: str) -> Path:
        """Where the contact sheet goes."""
        return self.folder / f"{stem}_sheet.png"

    def add_row(self, row: Mapping[str, Any]) -> None:
        """Add a row to the manifest; its file is in place."""
        cells = [str(row.get(name, "")) for name in COLUMNS]
        self._remember(cells)
        self._table.append(cells)

    def rows_of(self, stem: str, labels: list[str], recipe: str) -> list[Row]:
        """The manifest's rows for those edits of one original that were made by a recipe and are still there."""
        known = [self._rows[key] for key in self._files.get(stem, [])]
        rows = [row for label in labels for row in known if row["strength"] == label and row["recipe"] == recipe]
        return [row for row in rows if self._is_there(row)]

    def finish(self) -> None:
        """Rewrite the manifest with one row a file, in the order of names and strengths."""
        self._table.close()
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        present = (row for row in self._rows.values() if self._is_there(row))
        writer.writerows(row.cells for row in sorted(present, key=lambda row: (row["stem"], float(row["strength"]))))
        write_text(self.manifest, text.getvalue())

    def _has_sheet(self, stem: str) -> bool:
        return not self._sheets or self.sheet_path(stem).exists()

    def _is_there(self, row: Mapping[str, str]) -> bool:
        return not row["file"] or (self.folder / row["file"]).exists()

    def _remember(self, cells: Sequence[str]) -> None:
        row = self._last = Row(cells, self._last)
        key = row["file"] or f"{row['stem']}_{row['strength']}"
        if key not in self._rows:
            self._files[row["stem"]].append(key)
        self._rows[key] = row
        self._stems[row["identity"]] = row["stem"]
        self._taken.add(row["stem"])


def digest(content: object) -> str:
    """12 hex digits that stand for bytes, or for anything that JSON can hold."""
    data = content if isinstance(content, bytes) else json.dumps(content, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()[:12]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
