"""When an edit cannot be carried over to a film, and why: a wrong edit that looks right is worse than none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cxredit_cli.anatomy.measures import Anatomy
from cxredit_cli.editing.cardiac_layer import Layer, sample
from cxredit_cli.editing.heart_border import Border, shift_at
from cxredit_cli.networks.anatomy import HEART, LEFT_LUNG, RIGHT_LUNG

CTRS_APART = 0.05  # of film and reconstruction: the generator shows another heart
# Illness that hides the heart's borders: of 54 PA films to choose on none is less certain, or has its heart reach so
# low; of 14 grossly ill ones (effusions, white lungs, oedema) 13 one or the other.
LEAST_CERTAINTY = 0.94
HIDDEN_BASE = 0.12  # that the heart reaches below a lung, of the chest's width
FALLING_BY = 0.006  # that the CTR may fall between strengths: the outlines' own noise
# Heart's centre from the middle of the chest, to the image's right, of the chest's width. Where the mediastinum is
# drawn to one side, or the patient turned, that lung is smaller: with SHIFTED of the difference added the side of the
# heart shows. Of 108 films none was below LEAST_TO_THE_LEFT, of their mirror images 92 %.
SHIFTED, LEAST_TO_THE_LEFT = 0.27, 0.008
LEAST_STEP = 0.03  # of the grey range, from heart to lung along the moved border
LEAST_CARRIED = 0.6  # of the change of the CTR that was wanted
METAL_ON_BORDER = 0.06  # share of the moved border that runs under a device


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the network says of the film, its reconstruction and the edits along the path."""

    film_ctr: float
    reconstruction_ctr: float
    film_problem: str
    reconstruction_problem: str
    strengths: NDArray[np.float64]  # [S], 0 among them
    ctrs: NDArray[np.float64]  # [S] of the generator's pictures
    problems: list[str]  # [S]
    centre: float  # how far the heart lies to the patient's left, of the chest's width; negative on mirrored films
    fit: NDArray[np.float64]  # [2] change of the CTR a unit and a squared unit of strength

    @classmethod
    def of(cls, anatomy: Anatomy, masks: NDArray[np.uint8], strengths: Sequence[float], certainty: float = 1.0) -> Self:
        """Evidence from the anatomy and the cleaned masks of the film, then of the pictures of `strengths`.

        `certainty` is that of the film's outlines (see `Segmentation`).
        """
        s = np.asarray(strengths, dtype=np.float64)
        zero = int(np.argmin(np.abs(s)))
        ctrs = anatomy.ctr[1:]
        changes = ctrs - ctrs[zero]
        known = np.isfinite(changes)
        basis = np.stack([s, s**2], axis=1)
        fit = np.linalg.lstsq(basis[known], changes[known], rcond=None)[0] if known.sum() > 2 else np.full(2, np.nan)
        lungs = np.flatnonzero(((masks[0] == RIGHT_LUNG) | (masks[0] == LEFT_LUNG)).any(axis=0))
        heart = np.nonzero(masks[0] == HEART)[1]
        centre = np.nan
        if len(lungs) and len(heart):
            from_middle = float((heart.mean() - (lungs[0] + lungs[-1]) / 2) / (lungs[-1] + 1 - lungs[0]))
            right, left = (float((masks[0] == organ).mean()) for organ in (RIGHT_LUNG, LEFT_LUNG))
            centre = from_middle + SHIFTED * (left - right) / (left + right)
        return cls(
            film_ctr=float(anatomy.ctr[0]),
            reconstruction_ctr=float(ctrs[zero]),
            film_problem=anatomy.problem[0] or hidden_border(masks[0], certainty),
            reconstruction_problem=anatomy.problem[1 + zero],
            strengths=s,
            ctrs=ctrs,
            problems=anatomy.problem[1:],
            centre=centre,
            fit=fit,
        )

    def change(self, strength: float) -> float:
        """How the edit of a strength changes the CTR of the reconstruction, by the fit along the path."""
        return float(self.fit[0] * strength + self.fit[1] * strength**2)

    def unusable(self) -> str:
        """Why no edit at all can be carried over to this film, "" where some may."""
        if self.film_problem:
            return f"no chest can be outlined on the film: {self.film_problem}"
        if self.reconstruction_problem:
            return f"the generator cannot show this film: {self.reconstruction_problem}"
        if abs(self.film_ctr - self.reconstruction_ctr) > CTRS_APART:
            return (
                f"the generator shows another heart: a cardiothoracic ratio of {self.reconstruction_ctr:.3f} where the "
                f"film has {self.film_ctr:.3f}"
            )
        if self.centre < LEAST_TO_THE_LEFT:
            return "the heart is on the image's left, as on a mirrored film"
        return ""

    def path_problem(self, strength: float) -> str:
        """Why the generator's own edit cannot be trusted at a strength, "" where it can."""
        index = int(np.argmin(np.abs(self.strengths - strength)))
        if self.problems[index]:
            return f"the generator's edit is no chest: {self.problems[index]}"
        along = self.strengths * np.sign(strength)  # 0 at the reconstruction, rising towards the edit
        on_the_way = [place for place in np.argsort(along) if 0 <= along[place] <= abs(strength)]
        steps = np.diff(self.ctrs[on_the_way])
        overall = self.ctrs[index] - self.reconstruction_ctr
        if len(steps) and (np.sign(overall) * steps < -FALLING_BY).any():
            return "the generator's edit makes the heart larger and smaller by turns"
        return ""


def hidden_border(mask: NDArray[np.uint8], certainty: float) -> str:
    """What hides the heart's border on a film with a cleaned mask [M, M] of all three organs, "" where nothing does."""
    if certainty < LEAST_CERTAINTY:
        return "the outlines are uncertain"
    lungs = (mask == RIGHT_LUNG) | (mask == LEFT_LUNG)
    columns = np.flatnonzero(lungs.any(axis=0))
    lowest = {organ: np.flatnonzero((mask == organ).any(axis=1))[-1] for organ in (RIGHT_LUNG, LEFT_LUNG, HEART)}
    below = lowest[HEART] - min(lowest[RIGHT_LUNG], lowest[LEFT_LUNG])
    if below > HIDDEN_BASE * (columns[-1] + 1 - columns[0]):
        return "the base of a lung is hidden"
    return ""


def refusal(
    evidence: Evidence,
    border: Border,
    layer: Layer,
    strength: float,
    gain: float,
    ctr: float,
    aim: float,
    side: int,
) -> str:
    """Why the edit of one strength, which reached `ctr`, cannot be trusted, "" where it can.

    `aim` is by how much the CTR was to change.
    """
    problem = evidence.path_problem(strength)
    if problem:
        return problem
    signed = shift_at(border, strength, gain)
    shift = np.abs(signed)
    weight = shift / max(float(shift.sum()), 1e-9)
    if float((weight * border.step).sum()) < LEAST_STEP:
        return "the border of the heart cannot be seen"
    # Where the border was, where it comes to lie, and between: a heart that grows may cover a device beside it.
    crossed = border.edge[:, None] + signed[:, None] * np.array([0.0, 0.5, 1.0])
    under = sample(layer.metal, side, border, crossed).max(axis=1)
    if float((weight * under).sum()) > METAL_ON_BORDER:
        return "a device lies on the border of the heart"
    if not np.isfinite(ctr):
        return "no chest can be outlined on the edited film"
    if abs(aim) > FALLING_BY and (ctr - evidence.film_ctr) / aim < LEAST_CARRIED:
        return "there is no room beside the heart for this edit"
    return ""
