"""`cxredit direction compare`: cosines of directions."""

from typing import Annotated

import typer

from cxredit_cli.commands.console import print_json, stdout
from cxredit_cli.commands.options import JsonOption, ModelOption


def command(
    directions: Annotated[
        list[str],
        typer.Argument(help="Two or more directions of one generator: files, or names that `direction list` shows."),
    ],
    model: ModelOption = None,
    json: JsonOption = False,
) -> None:
    """Print the cosines between directions: 1 where they are the same, 0 where they have nothing in common.

    A direction of W counts as the same step in every layer of W+.
    """
    from rich.table import Table

    from cxredit_cli.directions.comparison import chance_cosine, cosine_table
    from cxredit_cli.errors import InputError
    from cxredit_cli.storage.directions import find_direction, read_direction
    from cxredit_cli.storage.models import find_model

    if len(directions) < 2:
        raise InputError("Only one direction was given; give two or more to compare.")
    places = [find_direction(given, find_model(model)) for given in directions]
    found = [(place, read_direction(place)) for place in places]
    cosines = cosine_table(found)
    chance = chance_cosine([direction for _, direction in found])
    if json:
        listed = [
            {"file": str(path), "name": d.name, "method": d.method, "shape": d.direction.shape} for path, d in found
        ]
        print_json({"directions": listed, "cosines": cosines.tolist(), "chance": chance})
        return
    # The names stand above the table, which so is no wider than a log or a pipe.
    for number, (path, direction) in enumerate(found, start=1):
        space = "W" if len(direction.direction) == 1 else "W+"
        stdout.print(f"{number} {path}: {direction.name}, {space}", markup=False, soft_wrap=True)
    table = Table("", *(str(number) for number in range(1, len(found) + 1)))
    for number, row in enumerate(cosines, start=1):
        table.add_row(str(number), *(f"{value:+.2f}" for value in row))
    stdout.print(table)
    stdout.print(f"Two random directions have a cosine of {chance:.2f} either way (standard deviation).")
