"""Anybody's classifier as log-odds of one class: how pictures are put before it, and what its answer means."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cxredit_cli.errors import InputError

# What a classifier gives for each class: log-odds, probabilities, or scores of classes that exclude each other.
Output = Literal["logits", "probabilities", "softmax"]
SMALLEST = 1e-6  # of a probability: rounded ones of 0 and 1 have finite log-odds


@dataclass(frozen=True, slots=True)
class InputForm:
    """What a classifier sees of a picture."""

    size: int  # side in pixels
    channels: int = 1  # grey is repeated
    black: float = 0.0  # the values that the darkest and the brightest grey become
    white: float = 1.0
    mean: tuple[float, ...] = ()  # then, channel by channel: (value - mean) / std
    std: tuple[float, ...] = ()

    def prepare(self, images: Tensor) -> Tensor:
        """Pictures [N, 1, R, R] in [-1, 1] as the classifier's input [N, channels, size, size]; differentiable."""
        grey = (images.float().clamp(-1, 1) + 1) / 2
        if grey.shape[-1] != self.size:
            size = (self.size, self.size)
            # Larger pictures are averaged down first, as libraries of images do (antialias), so that nothing flickers.
            grey = F.interpolate(grey, size, mode="bilinear", align_corners=False, antialias=True)
        values = self.black + grey * (self.white - self.black)
        values = values.expand(-1, self.channels, -1, -1)
        if not self.mean:
            return values
        mean, std = (values.new_tensor(each).view(1, -1, 1, 1) for each in (self.mean, self.std))
        return (values - mean) / std


@dataclass(frozen=True, slots=True)
class ClassifierScore:
    """The log-odds of one class by somebody's classifier."""

    run: Callable[[Tensor], Tensor]  # [N, channels, size, size] -> [N, classes], or [N] where there is one
    form: InputForm
    output: Output
    classes: tuple[str, ...]
    wanted: str  # one of the classes
    file: str  # its name
    sha: str  # of its content
    differentiable: bool
    weights: Callable[[], dict[str, Tensor]] | None = None  # where they can be reached: views, not copies

    def log_odds(self, images: Tensor) -> Tensor:
        """Natural log-odds [N] of pictures [N, 1, R, R] in [-1, 1]. Raises InputError for an answer of another kind."""
        return self.log_odds_of(images, (self.wanted,))[:, 0]

    def log_odds_of(self, images: Tensor, names: Sequence[str]) -> Tensor:
        """The same of several of its classes, [N, names]."""
        values = self._answer(images)[:, [self.classes.index(name) for name in names]]
        bad = ~values.detach().isfinite().all(0)
        if bad.any():
            name = names[int(bad.int().argmax())]
            raise InputError(f"{self.file} returns values that are no numbers (NaN or infinite) for {name}.")
        return values

    def _answer(self, images: Tensor) -> Tensor:
        """Log-odds of every class, of which some may be no numbers."""
        found = self.run(self.form.prepare(images))
        if not isinstance(found, Tensor):
            raise InputError(f"{self.file} returns {type(found).__name__}; expected one tensor [N, classes].")
        scores = found.float().reshape(len(found), -1) if found.ndim < 2 else found.float()
        if scores.shape != (len(images), len(self.classes)):
            raise InputError(
                f"{self.file} returns the shape {list(found.shape)} for {len(images)} images, but its JSON names "
                f"{len(self.classes)} classes; expected [{len(images)}, {len(self.classes)}]."
            )
        if self.output == "softmax":
            columns = range(len(self.classes))
            others = [[index for index in columns if index != column] for column in columns]
            against = [scores[:, column] - scores[:, rest].logsumexp(1) for column, rest in enumerate(others)]
            return torch.stack(against, dim=1)
        if self.output == "probabilities":
            if scores.detach().min() < 0 or scores.detach().max() > 1:
                raise InputError(
                    f"{self.file} returns {float(scores.detach().min()):.3g} to {float(scores.detach().max()):.3g}, "
                    'which are no probabilities; is "output": "logits" meant in its JSON?'
                )
            return torch.logit(scores.clamp(SMALLEST, 1 - SMALLEST))
        return scores
