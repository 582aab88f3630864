"""Runs commands in several processes: `python -m tests.commands.spread_commands '[{"processes": 2, ...}, ...]'`.

A task has a `folder` to work in, its `commands` one after the other, and perhaps `kill`, the file at whose appearance
the last process is killed. What each process said and how it ended is in the folder's `said.json`.
"""

import json
import os
import pkgutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

import cxredit_cli
from cxredit_cli.anatomy.measures import FIGURES, Anatomy
from cxredit_cli.app import app
from cxredit_cli.directions import measure_gradients
from tests.forked import exit_codes, fork


def believe_anatomy() -> None:
    """Directions from random networks: any outlines will do, and numbers of 32 bits."""

    def believed(network: object, images: torch.Tensor, batch: int) -> Anatomy:
        return Anatomy(**dict.fromkeys(FIGURES, np.ones(len(images))), problem=[""] * len(images))

    measure_gradients.fast_gradients = lambda generator: nullcontext()
    measure_gradients.measure_images = believed


def call(words: list[str]) -> Callable[[int], None]:
    """One process of a command; it says what it says to <rank>.err."""

    def work(rank: int) -> None:
        with open(f"{rank}.err", "w") as errors, open(os.devnull, "w") as nothing:
            os.dup2(errors.fileno(), 2)
            os.dup2(nothing.fileno(), 1)
            app(words)

    return work


def do(task: dict[str, Any]) -> None:
    """The commands of one task."""
    os.chdir(task["folder"])
    said = []
    for words in task["commands"]:
        children = fork(task["processes"], call(words))
        if "kill" in task:
            while not Path(task["kill"]).exists():
                time.sleep(0.05)
            os.kill(children[-1], signal.SIGKILL)
        codes = exit_codes(children)
        errors = [Path(f"{rank}.err").read_text() for rank in range(task["processes"])]
        said.append({"words": words, "codes": codes, "errors": errors})
    Path("said.json").write_text(json.dumps(said))


if __name__ == "__main__":
    torch.set_num_threads(1)
    for module in pkgutil.walk_packages(cxredit_cli.__path__, "cxredit_cli."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    believe_anatomy()
    for each in json.loads(sys.argv[1]):
        do(each)
