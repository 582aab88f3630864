"""Tables that users bring: CSV text, plain or gzipped, with commas, semicolons or tabs between the cells."""

import csv
import gzip
import zlib
from io import StringIO
from pathlib import Path

from cxredit_cli.errors import InputError

SEPARATORS = (",", ";", "\t")


def read_csv(path: Path) -> list[list[str]]:
    """The lines of a CSV in which anything stands, cell by cell; raises InputError for what is no CSV text in UTF-8.

    The separator is the one that divides the first line into the most cells.
    """
    try:
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        text = content.decode("utf-8-sig")
        first = next((line for line in text.splitlines() if line.strip()), "")
        separator = max(SEPARATORS, key=lambda mark: len(next(csv.reader([first], delimiter=mark), [])))
        lines = csv.reader(StringIO(text, newline=""), delimiter=separator)
        return [line for line in lines if any(cell.strip() for cell in line)]
    except (UnicodeDecodeError, csv.Error, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path} is no CSV text in UTF-8; export it again as CSV.") from error
