"""`cxredit lda`: is a disease a direction of the latent space, on patients that were not fitted?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxredit_cli.commands.console import ConsoleProgress, print_json, stdout
from cxredit_cli.commands.coordinates import load_coordinates
from cxredit_cli.commands.direction_report import print_left_out
from cxredit_cli.commands.options import (
    INPUT,
    LABELS_HELP,
    METHOD,
    METRIC_HELP,
    OUTPUT,
    AnatomyOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    SeedOption,
    UncertainOption,
)

if TYPE_CHECKING:
    from cxredit_cli.separability.lda import Separability


def command(
    codes: Annotated[Path, typer.Argument(help="Codes of labelled images, from `cxredit invert`.")] = Path("codes.h5"),
    labels: Annotated[
        Path, typer.Option(help=f"{LABELS_HELP}; or a dataset of `prepare`.", rich_help_panel=INPUT)
    ] = Path("dataset.h5"),
    uncertain: UncertainOption = "skip",
    positive: Annotated[
        str, typer.Option(help="Label of the class at positive strength.", rich_help_panel=INPUT)
    ] = "Cardiomegaly",
    negative: Annotated[
        str, typer.Option(help="Label of the class at negative strength.", rich_help_panel=INPUT)
    ] = "No Finding",
    folds: Annotated[
        int, typer.Option(help="Parts to hold out in turn; a patient is never divided.", rich_help_panel=METHOD)
    ] = 5,
    permutations: Annotated[
        int, typer.Option(min=1, help="Exchanges of the labels between patients.", rich_help_panel=METHOD)
    ] = 200,
    metric: Annotated[str, typer.Option(help=METRIC_HELP, rich_help_panel=METHOD)] = "codes",
    model: ModelOption = None,
    anatomy: AnatomyOption = None,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The axis, as a direction.", rich_help_panel=OUTPUT)
    ] = Path("direction.h5"),
    plot: Annotated[Path, typer.Option(help="The plot to write.", rich_help_panel=OUTPUT)] = Path("lda.png"),
    json: JsonOption = False,
) -> None:
    """Separate two classes of codes by LDA, in sample as the paper does and on held-out patients.

    The axis of shrinkage LDA on all codes is saved as a direction; the positive class lies at positive strength. With
    --metric picture or anatomy a second axis is found in what shows of the codes, its shrinkage chosen on folds within
    the fitted patients; it is printed after the plain one and saved in its place.
    """
    from cxredit_cli.atomic import refuse_folders
    from cxredit_cli.errors import InputError
    from cxredit_cli.latent.visible import check_metric
    from cxredit_cli.report.plots import plot_separability
    from cxredit_cli.separability.code_rows import CodeRows
    from cxredit_cli.separability.cohort import choose_cohort
    from cxredit_cli.separability.lda import lda
    from cxredit_cli.storage.codes import read_codes
    from cxredit_cli.storage.dataset_labels import read_label_table
    from cxredit_cli.storage.directions import Direction, write_direction
    from cxredit_cli.storage.labels import check_uncertain

    refuse_folders(output, plot)
    if plot.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise InputError(f"--plot must end in .png, .pdf or .svg, but it is {plot}.")
    if anatomy is not None and metric != "anatomy":
        raise InputError("--anatomy goes with --metric anatomy.")
    known = check_metric(metric)
    held = read_codes(codes)
    cohort = choose_cohort(held.source, read_label_table(labels, check_uncertain(uncertain)), positive, negative)
    w = CodeRows.in_file(held, cohort.rows)
    coordinates = load_coordinates(held, known, model, anatomy, device)
    chosen = {"positive": positive, "negative": negative, "seed": seed}
    plain = lda(w, cohort.positive, cohort.patients, folds, permutations, seed, ConsoleProgress())
    figures, found = plain.figures() | chosen, plain
    if coordinates is not None:
        found = lda(w, cohort.positive, cohort.patients, folds, permutations, seed, ConsoleProgress(), coordinates)
        figures = figures | {"by_metric": {metric: found.figures()}}
    axis = found.axis.reshape(held.header.num_ws, held.header.w_dim).astype("float32")
    sources = [held.source[row] for row in cohort.rows]
    saved = found.figures() | chosen | {"metric": metric, "auc_of_codes": plain.auc}
    how = "lda" if coordinates is None else f"lda, {metric}"
    direction = Direction(axis, positive, how, held.header.fingerprint, sources, saved, held.header.model)
    write_direction(output, direction)
    title = f"{positive} against {negative}: {held.header.method}, {held.header.space}, model {held.header.model}"
    title += "" if coordinates is None else f", by {metric}"
    plot_separability(plot, found, cohort.positive, (negative, positive), title)
    left_out = {"without_label": len(cohort.unlabelled), "with_both": len(cohort.both), "with_neither": cohort.neither}
    left_out["uncertain"] = len(cohort.uncertain)
    if json:
        found_elsewhere = {"left_out": left_out, "patients_known": cohort.patients_known}
        print_json(figures | found_elsewhere | {"direction": str(output), "plot": str(plot)})
    else:
        _print_classes(plain, (positive, negative))
        _print_figures(plain, "the codes as they are")
        if coordinates is not None:
            _print_figures(found, f"by {metric}")
            strengths = ", ".join(f"{strength:g}" for strength in found.shrinkage_in_folds or ())
            stdout.print(
                f"Shrinkage {found.shrinkage:g}, chosen; within the folds {strengths}. Permuted labels chose too."
            )
        _print_outputs(found, positive, output, plot)
    print_left_out(cohort)


def _print_classes(found: "Separability", names: tuple[str, str]) -> None:
    stdout.print(
        f"{names[0]}: {found.positives} images of {found.positive_patients} patients; {names[1]}: {found.negatives} of "
        f"{found.negative_patients}; {found.dimensions} dimensions; {found.folds} folds by patient",
        markup=False,
    )


def _print_figures(found: "Separability", what: str) -> None:
    from rich.table import Table

    figures = found.figures()
    table = Table(what, "true labels", "permuted labels (95 %)")
    low, high = figures["in_sample_null_95"]
    table.add_row("separation, in sample", f"{found.in_sample:.2f}", f"{low:.2f} to {high:.2f}")
    low, high = figures["held_out_null_95"]
    table.add_row("separation, held out", f"{found.held_out:+.2f}", f"{low:+.2f} to {high:+.2f}")
    low, high = figures["auc_null_95"]
    interval = f"{found.auc_interval[0]:.3f} to {found.auc_interval[1]:.3f}"
    table.add_row("ROC AUC, held out", f"{found.auc:.3f} ({interval})", f"{low:.3f} to {high:.3f}")
    table.add_row("p-value of the AUC", f"{found.p_value:.3g}", f"{len(found.auc_null)} permutations")
    stdout.print(table)


def _print_outputs(found: "Separability", positive: str, output: Path, plot: Path) -> None:
    stdout.print(
        "In sample is the paper's figure. Held out are patients that were not fitted; the AUC's interval is a 95 %"
    )
    stdout.print("bootstrap over patients. Labels were permuted between patients.")
    stdout.print(
        f"{output}: the axis, {positive} at positive strength; a strength of {found.class_gap:.3g} leads from the "
        "mean of one class to that of the other",
        markup=False,
    )
    stdout.print(f"{plot}: histograms", markup=False)
