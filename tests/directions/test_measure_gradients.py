"""Gradients of measures: against finite differences, against outlines, and the direction that they give."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from cxredit_cli.anatomy.measures import FIGURES, Anatomy, measure_images
from cxredit_cli.anatomy.picture_measures import MEASURES, soft_measures
from cxredit_cli.directions import measure_gradients
from cxredit_cli.directions.from_measure import find_class_directions
from cxredit_cli.directions.measure_gradients import ORGANS, Gradients, differentiate, steady_direction
from cxredit_cli.errors import InputError
from cxredit_cli.latent.random_codes import random_codes
from cxredit_cli.networks.anatomy import AnatomyConfig, AnatomyNetwork
from cxredit_cli.networks.generator import Generator
from cxredit_cli.radiographs.geometry import fit_square
from cxredit_cli.radiographs.read import read_radiograph
from cxredit_cli.storage.anatomy_network import load_anatomy
from cxredit_cli.storage.any_classifier import load_score
from cxredit_cli.storage.models import load_model
from tests.storage.classifier_files import write_pt2

SIDE = 32


@pytest.fixture
def network() -> AnatomyNetwork:
    torch.manual_seed(3)
    return AnatomyNetwork(AnatomyConfig(resolution=SIDE, widths=(8, 16)))


@pytest.fixture
def generator(tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Generator:
    """In full precision, with pictures whose anatomy is believed."""

    def believed(network: AnatomyNetwork, images: torch.Tensor, batch: int) -> Anatomy:
        return Anatomy(**dict.fromkeys(FIGURES, np.ones(len(images))), problem=[""] * len(images))

    monkeypatch.setattr(measure_gradients, "fast_gradients", lambda generator: nullcontext())
    monkeypatch.setattr(measure_gradients, "measure_images", believed)
    return load_model(tiny_model_dir).generator


def test_gradients_are_the_slopes_of_finite_steps(generator: Generator, network: AnatomyNetwork) -> None:
    names = ("heart_area", "ctr", "right_lung_area", "grey_p50")
    w = random_codes(generator, 0, range(3))
    found = differentiate(generator, network, w, names, ORGANS["heart_area"], batch=2)
    assert len(found) == 3

    toward = torch.randn(1, 1, w.shape[-1], generator=torch.Generator().manual_seed(1))
    step = 1e-3 * toward / toward.norm()  # percentiles and widths have kinks, so it is short
    with torch.no_grad():
        ends = [soft_measures(network, generator.synthesis(w + sign * step)) for sign in (1, -1)]
    for name in names:
        finite = (ends[0][name] - ends[1][name]).numpy() / 2
        assert_allclose(found.measures[name] @ step.numpy()[0, 0], finite, rtol=0.2, atol=0.05 * abs(finite).max())


def test_probes_estimate_how_much_the_picture_changes_elsewhere(
    generator: Generator, network: AnatomyNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure_gradients, "PROBES", 400)
    w = random_codes(generator, 0, range(1))
    curvature = differentiate(generator, network, w, ["heart_width"], ORGANS["heart_width"]).elsewhere()
    with torch.no_grad():
        image = generator.synthesis(w)
        free = measure_gradients._elsewhere(network, image, ORGANS["heart_width"])
        assert 0.05 < float(free.mean()) < 0.95  # the random network sees a heart, and something else
        for seed in range(3):
            toward = torch.randn(1, 1, w.shape[-1], generator=torch.Generator().manual_seed(seed))
            step = 1e-2 * toward / toward.norm()
            change = (generator.synthesis(w + step) - generator.synthesis(w - step)) / 2 / 2
            v = step.numpy()[0, 0].astype(np.float64)
            assert v @ curvature @ v == pytest.approx(float((change * free).square().mean()), rel=0.35)


def test_a_tone_is_of_the_whole_picture(generator: Generator, network: AnatomyNetwork) -> None:
    found = differentiate(generator, network, random_codes(generator, 0, range(2)), ["grey_p50"], None)
    assert not found.elsewhere().any()
    slope = found.measures["grey_p50"].mean(axis=0)
    assert_allclose(steady_direction(found, "grey_p50", ()), slope / np.linalg.norm(slope))


def test_implausible_images_take_no_part(
    generator: Generator, network: AnatomyNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    w = random_codes(generator, 0, range(4))
    whole = differentiate(generator, network, w, ["heart_width", "grey_p50"], ORGANS["heart_width"])

    def second_fails(network: AnatomyNetwork, images: torch.Tensor, batch: int) -> Anatomy:
        problems = ["", "no heart", "", ""]
        return Anatomy(**dict.fromkeys(FIGURES, np.ones(len(images))), problem=problems)

    monkeypatch.setattr(measure_gradients, "measure_images", second_fails)
    kept = differentiate(generator, network, w, ["heart_width", "grey_p50"], ORGANS["heart_width"])
    assert_allclose(kept.measures["heart_width"], whole.measures["heart_width"][[0, 2, 3]], rtol=1e-4, atol=1e-9)
    assert_allclose(kept.probes, whole.probes[[0, 2, 3]], rtol=1e-4, atol=1e-9)


def test_held_measures_stay_and_the_quieter_way_is_taken() -> None:
    # Axes 0 and 1 widen the heart alike, but along 1 the rest of the picture changes a hundred times as much; axis 2
    # widens the thorax, and the heart a little.
    ones = np.ones((5, 1))
    heart, thorax = ones * np.array([1, 1, 0.5, 0]), ones * np.array([0, 0, 2.0, 0])
    probes = np.sqrt(4) * np.diag([0.1, 10, 0.1, 0.1])[None].repeat(5, axis=0)
    found = Gradients({"heart_width": heart, "thorax_width": thorax}, probes)
    assert_allclose(found.elsewhere(), np.diag([0.01, 100, 0.01, 0.01]))

    v = steady_direction(found, "heart_width", ("thorax_width",))
    assert np.linalg.norm(v) == pytest.approx(1)
    assert abs(v[2]) < 1e-12
    mean = (100 + 0.03) / 4
    assert v[1] / v[0] == pytest.approx((0.01 / mean + 1) / (100 / mean + 1))  # the inverse of the damped curvature
    assert v[0] > 0


def test_a_measure_held_twice_is_held_once() -> None:
    slope = np.eye(3)[None].repeat(2, axis=0)
    measures = {"heart_width": slope[:, 0] + slope[:, 1], "a": slope[:, 1], "b": slope[:, 1]}
    v = steady_direction(Gradients(measures, np.zeros((2, 4, 3))), "heart_width", ("a", "b"))
    assert_allclose(v, [1, 0, 0], atol=1e-9)


def test_soft_measures_follow_the_outlines(data: Path) -> None:
    network = load_anatomy(None)
    files = sorted((data / "nih").glob("*.png")) + sorted((data / "wingspan" / "images").glob("*.png"))
    pictures = [fit_square(read_radiograph(file).pixels, 128) for file in files]
    images = torch.from_numpy(np.stack(pictures))[:, None] * 2 - 1
    hard = measure_images(network, images)
    with torch.no_grad():
        soft = soft_measures(network, images)
    assert set(soft) == set(MEASURES)
    known = hard.plausible
    assert known.sum() >= 8
    for name in FIGURES:
        expected, found = getattr(hard, name)[known], soft[name].numpy()[known]
        assert np.abs(found - expected).mean() < 0.05, name
        assert np.corrcoef(found, expected)[0, 1] > 0.9, name


def test_joining_and_taking_halves_keeps_the_rows() -> None:
    rng = np.random.default_rng(0)
    part = Gradients({"ctr": rng.normal(size=(4, 3))}, rng.normal(size=(4, 2, 3)))
    both = Gradients.join([part, replace(part)])
    assert len(both) == 8
    assert_allclose(both[4:].measures["ctr"], part.measures["ctr"])
    assert_allclose(both[::2].probes, both.probes[[0, 2, 4, 6]])


def test_classes_of_one_classifier_hold_each_other(
    tiny_model_dir: Path, generator: Generator, network: AnatomyNetwork, tmp_path: Path
) -> None:
    model, score = load_model(tiny_model_dir), load_score(str(write_pt2(tmp_path / "b.pt2")), "Left")
    found = find_class_directions(model, network, score, {"Left": ("Right",), "Right": ()}, 60)
    assert found["Left"].method.endswith("of Left, gradients, holding Right")
    assert found["Right"].method.endswith("of Right, gradients")
    w = random_codes(generator, 9, range(32))  # other pictures

    def effect(name: str) -> np.ndarray:
        step = 0.2 * torch.from_numpy(found[name].direction)
        with torch.no_grad():
            ends = [score.log_odds_of(generator.synthesis(w + sign * step), score.classes) for sign in (1, -1)]
        return (ends[0] - ends[1]).mean(0).numpy()

    left, right = effect("Left"), effect("Right")
    assert left[0] > 0
    assert right[1] > 0
    # A random generator is bright on both sides at once, so a direction that holds nothing moves both.
    assert abs(left[1] / left[0]) < 0.5 * abs(right[0] / right[1])
    with pytest.raises(InputError, match=r"b\.pt2 knows Left, Right, and 'Middle' is none"):
        find_class_directions(model, network, score, {"Middle": ()}, 60)
    with pytest.raises(InputError, match=r"'Middle' is no measure.*or of the classes Left, Right"):
        find_class_directions(model, network, score, {"Left": ("Middle",)}, 60)
