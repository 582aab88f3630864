"""The encoder E: two ResNet branches whose features meet, stage by stage, in a denormalising merge.

After Saboo et al. 2020 (arXiv 2109.01071) and the two-branch embedding of Guan et al. 2020 (arXiv 2007.01758); the
merge is the spatially adaptive denormalisation of Park et al. 2019 (SPADE, equations 1 and 2).
"""

from dataclasses import dataclass
from typing import Literal, overload

import torch
from torch import Tensor, nn

from cxredit_cli.errors import InputError

BLOCKS_PER_STAGE = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}  # He et al. 2016, table 1
CHANNELS_PER_GROUP = 16  # Wu & He 2018 ("Group normalization"), table 3
HEAD_SIZE = 4  # the head sees a grid of 4x4, so that where something is counts as well as what it is


@dataclass(frozen=True)
class EncoderConfig:
    """The architecture of an encoder, in plain values that model.json stores."""

    resolution: int  # side of the input in pixels
    w_dim: int  # dimensions of a code
    num_outputs: int = 1  # codes an image: 1 for W, num_ws of the generator for W+
    depth: int = 101  # of each ResNet branch: 18, 34, 50 or 101
    width: int = 64  # channels of the stem; 64 is the published ResNet
    passes: int = 1  # over an image; from the second on E sees what its last answer looks like, and corrects it
    seen_side: int | None = None  # of the generator's running picture of that answer, enlarged; None: the finished one
    principal: bool = False  # E answers along the generator's principal directions, not along the axes of W

    def __post_init__(self) -> None:
        if self.depth not in BLOCKS_PER_STAGE:
            raise InputError(f"An encoder's depth must be 18, 34, 50 or 101, but it is {self.depth}.")
        if self.resolution < 32 or self.resolution & (self.resolution - 1):
            raise InputError(f"An encoder's resolution must be a power of two from 32 on, but it is {self.resolution}.")
        if self.passes < 1:
            raise InputError(f"An encoder makes one pass or more, not {self.passes}.")
        if self.seen_side is not None and not 4 <= self.seen_side <= self.resolution:
            raise InputError(
                f"An encoder sees its answers at a side from 4 to {self.resolution} pixels, not {self.seen_side}."
            )
        if self.width < 8 or self.width % 8:
            raise InputError(f"An encoder's width must be a multiple of 8, but it is {self.width}.")


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation of `channels`.

    Not batch normalisation: E meets synthetic and real images in turn, whose statistics differ, and is used on batches
    of one. Group statistics are an image's own: training, test and any batch size agree, no image depends on another.
    """
    return nn.GroupNorm(max(1, channels // CHANNELS_PER_GROUP), channels)


class Branch(nn.Module):
    """A ResNet without its classifier: a stem and four stages, of which the last three halve the resolution."""

    def __init__(self, config: EncoderConfig) -> None:
        from torchvision.models.resnet import BasicBlock, Bottleneck  # as slow to import as torch, and few need it

        super().__init__()
        block = BasicBlock if config.depth < 50 else Bottleneck
        # The published stem divides the side by four; small images are divided less, so that the last stage keeps 4x4.
        stride = 1 if config.resolution < 64 else 2
        pool = nn.MaxPool2d(3, 2, 1) if config.resolution >= 128 else nn.Identity()
        stem = nn.Conv2d(min(config.passes, 2), config.width, kernel_size=7, stride=stride, padding=3, bias=False)
        self.stem = nn.Sequential(stem, group_norm(config.width), nn.ReLU(inplace=True), pool)
        self.stages = nn.ModuleList()
        self.channels: list[int] = []
        before = config.width
        for stage, blocks in enumerate(BLOCKS_PER_STAGE[config.depth]):
            planes = config.width * 2**stage
            after = planes * block.expansion
            layers = []
            for index in range(blocks):
                stride = 2 if index == 0 and stage > 0 else 1
                skip = None
                if stride != 1 or before != after:
                    skip = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), group_norm(after))
                layers.append(block(before, planes, stride, skip, norm_layer=group_norm))
                before = after
            self.stages.append(nn.Sequential(*layers))
            self.channels.append(after)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class DenormalisingMerge(nn.Module):
    """Normalise the features of one branch, then scale and shift them by maps made from the features of the other.

    gamma(b) * (a - mean(a)) / std(a) + beta(b), with gamma written as 1 + a residual (SPADE, equation 1).
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.normalise = nn.GroupNorm(max(1, channels // CHANNELS_PER_GROUP), channels, affine=False)
        self.shared = nn.Conv2d(channels, hidden, 3, padding=1)
        self.scale_and_shift = nn.Conv2d(hidden, 2 * channels, 3, padding=1)

    def forward(self, features: Tensor, guide: Tensor) -> Tensor:
        """Merge two maps [N, C, H, W] into one of the same shape."""
        gamma, beta = self.scale_and_shift(self.shared(guide).relu()).chunk(2, dim=1)
        merged: Tensor = self.normalise(features) * (1 + gamma) + beta
        return merged


class Encoder(nn.Module):
    """Maps images to codes: w = w_avg + w_std * delta(image), so that an untrained encoder answers with the mean code.

    With several passes w = start + w_std * delta(image, made), where `made` is the picture of the code `start`: first
    the mean code's, then that of E's own last answer (ReStyle: Alaluf et al. 2021, equation 2). With principal
    coordinates delta is a sum of `w_axes`, so that each of E's numbers shows about as much as the next.

    Buffers: `w_avg` and `w_std` [w_dim], the mean and the spread of the generator's codes (`set_code_statistics`);
    `made_avg` [R, R], the mean code's picture, where there are several passes; `w_axes` [w_dim, w_dim], orthogonal rows
    in units of the spread, where coordinates are principal (`curvature.principal_axes`).
    """

    w_avg: Tensor
    w_std: Tensor
    made_avg: Tensor | None
    w_axes: Tensor | None

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.content, self.guide = Branch(config), Branch(config)
        channels = self.content.channels
        self.merges = nn.ModuleList(DenormalisingMerge(c, hidden=2 * config.width) for c in channels)
        squeezed = 4 * config.width
        self.squeeze = nn.Sequential(nn.Conv2d(channels[-1], squeezed, 1), nn.LeakyReLU(0.2))
        self.hidden = nn.Sequential(nn.Linear(squeezed * HEAD_SIZE**2, 16 * config.width), nn.LeakyReLU(0.2))
        self.to_delta = nn.Linear(16 * config.width, config.num_outputs * config.w_dim)
        nn.init.zeros_(self.to_delta.weight)
        nn.init.zeros_(self.to_delta.bias)
        self.register_buffer("w_avg", torch.zeros(config.w_dim))
        self.register_buffer("w_std", torch.ones(config.w_dim))
        several = config.passes > 1
        self.register_buffer("made_avg", torch.zeros(config.resolution, config.resolution) if several else None)
        self.register_buffer("w_axes", torch.eye(config.w_dim) if config.principal else None)

    def set_code_statistics(
        self, mean: Tensor, std: Tensor, picture: Tensor | None = None, axes: Tensor | None = None
    ) -> None:
        """Take the mean and the per-dimension standard deviation [w_dim] of the codes that E has to answer with.

        `picture` is what the generator makes of the mean; an encoder of several passes needs it, and one with principal
        coordinates needs their `axes`.
        """
        self.w_avg.copy_(mean)
        self.w_std.copy_(std)
        if self.made_avg is not None and picture is not None:
            self.made_avg.copy_(picture.view_as(self.made_avg))
        if self.w_axes is not None and axes is not None:
            self.w_axes.copy_(axes)

    def coordinates(self, difference: Tensor) -> Tensor:
        """What E's last layer has to add for a `difference` [N, L, w_dim] of codes."""
        scaled = difference / self.w_std
        return scaled if self.w_axes is None else scaled @ (self.w_axes.mT / self.w_axes.square().sum(dim=1))

    @overload
    def forward(
        self,
        images: Tensor,
        return_features: Literal[False] = False,
        made: Tensor | None = None,
        start: Tensor | None = None,
    ) -> Tensor: ...

    @overload
    def forward(
        self,
        images: Tensor,
        return_features: Literal[True],
        made: Tensor | None = None,
        start: Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor]]: ...

    def forward(
        self, images: Tensor, return_features: bool = False, made: Tensor | None = None, start: Tensor | None = None
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """Encode images [N, 1, R, R] in [-1, 1] to codes [N, num_outputs, w_dim], in float32: one pass.

        `made` [N, 1, R, R] is the picture of the codes `start`, for all passes but the first. With `return_features`
        also the merged maps of the four stages, the E_i of the training loss.
        """
        side = self.config.resolution
        if images.ndim != 4 or images.shape[1:] != (1, side, side):
            raise InputError(f"The encoder reads images of shape [N, 1, {side}, {side}], not {list(images.shape)}.")
        if self.made_avg is not None:
            made = self.made_avg.expand_as(images) if made is None else made
            images = torch.cat([images, made], dim=1)
        content, guide = self.content.stem(images), self.guide.stem(images)
        features = []
        for stage, guide_stage, merge in zip(self.content.stages, self.guide.stages, self.merges, strict=True):
            guide = guide_stage(guide)
            content = merge(stage(content), guide)
            features.append(content)
        pooled = nn.functional.adaptive_avg_pool2d(self.squeeze(content), HEAD_SIZE)
        delta = self.to_delta(self.hidden(pooled.flatten(1))).float()
        delta = delta.unflatten(1, (self.config.num_outputs, self.config.w_dim))
        if self.w_axes is not None:
            delta = delta @ self.w_axes
        w = (self.w_avg if start is None else start) + self.w_std * delta
        return (w, features) if return_features else w

    def extra_repr(self) -> str:
        """Show the architecture."""
        return str(self.config)
