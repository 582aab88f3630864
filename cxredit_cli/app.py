"""The `cxredit` command line: one line a command, and the one place where errors become exit codes."""

import errno
import re
import sys
from importlib import import_module
from io import TextIOWrapper
from os import environ
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cxredit_cli import __version__
from cxredit_cli.commands.spread import refuse_several
from cxredit_cli.errors import CxreditError, InputError
from cxredit_cli.torchrun import Place

COMMANDS = {  # by workflow
    "Data and training": ("prepare", "merge", "train-gan", "train-encoder", "import"),
    "Codes and directions": ("invert", "direction", "lda", "edit-heart"),
    "Edits": ("apply", "demo", "generate", "export"),
    "Judgement": ("measure", "explain", "evaluate"),
    "This installation": ("models", "bench", "doctor"),
}

MODULES = {"import": "import_model"}  # of commands whose names may not stand in Python
CARRY_ON = (
    "prepare",
    "train-gan",
    "train-encoder",
    "invert",
    "apply",
    "explain",
    "generate",
)  # after they were stopped
# What may be run in several processes; `invert` is a part for each, and `direction` knows itself which ways are spread.
SPREAD = ("train-gan", "train-encoder", "invert", "direction", "apply", "generate", "measure", "evaluate")
ESCAPED = "backslashreplace"
# What torch says of a GPU, and of a processor.
OUT_OF_MEMORY = "out of memory|not enough memory|can't allocate memory"


class ErrorsToExitCodes(TyperGroup):
    """Runs a command; what goes wrong is one sentence on stderr and an exit code, never a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Invoke the chosen command."""
        try:
            return super().invoke(ctx)
        except CxreditError as error:
            if isinstance(error, InputError) and error.found_by_all and said_by_another(ctx.invoked_subcommand):
                raise typer.Exit(error.exit_code) from None
            fail(str(error), error.exit_code)
        except KeyboardInterrupt:
            if said_by_another(ctx.invoked_subcommand):
                raise typer.Exit(130) from None
            carries_on = ctx.invoked_subcommand in CARRY_ON
            fail("Stopped; the same command carries on where it was." if carries_on else "Stopped.", 130)
        except OSError as error:
            fail(*describe_os_error(error))
        except (RuntimeError, MemoryError) as error:
            if not isinstance(error, MemoryError) and not re.search(OUT_OF_MEMORY, str(error), re.IGNORECASE):
                raise
            fail("The device ran out of memory; try a smaller --batch, or --device cpu.", 1)


def said_by_another(command: str | None) -> bool:
    """Whether this is one of several processes that all find the same: the first on each machine says it."""
    return command != "invert" and Place.of(environ).rank_here > 0


def describe_os_error(error: OSError) -> tuple[str, int]:
    """One sentence and the exit code for an error of the operating system; re-raise what is not the user's."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"No space is left on the disk for {error.filename or 'the output'}; free some and run again.", 1
    if isinstance(error, BrokenPipeError):
        return "The program that reads the output closed it.", 1
    if isinstance(error, FileExistsError) and error.filename is not None:
        return f"{error.filename} is a file where a folder is expected; name another.", 2
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError):
        return f"{error.strerror}: {error.filename}." if error.filename else f"{error.strerror}.", 2
    if error.errno is not None and error.strerror:
        return f"{error.strerror}: {error.filename or 'while reading or writing'}.", 1
    raise error


def fail(sentence: str, exit_code: int) -> None:
    """Print one sentence on stderr and leave with `exit_code`."""
    sys.stderr.write(f"cxredit: {sentence}\n")
    raise typer.Exit(exit_code)


app = typer.Typer(
    name="cxredit",
    cls=ErrorsToExitCodes,
    help="Disease-aware editing of chest X-rays. For research and education, not for diagnosis.",
    no_args_is_help=True,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _before(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version of this installation and leave.", is_eager=True)
    ] = False,
) -> None:
    """Disease-aware editing of chest X-rays. For research and education, not for diagnosis."""
    if version:
        sys.stdout.write(f"cxredit {__version__}\n")
        raise typer.Exit
    if ctx.invoked_subcommand not in SPREAD:
        refuse_several(str(ctx.invoked_subcommand))


for _panel, _name in ((panel, name) for panel, names in COMMANDS.items() for name in names):
    _module = import_module(f"cxredit_cli.commands.{MODULES.get(_name, _name.replace('-', '_'))}")
    if hasattr(_module, "group"):  # a command with commands of its own
        app.add_typer(_module.group, name=_name, rich_help_panel=_panel)
    else:
        app.command(_name, rich_help_panel=_panel)(_module.command)


def main() -> None:
    """Entry point of the console script."""
    # Names of files may hold bytes that are no text: they are read as they are, and shown as escapes.
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, ESCAPED), (sys.stderr, ESCAPED)):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=errors)
    app()
