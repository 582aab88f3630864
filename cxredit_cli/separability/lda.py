"""Whether a disease is a direction of the latent space: in-sample separation, and what is left of it on other patients.

In sample any labels separate when there are about as many dimensions as codes, so the held-out figures, and what random
labels give on the same codes, always stand beside it. Codes are read a part at a time (`code_rows`); what is held
of all of them at once is one number for each labelling.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxredit_cli.metrics.rank_statistics import auc_interval, permute_patients, roc_auc
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.separability.code_rows import CodeRows, Moments, by_parts
from cxredit_cli.separability.discriminant import Bools, Floats, PrincipalBasis, fit_classical, fit_shrinkage
from cxredit_cli.separability.folds import assign_folds
from cxredit_cli.separability.shrinkage import choose_shrinkage


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
    shrinkage_in_folds: list[float] | None  # what was chosen without each fold; None: derived, not chosen
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


@dataclass(frozen=True, slots=True)
class _Fitted:
    """What N codes gave for P labellings, of which the first is the truth."""

    in_sample: Floats  # [P] separations
    in_sample_projections: Floats  # [N] of the truth
    held_out: Floats  # [P, N] projections
    axis: Floats  # [D] of shrinkage LDA on all codes, for the truth
    shrinkage: float
    shrinkage_in_folds: list[float] | None = None


def lda(
    codes: NDArray[np.floating] | CodeRows,
    positive: Sequence[bool] | Bools,
    patients: Sequence[str],
    folds: int = 5,
    permutations: int = 200,
    seed: int = 0,
    progress: Progress | None = None,
    coordinates: Floats | None = None,
) -> Separability:
    """Measure how far an axis separates codes [N, ...] of two classes, on the codes themselves and on other patients.

    Held-out projections come from shrinkage LDA in `folds` folds that keep each patient together, centred and scaled
    by the training part of their fold. Permutations exchange labels between patients of one fold. With `coordinates`
    [D, K] (`visible_coordinates`) LDA is of codes times these, which are held in memory, and shrunk by as much as does
    best on folds within the fitted patients; permuted labels choose in the same way. Raises InputError when a class has
    fewer patients than folds.
    """
    progress = progress or SilentProgress()
    x = CodeRows.of(codes)
    labels = np.asarray(positive, dtype=np.bool_)
    patient = np.unique(np.asarray(patients), return_inverse=True)[1].astype(np.int64)
    fold = assign_folds(labels, patient, folds, seed)
    null = permute_patients(labels, patient, fold, permutations, seed)
    every = np.concatenate([labels[None], null])  # row 0 is the truth
    if coordinates is None:
        found = _fit_codes(x, every, fold, progress)
    else:
        found = _fit_coordinates(x, coordinates, every, fold, progress)

    areas, separations = by_parts(roc_auc, found.held_out, every), by_parts(separation, found.held_out, every)
    axis = found.axis / np.linalg.norm(found.axis)
    unscaled = x.project(axis[None])[0]
    means = np.where(labels, unscaled[labels].mean(), unscaled[~labels].mean())
    return Separability(
        positives=int(labels.sum()),
        negatives=int((~labels).sum()),
        positive_patients=len(np.unique(patient[labels])),
        negative_patients=len(np.unique(patient[~labels])),
        dimensions=x.dimensions,
        folds=folds,
        in_sample=abs(float(found.in_sample[0])),
        in_sample_null=np.abs(found.in_sample[1:]),
        held_out=float(separations[0]),
        held_out_null=separations[1:],
        auc=float(areas[0]),
        auc_interval=auc_interval(found.held_out[0], labels, patient, seed=seed),
        auc_null=areas[1:],
        p_value=float((1 + (areas[1:] >= areas[0]).sum()) / (1 + permutations)),
        axis=axis,
        shrinkage=found.shrinkage,
        class_gap=float(unscaled[labels].mean() - unscaled[~labels].mean()),
        class_deviation=float((unscaled - means).std()),
        shrinkage_in_folds=found.shrinkage_in_folds,
        in_sample_projections=found.in_sample_projections,
        held_out_projections=found.held_out[0],
    )


def _fit_codes(x: CodeRows, every: Bools, fold: NDArray[np.int64], progress: Progress) -> _Fitted:
    """Of the codes as they are; of more dimensions than codes in as many coordinates as there are codes."""
    folds, dimensions = int(fold.max()) + 1, x.dimensions
    progress.start("Separating", folds + 1, unit="fold")
    moments, vectors = None, np.empty((0, 0))
    if len(x) > dimensions:
        moments = Moments.of(x, x.mean())
        basis = PrincipalBasis.of_moments(moments.copy())
    else:
        first = PrincipalBasis.of(x)
        vectors = first.vectors
        x = CodeRows.of(first.coordinates(x.all()))  # no more columns than codes; lengths and angles stay
        basis = PrincipalBasis(np.zeros(x.dimensions), np.eye(x.dimensions), first.variances)
    classical = fit_classical(x, basis, every).project(x)
    in_sample, in_sample_projections = by_parts(separation, classical, every), classical[0].copy()
    del classical
    final = fit_shrinkage(x, basis, every[:1], dimensions)
    axis = final.axes[0] if moments is not None else vectors @ final.axes[0]
    del basis
    progress.advance(1)
    held_out = np.empty(every.shape)
    for index in range(folds):
        held_out[:, fold == index] = _project_held_out(x, every, fold != index, dimensions, moments)
        progress.advance(index + 2)
    progress.finish()
    return _Fitted(in_sample, in_sample_projections, held_out, axis, float(final.shrinkage[0]))


def _fit_coordinates(
    x: CodeRows, coordinates: Floats, every: Bools, fold: NDArray[np.int64], progress: Progress
) -> _Fitted:
    """Of codes times `coordinates`, each labelling with the shrinkage that it chooses."""
    mapped = CodeRows.of(x.project(coordinates.T).T)
    chosen = choose_shrinkage(mapped, every, fold, progress)
    basis = PrincipalBasis.of(mapped)
    classical = fit_classical(mapped, basis, every).project(mapped)
    final = fit_shrinkage(mapped, basis, every[:1], mapped.dimensions, chosen.overall)
    return _Fitted(
        in_sample=by_parts(separation, classical, every),
        in_sample_projections=classical[0].copy(),
        held_out=chosen.held_out,
        axis=coordinates @ final.axes[0],
        shrinkage=chosen.overall,
        shrinkage_in_folds=chosen.in_folds,
    )


def _project_held_out(
    x: CodeRows, labellings: Bools, training: Bools, dimensions: int, moments: Moments | None
) -> Floats:
    """Projections [P, held-out codes] on the axes that each labelling of the training codes gives.

    `moments` are those of all codes; those of the held-out ones are taken out of them.
    """
    fitted, held = x.part(training), x.part(~training)
    if moments is not None and len(fitted) > x.dimensions:
        basis = PrincipalBasis.of_moments(moments.without(Moments.of(held, moments.about)))
    else:
        basis = PrincipalBasis.of(fitted)
    return fit_shrinkage(fitted, basis, labellings[:, training], dimensions).project(held)
