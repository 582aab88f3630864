"""`cxredit models`: the models at hand."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxredit_cli.commands.console import end_batch, print_json, stdout
from cxredit_cli.commands.options import JsonOption

if TYPE_CHECKING:
    from cxredit_cli.storage.model_catalogue import ModelEntry


def command(
    folders: Annotated[list[Path] | None, typer.Argument(help="Other model folders, besides ./model.")] = None,
    json: JsonOption = False,
) -> None:
    """List the models at hand: ./model, the bundled one and any folders given, and what each brings."""
    from dataclasses import asdict

    from cxredit_cli.storage.model_catalogue import list_models

    entries, failed = list_models(folders or [])
    if json:
        unusable = [{"path": path, "reason": reason} for path, reason in failed]
        print_json({"models": [asdict(entry) for entry in entries], "failed": unusable})
    else:
        for entry in entries:
            _print(entry)
    end_batch(failed)


def _print(entry: "ModelEntry") -> None:
    def say(name: str, text: str) -> None:
        stdout.print(f"  {name:11} {text}", markup=False)

    marks = [mark for mark, there in (("bundled", entry.bundled), ("the default here", entry.default)) if there]
    stdout.print(f"{entry.path}" + (f" ({', '.join(marks)})" if marks else ""), markup=False)
    say("model", f"{entry.name} [{entry.fingerprint}], {entry.resolution}x{entry.resolution}, {entry.megabytes:g} MB")
    if entry.kimg is not None:
        say("trained", f"on {entry.kimg:g} thousand images shown")
    if entry.data:
        # The source is a sentence or two; the counts are short.
        counts = [f"{key} {value}" for key, value in entry.data.items() if key != "source"]
        say("data", ", ".join(counts))
        if "source" in entry.data:
            say("", str(entry.data["source"]))
    parts = {"encoder": entry.encoder, "discriminator": entry.discriminator, "anatomy network": entry.anatomy}
    say("has", ", ".join(name for name, there in parts.items() if there) or "a generator alone")
    for direction in entry.directions:
        units = ", ".join(f"{name} {value:+.3g}" for name, value in direction.per_unit.items())
        say("direction", f"{direction.name}: {direction.method}" + (f"; strength 1: {units}" if units else ""))
    for problem in entry.problems:
        say("PROBLEM", problem)
