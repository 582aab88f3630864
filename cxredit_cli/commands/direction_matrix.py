"""`cxredit direction matrix`: which findings move along which direction, on scans of unseen patients."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cxredit_cli.commands.console import ConsoleProgress, print_json, stdout
from cxredit_cli.commands.options import (
    BATCH,
    CLASSIFIER_HELP,
    INPUT,
    METHOD,
    MODEL,
    OUTPUT,
    BatchOption,
    DeviceOption,
    JsonOption,
    MethodOption,
    ModelOption,
    SeedOption,
    SpaceOption,
    StepsOption,
    SweepOption,
)
from cxredit_cli.inversion import STEPS


def command(
    directions: Annotated[
        list[str], typer.Argument(help="Directions: files, or names that `direction list` shows.", show_default=False)
    ],
    classifier: Annotated[
        str, typer.Option(help=f"The judge, of several classes: {CLASSIFIER_HELP}.", rich_help_panel=MODEL)
    ],
    images: Annotated[
        Path, typer.Option(help="A dataset of `cxredit prepare`, or a folder.", rich_help_panel=INPUT)
    ] = Path("dataset.h5"),
    codes: Annotated[
        Path | None, typer.Option(help="Codes of its images; without them they are inverted.", rich_help_panel=INPUT)
    ] = None,
    wanted_class: Annotated[
        str | None,
        typer.Option("--class", help="What the directions should move; default: by name.", rich_help_panel=MODEL),
    ] = None,
    companion: Annotated[
        list[str] | None,
        typer.Option(
            help="What is known to go with a class and does not count against its direction, such as "
            "Effusion=Atelectasis,Infiltration; repeatable.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Scans of this split: train, val or all.", rich_help_panel=INPUT)] = "val",
    view: Annotated[str, typer.Option(help="Scans of this projection, or any.", rich_help_panel=INPUT)] = "PA",
    label: Annotated[str, typer.Option(help="Scans with this label, or any.", rich_help_panel=INPUT)] = "No Finding",
    n: Annotated[int, typer.Option("--n", "-n", min=2, help="Scans, one per patient.", rich_help_panel=METHOD)] = 100,
    randoms: Annotated[
        int, typer.Option(min=1, help="Random directions of each kind beside them.", rich_help_panel=METHOD)
    ] = 5,
    sweep: SweepOption = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the figures in the directions' files too.", rich_help_panel=OUTPUT)
    ] = False,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The figures, as JSON.", rich_help_panel=OUTPUT)
    ] = Path("matrix.json"),
    method: MethodOption = None,
    space: SpaceOption = None,
    steps: StepsOption = STEPS,
    seed: SeedOption = 0,
    model: ModelOption = None,
    batch: BatchOption = BATCH,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Move unseen patients along directions and ask a classifier about all its findings (-> matrix.json).

    A row is a direction, a column a finding, a cell the mean change of its log-odds. The classifier must have had no
    part in finding the directions. `direction list` shows what --keep keeps.
    """
    from dataclasses import replace
    from json import dumps

    from cxredit_cli.atomic import refuse_folders, write_text
    from cxredit_cli.devices import resolve_device
    from cxredit_cli.evaluation.dose_study import Cohort
    from cxredit_cli.evaluation.matrix_study import ask, evaluate_matrix, to_keep
    from cxredit_cli.latent.strengths import parse_sweep
    from cxredit_cli.storage.anatomy_network import BUNDLED_JUDGE, load_anatomy
    from cxredit_cli.storage.any_classifier import load_score
    from cxredit_cli.storage.codes import read_codes
    from cxredit_cli.storage.directions import find_direction, read_direction, write_direction
    from cxredit_cli.storage.image_folder import open_images
    from cxredit_cli.storage.models import load_model

    refuse_folders(output)
    target = resolve_device(device)
    loaded = load_model(model, target, ("generator",) if codes else ("generator", "encoder"))
    score = load_score(classifier, None, target, any_class=True)
    beside = _companions(companion or [])
    places = [find_direction(given, loaded.path) for given in directions]
    found = [read_direction(place) for place in places]
    asked = [ask(*each, score.classes, beside, wanted_class) for each in zip(places, found, strict=True)]
    held = None if codes is None else read_codes(codes)
    progress = ConsoleProgress()
    padded = loaded.info.get("preprocessing", {}).get("fit") == "pad"
    dataset = open_images(images, loaded.generator.resolution, "pad" if padded else "crop", progress)
    document = evaluate_matrix(
        *(loaded, load_anatomy(BUNDLED_JUDGE, target), score, dataset, asked),
        Cohort(split, view, label, n, seed, method, space, steps, batch, held),
        None if sweep is None else parse_sweep(sweep),
        randoms,
        progress,
    )
    write_text(output, dumps(document, indent=2) + "\n")
    if keep:
        for place, direction, row in zip(places, found, document["directions"], strict=True):
            kept = direction.statistics | {"unseen": to_keep(document, row)}
            write_direction(place, replace(direction, statistics=kept))
    if json:
        print_json(document)
    else:
        _print(document)
        stdout.print(str(output), markup=False)


def _companions(given: list[str]) -> dict[str, list[str]]:
    from cxredit_cli.errors import InputError

    found: dict[str, list[str]] = {}
    for text in given:
        name, equals, others = text.partition("=")
        if not equals or not name or not others:
            raise InputError(f"--companion must be such as Effusion=Atelectasis,Infiltration, but it is '{text}'.")
        found.setdefault(name, []).extend(part for part in others.split(",") if part)
    return found


def _print(document: dict[str, Any]) -> None:
    from rich.table import Table

    classes = document["classifier"]["classes"]
    cohort = document["cohort"]
    stdout.print(
        f"{cohort['images']} scans, one per patient (split {cohort['split']}, view {cohort['view']}, "
        f"{cohort['label']}); mean change of the log-odds:",
        markup=False,
    )
    # The names stand above the table, which so is no wider than a log or a pipe.
    stdout.print(", ".join(f"{number} {name}" for number, name in enumerate(classes, 1)), markup=False, soft_wrap=True)
    table = Table("direction", "at", "AUC", *(str(number) for number in range(1, len(classes) + 1)), "random")
    for row in document["directions"]:
        random = max(max(values) for values in row["random"].values())
        cells = [f"{row['rise'][name]:+.1f}" + ("*" if name == row["class"] else "") for name in classes]
        table.add_row(row["name"], f"{row['strength']:g}", f"{row['auc']:.2f}", *cells, f"{random:.1f}")
    stdout.print(table)
    for row in document["directions"]:
        holds = "holds" if not row["fails"] else "; ".join(row["fails"])
        stdout.print(f"{row['name']}: {holds}", markup=False, soft_wrap=True)
    for note in document["notes"]:
        stdout.print(note, markup=False)
