"""Which findings move along which direction, by a classifier that found none of them, on scans of unseen patients.

A row of the matrix is a direction, a column a class of the classifier, a cell what the direction does to its log-odds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxredit_cli.anatomy.measures import Anatomy, measure_images
from cxredit_cli.latent.code_batch import CodeBatch
from cxredit_cli.latent.edit_codes import edit
from cxredit_cli.latent.synthesize import synthesize
from cxredit_cli.metrics.classification import score_classes
from cxredit_cli.metrics.patient_identity import own_is_nearest
from cxredit_cli.metrics.rank_statistics import auc_interval, roc_auc
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.networks.any_classifier import ClassifierScore
from cxredit_cli.networks.generator import Generator

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SHOWN = ("ctr", "heart_area", "thorax_width", "right_lung_area", "left_lung_area")  # of the anatomy
CHUNK = 64  # pictures in memory at a time, about
AUC = 0.8  # of edited against unedited: less is hardly seen
SELECTIVE = 2.0  # times as far as any other finding
STANDS_OUT = 3.0  # times as far as any random direction of equal length


@dataclass(frozen=True, slots=True)
class Moved:
    """N scans at S strengths along one direction, seen by a classifier of K classes."""

    strengths: Floats  # [S], rising, the first 0: the reconstructions
    log_odds: Floats  # [N, S, K]
    anatomy: dict[str, Floats]  # SHOWN, [N, S]
    plausible: Bools  # [N, S]
    own_nearest: Bools  # [N, S], no original of another patient is nearer than its own
    change: Floats  # [N, S], mean absolute change, as a share of the grey range

    def rise(self) -> Floats:
        """[S, K]: the mean change of each class's log-odds against strength 0."""
        return np.asarray((self.log_odds - self.log_odds[:, :1]).mean(axis=0))


