"""`cxredit apply`: edited radiographs from codes or straight from images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxredit_cli.commands.apply_dataset import (
    EditLabelsOption,
    SetLabelOption,
    ToDatasetOption,
    check_options,
    dataset_document,
    plan_dataset,
    print_dataset,
    write_dataset,
)
from cxredit_cli.commands.apply_report import SHOWN, apply_document, print_goal, print_refused, print_report
from cxredit_cli.commands.at_the_door import open_door, say_suspects
from cxredit_cli.commands.console import end_batch, print_json, stderr
from cxredit_cli.commands.options import (
    BATCH,
    INPUT,
    METHOD,
    OUTPUT,
    AnatomyOption,
    AnyViewOption,
    BatchOption,
    DeviceOption,
    DirectionOption,
    FitNoiseOption,
    FitOption,
    JsonOption,
    LayersOption,
    MethodOption,
    ModelOption,
    OnSuspectOption,
    RightOption,
    SpaceOption,
    StepsOption,
    SweepOption,
)
from cxredit_cli.commands.spread import GpusOption, paths_from_stdin, start_processes, together
from cxredit_cli.inversion import STEPS

if TYPE_CHECKING:
    from cxredit_cli.editing.write_edits import Native
    from cxredit_cli.radiographs.geometry import Fit
    from cxredit_cli.storage.codes import Codes
    from cxredit_cli.storage.directions import Direction

DEFAULT_STRENGTH = "3"
FORMATS = ("auto", "png", "dicom")
FEW = 3  # films are edited sooner than processes start


def command(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="One file of codes (default codes.h5), or images, folders, globs, zips; - reads paths."),
    ] = None,
    direction: DirectionOption = None,
    strength: Annotated[
        str | None, typer.Option(help="One strength or several: 3 or -1.5,0,3. Default 3.", rich_help_panel=METHOD)
    ] = None,
    sweep: SweepOption = None,
    target_ctr: Annotated[
        str | None,
        typer.Option(
            help="Cardiothoracic ratios to reach, such as 0.55: the strength is found for each image.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    max_strength: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help="Largest strength that --target-ctr may use. Default: by the spread of W.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    anatomy: AnatomyOption = None,
    layers: LayersOption = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.", rich_help_panel=OUTPUT)] = Path(
        "edited"
    ),
    format: Annotated[
        str,
        typer.Option(
            help="Format of the edits: auto (as the film came; else PNG), png, or dicom.", rich_help_panel=OUTPUT
        ),
    ] = "auto",
    sheets: Annotated[
        bool,
        typer.Option(
            "--sheets/--no-sheets",
            help="A contact sheet for each image; without, thousands of images take a third of the time.",
            rich_help_panel=OUTPUT,
        ),
    ] = True,
    native: Annotated[
        bool | None,
        typer.Option(
            "--native/--no-native",
            help="Edit the film itself at its own resolution, or give the generator's picture. Default: the film where "
            "one is given and the direction is calibrated.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    films: Annotated[
        list[str] | None,
        typer.Option(
            help="Films that the codes were made of: files, folders, globs or zips; repeatable.", rich_help_panel=INPUT
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Write nothing where a film's edit is refused. Without it the generator's picture is written instead.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    burn_in: Annotated[
        bool,
        typer.Option(
            "--burn-in",
            help="Write SYNTHETIC - NOT FOR DIAGNOSIS into the pixels of edited films.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    keep_identity: Annotated[
        bool,
        typer.Option(
            "--keep-identity",
            help="Copy patient and study of DICOM films into their edits, so that they lie beside their originals in "
            "an archive: the files then name the patient.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    to_dataset: ToDatasetOption = None,
    labels: EditLabelsOption = None,
    set_label: SetLabelOption = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that edit films; default: one per processor core.", rich_help_panel=METHOD),
    ] = None,
    model: ModelOption = None,
    method: MethodOption = None,
    space: SpaceOption = None,
    steps: StepsOption = STEPS,
    fit_noise: FitNoiseOption = False,
    fit: FitOption = "crop",
    on_suspect: OnSuspectOption = "warn",
    right: RightOption = False,
    any_view: AnyViewOption = False,
    batch: BatchOption = BATCH,
    gpus: GpusOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Move codes along a direction and write the edited radiographs.

    Where films are given, the films themselves are edited, in their own matrix, bit depth and format: only the heart's
    neighbourhood changes. A film whose edit cannot be trusted is named with the reason, and <stem>_<strength>_model.png
    is the generator's picture instead. From codes, --films says where the films are.
    Writes <stem>_<strength>.png (.tif, .dcm), <stem>_sheet.png (original, reconstruction, edits, what changed) and
    manifest.csv. Of more than 1000 images each thousand has a folder of its own: 000, 001, ...
    With --to-dataset the edits of this run are a dataset too, and `cxredit merge` joins it to that of the films.
    With --target-ctr each image is moved as far as its own heart and lungs, outlined at every attempt, need.
    Run again after an interruption: what is there with the same parameters is kept.
    """
    start_processes(gpus)

    from cxredit_cli.directions.calibration import known_slope
    from cxredit_cli.editing.edit_many import apply_to_codes, apply_to_images
    from cxredit_cli.editing.edit_run import EditOptions
    from cxredit_cli.editing.find_films import find_films
    from cxredit_cli.editing.goals import Goal, parse_targets
    from cxredit_cli.errors import InputError
    from cxredit_cli.inversion.request import InversionRequest
    from cxredit_cli.latent.edit_codes import parse_layers
    from cxredit_cli.latent.responses import widest
    from cxredit_cli.latent.strengths import parse_strengths, parse_sweep
    from cxredit_cli.processor import processors
    from cxredit_cli.radiographs.geometry import check_fit
    from cxredit_cli.radiographs.sources import list_sources
    from cxredit_cli.storage.anatomy_network import load_anatomy
    from cxredit_cli.storage.codes import read_codes
    from cxredit_cli.storage.directions import find_direction, read_direction
    from cxredit_cli.storage.models import load_model

    if strength is not None and sweep is not None:
        raise InputError("Give --strength or --sweep, not both.")
    if target_ctr is not None and (strength is not None or sweep is not None):
        raise InputError("--target-ctr finds the strengths itself; give it without --strength and --sweep.")
    if target_ctr is None and max_strength is not None:
        raise InputError("--max-strength goes with --target-ctr.")
    if format not in FORMATS:
        raise InputError(f"--format must be auto, png or dicom, but it is '{format}'.")
    if native is False and (strict or burn_in or keep_identity):
        raise InputError(
            "--strict, --burn-in and --keep-identity are for edits of films; give them without --no-native."
        )
    square = check_fit(fit)
    strengths = parse_strengths(strength or DEFAULT_STRENGTH) if sweep is None else parse_sweep(sweep)
    targets = None if target_ctr is None else parse_targets(target_ctr)
    check_options(to_dataset, labels, set_label, burn_in, strengths if targets is None else ())
    codes_path = choose_codes(inputs or [])
    if films and codes_path is None:
        raise InputError("--films goes with codes; of images, the images themselves are edited.")
    codes = None if codes_path is None else read_codes(codes_path)
    with together(device) as (processes, target, progress):
        stdin = paths_from_stdin([*(inputs or []), *(films or [])], processes)
        given = (inputs if codes is None else films) or []
        listed = processes.from_first(lambda: list_sources(given, stdin, progress, any_view)) if given else []
        parts = ("generator",) if codes is not None else ("generator", "encoder")
        loaded = load_model(model, target, parts)
        direction_path = find_direction(direction, loaded.path)
        chosen = read_direction(direction_path)
        chosen.check_generator(loaded.fingerprint, direction_path)
        if direction is None:
            stderr.print(f"Direction: {chosen.name}, from {direction_path}", markup=False)
        known = known_slope(chosen)
        if known is not None and layers is None:
            slope = f"{known[0]:+.4f} to the CTR on average, over {known[1]}"
            stderr.print(f"One unit of strength adds {slope}.", markup=False)
        goal = None
        if targets is not None:
            limit = max_strength or widest(loaded.generator, len(chosen.direction))
            network = load_anatomy(anatomy, loaded.generator.mapping.w_avg.device)
            goal = Goal.of(targets, network, None if known is None else known[0], limit)
        carried = _choose_native(chosen, native, codes, films, output, square, strict, burn_in, keep_identity)
        wanted = None
        if to_dataset is not None and labels is not None:
            squares = square if codes is None else _fit_of(codes)
            how = (chosen.name, squares, loaded.generator.resolution)
            wanted = plan_dataset(to_dataset, labels, set_label, *how)
        at_hand = len(listed) if codes is None else len(codes)
        options = EditOptions(
            chosen,
            strengths,
            parse_layers(layers, loaded.generator.num_ws),
            batch,
            goal,
            format,  # type: ignore[arg-type]
            carried,
            anatomy,
            (jobs or (processors() if at_hand > FEW else 1)) if carried is not None else 1,
            sheets,
        )
        if codes is not None:
            codes.check_generator(loaded.fingerprint)
            found, missing = find_films(codes.source, listed) if films else ({}, {})
            for name, reason in list(missing.items())[:SHOWN]:
                stderr.print(f"{name}: {reason} among --films; its edits are the generator's pictures.", markup=False)
            report = apply_to_codes(loaded, codes, options, output, progress, found, processes)
        else:
            inversion = InversionRequest(method, space, steps, fit_noise, square)
            door = open_door(on_suspect, right, loaded.generator.mapping.w_avg.device)
            report = apply_to_images(loaded, listed, options, inversion, output, progress, door, processes)
    if not processes.first:
        return
    made = None
    if wanted is not None:
        paths = {source.name: source.parts for source in listed} if codes is None else {}
        made = write_dataset(wanted, report, output, paths, progress)
    if json:
        document = apply_document(report, output, direction_path)
        if made is not None and wanted is not None:
            document["dataset"] = dataset_document(made, wanted)
        print_json(document)
    else:
        print_report(report, output, sheets)
        if made is not None and wanted is not None:
            print_dataset(made, wanted)
        if goal is not None:
            print_goal(report, goal.limit)
    say_suspects(report.suspects)
    print_refused(report, strict)
    if carried is None and native is None and chosen.carried is None and listed:
        stderr.print(
            "The direction is not calibrated, so the edits are the generator's pictures; after `cxredit direction "
            "calibrate` the films themselves are edited."
        )
    end_batch(report.failed)


