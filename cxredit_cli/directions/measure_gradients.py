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
from cxredit_cli.anatomy.picture_measures import soft_measures
from cxredit_cli.inversion.precision import fast_gradients
from cxredit_cli.networks.anatomy import HEART, LEFT_LUNG, RIGHT_LUNG, AnatomyNetwork
from cxredit_cli.networks.any_classifier import ClassifierScore
from cxredit_cli.networks.generator import Generator
from cxredit_cli.networks.preparation import normalise, resize
from cxredit_cli.processes import ALONE, Processes
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
    processes: Processes = ALONE,
) -> Gradients:
    """Gradients of the measures `names` at codes [N, 1, D]; those of implausible images are left out.

    With `score` a name may also be a class of that classifier: its log-odds. The picture may change in and around
    `organs`, what it does elsewhere is probed; None: anywhere, and nothing is. `progress` is told `done` and the codes
    since. Of several `processes` each differentiates its share, and all have the gradients of all.
    """
    progress = progress or SilentProgress()
    parts: list[Gradients] = []
    drawn, signs = 0, torch.Generator().manual_seed(seed)
    with fast_gradients(generator):
        for rows in processes.rounds(len(w), batch):
            # Signs come from one stream for all images: those of images in between, which others look at, are skipped.
            for start in range(drawn, rows.start, batch):
                _draw_signs(organs, min(batch, rows.start - start), generator.resolution, signs)
            drawn = rows.stop
            found = None
            if rows:
                probes = _draw_signs(organs, len(rows), generator.resolution, signs)
                found = _gradients_at(generator, network, w[rows.start : rows.stop], names, organs, probes, score)
            parts += [part for part in processes.exchange(found) if part is not None]
            progress.advance(done + min(rows.start + batch * processes.count, len(w)))
    return Gradients.join(parts)


def _draw_signs(organs: Sequence[int] | None, images: int, side: int, signs: torch.Generator) -> list[Tensor]:
    """PROBES random pictures [images, 1, side, side] of -1 and 1; none where nothing is probed."""
    if organs is None:
        return []
    shape = (images, 1, side, side)
    return [torch.randint(0, 2, shape, generator=signs).float() * 2 - 1 for _ in range(PROBES)]


def _gradients_at(
    generator: Generator,
    network: AnatomyNetwork,
    w: Tensor,
    names: Sequence[str],
    organs: Sequence[int] | None,
    signs: Sequence[Tensor],
    score: ClassifierScore | None,
) -> Gradients:
    """`differentiate` for codes that are worked on at once; `signs` are PROBES random pictures of each, or none."""
    codes = w.detach().clone().requires_grad_()
    made = generator.synthesis(codes)
    images = made.detach().float().requires_grad_()
    soft = soft_measures(network, images)
    if score is not None:
        classes = [name for name in names if name in score.classes]
        soft |= dict(zip(classes, score.log_odds_of(images, classes).unbind(1), strict=True))
    seen = [torch.autograd.grad(soft[name].sum(), images, retain_graph=True)[0] for name in names]
    if organs is not None:
        free = _elsewhere(network, images.detach(), organs)
        # / 2: the grey range is -1 to 1
        seen += [random.to(images) * free / 2 / images[0].numel() ** 0.5 for random in signs]
    found = [torch.autograd.grad(made, codes, each.to(made), retain_graph=True)[0][:, 0] for each in seen]
    plausible = torch.from_numpy(measure_images(network, images.detach(), len(w)).plausible)
    kept = [each.double().cpu()[plausible].numpy() for each in found]
    unprobed = np.zeros((int(plausible.sum()), PROBES, w.shape[-1]))
    probes = unprobed if organs is None else np.stack(kept[len(names) :], axis=1)
    return Gradients(dict(zip(names, kept, strict=False)), probes)


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
