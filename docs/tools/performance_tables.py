"""Write the tables of the documents about speed from what examples/measure_performance.sh or first_gpu.sh left.

python docs/tools/performance_tables.py performance docs/results/tables
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from result_tables import VERSION, ResultTable, write_table

from cxredit_cli.storage.codes import read_codes

COMMAND = "examples/measure_performance.sh"
FIRST_GPU = "examples/first_gpu.sh"
SUMMARY = "summary.txt"  # of first_gpu.sh: how each stage ended
PRECISIONS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
NO_PATH_LENGTH = "no-path-length"
SAME_PROCESS = "same-process"
OWN_DTYPE = "the dtype of the fast path"  # in which the textbook form computes on a graphics card alone
TRAINING = "training_iteration"
KINDS = {"": "", "_forward_backward": "with gradient", "_training": "of the weights too"}  # by how a name ends


def milliseconds(seconds: float) -> str:
    """With three digits."""
    return f"{seconds * 1000:.3g}" if seconds < 1 else f"{seconds * 1000:.0f}"


def share(value: float | None) -> str:
    """A share of a limit, where there is one."""
    return "" if value is None else f"{value:.0%}"


class Results:
    """The results of all documents in a folder: by operation and images, and there by precision."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.command = folder, FIRST_GPU if (folder / SUMMARY).exists() else COMMAND
        self.rows: dict[tuple[str, str, bool], dict[str, dict[str, Any]]] = {}
        self.trainings: dict[str, dict[str, Any]] = {}  # by batch, channel base and precision
        self.devices: set[str] = set()
        self.bases: set[int] = set()  # channel bases of what is no training
        self.limits: set[tuple[float, float]] = set()  # copies in bytes/s, matrix products in operations/s
        self.on_card = False
        self.compared: dict[str, Any] | None = None
        for path in sorted(folder.glob("*.json")):
            if not path.stat().st_size:
                continue  # of a stage that was stopped
            document = json.loads(path.read_text())
            if "its_kernels" in document:
                self.compared = document
            else:
                self._add(document, path.stem)

    def _add(self, document: dict[str, Any], stem: str) -> None:
        """Take in what one run of `cxredit bench` measured."""
        self.on_card |= OWN_DTYPE in document["reference"]
        self.devices.add(f"{document['device']}, torch {document['torch']}.")
        self.limits |= {(document["copy_bandwidth"], peak) for peak in document["matrix_peak"].values()}
        settings = document["settings"]
        images = f"{settings['batch']} x {settings['resolution']}x{settings['resolution']}"
        if NO_PATH_LENGTH in stem:
            images += ", `--pl-weight 0`"
        for result in document["results"]:
            precision = PRECISIONS.get(result["dtype"], result["dtype"])
            key = (result["name"], images, SAME_PROCESS in stem)
            self.rows.setdefault(key, {})[precision] = result
            if result["name"] == TRAINING:
                self.trainings[f"{settings['batch']}, {settings['channel_base']}, {precision}"] = result
            else:
                self.bases.add(settings["channel_base"])

    def chosen(self, whole: bool, same_process: bool) -> Iterator[tuple[str, str, dict[str, dict[str, Any]]]]:
        """Whole pieces of work or single operations, with the reference in the one or the other kind of process."""
        for (name, images, same), found in self.rows.items():
            is_whole = name.startswith(("generator", "inversion", "training"))
            if is_whole == whole and same == same_process:
                yield f"`{name}`", images, found

    def table(self, what: str, columns: list[str], rows: list[list[str]]) -> ResultTable:
        """A table of this machine."""
        return ResultTable(what, " ".join(sorted(self.devices)), "", VERSION, self.command, columns, rows)


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
    """Every precision beside the textbook form; what a training iteration and the inversion of many films take."""
    found: dict[tuple[str, str, str], list[tuple[str, dict[str, Any]]]] = {}  # an operation with its gradients
    for (name, images, _), by_precision in results.rows.items():
        if name == TRAINING:
            continue
        kind = next(ending for ending in reversed(KINDS) if name.endswith(ending))
        base = name.removesuffix(kind).removesuffix("_forward")
        for precision, result in by_precision.items():
            found.setdefault((base, images, precision), []).append((KINDS[kind], result))
    columns = ["operation", "images", "precision", "ms", "textbook form, ms", "ratio", "share"]
    what = (
        "Medians; with gradient, and with the gradient of the weights, after a semicolon. "
        "The share is of the copy bandwidth, or of the matrix peak for what is mostly matrix products."
    )
    rows = [[card_name(works), *place, *card_cells(works)] for (_, *place), works in found.items()]
    copies, products = (max((limit[place] for limit in results.limits), default=0) for place in (0, 1))
    limits = f"Copies at {copies / 1e9:,.0f} GB/s, matrix products at {products / 1e12:,.0f} TFLOP/s."
    table = results.table(what, columns, rows)
    bases = ", ".join(map(str, sorted(results.bases)))
    yield "gpu", replace(table, data=f"{table.data} Channel base {bases}. {limits}")
    parts = ("plain", "with path length", "with path length and R1")
    rows = [
        [name, *(milliseconds(result["parts"][part]["median_s"]) for part in parts), f"{result['img_per_s']:.3g}"]
        for name, result in results.trainings.items()
        if result["parts"] and parts[1] in result["parts"]
    ]
    columns = ["batch, channel base, precision", *parts, "images a second, all kinds weighted"]
    yield "gpu-training", results.table("Milliseconds of a training iteration of the `small` preset.", columns, rows)
    yield from inversion_table(results)
    if results.compared:
        rows = [
            [f"`{r['name']}`", milliseconds(r["median_s"]), milliseconds(r["stylegan2_ada_s"]), f"{r['ratio']:.2f}"]
            for r in results.compared["results"]
        ]
        kernels = "its kernels on" if results.compared["its_kernels"] else "WITHOUT its kernels"
        what = f"Beside stylegan2-ada-pytorch, {kernels}."
        yield "gpu-stylegan2-ada", results.table(what, ["operation", "ms", "its ms", "ratio"], rows)


