"""Tables that users bring: CSV text."""

import csv
from pathlib import Path

from cxredit_cli.errors import InputError


def read_csv(path: Path) -> list[list[str]]:
    """The lines of a CSV in which anything stands, cell by cell; raises InputError for what is no CSV text in UTF-8."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [line for line in csv.reader(file) if any(cell.strip() for cell in line)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is no CSV text in UTF-8; export it again as CSV.") from error
