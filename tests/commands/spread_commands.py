"""Runs commands in several processes: `python -m tests.commands.spread_commands '[{"processes": 2, ...}, ...]'`.

A task has a `folder` to work in, its `commands` one after the other, and perhaps `kill`, the file at whose appearance
the last process is killed. What each process said and how it ended is in the folder's `said.json`.
"""

import json
import os
import pkgutil
import sys
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

import cxredit_cli
from cxredit_cli.anatomy.measures import FIGURES, Anatomy, measure_segmentation
from cxredit_cli.anatomy.outlines import Segmentation
from cxredit_cli.directions import measure_gradients
from cxredit_cli.evaluation import dose, native_study, realism
from cxredit_cli.evaluation.native import NUMBERS, FilmFigures
from tests.forked import command, exit_codes, fork, kill_when


def believe_anatomy() -> None:
    """Random networks draw no chests: any outlines will do. Gradients are of 32 bits, and films are not edited."""

    def images_believed(network: object, images: torch.Tensor, batch: int) -> Anatomy:
        return Anatomy(**dict.fromkeys(FIGURES, np.ones(len(images))), problem=[""] * len(images))

    def outlines_believed(found: Segmentation) -> Anatomy:
        seen = measure_segmentation(found)
        figures = {name: np.nan_to_num(getattr(seen, name), nan=0.5) for name in FIGURES}
        return Anatomy(**figures, problem=[""] * len(seen))

    def film_measured(
        network: object, judge: object, name: str, film: Any, pictures: Any, path: list[float], wanted: list[float]
    ) -> list[FilmFigures]:
        seen = [float(pictures[path.index(strength)].mean()) for strength in wanted]
        rest = dict.fromkeys(NUMBERS[1:], float(film.mean()))
        return [FilmFigures(name, s, "native", "", mean, **rest) for s, mean in zip(wanted, seen, strict=True)]

    native_study.measure_film = film_measured
    realism.HALVINGS = 2
    measure_gradients.fast_gradients = lambda generator: nullcontext()
    measure_gradients.measure_images = images_believed
    dose.measure_segmentation = outlines_believed


def do(task: dict[str, Any]) -> None:
    """The commands of one task."""
    os.chdir(task["folder"])
    said = []
    for words in task["commands"]:
        children = fork(task["processes"], command(words))
        if "kill" in task:
            kill_when(Path(task["kill"]), children[-1])
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
