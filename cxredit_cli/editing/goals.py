"""The strengths that each image needs for a cardiothoracic ratio, found for a batch of images together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxredit_cli.anatomy.measures import CTR_RANGE, measure_images
from cxredit_cli.editing.edited_folder import digest
from cxredit_cli.editing.solve_target import solve
from cxredit_cli.errors import InputError
from cxredit_cli.latent.edit_codes import edit
from cxredit_cli.latent.strengths import MAX_STRENGTHS, strength_label
from cxredit_cli.latent.synthesize import synthesize
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.networks.generator import Generator

TOLERANCE = 0.005  # of the CTR: one pixel of the outlines


@dataclass(frozen=True, slots=True)
class Goal:
    """CTRs to reach."""

    targets: tuple[float, ...]  # rising
    network: AnatomyNetwork  # that measures
    slope: float | None  # CTR a unit of strength by calibration
    limit: float  # the largest strength, to either side
    tolerance: float = TOLERANCE
    network_digest: str = ""  # stands for the network's weights

    @classmethod
    def of(cls, targets: tuple[float, ...], network: AnatomyNetwork, slope: float | None, limit: float) -> Self:
        """A goal that knows which network measures it."""
        weights = b"".join(p.detach().cpu().numpy().tobytes() for p in network.parameters())
        return cls(targets, network, slope, limit, network_digest=digest(weights))

    @property
    def parameters(self) -> list[object]:
        """Stands for all that decides the strengths, besides model, code and direction."""
        return ["ctr", list(self.targets), self.slope, self.limit, self.tolerance, self.network_digest]

    def is_met_by(self, cells: Sequence[str]) -> bool:
        """Whether the manifest's cells `target_ctr` cover all targets."""
        return {f"{target:g}" for target in self.targets} <= {part for cell in cells for part in cell.split("|")}

    def is_reached_in(self, row: Mapping[str, str]) -> bool:
        """Whether a row of the manifest has a CTR, within the tolerance of all its targets, as rounded there."""
        if not row["ctr"]:
            return False
        away = max(abs(float(row["ctr"]) - float(target)) for target in row["target_ctr"].split("|"))
        return away <= self.tolerance + 6e-5


@dataclass(frozen=True, slots=True)
class Edit:
    """One strength for one image, and what the manifest says of it besides."""

    strength: float
    columns: dict[str, str] = field(default_factory=dict)
    aim: float | None = None  # the CTR that a film is brought to, where the generator's picture reaches it


def parse_targets(text: str) -> tuple[float, ...]:
    """Read `0.55` or `0.45,0.55`."""
    try:
        values = sorted({float(part) for part in text.split(",") if part.strip()})
    except ValueError:
        values = []
    if not 0 < len(values) <= MAX_STRENGTHS or not all(CTR_RANGE[0] <= value <= CTR_RANGE[1] for value in values):
        low, high = CTR_RANGE
        raise InputError(f"--target-ctr must be ratios from {low:g} to {high:g} such as 0.45,0.55, not '{text}'.")
    return tuple(values)


def plan_edits(
    generator: Generator,
    w: Tensor,
    noise: Sequence[Tensor] | None,
    direction: Tensor,
    layers: Sequence[int] | None,
    goal: Goal,
    batch: int = 16,
    tuning: Tensor | None = None,
    films: NDArray[np.float64] | None = None,
) -> list[tuple[list[Edit], str | None]]:
    """For codes [N, L, D] the edits that bring the CTR nearest to each target; or none, and why.

    `noise` is fitted noise, one [N, 1, H, W] a layer, `tuning` [N, K] what bends the generator for each. `films` [N]
    are the CTRs of the films themselves (nan: unknown): what is carried over to a film is the change of its
    reconstruction, so that change is brought to the target less the film's CTR. All images search together; each round
    is one batch of pictures.
    """
    targets = len(goal.targets)
    step = edit(torch.zeros_like(w[:1]), direction, [1.0], generator.num_ws, layers)[0]
    problems = dict[int, str]()

    def measure(rows: NDArray[np.int64], strengths: NDArray[np.float64]) -> NDArray[np.float64]:
        pairs = sorted({(int(row) // targets, float(s)) for row, s in zip(rows, strengths, strict=True)})
        at = torch.tensor([image for image, _ in pairs])
        moved = w[at] + torch.tensor([s for _, s in pairs], dtype=w.dtype)[:, None, None] * step
        fitted = None if noise is None else [layer[at] for layer in noise]
        images = torch.cat(list(synthesize(generator, moved, fitted, batch, None if tuning is None else tuning[at])))
        found = measure_images(goal.network, images, batch)
        problems.update({image: why for (image, s), why in zip(pairs, found.problem, strict=True) if s == 0 and why})
        ctr = np.where(found.plausible, found.ctr, np.nan)
        known = {pair: float(value) for pair, value in zip(pairs, ctr, strict=True)}
        return np.array([known[int(row) // targets, float(s)] for row, s in zip(rows, strengths, strict=True)])

    wanted = np.tile(np.array(goal.targets), len(w))
    if films is not None:
        start = measure(np.arange(len(w)) * targets, np.zeros(len(w)))
        wanted += np.repeat(np.nan_to_num(start - films), targets)
    found = solve(measure, wanted, goal.slope, goal.limit, goal.tolerance)
    plans: list[tuple[list[Edit], str | None]] = []
    for image in range(len(w)):
        if image in problems:
            plans.append(([], f"no CTR can be measured on its reconstruction: {problems[image]}"))
            continue
        edits: dict[str, Edit] = {}
        for index, target in enumerate(goal.targets, start=image * targets):
            label, text = strength_label(float(found.strength[index])), f"{target:g}"
            if label in edits:
                text = f"{edits[label].columns['target_ctr']}|{text}"
            columns = {
                "target_ctr": text,
                "ctr": f"{found.value[index]:.4f}",
                "reconstruction_ctr": f"{found.start[index]:.4f}",
            }
            aim = goal.targets[index % targets] if found.reached[index] else None
            edits[label] = Edit(float(found.strength[index]), columns, aim)
        plans.append((list(edits.values()), None))
    return plans
