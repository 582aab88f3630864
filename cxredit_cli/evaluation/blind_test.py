"""A blind test by machine: can a network tell an edited heart's neighbourhood from an untouched one?

Small convolutional networks are trained by folds of patients on patches at the film's own resolution, taken along the
border of the heart as it is outlined on the picture itself, edited or not. Each film is edited to the cardiothoracic
ratio that another one has, so that edited and untouched hearts are of the same sizes: size does not tell. An AUC of .5
is a coin's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from cxredit_cli.anatomy.outlines import clean, segment
from cxredit_cli.editing.border_move import NEIGHBOURHOOD
from cxredit_cli.editing.edit_film import MASKS, add_residual, edit_film, measure_films, reduce
from cxredit_cli.metrics.rank_statistics import auc_interval, roc_auc
from cxredit_cli.networks.anatomy import HEART, LEFT_LUNG, RIGHT_LUNG, AnatomyNetwork
from cxredit_cli.radiographs.geometry import enlarge
from cxredit_cli.separability.folds import assign_folds
from cxredit_cli.training.supervised import draw, warm_cosine

METHODS = ("native", "additive", "pasted")
PATCH = 96  # pixels of the film
PATCHES = 16  # of one picture
NORMAL = 0.5  # cardiothoracic ratio up to which a heart is normal; it stays so, and an enlarged one enlarged
LEAST_CHANGE = 0.015  # of the CTR: less is hardly an edit
STRETCHED = 1.8  # times the change of one of the generator's pictures, or its part, that a film is edited by
SEAM = 0.03  # of the side, over which a pasted picture fades into the film
BATCH, STEPS, WARMUP, PEAK, DECAY = 64, 500, 30, 3e-3, 3e-2


@dataclass(frozen=True, slots=True)
class BlindTest:
    """How well edited pictures were told from untouched ones by networks that had seen neither of the patient."""

    method: str
    films: int
    patients: int
    auc: float
    low: float  # 95 % interval over patients
    high: float
    by_size: float = float("nan")  # the AUC of how far a film's CTR is from the median, what size tells; nan if unknown


def blind_test(
    network: AnatomyNetwork,
    films: Iterable[tuple[str, NDArray[np.float32], NDArray[np.float32]]],
    strengths: Sequence[float],
    folds: int = 4,
    seed: int = 0,
) -> list[BlindTest]:
    """The test of each of METHODS on `films`: patient, square [N, N] in 0..1, the generator's pictures [S, R, R].

    `strengths` [S] are those of the pictures, 0 among them. Each film that can be edited counts once untouched and once
    edited, by every method with the same strength. "pasted" is the generator's picture in place of the neighbourhood.
    Raises InputError where too few films can be edited.
    """
    held, strengths = list(films), [float(s) for s in strengths]
    zero = strengths.index(0.0)
    ctrs = np.concatenate([measure_films(network, [film]).ctr for _, film, _ in held])
    generated = np.stack([measure_films(network, list(pictures)).ctr for *_, pictures in held])
    goals = match_ratios(ctrs, generated - generated[:, [zero]], strengths, seed)
    patients: list[str] = []
    ratios: list[tuple[float, float]] = []  # before and after
    patches: dict[str, list[NDArray[np.float32]]] = {name: [] for name in ("untouched", *METHODS)}
    for number, ((patient, film, pictures), goal) in enumerate(zip(held, goals, strict=True)):
        if goal is None:
            continue
        strength, ratio = goal
        edits = edit_film(network, film, pictures, strengths, [strength], targets={strength: ratio})
        if edits.edits[0].refused:
            continue
        index = strengths.index(strength)
        made = {
            "untouched": film,
            "native": film + edits.edits[0].change,
            "additive": film + add_residual(film, pictures[index] - pictures[zero]),
            "pasted": paste(network, film, pictures[index]),
        }
        taken = {name: border_patches(network, as_written(made[name]), seed + number) for name in patches}
        if all(part is not None for part in taken.values()):
            patients.append(patient)
            ratios.append((edits.film_ctr, edits.edits[0].ctr))
            for name, part in taken.items():
                patches[name].append(np.asarray(part))
    by_size = auc_of_sizes(np.asarray(ratios).reshape(-1, 2))
    return [
        replace(tell_apart(method, patches["untouched"], patches[method], patients, folds, seed), by_size=by_size)
        for method in METHODS
    ]


def match_ratios(
    ctrs: NDArray[np.float64], changes: NDArray[np.float64], strengths: Sequence[float], seed: int = 0
) -> list[tuple[float, float] | None]:
    """For each film a strength and the CTR to edit it to, which is another film's own; None where none can be reached.

    `ctrs` [N] are the films', `changes` [N, S] what the generator's pictures of `strengths` [S] change of them. Each
    film's CTR is given to one other film, at random, of those that can be edited to it: so the edited hearts are of the
    same sizes as the untouched ones.
    """
    aims = ctrs[None] - ctrs[:, None]  # [N, N]
    with np.errstate(divide="ignore", invalid="ignore"):
        stretched = aims[:, :, None] / changes[:, None]  # [N, N, S]
        far = np.abs(np.log(stretched))
    far[~(far <= np.log(STRETCHED)) | ~(changes * np.asarray(strengths) > 0)[:, None]] = np.inf
    normal = ctrs <= NORMAL
    possible = (normal[None] == normal[:, None]) & (np.abs(aims) >= LEAST_CHANGE) & np.isfinite(far).any(axis=2)
    cost = np.random.default_rng(seed).uniform(0, 1, possible.shape) + np.where(possible, 0, len(ctrs))
    goals: list[tuple[float, float] | None] = [None] * len(ctrs)
    for film, other in zip(*linear_sum_assignment(cost), strict=True):
        if possible[film, other]:
            goals[film] = float(strengths[int(far[film, other].argmin())]), float(ctrs[other])
    return goals


def auc_of_sizes(ratios: NDArray[np.float64]) -> float:
    """The AUC of the distance from the median CTR of untouched films, of CTRs [N, 2] before and after; nan for none."""
    if len(ratios) == 0:
        return float("nan")
    far = np.abs(ratios - np.median(ratios[:, 0])).T.ravel()
    return float(roc_auc(far[None], np.repeat([False, True], len(ratios))[None])[0])


def as_written(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """`picture` in the 256 greys of a file: else an untouched film is told by its whole greys."""
    return np.asarray(np.round(np.clip(picture, 0, 1) * 255) / 255, dtype=np.float32)


def paste(network: AnatomyNetwork, film: NDArray[np.float32], picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """`film` [N, N] with the generator's `picture` [R, R] enlarged in the neighbourhood of the heart, of its grey."""
    shown = np.stack([reduce(film, len(picture)), picture])[:, None]
    hearts = clean(segment(network, torch.from_numpy(shown), MASKS).masks) == HEART
    distance = ndimage.distance_transform_edt(~hearts.any(axis=0)) / MASKS
    share = np.clip((NEIGHBOURHOOD / 2 - distance) / SEAM, 0, 1).astype(np.float32)
    weight = F.interpolate(torch.from_numpy(share)[None, None], size=film.shape, mode="bilinear")[0, 0].numpy()
    return np.asarray(film + weight * (enlarge(picture, len(film)) - film), dtype=np.float32)


