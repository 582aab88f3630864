"""Outlines and their measures: by hand, on real radiographs, and where they cannot be right."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cxredit_cli.anatomy.measures import FIGURES, Anatomy, measure, measure_images
from cxredit_cli.anatomy.outlines import clean, segment
from cxredit_cli.errors import InputError
from cxredit_cli.networks.anatomy import AnatomyConfig, AnatomyNetwork
from cxredit_cli.networks.preparation import normalise
from cxredit_cli.storage.anatomy_network import (
    BUNDLED_ANATOMY,
    BUNDLED_JUDGE,
    load_anatomy,
    read_anatomy_info,
    save_anatomy,
)


@pytest.fixture(scope="module")
def network() -> AnatomyNetwork:
    return load_anatomy()


def drawn(side: int = 200) -> np.ndarray:
    """A chest of rectangles: lungs of 60 x 120, 10 % and 5 % from the sides, a heart of 70 x 50 between them."""
    mask = np.zeros((side, side), dtype=np.uint8)
    mask[40:160, 20:80] = 1
    mask[50:160, 130:190] = 2
    mask[100:150, 70:140] = 3
    return mask


def real_images(folder: Path) -> torch.Tensor:
    paths = sorted(folder.glob("*.png"))
    assert paths
    return torch.from_numpy(np.stack([np.asarray(Image.open(path).convert("L")) for path in paths])).float()[:, None]


def test_measures_by_hand() -> None:
    anatomy = measure(drawn()[None])
    assert anatomy.problem == [""]
    assert anatomy.heart_width[0] == pytest.approx(70 / 200)
    assert anatomy.thorax_width[0] == pytest.approx((190 - 20) / 200)
    assert anatomy.ctr[0] == pytest.approx(70 / 170)
    assert anatomy.heart_area[0] == pytest.approx(70 * 50 / 200**2)
    assert anatomy.right_lung_area[0] == pytest.approx((60 * 120 - 10 * 50) / 200**2)
    assert anatomy.left_lung_area[0] == pytest.approx((60 * 110 - 10 * 50) / 200**2)
    assert anatomy.right_lung_height[0] == pytest.approx(120 / 200)
    assert anatomy.left_lung_height[0] == pytest.approx(110 / 200)


def test_the_measures_do_not_depend_on_the_resolution() -> None:
    fine = drawn().repeat(3, 0).repeat(3, 1)
    one, other = measure(drawn()[None]), measure(fine[None])
    for figure in FIGURES:
        assert getattr(one, figure) == pytest.approx(getattr(other, figure)), figure


def test_crumbs_are_removed_and_holes_filled() -> None:
    mask = drawn()
    mask[5:8, 5:8] = 1  # a crumb outside
    mask[60:64, 40:44] = 0  # a hole within the right lung
    assert (clean(mask[None])[0] == drawn()).all()
    assert measure(mask[None]).thorax_width[0] == pytest.approx(170 / 200)


def test_a_nodule_of_another_class_is_not_swallowed() -> None:
    mask = drawn()
    mask[60:64, 150:154] = 3  # a crumb of heart within the left lung becomes lung
    assert (clean(mask[None])[0] == drawn()).all()


def without(organ: int) -> np.ndarray:
    mask = drawn()
    mask[mask == organ] = 0
    return mask


def exchanged() -> np.ndarray:
    mask = drawn()
    return np.array([0, 1, 3, 2], dtype=np.uint8)[mask]


def in_pieces() -> np.ndarray:
    mask = drawn()
    mask[110:140:3, 70:140] = 0
    return mask


def tiny_lung() -> np.ndarray:
    mask = drawn()
    mask[50:130, 130:190] = 0
    mask[100:150, 70:140] = 3
    return mask


def cut_off() -> np.ndarray:
    return np.roll(drawn(), -20, axis=1)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((64, 64), np.uint8), "no right lung and no left lung and no heart"),
        (without(3), "no heart"),
        (without(2), "no left lung"),
        (exchanged(), "not between the lungs"),
        (np.ascontiguousarray(drawn()[:, ::-1]), "not between the lungs"),
        (in_pieces(), "in pieces"),
        (tiny_lung(), "lung"),
        (cut_off(), "cut off"),
    ],
)
def test_what_cannot_be_a_chest_is_flagged(mask: np.ndarray, words: str) -> None:
    anatomy = measure(mask[None])
    assert words in anatomy.problem[0]
    assert not anatomy.plausible[0]


def test_what_is_missing_has_no_numbers() -> None:
    anatomy = measure(np.stack([without(3), drawn()]))
    assert np.isnan(anatomy.ctr).tolist() == [True, False]
    assert anatomy.heart_area[0] == 0
    assert anatomy.thorax_width[0] == pytest.approx(170 / 200)


def test_no_images() -> None:
    assert len(measure(np.empty((0, 8, 8), np.uint8))) == 0
    anatomy = measure(drawn()[None])
    assert len(Anatomy.join([anatomy, anatomy])) == 2


def test_normalisation_undoes_a_linear_change_of_contrast() -> None:
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(normalise(images), normalise(images * 0.3 - 7), atol=1e-5)
    assert normalise(images).min() == 0
    assert normalise(images).max() == 1
    assert (normalise(torch.full((1, 1, 8, 8), 3.0)) == 0).all()


def test_the_bundled_network_is_small() -> None:
    assert BUNDLED_ANATOMY.stat().st_size < 8e6
    info = json.loads(BUNDLED_ANATOMY.with_suffix(".json").read_text())
    assert info["kept_out"]["heart_dice"] >= 0.93
    assert info["kept_out"]["lungs_dice"] >= 0.96
    assert info["kept_out"]["ctr_error"] <= 0.02


def test_the_judge_is_another_network_of_other_images() -> None:
    first, second = load_anatomy(), load_anatomy(BUNDLED_JUDGE)
    assert not torch.equal(first.state_dict()["head.weight"], second.state_dict()["head.weight"])
    infos = [read_anatomy_info(path) for path in (BUNDLED_ANATOMY, BUNDLED_JUDGE)]
    assert {info["split"]["fold"] for info in infos} == {0, 1}
    assert infos[1]["kept_out"]["heart_dice"] >= 0.93
    assert infos[1]["kept_out"]["lungs_dice"] >= 0.96
    assert BUNDLED_JUDGE.stat().st_size < 2e6


def test_radiographs_with_known_masks(network: AnatomyNetwork, data: Path) -> None:
    """Images of the fold that the bundled network was not trained on."""
    folder = data / "wingspan"
    images = real_images(folder / "images")
    masks = np.stack([np.asarray(Image.open(path)) for path in sorted((folder / "masks").glob("*.png"))])
    found = clean(segment(network, images).masks)
    for organ, least in ((1, 0.93), (2, 0.93), (3, 0.88)):
        both = ((found == organ) & (masks == organ)).sum((1, 2))
        dice = 2 * both / ((found == organ).sum((1, 2)) + (masks == organ).sum((1, 2)))
        assert (dice > least).all(), (organ, dice)
    ctr = [float(row["ctr"]) for row in csv.DictReader((folder / "ctr.csv").open())]
    anatomy = measure_images(network, images)
    assert anatomy.plausible.all()
    assert anatomy.ctr == pytest.approx(np.array(ctr), abs=0.03)


def test_nih_radiographs_of_another_hospital(network: AnatomyNetwork, data: Path) -> None:
    images = real_images(data / "nih")
    names = [path.name for path in sorted((data / "nih").glob("*.png"))]
    anatomy = measure_images(network, images)
    assert anatomy.plausible.mean() > 0.8
    assert ((anatomy.ctr[anatomy.plausible] > 0.35) & (anatomy.ctr[anatomy.plausible] < 0.75)).all()
    rows = {row["Image Index"]: row for row in csv.DictReader((data / "nih" / "labels.csv").open())}
    labels = [rows[name]["Finding Labels"] for name in names]
    healthy = [value for value, label in zip(anatomy.ctr, labels, strict=True) if label == "No Finding"]
    enlarged = [value for value, label in zip(anatomy.ctr, labels, strict=True) if "Cardiomegaly" in label]
    assert np.mean(enlarged) > np.mean(healthy) + 0.05


def test_an_image_does_not_depend_on_its_batch(network: AnatomyNetwork, data: Path) -> None:
    images = real_images(data / "nih")[:5]
    together, apart = segment(network, images, batch=5), segment(network, images, batch=2)
    assert (together.masks != apart.masks).mean() < 1e-4
    assert measure_images(network, images, 5).ctr == pytest.approx(measure_images(network, images, 2).ctr, abs=0.005)


def test_a_linear_change_of_contrast_changes_nothing(network: AnatomyNetwork, data: Path) -> None:
    images = real_images(data / "nih")[:3]
    assert (segment(network, images).masks != segment(network, images / 255 * 0.6 - 0.2).masks).mean() < 1e-4


def test_other_resolutions_give_nearly_the_same(network: AnatomyNetwork, data: Path) -> None:
    images = real_images(data / "wingspan" / "images")
    smaller = torch.nn.functional.interpolate(images, (128, 128), mode="area")
    assert segment(network, images).masks.shape == images[:, 0].shape
    assert segment(network, smaller, 64).masks.shape[-1] == 64
    assert measure_images(network, images).ctr == pytest.approx(measure_images(network, smaller).ctr, abs=0.005)


def test_pictures_of_something_else_are_implausible(network: AnatomyNetwork, data: Path) -> None:
    random = torch.rand(1, 1, 128, 128, generator=torch.Generator().manual_seed(0))
    radiograph = real_images(data / "nih")[:1] / 255
    pictures = torch.cat([torch.zeros(1, 1, 128, 128), random, 1 - radiograph, radiograph.rot90(1, (2, 3))])
    anatomy = measure_images(network, pictures)
    assert not anatomy.plausible.any(), anatomy.problem
    assert anatomy.problem[0] == "the lungs are not darker than the heart"


def test_saving_and_loading(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = AnatomyNetwork(AnatomyConfig(resolution=32, widths=(8, 16), groups=4)).eval()
    save_anatomy(tmp_path / "a.safetensors", network, {"split": "none"}, torch.float32)
    x = torch.rand(2, 1, 32, 32)
    assert torch.equal(network(x), load_anatomy(tmp_path / "a.safetensors")(x))
    document = json.loads((tmp_path / "a.json").read_text())
    assert document["split"] == "none"
    document["architecture"]["widths"] = [8, 24]
    (tmp_path / "a.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="does not hold the anatomy network"):
        load_anatomy(tmp_path / "a.safetensors")
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(InputError, match="does not describe"):
        load_anatomy(tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="is missing"):
        load_anatomy(tmp_path / "b.safetensors")
