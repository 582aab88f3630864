"""Batched L-BFGS on problems whose minimum is known."""

import torch

from cxredit_cli.inversion.lbfgs import LBFGS


def minimise(start: torch.Tensor, matrices: torch.Tensor, centre: torch.Tensor, steps: int) -> torch.Tensor:
    """The last accepted losses [N] of the quadratics (x - c)^T A (x - c) / 2."""
    search = LBFGS(start)
    best = torch.full((len(start),), torch.inf)
    for _ in range(steps):
        away = search.trial - centre
        gradient = torch.einsum("nij,nj->ni", matrices, away)
        loss = (away * gradient).sum(dim=1) / 2
        best = torch.minimum(best, loss)
        search.advance(loss, gradient)
    return best


def problems(count: int = 3, size: int = 12) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    bases = torch.linalg.qr(torch.randn(count, size, size, generator=random)).Q
    matrices = bases @ torch.diag(torch.logspace(0, 3, size)) @ bases.mT  # condition 1000
    return torch.randn(count, size, generator=random), matrices, torch.randn(count, size, generator=random)


def test_badly_conditioned_quadratics_are_solved() -> None:
    start, matrices, centre = problems()
    assert (minimise(start, matrices, centre, 120) < 1e-4).all()


def test_no_problem_sees_another() -> None:
    start, matrices, centre = problems()
    together = minimise(start, matrices, centre, 25)
    alone = minimise(start[1:2], matrices[1:2], centre[1:2], 25)
    torch.testing.assert_close(together[1:2], alone, rtol=1e-3, atol=1e-6)


def test_a_loss_that_is_no_number_is_refused() -> None:
    search = LBFGS(torch.zeros(1, 2))
    search.advance(torch.tensor([1.0]), torch.tensor([[1.0, 0.0]]))
    first = search.trial.clone()
    search.advance(torch.tensor([torch.nan]), torch.tensor([[torch.nan, 0.0]]))
    assert torch.isfinite(search.trial).all()
    assert search.trial[0, 0].abs() < first[0, 0].abs()


def test_a_step_of_no_length_stays() -> None:
    search = LBFGS(torch.ones(2, 3))
    for _ in range(3):
        search.advance(torch.ones(2), torch.ones(2, 3), length=0.0)
        torch.testing.assert_close(search.trial, torch.ones(2, 3))


def test_the_problems_that_are_kept_go_on_as_before() -> None:
    start, matrices, centre = problems()
    keep = torch.tensor([True, False, True])
    whole, part = LBFGS(start), LBFGS(start)
    for step in range(20):
        for search in (whole, part):
            rows = keep if search is part and step > 8 else torch.ones(3, dtype=torch.bool)
            away = search.trial - centre[rows]
            gradient = torch.einsum("nij,nj->ni", matrices[rows], away)
            search.advance((away * gradient).sum(dim=1) / 2, gradient)
        if step == 8:
            part.keep(keep)
    torch.testing.assert_close(part.trial, whole.trial[keep], rtol=1e-3, atol=1e-4)