def card_name(works: list[tuple[str, dict[str, Any]]]) -> str:
    """An operation, and which of its gradients are timed too."""
    return "; ".join(filter(None, (f"`{works[0][1]['name']}`", *(kind for kind, _ in works))))


def card_cells(works: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """Milliseconds of both ways, ratio and share of the limit, of an operation and its gradients."""
    shares = [share(r["bandwidth_share"] if r["peak_share"] is None else r["peak_share"]) for _, r in works]
    mine, textbook = ("; ".join(milliseconds(r[key]) for _, r in works) for key in ("median_s", "reference_s"))
    return [mine, textbook, "; ".join(f"{r['ratio']:.1f}" for _, r in works), "; ".join(filter(None, shares))]


def inversion_table(results: Results) -> Iterator[tuple[str, ResultTable]]:
    """What first_gpu.sh's stage `films` took from its start to the file; nothing where it did not end."""
    path, summary = results.folder / "codes.h5", results.folder / SUMMARY
    took = re.search(r"^films: done after ([\d.]+) s$", summary.read_text(), re.MULTILINE) if summary.exists() else None
    if took is None:
        return
    codes = read_codes(path)
    header = codes.header
    found = [f"{len(codes)}", took[1], f"{codes.psnr.mean():.1f} dB", f"{codes.ssim.mean():.3f}"]
    how = f"{header.method}, {header.space.upper()}, {header.steps} steps"
    data = f"{header.resolution}x{header.resolution}, all in one batch; {how}; {' '.join(sorted(results.devices))}"
    what, model = "The whole command, from its start to the file.", f"{header.model} [{header.fingerprint}]"
    columns = ["films", "seconds", "PSNR", "SSIM"]
    yield "gpu-inversion", ResultTable(what, data, model, VERSION, results.command, columns, [found])


def main(folder: Path, tables: Path) -> None:
    """Write the tables of one machine, and print them."""
    results = Results(folder)
    for name, made in card_tables(results) if results.on_card or results.compared else processor_tables(results):
        if made.rows:
            write_table(name, made, tables)
            print(f"{name}\n\n{made.markdown()}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
