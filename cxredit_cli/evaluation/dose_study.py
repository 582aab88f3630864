"""The section `dose` of an evaluation from beginning to end: scans, codes, the direction and random ones beside it."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxredit_cli.errors import InputError
from cxredit_cli.evaluation.dose import Dose, measure_dose, random_directions
from cxredit_cli.evaluation.dose_summary import summarise_dose, summarise_null
from cxredit_cli.evaluation.realism_study import split_notes
from cxredit_cli.evaluation.scans import Scans, choose_scans, invert_scans, rows_with_codes
from cxredit_cli.latent.code_batch import CodeBatch, take_codes
from cxredit_cli.latent.responses import default_strengths
from cxredit_cli.latent.synthesize import synthesize
from cxredit_cli.metrics.classification import classify, score_pictures
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.networks.any_classifier import ClassifierScore
from cxredit_cli.processes import ALONE, Processes
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.storage.classifier_network import TrainedClassifier
from cxredit_cli.storage.codes import Codes
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.directions import Direction
from cxredit_cli.storage.models import Model, fingerprint

LIMIT_SHOWN = 4  # patients drawn in the report


@dataclass(frozen=True, slots=True)
class Cohort:
    """Which scans, and how they become codes."""

    split: str = "val"
    view: str = "PA"
    label: str = "No Finding"
    n: int = 100
    seed: int = 0
    method: str | None = None
    space: str | None = None
    steps: int = 50
    batch: int = 32
    codes: Codes | None = None  # made before; only scans that have one are taken then


@dataclass(frozen=True, slots=True)
class Judged:
    """The section of the report, and pictures for its page."""

    document: dict[str, Any]
    pictures: Tensor  # [P, S, 1, R, R] of the first scans at every strength
    originals: Tensor  # [P, 1, R, R]


def find_cohort(
    model: Model,
    judge: AnatomyNetwork,
    dataset: Dataset,
    cohort: Cohort,
    progress: Progress | None = None,
    processes: Processes = ALONE,
) -> tuple[Scans, CodeBatch]:
    """The scans and their codes, from the file where one is given, else made now."""
    among = None
    if cohort.codes is not None:
        cohort.codes.check_generator(model.fingerprint)
        among = rows_with_codes(dataset, cohort.codes)
    which = (cohort.split, cohort.view, cohort.label, cohort.n, cohort.seed, among, cohort.batch)
    scans = processes.from_first(lambda: choose_scans(dataset, judge, *which))
    if cohort.codes is not None and among is not None:
        return scans, take_codes(cohort.codes, [among[int(row)] for row in scans.rows])
    how = (cohort.method, cohort.space, cohort.steps, cohort.batch)
    codes, _ = invert_scans(model, scans.images, *how, progress, processes)
    return scans, codes


def evaluate_dose(
    model: Model,
    judge: AnatomyNetwork,
    dataset: Dataset,
    direction: Direction,
    where: Path,
    cohort: Cohort,
    strengths: list[float] | None = None,
    randoms: int = 5,
    progress: Progress | None = None,
    classifier: TrainedClassifier | ClassifierScore | None = None,
    processes: Processes = ALONE,
) -> Judged:
    """Dose-response of a direction read from `where`, on unseen scans, with `randoms` random directions of each kind.

    `classifier` is a second judge beside the anatomy network `judge`; it may be anybody's. Several `processes` share
    the scans, and all have the section. Raises InputError for too few scans or strengths, MismatchError for a direction
    or codes of another generator.
    """
    direction.check_generator(model.fingerprint, where)
    generator, progress = model.generator, progress or SilentProgress()
    vector = torch.from_numpy(direction.direction)
    strengths = sorted({*(strengths or default_strengths(generator, len(vector))), 0.0})
    if len(strengths) < 2:
        raise InputError("--sweep must have strengths besides 0.")
    scans, codes = find_cohort(model, judge, dataset, cohort, progress, processes)
    null = random_directions(generator, len(vector), randoms, cohort.seed)
    done, each = 0, len(scans)
    progress.start("Dose-response", each * (1 + sum(map(len, null.values()))))

    def measure(along: Tensor) -> Dose:
        nonlocal done
        before = done
        found = measure_dose(
            generator,
            judge,
            codes,
            scans.images,
            along,
            strengths,
            batch=cohort.batch,
            advance=lambda scans_done: progress.advance(before + scans_done),
            log_odds_of=None if classifier is None else partial(log_odds_by, classifier, batch=cohort.batch),
            processes=processes,
        )
        done += each
        return found

    found = measure(vector)
    random = {kind: [measure(along) for along in vectors] for kind, vectors in null.items()}
    progress.finish()
    summary = summarise_dose(found)
    document = {
        "direction": {"name": direction.name, "method": direction.method, "file": where.name, "sha": direction.digest},
        "cohort": scans.described | {"codes": codes.how},
        "judge": fingerprint(judge.state_dict()),
        "classifier_judge": None if classifier is None else describe_classifier(classifier),
        **summary,
        "null": summarise_null(random, summary) if randoms else [],
        "notes": [*split_notes(model, cohort.split, dataset), *_classifier_notes(classifier, cohort, dataset)],
    }
    return Judged(document, *_shown(model, codes, scans, vector, strengths, found))


def log_odds_by(classifier: TrainedClassifier | ClassifierScore, images: Tensor, batch: int) -> NDArray[np.float64]:
    """The log-odds [N] of pictures [N, 1, R, R] by a classifier of either kind."""
    if isinstance(classifier, ClassifierScore):
        return score_pictures(classifier, images, batch)
    return classify(classifier.network, images, batch)


def describe_classifier(classifier: TrainedClassifier | ClassifierScore) -> dict[str, Any]:
    """What the report says of the classifier: of what, and its AUC on patients that it did not learn from, if known."""
    if isinstance(classifier, ClassifierScore):
        unknown = dict.fromkeys(("negative", "view", "data"))
        return {"file": classifier.file, "sha": classifier.sha, "positive": classifier.wanted, **unknown, "tested": []}
    info = classifier.info
    tested = [{"on": "patients of val", **info["val"], "auc": info["auc"], "auc_interval": info["auc_interval"]}]
    if "by_folds" in info:
        folds = info["by_folds"]
        tested.insert(0, {"on": f"{folds['folds']} folds by patient", **folds})
    figures = ("on", "auc", "auc_interval", "positive_images", "negative_images")
    return {
        "file": classifier.name,
        "sha": fingerprint(classifier.network.state_dict()),
        **{name: info[name] for name in ("positive", "negative", "view", "data")},
        "tested": [{name: test[name] for name in figures} for test in tested if test["auc"] is not None],
    }


def _classifier_notes(
    classifier: TrainedClassifier | ClassifierScore | None, cohort: Cohort, dataset: Dataset
) -> list[str]:
    """What stands against its judgement."""
    if classifier is None:
        return []
    if isinstance(classifier, ClassifierScore):
        return ["What the classifier was trained on is not known here: it may have seen these patients."]
    notes, split = [], classifier.info["split"]
    ours = {name: dataset.attributes[name] for name in ("seed", "val_fraction")}
    if cohort.split != "val" or split != ours:
        notes.append("The classifier may have been trained on some of these patients.")
    if cohort.view != classifier.info["view"]:
        notes.append(
            f"The classifier learnt from {classifier.info['view']} images, and these are of view {cohort.view}."
        )
    return notes


def _shown(
    model: Model, codes: CodeBatch, scans: Scans, vector: Tensor, strengths: list[float], found: Dose
) -> tuple[Tensor, Tensor]:
    """Pictures of the first scans that count, at every strength: [P, S, 1, R, R] and their originals."""
    first = [index for index, good in enumerate(found.whole) if good][:LIMIT_SHOWN]
    moved = []
    for strength in strengths:
        some = codes.take(first)
        made = list(synthesize(model.generator, some.w + strength * vector, some.noise, tuning=some.tuning))
        moved.append(torch.cat(made) if made else scans.images[:0])
    return torch.stack(moved, dim=1), scans.images[first]
