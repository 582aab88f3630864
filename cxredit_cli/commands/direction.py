"""`cxredit direction`: finding one from images, labels or a measure, and the commands that look at directions."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from cxredit_cli.commands import (
    direction_calibrate,
    direction_compare,
    direction_discover,
    direction_list,
    direction_matrix,
)
from cxredit_cli.commands.console import ConsoleProgress, end_batch, print_json, stderr
from cxredit_cli.commands.coordinates import load_coordinates
from cxredit_cli.commands.direction_report import document, print_found, print_left_out
from cxredit_cli.commands.options import (
    BATCH,
    CLASSIFIER_HELP,
    INPUT,
    LABELS_HELP,
    METHOD,
    METRIC_HELP,
    MODEL,
    OUTPUT,
    AnatomyOption,
    BatchOption,
    ClassOption,
    DeviceOption,
    FitOption,
    JsonOption,
    MethodOption,
    ModelOption,
    SeedOption,
    SpaceOption,
    StepsOption,
    UncertainOption,
)
from cxredit_cli.commands.spread import GpusOption, refuse_several, start_processes, together
from cxredit_cli.inversion import STEPS

if TYPE_CHECKING:
    from cxredit_cli.networks.any_classifier import ClassifierScore
    from cxredit_cli.processes import Processes
    from cxredit_cli.progress import Progress
    from cxredit_cli.separability.cohort import Cohort
    from cxredit_cli.storage.directions import Direction
    from cxredit_cli.storage.models import Model

DEFAULT = "find"
IMAGES, CODES, MEASURE = "From images", "From labelled codes", "From a measure or a classifier"


class FindsByDefault(TyperGroup):
    """`direction ORIGINAL EDITED` is `direction find ORIGINAL EDITED`: what names no other command is to be found."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Put the name of the default command before arguments that name none."""
        if not args or args[0] not in (*self.commands, "--help"):
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)


group = typer.Typer(
    cls=FindsByDefault,
    help="Find the direction of a disease, compare and discover directions, and calibrate them. "
    "`cxredit direction ORIGINAL EDITED` is short for `cxredit direction find ORIGINAL EDITED`.",
)


