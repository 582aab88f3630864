"""Heart and lungs on radiographs: their outlines, the cardiothoracic ratio, and what else an edit must keep."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cxredit_cli.anatomy.outlines import MASK_SIDE, Segmentation, clean, segment
from cxredit_cli.networks.anatomy import CLASSES, HEART, LEFT_LUNG, RIGHT_LUNG, AnatomyNetwork

MIN_KEPT = 0.8  # share of an organ that must lie in one piece
LUNG_AREA, HEART_AREA = (0.02, 0.40), (0.01, 0.35)  # of the image
LUNGS_RATIO, LUNG_HEIGHT = 4.0, 0.15  # of the larger lung to the smaller; of the image
CTR_RANGE = (0.25, 0.90)
MIN_CERTAINTY = 0.9  # PA films give 0.95, AP films 0.92 and more; photographs, noise and a wrist mostly less
MIN_CONTRAST = 0.1  # lungs hold air
CUT_OFF = "a lung is cut off at the side of the image"


@dataclass(frozen=True, slots=True)
class Anatomy:
    """Measures of N images: lengths as fractions of the image's side, areas of its area, nan where unknown."""

    ctr: NDArray[np.float64]  # cardiothoracic ratio: heart_width / thorax_width
    heart_width: NDArray[np.float64]
    thorax_width: NDArray[np.float64]  # from the outermost edge of one lung to that of the other
    heart_area: NDArray[np.float64]
    right_lung_area: NDArray[np.float64]  # of the patient's right, at the left of the image
    left_lung_area: NDArray[np.float64]
    right_lung_height: NDArray[np.float64]
    left_lung_height: NDArray[np.float64]
    problem: list[str]  # why the masks are implausible, "" where they are not

    @property
    def plausible(self) -> NDArray[np.bool_]:
        """Whether the masks may be trusted."""
        return np.array([not problem for problem in self.problem], dtype=bool)

    def __len__(self) -> int:
        return len(self.problem)

    def plain(self, index: int) -> dict[str, float | None]:
        """The measures of one image as JSON holds them: rounded, None where unknown."""
        values = {name: float(getattr(self, name)[index]) for name in FIGURES}
        return {name: None if np.isnan(value) else round(value, 5) for name, value in values.items()}

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The images of all `parts`, in order."""
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in FIGURES}
        return cls(**columns, problem=[problem for part in parts for problem in part.problem])


FIGURES = tuple(field.name for field in fields(Anatomy) if field.name != "problem")


def measure(masks: NDArray[np.uint8]) -> Anatomy:
    """Clean masks [N, S, S] and measure them; `problem` judges the masks alone."""
    rows = [_measure_one(mask, kept) for mask, kept in zip(masks, clean(masks), strict=True)]
    columns = {name: np.array([figures[name] for figures, _ in rows], dtype=np.float64) for name in FIGURES}
    return Anatomy(**columns, problem=[problem for _, problem in rows])


def measure_segmentation(found: Segmentation) -> Anatomy:
    """Measure what `segment` found; `problem` judges the picture too."""
    anatomy = measure(found.masks)
    problems = []
    for problem, certainty, contrast in zip(anatomy.problem, found.certainty, found.contrast, strict=True):
        if not problem and contrast < MIN_CONTRAST:
            problem = "the lungs are not darker than the heart"
        if not problem and certainty < MIN_CERTAINTY:
            problem = "the outlines are uncertain"
        problems.append(problem)
    return replace(anatomy, problem=problems)


def measure_images(network: AnatomyNetwork, images: Tensor, batch: int = 32) -> Anatomy:
    """Outline and measure images [N, 1, R, R] of any range and resolution."""
    return measure_segmentation(segment(network, images, MASK_SIDE, batch))


def _measure_one(raw: NDArray[np.uint8], mask: NDArray[np.uint8]) -> tuple[dict[str, float], str]:
    side = mask.shape[-1]
    boxes = {organ: _box(mask == organ) for organ in (RIGHT_LUNG, LEFT_LUNG, HEART)}
    areas = {organ: float((mask == organ).mean()) for organ in boxes}
    figures = dict.fromkeys(FIGURES, np.nan)
    figures |= {
        "heart_area": areas[HEART],
        "right_lung_area": areas[RIGHT_LUNG],
        "left_lung_area": areas[LEFT_LUNG],
    }
    right, left, heart = boxes[RIGHT_LUNG], boxes[LEFT_LUNG], boxes[HEART]
    if right:
        figures["right_lung_height"] = (right.bottom - right.top) / side
    if left:
        figures["left_lung_height"] = (left.bottom - left.top) / side
    if heart:
        figures["heart_width"] = (heart.right - heart.left) / side
    if right and left:
        figures["thorax_width"] = (max(right.right, left.right) - min(right.left, left.left)) / side
    figures["ctr"] = figures["heart_width"] / figures["thorax_width"]
    return figures, _problem(raw, mask, boxes, figures)


@dataclass(frozen=True, slots=True)
class _Box:
    """The edges of an organ in pixels, and the middle of its area."""

    left: int
    right: int
    top: int
    bottom: int
    middle: float  # column


def _box(organ: NDArray[np.bool_]) -> _Box | None:
    rows, columns = np.flatnonzero(organ.any(1)), np.flatnonzero(organ.any(0))
    if len(rows) == 0:
        return None
    middle = float(np.average(np.arange(organ.shape[1]), weights=organ.sum(0)))
    return _Box(int(columns[0]), int(columns[-1]) + 1, int(rows[0]), int(rows[-1]) + 1, middle)


def _problem(
    raw: NDArray[np.uint8], mask: NDArray[np.uint8], boxes: dict[int, _Box | None], figures: dict[str, float]
) -> str:
    """The first thing that cannot be of a frontal chest X-ray, "" if there is none."""
    right, left, heart = boxes[RIGHT_LUNG], boxes[LEFT_LUNG], boxes[HEART]
    if right is None or left is None or heart is None:
        missing = [CLASSES[organ] for organ, box in boxes.items() if box is None]
        return f"no {' and no '.join(missing)}"
    for organ in boxes:
        kept = ((mask == organ) & (raw == organ)).sum() / (raw == organ).sum()
        if kept < MIN_KEPT:
            return f"the {CLASSES[organ]} is in pieces"
    lungs = (figures["right_lung_area"], figures["left_lung_area"])
    if min(lungs) < LUNG_AREA[0] or max(lungs) > LUNG_AREA[1]:
        return "a lung of impossible size"
    if max(lungs) > LUNGS_RATIO * min(lungs):
        return "one lung far smaller than the other"
    if min(figures["right_lung_height"], figures["left_lung_height"]) < LUNG_HEIGHT:
        return "a lung of impossible height"
    if not HEART_AREA[0] <= figures["heart_area"] <= HEART_AREA[1]:
        return "a heart of impossible size"
    if not right.middle < heart.middle < left.middle:
        return "the heart is not between the lungs"
    if not CTR_RANGE[0] <= figures["ctr"] <= CTR_RANGE[1]:
        return "an impossible cardiothoracic ratio"
    if min(right.left, left.left) == 0 or max(right.right, left.right) == mask.shape[1]:
        return CUT_OFF
    return ""
