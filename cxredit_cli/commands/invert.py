"""`cxredit invert`: radiographs to codes."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxredit_cli.commands.at_the_door import open_door, say_suspects, suspects_document
from cxredit_cli.commands.console import ConsoleProgress, end_batch, print_json, stderr, stdout
from cxredit_cli.commands.options import (
    BATCH,
    INPUT,
    METHOD,
    MODEL,
    OUTPUT,
    AnyViewOption,
    BatchOption,
    DeviceOption,
    FitNoiseOption,
    JsonOption,
    MethodOption,
    ModelOption,
    OnSuspectOption,
    PrecisionOption,
    RightOption,
    SpaceOption,
    StepsOption,
)
from cxredit_cli.inversion import STEPS

if TYPE_CHECKING:
    from cxredit_cli.inversion.invert_many import InvertReport


def command(
    inputs: Annotated[
        list[str], typer.Argument(help="Images, folders, globs, zips, datasets (.h5); - reads paths from stdin.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file of codes; it is appended to.", rich_help_panel=OUTPUT)
    ] = Path("codes.h5"),
    model: ModelOption = None,
    method: MethodOption = None,
    space: SpaceOption = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="Where the search begins: at the encoder's answer (hybrid), at the mean code or at the nearest of "
            "1024 random codes (optimize).",
            rich_help_panel=METHOD,
        ),
    ] = None,
    steps: StepsOption = STEPS,
    target_psnr: Annotated[
        float | None,
        typer.Option(help="Stop the search for an image once its PSNR reaches this many dB.", rich_help_panel=METHOD),
    ] = None,
    patience: Annotated[
        int,
        typer.Option(
            min=0,
            help="Stop the search for an image that gained less than 0.05 dB over this many steps; 0: never.",
            rich_help_panel=METHOD,
        ),
    ] = 50,
    perceptual_weight: Annotated[
        float,
        typer.Option(
            min=0,
            help="Weight of the perceptual loss: how alike the images look to another network.",
            rich_help_panel=METHOD,
        ),
    ] = 0.0,
    perceptual: Annotated[
        str,
        typer.Option(
            help="Network that judges how alike images look: model (its own discriminator) or lpips (where its "
            "weights are on this machine).",
            rich_help_panel=MODEL,
        ),
    ] = "model",
    fit_noise: FitNoiseOption = False,
    tune: Annotated[
        bool,
        typer.Option(
            "--tune",
            help="Adjust the generator to each image (pivotal tuning); the codes keep the adjustment.",
            rich_help_panel=METHOD,
        ),
    ] = False,
    tune_steps: Annotated[
        int, typer.Option(min=1, help="Steps of pivotal tuning for each image, by --tune.", rich_help_panel=METHOD)
    ] = 100,
    tune_rank: Annotated[
        int,
        typer.Option(
            min=1,
            help="Rank of each layer's change by --tune; a higher rank fits better and takes more space.",
            rich_help_panel=METHOD,
        ),
    ] = 4,
    shard: Annotated[
        str | None,
        typer.Option(
            help="Do part I of N, such as 2/4 (-> codes.2-of-4.h5). Under torchrun: its own.", rich_help_panel=INPUT
        ),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Put parts together: codes.*-of-4.h5 -> codes.h5.", rich_help_panel=OUTPUT)
    ] = False,
    split: Annotated[
        str | None,
        typer.Option(help="Take only the images of this split of a dataset: train or val.", rich_help_panel=INPUT),
    ] = None,
    view: Annotated[
        str | None,
        typer.Option(help="Take only the images of a dataset with this projection, PA or AP.", rich_help_panel=INPUT),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Take only the images of a dataset that have this label.", rich_help_panel=INPUT)
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Take at most this many images, the first ones.", rich_help_panel=INPUT)
    ] = None,
    fit: Annotated[
        str | None,
        typer.Option(
            help="How an image that is not square becomes one: crop (the centre square) or pad (everything, with "
            "black). Default: crop; images of datasets are squares already.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    on_suspect: OnSuspectOption = "warn",
    right: RightOption = False,
    any_view: AnyViewOption = False,
    batch: BatchOption = BATCH,
    grid: Annotated[
        Path | None, typer.Option(help="Write a PNG of images above reconstructions.", rich_help_panel=OUTPUT)
    ] = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    json: JsonOption = False,
) -> None:
    """Find the codes of radiographs (-> codes.h5), with PSNR and SSIM of each reconstruction.

    Run again to carry on: images that the file holds already are skipped.
    """
    import os

    from cxredit_cli.atomic import refuse_folders

    refuse_folders(output, grid)
    if merge:
        _merge(inputs, output, json)
        return

    import torch

    from cxredit_cli.devices import own_device, resolve_device
    from cxredit_cli.inversion.inputs import choose_fit, list_targets
    from cxredit_cli.inversion.invert import choose_method, choose_space, choose_start, gradient_precision
    from cxredit_cli.inversion.invert_many import InvertOptions, invert_to_file
    from cxredit_cli.inversion.optimize import Settings
    from cxredit_cli.inversion.perceptual import choose_judge, lpips_weights
    from cxredit_cli.inversion.pivotal_tuning import TuneSettings
    from cxredit_cli.inversion.shards import choose_shard
    from cxredit_cli.storage.models import DISCRIMINATOR, ENCODER, GENERATOR, load_model
    from cxredit_cli.torchrun import Place

    place = Place.of(os.environ)
    part = choose_shard(shard, place)
    judge = choose_judge(perceptual, perceptual_weight)
    if judge != "model":
        stderr.print(f"Pictures are compared by LPIPS of {lpips_weights()[judge]}.", markup=False)
    target_device = resolve_device(own_device(device, place, torch.cuda.device_count(), shared=True))
    dtype = gradient_precision(precision, target_device)
    targets = list_targets(inputs, sys.stdin, split, view, label, limit, ConsoleProgress(), any_view)
    parts = (GENERATOR, ENCODER, DISCRIMINATOR) if perceptual_weight else (GENERATOR, ENCODER)
    loaded = load_model(model, target_device, parts)
    loaded.generator.synthesis.precision = dtype
    if method is None and start in ("mean", "nearest"):
        method = "optimize"
    chosen = choose_method(loaded, method)
    if method is None and chosen == "optimize":
        stderr.print(f"The model in {loaded.path} has no encoder: using --method optimize.", markup=False)
    options = InvertOptions(
        chosen,
        choose_space(loaded, chosen, space),
        choose_fit(targets, fit),
        steps,
        batch,
        fit_noise,
        choose_start(loaded, chosen, start),
        Settings(
            perceptual_weight=perceptual_weight,
            perceptual=judge,
            target_psnr=target_psnr,
            patience=patience or None,
        ),
        TuneSettings(tune_steps, tune_rank) if tune else None,
        part,
    )
    output = part.path(output)
    door = open_door(on_suspect, right, target_device)
    report = invert_to_file(loaded, part.of(targets, batch), options, output, ConsoleProgress(), grid, door)
    if json:
        print_json(_document(report, output, chosen, options.space))
    else:
        _print(report, output)
    say_suspects(report.suspects)
    end_batch(report.failed)


def _merge(inputs: list[str], output: Path, json: bool) -> None:
    from cxredit_cli.inversion.shards import merge

    count = merge([Path(given) for given in inputs], output)
    if json:
        print_json({"codes": str(output), "parts": inputs, "count": count})
    else:
        stdout.print(f"{output}: {count} codes of {len(inputs)} parts", markup=False)


def _document(report: "InvertReport", output: Path, method: str, space: str) -> dict[str, object]:
    return {
        "codes": str(output),
        "method": method,
        "space": space,
        "inverted": [{"source": name, "psnr": psnr, "ssim": ssim} for name, psnr, ssim in report.rows],
        "suspects": suspects_document(report.suspects),
        "already_done": report.already_done,
        "failed": [{"source": name, "reason": reason} for name, reason in report.failed],
    }


def _print(report: "InvertReport", output: Path) -> None:
    width = max((len(name) for name, _, _ in report.rows), default=0)
    for name, psnr, ssim in report.rows:
        stdout.print(f"{name:{width}}  {psnr:6.2f} dB  SSIM {ssim:.3f}", markup=False)
    line = f"{output}: {len(report.rows)} inverted"
    if report.rows:
        from statistics import fmean

        line += f", mean {fmean(row[1] for row in report.rows):.2f} dB, SSIM {fmean(row[2] for row in report.rows):.3f}"
    if report.already_done:
        line += f"; {report.already_done} were there already"
    if report.failed:
        line += f"; {len(report.failed)} could not be read"
    stdout.print(line, markup=False)
