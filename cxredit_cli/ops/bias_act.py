"""Bias, activation, gain and clamp in as few passes over memory as possible."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

LEAKY_SLOPE = 0.2
Activation = Literal["linear", "lrelu"]
# Restores unit variance after the activation (Karras et al. 2018, equalised learning rate).
ACTIVATION_GAIN: dict[str, float] = {"linear": 1.0, "lrelu": 2.0**0.5}


def bias_act(
    x: Tensor, bias: Tensor, act: Activation = "lrelu", gain: float = 1.0, clamp: float | None = None
) -> Tensor:
    """clamp(gain * act_gain * act(x + bias)) for x [N, C, ...] and bias [C]; `gain` must be positive.

    A leaky ReLU is positively homogeneous, so the gain is applied together with the bias, before it.
    """
    total_gain = gain * ACTIVATION_GAIN[act]
    shape = [1, -1] + [1] * (x.ndim - 2)
    y = torch.add((bias * total_gain).to(x.dtype).view(shape), x, alpha=total_gain)
    if act == "lrelu":
        y = F.leaky_relu_(y, LEAKY_SLOPE)
    return y if clamp is None else y.clamp(-clamp * gain, clamp * gain)


def bias_act_reference(
    x: Tensor, bias: Tensor, act: Activation = "lrelu", gain: float = 1.0, clamp: float | None = None
) -> Tensor:
    """The same operation, step by step; the oracle for the fast path."""
    y = x + bias.to(x.dtype).view([1, -1] + [1] * (x.ndim - 2))
    if act == "lrelu":
        y = torch.where(y > 0, y, y * LEAKY_SLOPE)
    y = y * (ACTIVATION_GAIN[act] * gain)
    return y if clamp is None else y.clamp(-clamp * gain, clamp * gain)
