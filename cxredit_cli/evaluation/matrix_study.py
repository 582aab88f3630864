"""The matrix of findings from beginning to end: scans, codes, directions and random ones beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from cxredit_cli.errors import InputError
from cxredit_cli.evaluation.dose import random_directions
from cxredit_cli.evaluation.dose_study import Cohort, find_cohort
from cxredit_cli.evaluation.matrix import Moved, judge_direction, move
from cxredit_cli.evaluation.realism_study import split_notes
from cxredit_cli.latent.responses import reach
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.networks.any_classifier import ClassifierScore
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.directions import Direction
from cxredit_cli.storage.models import Model, fingerprint

SHARES = (0.25, 0.5, 0.75, 1.0)  # of `reach`, where no strengths are asked for


@dataclass(frozen=True, slots=True)
class Asked:
    """A direction, and what of the classifier's classes it is meant to move."""

    where: Path
    direction: Direction
    own: str
    companions: tuple[str, ...]  # classes that are known to go with it


def ask(
    where: Path, direction: Direction, classes: Sequence[str], companions: Mapping[str, Sequence[str]], own: str | None
) -> Asked:
    """What a direction should move: `own`, else the class of its name. Raises InputError where there is none such."""
    wanted = own or direction.name
    found = next((name for name in classes if name.lower() == wanted.lower()), None)
    if found is None:
        raise InputError(
            f"{where} moves '{wanted}', which the classifier does not know; it knows {', '.join(classes)}. "
            "Say which of them it should move with --class."
        )
    beside = tuple(companions.get(found, ()))
    for name in beside:
        if name not in classes:
            raise InputError(f"--companion {found}: '{name}' is none of the classes {', '.join(classes)}.")
    return Asked(where, direction, found, beside)


def evaluate_matrix(
    model: Model,
    judge: AnatomyNetwork,
    score: ClassifierScore,
    dataset: Dataset,
    asked: Sequence[Asked],
    cohort: Cohort,
    strengths: Sequence[float] | None = None,
    randoms: int = 5,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Every direction on the same unseen scans, with `randoms` random directions of each kind, as plain values.

    Raises InputError for too few scans or strengths below 0, MismatchError for a direction or codes of another model.
    """
    generator, progress = model.generator, progress or SilentProgress()
    for each in asked:
        each.direction.check_generator(model.fingerprint, each.where)
    if strengths is not None and (min(strengths) < 0 or max(strengths) <= 0):
        raise InputError("The strengths of a matrix must be positive; turn a direction round to look at its other end.")
    scans, codes = find_cohort(model, judge, dataset, cohort, progress)
    sizes = sorted({len(each.direction.direction) for each in asked})
    null = {size: random_directions(generator, size, randoms, cohort.seed) for size in sizes}
    total = len(asked) + sum(len(vectors) for kinds in null.values() for vectors in kinds.values())
    done = 0
    progress.start("Judging directions", total * len(scans))

    def measure(along: torch.Tensor) -> Moved:
        nonlocal done
        before = done
        values = strengths or [round(share * reach(generator, len(along)), 2) for share in SHARES]
        done += len(scans)
        advance = partial(_advance, progress, before)
        return move(generator, judge, score, codes, scans.images, along, values, cohort.batch, advance)

    random = {
        size: {kind: [measure(vector) for vector in vectors] for kind, vectors in kinds.items()}
        for size, kinds in null.items()
    }
    rows = []
    for each in asked:
        moved = measure(torch.from_numpy(each.direction.direction))
        kinds = random[len(each.direction.direction)]
        rows.append(
            {
                **{"name": each.direction.name, "method": each.direction.method, "file": each.where.name},
                "sha": each.direction.digest,
                **judge_direction(moved, kinds, score.classes, each.own, each.companions),
            }
        )
    progress.finish()
    return {
        "classifier": {"file": score.file, "sha": score.sha, "classes": list(score.classes)},
        "judge": fingerprint(judge.state_dict()),
        "cohort": scans.described | {"codes": codes.how},
        "directions": rows,
        "notes": split_notes(model, cohort.split, dataset),
    }


def _advance(progress: Progress, before: int, scans: int) -> None:
    progress.advance(before + scans)


def to_keep(document: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """What a direction's file keeps of its row: the figures, on whom, and by what they were judged."""
    own = {name: value for name, value in row.items() if name not in ("name", "method", "file", "sha")}
    return own | {name: document[name] for name in ("classifier", "cohort", "notes")}
