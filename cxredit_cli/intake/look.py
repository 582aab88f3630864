"""What the intake network says of images: what is wrong with each, and how it would be righted."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxredit_cli.networks.intake import ORIENTATIONS, SIGNS, IntakeNetwork, turned
from cxredit_cli.networks.preparation import normalise, resize
from cxredit_cli.radiographs.layout import AS_IT_IS, LIES, MIRRORED, Righting, turn
from cxredit_cli.radiographs.read_many import LOOKS
from cxredit_cli.storage.intake_network import TrainedIntake

KINDS = ("no frontal chest", "turned", "mirrored", "negative", "cut off", "small child")
MARGIN = 3.0  # natural logarithm: whose log-odds are all so far below the thresholds is not looked at again
BATCH = 64


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with an image; one that is fine has no kind."""

    kind: str = ""  # the gravest of KINDS
    righting: Righting = AS_IT_IS  # what would right it

    @property
    def short(self) -> str:
        """What is wrong, in a word or a few."""
        return self.righting.words or self.kind

    @property
    def words(self) -> str:
        """For the user: "it looks mirrored"; "" where it is fine."""
        if self.righting:
            return f"{LOOKS}{self.righting.words}"
        return {
            "": "",
            "no frontal chest": f"{LOOKS}like no frontal chest radiograph",
            "cut off": f"{LOOKS}cut off, without much of the lungs",
            "small child": f"{LOOKS}like a child's",
        }[self.kind]


FINE = Verdict()


@torch.no_grad()
def look(trained: TrainedIntake, images: Tensor) -> list[Verdict]:
    """Judge images [N, 1, R, R] of any range and resolution.

    One that is not fine at first sight is looked at in all eight orientations, and the mean is what counts.
    """
    network, thresholds = trained.network, trained.thresholds
    device, side = next(network.parameters()).device, network.config.resolution
    verdicts: list[Verdict] = []
    for part in torch.split(images, BATCH) if len(images) else ():
        x = normalise(resize(part.to(device), side))
        scores = network(x).double().cpu().numpy()
        signs = log_odds(scores)
        doubtful = np.flatnonzero(np.any([signs[name] > thresholds[name] - MARGIN for name in thresholds], axis=0))
        if len(doubtful):
            scores[doubtful] = score_all_ways(network, x[torch.from_numpy(doubtful).to(device)])
        verdicts += [_judge(row, thresholds) for row in scores]
    return verdicts


def log_odds(scores: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Log-odds [N] of each thing that can be wrong, of scores [N, 8 + 4]: those of the network's, and of lying wrong.

    "turned" is any orientation but upright and mirrored; "mirrored" is mirrored against upright.
    """
    lies = scores[:, :ORIENTATIONS]
    quarter = np.logaddexp.reduce(np.delete(lies, [0, MIRRORED], axis=1), axis=1)
    odds = {"turned": quarter - np.logaddexp(lies[:, 0], lies[:, MIRRORED]), "mirrored": lies[:, MIRRORED] - lies[:, 0]}
    return odds | {name: scores[:, ORIENTATIONS + index] for index, name in enumerate(SIGNS)}


def score_all_ways(network: IntakeNetwork, x: Tensor) -> NDArray[np.float64]:
    """The mean scores [N, 8 + 4] of normalised images [N, 1, R, R] seen in all orientations, each told of the first."""
    total = np.zeros((len(x), ORIENTATIONS + len(SIGNS)))
    for then in range(ORIENTATIONS):
        scores = network(turned(x, then)).double().cpu().numpy()
        total[:, :ORIENTATIONS] += scores[:, _PRODUCT[then]]
        total[:, ORIENTATIONS:] += scores[:, ORIENTATIONS:]
    return total / ORIENTATIONS


def _judge(scores: NDArray[np.float64], thresholds: dict[str, float]) -> Verdict:
    odds = {name: float(values[0]) for name, values in log_odds(scores[None]).items()}
    wrong = {name for name, threshold in thresholds.items() if odds[name] > threshold}
    if "not_frontal_chest" in wrong:
        return Verdict("no frontal chest")
    lies = 0
    if "turned" in wrong:
        lies = int(scores[:ORIENTATIONS].argmax())
    elif "mirrored" in wrong:
        lies = MIRRORED
    righting = Righting(lies, "negative" in wrong)
    if righting:
        kind = "turned" if lies not in (0, MIRRORED) else "mirrored" if lies else "negative"
        return Verdict(kind, righting)
    return Verdict("cut off" if "cut_off" in wrong else "small child" if "small_child" in wrong else "")


def _product(then: int, lies: int) -> int:
    """The orientation of a film that lies so and is laid so once more."""
    corners = np.arange(4).reshape(2, 2)
    laid = turn(turn(corners, lies), then)
    return next(which for which in range(len(LIES)) if (turn(corners, which) == laid).all())


_PRODUCT = np.array([[_product(then, lies) for lies in range(ORIENTATIONS)] for then in range(ORIENTATIONS)])
