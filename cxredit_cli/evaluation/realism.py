"""How far generated radiographs are from real ones, each figure beside what it is between two halves of the real ones.

The Fréchet distance of two finite sets is not 0 even where both come from one distribution, and the smaller the sets,
the larger it is; precision, recall and the sliced Wasserstein distance depend on the sets' size as well. So everything
here compares sets of one size m, half of the real images:

    generated   mean of d(A, F) and d(B, G)    A and B: the two halves of the real images, F and G: m generated each
    floor       d(A, B)
    others      mean of d(A, T) and d(B, U)    T and U: m real images each of patients outside A and B

each averaged over several random halvings. The halves are by image, so that both hold images of the same patients: no
generator can reach the floor. `others` is what a perfect one would reach.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from cxredit_cli.errors import InputError
from cxredit_cli.metrics.feature_distances import frechet_distance, kernel_distance, precision_recall
from cxredit_cli.metrics.feature_extractors import Extractor, feature_vectors
from cxredit_cli.metrics.ms_ssim import pair_similarities
from cxredit_cli.metrics.sliced_wasserstein import random_patches, sliced_wasserstein
from cxredit_cli.processes import ALONE, Processes
from cxredit_cli.progress import Progress, SilentProgress

HALVINGS = 10
REAL: Literal["real"] = "real"
GENERATED: Literal["generated"] = "generated"
OTHERS: Literal["others"] = "others"
FLOOR: Literal["floor"] = "floor"

Better = Literal["lower", "higher", "as the floor"]
Images = NDArray[np.uint8]
Indices = NDArray[np.int64]
Side = tuple[str, Indices]  # a set of images, and which of them
Kind = Literal["generated", "floor", "others"]


@dataclass(frozen=True, slots=True)
class RealImages:
    """Real images to compare with, and as many of other patients, where there are some."""

    images: Images  # [N, R, R], N even
    patients: list[str]
    others: Images | None  # [N, R, R]
    split: str  # train, val or all
    divided: tuple[float, int] = (0.0, 0)  # fraction and seed by which the dataset was split into train and val


@dataclass(frozen=True, slots=True)
class Value:
    """A mean over the halvings, and how much it varies.

    The spread is the standard deviation over the halvings; of the kernel distance it is that over subsets, of MS-SSIM
    the standard error of the mean over pairs.
    """

    mean: float
    spread: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One measure of realism."""

    name: str
    features: str  # anatomy, inception or "", for measures of the pixels
    better: Better
    generated: Value
    floor: Value
    others: Value | None

    @property
    def ratio(self) -> float | None:
        """generated / floor; None for the kernel distance, whose floor is 0 on average."""
        return None if self.name == "kernel_distance" or self.floor.mean <= 0 else self.generated.mean / self.floor.mean


