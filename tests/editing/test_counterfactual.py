"""The smallest change of a code that moves a score, where it is known, and what stands beside it."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cxredit_cli.editing.counterfactual import (
    Coordinates,
    along,
    score_gradient,
    shuffled_weights,
    smallest_change,
    steepest,
)
from cxredit_cli.inversion.curvature import Basis
from cxredit_cli.storage.any_classifier import load_score
from tests.storage.classifier_files import Bright, write_pt2

LAYERS, SIZE = 2, 8


class Sheet:
    """Stands for a generator: the picture [N, 1, 8, 16] is the code [N, 2, 8, 8] itself, laid side by side."""

    def __init__(self) -> None:
        self.synthesis = self
        self.mapping = nn.Module()
        self.mapping.register_buffer("w_avg", torch.zeros(SIZE * SIZE))
        self.precision = torch.float32

    def __call__(self, w: Tensor, noise: object = "const") -> Tensor:
        return w.unflatten(2, (SIZE, SIZE)).transpose(1, 2).flatten(2)[:, None]


def origin() -> Coordinates:
    torch.manual_seed(0)
    vectors, lengths = torch.linalg.qr(torch.randn(SIZE * SIZE, SIZE * SIZE))[0], torch.linspace(0.5, 2, SIZE * SIZE)
    basis = Basis(vectors[None], lengths[None], torch.ones(1))
    return Coordinates(torch.zeros(LAYERS, SIZE * SIZE), torch.full((SIZE * SIZE,), 0.5), basis, None)


def plane(pictures: Tensor) -> Tensor:
    """A score that is linear in the picture."""
    normal = torch.randn(SIZE, LAYERS * SIZE, generator=torch.Generator().manual_seed(1))
    return (pictures[:, 0] * normal).sum((1, 2))


def curved(pictures: Tensor) -> Tensor:
    """One that bends and saturates."""
    return 3 * torch.tanh(plane(pictures)) - 0.2 * pictures.square().sum((1, 2, 3))


@pytest.mark.parametrize("goal", [0.8, -0.8])
def test_of_a_linear_score_the_change_is_the_perpendicular(goal: float) -> None:
    sheet, at = Sheet(), origin()
    _, gradient = score_gradient(sheet, plane, at, torch.zeros_like(at.start))  # type: ignore[arg-type]
    shortest = gradient * goal / gradient.square().sum()
    found = smallest_change(sheet, plane, at, goal, goal > 0, limit=100.0)  # type: ignore[arg-type]
    assert found.reached
    reached = float(plane(at.pictures(sheet, found.u[None])))  # type: ignore[arg-type]
    assert abs(reached) >= abs(goal) - 1e-5
    assert found.length == pytest.approx(float(shortest.norm()), rel=0.08)  # a little beyond, by sixteenths
    assert torch.cosine_similarity(found.u.flatten(), shortest.flatten(), dim=0) > 0.999


def test_of_a_curved_score_it_crosses_and_no_random_change_is_shorter() -> None:
    sheet, at = Sheet(), origin()
    found = smallest_change(sheet, curved, at, 1.0, True, limit=100.0)  # type: ignore[arg-type]
    assert found.reached
    steps = torch.randn(200, LAYERS, SIZE * SIZE, generator=torch.Generator().manual_seed(3))
    steps *= (0.9 * found.length / steps.flatten(1).norm(dim=1))[:, None, None]
    assert curved(at.pictures(sheet, steps)).max() < 1.0  # type: ignore[arg-type]


def test_what_is_out_of_reach_is_said() -> None:
    sheet, at = Sheet(), origin()
    found = smallest_change(sheet, curved, at, 50.0, True, limit=2.0)  # type: ignore[arg-type]
    assert not found.reached
    assert found.length <= 2.0 + 1e-5
    assert float(curved(at.pictures(sheet, found.u[None]))) > 0.5  # type: ignore[arg-type]


def test_along_a_direction_either_way_counts() -> None:
    sheet, at = Sheet(), origin()
    step = at.code(score_gradient(sheet, plane, at, torch.zeros_like(at.start))[1][None])[0]  # type: ignore[arg-type]
    for sign in (1.0, -1.0):
        found = along(sheet, plane, at, sign * step, 0.5, True, limit=5.0)  # type: ignore[arg-type]
        assert found.reached
        assert float(plane(at.pictures(sheet, found.u[None]))) == pytest.approx(0.5, abs=0.12)  # type: ignore[arg-type]
        shares = at.coordinates(step[None])[0] / found.u
        assert shares.std() < 1e-3 * shares.abs().mean()  # on the line
    assert not along(sheet, plane, at, step, 1e6, True, limit=5.0).reached  # type: ignore[arg-type]


def test_the_steepest_change_has_its_length() -> None:
    sheet, at = Sheet(), origin()
    u = steepest(sheet, plane, at, 1.5, rising=False)  # type: ignore[arg-type]
    _, gradient = score_gradient(sheet, plane, at, u)  # type: ignore[arg-type]
    assert float(u.norm()) == pytest.approx(1.5, rel=1e-5)
    assert torch.cosine_similarity(u.flatten(), -gradient.flatten(), dim=0) > 0.99


def test_shuffled_weights_are_other_weights_and_come_back(tmp_path: Path) -> None:
    module = Bright()
    module.conv = nn.Conv2d(1, 2, 5, padding=2)
    score = load_score(str(write_pt2(tmp_path / "mine.pt2", module)), "Left")
    picture = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    before = score.log_odds(picture)
    assert score.weights is not None
    weight, bias = (score.weights()[name].clone() for name in ("conv.weight", "conv.bias"))
    with shuffled_weights(score, seed=1):
        other = score.weights()["conv.weight"]
        assert not torch.equal(other, weight)
        assert torch.equal(other.flatten().sort().values, weight.flatten().sort().values)
        assert torch.equal(score.weights()["conv.bias"], bias)
        assert score.log_odds(picture) != before
    assert torch.equal(score.log_odds(picture), before)
