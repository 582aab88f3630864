"""The section `separability` of an evaluation: a labelled cohort in the codes, and by the heart's size alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cxredit_cli.anatomy.measures import Anatomy, measure_images
from cxredit_cli.directions.from_labels import control_columns, find_labelled_direction
from cxredit_cli.latent.code_batch import take_originals
from cxredit_cli.latent.visible import Metric, space_of, visible_coordinates
from cxredit_cli.metrics.rank_statistics import auc_interval, roc_auc
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.progress import Progress
from cxredit_cli.separability.code_rows import CodeRows
from cxredit_cli.separability.cohort import Cohort, choose_cohort
from cxredit_cli.separability.lda import lda
from cxredit_cli.storage.codes import Codes
from cxredit_cli.storage.labels import LabelTable
from cxredit_cli.storage.models import Model


def evaluate_separability(
    model: Model,
    codes: Codes,
    table: LabelTable,
    labels: tuple[str, str],
    judge: AnatomyNetwork,
    controls: Sequence[str] = (),
    metrics: Sequence[Metric] = (),
    folds: int = 5,
    permutations: int = 200,
    seed: int = 0,
    batch: int = 32,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Figures of `cxredit lda` for the first of `labels` against the second, held out by patient.

    Beside it those of what shows of the codes by each of `metrics`, the ROC AUC of the cardiothoracic ratio of the same
    images, by the judge, as what can be expected; and with `controls` what is left when they are taken out.
    """
    cohort = choose_cohort(codes.source, table, *labels)
    asked = (
        CodeRows.in_file(codes, cohort.rows),
        cohort.positive,
        cohort.patients,
        folds,
        permutations,
        seed,
        progress,
    )
    found = lda(*asked)
    space = space_of(codes.header.num_ws)
    shown = {metric: lda(*asked, visible_coordinates(model, space, metric, progress=progress)) for metric in metrics}
    section: dict[str, Any] = {
        **{"codes": str(codes.path), "method": codes.header.method, "space": codes.header.space},
        "steps": codes.header.steps,
        **{"positive": labels[0], "negative": labels[1], "patients_known": cohort.patients_known},
        **found.figures(),
        "by_metric": {metric: each.figures() for metric, each in shown.items()},
        "ctr_alone": _ctr_alone(codes, cohort, judge, seed, batch),
    }
    if controls:
        columns = control_columns(controls, codes, cohort, table, lambda: judge, progress)
        left = find_labelled_direction(codes, cohort, columns, labels, "lda", folds, seed, progress=progress)
        section["controlled"] = {"without": list(controls), **left.statistics}
    return section


def _ctr_alone(codes: Codes, cohort: Cohort, judge: AnatomyNetwork, seed: int, batch: int) -> dict[str, Any] | None:
    """ROC AUC of the CTR of the originals; None where too few have plausible outlines."""
    found = Anatomy.join([measure_images(judge, images, batch) for images in take_originals(codes, cohort.rows, batch)])
    values = np.where(found.plausible, found.ctr, np.nan)
    known = np.isfinite(values)
    positive = cohort.positive[known]
    if positive.all() or not positive.any():
        return None
    patients = np.unique(np.asarray(cohort.patients)[known], return_inverse=True)[1].astype(np.int64)
    return {
        "images": int(known.sum()),
        "auc": float(roc_auc(values[known][None], positive[None])[0]),
        "auc_interval": list(auc_interval(values[known], positive, patients, seed=seed)),
        "mean_positive": float(values[known][positive].mean()),
        "mean_negative": float(values[known][~positive].mean()),
    }
