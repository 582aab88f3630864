"""The reference of all commands as one Markdown page, from the Typer app itself."""

import re
from collections.abc import Iterator
from typing import Any, get_args, get_origin

from result_tables import table
from typer.main import get_command

from cxredit_cli.app import COMMANDS, app

OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")

HEAD = """# Commands

What `cxredit COMMAND --help` says, of every command. This page is made from the program when the documents are built.
The files that commands read and write are in [File formats](file-formats.md).

Common to all of them:

- Images are files, folders, zips, patterns such as `films/*.png` (globs), or `-` for paths on standard input
  ([how each is read](../how-to/reading.md)).
- Without `--model`, `./model` is used, else the bundled model. Without `--direction`, `./direction.h5`, else the
  model's own cardiomegaly direction.
- Results go to standard output, with `--json` as one JSON document; progress and warnings go to standard error.
- Exit code 0: done. 1: it could not be done, or some files of a batch could not be read; these are named at the end,
  and the others are done. 2: the input or the options are wrong.
"""


def commands_page() -> str:
    """The whole page: by workflow, each command with its arguments and options."""
    root: Any = get_command(app)
    parts = [HEAD]
    for panel, names in COMMANDS.items():
        parts.append(f"## {panel}\n")
        for name in names:
            for path, command in leaves(root.commands[name], name):
                parts.append(section(path, command))
    return "\n".join(parts)


def leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The commands that do something, with their names: a group has several."""
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from leaves(inner, f"{path} {name}")
    else:
        yield path, command


def section(path: str, command: Any) -> str:
    """One command: how it is called, what it does, its arguments and its options by panel."""
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    words = " ".join(usage(argument) for argument in arguments)
    anchor = path.replace(" ", "-")
    lines = [f"### {path} {{: #{anchor} }}\n", f"```text\ncxredit {path} {words} [OPTIONS]\n```\n".replace("  ", " ")]
    lines += [prose(command.help or ""), ""]
    if arguments:
        rows = [[f"`{usage(argument)}`", cell(argument.help)] for argument in arguments]
        lines += [table(rows, ["argument", ""]), ""]
    panels: dict[str, list[list[str]]] = {}
    for option in command.params:
        if option.param_type_name == "option" and "--help" not in option.opts and not option.hidden:
            panel = getattr(option, "rich_help_panel", None) or "Options"
            panels.setdefault(panel, []).append([spelling(option), cell(option.help), default_of(option)])
    for panel, rows in panels.items():
        lines += [table(rows, [panel, "", "default"]), ""]
    return "\n".join(lines)


def usage(argument: Any) -> str:
    """An argument as it stands in the line of usage."""
    name = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return str(name if argument.required else f"[{name}]")


def spelling(option: Any) -> str:
    """All ways to write an option, and the kind of its value."""
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    return names if option.is_flag else f"{names} {kind_of(option)}"


KINDS = {"Path": "path", "str": "text", "int": "whole number", "float": "number"}


def kind_of(option: Any) -> str:
    """What may be given: a kind of value, within its range, once or repeatedly."""
    annotation = option.type_descriptor.annotation
    inner = next(iter(get_args(annotation)), annotation)
    kind = KINDS.get(inner.__name__, inner.__name__)
    low, high = option.min, option.max
    if low is not None:
        kind += f", at least {low:.12g}" if high is None else f", {low:.12g} to {high:.12g}"
    return f"{kind}; repeatable" if get_origin(annotation) is list else kind


def default_of(option: Any) -> str:
    """The default as it would be typed, or nothing."""
    value = option.default
    if value is None or value is False or value in ((), [], "") or callable(value):
        return ""
    return "on" if value is True else f"`{getattr(value, 'value', value)}`"


def prose(text: str) -> str:
    """Help as Markdown: names in angle brackets are no tags, and lines keep their ends where they were meant."""
    return "\n".join(line.strip() for line in escaped(text).splitlines())


def cell(text: str | None) -> str:
    """Help within one cell of a table."""
    return escaped(" ".join((text or "").split())).replace("|", "\\|")


def escaped(text: str) -> str:
    """Without what Markdown would take for markup, and with options set as code. What is code already stays."""
    parts = text.split("`")
    for place in range(0, len(parts), 2):
        plain = parts[place].replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")
        parts[place] = OPTION.sub(r"`\g<0>`", plain)
    return "`".join(parts)
