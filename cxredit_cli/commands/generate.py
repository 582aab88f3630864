"""`cxredit generate`: synthetic radiographs."""

from pathlib import Path
from typing import Annotated

import typer

from cxredit_cli.commands.console import print_json, stdout
from cxredit_cli.commands.options import (
    BATCH,
    INPUT,
    METHOD,
    OUTPUT,
    BatchOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    SeedOption,
)
from cxredit_cli.commands.spread import GpusOption, start_processes, together


def command(
    n: Annotated[
        int, typer.Option("--n", "-n", min=1, help="How many radiographs to make.", rich_help_panel=METHOD)
    ] = 16,
    seed: SeedOption = 0,
    truncation_psi: Annotated[
        float,
        typer.Option(
            help="Truncation: 1 is all variety, towards 0 pictures come nearer to the mean.", rich_help_panel=METHOD
        ),
    ] = 0.7,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.", rich_help_panel=OUTPUT)] = Path(
        "generated"
    ),
    grid: Annotated[
        bool, typer.Option("--grid/--no-grid", help="Also write all of them as one picture.", rich_help_panel=OUTPUT)
    ] = True,
    codes: Annotated[
        Path | None, typer.Option(help="Also write their codes to this file.", rich_help_panel=INPUT)
    ] = None,
    model: ModelOption = None,
    batch: BatchOption = BATCH,
    gpus: GpusOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Generate synthetic chest X-rays, <seed>_<number>.png.

    Run again after an interruption: pictures that are there with the same parameters are kept.
    """
    start_processes(gpus)

    from cxredit_cli.atomic import refuse_folders
    from cxredit_cli.latent.generate import generate
    from cxredit_cli.storage.models import load_model

    refuse_folders(codes)
    with together(device) as (processes, target, progress):
        loaded = load_model(model, target, parts=("generator",))
        report = generate(loaded, n, seed, truncation_psi, output, batch, grid, codes, progress, processes)
    if not processes.first:
        return
    if json:
        print_json(
            {
                "output": str(output),
                "model": loaded.name,
                "seed": seed,
                "truncation_psi": truncation_psi,
                "files": [path.name for path in report.files],
                "already_done": report.already_done,
                "grid": None if report.grid is None else str(report.grid),
                "codes": None if codes is None else str(codes),
            }
        )
        return
    kept = f" ({report.already_done} were there already)" if report.already_done else ""
    stdout.print(f"{n} synthetic radiographs by {loaded.name} in {output}{kept}", markup=False)
    for path in (report.grid, codes):
        if path is not None:
            stdout.print(f"{path}", markup=False)
