"""What the commands share that work in several processes at once."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Annotated, NoReturn, TextIO

import typer

from cxredit_cli.commands.console import ConsoleProgress, stderr, stdout
from cxredit_cli.commands.options import METHOD
from cxredit_cli.errors import InputError
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.torchrun import Place

if TYPE_CHECKING:
    import torch

    from cxredit_cli.processes import Processes

GpusOption = Annotated[
    int | None,
    typer.Option(
        "--gpus",
        min=1,
        help="Work on this many GPUs of this machine, one process each; on a CPU, in this many processes.",
        rich_help_panel=METHOD,
    ),
]


def start_processes(gpus: int | None) -> None:
    """Where `--gpus` asks for several processes, start them with this command's own words and leave with them."""
    if gpus is None:
        return
    place = Place.of(os.environ)
    if not place.alone:
        if place.count_here != gpus:
            raise InputError(
                f"--gpus {gpus} was asked for, but torchrun started {place.count_here} processes here; leave it out."
            )
    elif gpus > 1:
        from cxredit_cli.processes import start

        raise typer.Exit(start(gpus, sys.argv[1:]))


@contextmanager
def together(device: str, own_gpus: bool = False) -> Iterator[tuple["Processes", "torch.device", Progress]]:
    """The processes that do this command's work, this one's device, and its progress; the first alone prints.

    Processes of one machine may share its GPUs unless they need their `own_gpus`.
    """
    import torch

    from cxredit_cli.devices import own_device, resolve_device
    from cxredit_cli.processes import join

    place = Place.of(os.environ)
    target = resolve_device(own_device(device, place, torch.cuda.device_count(), shared=not own_gpus))
    with join(target, place, _end_at_once) as processes:
        if not processes.first:
            stdout.quiet = stderr.quiet = True
        yield processes, target, ConsoleProgress() if processes.first else SilentProgress()


def paths_from_stdin(inputs: Sequence[str], processes: "Processes") -> TextIO:
    """Standard input, which several processes cannot read at once: the first reads it for all."""
    if processes.count == 1 or "-" not in inputs:
        return sys.stdin
    return StringIO(processes.from_first(sys.stdin.read))


def refuse_several(command: str) -> None:
    """Raise InputError where torchrun started several processes: of `command` each would do all."""
    place = Place.of(os.environ)
    if not place.alone:
        raise InputError(
            f"{command} is work for one process, but torchrun started {place.count}, which would all do the same; run "
            "it without torchrun."
        )


def _end_at_once(sentence: str, exit_code: int) -> NoReturn:
    """Say why, if anything is to be said, and end, from any thread, whatever the others wait for."""
    if sentence:
        sys.stderr.write(f"cxredit: {sentence}\n")
        sys.stderr.flush()
    os._exit(exit_code)
