"""Adaptive discriminator augmentation (Karras et al. 2020, arXiv 2006.06676) with transforms that suit radiographs.

Translation, small rotation and scale, brightness and contrast, each applied with probability p. No flips, no quarter
turns and no inversion: a mirrored chest is another anatomy (situs inversus).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from cxredit_cli.training.draws import Draws

MAX_SHIFT = 0.08  # of the side
MAX_ANGLE = 0.12  # radians, about 7 degrees
LOG2_SCALE_STD = 0.12
BRIGHTNESS_STD = 0.15  # of the range [-1, 1]
LOG2_CONTRAST_STD = 0.3
KIMG_TO_ONE = 500  # thousands of images in which p may rise from 0 to 1


def augment(images: Tensor, p: Tensor, draws: Draws) -> Tensor:
    """Each transform on each image [N, 1, H, W] with probability `p` (0-d tensor); differentiable once.

    The N images are those of the part that `draws` is for.
    """

    def chosen() -> Tensor:
        return (draws.uniform() < p).float()

    shift = (draws.uniform(2) * 2 - 1).t() * (2 * MAX_SHIFT) * chosen()
    angle = (draws.uniform() * 2 - 1) * MAX_ANGLE * chosen()
    scale = torch.exp2(draws.normal() * LOG2_SCALE_STD * chosen())
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    theta = torch.stack([torch.stack([cos, -sin, shift[0]], dim=1), torch.stack([sin, cos, shift[1]], dim=1)], dim=1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)

    def per_image(x: Tensor) -> Tensor:
        return x[:, None, None, None]

    contrast = torch.exp2(draws.normal() * LOG2_CONTRAST_STD * chosen())
    brightness = draws.normal() * BRIGHTNESS_STD * chosen()
    return moved * per_image(contrast) + per_image(brightness)


def adapt_p(p: Tensor, real_sign: Tensor, images_seen: int, target: float) -> Tensor:
    """The next p in [0, 1): raised while the mean sign of D on reals exceeds `target`, lowered below it.

    p moves by at most images_seen / (1000 * KIMG_TO_ONE). Capped at 0.8, beyond which augmentations leak into the
    generated images (section 3.2).
    """
    step = torch.sign(real_sign - target) * (images_seen / (KIMG_TO_ONE * 1000))
    return (p + step).clamp(0.0, 0.8)