@dataclass(slots=True)
class Realism:
    """What was compared, and the figures."""

    split: str  # of the real images
    images: int  # real ones; as many were generated
    half: int
    patients: int
    halvings: int
    figures: list[Figure] = field(default_factory=list)
    networks: dict[str, str] = field(default_factory=dict)  # which weights gave the features of each name
    notes: list[str] = field(default_factory=list)  # what a reader must know


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two equally large sets, the first of real images, and what the distance between them is for."""

    halving: int
    kind: Kind
    one: Side
    other: Side


def measure_realism(
    real: RealImages,
    generated: Images,
    extractors: Mapping[str, Extractor],
    seed: int = 0,
    device: torch.device | str = "cpu",
    batch: int = 32,
    progress: Progress | None = None,
    processes: Processes = ALONE,
) -> Realism:
    """Compare real images with as many generated ones [N, R, R].

    `extractors` give features by their name; "anatomy" features are put to a common scale (see `_standardised`). Of
    several `processes` each extracts the features of its share, and the first has the figures.
    """
    progress = progress or SilentProgress()
    if generated.shape != real.images.shape:
        raise InputError(
            f"As many generated images of the same size as real ones are needed: {list(real.images.shape)}, "
            f"not {list(generated.shape)}."
        )
    sets = {REAL: real.images, GENERATED: generated} | ({} if real.others is None else {OTHERS: real.others})
    half = len(generated) // 2
    comparisons = [each for number in range(HALVINGS) for each in _compare_halves(list(sets), half, seed, number)]
    found = Realism(real.split, 2 * half, half, len(set(real.patients)), HALVINGS)
    features = {
        name: _vectors(name, extract, sets, device, batch, progress, processes) for name, extract in extractors.items()
    }
    if not processes.first:
        return found
    for name, vectors in features.items():
        found.figures += _feature_figures(name, vectors, comparisons, progress)
        dimensions = vectors[REAL].shape[1]
        if half <= dimensions:
            found.notes.append(
                f"A half has {half} images and the {name} features have {dimensions} dimensions: most of their Fréchet "
                "distance is the bias of small sets, in the floor as well."
            )
    found.figures += _texture_figures(sets, comparisons, seed, progress)
    found.figures.append(_diversity_figure(sets, real.patients, seed, device))
    return found


def _compare_halves(names: Sequence[str], half: int, seed: int, number: int) -> list[Comparison]:
    random = np.random.default_rng([seed, number])
    halves = {name: random.permutation(2 * half).reshape(2, half) for name in names}
    first, second = halves[REAL]
    comparisons = [Comparison(number, FLOOR, (REAL, first), (REAL, second))]
    for kind in (GENERATED, OTHERS):
        if kind in halves:
            comparisons += [
                Comparison(number, kind, (REAL, one), (kind, other))
                for one, other in zip(halves[REAL], halves[kind], strict=True)
            ]
    return comparisons


def _vectors(
    name: str,
    extract: Extractor,
    sets: Mapping[str, Images],
    device: torch.device | str,
    batch: int,
    progress: Progress,
    processes: Processes,
) -> dict[str, NDArray[np.float64]]:
    """The feature vectors of each set, in the first process."""
    done, vectors = 0, dict[str, NDArray[np.float64]]()
    progress.start(f"Features ({name})", sum(map(len, sets.values())))
    for which, images in sets.items():
        parts: list[NDArray[np.float64] | None] = []
        for part in processes.rounds(len(images), batch):
            some = images[part.start : part.stop]
            parts += processes.gather(feature_vectors(extract, some, device, batch) if part else None)
            progress.advance(done + min(part.start + batch * processes.count, len(images)))
        if processes.first:
            vectors[which] = np.concatenate([part for part in parts if part is not None])
        done += len(images)
    progress.finish()
    return _standardised(vectors) if name == "anatomy" and processes.first else vectors


def _standardised(vectors: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """All vectors less the mean of the real ones, over one number: the root of the real ones' mean variance.

    One number, and not one a dimension: that would blow up dimensions in which real images hardly differ.
    """
    mean, scale = vectors[REAL].mean(0), np.sqrt(max(vectors[REAL].var(0).mean(), 1e-12))
    return {name: (values - mean) / scale for name, values in vectors.items()}


def _feature_figures(
    features: str, vectors: Mapping[str, NDArray[np.float64]], comparisons: Sequence[Comparison], progress: Progress
) -> list[Figure]:
    progress.start(f"Comparing ({features})", len(comparisons), unit="pairs of sets")
    frechet, kernel, covered = [], [], []
    for number, comparison in enumerate(comparisons):
        x, y = (vectors[which][rows] for which, rows in (comparison.one, comparison.other))
        frechet.append(frechet_distance(x, y))
        kernel.append(kernel_distance(x, y))
        covered.append(precision_recall(x, y))
        progress.advance(number + 1)
    progress.finish()
    values, spreads = [each.value for each in kernel], [each.spread for each in kernel]
    return [
        _figure("frechet_distance", features, "lower", comparisons, frechet),
        _figure("kernel_distance", features, "lower", comparisons, values, spreads),
        _figure("precision", features, "higher", comparisons, [each.precision for each in covered]),
        _figure("recall", features, "higher", comparisons, [each.recall for each in covered]),
    ]


def _texture_figures(
    sets: Mapping[str, Images], comparisons: Sequence[Comparison], seed: int, progress: Progress
) -> list[Figure]:
    """The sliced Wasserstein distance, the mean over scales first, then each scale, named by its side."""
    names = list(sets)
    patches = {name: random_patches(images, seed + number) for number, (name, images) in enumerate(sets.items())}
    sides = [each.side for each in patches[REAL]]
    pairs = [
        ((names.index(each.one[0]), each.one[1]), (names.index(each.other[0]), each.other[1])) for each in comparisons
    ]
    progress.start("Comparing (texture)", len(sides), unit="scales")
    distances = []
    for level in range(len(sides)):
        distances.append(sliced_wasserstein([patches[name][level].values for name in names], pairs, seed))
        progress.advance(level + 1)
    progress.finish()
    mean = [float(value) for value in np.mean(distances, axis=0)]
    figures = [_figure("sliced_wasserstein", "", "lower", comparisons, mean)]
    for side, values in zip(sides, distances, strict=True):
        figures.append(_figure(f"sliced_wasserstein_{side}", "", "lower", comparisons, values))
    return figures


def _diversity_figure(
    sets: Mapping[str, Images], patients: Sequence[str], seed: int, device: torch.device | str
) -> Figure:
    """MS-SSIM of pairs within each set; pairs of real images are of two patients where there are two."""
    groups = list(patients) if len(set(patients)) > 1 else None
    values: dict[str, Value] = {}
    for name, images in sets.items():
        found = pair_similarities(images, groups if name == REAL else None, seed, device)
        values[name] = Value(float(found.mean()), float(found.std() / np.sqrt(len(found))))
    return Figure("ms_ssim", "", "as the floor", values[GENERATED], values[REAL], values.get(OTHERS))


def _figure(
    name: str,
    features: str,
    better: Better,
    comparisons: Sequence[Comparison],
    values: Sequence[float],
    spreads: Sequence[float] | None = None,
) -> Figure:
    """Average the values of each kind, one for each comparison; without `spreads` the halvings give the spread."""

    def of(kind: Kind) -> Value | None:
        rows = [index for index, each in enumerate(comparisons) if each.kind == kind]
        if not rows:
            return None
        halvings = np.array([comparisons[row].halving for row in rows])
        found = np.array([values[row] for row in rows])
        means = [found[halvings == number].mean() for number in np.unique(halvings)]
        spread = np.std(means) if spreads is None else np.mean([spreads[row] for row in rows])
        return Value(float(found.mean()), float(spread))

    generated, floor = of(GENERATED), of(FLOOR)
    assert generated is not None
    assert floor is not None
    return Figure(name, features, better, generated, floor, of(OTHERS))
