"""Dose and response on pictures whose anatomy is drawn, by a judge that sees what was drawn."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cxredit_cli.anatomy.measures import FIGURES
from cxredit_cli.evaluation import dose as dosing
from cxredit_cli.evaluation.dose import GREY, OUTSIDE, Dose, heart_region, measure_dose, random_directions
from cxredit_cli.evaluation.dose_summary import summarise_dose, summarise_null
from cxredit_cli.evaluation.scans import choose_scans
from cxredit_cli.latent.code_batch import CodeBatch
from cxredit_cli.metrics.classification import classify
from cxredit_cli.metrics.patient_identity import own_is_nearest
from cxredit_cli.networks.classifier import ClassifierConfig
from cxredit_cli.networks.generator import Generator
from cxredit_cli.storage.anatomy_network import BUNDLED_JUDGE, load_anatomy
from cxredit_cli.storage.image_folder import open_images
from cxredit_cli.storage.models import load_model


def made(ctr: list[list[float]], plausible: list[bool] | None = None, area: float = 0.3) -> Dose:
    """Curves of the CTR, and a heart area that grows by `area` over the positive half."""
    values = np.array(ctr)
    n, s = values.shape
    measures = {name: np.full((n, s), 0.5) for name in (*FIGURES, GREY, OUTSIDE)}
    measures["ctr"] = values
    measures["heart_area"] = np.tile(0.1 * (1 + area * np.linspace(-1, 1, s)), (n, 1))
    good = np.tile(np.array(plausible or [True] * n)[:, None], (1, s))
    strengths = np.linspace(-1, 1, s)
    change = np.abs(np.tile(strengths, (n, 1)))
    return Dose(strengths, measures, good, change, change / 10, good, good)


def test_changes_are_read_off_where_the_ratio_has_risen_as_far_as_one_asks() -> None:
    found = made([[0.30, 0.40, 0.50, 0.60, 0.70], [0.20, 0.30, 0.40, 0.45, 0.60]])
    summary = summarise_dose(found, rise=0.1)
    assert summary["ctr_change"]["mean"] == pytest.approx([-0.2, -0.1, 0.0, 0.075, 0.2])
    assert summary["end_to_end"] == pytest.approx(0.4)
    assert summary["rising_at_every_step"] == 1
    # 0.1 lies a fifth of the way from strength 0.5 to 1.
    assert summary["at_rise"]["strength"] == pytest.approx(0.6)
    assert summary["at_rise"]["changes"]["heart_area"] == pytest.approx(0.18)
    assert summary["at_rise"]["changes"]["thorax_width"] == 0
    assert summary["mean_rises_at_every_step"] is True


def test_a_patient_that_does_otherwise_is_counted_and_implausible_ones_are_not() -> None:
    found = made([[0.3, 0.4, 0.5], [0.3, 0.42, 0.41], [0.9, 0.1, 0.9]], plausible=[True, True, False])
    summary = summarise_dose(found)
    assert (summary["scans"], summary["used"]) == (3, 2)
    assert summary["rising_at_every_step"] == 0.5
    assert summary["rising_overall"] == 1
    assert summary["at_rise"] is None


def test_no_plausible_patient_is_no_error() -> None:
    summary = summarise_dose(made([[0.3, 0.4, 0.5]], plausible=[False]))
    assert summary["used"] == 0
    assert summary["at_rise"] is None


def test_the_null_stands_beside_it() -> None:
    flat, falling = made([[0.40, 0.41, 0.40]]), made([[0.42, 0.41, 0.40]])
    (null,) = summarise_null({"any": [flat, falling]}, summarise_dose(made([[0.3, 0.4, 0.5]])))
    assert null["largest"] == pytest.approx(0.02)
    assert null["times_the_largest"] == pytest.approx(10)
    assert null["monotone"] == [0, 1]


def test_the_second_judge_is_summarised_from_strength_0_on() -> None:
    curves = [[0.3, 0.4, 0.5]] * 3
    log_odds = np.array([[5.0, 0.0, np.log(3)], [5.0, np.log(3), 0.0], [5.0, 7.0, 9.0]])
    found = replace(made(curves, plausible=[True, True, False]), log_odds=log_odds)
    response = summarise_dose(found)["classifier"]
    assert response["log_odds"]["mean"] == pytest.approx([5, np.log(3) / 2, np.log(3) / 2])
    assert response["probability"]["mean"][1:] == pytest.approx([0.625, 0.625])
    assert response["log_odds_change"]["deviation"][2] == pytest.approx(np.log(3))
    assert (response["rise"], response["probability_rise"]) == pytest.approx((0, 0))
    assert response["rising"] == 0.5
    assert summarise_dose(made(curves))["classifier"] is None


def test_its_null_counts_both_ends_and_a_fall_as_a_rise() -> None:
    def says(first: list[float], last: list[float]) -> Dose:
        return replace(
            made([[0.3, 0.4, 0.5]] * 2), log_odds=np.array([[a, 0.0, b] for a, b in zip(first, last, strict=True)])
        )

    found = summarise_dose(says([0, 0], [1.0, 3.0]))
    random = [says([0.1, -0.1], [0.1, 0.3]), says([-0.3, -0.5], [-0.3, 0.3])]
    (null,) = summarise_null({"any": random}, found)
    assert np.allclose(null["classifier"]["ends"], [[0, 0.2], [-0.4, 0]])
    assert null["classifier"]["largest"] == pytest.approx(0.4)
    assert null["classifier"]["times_the_largest"] == pytest.approx(5)
    assert null["classifier"]["one_way"] == [1, 1]
    (null,) = summarise_null({"any": [made([[0.3, 0.4, 0.5]])]}, summarise_dose(made([[0.3, 0.4, 0.5]])))
    assert null["classifier"] is None


def test_identity_is_matched_where_nothing_was_edited() -> None:
    random = np.random.default_rng(0)
    gallery = random.random((5, 16, 16)).astype(np.float32)
    region = np.ones((16, 16), dtype=bool)
    region[4:8, 4:8] = False
    edited = gallery[3] * 0.5 + 0.2  # another contrast
    edited[4:8, 4:8] = 9
    assert own_is_nearest(np.stack([edited, gallery[1]]), gallery, 3, region).tolist() == [True, False]


def test_the_region_covers_the_path_with_a_margin() -> None:
    path = np.zeros((256, 256), dtype=bool)
    path[100:120, 100:120] = True
    region = heart_region(path, 128)
    assert region[50:60, 50:60].all()
    assert region.sum() == 14**2
    assert 0 < heart_region(np.zeros((256, 256), dtype=bool), 32).mean() < 1


class DrawnChest(nn.Module):
    """Instead of a generator: lungs at fixed places and a heart as wide as the code says."""

    resolution, num_ws, w_dim = 128, 1, 2

    def __init__(self) -> None:
        super().__init__()
        self.mapping = nn.Module()
        self.mapping.register_buffer("w_avg", torch.zeros(2))

    def synthesis(self, w: Tensor, noise: object = "const") -> Tensor:
        images = torch.full((len(w), 1, 128, 128), 0.2)
        images[:, :, 20:90, 20:55] = images[:, :, 20:90, 75:110] = -0.8
        columns = torch.arange(128)
        for image, code in zip(images, w[:, 0], strict=True):
            heart = (columns - 65).abs() < 16 + code[0]
            image[0, 60:90, heart] = 0.9
            image[0, 0:3, :] = (columns * (code[1] + 1)).sin()  # whose picture it is
        return images


class SeesGrey(nn.Module):
    """Instead of the judge: dark is lung, bright is heart."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.config = load_anatomy(BUNDLED_JUDGE).config

    def forward(self, x: Tensor) -> Tensor:
        left = torch.arange(128).expand_as(x[:, 0]) < 64
        heart, lung = x[:, 0] > 0.95, x[:, 0] < 0.05
        return 20 * torch.stack([~heart & ~lung, lung & left, lung & ~left, heart], 1).float()


