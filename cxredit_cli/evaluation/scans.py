"""Which real images an evaluation is made on, and their codes: of patients that training never saw, one image each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxredit_cli.anatomy.measures import measure_images
from cxredit_cli.errors import InputError
from cxredit_cli.inversion.invert import choose_method, choose_space, invert
from cxredit_cli.inversion.precision import fast_gradients
from cxredit_cli.latent.code_batch import CodeBatch
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.processes import ALONE, Processes
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.storage.codes import Codes
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.dataset_labels import read_label_table
from cxredit_cli.storage.models import Model

ANY = "any"  # of views and labels


@dataclass(frozen=True, slots=True)
class Scans:
    """N real images, each of another patient, whose outlines are plausible."""

    rows: NDArray[np.int64]  # [N] of the dataset
    images: Tensor  # [N, 1, R, R] in [-1, 1]
    described: dict[str, str | int]  # how they were chosen, for the report

    def __len__(self) -> int:
        return len(self.rows)


def choose_scans(
    dataset: Dataset,
    network: AnatomyNetwork,
    split: str,
    view: str = "PA",
    label: str = "No Finding",
    n: int = 100,
    seed: int = 0,
    among: Mapping[int, int] | None = None,
    batch: int = 32,
) -> Scans:
    """At most `n` images with a split (train, val or all), a view and a label, drawn by `seed`.

    One a patient, since two of one patient say nearly the same. Those on which `network` finds no plausible heart and
    lungs are left out; `among` are the rows that come into question (None: all). Raises InputError for fewer than two.
    """
    if split not in ("train", "val", "all"):
        raise InputError(f"--split must be train, val or all, but it is '{split}'.")
    wanted = [None if value in ("all", ANY) else value for value in (split, view, label)]
    rows = dataset.indices(*wanted)
    if among is not None:
        rows = np.array([row for row in rows if int(row) in among], dtype=np.int64)
    patients = dataset.patient_ids
    first: dict[str, int] = {}
    for row in np.random.default_rng(seed).permutation(rows):
        first.setdefault(patients[row], int(row))
    candidates, kept, implausible = list(first.values()), list[int](), 0
    for start in range(0, len(candidates), batch):
        part = candidates[start : start + batch]
        good = measure_images(network, _tensor(dataset, part), batch).plausible
        for row, plausible in zip(part, good, strict=True):
            if len(kept) < n:
                kept += [row] if plausible else []
                implausible += not plausible
        if len(kept) == n:
            break
    if len(kept) < 2:
        raise InputError(
            f"{dataset.path} has {len(candidates)} patients with split {split}, view {view} and label {label}"
            f"{' among the codes' if among is not None else ''}, {len(kept)} of them with plausible outlines; two at "
            "least are needed. --split all, --view any and --label any take more."
        )
    chosen = np.sort(np.array(kept, dtype=np.int64))
    described: dict[str, str | int] = {
        **{"images": len(chosen), "patients": len(chosen), "split": split, "view": view, "label": label},
        "left_out_as_implausible": implausible,
    }
    return Scans(chosen, _tensor(dataset, chosen), described)


def invert_scans(
    model: Model,
    images: Tensor,
    method: str | None = None,
    space: str | None = None,
    steps: int = 50,
    batch: int = 16,
    progress: Progress | None = None,
    processes: Processes = ALONE,
) -> tuple[CodeBatch, Tensor]:
    """Codes of images [N, 1, R, R] in [-1, 1], and their reconstructions; None as in `invert`.

    Of several `processes` each inverts its share, and all have the codes of all. Seconds are those of one process.
    """
    progress = progress or SilentProgress()
    known = choose_method(model, method)
    where = choose_space(model, known, space)
    how = f"{known}, {where}" + ("" if known == "encoder" else f", {steps} steps")
    progress.start(f"Inverting ({how})", len(images))
    made: list[tuple[Tensor, Tensor, float]] = []  # codes, reconstructions, seconds
    with fast_gradients(model.generator):
        for part in processes.rounds(len(images), batch):
            mine = None
            if part:
                begun, some = perf_counter(), images[part.start : part.stop]
                found = invert(model, some, known, where, steps, batch, progress=progress, done=part.start)
                mine = found.w, found.reconstructions, perf_counter() - begun
            made += [each for each in processes.exchange(mine) if each is not None]
    progress.finish()
    codes, reconstructions, seconds = zip(*made, strict=True)
    return CodeBatch(torch.cat(codes), None, None, how, sum(seconds) / len(images)), torch.cat(reconstructions)


def rows_with_codes(dataset: Dataset, codes: Codes) -> dict[int, int]:
    """Rows of the dataset of which there is a code, by name, and the code's row."""
    table = read_label_table(dataset.path)
    found = [(table.find(PurePosixPath(source).parts), index) for index, source in enumerate(codes.source)]
    return {row: index for row, index in found if row is not None and row >= 0}


def _tensor(dataset: Dataset, rows: NDArray[np.int64] | list[int]) -> Tensor:
    stored = dataset.images(np.asarray(rows, dtype=np.int64)).astype(np.float32)
    return torch.from_numpy(stored)[:, None] / dataset.white * 2 - 1
