"""The label tables of the field, told apart by their columns: how a line of each becomes a row about an image.

docs/how-to/label-tables.md shows each.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cxredit_cli.errors import InputError

CHEXPERT_OBSERVATIONS = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture"),
    "Support Devices",
)
HEADERS = {
    "name": (
        *("name", "file", "filename", "file_name", "image", "path", "image_id", "imageid", "image_index", "dicom_id"),
        "file_path",
    ),
    "labels": ("label", "labels", "finding", "findings", "finding_labels"),
    "patient_id": ("patient_id", "patientid", "patient", "subject_id"),
    "view": ("view", "view_position", "viewposition", "projection"),
    "reader": ("rad_id", "reader", "reader_id"),
}
CHEXPERT_PATIENT = re.compile(r"patient\d+")
VIEWS = {"L": "LATERAL", "LL": "LATERAL", "LAT": "LATERAL", "AP_HORIZONTAL": "AP", "AP SUPINE": "AP"}
OPACITY = {"1": "Lung Opacity", "0": "No Lung Opacity"}  # RSNA's targets
PRESENT, ABSENT, UNCERTAIN = (1.0, 0.0, -1.0)


@dataclass(frozen=True, slots=True)
class LabelRow:
    """What a table says of one image; "" stands for what the table leaves open."""

    name: str
    labels: tuple[str, ...]  # that are present
    patient_id: str
    view: str  # "PA", "AP", "LATERAL" or as the table writes it, in capitals
    values: tuple[str, ...]  # every column as it stands
    uncertain: tuple[str, ...] = ()  # labels that it says may be present
    edited: bool = False  # no film as it was taken


@dataclass(frozen=True, slots=True)
class Style:
    """A kind of table."""

    name: str
    parse: Callable[[tuple[str, ...]], LabelRow]
    of_studies: bool = False  # a row is of a study (a folder of images), not of an image
    by_readers: int | None = None  # the column of the reader, where several lines are about one image
    several: bool = False  # several lines are about one image, such as one a box


def rows_of_table(header: Sequence[str], lines: Iterable[tuple[str, ...]], path: Path) -> tuple[Style, list[LabelRow]]:
    """The style that the columns tell, and a row an image (or study). Raises InputError, with the columns found."""
    lines = list(lines)
    style = _detect(list(header), lines, path)
    rows = [style.parse(line) for line in lines]
    if style.by_readers is not None:
        rows = _joined(rows, [line[style.by_readers] for line in lines])
    elif style.several:
        rows = _joined(rows, [""] * len(rows))
    return style, rows


def _detect(header: list[str], lines: Sequence[tuple[str, ...]], path: Path) -> Style:
    at = {name: index for index, name in reversed(list(enumerate(header)))}
    lower = {name.lower().replace(" ", "_"): index for name, index in reversed(at.items())}
    found = {field: next((lower[name] for name in names if name in lower), None) for field, names in HEADERS.items()}
    observations = [name for name in CHEXPERT_OBSERVATIONS if name in at]
    if "Path" in at and observations:
        return Style("CheXpert", lambda row: _chexpert_row(row, at, observations))
    if {"subject_id", "study_id"} <= lower.keys() and "dicom_id" not in lower and observations:
        wide = {name: at[name] for name in observations}
        subject, study = lower["subject_id"], lower["study_id"]
        return Style("MIMIC-CXR", lambda row: _mimic_row(row, subject, study, wide), of_studies=True)
    if {"dicom_id", "study_id", "subject_id"} <= lower.keys():
        columns = (lower["dicom_id"], lower["subject_id"], lower["study_id"], found["view"])
        return Style("MIMIC-CXR metadata", lambda row: _metadata_row(row, *columns))
    if {"patientid", "target"} <= lower.keys():
        image, target = lower["patientid"], lower["target"]
        return Style("RSNA", lambda row: _rsna_row(row, image, OPACITY.get(_whole(row[target]), "")), several=True)
    if {"patientid", "class"} <= lower.keys():
        image, target = lower["patientid"], lower["class"]
        return Style("RSNA", lambda row: _rsna_row(row, image, row[target].strip()), several=True)
    name, labels, patient, view = (found[field] for field in ("name", "labels", "patient_id", "view"))
    if name is not None and "class_name" in lower:
        box = lower["class_name"]
        return Style(
            "VinDr-CXR", lambda row: _plain_row(row, name, box, patient, view), by_readers=found["reader"], several=True
        )
    if name is not None and labels is not None:
        kind = "NIH" if {"Image Index", "Finding Labels"} <= at.keys() else "PadChest" if "ImageID" in at else "plain"
        return Style(kind, lambda row: _plain_row(row, name, labels, patient, view))
    if name is not None:
        known = {index for index in found.values() if index is not None}
        ones = {column: index for column, index in at.items() if index not in known and _is_of_ones(lines, index)}
        if ones:
            reader = found["reader"]
            parse = lambda row: _wide_row(row, row[name].strip(), ones, patient, view)  # noqa: E731
            return Style("0/1 columns", parse, by_readers=reader, several=reader is not None)
    raise InputError(
        f"{path} has the columns {', '.join(header) or '(none)'}; expected those of NIH (Image Index, Finding Labels), "
        "CheXpert (Path and observations), MIMIC-CXR (subject_id, study_id and observations), PadChest (ImageID, "
        "Labels), VinDr-CXR (image_id, class_name), RSNA (patientId, Target), or a name with a label column, or with "
        "columns of 0 and 1."
    )


def _plain_row(row: tuple[str, ...], name: int, labels: int, patient: int | None, view: int | None) -> LabelRow:
    cell = row[labels].strip()
    listed = re.findall(r"'([^']*)'|\"([^\"]*)\"", cell) if cell.startswith("[") else []
    parts = [a or b for a, b in listed] if cell.startswith("[") else re.split(r"[|;]", cell)
    present = tuple(dict.fromkeys(label.strip() for label in parts if label.strip()))
    return LabelRow(row[name].strip(), present, _cell(row, patient), view_of(_cell(row, view)), row)


def _wide_row(
    row: tuple[str, ...], name: str, columns: dict[str, int], patient: int | None, view: int | None
) -> LabelRow:
    values = {label: _number(row[index]) for label, index in columns.items()}
    present = tuple(label for label, value in values.items() if value == PRESENT)
    uncertain = tuple(label for label, value in values.items() if value == UNCERTAIN)
    return LabelRow(name, present, _cell(row, patient), view_of(_cell(row, view)), row, uncertain)


def _chexpert_row(row: tuple[str, ...], at: dict[str, int], observations: list[str]) -> LabelRow:
    path = row[at["Path"]].strip()
    found = _wide_row(row, path, {name: at[name] for name in observations}, None, at.get("AP/PA"))
    patient = CHEXPERT_PATIENT.search(path)
    lateral = "Frontal/Lateral" in at and row[at["Frontal/Lateral"]].strip().lower() == "lateral"
    return replace(found, patient_id=patient.group() if patient else "", view="LATERAL" if lateral else found.view)


def _mimic_row(row: tuple[str, ...], subject: int, study: int, columns: dict[str, int]) -> LabelRow:
    patient = _whole(row[subject])
    return replace(_wide_row(row, f"p{patient}/s{_whole(row[study])}", columns, None, None), patient_id=patient)


def _metadata_row(row: tuple[str, ...], image: int, subject: int, study: int, view: int | None) -> LabelRow:
    patient = _whole(row[subject])
    name = f"p{patient}/s{_whole(row[study])}/{row[image].strip()}"
    return LabelRow(name, (), patient, view_of(_cell(row, view)), row)


def _rsna_row(row: tuple[str, ...], image: int, label: str) -> LabelRow:
    # RSNA's patientId names an image: of the patients of NIH's that it took, one has up to eight of them.
    return LabelRow(row[image].strip(), (label,) if label else (), "", "", row)


def _joined(rows: Sequence[LabelRow], readers: Sequence[str]) -> list[LabelRow]:
    """One row an image of several lines: a label is present that half of its readers or more saw.

    One that fewer of them saw is uncertain.
    """
    lines: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        lines[row.name].append(index)
    joined = []
    for indices in lines.values():
        all_readers = {readers[index] for index in indices}
        seen: dict[str, set[str]] = defaultdict(set)
        doubted: set[str] = set()
        for index in indices:
            for label in rows[index].labels:
                seen[label].add(readers[index])
            doubted |= set(rows[index].uncertain)
        present = tuple(label for label, by in seen.items() if 2 * len(by) >= len(all_readers))
        uncertain = tuple(label for label in dict.fromkeys([*seen, *sorted(doubted)]) if label not in present)
        joined.append(replace(rows[indices[0]], labels=present, uncertain=uncertain))
    return joined


def rows_of_nvlabs(path: Path) -> list[LabelRow]:
    """The rows of a dataset.json as NVlabs' StyleGAN tools write it: the number of the class, or a vector of 0 and 1.

    A class is called by its number.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        pairs = [(str(name), value) for name, value in document["labels"]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f'{path} is no dataset.json of the form {{"labels": [["name", class], ...]}}.') from error
    rows = []
    for name, value in pairs:
        classes = [index for index, one in enumerate(value) if one == 1] if isinstance(value, list) else [value]
        rows.append(LabelRow(name, tuple(str(one) for one in classes), "", "", (name, json.dumps(value))))
    return rows


def view_of(cell: str) -> str:
    """A projection in the words of this tool."""
    capitals = cell.upper()
    return VIEWS.get(capitals, capitals)


def _cell(row: tuple[str, ...], column: int | None) -> str:
    return "" if column is None else row[column].strip()


def _whole(cell: str) -> str:
    """A number without the ".0" that spreadsheets put after it."""
    return cell.strip().removesuffix(".0")


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _is_of_ones(lines: Sequence[tuple[str, ...]], column: int) -> bool:
    """Whether a column holds nothing but 1, 0, -1 and blanks, and not blanks alone."""
    cells = {line[column].strip() for line in lines}
    return cells != {""} and all(not cell or _number(cell) in (PRESENT, ABSENT, UNCERTAIN) for cell in cells)
