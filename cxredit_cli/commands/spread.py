"""What the commands share that work in several processes at once."""

import os
import sys
from typing import Annotated, NoReturn

import typer

from cxredit_cli.commands.options import METHOD

GpusOption = Annotated[
    int | None,
    typer.Option(
        "--gpus",
        min=1,
        help="Train on so many GPUs of this machine, one process each; on a CPU, in so many processes.",
        rich_help_panel=METHOD,
    ),
]


def start_processes(gpus: int | None) -> None:
    """Where `--gpus` asks for several processes, start them with this command's own words and leave with them."""
    if gpus is None:
        return
    from cxredit_cli.errors import InputError
    from cxredit_cli.training.processes import start, started_by_torchrun

    if started_by_torchrun(os.environ):
        here = os.environ.get("LOCAL_WORLD_SIZE", "")
        if here != str(gpus):
            raise InputError(f"--gpus {gpus} was asked for, but torchrun started {here} processes here; leave it out.")
    elif gpus > 1:
        raise typer.Exit(start(gpus, sys.argv[1:]))


def end_at_once(sentence: str) -> NoReturn:
    """Say why and end, from any thread, whatever the others wait for."""
    sys.stderr.write(f"cxredit: {sentence}\n")
    sys.stderr.flush()
    os._exit(1)