def _choose_native(
    direction: "Direction",
    wanted: bool | None,
    codes: "Codes | None",
    films: list[str] | None,
    output: Path,
    fit: "Fit",
    strict: bool,
    burn_in: bool,
    keep_identity: bool,
) -> "Native | None":
    """How films are edited, or None for the generator's pictures; raises InputError where the wish cannot be met."""
    from cxredit_cli.editing.write_edits import Native
    from cxredit_cli.errors import InputError

    at_hand = codes is None or bool(films)
    if wanted and not at_hand:
        raise InputError("--native edits films, and codes hold none; say with --films where the films are.")
    if wanted and direction.carried is None:
        raise InputError(
            "It is not known what this direction moves, so its edits cannot be carried over to films; run `cxredit "
            "direction calibrate` on it first."
        )
    if not at_hand or wanted is False or direction.carried is None:
        if strict or burn_in or keep_identity:
            raise InputError("--strict, --burn-in and --keep-identity are for edits of films; see --native.")
        return None
    if codes is not None:
        fit = _fit_of(codes)
    secret = output.with_name(f"{output.resolve().name}.key")
    return Native(direction.carried, fit, secret, strict, burn_in, keep_identity)


def _fit_of(codes: "Codes") -> "Fit":
    """How the images of codes became square."""
    from json import loads

    from cxredit_cli.radiographs.geometry import check_fit

    return check_fit(loads(codes.header.preprocessing or "{}").get("fit", "crop"))


def choose_codes(inputs: list[str]) -> Path | None:
    """The code file that `inputs` mean, or None where they are images; raises InputError for a mixture."""
    from cxredit_cli.errors import InputError

    if not inputs:
        if not Path("codes.h5").exists():
            raise InputError(
                "There is no ./codes.h5; name images (`cxredit apply scan.png`), or make codes with `cxredit invert`."
            )
        return Path("codes.h5")
    files = [given for given in inputs if Path(given).suffix.lower() in (".h5", ".hdf5")]
    if files and len(inputs) > 1:
        raise InputError(f"Give one file of codes, or images; {len(inputs)} inputs were given and {files[0]} is HDF5.")
    return Path(files[0]) if files else None
