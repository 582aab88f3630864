"""The log of a run: JSON lines that are never lost, and TensorBoard when it is asked for by opening it."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter

from cxredit_cli.atomic import write_text
from cxredit_cli.processes import Processes


class RunLog:
    """Appends figures to stats.jsonl and to TensorBoard's event files in a folder."""

    def __init__(self, folder: Path, resume_at: float = 0.0) -> None:
        """Open the log of `folder`; lines later than `resume_at` belong to work that was lost and are dropped."""
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "stats.jsonl"
        if self._path.exists():
            kept = [
                line
                for line in self._path.read_text().splitlines(keepends=True)
                if _kimg_of(line) <= round(resume_at, 4)
            ]
            write_text(self._path, "".join(kept))
        self._board = SummaryWriter(str(folder), purge_step=round(resume_at * 1000) + 1 if resume_at else None)

    def write(self, kimg: float, figures: Mapping[str, float]) -> None:
        """Record `figures` at a progress of `kimg` thousand images."""
        with self._path.open("a") as file:
            file.write(json.dumps({"kimg": round(kimg, 4), "time": round(time.time(), 1), **figures}) + "\n")
        for name, value in figures.items():
            self._board.add_scalar(name, value, global_step=round(kimg * 1000))

    def close(self) -> None:
        """Flush what TensorBoard has not written yet."""
        self._board.close()


def _kimg_of(line: str) -> float:
    """The progress of one line; a line cut short by a kill counts as lost."""
    try:
        return float(json.loads(line)["kimg"])
    except (ValueError, KeyError):
        return float("inf")


class Means:
    """Running means kept on the device; reading them is the only copy to the host, and the only sum over processes."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[object, float]] = {}

    def add(self, share: float, **values: object) -> None:
        """Add one value (0-d tensor or float) to each named mean; `share` is what it counts in its iteration."""
        for name, value in values.items():
            total, count = self._sums.get(name, (0.0, 0.0))
            value = value.detach() if hasattr(value, "detach") else value
            self._sums[name] = (total + value * share, count + share)  # type: ignore[operator]

    def read(self, processes: Processes) -> dict[str, float]:
        """The means since the last read, over all processes, which all read them."""
        sums = [[float(total), count] for total, count in self._sums.values()]  # type: ignore[arg-type]
        totals = processes.total(torch.tensor(sums, dtype=torch.float64).reshape(-1, 2)).tolist()
        means = {name: total / count for name, (total, count) in zip(self._sums, totals, strict=True)}
        self._sums.clear()
        return means
