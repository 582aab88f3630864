"""A direction from labelled codes, and how well it tells the classes apart on patients that were not fitted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from cxredit_cli.directions.controls import Residuals
from cxredit_cli.directions.linear_classifiers import Loss, Problem, fit_classifiers
from cxredit_cli.errors import InputError, known_word
from cxredit_cli.metrics.rank_statistics import auc_interval, permute_patients, roc_auc
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.separability.code_rows import CodeRows
from cxredit_cli.separability.discriminant import Bools, Floats, PrincipalBasis, fit_shrinkage
from cxredit_cli.separability.folds import assign_folds
from cxredit_cli.separability.shrinkage import SHRINKAGES

LabelMethod = Literal["means", "lda", "logistic", "svm"]

PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # sklearn's C for codes of unit variance: from means to a free fit
CLASSIFIERS = ("logistic", "svm")
INNER_FOLDS = 3
PERMUTATIONS = 200
MAX_ITERATIONS = 5000  # of the classifier on controls alone


@dataclass(frozen=True, slots=True)
class Labelled:
    """What the codes of two classes gave."""

    axis: Floats  # [D] unit vector, positive class at the positive end
    statistics: dict[str, Any]  # plain values


@dataclass(frozen=True, slots=True)
class _Cohort:
    """N codes with everything that is known of them."""

    x: CodeRows
    controls: Floats  # [N, k]
    positive: Bools  # [N]
    patients: NDArray[np.int64]  # [N]
    penalties: tuple[float, ...]  # to choose from, the strongest first

    def part(self, members: Bools) -> "_Cohort":
        rows = (self.controls[members], self.positive[members], self.patients[members])
        return _Cohort(self.x.part(members), *rows, self.penalties)


@dataclass(frozen=True, slots=True)
class _Fit:
    axis: Floats  # [D] unit vector
    residuals: Residuals
    penalty: float | None  # what was chosen: of SHRINKAGES for lda, else of PENALTIES

    @classmethod
    def of(cls, axis: Floats, residuals: Residuals, penalty: float | None) -> Self:
        """Raises InputError for an axis that has no length."""
        length = np.linalg.norm(axis)
        if not length > 0:
            raise InputError("The two classes have the same codes, so no direction leads from one to the other.")
        return cls(np.asarray(axis / length), residuals, penalty)


def check_method(method: str) -> LabelMethod:
    """Raise InputError unless `method` is one for labelled codes."""
    known: LabelMethod = known_word(method, LabelMethod, "--how for labelled codes")
    return known


def labelled_direction(
    codes: NDArray[np.floating] | CodeRows,
    positive: Bools,
    patients: list[str],
    method: LabelMethod,
    controls: Floats | None = None,
    folds: int = 5,
    seed: int = 0,
    progress: Progress | None = None,
    coordinates: Floats | None = None,
) -> Labelled:
    """The direction from the negative to the positive class of codes [N, ...], and its AUC on held-out patients.

    means: difference of the class means. lda: shrinkage LDA (Ledoit and Wolf 2004). logistic: L2 logistic regression.
    svm: linear support vector machine (as InterFaceGAN, Shen et al. 2020). The penalties of the last two are chosen
    on folds within the fitted codes. `controls` [N, k] are taken out of the codes by regression on the fitted codes,
    and logistic and svm also get them as variables of their own, so that labels which the controls explain need not be
    explained by codes. Codes are read a part at a time. With `coordinates` [D, K] (`visible_coordinates`) all is done
    to codes times these, which are held, and lda chooses its shrinkage as the others their penalties. Raises InputError
    when a class has fewer patients than folds.
    """
    progress = progress or SilentProgress()
    patient = np.unique(np.asarray(patients), return_inverse=True)[1].astype(np.int64)
    none = np.empty((len(codes), 0))
    x = CodeRows.of(codes)
    penalties: tuple[float, ...] = PENALTIES if method in CLASSIFIERS else ()
    if coordinates is not None:
        x = CodeRows.of(x.project(coordinates.T).T)
        penalties = SHRINKAGES if method == "lda" else penalties
    cohort = _Cohort(x, none if controls is None else controls, positive, patient, penalties)
    fold = assign_folds(positive, patient, folds, seed)
    controlled = cohort.controls.shape[1] > 0
    if controlled:
        _check_overlap(cohort)
    fits = _fit_all(cohort, fold, method, seed, progress)
    axis, length = _in_codes(fits[-1].axis, coordinates)
    projections = _project(cohort, fits)
    scores = _held_out(projections, fold, positive)
    statistics: dict[str, Any] = _describe(cohort, projections[-1], scores, fold, seed)
    statistics["penalty"] = fits[-1].penalty
    for name in ("class_gap", "class_deviation"):
        statistics[name] /= length
    if controlled:
        plain = replace(cohort, controls=none)
        without = _fit_all(plain, fold, method, seed, progress)
        statistics["controls_explain_of_codes"] = fits[-1].residuals.explained(cohort.x, cohort.controls)
        statistics["auc_of_controls_alone"] = float(roc_auc(_controls_alone(cohort, fold), positive))
        statistics["auc_without_controls"] = float(
            roc_auc(_held_out(_project(plain, without), fold, positive), positive)
        )
        statistics["cosine_without_controls"] = float(axis @ _in_codes(without[-1].axis, coordinates)[0])
    return Labelled(axis, statistics)


def _in_codes(axis: Floats, coordinates: Floats | None) -> tuple[Floats, float]:
    """A unit axis of coordinates as one of codes [D], and how much longer projections on the first are."""
    if coordinates is None:
        return axis, 1.0
    vector = coordinates @ axis
    length = float(np.linalg.norm(vector))
    return vector / length, length


def _check_overlap(cohort: _Cohort) -> None:
    """Raise InputError where the label is a linear function of the controls: there is nothing left to compare."""
    labels = CodeRows.of(cohort.positive.astype(np.float64))
    if Residuals.fit(labels, cohort.controls).explained(labels, cohort.controls) > 1 - 1e-6:
        raise InputError(
            "The controls have the two classes apart already, so nothing is left for the codes to explain; control for "
            "something that both classes share."
        )


def _describe(
    cohort: _Cohort, projections: Floats, scores: Floats, fold: NDArray[np.int64], seed: int
) -> dict[str, Any]:
    positive, patients = cohort.positive, cohort.patients
    area = float(roc_auc(scores, positive))
    null = roc_auc(scores, permute_patients(positive, patients, fold, PERMUTATIONS, seed))
    gap = projections[positive].mean() - projections[~positive].mean()
    within = np.sqrt((projections[positive].var() + projections[~positive].var()) / 2)
    return {
        "positives": int(positive.sum()),
        "negatives": int((~positive).sum()),
        "positive_patients": len(np.unique(patients[positive])),
        "negative_patients": len(np.unique(patients[~positive])),
        "folds": int(fold.max()) + 1,
        "seed": seed,
        "auc": area,
        "auc_interval": list(auc_interval(scores, positive, patients, seed=seed)),
        "p_value": float((1 + (null >= area).sum()) / (1 + PERMUTATIONS)),
        "auc_in_sample": float(roc_auc(projections, positive)),
        "class_gap": float(gap),
        "class_deviation": float(within),
    }


def _fit_all(
    cohort: _Cohort, fold: NDArray[np.int64], method: LabelMethod, seed: int, progress: Progress
) -> list[_Fit]:
    """What each fold's others give, then what all codes give."""
    sets = [fold != index for index in range(int(fold.max()) + 1)] + [np.ones(len(fold), dtype=np.bool_)]
    if method in CLASSIFIERS:
        return _classify(cohort, sets, "svm" if method == "svm" else "logistic", seed, progress)
    fits = []
    progress.start("Fitting", len(sets), unit="fit")
    for done, members in enumerate(sets, start=1):
        fits.append(_fit(cohort.part(members), method, seed))
        progress.advance(done)
    progress.finish()
    return fits


