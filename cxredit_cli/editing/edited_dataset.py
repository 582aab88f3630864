"""A folder of edits as a dataset: patients and labels of the originals, the conferred label changed, each row marked.

The folder is made first and is what an interrupted run carries on with; the dataset is then prepared from its files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cxredit_cli.editing.edited_folder import Row as Edited
from cxredit_cli.errors import InputError, MismatchError
from cxredit_cli.progress import Progress
from cxredit_cli.radiographs.geometry import Fit
from cxredit_cli.radiographs.layout import AS_IT_IS, Righting
from cxredit_cli.radiographs.sources import Source
from cxredit_cli.storage.dataset import Dataset, EditMark, is_prepared
from cxredit_cli.storage.label_styles import CHEXPERT_OBSERVATIONS, LabelRow
from cxredit_cli.storage.labels import AMBIGUOUS, LabelTable
from cxredit_cli.storage.prepare_dataset import Options, Plan, Report, Row, make

NO_FINDING = "No Finding"
SETTINGS = ("resolution", "fit", "bits", "val_fraction", "seed")  # by which an image gets its size and side


@dataclass(frozen=True, slots=True)
class LabelChange:
    """A label that an edit confers or takes away."""

    label: str
    present: bool

    def __str__(self) -> str:
        return f"{self.label}={int(self.present)}"

    def of(self, labels: Sequence[str]) -> tuple[str, ...]:
        """`labels` after the change. "No Finding" and any finding exclude each other."""
        kept = [label for label in labels if label != self.label]
        if self.present and self.label == NO_FINDING:
            kept = []
        elif self.present:
            kept = [label for label in kept if label != NO_FINDING]
        return (*kept, self.label) if self.present else tuple(kept)


def parse_changes(texts: Sequence[str], table: LabelTable) -> tuple[LabelChange, ...]:
    """Read NAME=1 and NAME=0. Raises InputError for anything else, and for a label to take away that no image has."""
    changes = []
    for text in texts:
        label, _, value = (part.strip() for part in text.rpartition("="))
        if not label or value not in ("0", "1"):
            raise InputError(f"--set-label must be NAME=1 or NAME=0, such as Cardiomegaly=1, but it is '{text}'.")
        if value == "0" and label not in table.label_names:
            raise InputError(f"No image has the label '{label}'; the labels are {', '.join(table.label_names)}.")
        changes.append(LabelChange(label, value == "1"))
    return tuple(changes)


def conferred_by(direction: str, table: LabelTable) -> LabelChange | None:
    """What a direction confers that is called as one of the table's labels, or as a finding that everybody knows."""
    known = {_key(label): label for label in (*CHEXPERT_OBSERVATIONS, *table.label_names)}
    label = known.get(_key(direction))
    return None if label is None or label == NO_FINDING else LabelChange(label, True)


def options_like(labels: Path, fit: Fit, resolution: int) -> Options:
    """Size, bits and split of the dataset that `labels` is, so that the two can be merged; else what is usual.

    `fit` is how the edited images became square. Raises MismatchError where the dataset's became so in another way.
    """
    if not is_prepared(labels):
        return Options(resolution, fit)
    made = Dataset(labels).attributes
    if made["fit"] != fit:
        raise MismatchError(
            f"The images are edited as squares by --fit {fit}, but those of {labels} are by {made['fit']}; use "
            f"--fit {made['fit']} for both."
        )
    resolution, _, bits, fraction, seed = (made[name] for name in SETTINGS)
    return Options(int(resolution), fit, 16 if bits == 16 else 8, float(fraction), int(seed))


def write_edited_dataset(
    rows: Sequence[Edited],
    folder: Path,
    table: LabelTable,
    paths: Mapping[str, Sequence[str]],
    stated: Sequence[LabelChange],
    conferred: LabelChange | None,
    options: Options,
    output: Path,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Report:
    """Prepare a dataset of the files that `rows` of a manifest in `folder` name.

    A film is found in the label table by its path in `paths`, else by its name. Its edits have its patient, view and
    columns, and so its side of a split. Of the labels those `stated` change at every strength but 0, else the one
    that is `conferred` at strengths above 0. Raises InputError where no edit has a row in the table.
    """
    planned = Plan()
    for row in rows:
        name = f"{folder.resolve().name}/{row['file']}"
        found = table.find(tuple(paths.get(row["source"], PurePosixPath(row["source"]).parts)))
        if not row["file"]:
            planned.skipped.append((f"{row['source']} at {row['strength']}", f"refused: {row['refused']}"))
        elif found is None or found == AMBIGUOUS:
            reason = "not in the label table" if found is None else "no row of the label table fits for certain"
            planned.skipped.append((name, reason))
        else:
            changes = _changes(float(row["strength"]), stated, conferred)
            planned.rows.append(_planned(row, folder, name, table.rows[found], changes))
    if not planned.rows:
        reasons = ", ".join(sorted({reason for _, reason in planned.skipped})) or "nothing was edited"
        raise InputError(f"None of the {len(rows)} edits can stand in a dataset ({reasons}); check --labels.")
    return make(planned, output, options, table.columns, progress, workers)


def _changes(strength: float, stated: Sequence[LabelChange], conferred: LabelChange | None) -> Sequence[LabelChange]:
    if stated:
        return stated if strength else ()
    return (conferred,) if conferred is not None and strength > 0 else ()


def _planned(row: Edited, folder: Path, name: str, original: LabelRow, changes: Sequence[LabelChange]) -> Row:
    labels = original.labels
    for change in changes:
        labels = change.of(labels)
    settled = {change.label for change in changes}
    native = bool(row["carried"])
    # The edit of a film lies as the film does; the generator's picture is upright.
    righting = Righting.of_words(row["righted"]) if native else AS_IT_IS
    return Row(
        Source(folder / row["file"], name=name, any_view=True, righting=righting),
        original.patient_id or row["source"],
        original.view,
        labels,
        original.values,
        tuple(label for label in original.uncertain if label not in settled),
        EditMark("native" if native else "model", row["source"], row["strength"], row["direction"], row["model"]),
    )


def _key(label: str) -> str:
    return label.casefold().replace("_", " ").replace("-", " ")
