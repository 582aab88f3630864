"""Print the JSON documents that measure_performance.sh left in a folder as Markdown tables."""

import json
import sys
from pathlib import Path
from typing import Any

HEADER = ("", "images", "channels", "dtype", "ms", "textbook ms", "ratio", "img/s", "bandwidth", "peak")


def row(result: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    """The cells of one result of `cxredit bench`."""
    side = settings["resolution"]
    shares = (result["bandwidth_share"], result["peak_share"])
    return [
        f"`{result['name']}`",
        f"{settings['batch']} x {side}x{side}",
        f"{settings['channel_base']}, {settings['channel_max']}",
        result["dtype"],
        f"{result['median_s'] * 1000:.3g}",
        f"{result['reference_s'] * 1000:.3g}",
        f"{result['ratio']:.2f}",
        f"{result['img_per_s']:.3g}",
        *("" if share is None else f"{share:.0%}" for share in shares),
    ]


def table(rows: list[list[str]], header: tuple[str, ...]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """One table for each machine and kind of reference."""
    groups: dict[str, list[list[str]]] = {}
    compared = ""
    for path in sorted(Path(sys.argv[1]).glob("*.json")):
        document = json.loads(path.read_text())
        if "its_kernels" in document:
            rows = [
                [
                    f"`{r['name']}`",
                    *(f"{r[key] * 1000:.3g}" for key in ("median_s", "stylegan2_ada_s")),
                    f"{r['ratio']:.2f}",
                ]
                for r in document["results"]
            ]
            kernels = "its kernels on" if document["its_kernels"] else "WITHOUT its kernels"
            compared = f"Beside stylegan2-ada-pytorch, {kernels}:\n\n{table(rows, ('', 'ms', 'its ms', 'ratio'))}\n"
            continue
        title = f"{document['device']}, torch {document['torch']}. Reference: {document['reference']}."
        groups.setdefault(title, []).extend(row(result, document["settings"]) for result in document["results"])
    for title, rows in groups.items():
        print(f"{title}\n\n{table(rows, HEADER)}\n")
    print(compared)


if __name__ == "__main__":
    main()
