"""Penalised linear classifiers of many parts of a cohort at once, of codes that need not fit into memory.

All classifiers are moved together by L-BFGS: each step reads the codes once, whatever there is to be fitted. The search
is in the coordinates of the codes' own principal axes, divided by how steep the loss is along each; so it takes few
steps, and ends where any other solver of the same problem does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from cxredit_cli.directions.controls import Residuals
from cxredit_cli.inversion.lbfgs import LBFGS
from cxredit_cli.separability.code_rows import CodeRows
from cxredit_cli.separability.discriminant import Bools, Floats, PrincipalBasis

Loss = Literal["logistic", "svm"]

CONTROL_WEIGHT = 30.0  # controls enter this much larger than codes: the penalty, which goes by the weights, spares them
TOLERANCE = 1e-5  # of the gradient in the coordinates of the search, as a share of the first
MAX_STEPS = 400
CURVATURE = {"logistic": 0.25, "svm": 1.0}  # of the loss of one code, about


@dataclass(frozen=True, slots=True)
class Problem:
    """One classifier: the codes that it learns from, and how weakly its weights are penalised."""

    members: Bools  # [N]
    residuals: Residuals  # of these codes; what they leave is learnt from
    inverse_penalty: float  # C, of codes of unit variance


def fit_classifiers(
    codes: CodeRows,
    basis: PrincipalBasis,
    controls: Floats,
    positive: Bools,
    problems: Sequence[Problem],
    loss: Loss,
    advance: Callable[[], None],
) -> Floats:
    """The weights [P, D] of each problem's classifier: of codes, positive class at the positive end.

    With x codes of unit variance on average, w weights and m = w x + b, each minimises |w|^2 / 2 + C sum(s l(y m)): s
    balances the classes, l(t) = log(1 + exp(-t)) for "logistic" and max(0, 1 - t)^2 for "svm", whose b is penalised as
    w is (as in LIBLINEAR, Fan et al. 2008). `controls` [N, k], hardly penalised, are variables beside the codes.
    `basis` is of all codes; `advance` is called after each step.
    """
    features = _Features.of(codes, basis, controls, problems, loss)
    found, length = np.zeros((len(problems), features.size)), np.ones(len(problems))
    search, at = LBFGS(torch.from_numpy(found)), np.arange(len(problems))
    for step in range(MAX_STEPS):
        found[at] = search.trial.numpy() * length[:, None]
        values, gradients = features.evaluate(codes, positive, problems, at, found[at], loss)
        if step == 0:  # the first step is about as long as the gradient: a length of 1 for the search
            length = np.linalg.norm(gradients, axis=1)
        gradients /= length[:, None]
        search.advance(torch.from_numpy(values / length**2), torch.from_numpy(gradients))
        advance()
        left = np.linalg.norm(gradients, axis=1) > TOLERANCE
        at, length = at[left], length[left]
        if not len(at):
            break
        search.keep(torch.from_numpy(left))
    return features.weights(found, np.arange(len(problems)))[0]


@dataclass(frozen=True, slots=True)
class _Features:
    """What the classifiers see, and the coordinates u [P, r + k + 1] of the search: of codes, controls and b."""

    controls: Floats  # [N, k]
    vectors: Floats  # [D, r] principal axes of the codes
    means: Floats  # [P, D] of each problem's codes
    centres: Floats  # [P, k] of their controls
    slopes: Floats  # [P, k, D] of codes on controls
    scales: Floats  # [P]: how far codes lie from their mean along an axis
    steepness: Floats  # [P, r + k + 1]: weight = u / steepness
    penalised: Floats  # [r + k + 1]: 1, or 0 for the b of "logistic"

    @classmethod
    def of(
        cls, codes: CodeRows, basis: PrincipalBasis, controls: Floats, problems: Sequence[Problem], loss: Loss
    ) -> "_Features":
        k, rank = controls.shape[1], len(basis.variances)
        means = np.stack([problem.residuals.mean for problem in problems])
        centres = np.stack([problem.residuals.centre for problem in problems])
        slopes = np.stack([problem.residuals.slopes for problem in problems])
        squares = np.concatenate([np.square(x - basis.mean).sum(axis=1) for _, x in codes.parts()])
        scales, steepness = np.empty(len(problems)), np.empty((len(problems), rank + k + 1))
        penalised = np.ones(rank + k + 1)
        penalised[-1] = loss == "svm"
        for index, problem in enumerate(problems):
            count = int(problem.members.sum())
            about = controls[problem.members] - centres[index]
            explained = np.sum((slopes[index] @ slopes[index].T) * (about.T @ about)) / count
            variance = squares[problem.members].mean() - np.square(means[index] - basis.mean).sum() - explained
            scales[index] = np.sqrt(variance / max(min(rank, count - 1 - k), 1))  # in as many dimensions they differ
            spread = np.concatenate([basis.variances / scales[index] ** 2, np.full(k, CONTROL_WEIGHT**2), [1.0]])
            steep = problem.inverse_penalty * CURVATURE[loss] * count * spread
            steepness[index] = np.sqrt(penalised + steep)
        return cls(controls, basis.vectors, means, centres, slopes, scales, steepness, penalised)

    @property
    def size(self) -> int:
        return len(self.penalised)

    def weights(self, u: Floats, of: NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
        """Weights of codes [n, D], of controls about their centre [n, k], and b [n], of the problems `of`."""
        rank = self.vectors.shape[1]
        z = u / self.steepness[of]
        a = (z[:, :rank] @ self.vectors.T) / self.scales[of, None]
        q = CONTROL_WEIGHT * z[:, rank:-1] - np.einsum("pkd,pd->pk", self.slopes[of], a)
        return a, q, z[:, -1] - (self.means[of] * a).sum(axis=1)

    def evaluate(
        self,
        codes: CodeRows,
        positive: Bools,
        problems: Sequence[Problem],
        of: NDArray[np.int64],
        u: Floats,
        loss: Loss,
    ) -> tuple[Floats, Floats]:
        """The losses [n] and their gradients by u [n, r + k + 1] of the problems `of`."""
        a, q, b = self.weights(u, of)
        members = np.stack([problems[index].members for index in of])
        strength = np.array([problems[index].inverse_penalty for index in of])
        signs = np.where(positive, 1.0, -1.0)
        counts = np.stack([(members & ~positive).sum(axis=1), (members & positive).sum(axis=1)])
        shares = strength * members.sum(axis=1) / (2 * counts)  # [2, n]: C s, of either class
        values = np.zeros(len(of))
        by_codes, by_controls, by_one = np.zeros_like(a), np.zeros_like(q), np.zeros_like(b)
        for places, x in codes.parts():
            beside = self.controls[places]
            margins = x @ a.T + beside @ q.T + (b - (self.centres[of] * q).sum(axis=1))
            sign = signs[places, None]
            share = np.where(positive[places, None], shares[1], shares[0]) * members[:, places].T
            cost, slope = _loss(loss, sign * margins)
            values += (share * cost).sum(axis=0)
            slope *= share * sign
            by_codes += slope.T @ x
            by_controls += slope.T @ beside
            by_one += slope.sum(axis=0)
        by_controls -= by_one[:, None] * self.centres[of]
        by_codes -= np.einsum("pkd,pk->pd", self.slopes[of], by_controls) + by_one[:, None] * self.means[of]
        by_axes = (by_codes / self.scales[of, None]) @ self.vectors
        gradient = np.concatenate([by_axes, CONTROL_WEIGHT * by_controls, by_one[:, None]], axis=1)
        z = u / self.steepness[of]
        values += (self.penalised * np.square(z)).sum(axis=1) / 2
        return values, (gradient + self.penalised * z) / self.steepness[of]


def _loss(loss: Loss, t: Floats) -> tuple[Floats, Floats]:
    """What codes at the distance `t` on their own side cost, and its derivative."""
    if loss == "logistic":
        return np.logaddexp(0, -t), -0.5 * (1 - np.tanh(t / 2))
    short = np.maximum(1 - t, 0)
    return np.square(short), -2 * short
