"""How many films that should not be edited are turned away: a table in Markdown.

    python examples/measure_refusals.py films/ --hidden nih/images \
        | python docs/tools/result_tables.py films-refused

Upright frontal films are spoilt in four ways: mirrored, as a negative, upside down and turned by a quarter. Photographs
that the network at the door never saw are tried too, and of the folder --hidden the films of hidden_hearts.csv, chosen
by eye among NIH's films of four findings or more: illness hides the border of the heart. All go through `cxredit
apply`: the door turns some away, and of the others the edit may be refused.
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measure_instruments import print_table
from numpy.typing import NDArray
from train_intake import UNSEEN_PHOTOGRAPHS, photographs

from cxredit_cli.radiographs.read import read_radiograph
from cxredit_cli.radiographs.sources import list_sources
from cxredit_cli.radiographs.write import write_png

HIDDEN_HEARTS = Path(__file__).with_name("hidden_hearts.csv")
Picture = NDArray[np.float32]
SPOILT: dict[str, Callable[[Picture], Picture]] = {
    "mirrored": lambda film: film[:, ::-1],
    "negative": lambda film: 1 - film,
    "upside down": lambda film: film[::-1],
    "turned by a quarter": np.rot90,
}
HEADER = ["films", "number", "turned away at the door", "edit refused", "edited"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", nargs="+", help="upright frontal films: files, folders, globs or zips")
    parser.add_argument("--hidden", type=Path, help="a folder with the films of hidden_hearts.csv")
    parser.add_argument("--strength", default="4")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kinds = spoil(arguments.films, folder)
        kinds["photographs"] = show_photographs(folder)
        if arguments.hidden is not None:
            kinds["hearts hidden by illness"] = copy_hidden(arguments.hidden, folder)
        command = [sys.executable, "-m", "cxredit_cli", "apply", folder, "--strength", arguments.strength]
        command += ["--on-suspect", "skip", "--strict", "--no-sheets", "--jobs", "1", "--json", "-o", folder / "edited"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    print_table(HEADER, count(kinds, json.loads(done.stdout)))


def spoil(films: Sequence[str], folder: Path) -> dict[str, list[str]]:
    """Write each film spoilt in all ways into `folder`; returns the names of the files by kind."""
    kinds: dict[str, list[str]] = {kind: [] for kind in SPOILT}
    for number, source in enumerate(list_sources(films)):
        film = read_radiograph(source).pixels
        for kind, spoilt in SPOILT.items():
            kinds[kind].append(f"{kind.replace(' ', '-')}-{number:04d}.png")
            write_png(folder / kinds[kind][-1], np.ascontiguousarray(spoilt(film)), {})
    return kinds


def show_photographs(folder: Path) -> list[str]:
    """Write photographs of other things than a chest into `folder`; returns the names of the files."""
    names = []
    for number, photograph in enumerate(photographs(UNSEEN_PHOTOGRAPHS)):
        names.append(f"photograph-{number:04d}.png")
        write_png(folder / names[-1], photograph.numpy(), {})
    return names


def copy_hidden(where: Path, folder: Path) -> list[str]:
    """Copy the films of hidden_hearts.csv into `folder`; returns the names of the files."""
    with HIDDEN_HEARTS.open(newline="") as file:
        names = [row["image"] for row in csv.DictReader(file)]
    for name in names:
        shutil.copy(where / name, folder / name)
    return names


def count(kinds: dict[str, list[str]], report: dict[str, Any]) -> list[list[str]]:
    """The rows of the table from what `apply --json` reports: what is neither failed nor refused was edited."""
    away = {failure["source"] for failure in report["failed"]}
    refused = {edit["source"] for edit in report["refused"]}
    rows = []
    for kind, names in kinds.items():
        counts = [len(away.intersection(names)), len(refused.intersection(names))]
        rows.append([kind, *map(str, (len(names), *counts, len(names) - sum(counts)))])
    return rows


if __name__ == "__main__":
    main()