def _fit(cohort: _Cohort, method: LabelMethod, seed: int) -> _Fit:
    if not cohort.penalties:
        return _fit_with(cohort, method, None)
    fold = assign_folds(cohort.positive, cohort.patients, INNER_FOLDS, seed)
    sets = [fold != index for index in range(INNER_FOLDS)]
    areas = []
    for penalty in cohort.penalties:
        fits = [_fit_with(cohort.part(members), method, penalty) for members in sets]
        areas.append(float(roc_auc(_held_out(_project(cohort, fits), fold, cohort.positive), cohort.positive)))
    return _fit_with(cohort, method, _best(cohort.penalties, areas))


def _fit_with(cohort: _Cohort, method: LabelMethod, shrinkage: float | None) -> _Fit:
    """The difference of the means, or the axis of LDA; None: with as much shrinkage as is derived."""
    residuals = Residuals.fit(cohort.x, cohort.controls)
    left = residuals.of(cohort.x, cohort.controls)
    if method == "means":
        classes = np.stack([cohort.positive, ~cohort.positive])
        means = left.sums(classes) / classes.sum(axis=1)[:, None]
        return _Fit.of(means[0] - means[1], residuals, None)
    basis = PrincipalBasis.of(left)
    axis = fit_shrinkage(left, basis, cohort.positive[None], left.dimensions, shrinkage).axes[0]
    return _Fit.of(axis, residuals, shrinkage)


