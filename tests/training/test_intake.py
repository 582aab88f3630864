"""Training of the intake network: what a batch holds, and that a stopped training ends as an uninterrupted one."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cxredit_cli.errors import MismatchError
from cxredit_cli.networks.intake import ORIENTATIONS, IntakeConfig, IntakeNetwork, turned
from cxredit_cli.training.intake import IntakeFilms, IntakeTraining, intake_loss, train_intake, training_batch
from cxredit_cli.training.no_frontal_chest import Outliers

SIDE = 32
PLAIN = IntakeTraining(batch=20, outliers=0.25, cropped=0, strength=0, seed=3, steps=4, children=0.1)


@pytest.fixture
def films() -> IntakeFilms:
    """Eight films that are bright at the top left, one of them of a child; their lungs are the right half."""
    pictures = torch.zeros(8, SIDE, SIDE, dtype=torch.uint8)
    pictures[:, : SIDE // 2, : SIDE // 2] = 255
    lungs = torch.zeros(8, SIDE, SIDE, dtype=torch.bool)
    lungs[:, :, SIDE // 2 :] = True
    return IntakeFilms(pictures, lungs, torch.tensor([4.0, *[50.0] * 6, float("nan")]))


@pytest.fixture
def outliers(films) -> Outliers:
    photograph = torch.rand(60, 50, generator=torch.Generator().manual_seed(0))
    return Outliers(films.films, [photograph], films.films[:1])


def test_a_batch_says_how_its_films_lie(films, outliers):
    images, orientation, signs = training_batch(films, outliers, PLAIN, 0)
    assert images.shape == (20, 1, SIDE, SIDE)
    assert (orientation[:15] >= 0).all()
    assert (orientation[15:] == -1).all()
    assert signs[:, 1].tolist() == [0] * 15 + [1] * 5
    assert set(signs[15:, 0].tolist()) == {-1}  # whether what is no film is negative is left open
    upright = torch.zeros(SIDE, SIDE)
    upright[: SIDE // 2, : SIDE // 2] = 1
    alike = []
    for image, lies, negative in zip(images[:15, 0], orientation[:15].tolist(), signs[:15, 0], strict=True):
        seen = turned(upright, lies)
        seen = 1 - seen if negative else seen
        alike.append(np.corrcoef(image.flatten().numpy(), seen.flatten().numpy())[0, 1] > 0.5)
    assert np.mean(alike) > 0.85  # contrasts are changed, and few of them beyond recognition


def test_batches_are_the_same_for_the_same_step_and_differ_between_steps(films, outliers):
    first, again, other = (training_batch(films, outliers, PLAIN, step)[0] for step in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_children_and_cut_off_lungs_are_told(films, outliers):
    _, _, signs = training_batch(films, outliers, PLAIN, 0)
    assert signs[:2, 3].tolist() == [1, 1]  # a tenth of the batch is of children
    cropped = [training_batch(films, outliers, IntakeTraining(batch=40, cropped=1), step)[2] for step in range(3)]
    told = torch.cat(cropped)[:, 2]
    assert {-1.0, 0.0, 1.0} <= set(told.tolist())


@pytest.mark.parametrize("number", range(40))
def test_what_is_no_film_is_a_picture(outliers, number):
    picture = outliers.draw(np.random.default_rng(number))
    assert picture.shape == (SIDE, SIDE)
    assert torch.isfinite(picture).all()
    assert picture.min() >= 0
    assert picture.max() <= 1


def test_the_loss_by_hand():
    scores = torch.zeros(2, ORIENTATIONS + 4)
    scores[0, 3] = 2.0
    signs = torch.full((2, 4), -1.0)
    signs[1, 1] = 1.0
    loss = intake_loss(scores, torch.tensor([3, -1]), signs)
    by_hand = -F.log_softmax(scores[0, :ORIENTATIONS], dim=0)[3] + np.log(2)
    assert loss.item() == pytest.approx(by_hand.item())


def test_a_stopped_training_ends_as_an_uninterrupted_one(films, outliers, tmp_path):
    config = IntakeConfig(SIDE, (8, 8), 4)

    def fresh() -> IntakeNetwork:
        torch.manual_seed(0)
        return IntakeNetwork(config)

    whole = train_intake(fresh(), films, outliers, PLAIN)
    path = tmp_path / "intake.checkpoint"

    def stop(_: IntakeNetwork) -> dict[str, float]:
        if path.exists():
            raise KeyboardInterrupt
        return {}

    with pytest.raises(KeyboardInterrupt):
        train_intake(fresh(), films, outliers, PLAIN, path, stop, check_every=2)
    resumed = train_intake(fresh(), films, outliers, PLAIN, path, None, check_every=2)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)
    with pytest.raises(MismatchError, match="use the same options"):
        train_intake(fresh(), films, outliers, IntakeTraining(batch=20, seed=9), path)
