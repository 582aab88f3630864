"""`cxredit bench`: how fast the operations and the work made of them are here."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxredit_cli.commands.options import INPUT, METHOD, OUTPUT, DeviceOption, JsonOption

if TYPE_CHECKING:
    from cxredit_cli.benchmarks.run_cases import BenchReport, Result

# Widths of the table's columns, for a row is printed when it is measured; numbers stand at the right.
WORDS = {"name": 34, "shape": 16, "dtype": 8}
NUMBERS = {
    "median ms": 9,
    "reference ms": 12,
    "ratio": 6,
    "img/s": 9,
    "bandwidth": 9,
    "peak": 5,
    "error": 5,
    "gradient": 8,
}


def command(
    resolution: Annotated[int, typer.Option(help="Side of the images: a power of two.", rich_help_panel=INPUT)] = 128,
    batch: Annotated[int, typer.Option(min=1, help="Images at a time.", rich_help_panel=METHOD)] = 8,
    channel_base: Annotated[
        int, typer.Option(min=1, help="Feature maps times resolution.", rich_help_panel=METHOD)
    ] = 16384,
    channel_max: Annotated[
        int, typer.Option(min=1, help="Largest number of feature maps in a layer.", rich_help_panel=METHOD)
    ] = 512,
    pl_weight: Annotated[
        float, typer.Option(min=0, help="Path length weight of the training; 0: off.", rich_help_panel=METHOD)
    ] = 2.0,
    precision: Annotated[
        str,
        typer.Option(
            help="Numbers that the fast path computes with: auto, fp32, bf16 or fp16.", rich_help_panel=METHOD
        ),
    ] = "auto",
    device: DeviceOption = "auto",
    only: Annotated[
        list[str] | None,
        typer.Option(help="Measure only these names, such as 'upfirdn2d*'; repeatable.", rich_help_panel=METHOD),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0, help="Seconds to spend on each name, both ways together.", rich_help_panel=METHOD)
    ] = 5.0,
    same_process: Annotated[
        bool,
        typer.Option(
            "--same-process", help="Give the reference the fast path's memory settings too.", rich_help_panel=METHOD
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the figures as JSON, after each name.", rich_help_panel=OUTPUT),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Measure the operations, synthesis, its gradient, an inversion step, a training iteration, beside textbook code.

    Reference and fast path take turns in the same run, on random weights. The reference is the textbook form (each
    sample's own weights in a grouped convolution; zero-insertion, padding, filter): in float32 on a processor, in the
    fast path's own precision on a GPU. In float32 both must agree, else the exit code is 1.
    """
    from dataclasses import asdict
    from json import dumps

    from cxredit_cli.atomic import refuse_folders, write_text
    from cxredit_cli.benchmarks.cases import Settings
    from cxredit_cli.benchmarks.run_cases import GRADIENT_TOLERANCE, TOLERANCE, run_benchmarks
    from cxredit_cli.commands.console import ConsoleProgress, print_json, stderr, stdout
    from cxredit_cli.devices import resolve_device, resolve_precision
    from cxredit_cli.progress import SilentProgress

    refuse_folders(output)
    target = resolve_device(device)
    dtype = resolve_precision(precision, target)
    settings = Settings(resolution, batch, channel_base, channel_max, target, dtype, pl_weight)
    progress = ConsoleProgress() if json else SilentProgress()  # rows that come say how far it is
    report: BenchReport | None = None
    try:
        for report in run_benchmarks(settings, only or [], seconds, same_process, progress):
            if output is not None:
                write_text(output, dumps(asdict(report), indent=2) + "\n")
            if not json:
                if len(report.results) == 1:
                    stdout.print(_line([*WORDS, *NUMBERS]), markup=False)
                stdout.print(_line(_row(report.results[-1])), markup=False)
    finally:  # stopped, it has said what it measured
        if report is not None and json:
            print_json(asdict(report))
        elif report is not None:
            _print_machine(report)
    assert report is not None
    if report.wrong:
        stderr.print(
            f"In float32 the fast path differs from the reference by more than {TOLERANCE:g} (gradients: "
            f"{GRADIENT_TOLERANCE:g}): {', '.join(report.wrong)}.",
            markup=False,
        )
        raise typer.Exit(1)


def _line(cells: list[str]) -> str:
    words, numbers = cells[: len(WORDS)], cells[len(WORDS) :]
    left = [f"{cell:{width}}" for cell, width in zip(words, WORDS.values(), strict=True)]
    right = [f"{cell:>{width}}" for cell, width in zip(numbers, NUMBERS.values(), strict=True)]
    return "  ".join([*left, *right]).rstrip()


def _row(result: "Result") -> list[str]:
    return [
        result.name,
        "x".join(map(str, result.shape)),
        result.dtype,
        f"{result.median_s * 1000:.3g}",
        f"{result.reference_s * 1000:.3g}",
        f"{result.ratio:.2f}",
        f"{result.img_per_s:.4g}",
        "" if result.bandwidth_share is None else f"{result.bandwidth_share:.0%}",
        "" if result.peak_share is None else f"{result.peak_share:.0%}",
        f"{result.max_error:.0e}",
        "" if result.gradient_error is None else f"{result.gradient_error:.0e}",
    ]


def _print_machine(report: "BenchReport") -> None:
    from cxredit_cli.commands.console import stdout

    peaks = ", ".join(f"{peak / 1e12:.3g} TFLOP/s in {dtype}" for dtype, peak in report.matrix_peak.items())
    for line in (
        f"{report.device}; measured here: copies at {report.copy_bandwidth / 1e9:.3g} GB/s, matrix products at {peaks}",
        f"reference: {report.reference}",
        "bandwidth, peak: share of these that the fast path reaches, by what must be read, written and multiplied",
        "error, gradient: of the fast path in float32, relative to the reference's largest value and gradient's norm",
    ):
        stdout.print(line, markup=False)
