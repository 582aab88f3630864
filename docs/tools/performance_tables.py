"""Write the tables of the documents about speed from the JSON documents of examples/measure_performance.sh.

python docs/tools/performance_tables.py performance docs/results/tables
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from result_tables import ResultTable, write_table

from cxredit_cli import __version__

COMMAND = "examples/measure_performance.sh"
PRECISIONS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
NO_PATH_LENGTH = "no-path-length"
SAME_PROCESS = "same-process"


def milliseconds(seconds: float) -> str:
    """With three digits."""
    return f"{seconds * 1000:.3g}" if seconds < 1 else f"{seconds * 1000:.0f}"


def share(value: float | None) -> str:
    """A share of a limit, where there is one."""
    return "" if value is None else f"{value:.0%}"


class Results:
    """The results of all documents in a folder: by operation and images, and there by precision."""

    def __init__(self, folder: Path) -> None:
        self.rows: dict[tuple[str, str, bool], dict[str, dict[str, Any]]] = {}
        self.devices: set[str] = set()
        self.compared: dict[str, Any] | None = None
        for path in sorted(folder.glob("*.json")):
            document = json.loads(path.read_text())
            if "its_kernels" in document:
                self.compared = document
                continue
            self.devices.add(f"{document['device']}, torch {document['torch']}.")
            settings = document["settings"]
            images = f"{settings['batch']} x {settings['resolution']}x{settings['resolution']}"
            if NO_PATH_LENGTH in path.stem:
                images += ", `--pl-weight 0`"
            for result in document["results"]:
                key = (result["name"], images, SAME_PROCESS in path.stem)
                self.rows.setdefault(key, {})[PRECISIONS.get(result["dtype"], result["dtype"])] = result

    def chosen(self, whole: bool, same_process: bool) -> Iterator[tuple[str, str, dict[str, dict[str, Any]]]]:
        """Whole pieces of work or single operations, with the reference in the one or the other kind of process."""
        for (name, images, same), found in self.rows.items():
            is_whole = name.startswith(("generator", "inversion", "training"))
            if is_whole == whole and same == same_process:
                yield f"`{name}`", images, found

    def table(self, what: str, columns: list[str], rows: list[list[str]]) -> ResultTable:
        """A table of this machine."""
        return ResultTable(what, " ".join(sorted(self.devices)), "", __version__, COMMAND, columns, rows)


def processor_tables(results: Results) -> Iterator[tuple[str, ResultTable]]:
    """fp32 and bf16 beside the textbook form."""

    def of(found: dict[str, dict[str, Any]], key: str) -> list[str]:
        return [milliseconds(found[p][key]) if p in found else "" for p in ("fp32", "bf16")]

    def ratios(found: dict[str, dict[str, Any]]) -> list[str]:
        return [f"{found[p]['ratio']:.2f}" if p in found else "" for p in ("fp32", "bf16")]

    def both(found: dict[str, dict[str, Any]], key: str) -> str:
        shares = [share(found[p][key]) for p in ("fp32", "bf16") if p in found]
        return ", ".join(filter(None, shares))

    def textbook(found: dict[str, dict[str, Any]]) -> str:
        return milliseconds((found.get("bf16") or found["fp32"])["reference_s"])

    def rate(found: dict[str, dict[str, Any]]) -> str:
        return f"{found['bf16']['img_per_s']:.3g}" if "bf16" in found else ""

    rows = [
        [name, images, *of(found, "median_s"), textbook(found), *ratios(found), both(found, "peak_share"), rate(found)]
        for name, images, found in results.chosen(whole=True, same_process=False)
    ]
    columns = ["operation", "images", "fp32 ms", "bf16 ms", "textbook ms", "ratio fp32", "ratio bf16"]
    columns += ["peak fp32, bf16", "img/s bf16"]
    what = "Medians in milliseconds; the textbook form in a process of its own."
    yield "cpu", results.table(what, columns, rows)
    rows = [
        [name, images, textbook(found), *ratios(found)]
        for name, images, found in results.chosen(whole=True, same_process=True)
    ]
    what = "With the fast path's memory for the textbook form too."
    columns = ["operation", "images", "textbook ms", "ratio fp32", "ratio bf16"]
    yield "same-process", results.table(what, columns, rows)
    rows = [
        [
            *(name, *of(found, "median_s"), textbook(found), *ratios(found)),
            *(both(found, "bandwidth_share"), both(found, "peak_share")),
        ]
        for name, _, found in results.chosen(whole=False, same_process=False)
    ]
    columns = ["operation", "fp32 ms", "bf16 ms", "textbook ms", "ratio fp32", "ratio bf16"]
    columns += ["bandwidth fp32, bf16", "peak fp32, bf16"]
    what = "8 images of 128x128 with 128 channels; reading alone is faster than copying, hence more than 100 %."
    yield "cpu-operations", results.table(what, columns, rows)


def card_tables(results: Results) -> Iterator[tuple[str, ResultTable]]:
    """Every precision beside the textbook form."""
    rows = [
        [
            *(f"`{name}`", images, precision, milliseconds(result["median_s"]), milliseconds(result["reference_s"])),
            *(f"{result['ratio']:.2f}", share(result["bandwidth_share"]), share(result["peak_share"])),
        ]
        for (name, images, _), found in results.rows.items()
        for precision, result in found.items()
    ]
    columns = ["operation", "images", "precision", "ms", "textbook form, ms", "ratio", "bandwidth", "peak"]
    yield "gpu", results.table("Medians; shares of the copy bandwidth and of the matrix peak.", columns, rows)
    if results.compared:
        rows = [
            [f"`{r['name']}`", milliseconds(r["median_s"]), milliseconds(r["stylegan2_ada_s"]), f"{r['ratio']:.2f}"]
            for r in results.compared["results"]
        ]
        kernels = "its kernels on" if results.compared["its_kernels"] else "WITHOUT its kernels"
        what = f"Beside stylegan2-ada-pytorch, {kernels}."
        yield "gpu-stylegan2-ada", results.table(what, ["operation", "ms", "its ms", "ratio"], rows)


def main(folder: Path, tables: Path) -> None:
    """Write the tables of one machine, and print them."""
    results = Results(folder)
    on_card = any(precision == "fp16" for found in results.rows.values() for precision in found)
    for name, made in card_tables(results) if on_card or results.compared else processor_tables(results):
        if made.rows:
            write_table(name, made, tables)
            print(f"{name}\n\n{made.markdown()}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
