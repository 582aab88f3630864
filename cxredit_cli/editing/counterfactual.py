"""The smallest change of a code that moves a classifier's score, and what stands beside it as the null.

Lengths are taken in the whitened coordinates of the generator's curvature (`inversion.curvature`): there a step of one
shows about as much in the picture whichever way it goes, so the shortest way is the one that changes the picture least.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cxredit_cli.errors import InputError
from cxredit_cli.inversion.curvature import Basis
from cxredit_cli.inversion.precision import fast_gradients
from cxredit_cli.latent.random_codes import random_codes
from cxredit_cli.latent.synthesize import synthesize
from cxredit_cli.networks.any_classifier import ClassifierScore
from cxredit_cli.networks.generator import Generator

STEPS = 20  # of gradients at most
RELAXED = 0.7  # share of each step of the linear solution that is taken: the score is no plane
SETTLED = 0.02  # of its length: a change that crosses and moves by no more is found
BEYOND = 0.05  # log-odds past the goal that are aimed at, so that it is crossed and not only neared
SHARES = 16
CHECKED = 4  # of the last changes met, in float32
LONGER = (1.1, 1.25, 1.5, 2.0, 3.0)
FARTHEST = 0.7  # of the root mean square length of a random code: beyond it, it is another patient's picture
SPREAD_CODES = 256
PROBED = 13  # strengths along a given direction at which the score is looked at first

Score = Callable[[Tensor], Tensor]  # pictures [N, 1, R, R] in [-1, 1] -> log-odds [N]


@dataclass(frozen=True, slots=True)
class Coordinates:
    """w = start + spread * basis.distance(u): u [L, D] is what is searched for, from 0."""

    start: Tensor  # [L, D]
    spread: Tensor  # [D]
    basis: Basis
    noise: list[Tensor] | None  # fitted noise of the picture, one [1, 1, H, W] a layer

    def code(self, u: Tensor) -> Tensor:
        """Codes [N, L, D] of coordinates [N, L, D]."""
        codes: Tensor = self.start + self.spread * self.basis.distance(u)
        return codes

    def coordinates(self, step: Tensor) -> Tensor:
        """u [N, L, D] of steps [N, L, D] of the code."""
        return self.basis.delta(step / self.spread)

    def pictures(self, generator: Generator, u: Tensor) -> Tensor:
        """Pictures [N, 1, R, R] of coordinates [N, L, D], in float32 and in [-1, 1]."""
        noise = None if self.noise is None else [layer.expand(len(u), -1, -1, -1) for layer in self.noise]
        return torch.cat(list(synthesize(generator, self.code(u), noise)))

    def limit(self, generator: Generator) -> float:
        """The farthest that a change may reach: FARTHEST of what lies between the mean code and a random one."""
        mean, _ = generator.w_statistics()
        steps = random_codes(generator, 0, range(SPREAD_CODES)).to(mean) - mean  # [N, 1, D]
        squares = self.coordinates(steps).square().sum(dim=(1, 2))
        return FARTHEST * float((squares.mean() * len(self.start)).sqrt())


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one code, and what came of it."""

    u: Tensor  # [L, D]
    reached: bool  # whether the score got to where it was wanted
    steps: int  # of gradients

    @property
    def length(self) -> float:
        """In whitened coordinates."""
        return float(self.u.norm())


def smallest_change(
    generator: Generator, score: Score, at: Coordinates, goal: float, rising: bool, limit: float, steps: int = STEPS
) -> Change:
    """The shortest u whose picture's score reaches `goal`, from below (`rising`) or from above.

    Each step solves the problem with the score replaced by its tangent plane f + g^T (v - u), whose shortest solution
    is v = g (goal - f + g^T u) / |g|^2 (as DeepFool does in pixels: Moosavi-Dezfooli et al. 2016, section 3), and goes
    part of the way, until it settles. Beyond `limit` it is pulled back. The answer is the shortest one that reached the
    goal, in float32; where none did, the one that came nearest.
    """
    u = torch.zeros_like(at.start)
    sign = 1.0 if rising else -1.0
    aim = goal + sign * BEYOND
    tried: list[Tensor] = []
    for _ in range(steps):
        value, gradient = score_gradient(generator, score, at, u)
        tried.append(u)
        square = float(gradient.square().sum())
        if square == 0 or not np.isfinite(square):
            break
        solved = gradient * ((aim - value + float((gradient * u).sum())) / square)
        solved = solved * min(1.0, limit / max(float(solved.norm()), 1e-12))
        moved = torch.lerp(u, solved, RELAXED)
        settled = float((moved - u).norm()) <= SETTLED * float(moved.norm())
        u = moved
        if settled:
            break
    # Where the score flattens, tangents fall short: the last change is tried longer too.
    tried.append(u)
    size = max(float(u.norm()), 1e-12)
    last = [*tried[-CHECKED:], *(u * factor for factor in LONGER if factor * size <= limit)]
    with torch.no_grad():
        found = score(at.pictures(generator, torch.stack(last)).to(at.start.device)).cpu()
    there = (sign * (found - goal) >= 0).tolist()
    lengths = [float(one.norm()) for one in last]
    if any(there):
        best = min((index for index, good in enumerate(there) if good), key=lengths.__getitem__)
        return Change(_shortened(generator, score, at, last[best], goal, sign), True, len(tried))
    return Change(last[int((sign * found).argmax())], False, len(tried))


