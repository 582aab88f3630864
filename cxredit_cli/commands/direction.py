"""`cxredit direction`: the direction from one radiograph to an edited one, or of a measure of the anatomy."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from cxredit_cli.commands.console import ConsoleProgress, print_json, stderr, stdout

if TYPE_CHECKING:
    from cxredit_cli.storage.directions import Direction


def command(
    original: Annotated[Path | None, typer.Argument(help="The radiograph before.")] = None,
    edited: Annotated[Path | None, typer.Argument(help="The same radiograph with the disease painted in.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The direction to write.")] = Path("direction.h5"),
    name: Annotated[str | None, typer.Option(help="What grows along it; default: the files or the measure.")] = None,
    from_measure: Annotated[
        str | None,
        typer.Option(help="No images: what raises this measure of generated ones, such as heart_width or ctr."),
    ] = None,
    hold: Annotated[
        str | None,
        typer.Option(help="Measures that --from-measure holds, by commas; default: thorax, lung heights, tone."),
    ] = None,
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="Images that --from-measure generates.")] = 3200,
    seed: Annotated[int, typer.Option(help="Of the images that --from-measure generates.")] = 0,
    method: Annotated[
        str | None, typer.Option(help="encoder, optimize or hybrid; default: encoder where the model has one.")
    ] = None,
    space: Annotated[str | None, typer.Option(help="w or w+.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of optimisation.")] = 500,
    fit: Annotated[str, typer.Option(help="crop (the centre square) or pad.")] = "crop",
    model: Annotated[Path | None, typer.Option(help="Default: ./model, else the bundled one.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
) -> None:
    """Find the direction of a change, v = (E(edited) - E(original)) / ||...||, and say how large the change is.

    Or, with --from-measure, the direction along which a measure of the anatomy rises while others are held.
    """
    from cxredit_cli.devices import resolve_device, resolve_precision
    from cxredit_cli.errors import InputError
    from cxredit_cli.inversion.invert import choose_method, choose_space
    from cxredit_cli.latent.measured import HELD, find_measured_direction
    from cxredit_cli.latent.pairs import find_pair_direction
    from cxredit_cli.radiographs.geometry import Fit
    from cxredit_cli.storage.anatomy import load_anatomy
    from cxredit_cli.storage.directions import write_direction
    from cxredit_cli.storage.models import load_model

    if fit not in ("crop", "pad"):
        raise InputError(f"--fit must be crop or pad, but it is '{fit}'.")
    loaded = load_model(model, resolve_device(device))
    if from_measure is not None:
        if original is not None:
            raise InputError("--from-measure makes its own images; give either it or ORIGINAL and EDITED.")
        held = HELD if hold is None else tuple(part for part in hold.split(",") if part)
        loaded.generator.synthesis.precision = resolve_precision("auto", loaded.generator.mapping.w_avg.device)
        network = load_anatomy(device=loaded.generator.mapping.w_avg.device)
        measured = find_measured_direction(
            loaded, network, from_measure, held, n, seed, name, progress=ConsoleProgress()
        )
        write_direction(output, measured)
        _print_measured(measured, output, json)
        return
    if original is None or edited is None:
        raise InputError("Give two images, ORIGINAL and EDITED, or --from-measure with the name of a measure.")
    chosen = choose_method(loaded, method or ("encoder" if loaded.encoder is not None else "optimize"))
    where = choose_space(loaded, chosen, space)
    found, warning = find_pair_direction(
        loaded, original, edited, chosen, where, steps, cast(Fit, fit), name, ConsoleProgress()
    )
    write_direction(output, found)
    if json:
        print_json({**_document(found, output), "warning": warning})
    else:
        figures = found.statistics
        stdout.print(f"{output}: {found.name} ({found.method})", markup=False)
        stdout.print(
            f"  reconstructions: {figures['psnr_original']:.1f} dB original, {figures['psnr_edited']:.1f} dB edited"
        )
        stdout.print(
            f"  the codes differ by {figures['length']:.3g} (the strength that leads from one to the other): "
            f"{figures['relative_distance']:.1%} of the distance of two random codes, "
            f"{figures['deviations']:.2f} standard deviations a dimension"
        )
        if figures["against_repeat"] is not None:
            stdout.print(
                f"  that is {figures['against_repeat']:.1f} times what invisible noise in the original does to its code"
            )
    if warning is not None:
        stderr.print(f"Warning: {warning}", markup=False)


def _document(direction: "Direction", output: Path) -> dict[str, object]:
    return {
        "output": str(output),
        "name": direction.name,
        "method": direction.method,
        "shape": direction.direction.shape,
        "fingerprint": direction.fingerprint,
        "statistics": direction.statistics,
    }


def _print_measured(direction: "Direction", output: Path, json: bool) -> None:
    figures = direction.statistics
    if json:
        print_json(_document(direction, output))
        return
    stdout.print(f"{output}: {direction.name} ({direction.method})", markup=False)
    stdout.print(
        f"  by regression on {figures['images']:.0f} generated images one unit of strength adds "
        f"{figures['rise_per_unit']:.3g}; cosine with the direction that holds nothing: "
        f"{figures['cosine_with_uncontrolled']:.2f}"
    )
    known = "  ".join(f"{key.removeprefix('r2_')} {value:.2f}" for key, value in figures.items() if key[:3] == "r2_")
    stdout.print(f"  how well codes predict each measure (cross-validated R2): {known}", markup=False)
