"""`cxredit direction calibrate`: what one unit of strength does, measured and kept in the direction's file."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cxredit_cli.commands.console import ConsoleProgress, end_batch, print_json
from cxredit_cli.commands.direction_report import print_calibration, print_carried
from cxredit_cli.commands.options import (
    BATCH,
    INPUT,
    METHOD,
    AnatomyOption,
    BatchOption,
    DeviceOption,
    FitOption,
    JsonOption,
    MethodOption,
    ModelOption,
    SeedOption,
    SpaceOption,
    StepsOption,
    SweepOption,
)
from cxredit_cli.inversion import STEPS


def command(
    direction: Annotated[Path, typer.Argument(help="The direction; its file receives the figures.")] = Path(
        "direction.h5"
    ),
    n: Annotated[
        int,
        typer.Option(
            "--n", "-n", min=1, help="Generated images, and at most as many real ones.", rich_help_panel=METHOD
        ),
    ] = 64,
    codes: Annotated[
        Path | None, typer.Option(help="Codes of real images to measure on too.", rich_help_panel=INPUT)
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(help="Real images, folders, globs or zips to measure on too; repeatable.", rich_help_panel=INPUT),
    ] = None,
    sweep: SweepOption = None,
    seed: SeedOption = 0,
    method: MethodOption = None,
    space: SpaceOption = None,
    steps: StepsOption = STEPS,
    fit: FitOption = "crop",
    model: ModelOption = None,
    anatomy: AnatomyOption = None,
    batch: BatchOption = BATCH,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Measure what strengths do to the cardiothoracic ratio and the rest of the anatomy, and keep it in the file.

    On generated images, and on real ones where codes or images are given. `apply --target-ctr` starts from the slope.
    """
    from dataclasses import replace

    from cxredit_cli.devices import resolve_device
    from cxredit_cli.directions import calibration
    from cxredit_cli.directions.what_moves import find_what_moves
    from cxredit_cli.errors import InputError
    from cxredit_cli.inversion.request import InversionRequest
    from cxredit_cli.latent.responses import default_strengths
    from cxredit_cli.latent.strengths import parse_sweep
    from cxredit_cli.radiographs.geometry import check_fit
    from cxredit_cli.radiographs.sources import list_sources
    from cxredit_cli.storage.anatomy_network import load_anatomy
    from cxredit_cli.storage.codes import read_codes
    from cxredit_cli.storage.directions import read_direction, write_direction
    from cxredit_cli.storage.models import load_model

    if codes is not None and images:
        raise InputError("Give --codes or --images, not both.")
    square = check_fit(fit)
    found = read_direction(direction)
    target = resolve_device(device)
    loaded = load_model(model, target, ("generator", "encoder") if images else ("generator",))
    found.check_generator(loaded.fingerprint, direction)
    held = None if codes is None else read_codes(codes)
    if held is not None:
        held.check_generator(loaded.fingerprint)
    progress = ConsoleProgress()
    sources = list_sources(images, sys.stdin, progress) if images else []
    network = load_anatomy(anatomy, target)
    strengths = default_strengths(loaded.generator, len(found.direction)) if sweep is None else parse_sweep(sweep)
    if len({*strengths, 0.0}) < 2:
        raise InputError("--sweep must have strengths besides 0.")
    measured: dict[str, Any] = dict(found.calibration)
    common = (loaded, network, found, strengths)
    measured["generated"] = calibration.calibrate_generated(*common, n, seed, batch, progress)
    measured["carried"] = find_what_moves(loaded, network, found, n, seed, batch, progress)
    failed: list[tuple[str, str]] = []
    if held is not None:
        measured["real"] = calibration.calibrate_codes(*common, held, n, seed, batch, progress)
    elif sources:
        inversion = InversionRequest(method, space, steps, fit=square)
        measured["real"], failed = calibration.calibrate_images(*common, sources, inversion, n, seed, batch, progress)
    write_direction(direction, replace(found, calibration=measured))
    if json:
        unread = [{"source": name, "reason": reason} for name, reason in failed]
        print_json({"direction": str(direction), "name": found.name, "calibration": measured, "failed": unread})
    else:
        for kind, title in (("generated", "Generated"), ("real", "Real")):
            if kind in measured:
                print_calibration(title, measured[kind])
        print_carried(measured["carried"])
    end_batch(failed)
