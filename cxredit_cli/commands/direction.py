"""`cxredit direction`: the direction from one radiograph to an edited one."""

from pathlib import Path
from typing import Annotated, cast

import typer

from cxredit_cli.commands.console import ConsoleProgress, print_json, stderr, stdout


def command(
    original: Annotated[Path, typer.Argument(help="The radiograph before.")],
    edited: Annotated[Path, typer.Argument(help="The same radiograph with the disease painted in.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The direction to write.")] = Path("direction.h5"),
    name: Annotated[str | None, typer.Option(help="What grows along it; default: the two file names.")] = None,
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
    """Find the direction of a change, v = (E(edited) - E(original)) / ||...||, and say how large the change is."""
    from cxredit_cli.devices import resolve_device
    from cxredit_cli.errors import InputError
    from cxredit_cli.inversion.invert import choose_method, choose_space
    from cxredit_cli.latent.pairs import find_pair_direction
    from cxredit_cli.radiographs.geometry import Fit
    from cxredit_cli.storage.directions import write_direction
    from cxredit_cli.storage.models import load_model

    if fit not in ("crop", "pad"):
        raise InputError(f"--fit must be crop or pad, but it is '{fit}'.")
    loaded = load_model(model, resolve_device(device))
    chosen = choose_method(loaded, method or ("encoder" if loaded.encoder is not None else "optimize"))
    where = choose_space(loaded, chosen, space)
    found, warning = find_pair_direction(
        loaded, original, edited, chosen, where, steps, cast(Fit, fit), name, ConsoleProgress()
    )
    write_direction(output, found)
    if json:
        print_json(
            {
                "output": str(output),
                "name": found.name,
                "method": found.method,
                "shape": found.direction.shape,
                "fingerprint": found.fingerprint,
                "statistics": found.statistics,
                "warning": warning,
            }
        )
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
