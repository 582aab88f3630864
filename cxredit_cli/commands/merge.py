"""`cxredit merge`: several datasets as one."""

from pathlib import Path
from typing import Annotated

import typer

from cxredit_cli.commands.console import ConsoleProgress, print_json, stdout
from cxredit_cli.commands.options import OUTPUT, JsonOption


def command(
    datasets: Annotated[list[Path], typer.Argument(help="Datasets of `prepare` and of `apply --to-dataset`.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The dataset to write.", rich_help_panel=OUTPUT)
    ] = Path("merged.h5"),
    json: JsonOption = False,
) -> None:
    """Put datasets together, such as films and edits of them (-> merged.h5).

    They must have one size and one way of splitting patients. Every image keeps its split, and edits stay marked.
    """
    from cxredit_cli.storage.merge_datasets import merge_datasets

    merged = merge_datasets(datasets, output, ConsoleProgress())
    if json:
        print_json(
            {
                "dataset": str(merged.path),
                "images": merged.images,
                "patients": merged.patients,
                "edited": merged.edited,
                "parts": [{"dataset": str(path), "images": images} for path, images in merged.parts],
            }
        )
        return
    for path, images in merged.parts:
        stdout.print(f"  {images:>8,} images of {path}", markup=False)
    stdout.print(
        f"{merged.path}: {merged.images:,} images of {merged.patients:,} patients; {merged.edited:,} images are edited",
        markup=False,
    )
