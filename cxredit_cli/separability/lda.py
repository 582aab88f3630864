"""Whether a disease is a direction of the latent space: in-sample separation, and what is left of it on other patients.

In sample any labels separate when there are about as many dimensions as codes, so the held-out figures, and what random
labels give on the same codes, always stand beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxredit_cli.metrics.rank_statistics import auc_interval, permute_patients, roc_auc
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.separability.discriminant import Bools, Floats, PrincipalBasis, fit_classical, fit_shrinkage
from cxredit_cli.separability.folds import assign_folds

CHUNK = 128  # labellings at a time, so that memory does not grow with the number of permutations


@dataclass(frozen=True, slots=True)
class Separability:
    """What `lda` measured."""

    positives: int  # images
    negatives: int
    positive_patients: int  # patients with at least one image of the class
    negative_patients: int
    dimensions: int
    folds: int
    in_sample: (
        float  # |difference of means| / mean of the two standard deviations, fitted and measured on the same codes
    )
    in_sample_null: Floats  # [permutations] the same with patients' labels exchanged
    held_out: (
        float  # the same on patients that were not fitted; negative where the classes come out the wrong way round
    )
    held_out_null: Floats  # [permutations]
    auc: float  # of the held-out projections
    auc_interval: tuple[float, float]  # 95 %
    auc_null: Floats  # [permutations]
    p_value: float  # (1 + permutations with an AUC as large) / (1 + permutations)
    axis: Floats  # [D] unit vector, of shrinkage LDA on all codes, positive class at the positive end
    shrinkage: float
    class_gap: float  # distance of the class means along the axis, in units of strength (in sample)
    class_deviation: float  # within-class standard deviation along the axis, in units of strength (in sample)
    in_sample_projections: Floats  # [N] in within-class deviations, 0 halfway between the classes
    held_out_projections: Floats  # [N]

    def figures(self) -> dict[str, Any]:
        """Plain values, for the direction file and for --json; each null as its central 95 %."""
        plain = {
            f.name: getattr(self, f.name) for f in fields(self) if not isinstance(getattr(self, f.name), np.ndarray)
        }
        for name in ("in_sample_null", "held_out_null", "auc_null"):
            plain[f"{name}_95"] = [float(end) for end in np.quantile(getattr(self, name), [0.025, 0.975])]
        return plain | {"permutations": len(self.auc_null), "interval": "95 % bootstrap over patients"}


def separation(projections: Floats, positive: Bools) -> Floats:
    """(mean of positives - mean of negatives) / mean of their two standard deviations, of projections [..., N].

    The paper's figure (Saboo et al. 2020, section on LDA) with its sign kept; sample standard deviations.
    """
    members = np.stack([~positive, positive]).astype(np.float64)
    counts = members.sum(axis=-1)
    means = (members * projections).sum(axis=-1) / counts
    squares = (members * np.square(projections - means[..., None])).sum(axis=-1)
    deviations = np.sqrt(squares / np.maximum(counts - 1, 1))
    return np.asarray((means[1] - means[0]) / np.maximum(deviations.mean(axis=0), np.finfo(np.float64).tiny))


def lda(
    codes: NDArray[np.floating],
    positive: Sequence[bool] | Bools,
    patients: Sequence[str],
    folds: int = 5,
    permutations: int = 200,
    seed: int = 0,
    progress: Progress | None = None,
) -> Separability:
    """Measure how far an axis separates codes [N, ...] of two classes, on the codes themselves and on other patients.

    Held-out projections come from shrinkage LDA in `folds` folds that keep each patient together, centred and scaled
    by the training part of their fold. Permutations exchange labels between patients of one fold. Raises InputError
    when a class has fewer patients than folds.
    """
    progress = progress or SilentProgress()
    x = np.asarray(codes, dtype=np.float64).reshape(len(codes), -1)
    dimensions = x.shape[1]
    labels = np.asarray(positive, dtype=np.bool_)
    patient = np.unique(np.asarray(patients), return_inverse=True)[1].astype(np.int64)
    fold = assign_folds(labels, patient, folds, seed)
    null = permute_patients(labels, patient, fold, permutations, seed)
    every = np.concatenate([labels[None], null])  # row 0 is the truth

    progress.start("Separating", folds + 1, unit="fold")
    basis = PrincipalBasis.of(x)
    x = basis.coordinates(x)  # no more columns than codes from here on; lengths and angles stay
    in_sample = np.concatenate(
        [separation(fit_classical(x, basis.variances, part).project(x), part) for part in _chunks(every)]
    )
    progress.advance(1)
    held_out = np.empty(every.shape)
    for index in range(folds):
        held_out[:, fold == index] = _project_held_out(x, every, fold != index, dimensions)
        progress.advance(index + 2)
    progress.finish()

    final = fit_shrinkage(x, basis.variances, labels[None], dimensions)
    axis = basis.vectors @ final.axes[0]
    unscaled = x @ final.axes[0]
    areas, separations = roc_auc(held_out, every), separation(held_out, every)
    return Separability(
        positives=int(labels.sum()),
        negatives=int((~labels).sum()),
        positive_patients=len(np.unique(patient[labels])),
        negative_patients=len(np.unique(patient[~labels])),
        dimensions=dimensions,
        folds=folds,
        in_sample=abs(float(in_sample[0])),
        in_sample_null=np.abs(in_sample[1:]),
        held_out=float(separations[0]),
        held_out_null=separations[1:],
        auc=float(areas[0]),
        auc_interval=auc_interval(held_out[0], labels, patient, seed=seed),
        auc_null=areas[1:],
        p_value=float((1 + (areas[1:] >= areas[0]).sum()) / (1 + permutations)),
        axis=axis / np.linalg.norm(axis),
        shrinkage=float(final.shrinkage[0]),
        class_gap=float(unscaled[labels].mean() - unscaled[~labels].mean()),
        class_deviation=float(final.deviations[0]),
        in_sample_projections=fit_classical(x, basis.variances, labels[None]).project(x)[0],
        held_out_projections=held_out[0],
    )


def _project_held_out(x: Floats, labellings: Bools, training: Bools, dimensions: int) -> Floats:
    """Projections [P, held-out codes] on the axes that each labelling of the training codes gives."""
    basis = PrincipalBasis.of(x[training])
    fitted, held = basis.coordinates(x[training]), basis.coordinates(x[~training])
    parts = (fit_shrinkage(fitted, basis.variances, part[:, training], dimensions) for part in _chunks(labellings))
    return np.concatenate([part.project(held) for part in parts])


def _chunks(labellings: Bools) -> list[Bools]:
    return [labellings[start : start + CHUNK] for start in range(0, len(labellings), CHUNK)]
