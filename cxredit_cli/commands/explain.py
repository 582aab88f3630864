"""`cxredit explain`: what would change a classifier's answer about a film."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxredit_cli.commands.at_the_door import open_door, say_suspects, suspects_document
from cxredit_cli.commands.console import ConsoleProgress, end_batch, print_json, stdout
from cxredit_cli.commands.options import (
    CLASSIFIER_HELP,
    INPUT,
    METHOD,
    MODEL,
    OUTPUT,
    AnatomyOption,
    AnyViewOption,
    ClassOption,
    DeviceOption,
    FitNoiseOption,
    FitOption,
    JsonOption,
    MethodOption,
    ModelOption,
    OnSuspectOption,
    RightOption,
    SeedOption,
    StepsOption,
)
from cxredit_cli.inversion import STEPS

if TYPE_CHECKING:
    from cxredit_cli.editing.explain_many import ExplainReport

SHOWN = 12


def command(
    inputs: Annotated[
        list[str] | None, typer.Argument(help="Radiographs: files, folders, globs, zips; - reads paths from stdin.")
    ] = None,
    classifier: Annotated[str, typer.Option(help=f"The classifier: {CLASSIFIER_HELP}.", rich_help_panel=MODEL)] = "",
    wanted_class: ClassOption = None,
    target: Annotated[
        float,
        typer.Option(min=0.001, max=0.999, help="Probability that the answer is moved across.", rich_help_panel=METHOD),
    ] = 0.5,
    direction: Annotated[
        str | None,
        typer.Option(
            "--direction",
            "-d",
            help="Move along this direction, a file or a name of `direction list`; without it, along the classifier's "
            "own gradient.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="The report to write; a page, .html, and for several films a table, .csv, go beside it.",
            rich_help_panel=OUTPUT,
        ),
    ] = Path("explanation.json"),
    model: ModelOption = None,
    method: MethodOption = None,
    steps: StepsOption = STEPS,
    fit_noise: FitNoiseOption = False,
    fit: FitOption = "crop",
    anatomy: AnatomyOption = None,
    on_suspect: OnSuspectOption = "warn",
    right: RightOption = False,
    any_view: AnyViewOption = False,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Find the smallest change of a film that changes a classifier's answer, and show what moved (-> explanation.html).

    The film becomes a code of the generator (W+), and the code is moved by the classifier's gradient until the
    probability of --class crosses --target, and by no longer a change the other way. The page shows the score, heart,
    lungs and tone along the way, what changed where, the change on the film itself, and what changes of the same length
    do that have nothing to do with the classifier. Several films also give a table; run again after an interruption.
    """
    from json import dumps
    from math import log

    from cxredit_cli.atomic import refuse_folders, write_text
    from cxredit_cli.devices import resolve_device
    from cxredit_cli.editing.explain import Request, summarise
    from cxredit_cli.editing.explain_many import explain_many
    from cxredit_cli.errors import InputError
    from cxredit_cli.inversion.request import InversionRequest
    from cxredit_cli.radiographs.geometry import check_fit
    from cxredit_cli.radiographs.provenance import DISCLAIMER
    from cxredit_cli.radiographs.sources import list_sources
    from cxredit_cli.report.explanation import write_explanations
    from cxredit_cli.storage.anatomy_network import load_anatomy
    from cxredit_cli.storage.any_classifier import load_score
    from cxredit_cli.storage.directions import find_direction, read_direction
    from cxredit_cli.storage.models import find_model, load_model

    if not inputs:
        raise InputError("Name a radiograph, such as `cxredit explain scan.png --classifier mine.pt2`.")
    if not classifier:
        raise InputError(f"Give --classifier: {CLASSIFIER_HELP}.")
    if output.suffix in (".html", ".csv"):
        raise InputError(f"--output is the JSON, and the page is written beside it; name it .json, not {output}.")
    if output.resolve() == Path(classifier).with_suffix(".json").resolve():
        raise InputError(f"{output} describes the classifier; name another --output.")
    page, table = output.with_suffix(".html"), output.with_suffix(".csv")
    refuse_folders(output, page, table)
    square = check_fit(fit)
    on = resolve_device(device)
    score = load_score(classifier, wanted_class, on)
    where = None if direction is None else find_direction(direction, find_model(model))
    chosen = None if where is None else read_direction(where)
    if chosen is None and not score.differentiable:
        raise InputError(
            f"{score.file} has no gradients (ONNX); give a direction with -d, such as one of `cxredit direction "
            f"--from-classifier {score.file}`, or the classifier as .pt2 or .pt."
        )
    loaded = load_model(model, on)
    if chosen is not None and where is not None:
        chosen.check_generator(loaded.fingerprint, where)
    progress = ConsoleProgress()
    sources = list_sources(inputs, sys.stdin, progress, any_view)
    # In W+ for the film's own detail; an encoder alone answers in its own space.
    space = None if method == "encoder" else "w+"
    request = Request(
        log(target / (1 - target)), chosen, InversionRequest(method, space, steps, fit_noise, square), seed
    )
    door = open_door(on_suspect, right, on)
    network = load_anatomy(anatomy, on)
    several = len(sources) > 1
    report = explain_many(loaded, network, score, sources, request, table if several else None, door, progress)
    if not report.rows:
        end_batch(report.failed)
    about = {
        "classifier": score.file,
        "sha": score.sha,
        "class": score.wanted,
        "target": target,
        "direction": None if chosen is None else f"{chosen.name} ({chosen.method})",
        "model": loaded.name,
        "fingerprint": loaded.fingerprint,
        "thanks": f"The model's data: {loaded.data_source}." if loaded.data_source else "",
        "films": len(report.rows),
    }
    summary = summarise(report.rows)
    document: dict[str, Any] = {
        **about,
        "disclaimer": f"{DISCLAIMER}.",
        "summary": summary,
        "suspects": suspects_document(door.suspects),
        "failed": [{"source": name, "reason": reason} for name, reason in report.failed],
        "explanations": [found.document() for found in report.shown],
    }
    write_text(output, dumps(document, indent=2) + "\n")
    write_explanations(page, report.shown, about)
    if json:
        print_json(document)
    else:
        _print(report, summary, [output, page, *([table] if several else [])])
    say_suspects(door.suspects)
    end_batch(report.failed)


def _print(report: "ExplainReport", summary: dict[str, Any], written: list[Path]) -> None:
    for one in report.rows[:SHOWN]:
        how = "crosses the target" if one["reached"] else "does not reach the target"
        stdout.print(
            f"{one['source']}: probability {one['film_probability']} (reconstruction "
            f"{one['reconstruction_probability']}); a change of length {one['length']} {how}; of the score "
            f"{_percent(one['score_heart'])} from the heart, {_percent(one['score_lungs'])} from the lungs, "
            f"{_percent(one['score_elsewhere'])} from elsewhere",
            markup=False,
        )
    if len(report.rows) > SHOWN:
        stdout.print(f"and {len(report.rows) - SHOWN} more, see {written[-1]}", markup=False)
    if len(report.rows) > 1:
        stdout.print(f"{summary['reached']} of {summary['films']} films reached the target.")
    if report.already_done:
        stdout.print(f"{report.already_done} were there already.")
    stdout.print(f"{', '.join(map(str, written))}: for research and education, not for diagnosis.", markup=False)


def _percent(value: Any) -> str:
    return "an unknown part" if value in (None, "") else f"{float(value):.0%}"
