"""`cxredit direction list`: the directions that a model brings, and what each is worth."""

from pathlib import Path
from typing import TYPE_CHECKING

from cxredit_cli.commands.console import end_batch, print_json, stdout
from cxredit_cli.commands.options import JsonOption, ModelOption

if TYPE_CHECKING:
    from cxredit_cli.storage.directions import Direction


def command(
    model: ModelOption = None,
    json: JsonOption = False,
) -> None:
    """List the directions that the model brings: `apply --direction NAME` takes them by name.

    What each is worth was found by `direction matrix` on patients that nothing was trained on.
    """
    from cxredit_cli.errors import CxreditError
    from cxredit_cli.storage.directions import named_directions, read_direction
    from cxredit_cli.storage.models import find_model, read_info

    folder = find_model(model)
    fingerprint = read_info(folder).get("fingerprint", "")
    found: list[tuple[str, Path, Direction]] = []
    failed: list[tuple[str, str]] = []
    for name, path in named_directions(folder).items():
        try:
            direction = read_direction(path)
            direction.check_generator(fingerprint, path)
            found.append((name, path, direction))
        except CxreditError as error:
            failed.append((str(path), str(error)))
    if json:
        listed = [
            {
                **{"name": name, "file": str(path), "grows": each.name, "method": each.method},
                **{"carried": each.carried, "unseen": each.statistics.get("unseen")},
                "calibration": each.calibration,
            }
            for name, path, each in found
        ]
        bad = [{"file": path, "reason": reason} for path, reason in failed]
        print_json({"model": str(folder), "directions": listed, "failed": bad})
    elif found:
        _print(found)
    else:
        stdout.print(f"The model in {folder} brings no direction.", markup=False)
    end_batch(failed)


def _print(found: "list[tuple[str, Path, Direction]]") -> None:
    from rich.table import Table

    from cxredit_cli.directions.calibration import known_slope

    table = Table("name", "strength", "AUC", "log-odds", "next", "random", "own")
    for name, _, direction in found:
        figures = direction.statistics.get("unseen")
        if figures is None:
            slope = known_slope(direction)
            table.add_row(name, "-", "-", "-" if slope is None else f"CTR {slope[0]:+.3f} a unit", *["-"] * 3)
            continue
        rise = figures["rise"]
        random = max(max(values) for values in figures["random"].values())
        beside = "-" if figures["next"] is None else f"{rise[figures['next']]:+.1f} {figures['next']}"
        table.add_row(
            *(name, f"{figures['strength']:g}", f"{figures['auc']:.2f}", f"{rise[figures['class']]:+.1f}"),
            *(beside, f"{random:.1f}", f"{figures['own_nearest']:.0%}"),
        )
    stdout.print(table)
    stdout.print(
        "At that strength, on unseen patients, by a classifier that found none of them: AUC of edited against unedited "
        "films; mean change of the log-odds of the finding, of the next one that is no known companion, and by the "
        "strongest random direction of equal length; edited films whose nearest original is their own.",
        soft_wrap=True,
    )
