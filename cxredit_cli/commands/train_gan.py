"""`cxredit train-gan`: train a StyleGAN2 generator on radiographs."""

from pathlib import Path
from typing import Annotated

import typer

from cxredit_cli.commands.options import (
    INPUT,
    METHOD,
    MODEL,
    OUTPUT,
    DeviceOption,
    JsonOption,
    PrecisionOption,
    SeedOption,
)
from cxredit_cli.commands.spread import GpusOption, start_processes, together


def command(
    images: Annotated[Path, typer.Argument(help="Dataset of `prepare`, or a folder or zip of images.")] = Path(
        "dataset.h5"
    ),
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Model folder to write; run again to carry on.", rich_help_panel=OUTPUT),
    ] = Path("model"),
    resolution: Annotated[
        int | None, typer.Option(help="Picture size, a power of two; default: the dataset's.", rich_help_panel=INPUT)
    ] = None,
    kimg: Annotated[
        float | None, typer.Option(help="Stop after this many thousand images in all.", rich_help_panel=METHOD)
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after this many minutes of training in all.", rich_help_panel=METHOD)
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Settings by name: auto, small, stylegan2, paper256, paper512 or paper1024. Default: small on a "
            "CPU, else auto.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Images that each iteration trains on, over all processes.", rich_help_panel=METHOD),
    ] = None,
    batch_gpu: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Images that a GPU holds at once; it takes its share of the batch in as many steps as that takes. "
            "Default: the whole share.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    lr: Annotated[
        float | None, typer.Option(min=0, help="Learning rate of both networks.", rich_help_panel=METHOD)
    ] = None,
    gamma: Annotated[
        float | None, typer.Option(min=0, help="R1 weight at the final resolution.", rich_help_panel=METHOD)
    ] = None,
    pl_weight: Annotated[
        float, typer.Option(min=0, help="Path length weight, in the last stage; 0 is off.", rich_help_panel=METHOD)
    ] = 2.0,
    channel_base: Annotated[
        int | None, typer.Option(min=1, help="Feature maps times resolution, of both networks.", rich_help_panel=METHOD)
    ] = None,
    channel_max: Annotated[
        int | None, typer.Option(min=1, help="Largest number of feature maps in a layer.", rich_help_panel=METHOD)
    ] = None,
    dim: Annotated[
        int | None, typer.Option(min=1, help="Dimensions of z and of w; default 512.", rich_help_panel=METHOD)
    ] = None,
    augment: Annotated[
        bool, typer.Option(help="Adaptive augmentation of what the discriminator sees.", rich_help_panel=METHOD)
    ] = True,
    grow_from: Annotated[
        int | None,
        typer.Option(
            help="First picture size when growing; 0 is off. Default: 32 on a CPU, else off.", rich_help_panel=METHOD
        ),
    ] = None,
    grow_kimg: Annotated[
        str | None,
        typer.Option(help="Thousand images at each size before the last. Default: 30,60.", rich_help_panel=METHOD),
    ] = None,
    init_from: Annotated[
        Path | None,
        typer.Option(
            help="Start from the networks of this model, of the same or a smaller resolution and width.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    snapshot_kimg: Annotated[
        float | None,
        typer.Option(
            help="Thousand images between checkpoints and sample grids. Default: 50, on a CPU 2.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    name: Annotated[
        str, typer.Option(help="Name of the model, stored in it and in what it makes.", rich_help_panel=MODEL)
    ] = "model",
    gpus: GpusOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    json: JsonOption = False,
) -> None:
    """Train a StyleGAN2 generator (dataset.h5 -> model/). Run the same command again to carry on."""
    start_processes(gpus)

    from cxredit_cli.commands.console import print_json, stdout
    from cxredit_cli.devices import resolve_precision
    from cxredit_cli.errors import InputError
    from cxredit_cli.radiographs.provenance import DISCLAIMER
    from cxredit_cli.storage.dataset import is_prepared
    from cxredit_cli.storage.image_folder import open_images
    from cxredit_cli.storage.models import DISCRIMINATOR, GENERATOR, load_model
    from cxredit_cli.training.gan import train_gan
    from cxredit_cli.training.images import provenance
    from cxredit_cli.training.presets import GROW_FROM, gan_config

    if kimg is None and minutes is None:
        kimg = 25000.0
    with together(device, own_gpus=True) as (processes, target, progress):
        dtype = resolve_precision(precision, target)
        dataset = processes.first_alone(
            lambda: open_images(images, None if is_prepared(images) else resolution, progress=progress)
        )
        side = resolution or dataset.resolution
        if side < 8 or side & (side - 1):
            raise InputError(
                f"--resolution must be a power of two of at least 8, but it is {side}; prepare the images so."
            )
        try:
            spent = None if grow_kimg is None else tuple(float(part) for part in grow_kimg.split(",") if part)
        except ValueError:
            raise InputError(f"--grow-kimg takes numbers such as 30,60, but it is '{grow_kimg}'.") from None
        initial = None if init_from is None else load_model(init_from, parts=(GENERATOR, DISCRIMINATOR))
        begun = None if initial is None else initial.generator.config
        own: dict[str, tuple[int, ...] | None] = {}
        same_side = initial is not None and side == initial.generator.resolution
        if initial is not None and same_side and channel_base is None and channel_max is None:
            # What follows no base and maximum cannot be asked for by these options: it stays unless they are given.
            own["generator_channels"] = initial.generator.config.channels
            own["discriminator_channels"] = initial.discriminator.config.channels if initial.discriminator else None
        config = gan_config(
            side,
            target,
            dtype,
            preset=preset,
            grow_from=grow_from,
            grow_kimg=spent,
            pl_weight=pl_weight,
            overrides={
                "batch": batch,
                "lr": lr,
                "gamma": gamma,
                "channel_base": channel_base,
                "channel_max": channel_max,
                "dim": dim if dim is not None or begun is None else begun.w_dim,
                "mapping_layers": None if begun is None else begun.mapping_layers,
                "augment_target": None if augment else 0.0,
                **own,
            },
            seed=seed,
            smallest=GROW_FROM if initial is None else initial.generator.resolution,
        )
        run = train_gan(
            dataset,
            output,
            config,
            kimg=kimg,
            minutes=minutes,
            snapshot_kimg=snapshot_kimg or (2.0 if target.type == "cpu" else 50.0),
            device=target,
            precision=dtype,
            init_from=initial,
            info={"name": name, "intended_use": DISCLAIMER, **provenance(dataset)},
            progress=progress,
            processes=processes,
            batch_gpu=batch_gpu,
        )
    if not processes.first:
        return
    result = {"model": str(output), "kimg": run.nimg / 1000, "minutes": round(run.seconds / 60, 1)}
    if json:
        print_json(result)
    else:
        stdout.print(f"{output}: {side}x{side}, {result['kimg']:g} kimg in {result['minutes']:g} minutes of training.")