def _shortened(generator: Generator, score: Score, at: Coordinates, u: Tensor, goal: float, sign: float) -> Tensor:
    """As much of u as is needed, to a SHARES-th: what is shortest and reaches the goal."""
    shares = torch.linspace(0, 1, SHARES + 1, device=u.device)[1:]
    with torch.no_grad():
        found = score(at.pictures(generator, shares[:, None, None] * u).to(u.device))
    there = (sign * (found - goal) >= 0).nonzero()[:, 0]
    return u if len(there) == 0 else shares[there[0]] * u  # alone u reached it: pictures differ by rounding


def score_gradient(generator: Generator, score: Score, at: Coordinates, u: Tensor) -> tuple[float, Tensor]:
    """The score at u [L, D] and its gradient there."""
    moving = u.detach().clone().requires_grad_()
    with fast_gradients(generator):
        made = generator.synthesis(at.code(moving[None]), at.noise or "const")
    value = score(made.float())
    (gradient,) = torch.autograd.grad(value.sum(), moving)
    return float(value.detach()[0]), gradient


def along(
    generator: Generator, score: Score, at: Coordinates, step: Tensor, goal: float, rising: bool, limit: float
) -> Change:
    """The shortest way along a direction `step` [1 or L, D] of the code, either way of it, that reaches `goal`."""
    unit = at.coordinates(step.expand_as(at.start)[None])[0]
    unit = unit / unit.norm()
    sign = 1.0 if rising else -1.0
    shares = torch.linspace(-1, 1, 2 * PROBED - 1, device=unit.device) * limit
    with torch.no_grad():
        found = score(at.pictures(generator, shares[:, None, None] * unit).to(unit.device))
    there = (sign * (found - goal) >= 0).nonzero()[:, 0]
    if len(there) == 0:
        return Change(shares[(sign * found).argmax()] * unit, False, 0)
    nearest = there[shares[there].abs().argmin()]
    return Change(_shortened(generator, score, at, shares[nearest] * unit, goal, sign), True, 0)


def steepest(
    generator: Generator, score: Score, at: Coordinates, length: float, rising: bool, rounds: int = 8
) -> Tensor:
    """The u of a given length along which the score moves most, by following its gradient on the sphere."""
    u = torch.zeros_like(at.start)
    for _ in range(rounds):
        _, gradient = score_gradient(generator, score, at, u)
        size = float(gradient.norm())
        if size == 0:
            raise InputError(
                "The classifier's score does not depend on the picture at all; there is nothing to explain."
            )
        wanted = gradient * ((1 if rising else -1) * length / size)
        u = torch.lerp(u, wanted, RELAXED)
        u = u * (length / float(u.norm()))
    return u


@contextmanager
def shuffled_weights(score: ClassifierScore, seed: int) -> Iterator[None]:
    """Within the `with`, a classifier of the same size that has learnt nothing: each weight's values change places.

    What is left of an explanation then is the generator's and the architecture's (Adebayo et al. 2018,
    arXiv 1810.03292, section 3). Vectors, such as biases and what normalises, stay.
    """
    assert score.weights is not None  # the caller asks only where they can be reached
    random = torch.Generator().manual_seed(seed)
    kept = [
        (weight, weight.detach().clone())
        for weight in score.weights().values()
        if weight.ndim > 1 and weight.is_floating_point()
    ]
    try:
        with torch.no_grad():
            for weight, before in kept:
                order = torch.randperm(weight.numel(), generator=random).to(weight.device)
                weight.copy_(before.flatten()[order].view_as(weight))
        yield
    finally:
        with torch.no_grad():
            for weight, before in kept:
                weight.copy_(before)