def _classify(cohort: _Cohort, sets: list[Bools], loss: Loss, seed: int, progress: Progress) -> list[_Fit]:
    """Classifiers of each set of codes, with the penalty that does best on folds within the set."""
    basis = PrincipalBasis.of(cohort.x)
    progress.start("Fitting", None, unit="step")
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        progress.advance(done)

    def fit(chosen: list[tuple[Bools, Residuals, float]]) -> list[_Fit]:
        problems = [Problem(*each) for each in chosen]
        axes = fit_classifiers(cohort.x, basis, cohort.controls, cohort.positive, problems, loss, step)
        return [_Fit.of(axis, one.residuals, one.inverse_penalty) for axis, one in zip(axes, problems, strict=True)]

    def residuals(members: Bools) -> Residuals:
        return Residuals.fit(cohort.x.part(members), cohort.controls[members])

    folds = [assign_folds(cohort.positive[one], cohort.patients[one], INNER_FOLDS, seed) for one in sets]
    inner = []
    for members, fold in zip(sets, folds, strict=True):
        for index in range(INNER_FOLDS):
            fitted = members.copy()
            fitted[members] = fold != index
            inner.append((fitted, residuals(fitted)))
    tried = fit([(*part, penalty) for penalty in cohort.penalties for part in inner])
    projections = _project(cohort, tried).reshape(len(cohort.penalties), len(sets), INNER_FOLDS, -1)
    chosen = []
    for index, (members, fold) in enumerate(zip(sets, folds, strict=True)):
        positive = cohort.positive[members]
        scores = [_held_out(some[index][:, members], fold, positive) for some in projections]
        areas = [float(roc_auc(one, positive)) for one in scores]
        chosen.append((members, residuals(members), _best(cohort.penalties, areas)))
    fits = fit(chosen)
    progress.finish()
    return fits


def _best(penalties: Sequence[float], areas: Sequence[float]) -> float:
    """The penalty with the best AUC; the stronger one where they are equal."""
    return penalties[int(np.argmax(np.round(areas, 4)))]


def _project(cohort: _Cohort, fits: Sequence[_Fit]) -> Floats:
    """Projections [F, N] of all codes, without what each fit found of the controls in them."""
    result = cohort.x.project(np.stack([fit.axis for fit in fits]))
    for row, fit in zip(result, fits, strict=True):
        row -= (cohort.controls - fit.residuals.centre) @ (fit.residuals.slopes @ fit.axis)
    return result


def _held_out(projections: Floats, fold: NDArray[np.int64], positive: Bools) -> Floats:
    """Of projections [K, N] on what each fold's others gave those of the fold: [N], scaled so that folds compare."""
    scores = np.empty(len(fold))
    for index in range(int(fold.max()) + 1):
        held, projected = fold == index, projections[index]
        ill, well = projected[~held & positive], projected[~held & ~positive]
        within = np.sqrt((ill.var() + well.var()) / 2)
        scores[held] = (projected[held] - (ill.mean() + well.mean()) / 2) / max(float(within), 1e-12)
    return scores


def _controls_alone(cohort: _Cohort, fold: NDArray[np.int64]) -> Floats:
    """Held-out scores [N] of a logistic regression on nothing but the controls."""
    scores = np.empty(len(fold))
    for index in range(int(fold.max()) + 1):
        training = fold != index
        machine = LogisticRegression(class_weight="balanced", max_iter=MAX_ITERATIONS)
        machine.fit(cohort.controls[training], cohort.positive[training])
        scores[~training] = machine.decision_function(cohort.controls[~training])
    return scores
