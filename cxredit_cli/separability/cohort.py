"""Which codes are of the one class, which of the other, and which are left out and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from cxredit_cli.errors import InputError
from cxredit_cli.storage.labels import AMBIGUOUS, LabelTable


@dataclass(frozen=True, slots=True)
class Cohort:
    """The codes that take part, by their rows, with class and patient."""

    rows: NDArray[np.int64]  # [M] rows of the code file
    positive: NDArray[np.bool_]  # [M]
    patients: list[str]  # [M]
    unlabelled: list[str]  # sources that no row, or several rows, of the table fit
    both: list[str]  # sources with the positive and the negative label
    neither: int  # labelled sources with neither
    uncertain: list[str]  # sources that the table says may have one of the labels: they belong to neither class
    table_rows: list[int]  # [M] their rows of the label table
    edited: int  # of those that take part, how many are edited images, not films as they were taken
    patients_known: bool  # False: the table names no patients, so each image counts as its own


def choose_cohort(sources: Sequence[str], table: LabelTable, positive: str, negative: str) -> Cohort:
    """Find the label of each source; raises InputError for labels that the table lacks or that no source has."""
    for label in (positive, negative):
        if label not in table.label_names:
            raise InputError(f"No image has the label '{label}'; the labels are {', '.join(table.label_names)}.")
    rows: list[int] = []
    classes: list[bool] = []
    patients: list[str] = []
    table_rows: list[int] = []
    unlabelled: list[str] = []
    both: list[str] = []
    uncertain: list[str] = []
    neither = 0
    for index, source in enumerate(sources):
        found = table.find(PurePosixPath(source).parts)
        if found is None or found == AMBIGUOUS:
            unlabelled.append(source)
            continue
        row = table.rows[found]
        is_positive, is_negative = positive in row.labels, negative in row.labels
        if positive in row.uncertain or negative in row.uncertain:
            uncertain.append(source)
        elif is_positive and is_negative:
            both.append(source)
        elif is_positive or is_negative:
            rows.append(index)
            classes.append(is_positive)
            patients.append(row.patient_id or f"image {source}")
            table_rows.append(found)
        else:
            neither += 1
    for label, wanted in ((positive, True), (negative, False)):
        if wanted not in classes:
            raise InputError(
                f"None of the {len(sources)} codes is of an image labelled '{label}' ({len(unlabelled)} have no label "
                "at all); invert such images, or check --labels."
            )
    return Cohort(
        rows=np.array(rows, dtype=np.int64),
        positive=np.array(classes, dtype=np.bool_),
        patients=patients,
        unlabelled=unlabelled,
        both=both,
        neither=neither,
        uncertain=uncertain,
        table_rows=table_rows,
        edited=sum(table.rows[found].edited for found in table_rows),
        patients_known=any(row.patient_id not in ("", row.name) for row in table.rows),
    )
