"""What `cxredit apply --to-dataset` does beside the edits: which labels they get, and the dataset of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxredit_cli.commands.console import stderr, stdout
from cxredit_cli.commands.options import INPUT, LABELS_HELP, OUTPUT

if TYPE_CHECKING:
    from cxredit_cli.editing.edit_run import ApplyReport
    from cxredit_cli.editing.edited_dataset import LabelChange
    from cxredit_cli.progress import Progress
    from cxredit_cli.radiographs.geometry import Fit
    from cxredit_cli.storage.labels import LabelTable
    from cxredit_cli.storage.prepare_dataset import Options, Report

SHOWN = 12

ToDatasetOption = Annotated[
    Path | None,
    typer.Option(
        "--to-dataset",
        help="Write the edits as a dataset too, each marked as edited, with patient, view and labels of its film.",
        rich_help_panel=OUTPUT,
    ),
]
EditLabelsOption = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        help=f"With --to-dataset: patients and labels of the films. {LABELS_HELP}; or a dataset of `prepare`, whose "
        "resolution and split are then taken.",
        rich_help_panel=INPUT,
    ),
]
SetLabelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set-label",
        help="With --to-dataset: a label that the edit confers or takes away, such as Cardiomegaly=1; repeatable. "
        "Default: what the direction is called, at strengths above 0.",
        rich_help_panel=OUTPUT,
    ),
]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The dataset that is asked for."""

    output: Path
    table: "LabelTable"
    stated: tuple["LabelChange", ...]
    conferred: "LabelChange | None"
    options: "Options"

    @property
    def labels_told(self) -> str:
        """What becomes of the labels, in words."""
        if self.stated:
            return f"{', '.join(map(str, self.stated))} where the strength is not 0; the others as the films have them"
        if self.conferred is not None:
            where = "where the strength is above 0, by the direction's name"
            return f"{self.conferred} {where}; the others as the films have them"
        return "as the films have them, for the direction is not called as a label; --set-label says what it confers"


def check_options(
    output: Path | None, labels: Path | None, set_label: list[str] | None, burn_in: bool, strengths: Sequence[float]
) -> None:
    """Raise InputError for options that do not go together. `strengths` are empty where each film has its own."""
    from cxredit_cli.atomic import refuse_folders
    from cxredit_cli.errors import InputError

    if output is None:
        if labels is not None or set_label:
            raise InputError("--labels and --set-label go with --to-dataset.")
        return
    refuse_folders(output)
    if labels is None:
        raise InputError("--to-dataset needs --labels: the table or dataset that names the films' patients and labels.")
    if burn_in:
        raise InputError("--burn-in writes words that a classifier would learn from; leave it out with --to-dataset.")
    if set_label and min(strengths, default=0) < 0 < max(strengths, default=0):
        raise InputError(
            "--set-label would say the same of positive and negative strengths; make a dataset of each side, and put "
            "them together with `cxredit merge`."
        )


def plan_dataset(
    output: Path, labels: Path, set_label: list[str] | None, direction: str, fit: "Fit", resolution: int
) -> Wanted:
    """The dataset of edits along `direction`, of squares made by `fit`, and what becomes of the labels."""
    from cxredit_cli.editing.edited_dataset import conferred_by, options_like, parse_changes
    from cxredit_cli.storage.dataset_labels import read_label_table

    table = read_label_table(labels)
    stated = parse_changes(set_label or (), table)
    wanted = Wanted(output, table, stated, conferred_by(direction, table), options_like(labels, fit, resolution))
    stderr.print(f"Labels in {output}: {wanted.labels_told}.", markup=False)
    return wanted


def write_dataset(
    wanted: Wanted, report: "ApplyReport", folder: Path, paths: Mapping[str, Sequence[str]], progress: "Progress"
) -> "Report":
    """Write the dataset of this run's edits."""
    from cxredit_cli.editing.edited_dataset import write_edited_dataset

    labels = (wanted.table, paths, wanted.stated, wanted.conferred)
    return write_edited_dataset(report.rows, folder, *labels, wanted.options, wanted.output, progress)


def print_dataset(made: "Report", wanted: Wanted) -> None:
    """Say what the dataset holds, and what stands in the folder but not in it."""
    from cxredit_cli.storage.dataset import Dataset

    marks = [mark.how for mark in Dataset(made.path).edits if mark is not None]
    side = wanted.options.resolution
    stdout.print(
        f"{made.path}: {made.images:,} edited images of {made.patients:,} patients at {side}x{side}, "
        f"{marks.count('native'):,} of films themselves and {marks.count('model'):,} generator's pictures",
        markup=False,
    )
    for name, reason in made.skipped_names[:SHOWN]:
        stderr.print(f"{name}: not in {made.path}, {reason}", markup=False)
    if len(made.skipped_names) > SHOWN:
        stderr.print(f"and {len(made.skipped_names) - SHOWN} more")


def dataset_document(made: "Report", wanted: Wanted) -> dict[str, object]:
    """What --json says of the dataset."""
    return {
        "path": str(made.path),
        "images": made.images,
        "patients": made.patients,
        "splits": made.splits,
        "labels": wanted.labels_told,
        "left_out": [{"name": name, "reason": reason} for name, reason in made.skipped_names],
    }
