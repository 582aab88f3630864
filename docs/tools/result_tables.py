"""The measured tables of the documents: one JSON file each in docs/results/tables, which pages show by name.

    some_measurement | python docs/tools/result_tables.py NAME...   # each Markdown table of stdin becomes a NAME's rows

A table says what it shows, on what data, of how many, of which model, by which version and which command.
"""

import json
import re
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cxredit_cli import __version__
from cxredit_cli.errors import InputError

VERSION = __version__.partition(".dev")[0]  # the release that the measured commits become
TABLES = Path(__file__).parents[1] / "results" / "tables"
MEASURED = "measured"  # the class by which the line below a table is set small


@dataclass(frozen=True)
class ResultTable:
    """Cells as they are shown; the first column names the rows."""

    what: str  # one sentence
    data: str  # on what, and how many
    model: str  # name and fingerprint, or empty where no model was part of it
    version: str  # of cxredit
    command: str
    columns: list[str]
    rows: list[list[str]]

    def cell(self, row: str, column: str) -> str:
        """The cell of the row whose first cell is `row`, or alone begins so. Raises InputError where there is none."""
        if column not in self.columns:
            raise InputError(f"There is no column {column!r}; there are {', '.join(self.columns)}.")
        named = [cells for cells in self.rows if cells[0] == row]
        named = named or [cells for cells in self.rows if cells[0].startswith(row)]
        if len(named) == 1:
            return named[0][self.columns.index(column)]
        raise InputError(f"There is no row {row!r}; there are {', '.join(cells[0] for cells in self.rows)}.")

    def markdown(self, columns: list[str] | None = None) -> str:
        """The table, all of it or some columns, with what it was measured on below."""
        shown = self.columns if columns is None else columns
        if missing := set(shown) - set(self.columns):
            raise InputError(f"There is no column {missing}; there are {', '.join(self.columns)}.")
        places = [self.columns.index(name) for name in shown]
        below = [self.data, f"Model {self.model}." if self.model else "", f"cxredit {self.version}."]
        below.append(f"Command: `{self.command}`." if self.command else "")
        line = " ".join(part for part in (self.what, *below) if part)
        rows = [[unbroken(row[i]) for i in places] for row in self.rows]
        return f"{table(rows, shown)}\n\n{line}\n{{: .{MEASURED} }}"


def unbroken(cell: str) -> str:
    """A cell whose numbers stay with their units and spreads on one line."""
    return re.sub(r"(?<=\d) (?=%|dB|GB|MB|s$|±)|(?<=±) ", "\N{NO-BREAK SPACE}", cell)


def table(rows: list[list[str]], header: list[str]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def read_table(name: str, folder: Path = TABLES) -> ResultTable:
    """A table by its name. Raises InputError where there is none."""
    path = folder / f"{name}.json"
    if not path.exists():
        raise InputError(f"There is no table {name!r} in {folder}.")
    return ResultTable(**json.loads(path.read_text(encoding="utf-8")))


def write_table(name: str, content: ResultTable, folder: Path = TABLES) -> None:
    """Write a table, one row a line, so that changes are easy to read."""
    fields = asdict(content)
    rows = ",\n".join(f"    {json.dumps(row, ensure_ascii=False)}" for row in fields.pop("rows"))
    head = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(f'{{\n{head},\n  "rows": [\n{rows}\n  ]\n}}\n', encoding="utf-8")


def parse_markdown(text: str) -> list[tuple[list[str], list[list[str]]]]:
    """Header and rows of each Markdown table in a text. Raises InputError where a row has another number of cells."""
    found = []
    for block in re.findall(r"(?:^[ \t]*\|.*\|[ \t]*(?:\n|\Z)){2,}", text, re.MULTILINE):
        # A bar within a cell is written \|.
        lines = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]] for line in block.splitlines()]
        header, rule, *rows = lines
        if not all(re.fullmatch(r":?-+:?", cell) for cell in rule) or any(len(row) != len(header) for row in rows):
            raise InputError("A table has no line below its header, or a row with another number of cells.")
        found.append((header, rows))
    return found


def main(names: list[str], text: str) -> None:
    """Renew the rows of the named tables, which keep their descriptions."""
    found = parse_markdown(text)
    if len(found) != len(names):
        raise SystemExit(f"The text holds {len(found)} Markdown tables, but {len(names)} names were given.")
    for name, (columns, rows) in zip(names, found, strict=True):
        write_table(name, replace(read_table(name), columns=columns, rows=rows, version=VERSION))


if __name__ == "__main__":
    main(sys.argv[1:], sys.stdin.read())
