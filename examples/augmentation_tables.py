"""The tables of augmentation_study.py: AUCs with intervals over patients and over seeds, and what was added to them."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxredit_cli.metrics.rank_statistics import roc_auc, weighted_auc

SAMPLES = 2000  # of the bootstrap


@dataclass(frozen=True)
class Asked:
    """Films that networks are asked about."""

    patients: NDArray[np.str_]  # [N]
    positive: NDArray[np.bool_]  # [N]

    def counts(self) -> list[list[str]]:
        """Films and patients, of positives and of healthy films."""
        return [count(self.patients[self.positive == value]) for value in (True, False)]

    def drawn(self) -> NDArray[np.int64]:
        """How often each film counts in each sample [SAMPLES, N] of whole patients, drawn with replacement."""
        numbers = np.unique(self.patients, return_inverse=True)[1]
        total = int(numbers.max(initial=0)) + 1
        return np.random.default_rng(1).multinomial(total, np.full(total, 1 / total), size=SAMPLES)[:, numbers]


@dataclass(frozen=True)
class Answer:
    """What one network says."""

    met: NDArray[np.int64]  # which of the known films are of patients that it learnt from
    known: NDArray[np.float64]  # log-odds of the known films [N]
    unseen: NDArray[np.float64]  # of those that no network has seen
    control: NDArray[np.float64]  # of edits towards a smaller heart
    originals: NDArray[np.float64]  # of the films that these are edits of


@dataclass(frozen=True)
class Areas:
    """AUCs of the networks of several seeds: as they are [S], and of drawn patients [S, SAMPLES]."""

    found: NDArray[np.float64]
    drawn: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        scores: Sequence[NDArray[np.float64]],
        asked: Asked,
        drawn: NDArray[np.int64],
        met: Sequence[NDArray[np.int64]] = (),
    ) -> "Areas":
        """From the scores of each network; patients that it has `met` are not asked about. nan for one class alone."""
        kept = np.ones((len(scores), len(asked.positive)), dtype=bool)
        for row, rows in zip(kept, met, strict=False):
            row[rows] = False
        truth = asked.positive
        if any(truth[rows].all() or not truth[rows].any() for rows in kept):
            return cls(np.full(len(scores), np.nan), np.full((len(scores), SAMPLES), np.nan))
        pairs = list(zip(scores, kept, strict=True))
        return cls(
            np.array([float(roc_auc(each[rows], truth[rows])) for each, rows in pairs]),
            np.stack([weighted_auc(each[rows], truth[rows], drawn[:, rows]) for each, rows in pairs]),
        )

    def minus(self, other: "Areas") -> "Areas":
        """Differences, of the same seeds and the same patients."""
        return Areas(self.found - other.found, self.drawn - other.drawn)

    def told(self, sign: str = "") -> str:
        """The mean over seeds, with its interval over drawn patients and drawn seeds."""
        if np.isnan(self.found).any():
            return "-"
        seeds = np.random.default_rng(0).integers(len(self.found), size=(SAMPLES, len(self.found)))
        means = np.nanmean(self.drawn[seeds, np.arange(SAMPLES)[:, None]], axis=1)
        low, high = np.nanquantile(means, [0.025, 0.975])
        return f"{self.found.mean():{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


def tables(
    found: Mapping[tuple[int, str], Sequence[Answer]],
    sizes: Sequence[int],
    arms: Sequence[str],
    base: str,
    known: Asked,
    unseen: Asked,
    ratio: NDArray[np.float64],
    counts: Sequence[Sequence[str]],
) -> str:
    """The tables of docs/results/augmentation.md, of the answers by size and arm; gains are over the arm `base`.

    `ratio` [N] is the cardiothoracic ratio of the known films, `counts` rows of films and patients besides.
    """
    sys.path.append(str(Path(__file__).parents[1] / "docs" / "tools"))
    from result_tables import table

    drawn, drawn_unseen = known.drawn(), unseen.drawn()
    main, gains, new, traces = ([[arm] for arm in arms] for _ in range(4))
    for size in sizes:
        areas = dict[str, Areas]()
        for arm, of_known, of_new, of_control in zip(arms, main, new, traces, strict=True):
            answers = found.get((size, arm), ())
            if not answers:
                for row in (of_known, of_new, of_control):
                    row.append("-")
                continue
            met = [each.met for each in answers]
            areas[arm] = Areas.of([each.known for each in answers], known, drawn, met)
            of_known.append(areas[arm].told())
            of_new.append(Areas.of([each.unseen for each in answers], unseen, drawn_unseen).told())
            of_control.append(f"{np.mean([_against(each.control, each.originals) for each in answers]):.2f}")
        for row in gains:
            compared = row[0] in areas and base in areas
            row.append(areas[row[0]].minus(areas[base]).told(sign="+") if compared else "-")
    alone = Areas.of([ratio], known, drawn).told()
    main.append(["cardiothoracic ratio alone", alone, *["-"] * (len(sizes) - 1)])
    known_counts, new_counts = known.counts(), unseen.counts()
    listed = [
        ["real positives, for training or for the test", *known_counts[0]],
        ["healthy films for the test", *known_counts[1]],
        *map(list, counts),
        ["real positives that no network has seen", *new_counts[0]],
        ["healthy films that no network has seen", *new_counts[1]],
    ]
    head = ["", *(f"{size} real positives" for size in sizes)]
    made = (
        ("AUC", table(main, head)),
        (f"Change of the AUC from: {base}", table([row for row in gains if row[0] != base], head)),
        ("Patients that no network has seen", table(new, head)),
        ("Edits towards a smaller heart against their films", table(traces, head)),
        ("Films", table(listed, ["", "films", "patients"])),
    )
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in made) + "\n"


def _against(edits: NDArray[np.float64], originals: NDArray[np.float64]) -> float:
    """The AUC of edits against their films: 0.5 where a network sees no difference."""
    return float(roc_auc(np.concatenate([edits, originals]), np.arange(len(edits) * 2) < len(edits)))


def count(patients: NDArray[np.str_]) -> list[str]:
    """Films and patients."""
    return [f"{len(patients):,}", f"{len(set(patients)):,}"]
