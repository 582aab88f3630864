"""`cxredit import`: a StyleGAN2 that another tool trained, as a model."""

from pathlib import Path
from typing import Annotated

import typer

from cxredit_cli.commands.console import print_json, stdout
from cxredit_cli.commands.options import MODEL, OUTPUT, JsonOption


def command(
    network: Annotated[
        Path,
        typer.Argument(help="A pickle (.pkl) of NVlabs' StyleGAN2, or a checkpoint (.pt) of rosinality's."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the model to write.", rich_help_panel=OUTPUT)
    ] = Path("model"),
    name: Annotated[
        str | None,
        typer.Option(
            help="Name of the model, stored in it and in what it makes; default: the file's.", rich_help_panel=MODEL
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make a model of a StyleGAN2 that another tool trained (-> model/), reading its file as data alone.

    No code of the file runs: a pickle that calls for anything else than tensors and plain containers is refused by
    name. Networks of three channels become networks of grey. Then `invert`, `direction`, `apply` and all others work;
    `train-encoder` makes an encoder for it.
    """
    from cxredit_cli.errors import InputError
    from cxredit_cli.storage.import_networks import import_networks
    from cxredit_cli.storage.models import load_model, save_discriminator, save_generator

    if (output / "model.json").exists():
        raise InputError(f"{output} holds a model already; name another folder with -o.")
    found = import_networks(network)
    save_generator(output, found.generator, {"name": name or network.stem, **found.said})
    if found.discriminator is not None:
        save_discriminator(output, found.discriminator)
    model = load_model(output, parts=("generator",))
    config = found.generator.config
    if json:
        print_json({"model": str(output), "name": model.name, **found.said, "resolution": config.resolution})
        return
    with_ = "with its discriminator" if found.discriminator else "without a discriminator of the residual kind"
    grey = f", made grey of {found.said['image_channels']} channels" if found.said["image_channels"] != 1 else ""
    what = f"{found.said['imported_as']} at {config.resolution}x{config.resolution}"
    stdout.print(f"{output}: {what}{grey}, {with_}; {model.name}", markup=False)