@group.callback()
def _before(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand != DEFAULT:
        refuse_several(f"direction {ctx.invoked_subcommand}")


@group.command(DEFAULT)
def find(
    original: Annotated[Path | None, typer.Argument(help="The radiograph before.")] = None,
    edited: Annotated[Path | None, typer.Argument(help="The same radiograph with the disease painted in.")] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The direction to write.", rich_help_panel=OUTPUT)
    ] = Path("direction.h5"),
    name: Annotated[
        str | None,
        typer.Option(
            help="Name of the direction: what increases along it. Default: the files, the label or the measure.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    orthogonal_to: Annotated[
        list[str] | None,
        typer.Option(help="A direction that it shall have no part along; repeatable.", rich_help_panel=INPUT),
    ] = None,
    control: Annotated[
        list[str] | None,
        typer.Option(
            help="Take out what this explains; repeatable. For codes a column of the labels, another label, psnr, or a "
            "measure of the originals; for --from-measure one more measure to hold.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    method: MethodOption = None,
    how: Annotated[
        str | None,
        typer.Option(
            help="How the direction is fitted: to labelled codes by means, lda (default), logistic or svm; to a "
            "measure or a classifier by gradients (default) or regression (default for ONNX, which has no gradients).",
            rich_help_panel=METHOD,
        ),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(help="A CSV with columns original and edited instead of two images.", rich_help_panel=IMAGES),
    ] = None,
    space: SpaceOption = None,
    steps: StepsOption = STEPS,
    fit: FitOption = "crop",
    batch: BatchOption = BATCH,
    codes: Annotated[
        Path | None,
        typer.Option(help="Codes of labelled images; with --pairs, codes of those images.", rich_help_panel=CODES),
    ] = None,
    labels: Annotated[
        Path, typer.Option(help=f"{LABELS_HELP}; or a dataset of `prepare`.", rich_help_panel=CODES)
    ] = Path("dataset.h5"),
    uncertain: UncertainOption = "skip",
    positive: Annotated[
        str, typer.Option(help="Label that the direction leads towards.", rich_help_panel=CODES)
    ] = "Cardiomegaly",
    negative: Annotated[
        str, typer.Option(help="Label that the direction leads away from.", rich_help_panel=CODES)
    ] = "No Finding",
    folds: Annotated[int, typer.Option(help="Parts to hold out in turn, by patient.", rich_help_panel=CODES)] = 5,
    metric: Annotated[str, typer.Option(help=METRIC_HELP, rich_help_panel=CODES)] = "codes",
    from_measure: Annotated[
        str | None,
        typer.Option(
            help="Find what raises this measure on generated images, such as heart_width or ctr.",
            rich_help_panel=MEASURE,
        ),
    ] = None,
    from_classifier: Annotated[
        str | None,
        typer.Option(
            help=f"Find what raises a classifier's log-odds of --class: {CLASSIFIER_HELP}.", rich_help_panel=MEASURE
        ),
    ] = None,
    wanted_class: ClassOption = None,
    hold: Annotated[
        str | None,
        typer.Option(
            help="Measures to hold, or other classes of the classifier; default: thorax width, lung heights, tone.",
            rich_help_panel=MEASURE,
        ),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(
            "--n",
            "-n",
            min=1,
            help="How many images to generate. Default: 512, for a regression 3200.",
            rich_help_panel=MEASURE,
        ),
    ] = None,
    anatomy: AnatomyOption = None,
    seed: SeedOption = 0,
    model: ModelOption = None,
    gpus: GpusOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Find a direction: v = (E(edited) - E(original)) / ||...|| of one pair of images, and how large the change is.

    Or the mean over many pairs (--pairs), what separates labelled codes (--codes, --labels, --positive, --negative), or
    what raises a measure of generated anatomy (--from-measure) or a classifier's score (--from-classifier) while other
    measures are held. Several processes (--gpus, torchrun) share the generated images.
    """
    from cxredit_cli.atomic import refuse_folders
    from cxredit_cli.errors import InputError
    from cxredit_cli.radiographs.geometry import check_fit
    from cxredit_cli.storage.directions import find_direction, read_direction, write_direction
    from cxredit_cli.storage.models import find_model

    refuse_folders(output)
    square = check_fit(fit)
    given = [
        ("ORIGINAL and EDITED", original),
        ("--pairs", pairs),
        ("--from-measure", from_measure),
        ("--from-classifier", from_classifier),
    ]
    chosen = [option for option, value in given if value is not None]
    if codes is not None and pairs is None:
        chosen.append("--codes")
    if len(chosen) > 1:
        raise InputError(f"A direction is found in one way at a time; give {' or '.join(chosen)}, not both.")
    if not chosen or (original is not None and edited is None):
        raise InputError(
            "Give two images, ORIGINAL and EDITED, or --pairs, --codes, --from-measure or --from-classifier."
        )
    if wanted_class is not None and from_classifier is None:
        raise InputError("--class goes with --from-classifier.")
    if control and chosen[0] in ("ORIGINAL and EDITED", "--pairs"):
        raise InputError(
            "--control goes with --codes, --from-measure or --from-classifier; a pair differs in nothing but the edit."
        )
    if how is not None and chosen[0] in ("ORIGINAL and EDITED", "--pairs"):
        raise InputError(
            "--how goes with --codes, --from-measure or --from-classifier; of pairs the difference is taken."
        )
    if method is not None and chosen[0] in ("--codes", "--from-measure", "--from-classifier"):
        raise InputError(f"--method says how images become codes, and {chosen[0]} has codes; see --how.")
    if metric != "codes" and (codes is None or pairs is not None):
        raise InputError("--metric goes with --codes and --labels.")
    spread = chosen[0] in ("--from-measure", "--from-classifier")
    if spread:
        start_processes(gpus)
    else:
        refuse_several(f"direction by {chosen[0]}")
        if gpus is not None:
            raise InputError("--gpus goes with --from-measure and --from-classifier.")
    places = [find_direction(given, find_model(model)) for given in orthogonal_to or []]
    others = [(place, read_direction(place)) for place in places]
    failed: list[tuple[str, str]] = []
    warning: str | None = None
    cohort: Cohort | None = None
    if codes is not None and pairs is not None:
        from cxredit_cli.directions.from_pair_table import find_pairs_direction_in_codes
        from cxredit_cli.storage.codes import read_codes

        many = find_pairs_direction_in_codes(read_codes(codes), pairs, name)
        found, warning, failed = many.direction, many.warning, many.failed
    elif codes is not None:
        found, cohort = _from_codes(
            *(codes, labels, uncertain, (positive, negative), how, control or [], folds, seed, name),
            *(metric, model, anatomy, device),
        )
    elif spread:
        from cxredit_cli.storage.models import load_model

        with together(device) as (processes, on, progress):
            loaded = load_model(model, on)
            target = from_measure or _score(str(from_classifier), wanted_class, loaded)
            found = _from_measure(
                *(loaded, anatomy, target, hold, control or [], how, n, seed, name, progress, processes)
            )
        if not processes.first:
            return
    else:
        loaded = _load(model, device)
        if pairs is not None:
            from cxredit_cli.directions.from_pair_table import find_pairs_direction

            by, where = _choose(loaded, method, space)
            many = find_pairs_direction(loaded, pairs, by, where, steps, square, batch, name, ConsoleProgress())
            found, warning, failed = many.direction, many.warning, many.failed
        else:
            from cxredit_cli.directions.from_pair import find_pair_direction

            assert original is not None
            assert edited is not None
            by, where = _choose(loaded, method, space)
            found, warning = find_pair_direction(
                loaded, original, edited, by, where, steps, square, name, ConsoleProgress()
            )
    if others:
        from cxredit_cli.directions.comparison import without_others

        found = without_others(found, others)
    write_direction(output, found)
    if json:
        result = document(found, output) | {"warning": warning}
        print_json(result | {"failed": [{"pair": pair, "reason": reason} for pair, reason in failed]})
    else:
        print_found(found, output)
    if cohort is not None:
        print_left_out(cohort)
    if warning is not None:
        stderr.print(f"Warning: {warning}", markup=False)
    end_batch(failed)


group.command("compare")(direction_compare.command)
group.command("list")(direction_list.command)
group.command("matrix")(direction_matrix.command)
group.command("discover")(direction_discover.command)
group.command("calibrate")(direction_calibrate.command)


def _load(model: Path | None, device: str) -> "Model":
    from cxredit_cli.devices import resolve_device
    from cxredit_cli.storage.models import load_model

    return load_model(model, resolve_device(device))


def _choose(loaded: "Model", method: str | None, space: str | None) -> tuple[Any, Any]:
    from cxredit_cli.inversion.invert import choose_method, choose_space

    chosen = choose_method(loaded, method or ("encoder" if loaded.encoder is not None else "optimize"))
    own = None if chosen == "encoder" else "w"  # a step of W can be added to every code, of W and of W+
    return chosen, choose_space(loaded, chosen, space or own)


def _score(file: str, wanted_class: str | None, loaded: "Model") -> "ClassifierScore":
    from cxredit_cli.storage.any_classifier import load_score

    return load_score(file, wanted_class, loaded.generator.mapping.w_avg.device)


def _from_measure(
    loaded: "Model",
    anatomy: Path | None,
    target: "str | ClassifierScore",
    hold: str | None,
    control: list[str],
    how: str | None,
    n: int | None,
    seed: int,
    name: str | None,
    progress: "Progress",
    processes: "Processes",
) -> "Direction":
    from cxredit_cli.devices import resolve_precision
    from cxredit_cli.directions.from_measure import HELD, check_method, find_measured_direction
    from cxredit_cli.storage.anatomy_network import load_anatomy

    by_gradients = isinstance(target, str) or target.differentiable
    chosen = check_method(how or ("gradients" if by_gradients else "regression"))
    held = HELD if hold is None else tuple(part for part in hold.split(",") if part)
    held = tuple(dict.fromkeys([*held, *control]))
    device = loaded.generator.mapping.w_avg.device
    loaded.generator.synthesis.precision = resolve_precision("auto", device)
    network = load_anatomy(anatomy, device)
    return find_measured_direction(loaded, network, target, held, chosen, n, seed, name, progress, processes)


def _from_codes(
    path: Path,
    labels: Path,
    uncertain: str,
    classes: tuple[str, str],
    how: str | None,
    control: list[str],
    folds: int,
    seed: int,
    name: str | None,
    metric: str,
    model: Path | None,
    anatomy: Path | None,
    device: str,
) -> "tuple[Direction, Cohort]":
    from cxredit_cli.devices import resolve_device
    from cxredit_cli.directions.from_labels import control_columns, find_labelled_direction
    from cxredit_cli.directions.label_fit import check_method
    from cxredit_cli.latent.visible import check_metric
    from cxredit_cli.separability.cohort import choose_cohort
    from cxredit_cli.storage.anatomy_network import load_anatomy
    from cxredit_cli.storage.codes import read_codes
    from cxredit_cli.storage.dataset_labels import read_label_table
    from cxredit_cli.storage.labels import check_uncertain

    chosen, known = check_method(how or "lda"), check_metric(metric)
    held, table = read_codes(path), read_label_table(labels, check_uncertain(uncertain))
    cohort = choose_cohort(held.source, table, *classes)
    progress = ConsoleProgress()
    columns = control_columns(
        control, held, cohort, table, lambda: load_anatomy(anatomy, resolve_device(device)), progress
    )
    coordinates = load_coordinates(held, known, model, anatomy, device)
    how_far = (name, progress, known, coordinates)
    return find_labelled_direction(held, cohort, columns, classes, chosen, folds, seed, *how_far), cohort
