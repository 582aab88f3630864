"""Label tables: the CSVs of NIH ChestX-ray14 and CheXpert, and plain ones, as rows of one kind."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cxredit_cli.errors import InputError
from cxredit_cli.storage.tables import read_csv

CHEXPERT_OBSERVATIONS = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
PLAIN_HEADERS = {
    "name": ("name", "file", "filename", "file_name", "image", "path", "image_id"),
    "labels": ("label", "labels", "finding", "findings"),
    "patient_id": ("patient_id", "patientid", "patient", "subject_id"),
    "view": ("view", "view_position", "viewposition", "projection"),
}
CHEXPERT_PATIENT = re.compile(r"patient\d+")
AMBIGUOUS = -1


@dataclass(frozen=True, slots=True)
class LabelRow:
    """What a table says of one image. Labels are those that are present; "" stands for what the table leaves open."""

    name: str
    labels: tuple[str, ...]
    patient_id: str
    view: str  # "PA", "AP", "LATERAL" or as the table writes it, in capitals
    values: tuple[str, ...]  # every column as it stands


class LabelTable:
    """The rows of a label CSV, found by the end of a path."""

    def __init__(self, style: str, columns: Sequence[str], rows: Sequence[LabelRow]) -> None:
        self.style = style  # "NIH", "CheXpert" or "plain"
        self.columns = tuple(columns)
        self.rows = tuple(rows)
        self.label_names = tuple(sorted({label for row in rows for label in row.labels}))
        self.view_names = tuple(sorted({row.view for row in rows if row.view}))
        self._with_suffix = _Ends([PurePosixPath(row.name.replace("\\", "/")).parts for row in self.rows])
        self._without_suffix = _Ends([_without_suffix(row.name) for row in self.rows])

    def find(self, parts: Sequence[str]) -> int | None:
        """Return the row whose path ends like `parts`; None if there is none, AMBIGUOUS if `parts` leave it open.

        Paths are compared first with, then without the image suffix (a CSV of .png for files that are .dcm).
        """
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
    known = re.fullmatch(r"\.(png|jpe?g|tiff?|dcm|dicom)", pure.suffix.lower())
    return pure.with_suffix("").parts if known else pure.parts


def read_labels(path: Path) -> LabelTable:
    """Read a label CSV in NIH's, CheXpert's or plain style, told apart by its header.

    NIH: Image Index, Finding Labels ("A|B"), Patient ID, View Position. CheXpert: Path (patient00001 in it),
    Frontal/Lateral, AP/PA and its observations, of which 1 counts (-1 is uncertain, blank unknown). Plain: a name or
    file column and a label column, optionally patient_id and view. Raises InputError, with the columns that were found.
    """
    if not Path(path).is_file():
        raise InputError(f"The label table {path} does not exist; give a CSV file with --labels.")
    lines = read_csv(Path(path))
    if len(lines) < 2:
        raise InputError(f"{path} holds no rows; expected a header and one row an image.")
    header = [cell.strip() for cell in lines[0]]
    style, parse = _detect(header, path)
    values = [tuple((line + [""] * len(header))[: len(header)]) for line in lines[1:]]
    return LabelTable(style, header, [parse(row) for row in values])


def _detect(header: list[str], path: Path) -> tuple[str, Callable[[tuple[str, ...]], LabelRow]]:
    at = {name: index for index, name in reversed(list(enumerate(header)))}
    if {"Image Index", "Finding Labels"} <= at.keys():
        return "NIH", lambda row: _plain_row(
            row, at["Image Index"], at["Finding Labels"], at.get("Patient ID"), at.get("View Position")
        )
    observations = [name for name in CHEXPERT_OBSERVATIONS if name in at]
    if "Path" in at and observations:
        return "CheXpert", lambda row: _chexpert_row(row, at, observations)
    lower = {name.lower().replace(" ", "_"): index for name, index in reversed(at.items())}
    found = {
        field: next((lower[name] for name in names if name in lower), None) for field, names in PLAIN_HEADERS.items()
    }
    name, labels = found["name"], found["labels"]
    if name is not None and labels is not None:
        return "plain", lambda row: _plain_row(row, name, labels, found["patient_id"], found["view"])
    raise InputError(
        f"{path} has the columns {', '.join(header) or '(none)'}; expected NIH's (Image Index, Finding Labels), "
        "CheXpert's (Path and its observations), or name and label with optional patient_id and view."
    )


def _plain_row(row: tuple[str, ...], name: int, labels: int, patient: int | None, view: int | None) -> LabelRow:
    return LabelRow(
        name=row[name].strip(),
        labels=tuple(label.strip() for label in re.split(r"[|;]", row[labels]) if label.strip()),
        patient_id="" if patient is None else row[patient].strip(),
        view="" if view is None else row[view].strip().upper(),
        values=row,
    )


def _chexpert_row(row: tuple[str, ...], at: dict[str, int], observations: list[str]) -> LabelRow:
    path = row[at["Path"]].strip()
    patient = CHEXPERT_PATIENT.search(path)
    view = row[at["AP/PA"]].strip().upper() if "AP/PA" in at else ""
    if "Frontal/Lateral" in at and row[at["Frontal/Lateral"]].strip().lower() == "lateral":
        view = "LATERAL"
    return LabelRow(
        name=path,
        labels=tuple(name for name in observations if _is_one(row[at[name]])),
        patient_id=patient.group() if patient else "",
        view=view,
        values=row,
    )


def _is_one(cell: str) -> bool:
    try:
        return float(cell) == 1
    except ValueError:
        return False
