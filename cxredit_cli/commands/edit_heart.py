"""`cxredit edit-heart`: one radiograph with a larger or smaller heart."""

from pathlib import Path
from typing import Annotated

import typer

from cxredit_cli.commands.console import print_json, stdout
from cxredit_cli.commands.options import METHOD, OUTPUT, AnatomyOption, JsonOption


def command(
    image: Annotated[Path, typer.Argument(help="A radiograph: PNG, JPEG, TIFF or DICOM.")],
    scale: Annotated[
        float, typer.Option(help="Factor of the heart's width, from 0.7 to 1.6.", rich_help_panel=METHOD)
    ] = 1.25,
    output: Annotated[Path, typer.Option("--output", "-o", help="The PNG to write.", rich_help_panel=OUTPUT)] = Path(
        "enlarged.png"
    ),
    ellipse: Annotated[
        str | None,
        typer.Option(
            help="Where the heart is: CX,CY,RX,RY in pixels, or as fractions (all at most 1) of width and height. "
            "Default: the anatomy network finds it.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    anatomy: AnatomyOption = None,
    json: JsonOption = False,
) -> None:
    """Enlarge the heart of a radiograph by a smooth warp (-> enlarged.png), at its own resolution and depth.

    With the original it makes the pair that `cxredit direction` takes. The lungs give way, the ribs over the heart are
    bent with it, and nothing is known of the patient that was not in the picture.
    """
    from cxredit_cli.editing.edit_heart import edit_heart, parse_ellipse
    from cxredit_cli.radiographs.provenance import warped
    from cxredit_cli.radiographs.read import read_radiograph
    from cxredit_cli.radiographs.write import natural_bits, write_png
    from cxredit_cli.storage.anatomy_network import load_anatomy

    read = read_radiograph(image)
    given = None if ellipse is None else parse_ellipse(ellipse, *read.pixels.shape)
    edited = edit_heart(load_anatomy(anatomy), read.pixels, scale, given)
    bits = natural_bits(read.pixels)
    write_png(output, edited.pixels, warped(read.name, f"heart scaled by {scale:g}, found by {edited.by}"), bits)
    figures = {"ctr_before": edited.ctr_before, "ctr_after": edited.ctr_after}
    if json:
        known = {name: None if value != value else round(value, 5) for name, value in figures.items()}
        height, width = read.pixels.shape
        document = {"output": str(output), "source": read.name, "reading": read.reading, "scale": scale, **known}
        print_json({**document, "heart": edited.by, "width": width, "height": height, "bits": bits})
        return
    before, after = ("?" if value != value else f"{value:.3f}" for value in figures.values())
    stdout.print(
        f"{output}: heart of {read.name} scaled by {scale:g}, found by {edited.by}; CTR {before} -> {after}",
        markup=False,
    )
