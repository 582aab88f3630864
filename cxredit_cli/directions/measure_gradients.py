"""How each measure of the anatomy answers to the code, by differentiation through generator and anatomy network.

A regression of measures on codes learns one number from an image; a gradient is a whole vector of W. By Stein's lemma
both estimate the same mean gradient, and a few hundred images settle what thousands leave in noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cxredit_cli.anatomy.measures import measure_images
from cxredit_cli.anatomy.outlines import normalise, resize
from cxredit_cli.anatomy.picture_measures import soft_measures
from cxredit_cli.inversion.precision import fast_gradients
from cxredit_cli.networks.anatomy import HEART, LEFT_LUNG, RIGHT_LUNG, AnatomyNetwork
from cxredit_cli.networks.any_classifier import ClassifierScore
from cxredit_cli.networks.generator import Generator
from cxredit_cli.progress import Progress, SilentProgress

Floats = NDArray[np.float64]

ORGANS = {  # whose pixels a measure is meant to change; a tone is of the whole picture
    "ctr": (HEART,),
    "heart_width": (HEART,),
    "heart_area": (HEART,),
    "thorax_width": (RIGHT_LUNG, LEFT_LUNG),
    "right_lung_area": (RIGHT_LUNG,),
    "left_lung_area": (LEFT_LUNG,),
    "right_lung_height": (RIGHT_LUNG,),
    "left_lung_height": (LEFT_LUNG,),
}
MARGIN = 3 / 64  # of the image's side: a growing organ reaches so far
PROBES = 4  # random pictures of signs an image
DAMPING = 1.0  # of the mean eigenvalue of `elsewhere`: what hardly shows anywhere is not worth a longer step


@dataclass(frozen=True, slots=True)
class Gradients:
    """At M codes of plausible anatomy, in units of each measure and of W."""

    measures: dict[str, Floats]  # [M, D] each
    probes: Floats  # [M, PROBES, D]: their mean outer product is the curvature of the picture elsewhere

    def __len__(self) -> int:
        return len(self.probes)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The codes of all `parts`, in order."""
        measures = {name: np.concatenate([part.measures[name] for part in parts]) for name in parts[0].measures}
        return cls(measures, np.concatenate([part.probes for part in parts]))

    def __getitem__(self, rows: slice) -> "Gradients":
        return Gradients({name: values[rows] for name, values in self.measures.items()}, self.probes[rows])

    def elsewhere(self) -> Floats:
        """E [D, D]: v^T E v is the mean square change of the picture outside the organ, a unit of strength along v."""
        flat = self.probes.reshape(-1, self.probes.shape[-1])
        return np.asarray(flat.T @ flat / len(flat))


def differentiate(
    generator: Generator,
    network: AnatomyNetwork,
    w: Tensor,
    names: Sequence[str],
    organs: Sequence[int] | None,
    seed: int = 0,
    batch: int = 8,
    progress: Progress | None = None,
    done: int = 0,
    score: ClassifierScore | None = None,
) -> Gradients:
    """Gradients of the measures `names` at codes [N, 1, D]; those of implausible images are left out.

    With `score` a name may also be a class of that classifier: its log-odds. The picture may change in and around
    `organs`, what it does elsewhere is probed; None: anywhere, and nothing is. `progress` is told `done` and the codes
    since.
    """
    progress = progress or SilentProgress()
    classes = [name for name in names if score is not None and name in score.classes]
    signs = torch.Generator().manual_seed(seed)
    columns: dict[str, list[Tensor]] = {name: [] for name in names}
    probes: list[Tensor] = []
    with fast_gradients(generator):
        for start in range(0, len(w), batch):
            codes = w[start : start + batch].detach().clone().requires_grad_()
            made = generator.synthesis(codes)
            images = made.detach().float().requires_grad_()
            soft = soft_measures(network, images)
            if score is not None:
                soft |= dict(zip(classes, score.log_odds_of(images, classes).unbind(1), strict=True))
            seen = [torch.autograd.grad(soft[name].sum(), images, retain_graph=True)[0] for name in names]
            if organs is not None:
                free = _elsewhere(network, images.detach(), organs)
                for _ in range(PROBES):
                    random = torch.randint(0, 2, images.shape, generator=signs).to(images) * 2 - 1
                    seen.append(random * free / 2 / images[0].numel() ** 0.5)  # / 2: the grey range is -1 to 1
            found = [torch.autograd.grad(made, codes, each.to(made), retain_graph=True)[0][:, 0] for each in seen]
            plausible = torch.from_numpy(measure_images(network, images.detach(), batch).plausible)
            kept = [each.double().cpu()[plausible] for each in found]
            for name, values in zip(names, kept, strict=False):
                columns[name].append(values)
            unprobed = torch.zeros(int(plausible.sum()), PROBES, codes.shape[-1], dtype=torch.float64)
            probes.append(torch.stack(kept[len(names) :], dim=1) if organs is not None else unprobed)
            progress.advance(done + start + len(codes))
    return Gradients({name: torch.cat(parts).numpy() for name, parts in columns.items()}, torch.cat(probes).numpy())


@torch.no_grad()
def _elsewhere(network: AnatomyNetwork, images: Tensor, organs: Sequence[int]) -> Tensor:
    """1 where a picture [N, 1, R, R] is to stay, 0 in and around `organs`."""
    scores = network(normalise(resize(images, network.config.resolution)))
    if scores.shape[-1] != images.shape[-1]:
        scores = F.interpolate(scores, size=images.shape[-2:], mode="bilinear", align_corners=False)
    inside = torch.isin(scores.argmax(1, keepdim=True), torch.tensor(organs, device=images.device))
    margin = max(round(MARGIN * images.shape[-1]), 1)
    return 1 - F.max_pool2d(inside.to(images), 2 * margin + 1, 1, margin)


def steady_direction(found: Gradients, target: str, held: Sequence[str]) -> Floats:
    """The unit vector [D] along which `target` rises, the `held` measures stay, and little changes elsewhere.

    Of all v with g^T v = 1 (g the mean gradient of the target) and h^T v = 0 for each held one, the minimiser of
    v^T A v, A = E + d I with E the curvature elsewhere and d DAMPING of its mean eigenvalue. With C = [g, h, ...] it is
    A^-1 C (C^T A^-1 C)^-1 (1, 0, ...).
    """
    constraints = np.stack([found.measures[name].mean(axis=0) for name in (target, *held)], axis=1)
    constraints /= np.maximum(np.linalg.norm(constraints, axis=0), np.finfo(np.float64).tiny)
    curvature = found.elsewhere()
    mean = np.trace(curvature) / len(curvature)
    metric = curvature / mean + DAMPING * np.eye(len(curvature)) if mean > 0 else np.eye(len(curvature))
    along = np.linalg.solve(metric, constraints)
    vector = along @ np.linalg.pinv(constraints.T @ along)[:, 0]
    return np.asarray(vector / np.linalg.norm(vector))
