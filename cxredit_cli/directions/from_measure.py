"""A direction from a measurement of generated images, or a classifier's log-odds: no labels, no inversion needed.

The gradient of the measure says how it rises fastest, by differentiation or by a ridge regression on the codes. What
must not change with it (thorax width, lung heights, tone) is held: the direction is orthogonal to the gradients of
those measures, so that to first order they stay.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict

from cxredit_cli.anatomy.picture_measures import MEASURES, TONES, measure_pictures
from cxredit_cli.directions.measure_gradients import ORGANS, Gradients, differentiate, steady_direction
from cxredit_cli.errors import InputError
from cxredit_cli.latent.random_codes import random_codes
from cxredit_cli.latent.responses import reach
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.networks.any_classifier import ClassifierScore
from cxredit_cli.networks.generator import Generator
from cxredit_cli.processes import ALONE, Processes
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.storage.directions import Direction
from cxredit_cli.storage.models import Model

Floats = NDArray[np.float64]
MeasureMethod = Literal["gradients", "regression"]

IMAGES: dict[MeasureMethod, int] = {"gradients": 512, "regression": 3200}  # that each method takes by default
HELD = ("thorax_width", "right_lung_height", "left_lung_height", *TONES)
PENALTIES = np.logspace(-1, 4, 11)
FOLDS = 5
FEWEST: dict[MeasureMethod, int] = {"gradients": 16, "regression": 50}  # plausible images that one is worth


def check_method(method: str) -> MeasureMethod:
    """`method`, if it is one."""
    if method not in IMAGES:
        raise InputError(
            f"--how must be {' or '.join(IMAGES)} with --from-measure and --from-classifier, but it is '{method}'."
        )
    return method


def measure_generated(
    generator: Generator,
    network: AnatomyNetwork,
    n: int,
    names: Sequence[str] = MEASURES,
    seed: int = 0,
    batch: int = 32,
    progress: Progress | None = None,
    score: ClassifierScore | None = None,
    processes: Processes = ALONE,
) -> tuple[Floats, dict[str, Floats]]:
    """Codes [M, w_dim] of `n` random z and the measures [M] of their images; implausible ones are left out (M <= n).

    With `score` a name may be a class of that classifier: its log-odds. Of several `processes` each looks at its share,
    and all have all figures.
    """
    progress = progress or SilentProgress()
    found: list[tuple[Floats, dict[str, Floats]]] = []
    progress.start("Measuring generated images", n)
    with torch.no_grad():
        for part in processes.rounds(n, batch):
            mine = _measure_some(generator, network, seed, part, names, score) if part else None
            found += [each for each in processes.exchange(mine) if each is not None]
            progress.advance(min(part.start + batch * processes.count, n))
    progress.finish()
    codes, measures = zip(*found, strict=True)
    return np.concatenate(codes), {name: np.concatenate([one[name] for one in measures]) for name in measures[0]}


def _measure_some(
    generator: Generator,
    network: AnatomyNetwork,
    seed: int,
    indices: range,
    names: Sequence[str],
    score: ClassifierScore | None,
) -> tuple[Floats, dict[str, Floats]]:
    """`measure_generated` for images that are worked on at once."""
    w = random_codes(generator, seed, indices)
    images = generator.synthesis(w)
    found, plausible = measure_pictures(network, images, len(w))
    if score is not None:
        classes = [name for name in names if name in score.classes]
        answers = score.log_odds_of(images, classes).double().cpu().numpy()
        found |= dict(zip(classes, answers.T, strict=True))
    return w[:, 0].double().cpu().numpy()[plausible], {name: found[name][plausible] for name in names}


def measured_direction(
    codes: Floats, measures: Mapping[str, Floats], target: str, held: tuple[str, ...] = HELD
) -> tuple[Floats, dict[str, float]]:
    """The unit vector [D] along which `target` rises while the `held` measures stay, and its statistics.

    `codes` [N, D] and `measures` [N] each. Statistics: cross-validated R2 of each regression, what one unit of
    strength adds to the target by its regression, and the cosine with the uncontrolled gradient.
    """
    _check_enough("regression", len(codes), len(codes))
    gradients = {name: gradient(codes, measures[name]) for name in (target, *held)}
    statistics = {f"r2_{name}": r2 for name, (_, r2) in gradients.items()}
    slope = gradients[target][0]
    if held:
        basis, _ = np.linalg.qr(np.stack([gradients[name][0] for name in held], axis=1))
        controlled = slope - basis @ (basis.T @ slope)
    else:
        controlled = slope
    direction = controlled / np.linalg.norm(controlled)
    statistics["rise_per_unit"] = float(slope @ direction)
    statistics["cosine_with_uncontrolled"] = float(slope @ direction / np.linalg.norm(slope))
    statistics["images"] = float(len(codes))
    return direction, statistics


def gradient(codes: Floats, measure: Floats) -> tuple[Floats, float]:
    """The slope [D] of a ridge regression of `measure` on `codes`, in measure units, and its cross-validated R2."""
    centred = codes - codes.mean(axis=0)
    deviation = measure.std()
    if deviation == 0:
        raise InputError("A measure is the same on all generated images, so no direction changes it.")
    standard = (measure - measure.mean()) / deviation
    ridge = RidgeCV(alphas=PENALTIES * len(codes) / 100)
    folds = KFold(FOLDS, shuffle=True, random_state=0)
    predicted = cross_val_predict(ridge, centred, standard, cv=folds)
    r2 = 1 - float(np.square(standard - predicted).mean())
    slope = np.asarray(ridge.fit(centred, standard).coef_, dtype=np.float64) * deviation
    return slope, r2


def gradients_directions(
    model: Model,
    network: AnatomyNetwork,
    held: Mapping[str, Sequence[str]],
    n: int,
    seed: int,
    progress: Progress | None = None,
    score: ClassifierScore | None = None,
    processes: Processes = ALONE,
) -> dict[str, tuple[Floats, dict[str, float]]]:
    """The unit vector [D] of `steady_direction` of each target by `n` generated images, and its statistics.

    `held` has what each target holds. The first half of the images gives directions; the others are moved along them in
    turn by up to `reach` before they are looked at, so that what is held stays over the whole path and not only at its
    beginning.
    """
    generator, progress = model.generator, progress or SilentProgress()
    targets = list(held)
    names = list(dict.fromkeys([*targets, *(name for each in held.values() for name in each)]))
    organs = ORGANS.get(targets[0]) if len(targets) == 1 else None  # what may change must be one thing
    w = random_codes(generator, seed, range(n))
    half = n // 2
    progress.start("Differentiating", n)
    differ = partial(differentiate, generator, network, progress=progress, score=score, processes=processes)
    near = differ(w[:half], names, organs, seed)
    _check_enough("gradients", len(near), half)
    vectors = torch.from_numpy(np.stack([steady_direction(near, name, held[name]) for name in targets])).to(w)
    strengths = np.random.default_rng([seed, n]).uniform(0, reach(generator, 1), n - half)
    along = vectors[torch.arange(n - half) % len(targets)]
    moved = w[half:] + (torch.from_numpy(strengths).to(w)[:, None] * along)[:, None]
    far = differ(moved, names, organs, seed + 1, done=half)
    progress.finish()
    found = Gradients.join([near, far])
    halves = [Gradients.join([near[i::2], far[i::2]]) for i in (0, 1)]
    return {name: _steady(found, halves, name, held[name]) for name in targets}


def _steady(
    found: Gradients, halves: Sequence[Gradients], target: str, held: Sequence[str]
) -> tuple[Floats, dict[str, float]]:
    direction = steady_direction(found, target, held)
    one, other = (steady_direction(half, target, held) for half in halves)
    slope, elsewhere = found.measures[target].mean(axis=0), found.elsewhere()
    free = slope / np.linalg.norm(slope)
    return direction, {
        "images": float(len(found)),
        "rise_per_unit": float(slope @ direction),
        "cosine_of_halves": float(one @ other),
        "cosine_with_uncontrolled": float(free @ direction),
        "elsewhere_per_rise": float(np.sqrt(direction @ elsewhere @ direction) / (slope @ direction)),
        "elsewhere_per_rise_uncontrolled": float(np.sqrt(free @ elsewhere @ free) / (slope @ free)),
    }


def find_measured_direction(
    model: Model,
    network: AnatomyNetwork,
    target: str | ClassifierScore,
    held: tuple[str, ...],
    method: MeasureMethod,
    n: int | None,
    seed: int,
    name: str | None,
    progress: Progress | None = None,
    processes: Processes = ALONE,
) -> Direction:
    """The direction of a measure or of a class's log-odds in the model's W, by `n` (None: of IMAGES) generated images.

    `held` are measures, or other classes of the classifier. Several `processes` share the images, and all find it.
    Raises InputError for a measure that there is not, for gradients of a classifier that has none, and where too few
    images have plausible anatomy.
    """
    score = None if isinstance(target, str) else target
    wanted = target if isinstance(target, str) else target.wanted
    _check_known([*([target] if isinstance(target, str) else ()), *held], score)
    if score is not None and method == "gradients" and not score.differentiable:
        raise InputError(f"{score.file} has no gradients; use --how regression.")
    held = tuple(measure for measure in held if measure != wanted)
    n = _enough(method, n)
    if method == "gradients":
        found = gradients_directions(model, network, {wanted: held}, n, seed, progress, score, processes)
        vector, statistics = found[wanted]
    else:
        names = (wanted, *held)
        codes, measures = measure_generated(
            model.generator, network, n, names, seed, progress=progress, score=score, processes=processes
        )
        vector, statistics = measured_direction(codes, measures, wanted, held)
    return _direction(model, vector, statistics, wanted, score, held, method, n, seed, name)


def find_class_directions(
    model: Model,
    network: AnatomyNetwork,
    score: ClassifierScore,
    held: Mapping[str, Sequence[str]],
    n: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Direction]:
    """The directions of several classes of one classifier by gradients at the same generated images.

    `held` has for each class the measures, and the other classes, that it holds. Raises InputError as above.
    """
    for name in held:
        if name not in score.classes:
            raise InputError(f"{score.file} knows {', '.join(score.classes)}, and '{name}' is none of them.")
    _check_known([name for names in held.values() for name in names], score)
    n = _enough("gradients", n)
    found = gradients_directions(model, network, held, n, seed, progress, score)
    return {name: _direction(model, *found[name], name, score, held[name], "gradients", n, seed, name) for name in held}


def _check_known(names: Sequence[str], score: ClassifierScore | None) -> None:
    classes = () if score is None else score.classes
    for name in names:
        if name not in MEASURES and name not in classes:
            also = f", or of the classes {', '.join(classes)}" if classes else ""
            raise InputError(f"'{name}' is no measure; use one of {', '.join(MEASURES)}{also}.")


def _enough(method: MeasureMethod, n: int | None) -> int:
    n = n or IMAGES[method]
    fewest = FEWEST[method] * (2 if method == "gradients" else 1)  # half of them give the first direction by gradients
    if n < fewest:
        raise InputError(
            f"{n} generated images are too few for {method}; take at least {fewest}, better {IMAGES[method]}."
        )
    return n


def _direction(
    model: Model,
    vector: Floats,
    statistics: dict[str, float],
    wanted: str,
    score: ClassifierScore | None,
    held: Sequence[str],
    method: MeasureMethod,
    n: int,
    seed: int,
    name: str | None,
) -> Direction:
    what = f"measure {wanted}" if score is None else f"classifier {score.file} [{score.sha}] of {wanted}"
    return Direction(
        direction=vector[None].astype(np.float32),
        name=name or wanted,
        method=f"{what}, {method}" + (f", holding {', '.join(held)}" if held else ""),
        fingerprint=model.fingerprint,
        sources=[f"{n} generated images, seed {seed}"],
        statistics=statistics,
        model=model.name,
    )


def _check_enough(method: MeasureMethod, plausible: int, made: int) -> None:
    if plausible < FEWEST[method]:
        raise InputError(
            f"Only {plausible} of {made} generated images have plausible anatomy and at least {FEWEST[method]} are "
            "needed; generate more, or train the generator longer."
        )
