"""`cxredit export`: the model's networks as files that other tools run."""

from pathlib import Path
from typing import Annotated

import typer

from cxredit_cli.commands.console import ConsoleProgress, print_json, stdout
from cxredit_cli.commands.options import OUTPUT, JsonOption, ModelOption


def command(
    model: ModelOption = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.", rich_help_panel=OUTPUT)] = Path(
        "exported"
    ),
    format: Annotated[
        str,
        typer.Option(
            help="What to write: onnx (for ONNX Runtime and many others), torch (programs of torch.export), or both "
            "with a comma between.",
            rich_help_panel=OUTPUT,
        ),
    ] = "onnx,torch",
    json: JsonOption = False,
) -> None:
    """Write the model's networks as files that other tools run without cxredit (-> exported/).

    These are the generator, in two parts: synthesis (from a code, w or w+, to an image) and mapping (from random
    numbers to a code); and the encoder, if the model has one (from an image to its code). Each file takes any number
    of images at a time, and is checked against the network that it was made of. export.json says what each takes and
    gives.
    """
    from cxredit_cli.exporting.export_model import export_model, parse_formats
    from cxredit_cli.storage.models import load_model

    formats = parse_formats(format)
    loaded = load_model(model)
    files = export_model(loaded, output, formats, ConsoleProgress())
    if json:
        checked = [{"file": str(file.path), "largest_difference": file.difference} for file in files]
        print_json({"output": str(output), "model": loaded.name, "files": checked})
        return
    for file in files:
        if file.difference is None:
            found = "not checked, which takes onnxruntime: pip install 'cxredit[onnx]'"
        else:
            found = f"differs from the network by at most {file.difference:.1e} of the largest value"
        stdout.print(f"{file.path}: {file.path.stat().st_size / 1e6:.1f} MB, {found}", markup=False)
    stdout.print(f"{loaded.name}, described in {output / 'export.json'}", markup=False)