class SeesWhite(nn.Module):
    """Instead of the classifier: how much of the picture is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.config = ClassifierConfig(128)

    def forward(self, x: Tensor) -> Tensor:
        return (x > 0.95).float().mean((1, 2, 3))


def test_a_heart_that_widens_is_measured_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dosing, "CHUNK", 4)  # in parts
    generator = DrawnChest()
    codes = CodeBatch(torch.tensor([[[0.0, 0.1]], [[2.0, 0.5]], [[4.0, 0.9]]]), None, None, "drawn")
    originals = generator.synthesis(codes.w)
    judge, second, direction = SeesGrey(), partial(classify, SeesWhite()), torch.tensor([[1.0, 0.0]])
    found = measure_dose(generator, judge, codes, originals, direction, [-4, 4], log_odds_of=second)
    assert found.strengths.tolist() == [-4, 0, 4]
    assert found.plausible.all()
    assert np.allclose(np.diff(found.measures["heart_width"], axis=1), 8 / 128, atol=0.01)
    assert np.ptp(found.measures[OUTSIDE], axis=1).max() < 1e-3  # what is left of the lungs beside the path
    assert np.ptp(found.measures["thorax_width"], axis=1).max() < 0.01
    assert found.inside[:, 0].min() > 20 * found.outside[:, 0].max()
    assert found.own_original.all()
    assert found.log_odds is not None
    assert np.allclose(np.diff(found.log_odds, axis=1), 8 * 30 / 128**2, atol=3 * 30 / 128**2)
    summary = summarise_dose(found)
    assert summary["rising_at_every_step"] == 1


def test_random_directions_are_unit_vectors_of_two_kinds(tiny_model_dir: Path) -> None:
    generator: Generator = load_model(tiny_model_dir).generator
    found = random_directions(generator, 3, 2, seed=1)
    assert [len(vectors) for vectors in found.values()] == [2, 2]
    for vector in (vector for vectors in found.values() for vector in vectors):
        assert vector.shape == (3, 32)
        assert float(vector.norm()) == pytest.approx(1)
    assert random_directions(generator, 1, 0, seed=1) == {}


def test_scans_are_one_a_patient_and_plausible(data: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(data / "nih", tmp_path / "nih")
    dataset = open_images(tmp_path / "nih", 128)
    judge = load_anatomy(BUNDLED_JUDGE)
    scans = choose_scans(dataset, judge, "all", "any", "any", n=4, seed=1)
    assert len({dataset.patient_ids[row] for row in scans.rows}) == len(scans) == 4
    assert scans.images.shape == (4, 1, 128, 128)
    again = choose_scans(dataset, judge, "all", "any", "any", n=4, seed=1, among={int(r): 0 for r in scans.rows[:3]})
    assert set(again.rows) == set(scans.rows[:3])
