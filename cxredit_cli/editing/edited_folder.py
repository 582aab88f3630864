"""The folder of edited radiographs: names that never collide, and a manifest that lets an interrupted run carry on."""

import csv
import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TextIO

from cxredit_cli.atomic import write_text
from cxredit_cli.errors import InputError

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
)


class EditedFolder:
    """Files `<stem>_<strength>.<suffix>`, `<stem>_sheet.png` and manifest.csv in one folder.

    A row is appended once its file is in place, so that what a killed run has done is known; the last row of a file
    counts, and `finish` leaves one row a file. Several processes may look; one of them adds rows and finishes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = folder / "manifest.csv"
        folder.mkdir(parents=True, exist_ok=True)
        self._rows: dict[str, dict[str, str]] = {}
        self._by_edit: dict[tuple[str, str], list[str]] = {}
        self._stems: dict[str, str] = {}
        for row in self._read():
            self._remember(row)
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def stem_for(self, stem: str, identity: str) -> str:
        """The name for one original: `stem`, or `stem-2`, `stem-3`, ... where another original has it already."""
        number, candidate = 1, stem
        while self._stems.get(candidate, identity) != identity:
            number += 1
            candidate = f"{stem}-{number}"
        self._stems[candidate] = identity
        return candidate

    def is_done(self, stem: str, labels: list[str], recipe: str) -> bool:
        """Whether all edits of `stem` and its sheet are there, made by the same recipe."""
        return self.sheet_path(stem).exists() and len(self.rows_of(stem, labels, recipe)) == len(labels)

    def labels_done(self, stem: str, recipe: str) -> list[str]:
        """The strengths, rising, of the edits of `stem` that are there with its sheet, made by the same recipe."""
        if not self.sheet_path(stem).exists():
            return []
        labels = [label for known, label in self._by_edit if known == stem]
        return sorted((label for label in labels if self.rows_of(stem, [label], recipe)), key=float)

    def edit_path(self, stem: str, label: str, suffix: str = ".png") -> Path:
        """Where the edit with the strength `label` goes."""
        return self.folder / f"{stem}_{label}{suffix}"

    def sheet_path(self, stem: str) -> Path:
        """Where the contact sheet goes."""
        return self.folder / f"{stem}_sheet.png"

    def add_row(self, row: Mapping[str, Any]) -> None:
        """Add a row to the manifest; its file is in place."""
        complete = {name: str(row.get(name, "")) for name in COLUMNS}
        self._remember(complete)
        if self._file is None:
            self._file = self._open()
        _write_line(self._file, complete.values())
        self._file.flush()

    def rows_of(self, stem: str, labels: list[str], recipe: str) -> list[dict[str, str]]:
        """The manifest's rows for those edits of one original that were made by a recipe and are still there."""
        rows = [self._rows[key] for label in labels for key in self._by_edit.get((stem, label), [])]
        return [row for row in rows if row["recipe"] == recipe and self._is_there(row)]

    def finish(self) -> None:
        """Rewrite the manifest with one row a file, in the order of names and strengths."""
        self.__exit__()
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        present = (row for row in self._rows.values() if self._is_there(row))
        writer.writerows(sorted(present, key=lambda row: (row["stem"], float(row["strength"]))))
        write_text(self.manifest, text.getvalue())

    def _open(self) -> TextIO:
        """The manifest, to be appended to."""
        begin = not self.manifest.exists() or self.manifest.stat().st_size == 0
        file = self.manifest.open("a", newline="", encoding="utf-8")
        if begin:
            _write_line(file, COLUMNS)
        elif not self.manifest.read_bytes().endswith(b"\n"):
            file.write("\n")  # the line that a kill cut off
        return file

    def _read(self) -> list[dict[str, str]]:
        if not self.manifest.exists() or self.manifest.stat().st_size == 0:
            return []
        with self.manifest.open(newline="", encoding="utf-8", errors="replace") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise InputError(
                    f"{self.manifest} is no manifest of this version of cxredit; move it away, or choose another "
                    "folder with -o."
                )
            rows = [row for row in reader if None not in row and None not in row.values()]
        return [row for row in rows if row["recipe"] and _is_number(row["strength"])]

    def _is_there(self, row: Mapping[str, str]) -> bool:
        return not row["file"] or (self.folder / row["file"]).exists()

    def _remember(self, row: dict[str, str]) -> None:
        key, edit = row["file"] or f"{row['stem']}_{row['strength']}", (row["stem"], row["strength"])
        if key not in self._rows:
            self._by_edit.setdefault(edit, []).append(key)
        self._rows[key] = row
        self._stems[row["stem"]] = row["identity"]


def _write_line(file: TextIO, values: Any) -> None:
    csv.writer(file, lineterminator="\n").writerow(values)


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
