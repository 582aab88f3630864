"""Limited-memory BFGS (Nocedal 1980) for many independent problems at once: one evaluation a step moves them all.

A code has few hundred numbers and its loss is smooth: curvature learnt from past gradients reaches in 100 evaluations
what Adam reaches in several hundred (docs/explanation/inversion.md).
"""

import torch
from torch import Tensor

MEMORY = 10  # pairs of steps and changes of the gradient, a problem
SUFFICIENT_DECREASE = 1e-4  # Armijo's condition (Nocedal & Wright 2006, equation 3.4)
SHORTER = 0.4  # the factor of a step that was too long
MAX_REFUSALS = 6  # in a row; then what was learnt of the curvature is forgotten


class LBFGS:
    """Minimises N functions of D numbers each; no problem sees another.

    Evaluate at `trial` [N, D], hand loss and gradient to `advance`, repeat.
    """

    def __init__(self, start: Tensor) -> None:
        count, size = start.shape
        self.trial = start.detach().clone()
        self._accepted = self.trial.clone()
        self._loss = start.new_full((count,), torch.inf)
        self._gradient = torch.zeros_like(self.trial)
        self._direction = torch.zeros_like(self.trial)
        self._length = start.new_ones(count)
        self._refusals = start.new_zeros(count)
        self._steps = start.new_zeros(MEMORY, count, size)
        self._changes = start.new_zeros(MEMORY, count, size)
        self._rho = start.new_zeros(MEMORY, count)  # 1 / (step . change); 0: nothing is stored there
        self._scale = start.new_ones(count)

    @torch.no_grad()
    def advance(self, loss: Tensor, gradient: Tensor, length: float = 1.0) -> None:
        """Judge the trial by its `loss` [N] and `gradient` [N, D], and choose the next: `length` of the whole step."""
        slope = (self._gradient * self._direction).sum(dim=1)
        taken = loss <= self._loss + SUFFICIENT_DECREASE * self._length * slope
        self._remember(taken, self.trial - self._accepted, gradient - self._gradient)
        self._accepted = torch.where(taken[:, None], self.trial, self._accepted)
        self._gradient = torch.where(taken[:, None], gradient, self._gradient)
        self._loss = torch.where(taken, loss, self._loss)
        self._refusals = torch.where(taken, 0.0, self._refusals + 1)
        lost = self._refusals >= MAX_REFUSALS
        self._rho = torch.where(lost, 0.0, self._rho)
        self._refusals = torch.where(lost, 0.0, self._refusals)
        renewed = taken | lost
        self._direction = torch.where(renewed[:, None], self._descent(), self._direction)
        self._length = torch.where(renewed, length, SHORTER * self._length)
        self.trial = self._accepted + self._length[:, None] * self._direction

    def keep(self, rows: Tensor) -> None:
        """Go on with the problems `rows` (a mask [N]) only."""
        for name in ("trial", "_accepted", "_loss", "_gradient", "_direction", "_length", "_refusals", "_scale"):
            setattr(self, name, getattr(self, name)[rows])
        for name in ("_steps", "_changes", "_rho"):
            setattr(self, name, getattr(self, name)[:, rows])

    def _remember(self, taken: Tensor, step: Tensor, change: Tensor) -> None:
        curvature = (step * change).sum(dim=1)
        # The first evaluation has no step before it; a negative curvature would spoil the model of the function.
        useful = taken & (curvature > 1e-12)
        inverse = torch.where(useful, 1 / curvature, 0.0)
        for name, new in (("_steps", step), ("_changes", change), ("_rho", inverse)):
            held = getattr(self, name)
            rows = useful.view(1, -1, *[1] * (held.ndim - 2))
            setattr(self, name, torch.where(rows, torch.cat([held[1:], new[None]]), held))
        self._scale = torch.where(useful, curvature / change.square().sum(dim=1).clamp(min=1e-30), self._scale)

    def _descent(self) -> Tensor:
        """-H g by the two-loop recursion (Nocedal & Wright 2006, algorithm 7.4); of length 1 without a history."""
        q = self._gradient.clone()
        shares = []
        for step, change, rho in zip(self._steps.flip(0), self._changes.flip(0), self._rho.flip(0), strict=True):
            shares.append(rho * (step * q).sum(dim=1))
            q -= shares[-1][:, None] * change
        q *= self._scale[:, None]
        for step, change, rho in zip(self._steps, self._changes, self._rho, strict=True):
            q += (shares.pop() - rho * (change * q).sum(dim=1))[:, None] * step
        known = (self._rho != 0).any(dim=0)
        steepest = self._gradient / self._gradient.norm(dim=1, keepdim=True).clamp(min=1e-30)
        return -torch.where(known[:, None], q, steepest)
