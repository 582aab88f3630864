"""`cxredit demo`: one radiograph, one slider, one page that opens anywhere."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxredit_cli.commands.at_the_door import open_door, say_suspects
from cxredit_cli.commands.console import ConsoleProgress, print_json, stdout
from cxredit_cli.commands.options import (
    BATCH,
    METHOD,
    OUTPUT,
    AnyViewOption,
    BatchOption,
    DeviceOption,
    DirectionOption,
    FitNoiseOption,
    FitOption,
    JsonOption,
    MethodOption,
    ModelOption,
    OnSuspectOption,
    RightOption,
    SpaceOption,
    StepsOption,
)
from cxredit_cli.inversion import STEPS

if TYPE_CHECKING:
    from cxredit_cli.editing.demonstration import Demonstration
    from cxredit_cli.storage.models import Model

SWEEP = "-6:6:25"  # where the bundled direction still leaves a radiograph


def command(
    image: Annotated[
        Path | None, typer.Argument(help="A radiograph; default: one of NIH's that the bundled model has never seen.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write.", rich_help_panel=OUTPUT)] = Path(
        "demo.html"
    ),
    sweep: Annotated[
        str, typer.Option(help="FROM:TO:COUNT, the strengths of the slider.", rich_help_panel=METHOD)
    ] = SWEEP,
    direction: DirectionOption = None,
    model: ModelOption = None,
    method: MethodOption = None,
    space: SpaceOption = None,
    steps: StepsOption = STEPS,
    fit_noise: FitNoiseOption = False,
    fit: FitOption = "crop",
    on_suspect: OnSuspectOption = "warn",
    right: RightOption = False,
    any_view: AnyViewOption = False,
    open_page: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser.", rich_help_panel=OUTPUT)
    ] = False,
    batch: BatchOption = BATCH,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Edit one radiograph by many strengths, measure its heart at each, and write one page (-> demo.html).

    The page has the original beside the edit, a slider, what changed, the outlines, the curve of the cardiothoracic
    ratio, and how it was made. Everything is in the one file: it opens without a network.
    """
    from cxredit_cli.atomic import refuse_folders
    from cxredit_cli.devices import resolve_device
    from cxredit_cli.editing.demonstration import BUNDLED_RADIOGRAPH, demonstrate
    from cxredit_cli.errors import UnreadableImageError
    from cxredit_cli.intake.door import SEEN_FROM
    from cxredit_cli.inversion.request import InversionRequest
    from cxredit_cli.latent.strengths import parse_sweep
    from cxredit_cli.radiographs.geometry import check_fit
    from cxredit_cli.radiographs.sources import Source
    from cxredit_cli.report.demo import write_demo
    from cxredit_cli.storage.anatomy_network import load_anatomy
    from cxredit_cli.storage.directions import find_direction, read_direction
    from cxredit_cli.storage.models import load_model

    refuse_folders(output)
    square = check_fit(fit)
    strengths = parse_sweep(sweep)
    target = resolve_device(device)
    loaded = load_model(model, target)
    direction_path = find_direction(direction, loaded.path)
    chosen = read_direction(direction_path)
    chosen.check_generator(loaded.fingerprint, direction_path)
    source = Source(image or BUNDLED_RADIOGRAPH, any_view=any_view)
    door = open_door(on_suspect, right, target)
    ((_, content, reason),) = door.read([(0, source)], max(loaded.generator.resolution, SEEN_FROM), square, bits=16)
    if content is None:
        raise UnreadableImageError(f"{source.name}: {reason}")
    say_suspects(door.suspects)
    shown = demonstrate(
        loaded,
        load_anatomy(device=target),
        door.source(source),
        chosen,
        strengths,
        InversionRequest(method, space, steps, fit_noise, square),
        batch,
        ConsoleProgress(),
        door.suspicion(source),
    )
    write_demo(output, shown, loaded, chosen)
    if json:
        print_json(_document(shown, loaded, output, direction_path))
    else:
        _print(shown, output)
    if open_page:
        import webbrowser

        webbrowser.open(output.resolve().as_uri())


def _document(shown: "Demonstration", model: "Model", output: Path, direction: Path) -> dict[str, object]:
    def measured(index: int) -> dict[str, object]:
        problem = shown.anatomy.problem[index]
        return {**shown.anatomy.plain(index), "plausible": not problem, "problem": problem}

    return {
        "output": str(output),
        "source": shown.source,
        "model": model.name,
        "direction": str(direction),
        "method": shown.method,
        "space": shown.space,
        "steps": shown.steps,
        "psnr": round(shown.psnr, 3),
        "ssim": round(shown.ssim, 4),
        "original": measured(0),
        "reconstruction": measured(1),
        "edits": [{"strength": strength, **measured(2 + i)} for i, strength in enumerate(shown.strengths)],
    }


def _print(shown: "Demonstration", output: Path) -> None:
    original, reconstruction, *edits = (f"{ratio:.3f}" for ratio in shown.anatomy.ctr)
    first, last = shown.strengths[0], shown.strengths[-1]
    stdout.print(f"{shown.source}: reconstruction {shown.psnr:.1f} dB, SSIM {shown.ssim:.3f}", markup=False)
    stdout.print(
        f"CTR {original}, of the reconstruction {reconstruction}; {edits[0]} at {first:+g}, {edits[-1]} at {last:+g}",
        markup=False,
    )
    doubtful = sum(bool(problem) for problem in shown.anatomy.problem[2:])
    if doubtful:
        stdout.print(f"The outlines of {doubtful} of the {len(edits)} edits are implausible; the page marks them.")
    stdout.print(f"{output}: open it in a browser. For research and education, not for diagnosis.", markup=False)
