"""`cxredit prepare`: images and their labels into one dataset."""

import csv
import sys
from collections import defaultdict
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer
from rich.markup import escape

from cxredit_cli.commands.at_the_door import open_door, say_suspects, suspects_document
from cxredit_cli.commands.console import ConsoleProgress, print_json, stderr, stdout
from cxredit_cli.commands.options import (
    INPUT,
    LABELS_HELP,
    OUTPUT,
    AnyViewOption,
    FitOption,
    JsonOption,
    OnSuspectOption,
    RightOption,
    SeedOption,
    UncertainOption,
)

if TYPE_CHECKING:
    from rich.table import Table

    from cxredit_cli.intake.door import Suspect
    from cxredit_cli.radiographs.geometry import Fit
    from cxredit_cli.storage.prepare_dataset import Report

NAMED_AT_END = 20
SUCH_AS = 3


def command(
    inputs: Annotated[list[str], typer.Argument(help="Images, folders, globs or zips; - reads paths from stdin.")],
    labels: Annotated[
        list[Path] | None,
        typer.Option(help=f"{LABELS_HELP}; given twice, MIMIC-CXR's labels and metadata.", rich_help_panel=INPUT),
    ] = None,
    uncertain: UncertainOption = "skip",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The dataset to write.", rich_help_panel=OUTPUT)
    ] = Path("dataset.h5"),
    view: Annotated[
        str | None, typer.Option(help="Keep only films of this view, such as PA.", rich_help_panel=INPUT)
    ] = None,
    resolution: Annotated[
        int, typer.Option(help="Height and width of the prepared images.", rich_help_panel=INPUT)
    ] = 128,
    fit: FitOption = "crop",
    val_fraction: Annotated[
        float, typer.Option(help="Share of the patients that is held out.", rich_help_panel=INPUT)
    ] = 0.1,
    seed: SeedOption = 0,
    bits: Annotated[int, typer.Option(help="Bits a pixel in the dataset: 8 or 16.", rich_help_panel=INPUT)] = 8,
    on_suspect: OnSuspectOption = "skip",
    right: RightOption = False,
    any_view: AnyViewOption = False,
    include: Annotated[
        list[str] | None, typer.Option(help="Keep only images with this label; repeatable.", rich_help_panel=INPUT)
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Leave out images with this label; repeatable.", rich_help_panel=INPUT)
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that read files; default: one per processor core.", rich_help_panel=INPUT),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make dataset.h5 from images and a CSV of labels, split by patient.

    Run the same command again after an interruption: it carries on. What was left out is listed in
    <output>_skipped.csv, and images that do not look right are shown in <output>_suspects.png.
    """
    from cxredit_cli.radiographs.sources import list_sources
    from cxredit_cli.storage.labels import check_uncertain, read_labels
    from cxredit_cli.storage.prepare_dataset import Options, prepare

    options = Options(
        resolution=resolution,
        fit=cast("Fit", fit),
        bits=cast(Literal[8, 16], bits),
        val_fraction=val_fraction,
        seed=seed,
        view=view,
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        door=f"{on_suspect}, right" if right else on_suspect,
    )
    door = open_door(on_suspect, right, "cpu")
    table = read_labels(labels, check_uncertain(uncertain)) if labels else None
    progress = ConsoleProgress()
    sources = list_sources(inputs, sys.stdin, progress, any_view)
    report = prepare(sources, output, options, table, progress, workers, door.read)
    skipped, suspects = _write_skipped(report), _write_suspects(report, door.suspects)
    if json:
        print_json(_document(report, skipped) | {"suspects": suspects_document(door.suspects)})
    else:
        _print(report, options.resolution, skipped)
        if suspects is not None:
            stdout.print(f"{suspects}: what does not look right ({len(door.suspects)})", markup=False)
    say_suspects(door.suspects)
    if report.unreadable_count:
        for name, reason in report.unreadable[:NAMED_AT_END]:
            stderr.print(f"{name}: {reason}", markup=False)
        if len(report.unreadable) > NAMED_AT_END:
            stderr.print(f"and {len(report.unreadable) - NAMED_AT_END} more, listed in {skipped}", markup=False)
        raise typer.Exit(1)


def _write_skipped(report: "Report") -> Path | None:
    from cxredit_cli.atomic import write_text

    path = report.path.with_name(f"{report.path.stem}_skipped.csv")
    if not report.skipped:
        path.unlink(missing_ok=True)  # of an earlier dataset
        return None
    if report.unreadable_count == len(report.unreadable):
        # Else an earlier run finished the dataset, and only its own list says what could not be read.
        text = StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("name", "reason"))
        writer.writerows(report.skipped_names)
        write_text(path, text.getvalue())
    return path


def _write_suspects(report: "Report", suspects: "Sequence[Suspect]") -> Path | None:
    from cxredit_cli.figures.sheets import save_png
    from cxredit_cli.figures.suspects import suspect_sheet

    path = report.path.with_name(f"{report.path.stem}_suspects.png")
    if suspects:
        save_png(path, suspect_sheet(suspects), {"Description": "Images that were not taken as they are"})
        return path
    if not report.resumed:
        path.unlink(missing_ok=True)  # of an earlier dataset
    return None


def _document(report: "Report", skipped: Path | None) -> dict[str, object]:
    return {
        "dataset": str(report.path),
        "images": report.images,
        "patients": report.patients,
        "splits": report.splits,
        "skipped": report.skipped,
        "skipped_list": None if skipped is None else str(skipped),
        "unreadable": [{"name": name, "reason": reason} for name, reason in report.unreadable],
        "label_rows_without_image": report.rows_without_image,
        "already_done": report.resumed,
    }


def _skipped_table(report: "Report") -> "Table":
    """What was skipped by kind, the most frequent first, with the first names of each."""
    from rich.table import Table

    from cxredit_cli.storage.prepare_dataset import kind_of

    names = defaultdict[str, list[str]](list)
    for name, reason in report.skipped_names:
        names[kind_of(reason)].append(name)
    counts = {kind: len(found) for kind, found in names.items()} or report.skipped
    table = Table("images", "skipped because", "such as")
    for kind, count in sorted(counts.items(), key=lambda pair: -pair[1]):
        such = ", ".join(names[kind][:SUCH_AS]) + (", ..." if len(names[kind]) > SUCH_AS else "")
        table.add_row(f"{count:,}", escape(kind), escape(such))
    return table


def _print(report: "Report", resolution: int, skipped: Path | None) -> None:
    def say(line: str) -> None:
        stdout.print(line, markup=False)

    say(f"{report.path}: {report.images:,} images of {report.patients:,} patients at {resolution}x{resolution}")
    for split, count in report.splits.items():
        say(f"  {split:5} {count['images']:>8,} images of {count['patients']:,} patients")
    if report.skipped:
        say(f"  skipped {sum(report.skipped.values()):>6,}, listed in {skipped}")
        stdout.print(_skipped_table(report))
    if report.rows_without_image:
        say(f"  {report.rows_without_image:,} rows of the label table have no image here")
    if report.resumed:
        say(f"  {report.resumed:,} images were already done")
