"""`cxredit evaluate`: how good a model is, one section a flag."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxredit_cli.commands.console import ConsoleProgress, print_json, stderr, stdout

if TYPE_CHECKING:
    from cxredit_cli.evaluation.realism import Realism, Value

SECTIONS = ("--realism",)


def command(
    realism: Annotated[
        bool, typer.Option("--realism", help="How far generated radiographs are from real ones.")
    ] = False,
    model: Annotated[Path | None, typer.Option(help="Default: ./model, else the bundled one.")] = None,
    images: Annotated[Path, typer.Option(help="Real images: a dataset of `prepare`, a folder or a zip.")] = Path(
        "dataset.h5"
    ),
    split: Annotated[
        str | None,
        typer.Option(help="Of the images: train, val or all. Default: val, whose patients no training saw; else all."),
    ] = None,
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="Real images at most, and as many generated ones.")] = 2000,
    truncation_psi: Annotated[float, typer.Option(help="1: all variety; towards 0: nearer to the mean.")] = 1.0,
    output: Annotated[Path, typer.Option("--output", "-o", help="The report to write.")] = Path("evaluation.json"),
    seed: Annotated[int, typer.Option(min=0, help="Everything random follows from it.")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 32,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="Of the generator: auto, fp32 (as in generate), bf16 or fp16.")
    ] = "fp32",
    json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON document.")] = False,
) -> None:
    """Measure a model against real radiographs (dataset.h5 -> evaluation.json). Name the sections: --realism."""
    from json import dumps

    from cxredit_cli.devices import resolve_device, resolve_precision
    from cxredit_cli.errors import InputError
    from cxredit_cli.storage.atomic import write_text
    from cxredit_cli.storage.dataset import is_prepared, open_images
    from cxredit_cli.storage.models import load_model

    if not realism:
        raise InputError(f"Name what to evaluate; the sections are {', '.join(SECTIONS)}.")
    target = resolve_device(device)
    loaded = load_model(model, target, parts=("generator",))
    loaded.generator.synthesis.precision = resolve_precision(precision, target)
    progress = ConsoleProgress()
    padded = loaded.info.get("preprocessing", {}).get("fit") == "pad"
    dataset = open_images(images, loaded.generator.resolution, "pad" if padded else "crop", progress)
    split = split or ("val" if is_prepared(images) else "all")
    report: dict[str, Any] = {"model": loaded.name, "images": str(images), "seed": seed, "precision": precision}
    if realism:
        from cxredit_cli.evaluation.evaluating import choose_real, evaluate_realism

        real = choose_real(dataset, split, n, seed)
        found = evaluate_realism(loaded, real, truncation_psi, seed, batch, progress)
        report["realism"] = {"truncation_psi": truncation_psi, **_document(found)}
        if not json:
            stdout.print(f"Realism of {loaded.name} against {images}", markup=False)
            _print(found)
    write_text(output, dumps(report, indent=2) + "\n")
    if json:
        print_json(report)
    else:
        stdout.print(f"{output}", markup=False)


def _document(found: "Realism") -> dict[str, Any]:
    from dataclasses import asdict

    ratios = [figure.ratio for figure in found.figures]
    document = asdict(found)
    document["figures"] = [
        {**figure, "ratio": ratio} for figure, ratio in zip(document["figures"], ratios, strict=True)
    ]
    return document


def _print(found: "Realism") -> None:
    def value(value: "Value | None") -> str:
        return "" if value is None else f"{value.mean:.4g} ± {value.spread:.2g}"

    stdout.print(
        f"{found.images} real images ({found.split}, {found.patients} patients) in halves of {found.half}, "
        f"{found.images} generated, {found.halvings} halvings",
        markup=False,
    )
    others = any(figure.others is not None for figure in found.figures)
    line = "{:30}{:10}{:>19}{:>19}{:>7}" + ("{:>19}" if others else "")
    stdout.print(line.format("", "better", "generated", "two real halves", "ratio", "other patients"), markup=False)
    for figure in found.figures:
        name = figure.name.replace("_", " ") + (f", {figure.features}" if figure.features else "")
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        better = "as real" if figure.better == "as the floor" else figure.better
        cells = (name, better, value(figure.generated), value(figure.floor), ratio, value(figure.others))
        stdout.print(line.format(*cells), markup=False)
    for name, weights in found.networks.items():
        stdout.print(f"{name}: {weights}", markup=False)
    for note in found.notes:
        stderr.print(note, markup=False)