def border_patches(network: AnatomyNetwork, picture: NDArray[np.float32], seed: int = 0) -> NDArray[np.float32] | None:
    """PATCHES patches [PATCHES, PATCH, PATCH] along the border of heart and lung, None where there is none.

    They are brought to mean 0 and standard deviation 1: tone does not tell.
    """
    side, half = len(picture), PATCH // 2
    small = torch.from_numpy(np.ascontiguousarray(reduce(picture, network.config.resolution)))[None, None]
    mask = clean(segment(network, small, MASKS).masks)[0]
    lungs = (mask == RIGHT_LUNG) | (mask == LEFT_LUNG)
    rows, columns = np.nonzero((mask == HEART) & ndimage.binary_dilation(lungs, iterations=4))
    if len(rows) == 0 or side < PATCH:
        return None
    generator = np.random.default_rng(seed)
    order = np.argsort(np.arctan2(rows - rows.mean(), columns - columns.mean()))
    chosen = order[((np.arange(PATCHES) + generator.uniform(0, 1)) * len(order) / PATCHES).astype(int)]
    made = []
    for row, column in zip(rows[chosen], columns[chosen], strict=True):
        y, x = (int(np.clip(round((v + 0.5) * side / MASKS), half, side - half)) for v in (row, column))
        patch = picture[y - half : y + half, x - half : x + half]
        made.append((patch - patch.mean()) / max(float(patch.std()), 1e-4))
    return np.stack(made).astype(np.float32)


def tell_apart(
    method: str,
    untouched: Sequence[NDArray[np.float32]],
    edited: Sequence[NDArray[np.float32]],
    patients: Sequence[str],
    folds: int = 4,
    seed: int = 0,
    steps: int = STEPS,
) -> BlindTest:
    """Train on the patches [PATCHES, PATCH, PATCH] of all films but one fold's, score that fold's films, fold by fold.

    A film's score is the mean log-odds of its patches. Raises InputError where there are fewer patients than folds.
    """
    groups = np.unique(np.asarray(patients), return_inverse=True)[1].astype(np.int64)
    both, positive = np.tile(groups, 2), np.repeat([False, True], len(groups))
    fold = assign_folds(positive, both, folds, seed)
    # One film's two pictures are of one patient and so of one fold.
    patches = torch.from_numpy(np.stack([*untouched, *edited]))
    labels = torch.from_numpy(positive.astype(np.float32))
    scores = np.empty(len(positive))
    for number in range(folds):
        held = fold == number
        network = _train(patches[~held].flatten(0, 1), labels[~held].repeat_interleave(patches.shape[1]), steps, seed)
        with torch.no_grad():
            scores[held] = [float(network(part[:, None]).mean()) for part in patches[held]]
    area = float(roc_auc(scores[None], positive[None])[0])
    low, high = auc_interval(scores, positive, both, seed=seed)
    return BlindTest(method, len(patients), len(np.unique(groups)), area, low, high)


class PatchNetwork(nn.Module):
    """Patches [N, 1, P, P] to the log-odds [N] of having been edited."""

    def __init__(self, widths: Sequence[int] = (16, 24, 32, 48)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in zip((1, *widths[:-1]), widths, strict=True):
            kernel = 5 if before == 1 else 3
            layers += [nn.Conv2d(before, width, kernel, 2, kernel // 2, bias=False), nn.GroupNorm(4, width), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(2 * widths[-1], 1)

    def forward(self, patches: Tensor) -> Tensor:
        x = self.layers(patches)
        log_odds: Tensor = self.head(torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1))[:, 0]
        return log_odds


def _train(patches: Tensor, labels: Tensor, steps: int, seed: int) -> PatchNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = PatchNetwork()
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK, weight_decay=DECAY)
    generator = np.random.default_rng(seed)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = PEAK * warm_cosine(step, steps, WARMUP)
        chosen = draw(len(patches), step, BATCH, seed)
        x = patches[chosen][:, None]
        if generator.uniform() < 0.5:
            x = x.flip(3)
        loss = F.binary_cross_entropy_with_logits(network(x), labels[chosen])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return network.eval()
