"""`cxredit direction discover`: directions without labels, and what each changes in the anatomy."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cxredit_cli.commands.console import ConsoleProgress, print_json, stdout
from cxredit_cli.commands.options import (
    BATCH,
    INPUT,
    METHOD,
    OUTPUT,
    AnatomyOption,
    BatchOption,
    DeviceOption,
    JsonOption,
    LayersOption,
    ModelOption,
    SeedOption,
)

SHOWN = {
    "ctr": "CTR",
    "heart_area": "heart area",
    "heart_width": "heart width",
    "thorax_width": "thorax width",
    "right_lung_height": "right lung",
    "left_lung_height": "left lung",
    "grey_p50": "grey",
}


def command(
    how: Annotated[
        str,
        typer.Option(help="Which axes to look for: pca (of W) or sefa (of the style weights).", rich_help_panel=METHOD),
    ] = "pca",
    n: Annotated[
        int, typer.Option("--n", "-n", min=1, help="Directions, the strongest first.", rich_help_panel=METHOD)
    ] = 10,
    layers: LayersOption = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.", rich_help_panel=OUTPUT)] = Path(
        "directions"
    ),
    images: Annotated[
        int, typer.Option(min=2, help="Generated images that each is measured on.", rich_help_panel=INPUT)
    ] = 24,
    seed: SeedOption = 0,
    model: ModelOption = None,
    anatomy: AnatomyOption = None,
    batch: BatchOption = BATCH,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Find directions that need no labels, and list what one unit of strength along each changes.

    Writes <how>_01.h5, <how>_02.h5, ...; each points to the side where the CTR rises.
    """
    from cxredit_cli.devices import resolve_device
    from cxredit_cli.directions.unsupervised import check_discovery, discover, file_name
    from cxredit_cli.latent.edit_codes import parse_layers
    from cxredit_cli.storage.anatomy_network import load_anatomy
    from cxredit_cli.storage.directions import write_direction
    from cxredit_cli.storage.models import load_model

    chosen = check_discovery(how)
    target = resolve_device(device)
    loaded = load_model(model, target, ("generator",))
    where = parse_layers(layers, loaded.generator.num_ws)
    network = load_anatomy(anatomy, target)
    found = discover(loaded, network, chosen, n, where, images, seed, batch, ConsoleProgress())
    rows: list[dict[str, Any]] = []
    for direction in found:
        path = file_name(direction, output)
        write_direction(path, direction)
        generated = direction.calibration["generated"]
        per_unit = {name: generated["per_unit"][name] for name in SHOWN}
        rows.append({"file": str(path), **direction.statistics, "used": generated["used"], "per_unit": per_unit})
    if json:
        print_json({"method": chosen, "images": images, "directions": rows})
    else:
        _print(rows, chosen, images)


def _print(rows: list[dict[str, Any]], method: str, images: int) -> None:
    from rich.table import Table

    share = "of W" if method == "pca" else "of styles"
    table = Table("", share, "deviation", *SHOWN.values())
    for row in rows:
        cells = ["-" if row["per_unit"][name] is None else f"{row['per_unit'][name] * 100:+.2f}" for name in SHOWN]
        table.add_row(Path(row["file"]).stem, f"{row['weight']:.1%}", f"{row['deviation']:.2f}", *cells)
    stdout.print(table)
    stdout.print(
        f"Change a unit of strength, in hundredths: of the CTR, of the image's side or area, of the grey range; on "
        f"those of {images} generated images whose outlines stay plausible. Deviation: of random codes, in strength."
    )
    stdout.print(f"{Path(rows[0]['file']).parent}: {len(rows)} directions", markup=False)
