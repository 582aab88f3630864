"""Where commands print: results to stdout, everything else to stderr."""

import atexit
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

stdout = Console(highlight=False, soft_wrap=True)
stderr = Console(stderr=True, highlight=False, soft_wrap=True)

LOG_INTERVAL_S = 30.0


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, default=str) + "\n")


def end_batch(failed: Sequence[tuple[str, str]]) -> None:
    """Name the files of a batch that failed, with the reasons, and leave with exit code 1 if there are any."""
    for name, reason in failed:
        stderr.print(f"{name}: {reason}", markup=False)
    if failed:
        raise typer.Exit(1)


class ConsoleProgress:
    """A live bar with rate, time left and figures on a terminal; a plain line every so often in a log."""

    def __init__(self) -> None:
        self._bar: RichProgress | None = None
        self._description, self._unit = "", "img"
        self._total: float | None = None
        self._first_done = self._started = self._last_line = 0.0

    def start(self, description: str, total: float | None, done: float = 0, unit: str = "img") -> None:
        """Begin a task of `total` units (None: unknown), of which `done` are already done."""
        self.finish()
        self._description, self._total, self._unit, self._first_done = description, total, unit, done
        self._started = self._last_line = time.monotonic()
        if stderr.is_terminal:
            self._bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[figures]}"),
                console=stderr,
            )
            self._bar.add_task(description, total=total, completed=int(done), figures="")
            self._bar.start()
            atexit.register(self.finish)  # a terminal left in the middle of a bar has no cursor

    def advance(self, done: float, **figures: float) -> None:
        """Report that `done` units are complete in all, with the figures that matter now."""
        now = time.monotonic()
        rate = (done - self._first_done) / max(now - self._started, 1e-9)
        text = "  ".join([f"{rate:.3g} {self._unit}/s", *(f"{name} {value:.4g}" for name, value in figures.items())])
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=int(done), figures=text)
        elif now - self._last_line >= LOG_INTERVAL_S:
            self._last_line = now
            of_total = "" if self._total is None else f"/{self._total:g}"
            left = "" if self._total is None or rate <= 0 else f"  {(self._total - done) / rate / 60:.1f} min left"
            so_far = f"{done:.1f}".removesuffix(".0")  # a search reports parts of an image
            stderr.print(f"{self._description}: {so_far}{of_total} {self._unit}  {text}{left}")

    def message(self, text: str) -> None:
        """Say one line that should stay visible."""
        stderr.print(text, markup=False)

    def finish(self) -> None:
        """End the task."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