@torch.no_grad()
def move(
    generator: Generator,
    judge: AnatomyNetwork,
    score: ClassifierScore,
    codes: CodeBatch,
    originals: Tensor,
    direction: Tensor,
    strengths: Sequence[float],
    batch: int = 32,
    advance: Callable[[int], None] = lambda scans: None,
) -> Moved:
    """Move the codes of N scans along `direction` [1 or num_ws, D] by 0 and each of `strengths`, all positive.

    `originals` [N, 1, R, R] in [-1, 1]. `advance` is told how many scans are done.
    """
    rising = [0.0, *sorted({float(strength) for strength in strengths} - {0.0})]
    count, everywhere = len(rising), np.ones((generator.resolution,) * 2, dtype=np.bool_)
    gallery = originals[:, 0].numpy()
    log_odds, parts = list[Floats](), list[Anatomy]()
    nearest, change = list[Bools](), list[Floats]()
    step = max(CHUNK // count, 1)
    for start in range(0, len(codes.w), step):
        some = codes.take(slice(start, start + step))
        moved = edit(some.w, direction.to(some.w), rising, generator.num_ws)
        owned = some.take(torch.arange(len(moved)).repeat_interleave(count))
        made = torch.cat(list(synthesize(generator, moved.flatten(0, 1), owned.noise, batch, owned.tuning)))
        log_odds.append(score_classes(score, made, batch).reshape(len(moved), count, -1))
        parts.append(measure_images(judge, made, batch))
        for one in made[:, 0].numpy().reshape(len(moved), count, *everywhere.shape):
            nearest.append(own_is_nearest(one, gallery, len(nearest), everywhere))
            change.append(np.abs(one - one[0]).mean((1, 2), dtype=np.float64) / 2)
        advance(min(start + step, len(codes.w)))
    anatomy, shape = Anatomy.join(parts), (len(codes.w), count)
    return Moved(
        np.array(rising),
        np.concatenate(log_odds),
        {name: getattr(anatomy, name).reshape(shape) for name in SHOWN},
        anatomy.plausible.reshape(shape),
        np.stack(nearest),
        np.stack(change),
    )


def judge_direction(
    moved: Moved, random: Mapping[str, Sequence[Moved]], classes: Sequence[str], own: str, companions: Sequence[str]
) -> dict[str, Any]:
    """The figures of one direction at the least strength with an AUC of at least AUC, else at the largest.

    `own` is what should move, `companions` what is known to go with it, `random` directions of equal length by kind.
    """
    column = classes.index(own)
    count, unedited = len(moved.log_odds), moved.log_odds[:, 0, column]
    scores = np.stack([np.concatenate([at, unedited]) for at in moved.log_odds[:, 1:, column].T])  # [strengths, 2 N]
    edited = np.arange(2 * count) < count
    areas = roc_auc(scores, np.broadcast_to(edited, scores.shape)).tolist()
    place = next((index for index, area in enumerate(areas, 1) if area >= AUC), len(areas))
    rise = moved.rise()[place]
    spread = moved.log_odds[:, 0].std(axis=0)  # between patients
    others = [index for index, name in enumerate(classes) if name != own and name not in companions]
    next_one = max(others, key=lambda index: abs(rise[index]), default=None)
    kinds = {kind: [_largest(one, place, column) for one in each] for kind, each in random.items() if each}
    largest = max((max(values) for values in kinds.values()), default=None)
    patients = np.tile(np.arange(count, dtype=np.int64), 2)
    used = moved.plausible[:, 0] & moved.plausible[:, place]
    figures: dict[str, Any] = {
        "class": own,
        "companions": list(companions),
        "scans": count,
        "strengths": moved.strengths.tolist(),
        "strength": float(moved.strengths[place]),
        "auc": areas[place - 1],
        "auc_interval": list(auc_interval(scores[place - 1], edited, patients)),
        "auc_by_strength": [0.5, *areas],
        "rising": float((moved.log_odds[:, place, column] > moved.log_odds[:, 0, column]).mean()),
        "rise": dict(zip(classes, rise.tolist(), strict=True)),
        "rise_in_deviations": dict(zip(classes, (rise / np.maximum(spread, 1e-9)).tolist(), strict=True)),
        "next": None if next_one is None else classes[next_one],
        "times_the_next": None if next_one is None else float(rise[column] / max(abs(rise[next_one]), 1e-9)),
        "random": kinds,
        "times_random": None if largest is None else float(rise[column] / max(largest, 1e-9)),
        "plausible": float(moved.plausible[:, place].mean()),
        "own_nearest": float(moved.own_nearest[:, place].mean()),
        "own_nearest_unedited": float(moved.own_nearest[:, 0].mean()),
        "change_of_grey": float(moved.change[:, place].mean()),
        "anatomy": {
            name: float(_change(name, values[used, 0], values[used, place]).mean()) if used.any() else None
            for name, values in moved.anatomy.items()
        },
    }
    return figures | {"fails": reasons(figures)}


def reasons(figures: Mapping[str, Any]) -> list[str]:
    """What a direction falls short of, a phrase each; none: it holds."""
    found = []
    if figures["auc"] < AUC:
        found.append(f"AUC {figures['auc']:.2f} of edited against unedited, less than {AUC:g}")
    if figures["times_the_next"] is not None and figures["times_the_next"] < SELECTIVE:
        found.append(f"moves {figures['next']} too: itself {figures['times_the_next']:.1f} times as far")
    if figures["times_random"] is not None and figures["times_random"] < STANDS_OUT:
        found.append(f"{figures['times_random']:.1f} times what random directions of equal length do")
    return found


def _largest(moved: Moved, place: int, column: int) -> float:
    """What a random direction does to a class: it has no sign, so a fall counts as a rise does."""
    return float(abs(moved.rise()[place, column]))


def _change(name: str, before: Floats, after: Floats) -> Floats:
    """Of the CTR as a difference, of lengths and areas as a share of what they were."""
    return after - before if name == "ctr" else after / before - 1
