"""Heart and lungs outlined on radiographs by the anatomy network: masks, and whether it looked at a chest at all."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from cxredit_cli.networks.anatomy import CLASSES, HEART, LEFT_LUNG, RIGHT_LUNG, AnatomyNetwork
from cxredit_cli.networks.preparation import normalise, resize

MASK_SIDE = 256  # masks that are measured are finer than the network's own: edges fall between its pixels
MARGIN = 1 / 64  # of the image's side: around an organ, since edges change beside it


@dataclass(frozen=True, slots=True)
class Segmentation:
    """What the network says of N images; the last two tell whether it looked at a chest at all."""

    masks: NDArray[np.uint8]  # [N, S, S], classes 0 to 3, not cleaned
    certainty: NDArray[np.float64]  # [N], mean probability of the chosen class within the organs; 0 without any
    contrast: NDArray[np.float64]  # [N], mean grey of the heart less that of the lungs, of the normalised image


@torch.no_grad()
def segment(network: AnatomyNetwork, images: Tensor, side: int | None = None, batch: int = 32) -> Segmentation:
    """Find the organs on images [N, 1, R, R] of any range and resolution; masks are [N, side, side] (None: R).

    The network sees each image at its own resolution; its scores are interpolated to `side`.
    """
    device = next(network.parameters()).device
    side = side or images.shape[-1]
    masks = [np.empty((0, side, side), dtype=np.uint8)]
    signs = [np.empty((2, 0))]
    for part in torch.split(images, batch) if len(images) else ():
        x = normalise(resize(part.to(device), network.config.resolution))
        scores = network(x)
        signs.append(_signs(x, scores))
        if scores.shape[-1] != side:
            scores = F.interpolate(scores, size=(side, side), mode="bilinear", align_corners=False)
        masks.append(_most_likely(scores).cpu().numpy())
    certainty, contrast = np.concatenate(signs, axis=1)
    return Segmentation(np.concatenate(masks), certainty, contrast)


def _most_likely(scores: Tensor) -> Tensor:
    """The class [N, S, S] uint8 of scores [N, C, S, S]; the first of equals, as argmax, which is slow across planes."""
    best, classes = scores[:, 0], torch.zeros_like(scores[:, 0], dtype=torch.uint8)
    for organ in range(1, scores.shape[1]):
        higher = scores[:, organ] > best
        classes.masked_fill_(higher, organ)
        best = torch.where(higher, scores[:, organ], best)
    return classes


def _signs(x: Tensor, scores: Tensor) -> NDArray[np.float64]:
    """Certainty and contrast [2, N] (see Segmentation) of normalised images and the network's scores."""
    best, classes = scores.softmax(1).max(1)
    lungs, heart = (classes == RIGHT_LUNG) | (classes == LEFT_LUNG), classes == HEART

    def mean(values: Tensor, where: Tensor) -> Tensor:
        return (values * where).sum((1, 2)) / where.sum((1, 2)).clamp(min=1)

    contrast = mean(x[:, 0], heart) - mean(x[:, 0], lungs)
    both = torch.stack([mean(best, classes > 0), contrast])
    signs: NDArray[np.float64] = both.double().cpu().numpy()
    return signs


def around(inside: NDArray[np.bool_], side: int) -> Tensor:
    """The pixels [side, side] that a region [S, S] touches, and a margin around them."""
    touched = F.interpolate(torch.from_numpy(inside)[None, None].float(), (side, side), mode="area") > 0
    margin = max(round(MARGIN * side), 1)
    return F.max_pool2d(touched.float(), 2 * margin + 1, 1, margin)[0, 0] > 0


def clean(masks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Keep the largest piece of each organ in masks [N, S, S], and fill its holes where no other organ is."""
    cleaned = np.zeros_like(masks)
    for mask, target in zip(masks, cleaned, strict=True):
        for organ in range(1, len(CLASSES)):
            pieces, count = ndimage.label(mask == organ)
            if count:
                target[pieces == np.bincount(pieces.ravel())[1:].argmax() + 1] = organ
        for organ in range(1, len(CLASSES)):
            target[_holes(target == organ) & (target == 0)] = organ
    return cleaned


def _holes(organ: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What an organ [S, S] encloses: the pieces of the rest that do not reach the edge of the image.

    The same as scipy's `binary_fill_holes`, in one pass instead of one a pixel of depth.
    """
    pieces, count = ndimage.label(~organ)
    open_ = np.zeros(count + 1, dtype=bool)
    for edge in (pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]):
        open_[edge] = True
    open_[0] = True  # the organ itself
    return np.asarray(~open_[pieces])
