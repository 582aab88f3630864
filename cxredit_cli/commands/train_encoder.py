"""`cxredit train-encoder`: train the encoder of a model on synthetic and real radiographs."""

from pathlib import Path
from typing import Annotated

import typer

from cxredit_cli.commands.options import METHOD, MODEL, DeviceOption, JsonOption, PrecisionOption, SeedOption
from cxredit_cli.commands.spread import GpusOption, start_processes, together


def command(
    images: Annotated[Path, typer.Argument(help="Dataset of `prepare`, or a folder or zip of images.")] = Path(
        "dataset.h5"
    ),
    model: Annotated[
        Path | None,
        typer.Option(help="The model folder that gets the encoder; default ./model.", rich_help_panel=MODEL),
    ] = None,
    depth: Annotated[
        int, typer.Option(help="Layers of each of the two ResNets: 18, 34, 50 or 101.", rich_help_panel=METHOD)
    ] = 101,
    width: Annotated[
        int, typer.Option(help="Channels of the ResNets' stems; smaller is faster.", rich_help_panel=METHOD)
    ] = 64,
    passes: Annotated[
        int,
        typer.Option(
            min=1, help="Passes of the encoder over an image; each corrects the last (ReStyle).", rich_help_panel=METHOD
        ),
    ] = 1,
    principal: Annotated[
        bool,
        typer.Option(
            help="Answers, and errors of codes, in coordinates that show about equally; synthetic images then teach by "
            "their codes alone, which is faster.",
            rich_help_panel=METHOD,
        ),
    ] = False,
    collaborate: Annotated[
        int,
        typer.Option(
            min=0,
            help="Steps of optimisation whose codes of real images teach the encoder; 0: none.",
            rich_help_panel=METHOD,
        ),
    ] = 0,
    space: Annotated[
        str, typer.Option(help="Space of its codes: w, or w+ for one code per layer.", rich_help_panel=METHOD)
    ] = "w",
    batch: Annotated[
        int,
        typer.Option(
            min=1,
            help="Synthetic images in each iteration, and as many real ones, over all processes.",
            rich_help_panel=METHOD,
        ),
    ] = 16,
    kimg: Annotated[
        float | None, typer.Option(help="Stop after this many thousand real images in all.", rich_help_panel=METHOD)
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after this many minutes of training in all.", rich_help_panel=METHOD)
    ] = None,
    lr: Annotated[float, typer.Option(min=0, help="Learning rate of the encoder.", rich_help_panel=METHOD)] = 3e-4,
    cool_down: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share of the budget, at its end, over which the learning rate falls to 0.",
            rich_help_panel=METHOD,
        ),
    ] = 0.0,
    side: Annotated[
        int | None,
        typer.Option(
            help="Pixels of the side at which real images are compared with reconstructions; half is faster. Default: "
            "the model's own.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    code_weight: Annotated[
        float,
        typer.Option(help="Weight of the error of codes, on synthetic images.", rich_help_panel=METHOD),
    ] = 1.0,
    pixel_weight: Annotated[
        float, typer.Option(help="Weight of the squared error of pixels.", rich_help_panel=METHOD)
    ] = 1.0,
    ssim_weight: Annotated[
        float, typer.Option(help="Weight of 1 - SSIM (structural similarity).", rich_help_panel=METHOD)
    ] = 1.0,
    feature_weight: Annotated[
        float, typer.Option(help="Weight of the distance of feature maps.", rich_help_panel=METHOD)
    ] = 1.0,
    anatomy_weight: Annotated[
        float,
        typer.Option(
            min=0,
            help="Weight of 1 - Dice overlap of heart and lungs, as the anatomy network outlines them; 0 is off.",
            rich_help_panel=METHOD,
        ),
    ] = 0.0,
    heart_weight: Annotated[
        float,
        typer.Option(
            min=0,
            help="How much more pixels count that lie near the border of the heart; 0 is off.",
            rich_help_panel=METHOD,
        ),
    ] = 0.0,
    ema_kimg: Annotated[
        float,
        typer.Option(
            min=0, help="Half-life of the averaged weights, in thousand images; 0 is off.", rich_help_panel=METHOD
        ),
    ] = 10.0,
    init_from: Annotated[
        Path | None, typer.Option(help="Start from the encoder of this model.", rich_help_panel=MODEL)
    ] = None,
    gpus: GpusOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    json: JsonOption = False,
) -> None:
    """Train the encoder of a model (dataset.h5 -> model/). Run the same command again to carry on."""
    start_processes(gpus)

    from cxredit_cli.commands.console import print_json, stdout
    from cxredit_cli.errors import InputError
    from cxredit_cli.inversion.invert import gradient_precision
    from cxredit_cli.storage.dataset import is_prepared
    from cxredit_cli.storage.image_folder import open_images
    from cxredit_cli.storage.models import BUNDLED, ENCODER, GENERATOR, load_model
    from cxredit_cli.training.encoder import EncoderTraining, train_encoder
    from cxredit_cli.training.encoder_losses import LossWeights

    if space not in ("w", "w+"):
        raise InputError(f"--space must be w or w+, but it is '{space}'.")
    if kimg is None and minutes is None:
        kimg = 200.0
    with together(device, own_gpus=True) as (processes, target, progress):
        dtype = gradient_precision(precision, target)
        loaded = load_model(model, target, parts=(GENERATOR,))
        if loaded.path.resolve() == BUNDLED.resolve():
            raise InputError(
                "train-encoder writes into the model's folder and there is no ./model; train one with `cxredit "
                f"train-gan`, or copy {BUNDLED} to ./model."
            )
        loaded.generator.synthesis.precision = dtype
        side = loaded.generator.resolution
        initial = None
        if init_from is not None:
            initial = load_model(init_from, parts=(GENERATOR, ENCODER)).encoder
            if initial is None:
                raise InputError(f"--init-from {init_from}: this model has no encoder; name one that has.")
        options = EncoderTraining(
            space="w" if space == "w" else "w+",
            depth=depth,
            width=width,
            passes=passes,
            principal=principal,
            collaborate=collaborate,
            batch=batch,
            seed=seed,
            learning_rate=lr,
            cool_down=cool_down,
            weights=LossWeights(code_weight, pixel_weight, ssim_weight, feature_weight, anatomy_weight),
            heart=heart_weight,
            side=side,
            ema_kimg=ema_kimg,
        )
        dataset = processes.first_alone(
            lambda: open_images(images, None if is_prepared(images) else side, progress=progress)
        )
        figures = train_encoder(
            loaded,
            dataset,
            options,
            kimg=kimg,
            minutes=minutes,
            progress=progress,
            initial=initial,
            processes=processes,
        )
    if not processes.first:
        return
    if json:
        print_json({"model": str(loaded.path), **figures})
    else:
        stdout.print(
            f"{loaded.path}: encoder trained. Held-out radiographs {figures['val_psnr']:.2f} dB, SSIM "
            f"{figures['val_ssim']:.3f}; synthetic {figures['synthetic_psnr']:.2f} dB, code error "
            f"{figures['code_error']:.3f} (1 is the mean code's).",
            markup=False,
        )
