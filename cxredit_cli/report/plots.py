"""Plots of what was measured."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cxredit_cli.atomic import written_aside
from cxredit_cli.separability.lda import Separability

NEGATIVE, POSITIVE, CHANCE = "#4393c3", "#d6604d", "#9aa2ab"


def plot_separability(
    path: Path, found: Separability, positive: NDArray[np.bool_], names: tuple[str, str], title: str
) -> None:
    """Write a PNG: projections in sample and held out by class, and the held-out AUC among permuted labels.

    `positive` [N] are the classes of the projections; `names` of the negative and of the positive class.
    """
    figure = Figure(figsize=(11, 3.6), dpi=100, layout="constrained")
    in_sample, held_out, null = figure.subplots(1, 3)
    _classes(in_sample, found.in_sample_projections, positive, names)
    in_sample.set_title(f"In sample: separation {found.in_sample:.2f}", fontsize=10)
    if len(found.in_sample_null):
        low, high = np.quantile(found.in_sample_null, [0.025, 0.975])
        in_sample.set_xlabel(f"projection; random labels give {low:.2f} to {high:.2f}", fontsize=9)
    _classes(held_out, found.held_out_projections, positive, names)
    held_out.set_title(f"Held-out patients: separation {found.held_out:+.2f}", fontsize=10)
    held_out.set_xlabel("projection, in deviations of the fitted patients", fontsize=9)
    held_out.legend(fontsize=8, frameon=False)
    if len(found.auc_null):
        null.hist(found.auc_null, bins=25, color=CHANCE, label=f"{len(found.auc_null)} permutations of the labels")
    null.axvspan(*found.auc_interval, color=POSITIVE, alpha=0.15, lw=0)
    null.axvline(found.auc, color=POSITIVE, lw=2, label="true labels, 95 % interval")
    null.set_title(f"Held-out AUC {found.auc:.3f}, p = {found.p_value:.2g}", fontsize=10)
    null.set_xlabel("ROC AUC", fontsize=9)
    null.set_yticks([])
    null.set_ylim(0, null.get_ylim()[1] * 1.3)  # room for the legend
    null.legend(fontsize=8, frameon=False)
    for axes in (in_sample, held_out, null):
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=11)
    with written_aside(path) as aside:
        figure.savefig(aside, format=path.suffix.lstrip(".") or "png")


def _classes(axes: Axes, projections: NDArray[Any], positive: NDArray[np.bool_], names: tuple[str, str]) -> None:
    bins = np.linspace(projections.min(), projections.max() + 1e-9, 31).tolist()
    for members, name, colour in ((~positive, names[0], NEGATIVE), (positive, names[1], POSITIVE)):
        label = f"{name} ({members.sum()})"
        axes.hist(projections[members], bins=bins, density=True, color=colour, alpha=0.6, label=label)
    axes.set_yticks([])
