"""A direction from labelled codes, and how well it tells the classes apart on patients that were not fitted."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from cxredit_cli.directions.controls import Residuals
from cxredit_cli.errors import InputError, known_word
from cxredit_cli.metrics.rank_statistics import auc_interval, permute_patients, roc_auc
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.separability.code_rows import CodeRows
from cxredit_cli.separability.discriminant import Bools, Floats, PrincipalBasis, fit_shrinkage
from cxredit_cli.separability.folds import assign_folds
from cxredit_cli.separability.shrinkage import SHRINKAGES

LabelMethod = Literal["means", "lda", "logistic", "svm"]

PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # sklearn's C for codes of unit variance: from means to a free fit
INNER_FOLDS = 3
CONTROL_WEIGHT = 30.0  # controls enter this much larger than codes: the penalty, which goes by the weights, spares them
PERMUTATIONS = 200
MAX_ITERATIONS = 5000


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

    def project(self, cohort: _Cohort) -> Floats:
        return np.asarray(self.residuals.of(cohort.x, cohort.controls).project(self.axis[None])[0])


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
    explained by codes. means and lda read codes a part at a time, the others hold all of them. With `coordinates`
    [D, K] (`visible_coordinates`) all is done to codes times these, which are held, and lda chooses its shrinkage as
    the others their penalties. Raises InputError when a class has fewer patients than folds.
    """
    progress = progress or SilentProgress()
    patient = np.unique(np.asarray(patients), return_inverse=True)[1].astype(np.int64)
    none = np.empty((len(codes), 0))
    x = CodeRows.of(codes)
    penalties: tuple[float, ...] = PENALTIES if method in ("logistic", "svm") else ()
    if coordinates is not None:
        x = CodeRows.of(x.project(coordinates.T).T)
        penalties = SHRINKAGES if method == "lda" else penalties
    cohort = _Cohort(x, none if controls is None else controls, positive, patient, penalties)
    fold = assign_folds(positive, patient, folds, seed)
    controlled = cohort.controls.shape[1] > 0
    if controlled:
        _check_overlap(cohort)
    plain = _Cohort(cohort.x, none, positive, patient, penalties)
    progress.start("Fitting", (folds + 1) * (1 + controlled), unit="fit")
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        progress.advance(done)

    scores = _held_out(cohort, fold, method, seed, step)
    fit = _fit(cohort, method, seed)
    step()
    axis, length = _in_codes(fit.axis, coordinates)
    statistics: dict[str, Any] = _describe(cohort, fit, scores, fold, seed)
    for name in ("class_gap", "class_deviation"):
        statistics[name] /= length
    if controlled:
        statistics["controls_explain_of_codes"] = fit.residuals.explained(cohort.x, cohort.controls)
        statistics["auc_of_controls_alone"] = float(roc_auc(_controls_alone(cohort, fold), positive))
        statistics["auc_without_controls"] = float(roc_auc(_held_out(plain, fold, method, seed, step), positive))
        without, _ = _in_codes(_fit(plain, method, seed).axis, coordinates)
        statistics["cosine_without_controls"] = float(axis @ without)
        step()
    progress.finish()
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


def _describe(cohort: _Cohort, fit: _Fit, scores: Floats, fold: NDArray[np.int64], seed: int) -> dict[str, Any]:
    positive, patients = cohort.positive, cohort.patients
    area = float(roc_auc(scores, positive))
    null = roc_auc(scores, permute_patients(positive, patients, fold, PERMUTATIONS, seed))
    projections = fit.project(cohort)
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
        "penalty": fit.penalty,
    }


def _fit(cohort: _Cohort, method: LabelMethod, seed: int) -> _Fit:
    if not cohort.penalties:
        return _fit_with(cohort, method, None)
    return _fit_with(cohort, method, _choose_penalty(cohort, method, seed))


def _fit_with(cohort: _Cohort, method: LabelMethod, penalty: float | None) -> _Fit:
    residuals = Residuals.fit(cohort.x, cohort.controls)
    left = residuals.of(cohort.x, cohort.controls)
    if method == "means":
        classes = np.stack([cohort.positive, ~cohort.positive])
        means = left.sums(classes) / classes.sum(axis=1)[:, None]
        axis = means[0] - means[1]
    else:
        # No penalty here changes under a rotation, so the codes' own few coordinates serve as well as all dimensions.
        basis = PrincipalBasis.of(left)
        if method == "lda":
            axis = fit_shrinkage(left, basis, cohort.positive[None], left.dimensions, penalty).axes[0]
        else:
            assert penalty is not None
            scale = np.sqrt(basis.variances.mean())
            weights = _classify(method, basis.coordinates(left.all()) / scale, cohort, penalty)
            axis = basis.vectors @ weights
    length = np.linalg.norm(axis)
    if not length > 0:
        raise InputError("The two classes have the same codes, so no direction leads from one to the other.")
    return _Fit(np.asarray(axis / length), residuals, penalty)


def _classify(method: LabelMethod, coordinates: Floats, cohort: _Cohort, penalty: float) -> Floats:
    """The weights [r] of a linear classifier on coordinates [n, r] and, hardly penalised, the controls."""
    features = np.concatenate([coordinates, CONTROL_WEIGHT * (cohort.controls - cohort.controls.mean(axis=0))], axis=1)
    options: dict[str, Any] = {"C": penalty, "class_weight": "balanced", "max_iter": MAX_ITERATIONS}
    machine = (
        LogisticRegression(**options) if method == "logistic" else LinearSVC(**options, dual="auto", random_state=0)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last digits of a weak penalty change no direction
        machine.fit(features, cohort.positive)
    return np.asarray(machine.coef_[0, : coordinates.shape[1]], dtype=np.float64)


def _choose_penalty(cohort: _Cohort, method: LabelMethod, seed: int) -> float:
    """The penalty with the best AUC on inner folds by patient; the stronger one where they are equal."""
    fold = assign_folds(cohort.positive, cohort.patients, INNER_FOLDS, seed)
    areas = []
    for penalty in cohort.penalties:
        scores = _project_folds(cohort, fold, partial(_fit_with, method=method, penalty=penalty))
        areas.append(float(roc_auc(scores, cohort.positive)))
    return cohort.penalties[int(np.argmax(np.round(areas, 4)))]


def _held_out(
    cohort: _Cohort, fold: NDArray[np.int64], method: LabelMethod, seed: int, step: Callable[[], None]
) -> Floats:
    def fit(part: _Cohort) -> _Fit:
        found = _fit(part, method, seed)
        step()
        return found

    return _project_folds(cohort, fold, fit)


def _project_folds(cohort: _Cohort, fold: NDArray[np.int64], fit: Callable[[_Cohort], _Fit]) -> Floats:
    """Projections [N] on what the other folds gave, centred and scaled by those so that folds compare."""
    scores = np.empty(len(fold))
    for index in range(int(fold.max()) + 1):
        training, held = cohort.part(fold != index), cohort.part(fold == index)
        found = fit(training)
        fitted = found.project(training)
        middle = (fitted[training.positive].mean() + fitted[~training.positive].mean()) / 2
        within = np.sqrt((fitted[training.positive].var() + fitted[~training.positive].var()) / 2)
        scores[fold == index] = (found.project(held) - middle) / max(float(within), 1e-12)
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
