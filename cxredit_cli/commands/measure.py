"""`cxredit measure`: the anatomy on images and codes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxredit_cli.commands.at_the_door import open_door, say_suspects, suspects_document
from cxredit_cli.commands.console import end_batch, print_json, stderr, stdout
from cxredit_cli.commands.options import (
    BATCH,
    INPUT,
    OUTPUT,
    AnatomyOption,
    AnyViewOption,
    BatchOption,
    DeviceOption,
    FitOption,
    JsonOption,
    ModelOption,
    OnSuspectOption,
    RightOption,
)
from cxredit_cli.commands.spread import GpusOption, paths_from_stdin, start_processes, together

if TYPE_CHECKING:
    from cxredit_cli.evaluation.measure_many import MeasureReport

NAMED = 12  # images; more are summed up


def command(
    inputs: Annotated[
        list[str],
        typer.Argument(help="Images, folders, globs, zips, datasets and codes (.h5); - reads paths from stdin."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The table to write.", rich_help_panel=OUTPUT)] = Path(
        "anatomy.csv"
    ),
    overlay: Annotated[
        Path | None,
        typer.Option(
            help="A folder for pictures with heart and lungs outlined; more than 1000 lie in 000, 001, ... in it.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    model: ModelOption = None,
    anatomy: AnatomyOption = None,
    split: Annotated[
        str | None,
        typer.Option(help="Take only the images of this split of a dataset: train or val.", rich_help_panel=INPUT),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Take only the images of a dataset that have this label.", rich_help_panel=INPUT)
    ] = None,
    fit: FitOption = "crop",
    on_suspect: OnSuspectOption = "warn",
    right: RightOption = False,
    any_view: AnyViewOption = False,
    batch: BatchOption = BATCH,
    gpus: GpusOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Measure heart and lungs on radiographs (-> anatomy.csv): cardiothoracic ratio, widths, heights and areas.

    Lengths and areas are fractions of the image's side and area. `plausible` is no where the outlines cannot be of a
    frontal chest X-ray; `problem` says why, and `suspect` what looks wrong with the image as a whole. AP films enlarge
    the heart: compare like with like. A run that was stopped carries on with the same line.
    """
    start_processes(gpus)

    from cxredit_cli.atomic import refuse_folders
    from cxredit_cli.evaluation.measure_many import list_groups, measure_groups
    from cxredit_cli.radiographs.geometry import check_fit
    from cxredit_cli.storage.anatomy_network import load_anatomy
    from cxredit_cli.storage.models import Model, load_model

    refuse_folders(output)
    square = check_fit(fit)
    with together(device) as (processes, target, progress):

        def load_generator() -> Model:
            return load_model(model, target, parts=("generator",))

        stdin = paths_from_stdin(inputs, processes)
        groups, skipped = list_groups(inputs, load_generator, stdin, split, label, progress, any_view, processes)
        if skipped:
            stderr.print(f"{skipped} contact sheets and grids in the folders are left out.")
        network = load_anatomy(anatomy, target)
        door = open_door(on_suspect, right, target)
        report = measure_groups(network, groups, output, square, overlay, batch, progress, door, processes)
    if not processes.first:
        return
    if json:
        print_json(_document(report, output, overlay))
    else:
        _print(report, output, overlay)
    say_suspects(report.suspects)
    end_batch(report.failed)


def _document(report: "MeasureReport", output: Path, overlay: Path | None) -> dict[str, object]:
    return {
        "output": str(output),
        "overlay": None if overlay is None else str(overlay),
        "already_done": report.already_done,
        "images": [image.plain() for image in report.images],
        "suspects": suspects_document(report.suspects),
        "failed": [{"name": name, "reason": reason} for name, reason in report.failed],
    }


def _print(report: "MeasureReport", output: Path, overlay: Path | None) -> None:
    from statistics import fmean, pstdev

    images = report.images
    if len(images) <= NAMED:
        width = max((len(image.name) for image in images), default=0)
        for image in images:
            line = f"implausible: {image.problem}" if image.problem else f"CTR {image.ctr:.3f}"
            stdout.print(f"{image.name:{width}}  {line}", markup=False)
    line = f"{output}: {len(images)} measured"
    line += f", {report.already_done} of them before" if report.already_done else ""
    ctr = [image.ctr for image in images if not image.problem]
    if ctr:
        line += f", mean CTR {fmean(ctr):.3f} (standard deviation {pstdev(ctr):.3f})"
    if len(ctr) < len(images):
        line += f"; {len(images) - len(ctr)} implausible, left out of the mean"
    if report.failed:
        line += f"; {len(report.failed)} could not be read"
    stdout.print(line, markup=False)
    if overlay is not None:
        stdout.print(f"{overlay}: {len(report.overlays)} pictures with outlines", markup=False)
