"""The figures of a dose-response: curves, what holds at a given rise of the CTR, and the null of random directions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxredit_cli.evaluation.dose import GREY, MEASURES, Dose
from cxredit_cli.metrics.classification import probability

Floats = NDArray[np.float64]

RISE = 0.10  # of the CTR: from the mean of normal hearts to that of cardiomegaly, PA films
PIXEL = 0.005  # of the CTR: one pixel of the outlines


def summarise_dose(dose: Dose, rise: float = RISE) -> dict[str, Any]:
    """Plain values of the patients whose outlines are plausible at every strength; None where there is none.

    Changes are of each patient against its own reconstruction, then averaged: of lengths and areas as a share of what
    they were, of the CTR and the median grey as a difference.
    """
    used = dose.whole
    summary: dict[str, Any] = {
        "scans": len(used),
        "used": int(used.sum()),
        "strengths": dose.strengths.tolist(),
        "plausible": dose.plausible.mean(axis=0).tolist(),
    }
    if not used.any():
        return summary | {
            "ctr": None,
            "ctr_change": None,
            "rising_at_every_step": None,
            "at_rise": None,
            "classifier": None,
        }
    ctr = dose.measures["ctr"][used]
    changes = {name: change(dose, name) for name in MEASURES}
    steps = np.diff(ctr, axis=1)
    curves = {name: values.mean(axis=0) for name, values in changes.items()}
    return summary | {
        "ctr": _curve(ctr),
        "ctr_change": _curve(changes["ctr"]),
        "end_to_end": float(ctr[:, -1].mean() - ctr[:, 0].mean()),
        "mean_rises_at_every_step": bool((np.diff(ctr.mean(axis=0)) > 0).all()),
        "rising_at_every_step": float((steps > 0).all(axis=1).mean()),
        "never_falling_by_a_pixel": float((steps > -PIXEL).all(axis=1).mean()),
        "rising_overall": float((ctr[:, -1] > ctr[:, 0]).mean()),
        "changes": {name: _curve(values) for name, values in changes.items() if name != "ctr"},
        "pixels": {
            "inside_heart": dose.inside[used].mean(axis=0).tolist(),
            "outside_heart": dose.outside[used].mean(axis=0).tolist(),
        },
        "identity": {
            "among": len(used),
            "originals": dose.own_original[used].mean(axis=0).tolist(),
            "reconstructions": dose.own_reconstruction[used].mean(axis=0).tolist(),
            "chance": 1 / len(used),
        },
        "at_rise": at_rise(dose, curves, rise),
        "classifier": classifier_response(dose),
    }


def classifier_response(dose: Dose) -> dict[str, Any] | None:
    """What the classifier says, from strength 0 to the largest, of the same patients; None where there was none."""
    if dose.log_odds is None:
        return None
    log_odds = dose.log_odds[dose.whole]
    before, last = log_odds[:, dose.zero], log_odds[:, -1]
    chances = probability(log_odds)
    return {
        "log_odds": _curve(log_odds),
        "log_odds_change": _curve(log_odds - before[:, None]),
        "probability": _curve(chances),
        "rise": float((last - before).mean()),
        "probability_rise": float((chances[:, -1] - chances[:, dose.zero]).mean()),
        "rising": float((last > before).mean()),
    }


def change(dose: Dose, name: str) -> Floats:
    """[M, S]: the change of a measure against strength 0, of the M patients that are plausible throughout."""
    values = dose.measures[name][dose.whole]
    before = values[:, [dose.zero]]
    return np.asarray(values - before if name in ("ctr", GREY) else values / before - 1)


def at_rise(dose: Dose, curves: dict[str, Floats], rise: float) -> dict[str, Any] | None:
    """Every mean change where the mean CTR has risen by `rise`, linear between strengths; None if it never does."""
    ctr, zero = curves["ctr"], dose.zero
    for index in range(zero + 1, len(ctr)):
        if ctr[index] >= rise:
            share = (rise - ctr[index - 1]) / (ctr[index] - ctr[index - 1])

            def between(curve: Floats, index: int = index, share: float = float(share)) -> float:
                return float(curve[index - 1] + share * (curve[index] - curve[index - 1]))

            used = dose.whole
            return {
                "rise": rise,
                "strength": between(dose.strengths),
                "changes": {name: between(curve) for name, curve in curves.items() if name != "ctr"},
                "identity": between(dose.own_original[used].mean(axis=0)),
            }
    return None


def summarise_null(kinds: Mapping[str, Sequence[Dose]], found: dict[str, Any]) -> list[dict[str, Any]]:
    """Random directions beside the one that was judged: by kind, what their ends differ in."""
    rows = []
    for kind, doses in kinds.items():
        summaries = [summarise_dose(dose) for dose in doses]
        ends = np.array([each["end_to_end"] for each in summaries if each["used"]])
        rising = [
            max(each["rising_at_every_step"], _falling(dose))
            for each, dose in zip(summaries, doses, strict=True)
            if each["used"]
        ]
        end = found.get("end_to_end")
        rows.append(
            {
                "kind": kind,
                "directions": len(doses),
                "end_to_end": ends.tolist(),
                "largest": float(np.abs(ends).max()) if len(ends) else None,
                "monotone": [float(value) for value in rising],  # rising or falling, whichever is more
                "times_the_largest": float(abs(end) / np.abs(ends).max()) if len(ends) and end is not None else None,
                "curves": [each["ctr_change"]["mean"] for each in summaries if each["used"]],
                "outside_heart": [each["pixels"]["outside_heart"][-1] for each in summaries if each["used"]],
                "classifier": _classifier_null(doses, found.get("classifier")),
            }
        )
    return rows


def _classifier_null(doses: Sequence[Dose], found: dict[str, Any] | None) -> dict[str, Any] | None:
    """The same of random directions. They have no sign: both ends count, and a fall as a rise does."""
    known = [(dose.log_odds[dose.whole], dose.zero) for dose in doses if dose.log_odds is not None and dose.whole.any()]
    if not known:
        return None
    changes = [log_odds - log_odds[:, [zero]] for log_odds, zero in known]
    ends = np.array([change[:, [0, -1]].mean(axis=0) for change in changes])  # [directions, 2]
    one_way = [
        max(float((change[:, end] * sign > 0).mean()) for end in (0, -1) for sign in (1, -1)) for change in changes
    ]
    largest = float(np.abs(ends).max())
    return {
        "ends": ends.tolist(),
        "largest": largest,
        "one_way": one_way,  # share of the patients
        "times_the_largest": found["rise"] / largest if found is not None and largest else None,
        "curves": [change.mean(axis=0).tolist() for change in changes],
    }


def _falling(dose: Dose) -> float:
    return float((np.diff(dose.measures["ctr"][dose.whole], axis=1) < 0).all(axis=1).mean())


def _curve(values: Floats) -> dict[str, list[float]]:
    return {"mean": values.mean(axis=0).tolist(), "deviation": values.std(axis=0).tolist()}
