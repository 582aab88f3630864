"""`cxredit evaluate`: how good a model is, one section a flag."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxredit_cli.commands.console import print_json, stdout
from cxredit_cli.commands.options import (
    BATCH,
    CLASSIFIER_HELP,
    INPUT,
    LABELS_HELP,
    METHOD,
    MODEL,
    OUTPUT,
    BatchOption,
    ClassOption,
    DeviceOption,
    DirectionOption,
    JsonOption,
    MethodOption,
    ModelOption,
    PrecisionOption,
    SeedOption,
    SpaceOption,
    StepsOption,
    SweepOption,
    UncertainOption,
)
from cxredit_cli.commands.spread import GpusOption, paths_from_stdin, start_processes, together
from cxredit_cli.inversion import STEPS

if TYPE_CHECKING:
    import torch

    from cxredit_cli.evaluation.realism import Realism
    from cxredit_cli.networks.any_classifier import ClassifierScore
    from cxredit_cli.radiographs.geometry import Fit
    from cxredit_cli.storage.classifier_network import TrainedClassifier

SECTIONS = ("--realism", "--dose", "--reconstruction", "--code-error", "--separability", "--native")
# Images at most, where --n says nothing.
REALISM, DOSE, RECONSTRUCTION, CODE_ERROR = 2000, 100, 50, 100


def command(
    realism: Annotated[
        bool,
        typer.Option("--realism", help="How far generated radiographs are from real ones.", rich_help_panel=METHOD),
    ] = False,
    dose: Annotated[
        bool,
        typer.Option(
            "--dose",
            help="What a direction does to unseen scans, by a network that never found any.",
            rich_help_panel=METHOD,
        ),
    ] = False,
    reconstruction: Annotated[
        bool,
        typer.Option(
            "--reconstruction", help="How near each way of inverting comes to unseen scans.", rich_help_panel=METHOD
        ),
    ] = False,
    code_error: Annotated[
        bool,
        typer.Option(
            "--code-error", help="How near each way comes to the codes of synthetic images.", rich_help_panel=METHOD
        ),
    ] = False,
    separability: Annotated[
        bool,
        typer.Option(
            "--separability", help="Whether labels separate in --codes, held out by patient.", rich_help_panel=METHOD
        ),
    ] = False,
    native: Annotated[
        bool,
        typer.Option(
            "--native",
            help="How well edits are carried over to --films, at the films' own resolution.",
            rich_help_panel=METHOD,
        ),
    ] = False,
    films: Annotated[
        list[str] | None,
        typer.Option(help="Films for --native: files, folders, globs or zips; repeatable.", rich_help_panel=INPUT),
    ] = None,
    model: ModelOption = None,
    images: Annotated[
        Path, typer.Option(help="Real images: a dataset of `prepare`, a folder or a zip.", rich_help_panel=INPUT)
    ] = Path("dataset.h5"),
    split: Annotated[
        str | None,
        typer.Option(
            help="Split of the real images: train, val or all. Default: val, whose patients no training saw; else all.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(
            "--n",
            "-n",
            min=1,
            help="Largest number of images. Default: realism 2000, dose and code error 100, reconstruction 50.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    view: Annotated[
        str,
        typer.Option(
            help="Projection of the scans for --dose and --reconstruction; `any` takes all.", rich_help_panel=INPUT
        ),
    ] = "PA",
    label: Annotated[
        str, typer.Option(help="Label of the scans that --dose edits; `any` takes all.", rich_help_panel=INPUT)
    ] = "No Finding",
    direction: DirectionOption = None,
    sweep: SweepOption = None,
    randoms: Annotated[
        int, typer.Option(min=0, help="Random directions of each kind beside it.", rich_help_panel=METHOD)
    ] = 5,
    classifier: Annotated[
        str | None,
        typer.Option(
            help=f"A second judge for --dose: {CLASSIFIER_HELP}. "
            "Default: the bundled one, for models of its resolution.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    wanted_class: ClassOption = None,
    codes: Annotated[
        list[Path] | None,
        typer.Option(
            help="Codes from `cxredit invert`: for --separability (repeatable: W, W+), and for --dose.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    method: MethodOption = None,
    space: SpaceOption = None,
    steps: StepsOption = STEPS,
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="Ways of inverting that --reconstruction and --code-error compare, METHOD,SPACE,STEPS such as "
            "hybrid,w,50; repeatable. Default: the encoder, hybrid with 50 steps in w, optimize in w and w+.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help=f"{LABELS_HELP}; or a dataset of `prepare`. For --separability. Default: --images.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    uncertain: UncertainOption = "skip",
    positive: Annotated[
        str, typer.Option(help="Label of the first class for --separability.", rich_help_panel=INPUT)
    ] = "Cardiomegaly",
    negative: Annotated[
        str, typer.Option(help="Label of the second class for --separability.", rich_help_panel=INPUT)
    ] = "No Finding",
    control: Annotated[
        list[str] | None,
        typer.Option(
            help="What --separability takes out of codes and labels, such as view; repeatable.", rich_help_panel=INPUT
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="What --separability looks at beside the codes as they are: picture or anatomy, as `cxredit lda`; "
            "repeatable.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    permutations: Annotated[
        int,
        typer.Option(
            min=1, help="Permutations of the labels that --separability compares with.", rich_help_panel=METHOD
        ),
    ] = 200,
    truncation_psi: Annotated[
        float,
        typer.Option(
            help="Truncation: 1 is all variety, towards 0 pictures come nearer to the mean.", rich_help_panel=METHOD
        ),
    ] = 1.0,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="The report to write; a page with plots, .html, goes beside it.",
            rich_help_panel=OUTPUT,
        ),
    ] = Path("evaluation.json"),
    seed: SeedOption = 0,
    batch: BatchOption = BATCH,
    gpus: GpusOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
    json: JsonOption = False,
) -> None:
    """Measure a model against real radiographs (dataset.h5 -> evaluation.json, .html); name the sections as flags."""
    start_processes(gpus)

    from json import dumps

    from cxredit_cli.atomic import refuse_folders, write_text
    from cxredit_cli.commands import evaluate_report
    from cxredit_cli.devices import resolve_precision
    from cxredit_cli.errors import InputError
    from cxredit_cli.evaluation.realism_study import split_notes
    from cxredit_cli.latent.visible import check_metric
    from cxredit_cli.report.evaluation import write_evaluation
    from cxredit_cli.storage.anatomy_network import BUNDLED_JUDGE, load_anatomy
    from cxredit_cli.storage.codes import read_codes
    from cxredit_cli.storage.dataset import Dataset, is_prepared
    from cxredit_cli.storage.image_folder import open_images
    from cxredit_cli.storage.models import load_model

    if not (realism or dose or reconstruction or code_error or separability or native):
        raise InputError(f"Name what to evaluate; the sections are {', '.join(SECTIONS)}.")
    refuse_folders(output)
    page = output.with_suffix(".html")
    refuse_folders(page)
    if output.suffix == ".html":
        raise InputError(f"--output is the JSON, and a page is written beside it; name it .json, not {output}.")
    inverts = reconstruction or code_error or (dose and not codes) or native
    if native and not films:
        raise InputError("--native needs --films: radiographs in files, at their own resolution.")
    if separability and not codes:
        raise InputError("--separability needs --codes of labelled images; make them with `cxredit invert`.")
    metrics = [known for known in map(check_metric, metric or ()) if known != "codes"]
    if dose and codes and len(codes) > 1:
        raise InputError("--dose takes one file of --codes; evaluate the others in runs of their own.")
    with together(device) as (processes, target, progress):
        loaded = load_model(model, target, parts=("generator", "encoder") if inverts else ("generator",))
        loaded.generator.synthesis.precision = resolve_precision(precision, target)
        speaks = processes.first and not json
        padded = loaded.info.get("preprocessing", {}).get("fit") == "pad"
        dataset: Dataset | None = None
        labelled = labels
        if realism or dose or reconstruction or (separability and labels is None):
            fit: Fit = "pad" if padded else "crop"
            dataset = processes.first_alone(lambda: open_images(images, loaded.generator.resolution, fit, progress))
            labelled = labels or dataset.path
        split = split or ("val" if is_prepared(images) else "all")
        used = None if dataset is None else str(images)
        report: dict[str, Any] = {"model": loaded.name, "images": used, "seed": seed, "precision": precision}
        judge, pictures = load_anatomy(BUNDLED_JUDGE, target), None
        if realism and dataset is not None:
            from cxredit_cli.evaluation.realism_study import choose_real, evaluate_realism

            real = choose_real(dataset, split, n or REALISM, seed)
            found = evaluate_realism(loaded, real, truncation_psi, seed, batch, progress, processes)
            report["realism"] = {"truncation_psi": truncation_psi, **_document(found)}
            if speaks:
                stdout.print(f"Realism of {loaded.name} against {images}", markup=False)
                evaluate_report.print_realism(found)
        if dose and dataset is not None:
            from cxredit_cli.evaluation.dose_study import Cohort, evaluate_dose
            from cxredit_cli.latent.strengths import parse_sweep
            from cxredit_cli.storage.directions import find_direction, read_direction

            second = _second_judge(classifier, wanted_class, loaded.generator.resolution, target)
            held = read_codes(codes[0]) if codes else None
            cohort = Cohort(split, view, label, n or DOSE, seed, method, space, steps, batch, held)
            where = find_direction(direction, loaded.path)
            strengths = None if sweep is None else parse_sweep(sweep)
            judged = evaluate_dose(
                *(loaded, judge, dataset, read_direction(where), where, cohort, strengths, randoms, progress, second),
                processes=processes,
            )
            report["dose"], pictures = judged.document, (judged.pictures, judged.originals)
            if speaks:
                evaluate_report.print_dose(judged.document)
        if reconstruction or code_error:
            from cxredit_cli.evaluation.reconstruction import (
                default_ways,
                evaluate_code_error,
                evaluate_reconstruction,
                parse_way,
            )
            from cxredit_cli.evaluation.scans import ANY, choose_scans

            ways = [parse_way(text, loaded) for text in by] if by else default_ways(loaded)
            if reconstruction and dataset is not None:
                cohort_of = (dataset, judge, split, view, ANY, n or RECONSTRUCTION, seed, None, batch)
                scans = processes.from_first(lambda: choose_scans(*cohort_of))
                report["reconstruction"] = evaluate_reconstruction(
                    loaded, judge, scans, ways, batch, progress, processes
                )
                report["reconstruction"]["notes"] = split_notes(loaded, split, dataset)
                if speaks:
                    evaluate_report.print_reconstruction(report["reconstruction"])
            if code_error:
                report["code_error"] = evaluate_code_error(
                    loaded, ways, n or CODE_ERROR, seed, batch, progress, processes
                )
                if speaks:
                    evaluate_report.print_code_error(report["code_error"])
        if separability and codes and labelled is not None and processes.first:
            from cxredit_cli.evaluation.separability_study import evaluate_separability
            from cxredit_cli.storage.dataset_labels import read_label_table
            from cxredit_cli.storage.labels import check_uncertain

            table = read_label_table(labelled, check_uncertain(uncertain))
            report["separability"] = []
            for path in codes:
                some = read_codes(path)
                some.check_generator(loaded.fingerprint)
                part = evaluate_separability(
                    *(loaded, some, table, (positive, negative), judge, control or (), metrics, 5, permutations, seed),
                    *(batch, progress),
                )
                report["separability"].append(part)
                if speaks:
                    evaluate_report.print_separability(part)
        if native and films:
            from cxredit_cli.evaluation.native_study import evaluate_native
            from cxredit_cli.inversion.request import InversionRequest
            from cxredit_cli.latent.strengths import parse_sweep
            from cxredit_cli.radiographs.sources import list_sources
            from cxredit_cli.storage.directions import find_direction, read_direction

            chosen = read_direction(find_direction(direction, loaded.path))
            chosen.check_generator(loaded.fingerprint, find_direction(direction, loaded.path))
            stdin = paths_from_stdin(films, processes)
            request = InversionRequest(method, space, steps, fit="pad" if padded else "crop")
            report["native"] = evaluate_native(
                loaded,
                load_anatomy(device=target),
                judge,
                chosen,
                processes.from_first(lambda: list_sources(films, stdin, progress)[:n]),
                None if sweep is None else parse_sweep(sweep),
                request,
                batch,
                progress,
                processes,
            )
            if speaks:
                evaluate_report.print_native(report["native"])
    if not processes.first:
        return
    write_text(output, dumps(report, indent=2) + "\n")
    write_evaluation(page, report, pictures)
    if json:
        print_json(report)
    else:
        stdout.print(f"{output}, {page}", markup=False)


def _second_judge(
    classifier: str | None, wanted_class: str | None, resolution: int, device: "torch.device"
) -> "TrainedClassifier | ClassifierScore | None":
    from cxredit_cli.errors import InputError
    from cxredit_cli.storage.any_classifier import load_score
    from cxredit_cli.storage.classifier_network import bundled_classifier, load_classifier

    if classifier is not None and Path(classifier).suffix != ".safetensors":
        return load_score(classifier, wanted_class, device)
    if wanted_class is not None:
        raise InputError("--class goes with a --classifier that knows several; this one knows one.")
    return bundled_classifier(resolution, device) if classifier is None else load_classifier(Path(classifier), device)


def _document(found: "Realism") -> dict[str, Any]:
    from dataclasses import asdict

    ratios = [figure.ratio for figure in found.figures]
    document = asdict(found)
    document["figures"] = [
        {**figure, "ratio": ratio} for figure, ratio in zip(document["figures"], ratios, strict=True)
    ]
    return document
