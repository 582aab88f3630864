"""Coordinates of what shows: their distances are those of the pictures, or of their anatomy."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cxredit_cli.anatomy.picture_measures import MEASURES, soft_measures
from cxredit_cli.errors import InputError
from cxredit_cli.latent.visible import check_metric, visible_coordinates
from cxredit_cli.networks.anatomy import AnatomyConfig, AnatomyNetwork
from cxredit_cli.networks.generator import random_z
from cxredit_cli.storage.models import Model, load_model

STEP = 0.05


@pytest.fixture
def model(tiny_model_dir: Path, tmp_path: Path) -> Model:
    loaded = load_model(tiny_model_dir)
    return Model(tmp_path, loaded.generator, loaded.fingerprint, loaded.info)  # where nothing is kept yet


@pytest.fixture(scope="module")
def network() -> AnatomyNetwork:
    torch.manual_seed(3)
    return AnatomyNetwork(AnatomyConfig(32, (8, 8), 2)).eval().requires_grad_(False)


def steps(model: Model, layers: int) -> torch.Tensor:
    """Steps [24, layers, D] that a metric shall tell apart: along few or many axes of the codes."""
    spread = model.generator.w_statistics()[1]
    drawn = torch.from_numpy(np.random.default_rng(4).standard_normal((24, layers, len(spread)))).float()
    drawn *= torch.logspace(-1, 0, 24)[:, None, None]
    return STEP * spread * drawn


@torch.no_grad()
def shown(model: Model, look, step: torch.Tensor) -> np.ndarray:
    """Root mean square over random codes of what a step changes in what is looked at."""
    w = model.generator.mapping(random_z(48, model.generator.z_dim, 8))[:, None]
    made = model.generator.synthesis
    changes = [(look(made(w + one)) - look(made(w))).square().sum(1).mean().sqrt() for one in step]
    return torch.stack(changes).numpy()


@pytest.mark.parametrize("space", ["w", "w+"])
@pytest.mark.parametrize("metric", ["picture", "anatomy"])
def test_distances_are_those_of_what_is_looked_at(
    model: Model, network: AnatomyNetwork, space: str, metric: str
) -> None:
    layers = 1 if space == "w" else model.generator.num_ws
    found = visible_coordinates(model, space, metric, network)
    assert found.shape[0] == layers * 32
    spread = np.tile(model.generator.w_statistics()[1].numpy(), layers)
    lengths = np.linalg.norm(spread[:, None] * found, axis=0)
    assert (np.diff(lengths) <= 1e-5).all()  # what shows most comes first
    assert lengths[0] == pytest.approx(1, abs=1e-3)
    step = steps(model, layers)

    def look(images: torch.Tensor) -> torch.Tensor:
        if metric == "picture":
            return images.flatten(1)
        soft = soft_measures(network, images)
        return torch.stack([soft[name] for name in MEASURES], 1) / deviations

    with torch.no_grad():
        z = random_z(64, model.generator.z_dim, 6)
        soft = soft_measures(network, model.generator.synthesis(model.generator.mapping(z)[:, None]))
    deviations = torch.stack([soft[name] for name in MEASURES], 1).std(0).clamp(min=1e-6)
    distance = np.linalg.norm(step.flatten(1).numpy() @ found, axis=1)
    ratio = shown(model, look, step) / distance
    ratio /= np.median(ratio)
    assert np.abs(np.log(ratio)).max() < 0.45  # over a tenfold range; layers are taken one by one in the picture


def test_codes_are_left_as_they_are(model: Model) -> None:
    assert visible_coordinates(model, "w", "codes") is None
    with pytest.raises(InputError, match="--metric must be codes, picture or anatomy, but it is 'pixels'"):
        check_metric("pixels")
